"""Makes a study, and further rounds of triplets in it.

Settings of a study, in its database: ``question`` that raters read, ``raters`` answers wanted of a triplet,
``per_rater`` tasks of a rater at most (0: all), ``control_every`` so many-th task of a rater is a control (0: none),
``seed``, ``stopped``, ``open_link`` the hash of the open link's token or null.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fecnet.prepare.people import Shares, people_of, split_people
from fecnet.rate.answers import AGREED
from fecnet.rate.choosing import NAMES, UNKNOWN, Chosen, known_triplets, random_triplets, typed_triplets
from fecnet.rate.informative import fit_beta, informative_triplets
from fecnet.rate.pictures import copy_pictures
from fecnet.rate.sources import TRAIN, SourceFace, labels_of, read_source
from fecnet.rate.study import CONSENT, FACES, INSTRUCTIONS, Study, create_database
from fecnet.rate.votes import read_votes
from fecnet.structures import TripletType
from fecnet.utils.errors import DataError
from fecnet.utils.files import whole_or_absent, write_bytes
from fecnet.utils.lookup import lookup

if TYPE_CHECKING:
    from fecnet.encoder.encoder import Encoder

logger = logging.getLogger(__name__)

STRATEGIES = ("random", "typed", "informative")
QUESTION = "Which face shows a different expression than the two others?"
_MOST_TRIPLETS, _MOST_RATERS = 1_000_000, 255
_TEXTS = Path(__file__).parent / "texts"


@dataclass(frozen=True)
class Plan:
    """What is asked.

    Attributes:
        triplets: how many.
        raters: answers wanted of each.
        strategy: one of ``STRATEGIES``.
        per_rater: triplets at most of a rater; 0: all.
        controls: triplets with a known answer, where there are labels.
        control_every: so many-th task of a rater is a control; 0: none.
        hold_out: share of the people whose faces become other splits, where the source has none; None: all in train.
        question: what raters are asked.
        seed: of all choices.
    """

    triplets: int
    raters: int = 6
    strategy: str = "random"
    per_rater: int = 0
    controls: int = 12
    control_every: int = 10
    hold_out: Shares | None = None
    question: str = QUESTION
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {
            "triplets": (1, _MOST_TRIPLETS),
            "raters": (1, _MOST_RATERS),
            "per_rater": (0, _MOST_TRIPLETS),
            "controls": (0, 1000),
            "control_every": (0, 1000),
        }
        for name, (lowest, highest) in limits.items():
            value = getattr(self, name)
            if not lowest <= value <= highest:
                option = f"--{name.replace('_', '-')}"
                raise DataError(f"{option} {value}; allowed: {lowest} to {highest:,}")
        if self.control_every == 1:
            raise DataError("--control-every 1: nothing but controls; allowed: 0 for none, or 2 to 1,000")
        lookup(dict.fromkeys(STRATEGIES), self.strategy, key="--strategy")


def new_study(
    path: str | Path,
    source: str | Path,
    plan: Plan,
    *,
    encoder: Encoder | None = None,
    labelled: bool = False,
    progress: bool = True,
) -> None:
    """Make the folder of a study: copies of the pictures, the triplets to ask, and texts for the owner to edit.

    Args:
        path: the folder to create.
        source: see ``read_source``.
        plan: what is asked.
        encoder: the net, for ``informative``.
        labelled: read labels of pictures; ``typed`` does so anyway.
        progress: show a progress bar.

    Raises:
        DataError: ``path`` exists; the source cannot be read; its faces are too few for what is asked.
    """
    path = Path(path)
    if path.exists():
        raise DataError(f"{path}: exists; a study is never overwritten; further triplets: fecnet rate more {path}")
    _check_net(plan.strategy, encoder)
    found = read_source(Path(source), labelled=labelled or plan.strategy == "typed")
    with whole_or_absent(path) as partial:
        (partial / FACES).mkdir(parents=True)
        copied, dropped = copy_pictures(found, partial / FACES, progress=progress)
        if dropped:
            told = ", ".join(f"{number:,} {reason}" for reason, number in sorted(dropped.items()))
            logger.info("%s: %d of %d pictures left out: %s", source, dropped.total(), len(found), told)
        faces = _with_splits([face for face, _ in copied], plan, Path(source))
        files = [name for _, name in copied]
        create_database(
            partial,
            question=plan.question,
            raters=plan.raters,
            per_rater=plan.per_rater,
            control_every=plan.control_every,
            seed=plan.seed,
            stopped=False,
            open_link=None,
        )
        for name in (INSTRUCTIONS, CONSENT):
            write_bytes(partial / name, (_TEXTS / name).read_bytes())
        with Study(partial) as study:
            _store_faces(study, faces, files)
            _add_round(study, path, plan, encoder)
    logger.info("%s: %s", path, _described(faces))


def more_triplets(
    study: Study, triplets: int, *, strategy: str = "informative", encoder: Encoder | None = None
) -> None:
    """Add a round of triplets to a study; raters may answer meanwhile.

    Args:
        study: an open one.
        triplets: how many.
        strategy: one of ``STRATEGIES``.
        encoder: the net as it has been trained by now, for ``informative``.

    Raises:
        DataError: the faces give no further triplets.
    """
    plan = Plan(triplets, int(study.setting("raters")), strategy, controls=0, seed=int(study.setting("seed")))
    _check_net(strategy, encoder)
    _add_round(study, study.path, plan, encoder)


def _check_net(strategy: str, encoder: Encoder | None) -> None:
    if strategy == "informative":
        if encoder is None:
            raise DataError("--strategy informative: needs the net that is to learn: --net RUN")
        encoder.check_output("embedding")
    elif encoder is not None:
        raise DataError(f"--strategy {strategy}: uses no net; allowed: without --net, or --strategy informative")


def _with_splits(faces: Sequence[SourceFace], plan: Plan, source: Path) -> list[SourceFace]:
    """The faces with their splits: the source's own, or people held out as the plan says."""
    own = {face.split for face in faces}
    if plan.hold_out is None or own != {TRAIN}:
        if plan.hold_out is not None:
            logger.info("%s: has splits of its own, %s; nobody is held out beside them", source, ", ".join(sorted(own)))
        return [*faces]
    people = people_of([face.subject for face in faces], [face.name for face in faces])
    split_of = split_people(people, plan.hold_out, seed=plan.seed, origin=source, option="--hold-out")
    return [
        SourceFace(face.name, face.picture, face.subject, face.label, split_of[person])
        for face, person in zip(faces, people, strict=True)
    ]


def _store_faces(study: Study, faces: Sequence[SourceFace], files: Sequence[str]) -> None:
    with study.changing() as database:
        database.executemany(
            "INSERT INTO faces (id, name, file, subject, label, split) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (number, face.name, file, face.subject, face.label, face.split)
                for number, (face, file) in enumerate(zip(faces, files, strict=True), 1)
            ],
        )


def _add_round(study: Study, path: Path, plan: Plan, encoder: Encoder | None) -> None:
    """Choose triplets in each split, as many as its share of the faces, and store them as the next round.

    Args:
        study: an open one, with its faces.
        path: of the study, for messages.
        plan: what is asked.
        encoder: for ``informative``.
    """
    stored = study.rows("SELECT label, split FROM faces ORDER BY id")
    label_N, split_N = labels_of([row["label"] for row in stored]), np.array([row["split"] for row in stored])
    taken = {(row["a"] - 1, row["b"] - 1, row["c"] - 1) for row in study.rows("SELECT a, b, c FROM triplets")}
    last = study.one("SELECT coalesce(max(round), 0) AS number FROM triplets")
    assert last is not None
    number = last["number"] + 1
    choose = _chooser(study, plan.strategy, encoder)
    rng = np.random.default_rng([plan.seed, number])
    parts = []
    for split, share in _shares(path, split_N, plan.triplets, taken).items():
        try:
            chosen = choose(np.flatnonzero(split_N == split), label_N, share, rng, taken)
        except DataError as error:
            raise DataError(f"{path}: split {split}: {error}") from None
        parts.append(chosen)
        taken |= set(map(tuple, chosen.faces_T3.tolist()))
    known, known_odd = known_triplets(np.flatnonzero(split_N == TRAIN), label_N, plan.controls, rng, taken)
    wanted = min(AGREED, plan.raters) if plan.strategy == "informative" else plan.raters
    rows = [
        (*(face + 1 for face in trio), None if kind == UNKNOWN else kind, None, wanted, plan.raters)
        for part in parts
        for trio, kind in zip(part.faces_T3.tolist(), part.type_T.tolist(), strict=True)
    ]
    rows += [
        (*(face + 1 for face in trio), int(TripletType.TWO_CLASS), odd, 0, 0)
        for trio, odd in zip(known.tolist(), known_odd.tolist(), strict=True)
    ]
    order = rng.permutation(len(rows)).tolist()
    with study.changing() as database:
        database.executemany(
            "INSERT INTO triplets (a, b, c, type, known, wanted, most, strategy, round, shuffle) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(*row, plan.strategy, number, place) for row, place in zip(rows, order, strict=True)],
        )
    _tell(path, number, plan.strategy, Counter(row[3] for row in rows if row[4] is None), len(known))


def _chooser(study: Study, strategy: str, encoder: Encoder | None) -> Callable[..., Chosen]:
    if strategy == "random":
        return random_triplets
    if strategy == "typed":
        return typed_triplets
    assert encoder is not None
    emb_ND = _embeddings(study, encoder)
    votes = read_votes(study)
    beta = fit_beta(emb_ND, votes.faces_T3, votes.votes_T3)

    return partial(informative_triplets, emb_ND=emb_ND, beta=beta)


def _embeddings(study: Study, encoder: Encoder) -> np.ndarray:
    """The embedding of each face by its number, from 0; rows of NaN where the net finds none."""
    files = [study.path / FACES / row["file"] for row in study.rows("SELECT file FROM faces ORDER BY id")]
    # pixels of a packed set are passed as they are: an array of the stored shape is not looked for a face
    emb_ND, status = encoder.embed(map(_pixels, files), faces="auto", return_status=True)
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
    """Triplets of each split in proportion to its faces, one or more; the largest has what small ones lack."""
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


def _described(faces: Sequence[SourceFace]) -> str:
    splits = Counter(face.split for face in faces)
    return f"{len(faces):,} faces ({', '.join(f'{split} {number:,}' for split, number in splits.items())})"


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
