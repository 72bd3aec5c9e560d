"""The application of ``fecnet serve``: its pages and its JSON interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from fecnet.encoder.encoder import Encoder
from fecnet.serve.answers import (
    About,
    AlikeAnswer,
    FacesAnswer,
    MapAnswer,
    MapNearAnswer,
    OddAnswer,
    Problem,
)
from fecnet.serve.face_map import FaceMap
from fecnet.serve.gallery import MAX_NEIGHBOURS, Gallery
from fecnet.serve.photos import MAX_FACES
from fecnet.serve.requests import MAX_BODY, MAX_PHOTO, MAX_PHOTOS
from fecnet.serve.schema import JPEG, PNG, described, photo_form, photos_or
from fecnet.serve.service import MAP_NEIGHBOURS, NoFaceError, Service
from fecnet.web.app import new_app, templates
from fecnet.web.guard import Guard, Policy

_HERE = Path(__file__).parent
_ABOUT = "Try a net on photos. Photos are processed in memory and discarded; nothing is stored."


def build_app(
    encoder: Encoder,
    *,
    whole: bool = False,
    gallery: Gallery | None = None,
    face_map: FaceMap | None = None,
    policy: Policy | None = None,
) -> Guard:
    """The guarded application.

    Args:
        encoder: the net.
        whole: each photo is a face; else faces are detected.
        gallery: the index for similar expressions; None for none.
        face_map: the map; None for none.
        policy: what is accepted; None for requests from this machine.
    """
    app = new_app("fecnet serve", _HERE / "static", description=_ABOUT)
    app.add_exception_handler(NoFaceError, _no_face)
    service = Service(encoder, whole=whole, gallery=gallery, face_map=face_map)
    about = About(
        net=encoder.name,
        classes=list(encoder.classes),
        embedding=encoder.has_output("embedding"),
        index=None if gallery is None else len(gallery),
        map=None if face_map is None else len(face_map.answer.faces),
        faces="whole" if whole else "auto",
        max_photo=MAX_PHOTO,
        max_photos=MAX_PHOTOS,
        max_faces=MAX_FACES,
    )
    _add_pages(app, about)
    _add_photos(app, service, about)
    _add_gallery(app, service)
    _add_map(app, service)
    return Guard(app, policy or Policy(MAX_BODY))


async def _no_face(_: Request, raised: Exception) -> Response:
    assert isinstance(raised, NoFaceError)
    photos = [photo.model_dump() for photo in raised.photos]
    return JSONResponse({"error": str(raised), "photos": photos}, 422)


def _add_pages(app: FastAPI, about: About) -> None:
    pages = templates(_HERE / "templates")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> str:
        return pages.get_template("page.html").render(about=about)

    @app.get("/api", response_class=HTMLResponse, include_in_schema=False)
    async def interface(request: Request) -> str:
        page = pages.get_template("api.html")
        return page.render(about=about, endpoints=described(app.openapi()), address=str(request.base_url))


def _add_photos(app: FastAPI, service: Service, about: About) -> None:
    @app.get("/api/about")
    async def what_is_here() -> About:
        """The net, and the index and map of this server."""
        return about

    @app.post("/api/faces", openapi_extra=photo_form(1, MAX_PHOTOS), responses=_PROBLEMS)
    async def faces(request: Request) -> FacesAnswer:
        """The faces of photos, the largest first, with all that the net predicts of each."""
        return await service.faces(request)

    @app.post("/api/odd", openapi_extra=photos_or(3, embeddings="three embeddings of /api/faces"), responses=_PROBLEMS)
    async def odd(request: Request) -> OddAnswer:
        """The odd one out of three photos, by the largest face of each; or of three faces, by their embeddings."""
        return await service.odd(request)

    k = f"how many, 1 to {MAX_NEIGHBOURS}; 24 where it is left out"
    one = {"embedding": "of a face, by /api/faces", "row": "of the index, in place of it", "k": k}

    @app.post("/api/alike", openapi_extra=photos_or(1, **one), responses=_PROBLEMS)
    async def alike(request: Request) -> AlikeAnswer:
        """The most similar expressions of the index: to a photo's largest face, an embedding, or a row."""
        return await service.alike(request)


def _add_gallery(app: FastAPI, service: Service) -> None:
    @app.get("/api/index/{row}/face.jpg", response_class=Response, responses=JPEG)
    async def thumbnail(row: int) -> Response:
        """The face of a row of the index, with a little around it."""
        return await service.picture(row, whole=False)

    @app.get("/api/index/{row}/photo.jpg", response_class=Response, responses=JPEG)
    async def photo(row: int) -> Response:
        """The whole picture of a row of the index."""
        return await service.picture(row, whole=True)


def _add_map(app: FastAPI, service: Service) -> None:
    def there() -> FaceMap:
        if service.face_map is None:
            raise HTTPException(404, "no map here; start with: fecnet serve --map DATASET")
        return service.face_map

    def on_map(row: int) -> FaceMap:
        if row not in there():
            raise HTTPException(404, f"row {row}: not on the map")
        return there()

    @app.get("/api/map")
    async def layout() -> MapAnswer:
        """The map of a data set's faces: the position of each."""
        return there().answer

    @app.get("/api/map/picture", response_class=Response, responses=PNG)
    async def picture() -> Response:
        """The picture of the map."""
        return Response(there().picture, media_type=there().media_type)

    @app.get("/api/map/{row}/face.png", response_class=Response, responses=PNG)
    async def face(row: int) -> Response:
        """A face of the map."""
        return Response(on_map(row).face(row), media_type="image/png")

    @app.get("/api/map/{row}/near")
    async def near(row: int) -> MapNearAnswer:
        """The faces of the map with the most similar expressions."""
        return MapNearAnswer(neighbours=on_map(row).near(row, MAP_NEIGHBOURS))


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "not what is expected"},
    413: {"model": Problem, "description": "too large"},
    422: {"model": Problem, "description": "no face; with the photos and what was seen in them"},
    503: {"model": Problem, "description": "busy"},
}
