"""Micro-batches of all ranks together are the global batch, whatever the split."""

import numpy as np
import pytest
import torch

from fecnet.config.node import load_config
from fecnet.data.build import build_loader, build_trained_rows
from fecnet.data.faces import MappedFaces
from fecnet.data.label_overlay import LabelOverlay
from fecnet.data.loader import LabelledLoader, TripletLoader, vote_weights
from fecnet.data.packed import PackedDataset, TripletTable
from fecnet.data.samplers import ClassSampler, RoundSampler, TripletSampler
from fecnet.structures import Relabels
from tests.classes import labels_of, write_labelled


def faces_of(dataset):
    return MappedFaces(dataset.faces_NHWC, torch.device("cpu"))


def loader(tiny, *, rank=0, world_size=1, accumulate=1):
    dataset = PackedDataset(tiny)
    table = dataset.triplets("train")
    sampler = TripletSampler(table.type_T, batch_size=8, seed=0, balance=True)
    weight_T = vote_weights(table)
    return TripletLoader(
        faces_of(dataset), table, sampler, weight_T=weight_T, rank=rank, world_size=world_size, accumulate=accumulate
    )


def joined(batches):
    parts = [
        (b.of_samples(b.image_UCHW), b.row_N, b.position_N, b.triplets.odd_B, b.triplets.type_B, b.triplets.weight_B)
        for b in batches
    ]
    return [torch.cat(column) for column in zip(*parts, strict=True)]


@pytest.mark.parametrize(("world_size", "accumulate"), [(1, 3), (2, 1), (3, 1), (3, 2), (8, 5)])
def test_shares_make_the_global_batch(tiny, world_size, accumulate):
    whole = joined(loader(tiny).gather(5))
    parts = [
        b
        for r in range(world_size)
        for b in loader(tiny, rank=r, world_size=world_size, accumulate=accumulate).gather(5)
    ]
    for expected, found in zip(whole, joined(parts), strict=True):
        assert torch.equal(expected, found)


def test_all_ranks_have_as_many_micro_batches(tiny):
    # 8 triplets on 3 ranks: shares of 2, 3 and 3
    loaders = [loader(tiny, rank=rank, world_size=3, accumulate=3) for rank in range(3)]
    assert [[len(b.triplets.odd_B) for b in each.gather(1)] for each in loaders] == [[1, 1], [1, 2], [1, 2]]
    assert {each.smallest_batch for each in loaders} == {3}


def test_a_batch_holds_what_the_files_hold(tiny):
    (batch,) = loader(tiny).gather(1)
    faces = np.load(tiny / "faces.npy")
    image_NCHW = batch.of_samples(batch.image_UCHW)
    np.testing.assert_array_equal(image_NCHW.permute(0, 2, 3, 1).numpy(), faces[batch.row_N.numpy()])
    assert batch.position_N.tolist() == list(range(24))
    with np.load(tiny / "triplets" / "train.npz") as file:
        stored = {tuple(row): int(odd) for row, odd in zip(file["faces"].tolist(), file["odd"], strict=True)}
    for faces_3, odd in zip(batch.row_N[batch.triplets.face_B3].tolist(), batch.triplets.odd_B.tolist(), strict=True):
        assert stored[tuple(faces_3)] == odd


def test_a_face_of_several_triplets_is_one_image(tiny):
    (batch,) = loader(tiny).gather(1)
    different = len(set(batch.row_N.tolist()))
    assert len(batch.row_N) == 24 > different == len(batch.image_UCHW) == len(batch.row_U)


def test_a_shared_face_is_drawn_by_its_row_and_a_labelled_one_by_its_place(tiny, moods):
    """Ranks whose triplets share a face see it alike; a face of a rare class that comes twice is augmented twice."""
    (shared,), (single,) = loader(tiny).gather(1), labelled(moods)[0].gather(1)
    assert torch.equal(shared.augment_key_U, shared.row_U)
    assert torch.equal(single.augment_key_U, single.position_N)


def test_iterations_come_in_order(tiny):
    seen = [(iteration, batches[0].row_N.tolist()) for iteration, batches in loader(tiny)(3, 6)]
    assert [iteration for iteration, _ in seen] == [3, 4, 5, 6]
    assert seen[2][1] == loader(tiny).gather(5)[0].row_N.tolist()
    assert list(loader(tiny)(7, 6)) == []


def test_a_world_larger_than_the_batch_is_refused(tiny):
    with pytest.raises(ValueError, match=r"SOLVER\.BATCH_SIZE: 8 triplets cannot be shared by 9 ranks"):
        loader(tiny, world_size=9)


def test_vote_weights():
    votes = np.array([[6, 0, 0], [1, 4, 1], [0, 0, 0]], np.uint8)
    table = TripletTable(np.zeros((3, 3), np.int32), np.array([0, 1, 2], np.int8), np.zeros(3, np.int8), votes)
    raw = np.array([1, 4 / 6, 1])
    np.testing.assert_allclose(vote_weights(table), raw / raw.mean(), rtol=1e-6)


@pytest.fixture(scope="module")
def moods(tmp_path_factory):
    return write_labelled(tmp_path_factory.mktemp("labelled") / "moods")


def labelled(moods, **split):
    dataset = PackedDataset(moods)
    labels = LabelOverlay(dataset.labels("mood", "train"), len(dataset.faces_NHWC), ["label", "distribution"])
    sampler = ClassSampler(labels.class_M, batch_size=9, seed=0, balance=True)
    return LabelledLoader(faces_of(dataset), labels.rows_M, sampler, labels=labels, **split), labels


def joined_targets(batches):
    parts = [(b.image_UCHW, b.row_N, b.position_N, b.targets["label"], b.targets["distribution"]) for b in batches]
    return [torch.cat(column) for column in zip(*parts, strict=True)]


@pytest.mark.parametrize(("world_size", "accumulate"), [(1, 2), (2, 1), (3, 2), (9, 1)])
def test_shares_of_labelled_faces_make_the_global_batch(moods, world_size, accumulate):
    whole = joined_targets(labelled(moods)[0].gather(4))
    split = {"world_size": world_size, "accumulate": accumulate}
    ranks = [labelled(moods, rank=rank, **split)[0] for rank in range(world_size)]
    parts = [batch for rank in ranks for batch in rank.gather(4)]
    for expected, found in zip(whole, joined_targets(parts), strict=True):
        assert torch.equal(expected, found)
    assert {rank.smallest_batch for rank in ranks} == {min(len(batch.row_N) for batch in parts)}


def test_a_labelled_batch_holds_what_the_files_hold(moods):
    (batch,) = labelled(moods)[0].gather(2)
    faces = np.load(moods / "faces.npy")
    np.testing.assert_array_equal(batch.image_UCHW.permute(0, 2, 3, 1).numpy(), faces[batch.row_N.numpy()])
    assert batch.position_N.tolist() == list(range(9)) and batch.triplets is None
    assert batch.targets["label"].tolist() == labels_of(batch.row_N.tolist()).tolist()
    assert batch.targets["distribution"].argmax(1).tolist() == batch.targets["label"].tolist()


def test_a_changed_label_is_in_the_very_next_batch_though_its_faces_were_begun_before(moods):
    loader, labels = labelled(moods)
    iterations = loader(1, 2)
    next(iterations)
    row_N = loader.gather(2)[0].row_N.unique()  # what the second batch will hold
    labels.change(Relabels(row_N, (torch.from_numpy(labels_of(row_N.tolist())) + 1) % 3))
    _, (batch,) = next(iterations)
    assert batch.targets["label"].tolist() == [(label + 1) % 3 for label in labels_of(batch.row_N.tolist())]


def joint(moods, *, joining=0, **split):
    dataset = PackedDataset(moods)
    labels = LabelOverlay(dataset.labels("mood", "train"), len(dataset.faces_NHWC))
    table = dataset.triplets("train")
    sampler = TripletSampler(table.type_T, batch_size=7, seed=0, balance=False)
    labelled = RoundSampler([labels.rows_M], num_items=len(labels), batch_size=joining, seed=0) if joining else None
    return TripletLoader(faces_of(dataset), table, sampler, labels=labels, labelled=labelled, **split)


def test_triplets_bring_the_labels_of_their_faces(moods):
    (batch,) = joint(moods).gather(1)
    assert batch.targets["label"].tolist() == labels_of(batch.row_N.tolist()).tolist()
    assert -1 in batch.targets["label"] and batch.triplets is not None


@pytest.mark.parametrize(("world_size", "accumulate"), [(1, 1), (1, 3), (2, 1), (3, 2), (6, 1)])
def test_labelled_faces_join_the_triplets_of_a_batch(moods, world_size, accumulate):
    """Behind the triplets' faces, whatever the shares, with their labels, each once in a round."""
    shares = [{"rank": rank, "world_size": world_size, "accumulate": accumulate} for rank in range(world_size)]
    batches = [batch for share in shares for batch in joint(moods, joining=5, **share).gather(3)]
    place_N = torch.cat([batch.position_N for batch in batches])
    row_N = torch.cat([batch.row_N for batch in batches])[place_N.argsort()]
    rounds = RoundSampler([np.flatnonzero(labels_of(range(40)) >= 0)], num_items=35, batch_size=5, seed=0)
    assert place_N.sort().values.tolist() == list(range(3 * 7 + 5))
    assert row_N.tolist() == [*joint(moods).gather(3)[0].row_N.tolist(), *rounds.rows(3).tolist()]
    assert len(np.unique(np.concatenate([rounds.rows(iteration) for iteration in range(1, 7)]))) == 30
    faces = np.load(moods / "faces.npy")
    for batch in batches:
        assert batch.targets["label"].tolist() == labels_of(batch.row_N.tolist()).tolist()
        image_NCHW = batch.of_samples(batch.image_UCHW)
        np.testing.assert_array_equal(image_NCHW.permute(0, 2, 3, 1).numpy(), faces[batch.row_N.numpy()])


def test_more_ranks_than_labelled_faces_are_refused(moods):
    with pytest.raises(ValueError, match=r"SOLVER\.BATCH_SIZE: 9 labelled faces cannot be shared by 10 ranks"):
        labelled(moods, world_size=10)


def test_where_no_labelled_faces_can_join(moods):
    dataset = PackedDataset(moods)
    labels = LabelOverlay(dataset.labels("mood", "train"), len(dataset.faces_NHWC))

    def build(count, labels, *, triplets):
        cfg = load_config(None, ["SOLVER.LABELLED_BATCH_SIZE", str(count), "SOLVER.BATCH_SIZE", "6"])
        here = {"rank": 0, "world_size": 1, "device": torch.device("cpu")}
        return build_loader(cfg, dataset, labels, triplets=triplets, **here)

    assert len(build(35, labels, triplets=True).gather(1)[0].row_N) == 3 * 6 + 35
    for count, given, triplets, why in (
        (36, labels, True, "there are 35 labelled faces; allowed here: 0..35"),
        (-1, labels, True, "there are 35 labelled faces; allowed here: 0..35"),
        (1, None, True, "triplets and labels are not both trained on; allowed here: 0..0"),
        (1, labels, False, "triplets and labels are not both trained on; allowed here: 0..0"),
    ):
        with pytest.raises(ValueError, match=rf"^SOLVER\.LABELLED_BATCH_SIZE: {count}, but {why}$"):
            build(count, given, triplets=triplets)


def test_faces_that_join_are_learnt_from(moods):
    dataset = PackedDataset(moods)
    of_triplets = np.unique(dataset.triplets("train").faces_T3)
    for count, expected in ((0, of_triplets), (4, np.union1d(of_triplets, np.flatnonzero(labels_of(range(40)) >= 0)))):
        cfg = load_config(None, ["DATA.LABELS", "mood", "SOLVER.LABELLED_BATCH_SIZE", str(count)])
        assert build_trained_rows(cfg, dataset, ["label"], triplets=True).tolist() == expected.tolist()
