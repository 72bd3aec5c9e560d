"""How far the raters of labelled pictures agree on the triplets made of their votes."""

from itertools import product

import numpy as np
import pytest
from PIL import Image

from fecnet.cli.main import main
from fecnet.data.packed import PackedDataset
from fecnet.data.rater_agreement import split_half_agreements

CLASSES = ("happy", "sad", "angry")
SAID = "split-half agreement of raters, %"


def prepare(folder, votes_NK):
    """A list of noise with these votes, in splits train and test, packed with 30 and 15 triplets."""
    for k in range(len(votes_NK)):
        noise = np.random.default_rng(k).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{k}.png")
    rows = [f"{k}.png,{'train' if k % 3 else 'test'},{','.join(map(str, votes))}" for k, votes in enumerate(votes_NK)]
    (folder / "list.csv").write_text("\n".join([f"path,split,{','.join(CLASSES)}", *rows]))
    words = ["--votes", ",".join(CLASSES), "--triplets", "30", "--eval-triplets", "15", "--size", "8"]
    assert main(["prepare", "csv", str(folder / "list.csv"), str(folder / "set"), *words]) == 0
    return PackedDataset(folder / "set")


def sure(raters, num=36):
    """All raters of each picture choose one class."""
    return [[raters * (k // 3 % 3 == place) for place in range(3)] for k in range(num)]


def test_raters_who_agree_on_faces_agree_on_their_triplets(tmp_path, capsys):
    dataset = prepare(tmp_path, sure(4))
    said = capsys.readouterr().out
    assert "list.csv: the votes are read as numbers of raters, 4 to 4 of a picture" in said
    found = split_half_agreements(dataset)  # what evaluate reads
    assert set(found) == {"train", "test"}
    kept = {split: sum(parts["triplets"].values()) for split, parts in dataset.description["splits"].items()}
    for split, kind in product(found, ("ONE", "THREE")):  # all alike, or all different: two halves do not tell
        assert found[split][kind]["percent"] is None
    for split in found:
        assert found[split]["TWO"]["percent"] == found[split]["ALL"]["percent"] == 100
        assert found[split]["ALL"]["counted"] == 20 * kept[split]  # halvings
    capsys.readouterr()
    assert main(["data", "show", str(tmp_path / "set")]) == 0
    assert f"{SAID}\n  split  ONE    TWO  THREE    ALL\n  train    -  100.0      -  100.0\n" in capsys.readouterr().out


def test_raters_who_differ_agree_less_and_a_picture_of_one_rater_is_left_out(tmp_path, capsys):
    rng = np.random.default_rng(0)
    votes_NK = [rng.multinomial(1 if k % 5 == 0 else 5, (0.55, 0.25, 0.2)).tolist() for k in range(60)]
    dataset = prepare(tmp_path, votes_NK)
    said = capsys.readouterr().out
    assert "numbers of raters, 1 to 5 of a picture" in said and SAID in said
    everyone = split_half_agreements(dataset)["train"]["ALL"]
    table = dataset.triplets("train")
    sources = [
        int(row.split(",")[1].split(".")[0]) for row in (tmp_path / "set/faces.csv").read_text().splitlines()[1:]
    ]
    halved = sum(all(sources[face] % 5 for face in faces) for faces in table.faces_T3.tolist())
    assert 0 < halved < len(table.odd_T)
    assert everyone["counted"] + everyone["no_answer"] == 20 * halved and 0 < everyone["percent"] < 100


@pytest.mark.parametrize(
    "votes_NK",
    [sure(1), [[0.5 * (vote > 0) for vote in votes] for votes in sure(2)], sure(10**7), sure(10**308)],
    ids=["single", "shares", "beyond", "far"],
)
def test_shares_and_single_raters_have_no_halves(tmp_path, capsys, votes_NK):
    dataset = prepare(tmp_path, votes_NK)
    said = capsys.readouterr().out
    assert SAID not in said and "numbers of raters" not in said
    assert "split_half_agreement" not in dataset.coverage and split_half_agreements(dataset) == {}
