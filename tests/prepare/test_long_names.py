"""A listed name that is longer than a file's can be is a dropped row, not the end."""

import json

import numpy as np
from PIL import Image

from fecnet.cli.main import main


def test_names_too_long_for_the_file_system_are_dropped_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(3):
        image_HWC = np.random.default_rng(number).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(image_HWC).save(tmp_path / "photos" / f"{number}.png")
    names = ["0.png", "x" * 300 + ".png", "y/" * 3000 + "a.png"]
    rows = [f"{name},1.png,2.png,1,ONE_CLASS_TRIPLET" for name in names]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    assert main(["prepare", "list", "list.csv", "photos", "set", "--size", "40", "--detector", "none"]) == 0
    coverage = json.loads((tmp_path / "set" / "dataset.json").read_text())["coverage"]
    assert coverage["photos"]["dropped"]["missing_file"] == 2
    assert coverage["triplets"]["train"]["kept"] == 1
