"""Whether the packages of the extra ``web`` are installed."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec

from fecnet.utils.errors import UserError

logger = logging.getLogger(__name__)

_PACKAGES = ("fastapi", "starlette", "uvicorn", "jinja2", "python_multipart", "markdown", "krippendorff")
_QUICK = ("httptools",) if os.name == "nt" else ("httptools", "uvloop")  # used by uvicorn where installed


def check_web() -> None:
    """Raise UserError unless the packages that pages need are installed; log which others would make them faster."""
    lacking = [name.replace("_", "-") for name in _PACKAGES if find_spec(name) is None]
    if lacking:
        raise UserError(f"pages need {', '.join(lacking)}; install with: pip install 'fecnet[web]'")
    slower = [name for name in _QUICK if find_spec(name) is None]
    if slower:
        logger.info(f"slower without {', '.join(slower)}; install with: pip install 'fecnet[web]'")
