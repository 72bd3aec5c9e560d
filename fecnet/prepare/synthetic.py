"""A data set of synthetic faces: identities, expressions around twelve anchors, and the votes of simulated annotators.

Identity and expression are sampled independently, and the test split has other identities than the training split, so
only the expression determines the odd face.

Shape suffixes: N faces, S pixels per side, E expression parameters, T triplets, A annotators.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fecnet.faces.recipe import FaceRecipe
from fecnet.prepare.writer import PackedWriter, face_key
from fecnet.synthetic.annotators import NUM_ANNOTATORS, AnnotatedTriplets, annotate_triplets, true_odd
from fecnet.synthetic.crowd import CROWD_ERROR, crowd_answers
from fecnet.synthetic.expressions import EXPRESSIONS, sample_expressions, to_perceptual
from fecnet.synthetic.rendering import render_faces, resample_capture, sample_identities
from fecnet.utils.errors import DataError

GENERATOR_VERSION = 1  # increase when the same seed gives other faces, so that data sets are not confused
LABEL_SET = "synthetic"
_CHUNK = 16  # faces rendered at once: their planes fit into the processor's cache


def prepare_synthetic(
    path: str | Path,
    *,
    seed: int = 0,
    size: int = 48,
    num_train_identities: int = 800,
    num_val_identities: int = 80,
    num_test_identities: int = 200,
    faces_per_identity: int = 8,
    num_train_triplets: int = 24_000,
    num_val_triplets: int = 1_200,
    num_test_triplets: int = 3_000,
    crowd: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> None:
    """Render faces, annotate triplets and write the packed data set.

    The set also has ``expression.npy``, float32, shape (N, E): the true expressions in perceptual units, from which the
    best possible accuracy is computed. With ``crowd`` the training triplets have the answers of three of twelve raters
    (``fecnet.synthetic.crowd``), and their odd face is that of the majority; those with three different answers are
    dropped. The other splits have the true odd face and no raters. ``rater_error.npy``, shape (12,), has the raters'
    true error rates.

    Args:
        path: the folder to create.
        seed: the same seed gives the same arrays.
        size: S, pixels per side.
        num_train_identities: identities in split ``train``.
        num_val_identities: other identities, in split ``val``, for selecting a checkpoint.
        num_test_identities: further identities, in split ``test``.
        faces_per_identity: faces rendered of each identity.
        num_train_triplets: triplets kept in ``train``, a third of each type.
        num_val_triplets: triplets kept in ``val``.
        num_test_triplets: triplets kept in ``test``.
        crowd: twelve raters of known error rates, see above.
        overwrite: replace an existing packed data set at ``path``.
        progress: show a bar where there is a terminal.

    Raises:
        DataError: ``path`` exists, the size is too small to show a face, or there are too few faces for triplets.
    """
    if size < 24:
        raise DataError(f"--size {size}: too small to show a face; allowed: 24 or more pixels")
    requested = {
        "train": (num_train_identities, num_train_triplets),
        "val": (num_val_identities, num_val_triplets),
        "test": (num_test_identities, num_test_triplets),
    }
    splits, first_subject = [], 0
    for name, (num_identities, num_triplets) in requested.items():
        splits.append(_sample_split(name, seed, first_subject, num_identities, faces_per_identity, num_triplets))
        first_subject += num_identities
    splits = [_ask_crowd(split, seed) for split in splits] if crowd else splits
    shape = {"num_faces": sum(len(split.label_N) for split in splits), "height": size, "width": size}
    bar: tqdm[Any] = tqdm(
        total=shape["num_faces"], desc="rendering faces", unit="face", disable=None if progress else True
    )
    with PackedWriter(path, **shape, channels=["R", "G", "B"], overwrite=overwrite) as writer, bar:
        for split in splits:
            _write_split(writer, split, seed, size, bar)
        writer.add_array("expression", np.concatenate([to_perceptual(split.expression_NE) for split in splits]))
        if crowd:
            writer.add_array("rater_error", CROWD_ERROR)
        writer.set_coverage(_coverage(splits))
        writer.set_faces(FaceRecipe())
        raters = ", twelve raters" if crowd else ""
        writer.set_sources({"fecnet.prepare.synthetic": f"version {GENERATOR_VERSION}, seed {seed}{raters}"})


@dataclass(frozen=True)
class _Split:
    """All data of one split except the images; rows in ``annotated`` count from the split's first face."""

    name: str
    subject_N: np.ndarray
    identity_NI: np.ndarray
    expression_NE: np.ndarray
    label_N: np.ndarray
    annotated: AnnotatedTriplets
    rater_TA: np.ndarray | None = None  # rater of each answer; None: all six annotators
    num_tied: int = 0  # triplets dropped since the crowd's answers tie


def _sample_split(
    name: str, seed: int, first_subject: int, num_identities: int, num_each: int, num_triplets: int
) -> _Split:
    # One independent random stream per purpose: more triplets, for example, do not change the faces.
    identities, captures, expressions, annotators = (
        int(child.generate_state(1, np.uint64)[0]) for child in np.random.SeedSequence([seed, *name.encode()]).spawn(4)
    )
    identity = resample_capture(sample_identities(num_identities, identities).repeat(num_each, axis=0), captures)
    expression, label = sample_expressions(len(identity), expressions)
    annotated = annotate_triplets(to_perceptual(expression), label, num_triplets, np.random.default_rng(annotators))
    subject = np.arange(first_subject, first_subject + num_identities).repeat(num_each)
    return _Split(name, subject, identity, expression, label, annotated)


def _ask_crowd(split: _Split, seed: int) -> _Split:
    """The same faces, with training triplets answered by the crowd (ties are dropped), and others without answers."""
    annotated = split.annotated
    odd_T = true_odd(to_perceptual(split.expression_NE), annotated.faces_T3)
    if split.name != "train":
        nobody_T0 = np.empty((len(odd_T), 0), np.int64)
        true = replace(annotated, odd_T=odd_T, votes_T3=np.zeros_like(annotated.votes_T3), answer_TA=nobody_T0)
        return replace(split, annotated=true, rater_TA=nobody_T0)
    found = crowd_answers(odd_T, np.random.default_rng([seed, *b"crowd"]))
    kept = np.flatnonzero(~found.tied_T)
    judged = replace(
        annotated,
        faces_T3=annotated.faces_T3[kept],
        odd_T=found.votes_T3[kept].argmax(axis=1),
        type_T=annotated.type_T[kept],
        votes_T3=found.votes_T3[kept],
        answer_TA=found.choice_T3[kept],
    )
    return replace(split, annotated=judged, rater_TA=found.rater_T3[kept], num_tied=len(odd_T) - len(kept))


def _write_split(writer: PackedWriter, split: _Split, seed: int, size: int, bar: tqdm[Any]) -> None:
    rows: list[int] = []
    records = _records(split.subject_N, seed)
    for images in _render_in_chunks(split.identity_NI, split.expression_NE, size):
        rows.extend(writer.add_faces(images, records[len(rows) : len(rows) + len(images)]))
        bar.update(len(images))
    row_N, annotated = np.array(rows), split.annotated
    writer.add_triplets(
        split.name,
        faces_T3=row_N[annotated.faces_T3],
        odd_T=annotated.odd_T,
        type_T=annotated.type_T,
        votes_T3=annotated.votes_T3,
        **_answer_arrays(split),
    )
    writer.add_labels(LABEL_SET, split.name, classes=EXPRESSIONS, faces_M=row_N, label_M=split.label_N)


def _answer_arrays(split: _Split) -> dict[str, np.ndarray]:
    """The answers in the arrays of a triplet file; empty where nobody was asked."""
    answer_TA = split.annotated.answer_TA
    if not answer_TA.size:
        return {}
    rater_TA = np.broadcast_to(np.arange(NUM_ANNOTATORS), answer_TA.shape) if split.rater_TA is None else split.rater_TA
    return {
        "answer_offset": np.arange(0, answer_TA.size + 1, answer_TA.shape[1], dtype=np.int64),
        "annotator": rater_TA.reshape(-1).astype(np.int32),
        "answer": answer_TA.reshape(-1).astype(np.int8),
    }


def _records(subject_N: np.ndarray, seed: int) -> list[dict[str, str]]:
    """Rows of ``faces.csv``: the source names seed, subject and face; there is no box."""
    records = []
    for k, subject in enumerate(subject_N):
        source = f"synthetic:{seed}/{subject}/{k - int(np.searchsorted(subject_N, subject))}"
        records.append({"key": face_key(source), "source": source, "subject": str(subject)})
    return records


def _render_in_chunks(identity_NI: np.ndarray, expression_NE: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Images in order, in chunks, rendered by one thread per core (numpy releases the GIL)."""

    def render(first: int) -> np.ndarray:
        chunk = slice(first, first + _CHUNK)
        return render_faces(identity_NI[chunk], expression_NE[chunk], size)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(render, range(0, len(identity_NI), _CHUNK))


def _coverage(splits: list[_Split]) -> dict[str, Any]:
    kept = sum(len(split.annotated.odd_T) for split in splits)
    dropped = {
        "no_clear_odd_one": sum(split.annotated.num_unclear for split in splits),
        "raters_disagree": sum(split.annotated.num_disagreed for split in splits),
    }
    dropped |= {"tie": tied} if (tied := sum(split.num_tied for split in splits)) else {}
    faces = sum(len(split.label_N) for split in splits)
    return {
        "triplets": {"read": kept + sum(dropped.values()), "kept": kept, "dropped": dropped},
        "faces": {"read": faces, "kept": faces, "dropped": {}},
    }
