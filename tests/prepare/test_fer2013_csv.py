"""FER2013 and FERPlus from the CSV files as they are published."""

import hashlib
from dataclasses import fields

import numpy as np
import pytest

from fecnet.prepare.ferplus import prepare_ferplus
from fecnet.prepare.labelled import fer2013
from fecnet.prepare.labelled.fer2013 import read_fer2013
from tests.conftest import ROOT
from tests.prepare.test_ferplus import fixture_arrays, prepare, write

REAL = ROOT.parent / "shared" / "data" / "fer2013"
USAGES = ("Training", "PublicTest", "PrivateTest")
PLUS_HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def write_csv_files(folder, arrays, images):
    """The two files, as published; blank rows and stray votes follow from them."""
    rows = [
        f"{emotion},{' '.join(map(str, image.ravel()))},{USAGES[usage]}"
        for emotion, image, usage in zip(arrays["emotion"], images, arrays["usage"], strict=True)
    ]
    plus = [
        ",".join([USAGES[usage], name.decode(), *map(str, votes)])
        for usage, name, votes in zip(arrays["usage"], arrays["ferplus_name"], arrays["ferplus_votes"], strict=True)
    ]
    folder.mkdir(exist_ok=True)
    (folder / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")
    (folder / "fer2013new.csv").write_bytes("\r\n".join([PLUS_HEADER, *plus, ""]).encode())
    return folder


@pytest.fixture
def sources(tmp_path):
    """The same set as CSV files and as npz: row 0 is truly blank, no votes are stray."""
    images, arrays = fixture_arrays()
    images[0] = np.random.default_rng(1).integers(100, 104, (48, 48))
    arrays["ferplus_ok"][:] = True
    arrays["images_delta"] = np.diff(np.diff(images, axis=1, prepend=np.uint8(0)), axis=2, prepend=np.uint8(0))
    sha256 = hashlib.sha256(images.tobytes()).hexdigest()
    return write_csv_files(tmp_path / "csv", arrays, images), write(tmp_path / "npz", arrays), sha256


def test_both_layouts_hold_the_same(sources):
    csv_folder, npz_folder, sha256 = sources
    ours, theirs = (read_fer2013(folder, images_sha256=sha256) for folder in (csv_folder, npz_folder))
    for field in fields(ours):
        np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name), err_msg=field.name)


def test_both_layouts_make_the_same_set(sources, tmp_path):
    *folders, sha256 = sources
    for name, folder in zip("ab", folders, strict=True):
        prepare((folder, sha256), tmp_path / name)
    for file in ("faces.npy", "faces.csv", "labels/ferplus/train.npz", "triplets/private_test.npz"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("fer2013.csv", ",Training\n", ",Test\n", r"fer2013\.csv: line 2: emotion 0, usage test, pixels yes"),
        ("fer2013new.csv", "Training,", "PublicTest,", r"row 0: usage 'PublicTest', .* says train: rows are shifted"),
        ("fer2013new.csv", ",10\r\n", ",ten\r\n", r"fer2013new\.csv: line 2: votes .*ten; allowed: whole numbers"),
        ("fer2013new.csv", "Training,fer0000009", "\r\nTraining,fer0000009", None),
    ],
)
def test_files_that_do_not_fit_are_named(sources, file, old, new, message):
    folder, _, sha256 = sources
    text = (folder / file).read_bytes().decode()
    assert old in text
    (folder / file).write_bytes(text.replace(old, new, 1).encode())
    if message is None:  # an empty line is no row
        read_fer2013(folder, images_sha256=sha256)
        return
    with pytest.raises(ValueError, match=message) as caught:
        read_fer2013(folder, images_sha256=sha256)
    assert "\n" not in str(caught.value)


def test_a_lost_row_is_found(sources):
    folder, _, sha256 = sources
    lines = (folder / "fer2013new.csv").read_text().splitlines()
    (folder / "fer2013new.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"199 rows, fer2013\.csv has 200"):
        read_fer2013(folder, images_sha256=sha256)
    (folder / "fer2013new.csv").unlink()
    with pytest.raises(ValueError, match=r"fer2013new\.csv: no such file"):
        prepare_ferplus(folder, folder.parent / "out", images_sha256=sha256, progress=False)


def test_other_images_are_refused(sources):
    with pytest.raises(ValueError, match=r"fer2013\.csv: the images have sha256"):
        read_fer2013(sources[0])


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "fer2013.npz").is_file(), reason=f"{REAL} is absent")
def test_copies_and_blanks_are_those_of_the_real_set():
    real = read_fer2013(REAL)
    duplicate_of, in_train = fer2013._find_duplicates(real.image_NHW, real.usage_N)
    np.testing.assert_array_equal(duplicate_of, real.duplicate_of_N)
    np.testing.assert_array_equal(in_train, real.in_train_N)
    blank = np.ptp(real.image_NHW.reshape(len(real.blank_N), -1), axis=1) < fer2013._BLANK_RANGE
    np.testing.assert_array_equal(blank, real.blank_N)
    assert np.flatnonzero(~real.joined_N).tolist() == [fer2013._STRAY_ROW]
