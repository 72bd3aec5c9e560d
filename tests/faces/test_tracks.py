"""Faces followed by their boxes: who keeps a number, and what ends a track."""

import numpy as np
import pytest

from fecnet.faces.tracks import Tracker

GREY = np.full((90, 120, 3), 120, np.uint8)


def box(x, y=0, side=40):
    return [x, y, x + side, y + side]


def follow(frames, rate=10):
    """The tracks of each frame, whose image is grey where none is given."""
    tracker = Tracker()
    told = []
    for number, boxes in enumerate(frames):
        image_HWC, boxes = boxes if isinstance(boxes, tuple) else (GREY, boxes)
        told.append(tracker.update(image_HWC, number / rate, np.array(boxes, np.float32).reshape(-1, 4)))
    return told, tracker


def test_faces_keep_their_numbers_in_any_order():
    told, tracker = follow([[box(0), box(60)], [box(64), box(3)], [box(6)], [box(70), box(9)]])
    assert told == [[1, 2], [2, 1], [1], [2, 1]] and tracker.tracks == 2 and tracker.cuts == 0


def test_one_face_takes_one_track():
    """Of two that overlap a face before, the nearer one."""
    assert follow([[box(0)], [box(12), box(2)], [box(12), box(2)]])[0] == [[1], [2, 1], [2, 1]]


@pytest.mark.parametrize(("missing", "rate", "again"), [(8, 10, 1), (12, 10, 2), (1, 0.1, 1), (2, 0.1, 2)])
def test_a_face_that_is_lost_for_long_begins_anew(missing, rate, again):
    told, _ = follow([[box(0)], *[[]] * missing, [box(0)]], rate)
    assert told[-1] == [again]


def test_a_cut_ends_all_tracks():
    told, tracker = follow([[box(0)], (GREY + 29, [box(0)]), (GREY - 2, [box(0)]), (GREY - 2, [box(0)])])
    assert told == [[1], [1], [2], [2]] and tracker.cuts == 1
