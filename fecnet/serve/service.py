"""Answers requests: one thread for the net, another for the pictures of an index."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from fastapi import Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from fecnet.analysis.three import compare_three
from fecnet.encoder.encoder import Encoder
from fecnet.serve.answers import AlikeAnswer, FacesAnswer, Neighbour, OddAnswer, Photo
from fecnet.serve.face_map import FaceMap
from fecnet.serve.gallery import MAX_NEIGHBOURS, Gallery
from fecnet.serve.photos import look
from fecnet.serve.requests import MAX_PHOTOS, as_embedding, as_number, is_json, read_keys, read_photos
from fecnet.serve.worker import Worker
from fecnet.utils.errors import UserError

PLACES = 8  # maximum number of concurrent requests with photos: at most 512 MB of bodies
MAP_NEIGHBOURS = 12
_NEIGHBOURS = 24
_PICTURES = 64  # maximum number of concurrent requests for thumbnails


class NoFaceError(Exception):
    """Photos without a face, so that the request cannot be answered.

    Args:
        photos: the photos, with what was found in them.
        text: the first problem, in one line.
    """

    def __init__(self, photos: Sequence[Photo], text: str) -> None:
        super().__init__(text)
        self.photos = photos


class Service:
    """Answers requests with the net, the index and the map, one at a time.

    Args:
        encoder: the net.
        whole: each photo is a face.
        gallery: the index; None for none.
        face_map: the map; None for none.
    """

    def __init__(
        self, encoder: Encoder, *, whole: bool, gallery: Gallery | None = None, face_map: FaceMap | None = None
    ) -> None:
        self._encoder, self._gallery, self.face_map = encoder, gallery, face_map
        self._look = partial(look, encoder, whole=whole)
        self._net, self._pictures = Worker("net", PLACES), Worker("pictures", _PICTURES)

    async def faces(self, request: Request) -> FacesAnswer:
        """Answer for one photo or more."""
        return FacesAnswer(photos=await self._photos(request, 1, MAX_PHOTOS, all_needed=False))

    async def odd(self, request: Request) -> OddAnswer:
        """Answer for three photos, or three embeddings."""
        dims = self._encoder.dims("embedding")
        photos: list[Photo] = []
        if is_json(request):
            given = (await read_keys(request, ("embeddings",))).get("embeddings")
            if not isinstance(given, list) or len(given) != 3:
                raise HTTPException(400, "embeddings: expected a list of three")
            emb_3D = np.stack([as_embedding(value, dims, f"embeddings[{n}]") for n, value in enumerate(given)])
        else:
            photos = await self._photos(request, 3, 3)
            emb_3D = np.array([photo.faces[0].embedding for photo in photos], np.float32)
        found = compare_three(emb_3D, self._encoder.choice_scale)
        return OddAnswer(odd=found.odd, distances=found.distances, probabilities=found.probabilities, photos=photos)

    async def alike(self, request: Request) -> AlikeAnswer:
        """Answer for one photo, an embedding, or a row of the index."""
        gallery, photos = self._index(), []
        if is_json(request):
            given = await read_keys(request, ("embedding", "row", "k"))
            num = as_number(given.get("k", _NEIGHBOURS), "k", 1, MAX_NEIGHBOURS)
            if ("row" in given) == ("embedding" in given):
                raise HTTPException(400, "JSON: expected one of embedding and row")
            if "row" in given:
                row = as_number(given["row"], "row", 0, len(gallery) - 1)
                return await self._nearest(partial(gallery.near_row, row, num))
            vector_D = as_embedding(given["embedding"], gallery.dims)
        else:
            photos, num = await self._photos(request, 1, 1), _NEIGHBOURS
            vector_D = np.array(photos[0].faces[0].embedding, np.float32)
        answer = await self._nearest(partial(gallery.near, vector_D, num))
        return answer.model_copy(update={"photos": photos})

    async def picture(self, row: int, *, whole: bool) -> Response:
        """The picture of a row of the index, or its thumbnail."""
        gallery = self._index()
        if not 0 <= row < len(gallery):
            raise HTTPException(404, f"row {row}: the index has rows 0 to {len(gallery) - 1}")
        with self._pictures.place():
            try:
                content = await self._pictures.run(gallery.whole if whole else gallery.thumbnail, row)
            except UserError as error:
                raise HTTPException(404, str(error)) from error
        return Response(content, media_type="image/jpeg")

    async def _photos(self, request: Request, least: int, most: int, *, all_needed: bool = True) -> list[Photo]:
        """The faces in the photos of a request; a place in the queue is taken before its body is read.

        Raises:
            NoFaceError: no face in a photo, or in any of them where not ``all_needed``.
        """
        with self._net.place():
            sent = await read_photos(request, least=least, most=most)
            photos: list[Photo] = await self._net.run(self._look, *sent)
        without = [number for number, photo in enumerate(photos, 1) if not photo.faces]
        if without and (all_needed or len(without) == len(photos)):
            first = photos[without[0] - 1].problem
            raise NoFaceError(photos, first if most == 1 else f"photo {without[0]}: {first}")
        return photos

    async def _nearest(self, search: partial[list[Neighbour]]) -> AlikeAnswer:
        with self._net.place():
            return AlikeAnswer(neighbours=await self._net.run(search), photos=[])

    def _index(self) -> Gallery:
        if self._gallery is None:
            raise HTTPException(404, "no index here; start with: fecnet serve --index INDEX")
        return self._gallery
