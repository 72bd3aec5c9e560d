"""``fecnet search odd``: mean distances, held against all pairs, of an index and of a folder alike."""

import json

import numpy as np
import pytest

import fecnet
from fecnet.cli.main import main
from fecnet.search.odd import _odd_rows
from fecnet.structures import odd_faces, opposite_distances
from tests.net_fixtures import aligned, squares  # noqa: F401  (fixtures)


def search(*words):
    return main(["search", *map(str, words), "--device", "cpu"])


def unit(num, seed=0):
    vector_ND = np.random.default_rng(seed).normal(size=(num, 16)).astype(np.float32)
    return vector_ND / np.linalg.norm(vector_ND, axis=1, keepdims=True)


def test_scores_are_mean_distances_to_all_others(monkeypatch):
    monkeypatch.setattr("fecnet.search.odd._BLOCK", 7)
    vector_ND = unit(40)
    pairs_NN = np.square(vector_ND[:, None].astype(float) - vector_ND).sum(-1)
    rows, distances = _odd_rows(vector_ND, 5, "")
    expected = pairs_NN.sum(1) / 39
    assert rows == np.argsort(-expected)[:5].tolist() and np.allclose(distances, expected[rows], rtol=1e-9)
    assert _odd_rows(np.repeat(vector_ND[:1], 5, axis=0), 9, "")[0] == [0, 1, 2, 3, 4]  # equal ones in order


def test_of_three_it_is_the_odd_one_out():
    import torch

    for seed in range(50):
        vector_3D = unit(3, seed)
        (odd,) = odd_faces(opposite_distances(torch.from_numpy(vector_3D)[None])).tolist()
        assert _odd_rows(vector_3D, 1, "")[0] == [odd]


def test_of_an_index_and_of_its_folder(aligned, monkeypatch, tmp_path, capsys):  # noqa: F811
    run, _, pictures, _ = aligned
    monkeypatch.chdir(tmp_path)
    assert search("build", run, "pictures", "--output", "faces") == 0
    assert search("odd", "faces", "-k", 3, "--json", "index.json") == 0
    text = capsys.readouterr().out
    assert search("odd", "pictures", "--net", run, "-k", 3, "--json", "folder.json") == 0
    index, folder = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("index", "folder"))
    assert index["odd"] == folder["odd"] and len(index["odd"]) == 3 and index["odd"][0]["name"] in text
    assert index["faces"] == 5 and folder["by_status"] == {"ok": 5}
    expected = fecnet.load(run).encode(pictures)
    vectors = expected.outputs["embedding"]
    score = np.square(vectors[:, None] - vectors).sum((1, 2)) / 4
    assert index["odd"][0] == {
        "name": f"pictures/{score.argmax()}.png",
        "frame": None,
        "time_s": None,
        "box": expected.box_N4[score.argmax()].tolist(),
        "distance": pytest.approx(score.max(), abs=1e-5),
    }
    assert search("odd", "pictures", "--net", run, "--faces", "all", "-k", 9, "--json", "every.json") == 0
    every = json.loads((tmp_path / "every.json").read_text())
    assert len({(face["name"], *face["box"]) for face in every["odd"]}) == 8 and every["by_status"] == {"ok": 8}
    for words, message in [
        (("pictures",), "pictures: no index, so it needs the net: --net RUN"),
        (("faces", "--net", run), "faces: an index, whose vectors are there already: give it alone and without --net"),
        (("faces", "--faces", "all"), "and without --net and --faces"),
        (("faces", "-k", 0), "k: 0; allowed: 1 or more"),
        ((pictures[0], pictures[1], "--net", run), "0.png: 2 faces; an odd one out needs three or more"),
    ]:
        assert search("odd", *words) == 2
        assert message in capsys.readouterr().err
