"""A web application that answers errors as JSON with one line, with templates and static files from packages."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from fecnet.utils.errors import UserError
from fecnet.utils.package import VERSION

_HERE = Path(__file__).parent
_SHOWN = 300  # characters of a message
OPENAPI = "/api/openapi.json"


def new_app(title: str, static: Path, *, description: str = "") -> FastAPI:
    """An application without routes.

    Its schema is at ``OPENAPI``; FastAPI's own pages are off, since they load scripts from other hosts.
    Errors, unknown addresses and wrong methods are answered as ``{"error": "one line"}``; a ``UserError`` has status
    400. The static files of the application are at ``/static``, those of all pages at ``/web``.

    Args:
        title: title of the interface.
        static: folder of static files.
        description: description of the interface, Markdown.
    """
    app = FastAPI(
        title=title,
        version=VERSION,
        description=description,
        openapi_url=OPENAPI,
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            HTTPException: _http_error,
            RequestValidationError: _invalid,
            UserError: _mistake,
            Exception: _fault,
        },
    )
    app.mount("/static", StaticFiles(directory=static), name="static")
    app.mount("/web", StaticFiles(directory=_HERE / "static"), name="web")
    return app


def templates(folder: Path) -> Environment:
    """The templates of a folder and those of all pages, such as ``base.html``; every value is escaped.

    An undefined variable in a template is an error.
    """
    return Environment(
        loader=FileSystemLoader([folder, _HERE / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def error(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error in one line."""
    line = " ".join(text.split())
    line = line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
    return JSONResponse({"error": line}, status, headers)


async def _http_error(_: Request, raised: HTTPException) -> Response:
    return error(raised.status_code, raised.detail, dict(raised.headers or {}))


async def _invalid(_: Request, raised: RequestValidationError) -> Response:
    first = raised.errors()[0]
    return error(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")


async def _mistake(_: Request, raised: Exception) -> Response:
    return error(400, str(raised))


async def _fault(_: Request, raised: Exception) -> Response:
    # the server prints the traceback; clients must not see it
    return error(500, "this is a fault of fecnet; the terminal of the server shows more")
