"""Fuzzed: annotations, lists, labelled layouts, recipes and overrides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.fuzz_mutations import Files
from benchmarks.fuzz_target import Target, check
from fecnet.config.node import load_config
from fecnet.config.recipes import shipped_recipes
from fecnet.embed.sources import Sources
from fecnet.prepare.annotations import read_annotations, read_crops
from fecnet.prepare.rater_answers import read_answers
from fecnet.prepare.triplet_lists import read_lists
from fecnet.prepare.triplet_rows import Annotations, check_usable

_LINE_END = re.compile(rb"\r\n|\r|\n")
_FACES = [f"http://a.org/{face}.jpg,0.1,0.5,0.2,0.625" for face in "abcd"]
_FEC = "\n".join(
    ",".join([*(_FACES[(row + k) % 4] for k in range(3)), kind, answers])
    for row, (kind, answers) in enumerate(
        (
            ("ONE_CLASS_TRIPLET", "r1,1,r2,1,r3,2"),
            ("TWO_CLASS_TRIPLET", "r1,3,r2,3,r4,3"),
            ("THREE_CLASS_TRIPLET", "r2,2"),
        )
    )
)
_LISTS = (
    "img1,img2,img3,label,type\na.png,b.png,c.png,1,ONE_CLASS_TRIPLET\nb.png,d.png,c.png,3,TWO_CLASS_TRIPLET\n",
    "0;a/1.png;b/2.png;c/3.png;0;ONE_CLASS_TRIPLET\n1;a/2.png;b/3.png;c/4.png;2;THREE_CLASS_TRIPLET\n",
    "type,votes_1,votes_2,votes_3,img1,img2,img3,label\none_class,3,1,0,a.png,b.png,c.png,1\n",
)
_ANSWERS = (
    "a,b,c,odd,rater,split\n1.png,2.png,3.png,1,x,train\n1.png,2.png,3.png,1,y,train\n2.png,3.png,4.png,3,x,val\n",
    "a,b,c,votes_a,votes_b,votes_c,type,subject_a,subject_b,subject_c\n1.png,2.png,3.png,3,1,0,one_class,p,q,r\n",
)
_PHOTO_LISTS = {
    **{"list.txt": b"a.png\n# of a day\nb c/d.png\n", "list.csv": b"file,age\na.png,1\nb c/d.png,2\n"},
    **{"a.png": b"", "b c/d.png": b""},
}
_CROPS = "url,left,right,top,bottom,path\nhttp://a.org/a.jpg,0.1,0.5,0.2,0.6,a.png\nhttp://a.org/b.jpg,0,1,0,1,b.png\n"


def _count_lines(file: Path) -> int:
    content = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
    parts = _LINE_END.split(content)
    return len(parts) - (not parts[-1])


def _check_tables(tables: Mapping[str, Annotations], files: Mapping[str, Path]) -> None:
    """Each line of a file is kept or dropped by reason, and what is kept is in range."""
    for split, table in tables.items():
        told = table.coverage
        lines = _count_lines(files[split])
        check(told["read"] == lines, f"{split}: {told['read']} lines read of {lines}")
        check(len(table.odd_T) == lines - sum(told["dropped"].values()), f"{split}: kept {len(table.odd_T)}: {told}")
        _check_triplets(table)
    check_usable(files, tables)


def _check_triplets(table: Annotations) -> None:
    odd_T, faces_T3 = table.odd_T, table.faces_T3
    check(bool(((odd_T >= 0) & (odd_T < 3)).all()), f"odd {odd_T.tolist()}")
    check(bool(((faces_T3 >= 0) & (faces_T3 < len(table.face_photo_F))).all()), f"faces {faces_T3.tolist()}")
    check(bool((np.diff(np.sort(faces_T3, 1), axis=1) > 0).all()), "a face twice in a triplet")
    check(len(table.answer) == table.answer_offset[-1] == len(table.annotator), "answers without a triplet")


def _read_fec(folder: Path) -> None:
    files = {split: folder / f"{split}.csv" for split in ("train", "test")}
    _check_tables(read_annotations(files, progress=False), files)


def _read_list(folder: Path) -> None:
    files = {"train": folder / "list.csv"}
    _check_tables(read_lists(files, progress=False), files)


def _read_answers(folder: Path) -> None:
    for table in read_answers(folder / "answers.csv", progress=False).values():
        told = table.coverage
        kept = len(table.answer) or len(table.odd_T)
        check(kept == told["read"] - sum(told["dropped"].values()), f"kept {kept}, {told}")
        _check_triplets(table)


def _read_crops(folder: Path) -> None:
    check(len(read_crops(folder / "crops.csv")) <= _count_lines(folder / "crops.csv"), "more crops than lines")


def _read_sources(folder: Path) -> None:
    for name in ("list.txt", "list.csv"):
        sources = Sources([folder / name])
        sources.check()
        list(sources.pieces())


def _recipes() -> list[Files]:
    return [{"recipe.yaml": path.read_bytes()} for path in shipped_recipes().values()]


def _read_recipe(folder: Path) -> None:
    load_config(folder / "recipe.yaml")


def _read_overrides(folder: Path) -> None:
    load_config(overrides=(folder / "words.txt").read_bytes().decode(errors="surrogateescape").split("\n"))


_OVERRIDES = (
    "SOLVER.BASE_LR\n1e-3\nDATA.EVAL_SPLITS\n[val, test]\nSEED\n3\nMODEL.HEAD\njoint\nNAME\nrun\nAUGMENT.FLIP\n0.5"
)
_FEC_WORDS = (*b"ONE_CLASS_TRIPLET 2.0 r1,1 http://a.org/a.jpg,0,1,0,1 +1 1e0 0.9999999".split(),)
_LIST_WORDS = (*b"img1 label odd rater votes_a type one_class path split a.png train".split(),)
_KEYS = (
    b"SEED: 1",
    b"  WIDTH_MULT: 1",
    b"[1, 2]",
    b"(1, 2)",
    b"{a: 1}",
    *b"MODEL: SOLVER.BASE_LR DATA 1e400 .inf".split(),
)


def table_targets() -> Iterator[Target]:
    """Those of this file."""
    fec = {"train.csv": f"{_FEC}\n".encode(), "test.csv": _FEC.replace("r1", "s1").encode()}
    yield Target("fec", lambda: [fec], _read_fec, _FEC_WORDS, weight=16)
    yield Target("list", lambda: _each("list.csv", _LISTS), _read_list, _LIST_WORDS, weight=8)
    yield Target("answers", lambda: _each("answers.csv", _ANSWERS), _read_answers, _LIST_WORDS, weight=8)
    yield Target("crops", lambda: _each("crops.csv", (_CROPS,)), _read_crops, _FEC_WORDS)
    yield Target("photos", lambda: [_PHOTO_LISTS], _read_sources, _LIST_WORDS, names=True)
    yield Target("recipe", _recipes, _read_recipe, _KEYS, lines=True, weight=8)
    yield Target(
        "overrides", lambda: _each("words.txt", (_OVERRIDES,)), _read_overrides, _KEYS, lines=True, unnamed=True
    )


def _each(name: str, texts: Sequence[str]) -> list[Files]:
    return [{name: text.encode()} for text in texts]
