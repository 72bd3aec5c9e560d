"""The application of a study for tests, in process."""

from contextlib import contextmanager

from fastapi.testclient import TestClient

from fecnet.rate.raters import invite
from fecnet.rate.serving import guarded
from tests.rate.studies import key

OWNER = "owner-token-of-the-tests"


@contextmanager
def client_of(study):
    """A client of the pages of a study."""
    app = guarded(study, OWNER)
    with TestClient(
        app, base_url="http://localhost:8000", raise_server_exceptions=False, follow_redirects=False
    ) as client:
        yield client


def link(study):
    """The path of a new rater's page."""
    ((_, token),) = invite(study, 1)
    return f"/r/{token}"


def answer(number, place=0, **changes):
    """What a page sends."""
    return {"number": number, "key": key(), "place": place, "seconds": 1.5, "replaces": None} | changes
