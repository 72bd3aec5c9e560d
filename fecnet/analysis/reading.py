"""Reads all faces of photos and videos in order, with the net's outputs; memory does not grow with their length."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from fecnet.embed.embedding_files import shown
from fecnet.embed.pieces import Frame, VideoPiece
from fecnet.embed.sources import Sources
from fecnet.embed.videos import Video
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.face_maker import PhotoFace
from fecnet.encoder.pictures import OK
from fecnet.encoder.results import FaceResult, face_results
from fecnet.faces.picture_files import is_video
from fecnet.faces.tracks import Tracker
from fecnet.faces.which import Which, check_which
from fecnet.utils.errors import UserError


@dataclass(frozen=True)
class FaceRow:
    """One face of a photo or of a frame.

    Attributes:
        picture: the photo or video, as it was given.
        frame: number of the frame, from 0; None for a photo.
        time_s: time of the frame, seconds; None for a photo.
        track: number of the face's track in the video, from 1; None for a photo.
        face: box, score, status and predictions.
        change: squared distance, 0..4, to the embedding of the track at ``since_s``; None where there is none.
        since_s: the time that ``change`` compares with, seconds.
    """

    picture: str
    frame: int | None
    time_s: float | None
    track: int | None
    face: FaceResult
    change: float | None = None
    since_s: float | None = None


@dataclass
class Tally:
    """Counts of what was read, and of what has no predictions, by reason.

    Attributes:
        photos: number of given photos, readable or not.
        videos: number of given videos, readable or not.
        frames: number of frames read from videos.
        empty: photos and frames without a face, by reason: ``no_face``, or why they cannot be read.
        faces: faces found, by status: ``ok``, or why there are no predictions.
        photo_faces: number of faces of photos.
        cuts: number of cuts in videos, at which tracks end.
        notes: messages about videos that ended early, lack frames or cannot be read.
    """

    photos: int = 0
    videos: int = 0
    frames: int = 0
    empty: Counter[str] = field(default_factory=Counter)
    faces: Counter[str] = field(default_factory=Counter)
    photo_faces: int = 0
    cuts: int = 0
    notes: list[str] = field(default_factory=list)


class _Place(NamedTuple):
    """Picture, frame, time and track of a face, as in ``FaceRow``."""

    picture: str
    frame: int | None
    time_s: float | None
    track: int | None


class FaceReader:
    """Detects all faces of the sources and runs the net on them.

    Args:
        encoder: the net.
        sources: photos and videos, folders and lists of them.
        faces: which faces of each photo and frame, see ``Encoder``.
        progress: show a bar.

    Attributes:
        tally: counts of what was read so far.

    Raises:
        UserError: a packed data set, which has no photos; unknown ``faces``; the detector is missing.
    """

    def __init__(self, encoder: Encoder, sources: Sources, *, faces: Which = "all", progress: bool = False) -> None:
        if sources.packed:
            raise UserError(f"{sources.packed[0].path}: a packed data set has no photos; its vectors: fecnet embed")
        check_which(faces)
        self._encoder, self._sources, self._which, self._progress = encoder, sources, faces, progress
        self.tally = Tally()
        self._waiting: deque[_Place] = deque()  # places of faces that are being processed by the net
        self._check()

    def rows(self) -> Iterator[FaceRow]:
        """The faces, without ``change``: photo by photo and frame by frame, the best score first.

        Raises:
            UserError: a folder or list without a picture.
        """
        for part in self._encoder.net.encoded(self._faces(), steady=True):
            ok_N = np.array([status == OK for status in part.status], bool)
            if not all(np.isfinite(value[ok_N]).all() for value in part.outputs.values()):
                raise UserError(f"{self._encoder.name}: its outputs are not finite: the net is broken; evaluate it")
            for face in face_results(part, self._encoder.classes):
                place = self._waiting.popleft()
                self.tally.faces[face.status] += 1
                self.tally.photo_faces += place.track is None
                yield FaceRow(*place, face)

    def _check(self) -> None:
        """Raise errors at the start, not at the first face."""
        self._sources.check()
        if self._which != "whole":
            self._encoder.check_detector()

    def _faces(self) -> Iterator[PhotoFace]:
        """Each face; its place is put into the queue first."""
        with tqdm(desc="faces", total=self._announced(), unit="picture", disable=not self._progress) as bar:
            for piece in self._sources.pieces():
                tracker = Tracker() if isinstance(piece, VideoPiece) else None
                self.tally.videos += tracker is not None
                for frame in piece.frames(0):
                    yield from self._found(frame, tracker)
                    bar.update()
                if piece.note:
                    self.tally.notes.append(piece.note)
                self.tally.cuts += 0 if tracker is None else tracker.cuts

    def _found(self, frame: Frame, tracker: Tracker | None) -> Iterator[PhotoFace]:
        """The faces of a photo or frame; frames are processed one at a time."""
        video = frame.number >= 0  # false for a photo, or a video without a frame
        self.tally.frames += video
        self.tally.photos += tracker is None
        faces = self._encoder.find_faces([frame.picture], faces=self._which)
        if not faces[0].has_place and faces[0].status != OK:
            self.tally.empty[faces[0].status] += 1
            faces = []
        tracks: list[int | None] = [None] * len(faces)
        if tracker is not None and isinstance(frame.picture, np.ndarray):
            tracks = [*tracker.update(frame.picture, frame.time_s, _boxes(faces, frame.picture))]
        number, time_s = (frame.number, frame.time_s) if video else (None, None)
        for face, track in zip(faces, tracks, strict=True):
            self._waiting.append(_Place(shown(frame.name), number, time_s, track))
            yield face

    def _announced(self) -> int | None:
        """Number of frames to expect, where the source is a single video; else None."""
        (first, *others) = self._sources.paths
        alone = not others and is_video(first) and first.is_file()
        return (-(-Video(first).announced // self._sources.every) or None) if alone else None


def _boxes(faces: Sequence[PhotoFace], frame_HWC: np.ndarray) -> np.ndarray:
    """The boxes of the faces of a frame, shape (K, 4); a face without a box is the whole frame."""
    whole_4 = np.array([0, 0, frame_HWC.shape[1], frame_HWC.shape[0]], np.float32)
    return np.array([face.box_4 if face.has_place else whole_4 for face in faces], np.float32).reshape(-1, 4)
