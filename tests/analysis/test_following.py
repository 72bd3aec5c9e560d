"""Change over time, its peaks, and curves of bounded length, of tracks made by hand."""

import math

import numpy as np
import pytest

from fecnet.analysis import curves, following
from fecnet.analysis.curves import Curve
from fecnet.analysis.following import Follower
from fecnet.analysis.reading import FaceRow
from fecnet.encoder.results import FaceResult

CLASSES = ("calm", "glad")


def row(time_s, angle, *, picture="video.mp4", track=1, rate=10, status="ok"):
    """A face whose embedding is a point of the circle: two are ``2 - 2·cos`` of their angle apart."""
    glad = math.sin(angle) ** 2
    probability_K = np.array([1 - glad, glad], np.float32)
    embedding_D = np.array([math.cos(angle), math.sin(angle)], np.float32)
    face = FaceResult(
        np.zeros(4, np.float32), 0.9, status, CLASSES[int(glad > 0.5)], probability_K, None, None, embedding_D
    )
    return FaceRow(picture, round(time_s * rate), time_s, track, face)


def smile(start_s, seconds=6.0, turn=1.5, rate=10, **more):
    """Calm, then glad within 0.3 s."""
    times = [number / rate for number in range(round(seconds * rate))]
    return [row(t, turn * min(1, max(0, (t - start_s) / 0.3)), rate=rate, **more) for t in times]


@pytest.mark.parametrize("rate", [10, 25])
def test_change_is_over_half_a_second_at_any_rate(rate):
    follower = Follower(CLASSES)
    rows = [follower.add(one) for one in smile(2.0, rate=rate)]
    assert rows[0].change is None and rows[0].since_s is None
    measured = [one for one in rows if one.change is not None]
    assert measured[0].time_s == pytest.approx(0.5, abs=0.05)
    for one in measured:
        assert 0.5 - 1e-6 <= one.time_s - one.since_s <= 0.5 + 1 / rate
    assert max(one.change for one in measured) == pytest.approx(2 - 2 * math.cos(1.5), abs=1e-4)


def test_rare_frames_are_compared_with_the_one_before():
    follower = Follower(CLASSES)
    rows = [follower.add(row(time_s, time_s / 10)) for time_s in (0.0, 3.0, 6.0)]
    assert [one.since_s for one in rows] == [None, 0.0, 3.0]


def test_peaks_are_the_greatest_changes_and_apart():
    follower = Follower(CLASSES, num_peaks=9)  # a still face has none
    one, other = smile(2.0, track=1), smile(4.0, turn=0.8, track=2)
    for pair in zip(one, other, strict=True):  # two faces in each frame
        for face in pair:
            follower.add(face)
    for face in smile(1.0, turn=3.0, picture="video_2.mp4"):
        follower.add(face)
    follower.end()
    first, second, third = follower.peaks()
    assert (first.picture, second.picture, third.picture) == ("video_2.mp4", "video.mp4", "video.mp4")
    assert (second.track, third.track) == (1, 2) and first.change > second.change > third.change
    assert second.since_s <= 2.0 and second.time_s >= 2.3 and second.frame == round(10 * second.time_s)
    assert (second.before, second.after) == ("calm", "glad")
    assert [(track.picture, track.track, track.faces) for track in follower.tracks] == [
        ("video.mp4", 1, 60),
        ("video.mp4", 2, 60),
        ("video_2.mp4", 1, 60),
    ]
    track = follower.tracks[0]
    assert (track.first_s, track.last_s, track.expression) == (0.0, 5.9, "glad") and track.change == second.change


def test_photos_and_faces_without_predictions_have_no_change():
    follower = Follower(CLASSES, num_peaks=3)
    photo = row(0.0, 0.0)
    for face in (FaceRow("a.png", None, None, None, photo.face), row(0.0, 0.0, status="bad_box")):
        assert follower.add(face) is face
    follower.end()
    assert follower.peaks() == [] == follower.tracks


def test_what_is_held_does_not_grow_with_the_video(monkeypatch):
    monkeypatch.setattr(following, "_TRACKS", 4)
    monkeypatch.setattr(following, "_DRAWN", 3)
    monkeypatch.setattr(curves, "POINTS", 16)
    follower = Follower(CLASSES, num_peaks=2)
    for track in range(1, 21):
        for number in range(track):
            follower.add(row(100 * track + number / 10, number / 20, track=track))
        assert len(follower._live) <= 4 and len(follower._peaks) <= 2 and len(follower._curves) <= 3
    for number in range(3000):
        follower.add(row(9000 + number / 10, 0.0, track=99))
    assert all(len(followed._moments) <= 7 for followed in follower._live.values())
    follower.end()
    assert [track.track for track, _ in follower.curves()] == [19, 20, 99]  # of the most faces
    assert len(follower.curves()[-1][1].values()[0]) <= 16 and len(follower.tracks) == 21


def test_a_curve_joins_points_and_keeps_its_peaks(monkeypatch):
    monkeypatch.setattr(curves, "POINTS", 8)
    curve = Curve(2)
    for number in range(37):
        face = row(number / 10, 0.0)
        curve.add(FaceRow(face.picture, number, number / 10, 1, face.face, change=1.0 if number == 17 else None))
    time_P, change_P, probability_PK = curve.values()
    assert len(time_P) <= 8 and (np.diff(time_P) > 0).all() and time_P[0] >= 0 and time_P[-1] <= 3.6
    assert np.nanmax(change_P) == 1.0 and np.isnan(change_P).sum() == len(change_P) - 1
    assert np.allclose(probability_PK, [1, 0])
