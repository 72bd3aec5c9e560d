"""``fecnet rate serve``: one server per study, by default reachable only from this machine."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import urlsplit

from fecnet.rate.app import MAX_BODY, study_app
from fecnet.rate.study import Study
from fecnet.utils.errors import UserError
from fecnet.web.guard import LOOPBACK, Guard, Policy
from fecnet.web.server import address_of, bind, is_loopback, serve
from fecnet.web.tokens import new_token

logger = logging.getLogger(__name__)


def serve_study(path: str | Path, host: str, port: int, *, url: str = "", owner_token: str = "") -> None:
    """Serve the pages of a study until SIGINT or SIGTERM.

    Args:
        path: the folder of the study.
        host: address to listen at.
        port: port; 0 for a free one.
        url: public address of a reverse proxy; its host name is allowed too.
        owner_token: token of the owner's link; empty for a new one.

    Raises:
        UserError: no study, it is served by another process, the port is in use, or ``url`` is not an address.
    """
    with Study(path) as study, study.served():
        token = owner_token or new_token()
        guard = guarded(study, token, hosts=allowed_hosts(host, url))
        with bind(host, port) as listening:
            base = (url or address_of(listening)).rstrip("/")
            logger.info("%s: served at %s until Ctrl-C", study.path, base)
            logger.info("owner: %s/owner/%s", base, token)
            logger.info("raters: personal links, and an open one, by: fecnet rate invite %s --url %s", study.path, base)
            if not is_loopback(host):
                logger.info(
                    "others can reach it: no page shows anything without the token in a link; HTTPS: docs/rate.md"
                )
            serve(guard, listening)


def guarded(study: Study, owner_token: str, hosts: tuple[str, ...] = LOOPBACK) -> Guard:
    """The application of a study protected by its policy: small bodies, tokens in the links."""
    return Guard(study_app(study, owner_token), Policy(MAX_BODY, hosts=hosts))


def allowed_hosts(host: str, url: str) -> tuple[str, ...]:
    """Allowed host names: any if not on loopback, else those of this machine and of ``url``."""
    if not is_loopback(host):
        return ()
    if not url:
        return LOOPBACK
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise UserError(f"--url {url}; allowed: http://NAME or https://NAME, without a path")
    return (*LOOPBACK, parts.hostname)
