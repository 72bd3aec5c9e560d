"""The types of JSON responses, which the OpenAPI schema describes."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Face(BaseModel):
    """A face of a photo."""

    picture: str = Field(description="the face as the net was shown it, a data URI")
    box: list[float] | None = Field(
        description="x1, y1, x2, y2 in pixels of the photo; null where the whole photo is the face"
    )
    score: float | None = Field(description="of the detector, 0 to 1")
    note: str = Field(description="what makes the answer less sure, in words; empty for nothing")
    probabilities: dict[str, float] = Field(description="of each class; empty where the net has none")
    valence: float | None = Field(description="-1 to 1, where the net predicts it")
    arousal: float | None = Field(description="-1 to 1, where the net predicts it")
    embedding: list[float] = Field(description="unit vector; empty where the net has none")


class Photo(BaseModel):
    """A photo with its faces, the largest first."""

    width: int = Field(description="pixels, upright")
    height: int = Field(description="pixels, upright")
    faces: list[Face] = Field(description="the largest first")
    more: int = Field(description="number of further, smaller faces, which were not processed")
    problem: str = Field(description="why there is no face, in words; empty where there is one")
    preview: str = Field(description="the photo as it was read, small and upright, a data URI; empty unless asked for")


class FacesAnswer(BaseModel):
    """The faces of some photos."""

    photos: list[Photo] = Field(description="in the order in which they were sent")


class OddAnswer(BaseModel):
    """The odd one out of three faces."""

    odd: int | None = Field(
        description="0, 1 or 2: the one outside the closest pair; null where two pairs are equally close"
    )
    distances: list[float] = Field(
        description="squared, 0 (identical) to 4, of the first and second, first and third, second and third"
    )
    probabilities: list[float] = Field(description="that people call the first, second, third the odd one")
    photos: list[Photo] = Field(description="the photos, where photos were sent; the largest face of each was taken")


class Neighbour(BaseModel):
    """A face of the index."""

    row: int = Field(description="in the index")
    distance: float = Field(description="squared, 0 (identical) to 4")
    name: str = Field(description="of its file, without folder")
    number: int | None = Field(description="row of a packed set, or frame of a video")


class AlikeAnswer(BaseModel):
    """The faces of the index with the most similar expressions, the nearest first."""

    neighbours: list[Neighbour] = Field(description="in order")
    photos: list[Photo] = Field(description="the photo, where one was sent; its largest face was taken")


class MapFace(BaseModel):
    """A face of the map."""

    row: int = Field(description="in the data set")
    cell: int = Field(description="of the map, row by row from the top left")
    label: str = Field(description="empty where there is none")
    predicted: str = Field(description="class; empty for a net without")
    percent: int = Field(description="its probability")


class MapAnswer(BaseModel):
    """The map: the position of each face in its picture."""

    name: str = Field(description="of the data set's folder")
    method: str = Field(description="how it was laid out, in words")
    side: int = Field(description="cells a side")
    total: int = Field(description="faces of the data set")
    labels: dict[str, str] = Field(description="colour of the frame of each class; empty where none are drawn")
    faces: list[MapFace] = Field(description="in the order of their rows")


class MapNeighbour(BaseModel):
    """A face of the map near another one."""

    row: int = Field(description="in the data set")
    distance: float = Field(description="squared")


class MapNearAnswer(BaseModel):
    """The nearest faces of a face on the map."""

    neighbours: list[MapNeighbour] = Field(description="in order")


class About(BaseModel):
    """The net, and the index and map of this server."""

    net: str = Field(description="its path or name")
    classes: list[str] = Field(description="empty for a net without")
    embedding: bool = Field(description="whether the net compares faces")
    index: int | None = Field(description="faces of the index; null without one")
    map: int | None = Field(description="faces on the map; null without one")
    faces: str = Field(description="auto: faces are found in the photos; whole: each photo is a face")
    max_photo: int = Field(description="bytes of a photo")
    max_photos: int = Field(description="photos of a request")
    max_faces: int = Field(description="faces of a photo, the largest")


class Problem(BaseModel):
    """Why there is no answer, in one line."""

    error: str
