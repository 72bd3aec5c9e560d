"""Whether the packages of the extra ``web`` are installed."""

from __future__ import annotations

from importlib.util import find_spec

from fecnet.utils.errors import UserError

_PACKAGES = ("fastapi", "uvicorn", "jinja2", "python_multipart", "markdown", "krippendorff")


def check_web() -> None:
    """Raise UserError unless the packages that pages need are installed."""
    lacking = [name.replace("_", "-") for name in _PACKAGES if find_spec(name) is None]
    if lacking:
        raise UserError(f"pages need {', '.join(lacking)}; install with: pip install 'fecnet[web]'")
