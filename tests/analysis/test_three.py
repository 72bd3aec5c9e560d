"""``fecnet odd``: the answer of the net itself for the largest face of each photo."""

import json

import numpy as np
import pytest
from PIL import Image

import fecnet
from fecnet.analysis.three import odd_of_three
from fecnet.cli.main import main


def odd(run, *words):
    return main(["odd", *map(str, words), "--net", str(run), "--device", "cpu"])


def test_the_odd_one_of_three_photos(aligned, monkeypatch, capsys):
    run, _, pictures, _ = aligned
    monkeypatch.chdir(pictures[0].parent)
    encoder = fecnet.load(run)
    names = ["0.png", "1.png", "3.png"]
    for whole in (False, True):
        assert odd(run, *names, *(["--faces", "whole"] if whole else [])) == 0
        text = capsys.readouterr().out
        expected = encoder.odd_one_out(*names, faces="whole" if whole else "auto")
        assert f"odd one out: {names[expected]}\n" in text
        for a, b in ((0, 1), (0, 2), (1, 2)):
            distance = encoder.distance(names[a], names[b], faces="whole" if whole else "auto")
            assert f"{distance:.4f}  {names[a]}  {names[b]}" in text
        assert ("0.png: the largest of 2 faces" in text) != whole
    assert odd(run, *names, "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["odd"] == encoder.odd_one_out(*names) and found["boxes"][0] == [100, 80, 160, 140]
    np.testing.assert_allclose(found["probabilities"], encoder.odd_one_out(*names, probability=True), rtol=1e-4)
    closest, second = sorted(found["distances"])[:2]
    assert found["margin"] == pytest.approx(second - closest) and found["others"] == [1, 0, 0]


def test_the_chances_are_those_of_the_nets_scale(aligned):
    run, _, pictures, _ = aligned
    encoder, names = fecnet.load(run), [str(pictures[k]) for k in (0, 1, 3)]
    encoder.choice_scale = 0.7
    found = odd_of_three(encoder, names)
    power = np.exp(-0.7 * np.array(found.distances[::-1]))
    assert found.probabilities == pytest.approx((0.95 * power / power.sum() + 0.05 / 3).tolist())
    np.testing.assert_allclose(encoder.odd_one_out(*names, probability=True), found.probabilities, rtol=1e-4)


def test_boxes_choose_the_faces_in_python(aligned):
    run, _, pictures, images = aligned
    encoder = fecnet.load(run)
    boxes = [[10, 10, 40, 40], None, [60, 120, 115, 175]]
    vectors = encoder.embed(pictures[:3], boxes=boxes)
    distances = [np.square(vectors[a] - vectors[b]).sum() for a, b in ((1, 2), (0, 2), (0, 1))]
    assert encoder.odd_one_out(*pictures[:3], boxes=boxes) == np.argmin(distances)
    pair = encoder.distance(images[0], images[1], boxes=boxes[:2])
    assert pair == pytest.approx(distances[2], abs=1e-6) and pair != encoder.distance(images[0], images[1])
    with pytest.raises(ValueError, match="boxes: not as many as pictures"):
        encoder.distance(images[0], images[1], boxes=boxes)


def test_equally_close_pairs_have_none(aligned, capsys):
    run, _, pictures, _ = aligned
    assert odd(run, pictures[0], pictures[0], pictures[0]) == 0
    assert "odd one out: none: two pairs are equally close" in capsys.readouterr().out


def test_without_an_answer_it_is_one_line(aligned, tmp_path, capsys):
    run, _, pictures, _ = aligned
    Image.fromarray(np.zeros((60, 60, 3), np.uint8)).save(tmp_path / "empty.png")
    assert odd(run, *pictures[:2], tmp_path / "empty.png") == 2
    assert f"{tmp_path / 'empty.png'}: no_face: " in capsys.readouterr().err
    for whole in ((), ("--faces", "whole")):
        assert odd(run, *pictures[:2], tmp_path / "gone.png", *whole) == 2
        assert f"{tmp_path / 'gone.png'}: missing_file: no such file" in capsys.readouterr().err
