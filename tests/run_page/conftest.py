"""Runs that the tests of the page share."""

import pytest

from tests.run_page.runs import make_runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """The folder of runs; read only."""
    return make_runs(tmp_path_factory.mktemp("runs"))
