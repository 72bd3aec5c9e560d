"""Creates a study.

Settings of a study in its database: ``question``, shown to raters; ``raters``, number of answers wanted per triplet;
``per_rater``, maximum number of tasks of a rater (0: no limit); ``control_every``: every n-th task of a rater is a
control (0: none); ``seed``; ``stopped``; ``open_link``, hash of the open link's token or null; ``open_raters``, maximum
number of raters created by open links.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fecnet.prepare.people import people_of, split_people
from fecnet.rate.pictures import copy_pictures
from fecnet.rate.plan import Plan
from fecnet.rate.rounds import add_round, check_net
from fecnet.rate.sources import TRAIN, SourceFace, read_source
from fecnet.rate.study import CONSENT, FACES, INSTRUCTIONS, Study, create_database
from fecnet.utils.errors import DataError
from fecnet.utils.files import whole_or_absent, write_bytes

if TYPE_CHECKING:
    from fecnet.encoder.encoder import Encoder

logger = logging.getLogger(__name__)

_TEXTS = Path(__file__).parent / "texts"


def new_study(
    path: str | Path,
    source: str | Path,
    plan: Plan,
    *,
    encoder: Encoder | None = None,
    labelled: bool = False,
    known: str | Path | None = None,
    progress: bool = True,
) -> None:
    """Create the folder of a study: copies of the pictures, the triplets to ask, and texts for the owner to edit.

    Args:
        path: the folder to create.
        source: see ``read_source``.
        plan: the plan of the study.
        encoder: the net, for the strategy ``informative``.
        labelled: read labels of pictures; the strategy ``typed`` always does.
        known: table of controls, see ``read_known``; None: controls are made from labels, if there are any.
        progress: show a progress bar.

    Raises:
        DataError: ``path`` exists; the source or ``known`` cannot be read; there are too few faces for the plan.
    """
    path = Path(path)
    if path.exists():
        raise DataError(f"{path}: exists; a study is never overwritten; further triplets: fecnet rate more {path}")
    check_net(plan.strategy, encoder)
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
            open_raters=0,
        )
        for name in (INSTRUCTIONS, CONSENT):
            write_bytes(partial / name, (_TEXTS / name).read_bytes())
        with Study(partial) as study:
            _store_faces(study, faces, files)
            add_round(study, path, plan, encoder, known=known)
    logger.info("%s: %s", path, _described(faces))


def _with_splits(faces: Sequence[SourceFace], plan: Plan, source: Path) -> list[SourceFace]:
    """The faces with their splits: those of the source, or by people held out according to the plan."""
    own = {face.split for face in faces}
    if plan.hold_out is None or own != {TRAIN}:
        if plan.hold_out is not None:
            logger.info("%s: has splits of its own, %s; nobody is held out in addition", source, ", ".join(sorted(own)))
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


def _described(faces: Sequence[SourceFace]) -> str:
    splits = Counter(face.split for face in faces)
    return f"{len(faces):,} faces ({', '.join(f'{split} {number:,}' for split, number in splits.items())})"
