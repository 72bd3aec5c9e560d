"""All faces of photos and films in order, each with what the net says of it; memory does not grow with a film."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from fecnet.embed.embedding_files import shown
from fecnet.embed.pieces import Frame, VideoPiece
from fecnet.embed.sources import Sources
from fecnet.embed.videos import Video
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.face_results import FaceResult, face_cuts, face_result
from fecnet.encoder.pictures import OK, as_rgb
from fecnet.faces.picture_files import is_video
from fecnet.faces.tracks import Tracker
from fecnet.utils.errors import UserError


@dataclass(frozen=True)
class FaceRow:
    """One face of a photo or of a frame.

    Attributes:
        picture: the photo or film, as it was given.
        frame: of a film, from 0; None of a photo.
        time_s: in the film; None of a photo.
        track: number of the face in the film, from 1, the same in all frames in which it is followed; None of a photo.
        face: box, score, status and predictions.
        change: squared distance, 0..4, to the embedding of the track at ``since_s``; None where there is none.
        since_s: the time that ``change`` compares with.
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
    """What was read, and what gave no predictions, by reason.

    Attributes:
        photos: given, read or not.
        films: given, read or not.
        frames: of films, read.
        empty: photos and frames without a face, by reason: ``no_face``, or why they cannot be read.
        faces: found, by status: ``ok``, or why there are no predictions.
        photo_faces: faces of photos.
        cuts: of films, at which tracks end.
        notes: about films that ended early, lack frames or cannot be read.
    """

    photos: int = 0
    films: int = 0
    frames: int = 0
    empty: Counter[str] = field(default_factory=Counter)
    faces: Counter[str] = field(default_factory=Counter)
    photo_faces: int = 0
    cuts: int = 0
    notes: list[str] = field(default_factory=list)


class FaceReader:
    """Finds every face of the sources and predicts.

    Args:
        encoder: the net.
        sources: photos and films, folders and lists of them.
        whole: each photo and frame is a face; nothing is detected.
        progress: show a bar.

    Attributes:
        tally: counts of what was read so far.

    Raises:
        UserError: a packed data set, whose faces have no place in a picture; the detector is missing.
    """

    def __init__(self, encoder: Encoder, sources: Sources, *, whole: bool = False, progress: bool = False) -> None:
        if sources.packed:
            raise UserError(f"{sources.packed[0].path}: a packed data set has no photos; its vectors: fecnet embed")
        self._encoder, self._sources, self._whole, self._progress = encoder, sources, whole, progress
        self.tally = Tally()
        self._waiting: deque[FaceRow] = deque()  # found, and on their way through the net
        self._boxes: deque[np.ndarray | None] = deque()
        self._check()

    def rows(self) -> Iterator[FaceRow]:
        """The faces, without ``change``: photo by photo and frame by frame, the best score first.

        Raises:
            UserError: a folder or list without a picture.
        """
        align = self._encoder.aligned and not self._whole
        for part in self._encoder.stream(self._pictures(), boxes=self._next_boxes(), align=align):
            for place, status in enumerate(part.status):
                row = self._waiting.popleft()
                output = {name: value[place] for name, value in part.outputs.items()}
                if status == OK and not all(np.isfinite(value).all() for value in output.values()):
                    raise UserError(f"{self._encoder.name}: its outputs are not finite: the net is broken; evaluate it")
                self.tally.faces[status] += 1
                self.tally.photo_faces += row.track is None
                face = face_result(row.face.box_4, row.face.score, status, output, self._encoder.classes)
                yield FaceRow(row.picture, row.frame, row.time_s, row.track, face)

    def _check(self) -> None:
        """Fail now, not at the first face."""
        self._sources.check()
        if not self._whole:
            self._encoder.find_faces(np.zeros((9, 9, 3), np.uint8))
            if self._encoder.aligned:
                self._encoder.check_align()

    def _pictures(self) -> Iterator[np.ndarray]:
        """The picture of each face; its row and box are put into the queues before."""
        with tqdm(desc="faces", total=self._announced(), unit="picture", disable=not self._progress) as bar:
            for piece in self._sources.pieces():
                tracker = Tracker() if isinstance(piece, VideoPiece) else None
                self.tally.films += tracker is not None
                for frame in piece.frames(0):
                    yield from self._faces(frame, tracker)
                    bar.update()
                if piece.note:
                    self.tally.notes.append(piece.note)
                self.tally.cuts += 0 if tracker is None else tracker.cuts

    def _faces(self, frame: Frame, tracker: Tracker | None) -> Iterator[np.ndarray]:
        film = frame.number >= 0  # else a photo, or a film without a frame
        self.tally.frames += film
        self.tally.photos += tracker is None
        image_HWC = frame.picture if isinstance(frame.picture, np.ndarray) else as_rgb(frame.picture)
        if isinstance(image_HWC, str):
            self.tally.empty[image_HWC] += 1
            return
        boxes_K4, score_K, cuts = self._found(image_HWC)
        if not len(boxes_K4):
            self.tally.empty["no_face"] += 1
        tracks: list[int | None] = [None] * len(boxes_K4)
        if film and tracker is not None:
            tracks = [*tracker.update(image_HWC, frame.time_s, boxes_K4)]
        number, time_s = (frame.number, frame.time_s) if film else (None, None)
        for box_4, score, track, (picture_HWC, cut_4) in zip(boxes_K4, score_K, tracks, cuts, strict=True):
            self._waiting.append(FaceRow(shown(frame.name), number, time_s, track, FaceResult(box_4, score, OK)))
            self._boxes.append(cut_4)
            yield picture_HWC

    def _found(
        self, image_HWC: np.ndarray
    ) -> tuple[np.ndarray, list[float], list[tuple[np.ndarray, np.ndarray | None]]]:
        """Boxes and scores of the faces of a picture, and the picture and box that the encoder gets for each."""
        if self._whole:
            whole_14 = np.array([[0, 0, image_HWC.shape[1], image_HWC.shape[0]]], np.float32)
            return whole_14, [math.nan], [(image_HWC, None)]
        found = self._encoder.find_faces(image_HWC)
        turn = self._encoder.tries_turns and not self._encoder.aligned
        return found.boxes_K4, found.scores_K.tolist(), [*face_cuts(image_HWC, found, turn=turn)]

    def _next_boxes(self) -> Iterator[np.ndarray | None]:
        while self._boxes:
            yield self._boxes.popleft()

    def _announced(self) -> int | None:
        """How many frames there will be, of one film."""
        (first, *others) = self._sources.paths
        alone = not others and is_video(first) and first.is_file()
        return (-(-Video(first).announced // self._sources.every) or None) if alone else None
