import csv
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from fecnet.cli.main import main
from fecnet.data.packed import PackedDataset
from fecnet.faces import decode
from fecnet.faces.align import TEMPLATE
from fecnet.faces.detections import detections
from fecnet.prepare import extraction as extraction_module
from fecnet.prepare.extraction import Extraction, PhotoFaces
from fecnet.prepare.fec import prepare_fec, prepare_list
from fecnet.prepare.web.photo_store import PhotoStore
from tests.conftest import ROOT
from tests.forked import forked  # noqa: F401  (a fixture)
from tests.prepare.photo_server import PhotoServer

PLAIN = Extraction(size=16, detector="")
# left, right, top, bottom of the two faces of every photo: its left and its right half
HALVES = ((0.0, 0.5, 0.0, 1.0), (0.5, 1.0, 0.0, 1.0))


def colour(photo, half):
    """Tells every face from every other one."""
    return (10 + 20 * photo, 40 + 150 * half, 90)


def photo_bytes(folder, photo):
    """A picture of two halves, each of one colour."""
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, :32], pixels[:, 32:] = colour(photo, 0), colour(photo, 1)
    path = folder / f"made-{photo}.png"
    Image.fromarray(pixels).save(path)
    return path.read_bytes()


def url(photo):
    return f"http://photos.example/a b/{photo}.png"


def row(faces, odd, kind="TWO_CLASS_TRIPLET", raters=6):
    fields = [value for photo, half in faces for value in (url(photo), *HALVES[half])]
    return [*fields, kind, *(value for k in range(raters) for value in (f"rater{k}", odd + 1))]


def random_rows(num, photos, seed=0):
    rng = random.Random(seed)
    every = [(photo, half) for photo in range(photos) for half in (0, 1)]
    return [(rng.sample(every, 3), rng.randrange(3), rng.choice((6, 7, 12))) for _ in range(num)]


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(row(faces, odd, raters=raters) for faces, odd, raters in rows)
    return path


def store(work, folder, photos):
    held = PhotoStore(work / "download")
    for photo in photos:
        held.put(url(photo), photo_bytes(folder, photo))


def seen_colours(dataset, split):
    """Mean colour of each face of each triplet, shape (T, 3, 3)."""
    faces = dataset.faces_NHWC[dataset.triplets(split).faces_T3]
    return np.rint(faces.mean(axis=(2, 3))).astype(int)


def pack(files, path, **more):
    return prepare_fec(files, path, extraction=PLAIN, offline=True, progress=False, **more)


def test_every_triplet_has_its_own_faces_and_answers(tmp_path):
    train, test = random_rows(40, 6), random_rows(9, 6, seed=1)
    files = {"train": write_csv(tmp_path / "a.csv", train), "test": write_csv(tmp_path / "b.csv", test)}
    store(tmp_path / "fec.work", tmp_path, [0, 1, 2, 3, 5])  # 4 is lost
    coverage = pack(files, tmp_path / "fec")
    dataset = PackedDataset(tmp_path / "fec")
    for split, rows in (("train", train), ("test", test)):
        kept = [(faces, odd, raters) for faces, odd, raters in rows if all(photo != 4 for photo, _ in faces)]
        expected = [[colour(*face) for face in faces] for faces, _, _ in kept]
        assert np.abs(seen_colours(dataset, split) - np.array(expected)).max() <= 1
        assert dataset.triplets(split).odd_T.tolist() == [odd for _, odd, _ in kept]
        with np.load(tmp_path / "fec" / "triplets" / f"{split}.npz") as held:
            assert np.diff(held["answer_offset"]).tolist() == [raters for _, _, raters in kept]
            assert held["answer"].tolist() == [odd for _, odd, raters in kept for _ in range(raters)]
            assert len(held["annotator"]) == len(held["answer"])
        counted = coverage["triplets"][split]
        assert counted["read"] == len(rows) and counted["kept"] == len(kept)
        assert counted["read"] == counted["kept"] + sum(counted["dropped"].values())
    assert coverage["photos"] == {"read": 6, "kept": 5, "dropped": {"not_on_disk": 1}}
    assert coverage["faces"] == {"read": 12, "kept": 10, "dropped": {"photo_not_on_disk": 2}}
    assert dataset.coverage == json.loads(json.dumps(coverage))


def test_every_long_part_has_a_bar(tmp_path, capsys):
    files = {"train": write_csv(tmp_path / "a.csv", random_rows(40, 6))}
    with PhotoServer() as server:
        text = files["train"].read_text()
        for photo in range(6):
            text = text.replace(url(photo), server.url("good", photo))
        files["train"].write_text(text)
        prepare_fec(files, tmp_path / "fec", extraction=PLAIN, workers=1, download={"allow_private": True})
    ended = [line.split("\r")[-1] for line in capsys.readouterr().err.split("\n")]
    told = [line.split("|")[0] for line in ended if "100%" in line]
    assert told == ["a.csv: 100%", "downloading: 100%", "faces: 100%", "packing: 100%"], ended


def test_a_photo_that_comes_later_is_packed(tmp_path):
    files = {"train": write_csv(tmp_path / "a.csv", random_rows(40, 6))}
    store(tmp_path / "fec.work", tmp_path, range(5))
    assert pack(files, tmp_path / "fec")["photos"]["kept"] == 5
    store(tmp_path / "fec.work", tmp_path, [5])
    assert pack(files, tmp_path / "fec", overwrite=True)["photos"]["kept"] == 6
    store(tmp_path / "whole.work", tmp_path, range(6))
    pack(files, tmp_path / "whole")
    for name in ("faces.npy", "faces.csv", "triplets/train.npz"):
        assert (tmp_path / "fec" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_several_processes_cut_what_one_does(tmp_path, monkeypatch):
    files = {"train": write_csv(tmp_path / "a.csv", random_rows(60, 9))}
    monkeypatch.setattr(extraction_module, "_SHARD", 2)
    for name, workers in (("one", 1), ("two", 2)):
        store(tmp_path / f"{name}.work", tmp_path, range(9))
        pack(files, tmp_path / name, workers=workers)
    assert (tmp_path / "one" / "faces.npy").read_bytes() == (tmp_path / "two" / "faces.npy").read_bytes()


def test_unreadable_photos_are_counted(tmp_path):
    files = {"train": write_csv(tmp_path / "a.csv", random_rows(40, 6))}
    store(tmp_path / "fec.work", tmp_path, range(6))
    damaged = PhotoStore(tmp_path / "fec.work" / "download").find(url(2))
    damaged.write_bytes(damaged.read_bytes()[:60])
    coverage = pack(files, tmp_path / "fec")
    assert sum(coverage["faces"]["dropped"].values()) == 2 and coverage["faces"]["kept"] == 10


def test_a_changed_file_is_refused(tmp_path):
    files = {"train": write_csv(tmp_path / "a.csv", random_rows(10, 4))}
    store(tmp_path / "fec.work", tmp_path, range(4))
    pack(files, tmp_path / "fec")
    write_csv(tmp_path / "a.csv", random_rows(10, 4, seed=5))
    with pytest.raises(ValueError, match=r"a\.csv: has changed since .* remove .*sources\.json"):
        pack(files, tmp_path / "fec", overwrite=True)
    with pytest.raises(ValueError, match="exists already; use --overwrite"):
        pack(files, tmp_path / "fec")


def test_a_second_run_on_one_target_is_refused(tmp_path):
    from fecnet.prepare.web.journal import FolderLock

    files = {"train": write_csv(tmp_path / "a.csv", random_rows(10, 4))}
    store(tmp_path / "fec.work", tmp_path, range(4))
    with FolderLock(tmp_path / "fec.work"), pytest.raises(ValueError, match="another run is at work here"):
        pack(files, tmp_path / "fec")


@pytest.mark.parametrize("content", ["", "one,two\n"])
def test_a_file_without_a_usable_row_is_refused(tmp_path, content):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(ValueError, match=r"a\.csv"):
        pack({"train": tmp_path / "a.csv"}, tmp_path / "fec")
    assert not (tmp_path / "fec").exists()


def test_a_missing_detector_is_told_before_anything_is_fetched(tmp_path):
    files = {"train": write_csv(tmp_path / "a.csv", random_rows(10, 4))}
    with pytest.raises(ValueError, match=r"gone\.onnx"):
        prepare_fec(files, tmp_path / "fec", extraction=Extraction(detector="yunet", model="gone.onnx"))
    assert not (tmp_path / "fec.work").exists()


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": 5000}, {"margin": -0.1}, {"margin": float("nan")}])
def test_ranges_are_checked(wrong):
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))}: .*; allowed: "):
        Extraction(**wrong)


def kill_oneself(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_one_line(tmp_path, monkeypatch):
    files = {"train": write_csv(tmp_path / "a.csv", random_rows(60, 9))}
    store(tmp_path / "fec.work", tmp_path, range(9))
    monkeypatch.setattr(extraction_module, "_SHARD", 2)
    monkeypatch.setattr(extraction_module, "_work", kill_oneself)
    with pytest.raises(ValueError, match=r"was killed, .* run the same command again"):
        pack(files, tmp_path / "fec", workers=2)
    monkeypatch.undo()
    assert pack(files, tmp_path / "fec")["faces"]["kept"] == 18


def test_nothing_on_disk_is_one_line(tmp_path):
    files = {"train": write_csv(tmp_path / "a.csv", random_rows(10, 4))}
    with pytest.raises(ValueError, match=r"no face is left to pack; missing: \{'photo_not_on_disk': \d+\}"):
        pack(files, tmp_path / "fec")


def test_crops_made_elsewhere(tmp_path):
    rows = random_rows(20, 4)
    crops = tmp_path / "crops"
    (crops / "in").mkdir(parents=True)
    with (crops / "crops.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["url", "left", "right", "top", "bottom", "path"])
        for photo in range(4):
            for half in (0, 1):
                if (photo, half) != (3, 1):
                    Image.new("RGB", (20, 20), colour(photo, half)).save(crops / "in" / f"-ü '{photo} {half}.png")
                    slash = ("/", "\\")[half]
                    writer.writerow([url(photo), *HALVES[half], f"in{slash}-ü '{photo} {half}.png"])
    files = {"train": write_csv(tmp_path / "a.csv", rows)}
    coverage = prepare_fec(files, tmp_path / "fec", extraction=PLAIN, crops=crops, progress=False)
    assert coverage["faces"] == {"read": 8, "kept": 7, "dropped": {"not_in_crops_csv": 1}}
    kept = [[colour(*face) for face in faces] for faces, _, _ in rows if (3, 1) not in faces]
    assert np.array_equal(seen_colours(PackedDataset(tmp_path / "fec"), "train"), kept)


def test_a_list_with_a_folder_of_pictures(tmp_path):
    names = ["a b.png", "-ü.png", "in/c'.png", "d.png", "gone.png"]
    (tmp_path / "pictures" / "in").mkdir(parents=True)
    for number, name in enumerate(names[:-1]):
        Image.new("RGB", (30, 20), colour(number, 0)).save(tmp_path / "pictures" / name)
    rows = [(0, 1, 2, 1), (3, 2, 1, 3), (0, 1, 4, 2)]
    lines = [f"{names[a]},{names[b]},{names[c]},{odd},ONE_CLASS_TRIPLET" for a, b, c, odd in rows]
    (tmp_path / "list.csv").write_text("\n".join([*lines, f"../x.png,{names[0]},{names[1]},1,ONE_CLASS_TRIPLET"]))
    coverage = prepare_list(
        {"train": tmp_path / "list.csv"}, tmp_path / "pictures", tmp_path / "set", extraction=PLAIN, progress=False
    )
    dataset = PackedDataset(tmp_path / "set")
    expected = [[colour(number, 0) for number in row[:3]] for row in rows[:2]]
    assert np.array_equal(seen_colours(dataset, "train"), expected)
    assert dataset.triplets("train").odd_T.tolist() == [0, 2]
    assert coverage["photos"]["dropped"] == {"missing_file": 1}
    assert coverage["triplets"]["train"]["dropped"] == {"photo_missing_file": 1}
    assert coverage["rows"]["train"]["dropped"]["bad_path"] == 1


def test_a_photo_that_changed_under_its_name_is_read_again(tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        Image.new("RGB", (16, 16), colour(number, 0)).save(tmp_path / "pictures" / f"{number}.png")
    files = {"train": tmp_path / "list.csv"}
    files["train"].write_text("0.png,1.png,2.png,1,ONE_CLASS_TRIPLET")
    how = {"extraction": PLAIN, "workers": 1, "progress": False}
    prepare_list(files, tmp_path / "pictures", tmp_path / "set", **how)
    Image.new("RGB", (16, 16), colour(7, 0)).save(tmp_path / "pictures" / "1.png")
    prepare_list(files, tmp_path / "pictures", tmp_path / "set", overwrite=True, **how)
    assert seen_colours(PackedDataset(tmp_path / "set"), "train").tolist() == [[list(colour(k, 0)) for k in (0, 7, 2)]]


def test_a_list_with_absolute_paths_asks_for_the_option(tmp_path, capsys):
    for number in range(3):
        Image.new("RGB", (30, 20), colour(number, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "3.png").write_bytes((tmp_path / "0.png").read_bytes())
    paths = ",".join(str(tmp_path / f"{number}.png") for number in range(3))
    rows = [f"0,{paths},2,ONE_CLASS_TRIPLET", f"1,in\\3.png,{paths.split(',', 1)[1]},3.0,ONE_CLASS_TRIPLET"]
    (tmp_path / "list.csv").write_text("\n".join([",img1,img2,img3,label,type", *rows]))
    command = ["prepare", "list", str(tmp_path / "list.csv"), str(tmp_path), str(tmp_path / "set"), "--workers", "1"]
    assert main(command) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"{tmp_path}/list.csv: line 2: an absolute path: 0," in said
    assert said.endswith(f"; allowed: paths below {tmp_path}, or --allow-absolute")
    assert main([*command, "--allow-absolute", "--size", "16"]) == 0
    dataset = PackedDataset(tmp_path / "set")
    expected = [[colour(number, 0) for number in row] for row in ((0, 1, 2), (0, 1, 2))]
    assert np.array_equal(seen_colours(dataset, "train"), expected)
    assert dataset.triplets("train").odd_T.tolist() == [1, 2]


@pytest.mark.usefixtures("forked")
def test_killed_and_started_again_equals_uninterrupted(tmp_path):
    """Downloading and cutting, killed twice: the same bytes, and no photo that was there is asked for again."""
    with PhotoServer(2, latency_s=0.02) as server:
        urls = [f"http://127.0.0.1:{server.ports[k % 2]}/good/{k}.jpg" for k in range(60)]
        rng = random.Random(0)
        with (tmp_path / "a.csv").open("w", newline="") as file:
            for _ in range(80):
                faces = [value for place in rng.sample(urls, 3) for value in (place, 0.1, 0.9, 0.1, 0.9)]
                csv.writer(file).writerow([*faces, "ONE_CLASS_TRIPLET", *(v for k in range(6) for v in (k, 1))])

        def command(name):
            options = ["--allow-private", "--detector", "none", "--size", "16", "--connections", "1", "--workers", "1"]
            return ["prepare", "fec", str(tmp_path / "a.csv"), str(tmp_path / name), *options]

        def start(name):
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            return subprocess.Popen([sys.executable, "-m", "fecnet", *command(name)], cwd=ROOT, **quiet)

        for name, kills in (("whole", 0), ("killed", 2)):
            for kill in range(kills):
                process = start(name)
                photos = tmp_path / f"{name}.work" / "download" / "photos"
                while len(list(photos.glob("*/*"))) < 20 * (kill + 1) and process.poll() is None:
                    time.sleep(0.01)
                process.kill()
                assert process.wait() == -signal.SIGKILL
            assert main(command(name)) == 0
    for name in ("faces.npy", "faces.csv", "triplets/train.npz", "dataset.json"):
        found = (tmp_path / "killed" / name).read_bytes().replace(b'"killed"', b'"whole"')
        assert found == (tmp_path / "whole" / name).read_bytes(), name
    # two runs asked for each photo once; a kill may cost the one photo that was under way
    assert sum(server.counts.values()) <= 2 * len(urls) + 2


class MiddleFace:
    """Finds a face in the middle of whatever it is shown."""

    def __init__(self, name="middle"):
        self.name = name

    def detect_batch(self, images):
        found = []
        for image_HWC in images:
            height, width = image_HWC.shape[:2]
            box = np.array([[0.2, 0.2, 0.8, 0.8]]) * [width, height, width, height]
            points = TEMPLATE * 0.6 * [width, height] + 0.2 * np.array([width, height])
            found.append(detections(box, np.array([0.9]), points[None]))
        return found


@pytest.mark.parametrize(("more", "looks"), [([], 2), (["--no-refine"], 1)])
def test_the_command_asks_for_a_refine_and_the_set_names_the_detector(tmp_path, monkeypatch, capsys, more, looks):
    def build(name, *, model_path, refine, try_turns):
        assert (name, model_path, try_turns) == ("mtcnn", "", False)
        return MiddleFace(f"middle, looks {2 if refine else 1}")

    monkeypatch.setattr(extraction_module, "build_detector", build)
    file = write_csv(tmp_path / "a.csv", random_rows(10, 3))
    store(tmp_path / "fec.work", tmp_path, range(3))
    command = ["prepare", "fec", str(file), str(tmp_path / "fec"), "--offline", "--size", "16", "--workers", "1", *more]
    assert main(command) == 0
    sources = PackedDataset(tmp_path / "fec").description["sources"]
    assert sources["faces"] == f"middle, looks {looks}, margin 0.5, no face: drop"


@pytest.mark.parametrize(
    ("option", "value"),
    [("--workers", "-1"), ("--connections", "0"), ("--per-host", "0"), ("--max-mb", "inf"), ("--timeout", "nan")],
)
def test_options_out_of_range_are_refused_by_their_name(tmp_path, capsys, option, value):
    with pytest.raises(SystemExit) as left:
        main(["prepare", "fec", str(tmp_path / "a.csv"), str(tmp_path / "fec"), f"{option}={value}"])
    assert left.value.code == 2
    assert f"argument {option}: '{value}'; allowed: " in capsys.readouterr().err


def test_what_is_no_file_costs_its_faces_and_not_the_run(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "good.png").write_bytes(photo_bytes(tmp_path, 1))
    whole = [[float("nan")] * 4]
    names = ("folder.png", "good.png", "x" * 300, "gone.png")
    photos = [PhotoFaces(tmp_path / name, [k], whole) for k, name in enumerate(names)]
    results = dict(extraction_module.extract_photos(photos, PLAIN, None))
    assert (results.pop(1).image_HWC.shape, results) == (
        (16, 16, 3),
        {0: "cannot_open", 2: "cannot_open", 3: "missing_file"},
    )


def test_large_photos_are_held_one_at_a_time(tmp_path, monkeypatch):
    seen = []

    class Counting(MiddleFace):
        def detect_batch(self, images):
            seen.append(len(images))
            return super().detect_batch(images)

    photos = []
    for k in range(5):
        (tmp_path / f"{k}.png").write_bytes(photo_bytes(tmp_path, k))
        photos.append(PhotoFaces(tmp_path / f"{k}.png", [k], [[0.0, 1.0, 0.0, 1.0]]))
    together = extraction_module.extract_photos(photos, Extraction(size=16), Counting())
    monkeypatch.setattr(extraction_module, "_BATCH_PIXELS", 3000)  # a photo has 2048
    split = extraction_module.extract_photos(photos, Extraction(size=16), Counting())
    assert seen == [5, 2, 2, 1]
    for (k, one), (same, other) in zip(together, split, strict=True):
        assert k == same and (one.image_HWC == other.image_HWC).all()


def test_landmarks_are_in_pixels_of_the_photo_where_half_of_them_were_read(tmp_path, monkeypatch):
    y_HW, x_HW = np.mgrid[:60, :80]
    Image.fromarray((x_HW + 2 * y_HW).astype(np.uint8)).save(tmp_path / "photo.png")
    whole, box = [[float("nan")] * 4], [[0.25, 0.75, 0.25, 0.75]]
    photos = [PhotoFaces(tmp_path / "photo.png", [0], whole), PhotoFaces(tmp_path / "photo.png", [1], box)]
    before = extraction_module.extract_photos(photos, Extraction(size=16), MiddleFace())
    monkeypatch.setattr(decode, "_HALVED_PIXELS", 4000)
    (_, face), (_, boxed) = extraction_module.extract_photos(photos, Extraction(size=16), MiddleFace())
    for (_, expected), found in zip(before, (face, boxed), strict=True):
        assert np.allclose(found.landmarks_52, expected.landmarks_52) and np.allclose(found.box_4, expected.box_4)
        assert np.abs(found.image_HWC.astype(int) - expected.image_HWC).max() <= 2
    assert np.array_equal(boxed.image_HWC, before[1][1].image_HWC)  # a face in a box may be small: read in full


def test_a_full_and_a_read_only_disk_are_one_line_with_the_name(tmp_path, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a disk may not be mounted here")
    try:
        file = write_csv(tmp_path / "a.csv", random_rows(10, 3))
        store(disk / "fec.work", tmp_path, range(3))
        command = ["prepare", "fec", str(file), str(disk / "fec"), "--offline", "--size", "512", "--workers", "1"]
        for state, words in (("rw", "No space left on device"), ("ro", "Read-only file system")):
            subprocess.run(["mount", "-o", f"remount,{state}", disk], check=True)
            assert main([*command, "--detector", "none"]) == 2
            told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
            assert len(told) == 1 and words in told[0] and str(disk) in told[0]
            assert [entry.name for entry in disk.iterdir()] == ["fec.work"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_picture_named_as_placeholder_counts_as_a_dead_photo(tmp_path, no_square):
    with PhotoServer() as server:
        urls = [server.url(kind, number) for number, kind in enumerate(("good", "good", "good", "gone"))]
        faces = [
            [value for place in trio for value in (urls[place], 0.1, 0.9, 0.1, 0.9)] for trio in ((0, 1, 2), (1, 2, 3))
        ]
        lines = [[*row, "ONE_CLASS_TRIPLET", *(value for k in range(6) for value in (k, 1))] for row in faces]
        with (tmp_path / "a.csv").open("w", newline="") as file:
            csv.writer(file).writerows(lines)
        (tmp_path / "gone.jpg").write_bytes(server.placeholder)
        command = ["prepare", "fec", str(tmp_path / "a.csv"), str(tmp_path / "set"), "--allow-private", "--size", "16"]
        options = [
            "--detector",
            "none",
            "--no-face",
            "box",
            "--workers",
            "1",
            "--placeholder",
            str(tmp_path / "gone.jpg"),
        ]
        assert main([*command, *options]) == 0
    coverage = PackedDataset(tmp_path / "set").coverage
    assert coverage["photos"]["dropped"] == {"placeholder": 1}
    assert coverage["triplets"]["train"]["kept"] == 1
