"""Face tracking over the frames of a video, by boxes only.

Shape suffixes: K faces of a frame; H, W, C height, width and channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from fecnet.faces.detections import overlap

SAME = 0.3  # least intersection over union of a face in successive frames; YuNet's NMS threshold
_LOST_S = 1.0  # seconds; a face missing for longer starts a new track, unless it was missing in one frame only
_CUT = 30.0  # mean absolute difference of two frames, 0..255, from which on they belong to different shots
_THUMBNAIL = (32, 32)


@dataclass
class _Track:
    """A tracked face: where and when it was seen last."""

    number: int
    box_4: np.ndarray
    time_s: float
    frame: int  # of those processed, from 0


class Tracker:
    """Assigns track numbers to the faces of a video: a face that stays in its place keeps its number.

    Faces of successive frames are matched by intersection over union, the largest first, each at most once. A track
    ends at a cut, after which other people are in the same places, and where its face is missing for more than a second
    and more than one frame.

    Attributes:
        tracks: number of tracks so far; they are numbered from 1.
        cuts: number of cuts so far.
    """

    def __init__(self) -> None:
        self.tracks = self.cuts = 0
        self._frame = -1
        self._before: np.ndarray | None = None  # thumbnail of the last frame
        self._live: list[_Track] = []

    def update(self, image_HWC: np.ndarray, time_s: float, boxes_K4: np.ndarray) -> list[int]:
        """The track number of each face of the next frame.

        Args:
            image_HWC: the frame, uint8, RGB, shape (H, W, 3).
            time_s: presentation time of the frame, seconds.
            boxes_K4: its faces: x1, y1, x2, y2 in pixels, shape (K, 4).
        """
        self._frame += 1
        if self._is_cut(image_HWC):
            self.cuts += 1
            self._live = []
        self._live = [track for track in self._live if self._may_go_on(track, time_s)]
        found: dict[int, _Track] = {}
        for row, track in self._pairs(boxes_K4):
            if row not in found and all(track is not other for other in found.values()):
                found[row] = track
        for row, box_4 in enumerate(boxes_K4):
            if row not in found:
                self.tracks += 1
                found[row] = _Track(self.tracks, box_4, time_s, self._frame)
                self._live.append(found[row])
            found[row].box_4, found[row].time_s, found[row].frame = box_4, time_s, self._frame
        return [found[row].number for row in range(len(boxes_K4))]

    def _pairs(self, boxes_K4: np.ndarray) -> list[tuple[int, _Track]]:
        """Rows and tracks that may be the same face, the most similar place first."""
        pairs = []
        for track in self._live if len(boxes_K4) else ():
            overlap_K = overlap(boxes_K4, track.box_4)
            pairs += [(float(overlap_K[row]), row, track) for row in np.flatnonzero(overlap_K >= SAME).tolist()]
        return [(row, track) for _, row, track in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2].number))]

    def _may_go_on(self, track: _Track, time_s: float) -> bool:
        return time_s - track.time_s <= _LOST_S or self._frame - track.frame <= 2

    def _is_cut(self, image_HWC: np.ndarray) -> bool:
        small_HWC = np.asarray(Image.fromarray(image_HWC).resize(_THUMBNAIL, Image.Resampling.BOX), np.float32)
        before, self._before = self._before, small_HWC
        return before is not None and float(np.abs(small_HWC - before).mean()) > _CUT
