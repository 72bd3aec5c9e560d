"""An index answers alike whatever library searches it, is whole or not there, and lets no damage pass."""

import json

import numpy as np
import pytest
import torch

from fecnet.search import index as index_module
from fecnet.search import kinds
from fecnet.search.index import Index, Name, write_index
from fecnet.utils.files import hash_file
from tests.search.vectors import ABOUT, clustered, make, near_copies, rows_of

VECTORS, QUERIES = clustered(3000), clustered(40, seed=1)


@pytest.fixture
def faiss():
    return pytest.importorskip("faiss", reason="faiss is not installed: pip install 'fecnet[search]'")


@pytest.fixture
def no_faiss(monkeypatch):
    for module in (kinds, index_module):
        monkeypatch.setattr(module, "find_faiss", lambda: None)


def exact(queries, num):
    distance = np.square(queries[:, None].astype(np.float64) - VECTORS[None]).sum(2)
    return distance.argsort(1, kind="stable")[:, :num]


def test_torch_finds_the_nearest(tmp_path, no_faiss):
    found = Index(make(tmp_path / "index", VECTORS)).search(QUERIES, 7)
    assert np.array_equal(found.row_QK, exact(QUERIES, 7))
    assert found.distance_QK.dtype == np.float32
    assert np.allclose(found.distance_QK, np.square(QUERIES[:, None] - VECTORS[found.row_QK]).sum(2), atol=1e-6)


@pytest.mark.parametrize("without", [False, True])
@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw", "pq"])
@pytest.mark.parametrize("num", [1, 3, 7])
def test_near_copies_find_themselves_and_copies_come_by_row(tmp_path, monkeypatch, faiss, kind, num, without):
    """With products in float32 two thirds of these did not find themselves, and copies came in any order."""
    near = near_copies(140)
    path = make(tmp_path / "index", np.concatenate([near, near[::-1], near]), kind)
    if without:
        monkeypatch.setattr(index_module, "find_faiss", lambda: None)
    index, rows = Index(path), np.arange(280)
    copies = np.stack([rows, 559 - rows, 560 + rows], 1)[:, :num]
    assert np.array_equal(index.search(near, num).row_QK[:, :3], copies)
    for row in (0, 5, 279):
        assert np.array_equal(index.search(near[[row]], num).row_QK[:, :3], copies[[row]])


@pytest.mark.parametrize("kind", ["ivf", "hnsw", "pq"])
def test_a_still_video_hides_nobody(tmp_path, faiss, kind):
    """Copies are one vector to faiss: in a graph many of them would hide others, and fill every list of candidates."""
    still = np.repeat(VECTORS[:20], 60, axis=0)
    vectors = np.concatenate([still, VECTORS[20:1500]])
    index = Index(make(tmp_path / "index", vectors, kind))
    found = index.search(vectors[1200:], 1)
    assert (found.row_QK[:, 0] == np.arange(1200, len(vectors))).mean() > 0.98
    found = index.search(VECTORS[:20], 100)
    assert np.array_equal(found.row_QK[:, :60], np.arange(1200).reshape(20, 60))


@pytest.mark.slow
def test_queries_between_two_lists_search_the_same_ones_alone(tmp_path, faiss):
    """Half-way between centroids, products of matrices rounded one way for one query and another way for many."""
    index = Index(make(tmp_path / "index", clustered(20_000), "ivf"))
    lists = index._faiss.nlist
    centroids = faiss.downcast_index(index._faiss.quantizer).reconstruct_n(0, lists)
    pairs = np.random.default_rng(0).integers(0, lists, (600, 2))
    queries = centroids[pairs].mean(1, dtype=np.float32)
    alone = np.concatenate([index.search(query[None], 10).row_QK for query in queries])
    assert np.array_equal(index.search(queries, 10).row_QK, alone)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("hnsw", "faiss has no hnsw on GPUs"), ("ivf", "faiss finds 0 GPUs"), ("pq", "faiss finds 0 GPUs")],
)
def test_faiss_on_the_cpu_beside_a_gpu_says_so(tmp_path, faiss, monkeypatch, capsys, kind, said):
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0, raising=False)
    path = make(tmp_path / "index", VECTORS, kind)
    shape = (len(np.unique(VECTORS, axis=0)), VECTORS.shape[1])
    kinds.read_faiss(kind, shape, path / "nearest.faiss", torch.device("cuda", 0))
    told = capsys.readouterr().out
    assert f"searched on the CPU, not on cuda:0: {said}" in told and "--exact searches there" in told


def test_a_vector_that_is_not_finite_is_not_stored(tmp_path):
    vectors = VECTORS[:9].copy()
    vectors[4, 3] = np.nan
    with pytest.raises(ValueError, match=r"4\.png: its vector is not finite: the net is broken"):
        make(tmp_path / "index", vectors)
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("kind", ["ivf", "hnsw", "pq"])
def test_approximate_kinds_find_nearly_all(tmp_path, faiss, kind, capfd):
    index = Index(make(tmp_path / "index", VECTORS, kind))
    found = index.search(QUERIES, 10)
    assert np.mean([len(set(a) & set(b)) for a, b in zip(found.row_QK, exact(QUERIES, 10), strict=True)]) >= 9.8
    distance = np.square(QUERIES[:, None].astype(np.float64) - VECTORS[found.row_QK]).sum(2).astype(np.float32)
    assert np.array_equal(found.distance_QK, distance) and (np.diff(found.distance_QK) >= 0).all()
    assert index.kind == kind and (tmp_path / "index" / "nearest.faiss").is_file()
    assert capfd.readouterr().err == ""  # faiss complains there of small sets


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw", "pq"])
def test_all_are_found_where_all_are_asked_for(tmp_path, faiss, kind):
    """The lists that are searched hold fewer, and no place may stay empty; nor is a vector given twice."""
    vectors = VECTORS[:600]
    found = Index(make(tmp_path / "index", vectors, kind)).search(QUERIES, 1000)
    assert found.row_QK.shape == (40, 600)
    assert (np.sort(found.row_QK, axis=1) == np.arange(600)).all()


def test_without_faiss_every_index_still_opens(tmp_path, faiss, monkeypatch, capsys):
    make(tmp_path / "index", VECTORS, "ivf")
    monkeypatch.setattr(index_module, "find_faiss", lambda: None)
    found = Index(tmp_path / "index").search(QUERIES, 10)
    assert np.array_equal(found.row_QK, exact(QUERIES, 10))
    assert "faiss is not installed: exhaustive search instead of ivf" in capsys.readouterr().out


def test_auto_is_flat_until_it_gets_slow(monkeypatch):
    monkeypatch.setattr(kinds, "find_faiss", lambda: object())
    assert [kinds.choose_kind("auto", num) for num in (3, 200_000, 200_001)] == ["flat", "flat", "ivf"]
    monkeypatch.setattr(kinds, "find_faiss", lambda: None)
    assert kinds.choose_kind("auto", 200_001) == "flat"
    with pytest.raises(ValueError, match=r"kind hnsw: faiss builds it, which is not installed; allowed here: flat"):
        kinds.choose_kind("hnsw", 5)
    with pytest.raises(ValueError, match=r"kind: unknown name 'lsh'; allowed: auto, flat, ivf, hnsw, pq"):
        kinds.choose_kind("lsh", 5)


def test_too_few_for_compression(tmp_path, faiss):
    with pytest.raises(
        ValueError, match=r"kind pq: 12 distinct vectors; it needs 256 or more; allowed here: flat, ivf, hnsw"
    ):
        make(tmp_path / "index", VECTORS[:12], "pq")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("queries", "num", "said"),
    [
        (np.zeros((2, 8)), 3, r"queries of shape \(2, 8\); .*index expects \(Q, 16\)"),
        (np.zeros(16), 3, r"queries of shape \(16,\)"),
        (np.array([[0.0] * 16, [np.nan] * 16]), 3, r"query 1: not finite"),
        (np.zeros((1, 16)), 0, r"k: 0; allowed: 1 or more"),
    ],
)
def test_queries_that_do_not_fit(tmp_path, queries, num, said):
    with pytest.raises(ValueError, match=said):
        Index(make(tmp_path / "index", VECTORS[:20])).search(queries, num)


def test_no_query_no_answer(tmp_path):
    found = Index(make(tmp_path / "index", VECTORS[:20])).search(np.empty((0, 16)), 3)
    assert found.row_QK.shape == (0, 3)


def test_pictures_without_a_face_are_not_in_it_and_names_come_back_as_they_were(tmp_path):
    names = ["a.png", 'b,\n"c".png', "gone.png", "\udcff.png", "ü.png"]
    status = ["ok", "ok", "no_face", "ok", "ok"]
    vectors = VECTORS[:5].copy()
    vectors[2] = np.nan
    write_index(tmp_path / "index", [rows_of(vectors, status=status, names=names)], 4, 16, "flat", ABOUT)
    index = Index(tmp_path / "index")
    assert np.array_equal(index.vector_ND, VECTORS[[0, 1, 3, 4]])
    assert [name.file for name in index.every_name()] == [names[k] for k in (0, 1, 3, 4)]
    (name,) = index.names([2]).values()
    assert name[:2] == Name("\udcff.png", -1, float("nan"))[:2]


def test_a_failed_build_leaves_the_old_index(tmp_path, monkeypatch):
    path = make(tmp_path / "index", VECTORS[:20])
    before = (path / "index.json").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(index_module, "replace_json", full)
    with pytest.raises(OSError, match="No space left"):
        make(path, VECTORS[:30])
    assert (path / "index.json").read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["index"]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["vectors.npy", "names.csv", "nearest.faiss"])
def test_one_flipped_bit_is_seen(tmp_path, faiss, name):
    path = make(tmp_path / "index", VECTORS, "ivf")
    flip(path / name)
    with pytest.raises(ValueError, match=rf"{name}: not the file that was written: its checksum differs"):
        Index(path)
    (path / name).unlink()
    with pytest.raises(ValueError, match=rf"{name}: missing"):
        Index(path)


def test_exact_reads_no_file_of_faiss(tmp_path, faiss):
    path = make(tmp_path / "index", VECTORS, "ivf")
    flip(path / "nearest.faiss")
    index = Index(path, exact=True)
    assert np.array_equal(index.search(QUERIES, 10).row_QK, exact(QUERIES, 10)) and index.kind == "flat"


def test_faiss_gets_no_file_of_another_kind(tmp_path, faiss, monkeypatch):
    path = make(tmp_path / "index", VECTORS, "ivf")
    make(tmp_path / "other", VECTORS, "hnsw")
    (tmp_path / "other" / "nearest.faiss").replace(path / "nearest.faiss")
    described = json.loads((path / "index.json").read_text())
    described["files"]["nearest.faiss"]["sha256"] = hash_file(path / "nearest.faiss")
    (path / "index.json").write_text(json.dumps(described))
    monkeypatch.setattr(faiss, "read_index", lambda *_: pytest.fail("faiss was given the file"))
    with pytest.raises(ValueError, match=r"nearest.faiss: begins with b'IHNf'; expected b'IwFl' of kind ivf"):
        Index(path).search(QUERIES, 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 9}, r"index.json: made by a newer fecnet: format 9, this one reads up to 1; upgrade fecnet"),
        ({"kind": "lsh"}, r"index.json: kind 'lsh'; allowed: flat, ivf, hnsw, pq"),
        ({"dims": 8}, r"vectors.npy: holds float32 \(20, 16\); index.json announces float32 \(20, 8\)"),
    ],
)
def test_descriptions_that_do_not_fit(tmp_path, change, said):
    path = make(tmp_path / "index", VECTORS[:20])
    described = json.loads((path / "index.json").read_text())
    (path / "index.json").write_text(json.dumps(described | change))
    with pytest.raises(ValueError, match=said):
        Index(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"no index here \(no index.json\)"),
        ("{", "not a description of an index"),
        ("[]", "not a description of an index"),
        ('{"format": 1}', "lacks kind, num"),
    ],
)
def test_what_is_no_index(tmp_path, text, said):
    if text is not None:
        (tmp_path / "index.json").write_text(text)
    with pytest.raises(ValueError, match=said):
        Index(tmp_path)
