"""Chooses a round of triplets for a study: the first or a further one."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fecnet.faces.which import Which
from fecnet.rate.answers import AGREED
from fecnet.rate.choosing import NAMES, UNKNOWN, Chosen, known_triplets, random_triplets, typed_triplets, types_of
from fecnet.rate.informative import fit_beta, informative_triplets
from fecnet.rate.known import read_known
from fecnet.rate.plan import Plan
from fecnet.rate.sources import TRAIN, labels_of
from fecnet.rate.study import FACES, Study
from fecnet.rate.votes import read_votes
from fecnet.structures import TripletType
from fecnet.utils.errors import DataError

if TYPE_CHECKING:
    from fecnet.encoder.encoder import Encoder

logger = logging.getLogger(__name__)


def more_triplets(
    study: Study,
    triplets: int,
    *,
    strategy: str = "informative",
    encoder: Encoder | None = None,
    faces: Which = "auto",
) -> None:
    """Add a round of triplets to a study; raters may answer meanwhile.

    Args:
        study: an open study.
        triplets: number of triplets.
        strategy: one of ``STRATEGIES``.
        encoder: the net trained on the answers so far, for ``informative``.
        faces: which faces of pictures it uses, see ``Plan``.

    Raises:
        DataError: the faces have no further triplets.
    """
    raters, seed = int(study.setting("raters")), int(study.setting("seed"))
    plan = Plan(triplets, raters, strategy, controls=0, seed=seed, faces=faces)
    check_net(strategy, encoder)
    add_round(study, study.path, plan, encoder)


def check_net(strategy: str, encoder: Encoder | None) -> None:
    """Raise DataError unless a net is given exactly if the strategy uses one."""
    if strategy == "informative":
        if encoder is None:
            raise DataError("--strategy informative: needs the net that is to learn: --net RUN")
        encoder.check_output("embedding")
    elif encoder is not None:
        raise DataError(f"--strategy {strategy}: uses no net; allowed: without --net, or --strategy informative")


def add_round(
    study: Study, path: Path, plan: Plan, encoder: Encoder | None, *, known: str | Path | None = None
) -> None:
    """Choose triplets in each split, as many as its share of the faces, and store them as the next round.

    Args:
        study: an open study, with its faces.
        path: path of the study, for messages.
        plan: the plan of the study.
        encoder: the net, for ``informative``.
        known: see ``read_known``; None: controls are made from labels.
    """
    stored = study.rows("SELECT name, label, split FROM faces ORDER BY id")
    label_N, split_N = labels_of([row["label"] for row in stored]), np.array([row["split"] for row in stored])
    taken = {(row["a"] - 1, row["b"] - 1, row["c"] - 1) for row in study.rows("SELECT a, b, c FROM triplets")}
    controls = None if known is None else read_known(known, [row["name"] for row in stored])
    taken |= set() if controls is None else set(map(tuple, controls[0].tolist()))
    last = study.one("SELECT coalesce(max(round), 0) AS number FROM triplets")
    assert last is not None
    number = last["number"] + 1
    choose = _chooser(study, plan, encoder)
    rng = np.random.default_rng([plan.seed, number])
    parts = []
    for split, share in _shares(path, split_N, plan.triplets, taken).items():
        try:
            chosen = choose(np.flatnonzero(split_N == split), label_N, share, rng, taken)
        except DataError as error:
            raise DataError(f"{path}: split {split}: {error}") from None
        parts.append(chosen)
        taken |= set(map(tuple, chosen.faces_T3.tolist()))
    if controls is None:
        controls = known_triplets(np.flatnonzero(split_N == TRAIN), label_N, plan.controls, rng, taken)
    wanted = min(AGREED, plan.raters) if plan.strategy == "informative" else plan.raters
    rows = [
        (*(face + 1 for face in trio), None if kind == UNKNOWN else kind, None, wanted, plan.raters)
        for part in parts
        for trio, kind in zip(part.faces_T3.tolist(), part.type_T.tolist(), strict=True)
    ]
    rows += [
        (*(face + 1 for face in trio), None if kind == UNKNOWN else kind, odd, 0, 0)
        for trio, kind, odd in zip(
            controls[0].tolist(), types_of(label_N[controls[0]]).tolist(), controls[1].tolist(), strict=True
        )
    ]
    order = rng.permutation(len(rows)).tolist()
    with study.changing() as database:
        database.executemany(
            "INSERT INTO triplets (a, b, c, type, known, wanted, most, strategy, round, shuffle) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(*row, plan.strategy, number, place) for row, place in zip(rows, order, strict=True)],
        )
    _tell(path, number, plan.strategy, Counter(row[3] for row in rows if row[4] is None), len(controls[0]))


def _chooser(study: Study, plan: Plan, encoder: Encoder | None) -> Callable[..., Chosen]:
    if plan.strategy == "random":
        return random_triplets
    if plan.strategy == "typed":
        return typed_triplets
    assert encoder is not None
    emb_ND = _embeddings(study, encoder, plan.faces)
    votes = read_votes(study)
    beta = fit_beta(emb_ND, votes.faces_T3, votes.votes_T3)

    return partial(informative_triplets, emb_ND=emb_ND, beta=beta)


def _embeddings(study: Study, encoder: Encoder, faces: Which) -> np.ndarray:
    """The embedding of each face by its number, from 0; rows of NaN where the net finds none."""
    files = [study.path / FACES / row["file"] for row in study.rows("SELECT file FROM faces ORDER BY id")]
    # pixels of a packed set are passed as arrays: no face is detected in an array of the stored shape
    emb_ND, status = encoder.embed(map(_pixels, files), faces=faces, return_status=True)
    lost = Counter(word for word in status if word != "ok")
    if lost:
        told = ", ".join(f"{times:,} {word}" for word, times in sorted(lost.items()))
        logger.info("%s: %d of %d faces without an embedding: %s", study.path, lost.total(), len(files), told)
    return emb_ND


def _pixels(file: Path) -> Path | np.ndarray:
    if file.suffix != ".png":
        return file
    with Image.open(file) as image:
        pixels = np.array(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _shares(path: Path, split_N: np.ndarray, num: int, taken: Collection[tuple[int, ...]]) -> dict[str, int]:
    """Number of triplets of each split, proportional to its faces, at least one; the largest gets the remainder."""
    counts = Counter(split_N.tolist())
    for split, faces in counts.items():
        if faces < 3:
            raise DataError(
                f"{path}: {faces} faces in split {split}; a triplet needs 3; allowed: more faces, or other shares "
                "with --hold-out, 0 for none"
            )
    if num < len(counts):
        raise DataError(f"{path}: {num} triplets for {len(counts)} splits; allowed: {len(counts)} or more")
    taken_of = Counter(str(split_N[trio[0]]) for trio in taken)
    shares = {
        split: min(max(1, num * faces // len(split_N)), math.comb(faces, 3) - taken_of[split])
        for split, faces in counts.items()
    }
    largest = max(counts, key=lambda split: counts[split])
    shares[largest] += num - sum(shares.values())
    return shares


def _tell(path: Path, number: int, strategy: str, by_type: Counter[int | None], controls: int) -> None:
    types = ", ".join(
        f"{count:,} {NAMES[TripletType(kind)]}" for kind, count in sorted(by_type.items()) if kind is not None
    )
    logger.info(
        "%s: round %d, %s: %d triplets%s%s",
        path,
        number,
        strategy,
        by_type.total(),
        f" ({types})" if types else "",
        f", {controls} controls with a known answer" if controls else "",
    )
