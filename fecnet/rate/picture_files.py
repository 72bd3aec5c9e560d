"""Serves the pictures of a study: found through the database, never by a path in a request."""

from __future__ import annotations

from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

from fecnet.rate.pictures import MEDIA_TYPES
from fecnet.rate.study import FACES, Study

_CACHE = {"cache-control": "private, max-age=86400, immutable"}  # a study's pictures never change


def picture(study: Study, file: str | None) -> Response:
    """A picture of the study by its name in the database; 404 for None."""
    if file is None:
        raise HTTPException(404, "no such face")
    path = study.path / FACES / file
    if not path.is_file():
        raise HTTPException(404, f"the picture {file} is no longer there")
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=_CACHE)
