"""Faces followed over the frames of a film, by their boxes alone.

Shape suffixes: K faces of a frame; H, W, C height, width and channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from fecnet.faces.detections import overlap

SAME = 0.3  # least intersection over union of a face in successive frames; YuNet's NMS threshold
_LOST_S = 1.0  # a face that was not found for longer begins a new track, unless it missed a single frame
_CUT = 30.0  # mean difference of two frames, of 255 levels, from which on they are of different shots
_THUMBNAIL = (32, 32)


@dataclass
class _Track:
    """A face that is followed: where and when it was seen last."""

    number: int
    box_4: np.ndarray
    time_s: float
    frame: int  # of those processed, from 0


class Tracker:
    """Numbers the faces of a film: a face that stays at its place keeps its number.

    Faces of successive frames are paired by intersection over union, the largest first, each at most once. A track ends
    at a cut of the film, which shows other people at the same places, and where its face is not found for more than a
    second and a frame.

    Attributes:
        tracks: how many there were so far; they are numbered from 1.
        cuts: cuts found so far.
    """

    def __init__(self) -> None:
        self.tracks = self.cuts = 0
        self._frame = -1
        self._before: np.ndarray | None = None  # thumbnail of the last frame
        self._live: list[_Track] = []

    def update(self, image_HWC: np.ndarray, time_s: float, boxes_K4: np.ndarray) -> list[int]:
        """The track of each face of the next frame.

        Args:
            image_HWC: the frame, uint8, RGB.
            time_s: when it is shown.
            boxes_K4: its faces: x1, y1, x2, y2 in pixels.
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
