"""Small studies for the tests, and raters who answer them."""

import itertools

import numpy as np
from PIL import Image

from fecnet.rate import simulated
from fecnet.rate.new import new_study
from fecnet.rate.plan import Plan
from fecnet.rate.raters import invite
from fecnet.rate.study import Study

_keys = itertools.count(1)


def key():
    """Another one with every call."""
    return f"key-{next(_keys):06d}"


def write_photos(folder, num=8, size=40):
    """Photos of noise, each other than the others; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(num):
        pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return [f"{number:02d}.png" for number in range(num)]


def write_classes(folder, counts):
    """Class folders with so many photos each."""
    first = 0
    for name, num in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(first, first + num):
            pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
        first += num
    return folder


def make_study(tmp_path, *, num_photos=8, source=None, labelled=False, encoder=None, **plan):
    """An open study of photos of noise."""
    if source is None:
        source = tmp_path / "photos"
        write_photos(source, num_photos)
    path = tmp_path / "study"
    plan = {"triplets": 6, "raters": 3, "control_every": 0} | plan
    new_study(path, source, Plan(**plan), labelled=labelled, encoder=encoder, progress=False)
    return Study(path)


def first_face(faces):
    """The rule of a rater: the face with the lowest number."""
    return int(np.argmin(faces))


def answer_all(study, rater, rule=first_face, limit=1000):
    """Answer tasks until there are none; ``rule`` says which of the faces shown, or None. Returns how many."""
    return simulated.answer_all(study, rater, rule, most=limit)


def invited(study, number=1):
    """New raters."""
    return [rater for rater, _ in invite(study, number)]


def given_counts(study):
    """Of every triplet the number of tasks, as counted by the study and as they are."""
    return study.rows(
        "SELECT given, (SELECT count(*) FROM tasks JOIN raters ON raters.id = rater WHERE triplet = triplets.id "
        "AND again = 0 AND released = 0 AND excluded = 0) FROM triplets WHERE known IS NULL"
    )


def check_counts(study):
    assert all(counted == there for counted, there in map(tuple, given_counts(study)))


def limit_pages(study, pages):
    """Let the database grow to so many pages, as if the disk were full then."""
    with study.changing() as database:
        database.execute(f"PRAGMA max_page_count = {pages}")
