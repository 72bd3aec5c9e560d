"""Statistics of each track: how its expression changes, its largest changes, its mean and its curve.

Memory is bounded by the number of concurrent tracks; only a summary of finished tracks is kept. Shape suffixes: K
classes, D embedding dimensions.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict, deque
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from fecnet.analysis.curves import Curve
from fecnet.analysis.reading import FaceRow
from fecnet.evaluation.nearest import squared_distances

OVER_S = 0.5
_APART_S = 1.0  # least time between two peaks of a track
_TRACKS = 256  # held at one time
_DRAWN = 8  # tracks whose curves are kept: those of the most faces


@dataclass(frozen=True)
class Peak:
    """A moment of large change between two frames.

    Attributes:
        picture: the video.
        track: number of the face's track.
        frame: number of the later frame.
        time_s: time of the later frame, seconds.
        since_s: time of the earlier frame, seconds.
        change: squared distance between the two embeddings, 0..4.
        before: the most probable class in the earlier frame; None for a net without classes.
        after: the most probable class in the later frame.
    """

    picture: str
    track: int
    frame: int
    time_s: float
    since_s: float
    change: float
    before: str | None
    after: str | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Track:
    """A face over the frames of a video.

    Attributes:
        picture: the video.
        track: number of the track in the video.
        faces: number of frames with predictions for the face.
        first_s: time of the first of these frames, seconds.
        last_s: time of the last one, seconds.
        expression: the class with the highest mean probability; None for a net without classes.
        probability: that mean probability.
        change: the largest change; None where there is none.
    """

    picture: str
    track: int
    faces: int
    first_s: float
    last_s: float
    expression: str | None
    probability: float | None
    change: float | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class _Moment(NamedTuple):
    time_s: float
    embedding_D: np.ndarray
    expression: str | None


class _Followed:
    """One unfinished track."""

    def __init__(self, row: FaceRow, classes: tuple[str, ...], over_s: float) -> None:
        assert row.time_s is not None
        self._first, self._last_s, self._classes, self._over_s = row, row.time_s, classes, over_s
        self.faces, self._sum_K, self._most = 0, np.zeros(len(classes)), -1.0
        self._moments: deque[_Moment] = deque()  # the first is the one to compare with
        self._highest: Peak | None = None  # the candidate for the next peak
        self.curve = Curve(len(classes))

    def add(self, row: FaceRow) -> tuple[FaceRow, Peak | None]:
        """The row with its change, and a peak that was confirmed by it."""
        face, peak = row.face, None
        assert row.time_s is not None and row.frame is not None and row.track is not None
        self.faces, self._last_s = self.faces + 1, row.time_s
        if face.probability_K is not None:
            self._sum_K += face.probability_K
        if face.embedding_D is not None:
            moment = _Moment(row.time_s, face.embedding_D, face.expression)
            before = self._moment_before(row.time_s)
            self._moments.append(moment)
            if before is not None:
                change = float(squared_distances(moment.embedding_D, before.embedding_D))
                self._most = max(self._most, change)
                where = (row.picture, row.track, row.frame, row.time_s)
                words = (before.expression, moment.expression)
                peak = self._peak(Peak(*where, before.time_s, change, *words))
                row = replace(row, change=change, since_s=before.time_s)
        self.curve.add(row)
        return row, peak

    def end(self) -> tuple[Track, Peak | None]:
        """The summary of the finished track, and its last peak."""
        expression, probability = None, None
        if len(self._classes) and self.faces:
            best = int(self._sum_K.argmax())
            expression, probability = self._classes[best], float(self._sum_K[best] / self.faces)
        first = self._first
        assert first.track is not None and first.time_s is not None
        where = (first.picture, first.track, self.faces, first.time_s, self._last_s)
        track = Track(*where, expression, probability, self._most if self._most >= 0 else None)
        return track, self._highest

    def _moment_before(self, time_s: float) -> _Moment | None:
        """The latest moment at least ``over_s`` earlier; older ones are removed."""
        latest_s = time_s - self._over_s + 1e-6
        while len(self._moments) > 1 and self._moments[1].time_s <= latest_s:
            self._moments.popleft()
        return self._moments[0] if self._moments and self._moments[0].time_s <= latest_s else None

    def _peak(self, new: Peak) -> Peak | None:
        """The largest change so far once it is ``_APART_S`` ago, so that no larger one is near it."""
        highest = self._highest
        if highest is not None and new.time_s - highest.time_s > _APART_S:
            self._highest = new
            return highest
        if highest is None or new.change > highest.change:
            self._highest = new
        return None


class Follower:
    """Collects the tracks of all videos.

    Args:
        classes: class names of the net.
        over_s: a face is compared with the latest face of its track that is at least this many seconds earlier.
        num_peaks: number of peaks to keep, over all videos.

    Attributes:
        tracks: the finished tracks.
    """

    def __init__(self, classes: tuple[str, ...], *, over_s: float = OVER_S, num_peaks: int = 0) -> None:
        self._classes, self._over_s, self._num_peaks = classes, over_s, num_peaks
        self._live: OrderedDict[tuple[str, int], _Followed] = OrderedDict()  # ordered by the last appearance
        self._order = itertools.count()  # tie-breaker: the first of equal ones is kept
        self._peaks: list[tuple[float, int, Peak]] = []  # a heap
        self._curves: list[tuple[int, int, Track, Curve]] = []  # a heap, by faces
        self.tracks: list[Track] = []

    def add(self, row: FaceRow) -> FaceRow:
        """The row with its change; photos and faces without predictions have none."""
        if row.track is None or row.face.status != "ok":
            return row
        key = (row.picture, row.track)
        if key not in self._live:
            while len(self._live) >= _TRACKS or (self._live and next(iter(self._live))[0] != row.picture):
                self._end(self._live.popitem(last=False)[1])
            self._live[key] = _Followed(row, self._classes, self._over_s)
        self._live.move_to_end(key)
        row, peak = self._live[key].add(row)
        self._keep(peak)
        return row

    def end(self) -> None:
        """Finish all tracks."""
        while self._live:
            self._end(self._live.popitem(last=False)[1])
        self.tracks.sort(key=lambda track: (track.picture, track.track))

    def peaks(self) -> list[Peak]:
        """The largest changes of all finished tracks, the largest first, no two of a track within a second."""
        return [peak for *_, peak in sorted(self._peaks, reverse=True)]

    def curves(self) -> list[tuple[Track, Curve]]:
        """The curves of the tracks with the most faces, in the order of videos and tracks."""
        kept = [(track, curve) for *_, track, curve in self._curves]
        return sorted(kept, key=lambda pair: (pair[0].picture, pair[0].track))

    def _end(self, followed: _Followed) -> None:
        track, peak = followed.end()
        self.tracks.append(track)
        self._keep(peak)
        heapq.heappush(self._curves, (track.faces, -next(self._order), track, followed.curve))
        if len(self._curves) > _DRAWN:
            heapq.heappop(self._curves)

    def _keep(self, peak: Peak | None) -> None:
        if peak is not None and peak.change > 0 and self._num_peaks:
            heapq.heappush(self._peaks, (peak.change, -next(self._order), peak))
            if len(self._peaks) > self._num_peaks:
                heapq.heappop(self._peaks)
