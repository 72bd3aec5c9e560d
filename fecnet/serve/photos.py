"""Processes the photos of a request: detects their faces and runs the net on them.

Shape suffixes: H, W, C height, width and channels of a photo; K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from fecnet.encoder.encoder import Encoder
from fecnet.encoder.face_maker import PhotoFace
from fecnet.encoder.pictures import OK, STATUS
from fecnet.encoder.results import FaceResult, face_results
from fecnet.faces.decode import UnreadableImage, decode_image
from fecnet.serve.answers import Face, Photo
from fecnet.serve.encoded import data_uri, jpeg, png

MAX_PIXELS = 100_000_000  # maximum pixels of a photo: 300 MB in memory; the decoder would halve larger ones
MAX_FACES = 20  # maximum faces of a photo; the largest are used
_PREVIEW = 720  # pixels of the longer side
_NO_FACE = "no face found; faces that look at the camera and are 40 pixels or higher are found best"


class _Opened:
    """A photo while its faces are detected."""

    def __init__(self) -> None:
        self.size = (0, 0)  # height, width
        self.faces: list[PhotoFace] = []
        self.problem = self.preview = ""


def look(encoder: Encoder, contents: Sequence[bytes], preview: bool = False, *, whole: bool = False) -> list[Photo]:
    """The faces of photos with all outputs of the net.

    Args:
        encoder: the net.
        contents: contents of the image files.
        preview: also return each photo as it was decoded. A page that shows the file itself would draw boxes in wrong
            places: Chromium 156 ignores the EXIF orientation of WebP, and shows neither HEIC nor TIFF.
        whole: each photo is a face; else its faces are detected, with a second look (``SecondLook``) where none is
            found.

    Raises:
        UserError: the detector is missing.
    """
    photos = [_Opened() for _ in contents]
    readable: list[int] = []

    def decoded(places: Sequence[int]) -> Iterator[np.ndarray]:
        for place in places:
            try:
                image_HWC = decode_image(contents[place], max_pixels=MAX_PIXELS)
            except UnreadableImage as error:
                photos[place].problem = str(error).split(": ", 2)[2]
                continue
            readable.append(place)
            photos[place].size = image_HWC.shape[:2]
            if preview and not photos[place].preview:
                photos[place].preview = data_uri("jpeg", jpeg(image_HWC, _PREVIEW))
            yield image_HWC  # one at a time, so that memory holds only the current photos

    for face in encoder.find_faces(decoded(range(len(contents))), faces="whole" if whole else "all"):
        photos[readable[face.picture]].faces.append(face)
    missed = [place for place in readable if all(face.status == "no_face" for face in photos[place].faces)]
    readable.clear()
    for face in encoder.find_faces(decoded(missed), faces="largest") if missed and not whole else []:
        photos[readable[face.picture]].faces = [face]
    return _described(encoder, photos)


def _described(encoder: Encoder, photos: Sequence[_Opened]) -> list[Photo]:
    """One call of the net for the faces of all photos."""
    shown = [[face for face in _largest_first(photo.faces) if face.status == OK] for photo in photos]
    chosen = [face for faces in shown for face in faces[:MAX_FACES]]
    parts = encoder.net.encoded(chosen, steady=True) if chosen else []
    results = (result for part in parts for result in face_results(part, encoder.classes))
    told = []
    for photo, faces in zip(photos, shown, strict=True):
        height, width = photo.size
        told.append(
            Photo(
                width=width,
                height=height,
                faces=[_face(encoder, face, next(results)) for face in faces[:MAX_FACES]],
                more=max(0, len(faces) - MAX_FACES),
                problem="" if faces else photo.problem or _why_none(photo.faces),
                preview=photo.preview,
            )
        )
    return told


def _largest_first(faces: Sequence[PhotoFace]) -> list[PhotoFace]:
    """The faces by descending size: the first is the one used where a single face is needed."""
    return sorted(faces, key=lambda face: -math.prod((face.box_4[2:] - face.box_4[:2]).tolist()))


def _why_none(faces: Sequence[PhotoFace]) -> str:
    status = faces[0].status
    return _NO_FACE if status == "no_face" else STATUS[status]


def _face(encoder: Encoder, face: PhotoFace, result: FaceResult) -> Face:
    assert face.image_SSC is not None
    probability_K = result.probability_K
    return Face(
        picture=data_uri("png", png(face.image_SSC)),
        box=[round(edge, 1) for edge in face.box_4.tolist()] if face.has_place else None,
        score=round(face.score, 4) if face.has_place else None,
        note=_note(encoder, face),
        probabilities={} if probability_K is None else dict(zip(encoder.classes, probability_K.tolist(), strict=True)),
        valence=result.valence,
        arousal=result.arousal,
        embedding=[] if result.embedding_D is None else result.embedding_D.tolist(),
    )


def _note(encoder: Encoder, face: PhotoFace) -> str:
    """A note if the face is smaller than the net's input; else empty."""
    if not face.has_place:
        return ""
    side = float((face.box_4[2:] - face.box_4[:2]).max())
    wanted = encoder.face_shape[0]
    if round(side) >= wanted:
        return ""
    return f"small: {side:.0f} pixels, enlarged to {wanted}; the answer is less sure"
