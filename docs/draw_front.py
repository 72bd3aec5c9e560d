"""Draws the pictures of the README: ``python docs/draw_front.py result/demo docs/images``, of an evaluated demo.

``front.png``: in each row three test faces with the odd one marked, then the faces of other people that are nearest in
the embedding to one of the two others. Rows are the triplets that are clearest to the net, of
those on which all simulated annotators agree, as does the net.
``odd/0.png`` to ``odd/2.png``: the faces of the example.

Shape suffixes: N embedded faces, D embedding dimensions, S pixels per side.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fecnet.data.face_rows import face_rows  # noqa: E402
from fecnet.data.packed import PackedDataset  # noqa: E402
from fecnet.evaluation.nearest import squared_distances  # noqa: E402
from fecnet.runs.run import Run  # noqa: E402
from fecnet.structures import TripletType  # noqa: E402
from fecnet.synthetic.expressions import EXPRESSIONS, sample_expressions  # noqa: E402
from fecnet.synthetic.rendering import render_faces, sample_identities  # noqa: E402

SPLIT = "test"
_SHOWN = ("laugh", "anger", "laugh")  # by the three faces of the example
_LARGE = 240  # pixels: as in a photo, so that the detector finds them
_ROWS, _NEAREST = 3, 5
_SIDE, _GAP, _LINE, _BREAK = 96, 4, 18, 32  # pixels: a face, between faces, a line of text, before the neighbours
_ODD = (214, 84, 0)


def chosen_triplets(dataset: PackedDataset, row_N: np.ndarray, emb_ND: np.ndarray) -> Iterator[tuple[list[int], int]]:
    """Triplets to draw, the clearest first: rows of the faces, and the odd one's place. No class is drawn twice."""
    table = dataset.triplets(SPLIT)
    subjects = [row["subject"] for row in face_rows(dataset.path)]
    labels = dataset.labels(next(iter(dataset.description["label_sets"])), SPLIT)
    class_of = dict(zip(labels.faces_M.tolist(), labels.label_M.tolist(), strict=True))
    place_of = {row: place for place, row in enumerate(row_N.tolist())}
    place_T3 = np.vectorize(place_of.__getitem__)(table.faces_T3)
    pairs = ((1, 2), (0, 2), (0, 1))  # pair k omits face k
    distance_T3 = np.stack([squared_distances(*emb_ND[place_T3[:, pair]].swapaxes(0, 1)) for pair in pairs], axis=1)
    closest_T2 = np.sort(distance_T3, axis=1)[:, :2]
    drawn: set[int] = set()
    for triplet in np.argsort(closest_T2[:, 0] - closest_T2[:, 1], kind="stable").tolist():
        faces, odd, votes_3 = table.faces_T3[triplet].tolist(), int(table.odd_T[triplet]), table.votes_T3[triplet]
        if (
            table.type_T[triplet] == TripletType.TWO_CLASS
            and votes_3[odd] == votes_3.sum() > 0
            and distance_T3[triplet].argmin() == odd
            and len({subjects[row] for row in faces}) == 3
            and drawn.isdisjoint(class_of[row] for row in faces)
        ):
            drawn.update(class_of[row] for row in faces)
            yield faces, odd


def nearest_of_others(dataset: PackedDataset, row_N: np.ndarray, emb_ND: np.ndarray, query: int) -> list[int]:
    """The nearest faces of other people, one of each person."""
    subjects = [row["subject"] for row in face_rows(dataset.path)]
    place = row_N.tolist().index(query)
    found: dict[str, int] = {}
    for k in np.argsort(squared_distances(emb_ND, emb_ND[place]), kind="stable").tolist():
        subject = subjects[row_N[k]]
        if subject != subjects[query]:
            found.setdefault(subject, int(row_N[k]))
    return list(found.values())[:_NEAREST]


def draw(dataset: PackedDataset, row_N: np.ndarray, emb_ND: np.ndarray, path: Path) -> None:
    """Write the picture.

    Args:
        dataset: synthetic faces, with the annotators' votes.
        row_N: rows of its faces that have an embedding; all of the test split.
        emb_ND: their embeddings.
        path: PNG to write.
    """
    step = _SIDE + _GAP
    right = 3 * step + _BREAK
    image = Image.new("RGB", (right + (1 + _NEAREST) * step, _LINE + _ROWS * (step + _LINE)), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    pen.text((0, 0), "which of the three is the odd one out?", "black", font)
    pen.text((right, 0), "nearest faces of other people, by the net", "black", font)
    for line, (three, odd) in zip(range(_ROWS), chosen_triplets(dataset, row_N, emb_ND), strict=False):
        query = three[1 if odd == 0 else 0]
        top = _LINE + line * (step + _LINE)
        places = [*range(0, 3 * step, step), *range(right, image.width, step)]
        faces = [*three, query, *nearest_of_others(dataset, row_N, emb_ND, query)]
        for left, row in zip(places, faces, strict=False):
            face = Image.fromarray(np.ascontiguousarray(dataset.faces_NHWC[row][..., :3]))
            image.paste(face.resize((_SIDE, _SIDE), Image.Resampling.NEAREST), (left, top))
        left = places[odd]
        pen.rectangle((left, top, left + _SIDE - 1, top + _SIDE - 1), outline=_ODD, width=5)
        pen.text((left, top + _SIDE), "odd one out", _ODD, font)
        pen.text((right, top + _SIDE), "query", "black", font)
    image.save(path, optimize=True)


def three_faces() -> np.ndarray:
    """The faces of the example, of three people, uint8, shape (3, S, S, 3)."""
    expression_NE, label_N = sample_expressions(3 * len(EXPRESSIONS), seed=0)
    of_class = {name: iter(np.flatnonzero(label_N == EXPRESSIONS.index(name))) for name in set(_SHOWN)}
    rows = [next(of_class[name]) for name in _SHOWN]
    return render_faces(sample_identities(3, seed=0), expression_NE[rows], _LARGE)


if __name__ == "__main__":
    run = Run(Path(sys.argv[1]))
    arrays = run.arrays("embeddings", ("embedding",))
    assert arrays is not None, f"{run.path}: not evaluated"
    images = Path(sys.argv[2])
    draw(PackedDataset(run.config.DATA.PATH), arrays["rows"], arrays["embedding"], images / "front.png")
    (images / "odd").mkdir(exist_ok=True)
    for number, face_SS3 in enumerate(three_faces()):
        Image.fromarray(face_SS3).save(images / "odd" / f"{number}.png", optimize=True)
