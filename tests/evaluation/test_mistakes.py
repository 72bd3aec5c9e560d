"""The sheet shows wrong faces alone, the surest first."""

import numpy as np
import pytest
import torch
from PIL import Image

from fecnet.evaluation import mistakes

CLASSES = ("calm", "glad", "überrascht and more")


def drawn_of(monkeypatch):
    seen = {}
    real = mistakes.contact_sheet

    def spy(image_NHWC, columns, path, captions):
        seen.update(images=image_NHWC, columns=columns, captions=captions)
        real(image_NHWC, columns, path, captions)

    monkeypatch.setattr(mistakes, "contact_sheet", spy)
    return seen


def test_mistakes_equal_a_naive_loop():
    generator = torch.Generator().manual_seed(0)
    logits_MK = torch.randn(60, 3, generator=generator)
    label_M = torch.randint(-1, 3, (60,), generator=generator).numpy()
    naive = []
    for place, (logits, label) in enumerate(zip(logits_MK.double(), label_M, strict=True)):
        probability = torch.softmax(logits, 0)
        if label >= 0 and int(probability.argmax()) != label:
            naive.append((-float(probability.max()), place))
    places, confidence = mistakes.most_confident_mistakes(label_M, logits_MK, 10)
    assert places.tolist() == [place for _, place in sorted(naive)[:10]]
    assert confidence.tolist() == pytest.approx([-negative for negative, _ in sorted(naive)[:10]])


def test_captions_say_label_class_called_and_confidence(tmp_path, monkeypatch):
    seen = drawn_of(monkeypatch)
    faces = np.random.default_rng(0).integers(0, 256, (9, 48, 48, 1), np.uint8)
    rows = np.array([8, 2, 5, 1])
    logits_MK = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.05, 0.85], [0.9, 0.05, 0.05], [0.9, 0.05, 0.05]]))
    path = tmp_path / "sheet.png"
    shown = mistakes.mistake_sheet(faces, rows, np.array([1, 0, 0, -1]), logits_MK, CLASSES, path)
    assert shown == 2  # the third is right, the fourth has no label
    assert seen["captions"] == ["calm\n> ?berrascht 85%", "glad\n> calm 70%"]
    np.testing.assert_array_equal(seen["images"][:, ::2, ::2], faces[[2, 8]])
    assert Image.open(path).height == 2 + 96 + 2 + 2 * 13


def test_where_nothing_is_wrong_there_is_no_sheet(tmp_path):
    path = tmp_path / "sheet.png"
    path.write_bytes(b"of an earlier checkpoint")
    faces = np.zeros((2, 48, 48, 1), np.uint8)
    assert mistakes.mistake_sheet(faces, np.arange(2), np.array([0, 1]), torch.eye(3)[:2], CLASSES, path) == 0
    assert not path.exists()
