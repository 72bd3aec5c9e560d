"""Reads annotated triplets: the FEC files, and tables of existing face crops.

Sources: Google's Facial Expression Comparison files (arXiv:1811.11283), whose row length varies with the number of
annotators. Every line of a file is either kept or counted as dropped, by reason.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from fecnet.prepare.text_rows import Tally, check_text_file, text_rows, whole_number
from fecnet.prepare.triplet_rows import MAX_VOTES, NUMBERS, TYPES, Annotations, TripletRows, finish_rows, parse_box
from fecnet.prepare.writer import face_key
from fecnet.utils.errors import DataError
from fecnet.utils.shown import cut, shown

# Reasons for dropping a line, in the order of checking: a line with several faults counts under the first.
ANNOTATION_REASONS = (
    "empty_line",  # nothing but spaces and commas
    "short_row",  # fewer columns than three faces and a type need
    "no_url",
    "bad_box",  # an edge is not a number or outside 0..1, or the box is empty or inverted
    "same_face_twice",
    "unknown_type",
    "incomplete_answers",  # no answers, an annotator without an answer, or an answer without an annotator
    "bad_answer",  # not 1, 2 or 3; not 0, 1 or 2 where the files count from 0
    "too_many_answers",  # more than 255 for one face
    "tie",  # two faces, or all three, have the most votes
    "no_agreement",  # the majority is smaller than min_agreement
)
CROP_COLUMNS = ("url", "left", "right", "top", "bottom", "path")

_SPELLINGS = {str(number): number for number in NUMBERS}
_TYPE_COLUMN = 15  # after URL and four edges of three faces


def read_annotations(
    files: Mapping[str, str | Path], *, min_agreement: float = 2 / 3, progress: bool = True
) -> dict[str, Annotations]:
    """Read files in the layout of ``faceexp-comparison-data-{train,test}-public.csv``.

    No header; URL, left, right, top, bottom of three faces, the type, then pairs of an annotator and the answer: 1..3,
    or 0..2 where the files contain a 0 and no 3.

    Args:
        files: annotation file by split; answers are counted from the same number in all of them.
        min_agreement: minimum share of annotators who chose the odd face, inclusive; 2/3 as in arXiv:1811.11283.
        progress: show a progress bar.

    Raises:
        DataError: no text file, answers 0 and 3, or ``min_agreement`` is out of range.
    """
    if not 0 < min_agreement <= 1:
        raise DataError(f"min_agreement: {min_agreement}; allowed: above 0, at most 1")
    share = Fraction(min_agreement).limit_denominator(1000)  # exact: 4 of 6 annotators are two thirds
    return finish_rows({split: _read(Path(file), share, progress) for split, file in files.items()})


def _read(path: Path, share: Fraction, progress: bool) -> TripletRows:
    rows = TripletRows(path, Tally(ANNOTATION_REASONS))
    for line, text, fields in text_rows(path, rows.tally, progress=progress):
        reason = _add_annotation(rows, line, fields, share)
        if reason:
            rows.tally.drop(reason, line, text)
    return rows


def read_crops(path: str | Path) -> dict[str, str]:
    """Read a table of existing face crops: a header ``url,left,right,top,bottom,path``, then one row per face.

    Args:
        path: the file.

    Returns:
        Path, as written, by ``face_key`` of URL and box.

    Raises:
        DataError: not such a table, an invalid row, or one face with two paths.
    """
    path = Path(path)
    check_text_file(path)
    crops: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            header = [name.strip() for name in next(reader, [])]
            if sorted(header) != sorted(CROP_COLUMNS):
                wanted = ",".join(CROP_COLUMNS)
                raise DataError(
                    f"{path}: the first line is {shown(','.join(header))}; expected {wanted!r} in any order"
                )
            for fields in reader:
                if any(field.strip() for field in fields):
                    _add_crop(crops, header, fields, f"{path}: line {reader.line_num}")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 ({error.reason} at byte {error.start})") from error
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}") from error
    return crops


def _add_crop(crops: dict[str, str], header: list[str], fields: list[str], place: str) -> None:
    if len(fields) > len(header):
        raise DataError(f"{place}: has {len(fields)} columns; expected {len(header)}: {','.join(header)}")
    row = {name: value.strip() for name, value in zip(header, fields, strict=False)}
    missing = [name for name in CROP_COLUMNS if not row.get(name)]
    if missing:
        raise DataError(f"{place}: has no {', '.join(missing)}; needed are {','.join(CROP_COLUMNS)}")
    edges = [row[name] for name in CROP_COLUMNS[1:5]]
    box = parse_box(edges)
    if box is None:
        wanted = "numbers in 0..1 with left < right and top < bottom"
        raise DataError(f"{place}: left,right,top,bottom are {cut(','.join(edges))}; expected {wanted}")
    known = crops.setdefault(face_key(row["url"], box), row["path"])
    if known != row["path"]:
        raise DataError(
            f"{place}: gives the path {shown(row['path'])} to a face that has {shown(known)}; one face, one path"
        )


def _add_annotation(rows: TripletRows, line: int, fields: list[str], share: Fraction) -> str:
    """Add the row, or return the reason for dropping it."""
    if len(fields) <= _TYPE_COLUMN:
        return "short_row" if any(fields) else "empty_line"
    faces = []
    for k in (0, 5, 10):
        face = rows.face_of(tuple(fields[k : k + 5]))
        if face is None:
            return "bad_box" if all(fields[0:_TYPE_COLUMN:5]) else "no_url"
        faces.append(face)
    if len(set(faces)) < 3:
        return "same_face_twice"
    kind = TYPES.get(fields[_TYPE_COLUMN])
    if kind is None:
        return "unknown_type"
    annotators, answers = fields[16::2], fields[17::2]
    if not answers or len(annotators) != len(answers) or "" in answers or "" in annotators:
        return "incomplete_answers"
    numbers = [_SPELLINGS.get(answer, -1) for answer in answers]
    if -1 in numbers:
        numbers = [-1 if (number := whole_number(answer)) is None else number for answer in answers]
        if not set(numbers) <= set(NUMBERS):
            return "bad_answer"
    votes = [numbers.count(number) for number in NUMBERS]
    for number in (NUMBERS[0], NUMBERS[-1]):
        if votes[number]:
            rows.see(number, line)
    most = max(votes)
    if most > MAX_VOTES:
        return "too_many_answers"
    if votes.count(most) > 1:
        return "tie"
    if most * share.denominator < share.numerator * len(numbers):
        return "no_agreement"
    rows.add(line, faces, votes.index(most), kind, votes, annotators, numbers)
    return ""
