"""Labels by row, changed without touching the table; the last face of a class stays in it."""

import numpy as np
import pytest
import torch

from fecnet.data.label_overlay import Changed, LabelOverlay
from fecnet.data.labels import LabelTable
from fecnet.structures import Relabels

NAN = float("nan")


def table(label, faces=None, **columns):
    label = np.array(label)
    faces = np.arange(10, 10 + len(label)) if faces is None else np.array(faces)
    return LabelTable(("a", "b", "c"), faces.astype(np.int32), label, **columns)


def relabels(**by_row):
    rows = sorted((int(row[1:]), label) for row, label in by_row.items())
    return Relabels(torch.tensor([row for row, _ in rows]), torch.tensor([label for _, label in rows]))


def labels_of(overlay, *rows):
    return overlay.targets(torch.tensor(rows))["label"].tolist()


def test_targets_are_looked_up_by_row_and_absent_ones_are_minus_one():
    overlay = LabelOverlay(table([2, -1, 0, 1]), num_faces=20)
    assert overlay.rows_M.tolist() == [10, 12, 13]  # a face without a label is no item
    assert labels_of(overlay, 13, 0, 11, 10, 19, 10) == [1, -1, -1, 2, -1, 2]
    assert overlay.counts_K.tolist() == [1, 1, 1]


def test_distributions_and_affect_are_nan_where_absent():
    share = np.array([[0.5, 0.5, 0], [NAN, NAN, NAN], [0, 0.1, 0.9]], np.float32)
    affect = np.array([[0.1, -1], [0.5, 0.5], [NAN, NAN]], np.float32)
    votes = LabelOverlay(table([0, 1, -1], distribution_MK=share), 20, ["distribution"])
    assert votes.rows_M.tolist() == [10, 12] and votes.class_M.tolist() == [0, 2]
    np.testing.assert_allclose(votes.counts_K, [0.5, 0.6, 0.9], rtol=1e-6)
    found = votes.targets(torch.tensor([12, 11]))
    np.testing.assert_allclose(found["distribution"].numpy(), share[[2, 1]])
    both = LabelOverlay(table([0, -1, -1], valence_arousal_M2=affect), 20, ["label", "valence_arousal"])
    assert both.rows_M.tolist() == [10, 11]
    found = both.targets(torch.tensor([10, 11, 12]))["valence_arousal"].numpy()
    np.testing.assert_allclose(found, [[0.1, -1], [0.5, 0.5], [NAN, NAN]])


def test_changes_hold_and_go_through_a_state_while_the_table_stays():
    plain = table([0, 0, 0, 1, 1, 2, 2])
    overlay = LabelOverlay(plain, 20)
    assert overlay.change(relabels(r10=1, r11=0, r15=1)) == Changed(2, 0)  # the second is no change
    assert labels_of(overlay, 10, 11, 15) == [1, 0, 1]
    assert plain.label_M.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert overlay.class_M.tolist() == [0, 0, 0, 1, 1, 2, 2]  # the order of the data stays what it was
    again = LabelOverlay(plain, 20)
    again.load_state_dict(overlay.state_dict())
    assert torch.equal(again.targets(torch.arange(20))["label"], overlay.targets(torch.arange(20))["label"])
    assert again.change(relabels(r10=0)) == Changed(1, 0)
    assert again.state_dict()["row"].tolist() == [15]  # back to what the file says


def test_a_changed_face_votes_for_its_new_class_alone():
    share = torch.tensor([[0.6, 0.4, 0], [0.2, 0.8, 0], [0.9, 0, 0.1], [0.5, 0, 0.5]])
    overlay = LabelOverlay(table([0, 1, 0, 2], distribution_MK=share.numpy()), 20, ["distribution"])
    overlay.change(relabels(r10=1))
    found = overlay.targets(torch.tensor([10, 11]))["distribution"]
    torch.testing.assert_close(found, torch.tensor([[0, 1.0, 0], [0.2, 0.8, 0]]))
    assert overlay.change(relabels(r10=0)) == Changed(1, 0)  # as filed: a resumed run would not know otherwise
    torch.testing.assert_close(overlay.targets(torch.arange(10, 14))["distribution"], share)


def test_the_last_face_of_a_class_stays_in_it():
    overlay = LabelOverlay(table([0, 0, 1, 2]), 20)
    assert overlay.change(relabels(r12=0, r10=2)) == Changed(1, 1)
    assert labels_of(overlay, 10, 12) == [2, 1]


def test_what_stays_may_keep_others_from_leaving():
    # b's only face may not go to c, so c's only face may not go to a either
    overlay = LabelOverlay(table([0, 1, 2]), 20)
    assert overlay.change(relabels(r11=2, r12=0)) == Changed(0, 2)
    assert labels_of(overlay, 10, 11, 12) == [0, 1, 2]
    swapped = LabelOverlay(table([0, 1, 2]), 20)
    assert swapped.change(relabels(r11=2, r12=1)) == Changed(2, 0)  # nobody is left without


def test_nothing_found_changes_nothing():
    overlay = LabelOverlay(table([0, 1, 2]), 20)
    empty = torch.zeros(0, dtype=torch.int64)
    assert overlay.change(Relabels(empty, empty)) == Changed(0, 0)


def test_a_face_that_stands_twice_is_named():
    with pytest.raises(ValueError, match="face 11 occurs twice in the labels; allowed: once"):
        LabelOverlay(table([0, 1, 2], faces=[10, 11, 11]), 20)
