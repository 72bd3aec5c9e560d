"""``fecnet search``: photos find themselves first, another net is refused, and a packed set tells of its people."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import fecnet
from fecnet.cli.main import main
from fecnet.data.packed import PackedDataset
from fecnet.embed import shards, sources
from fecnet.embed.sources import Sources
from fecnet.prepare.writer import PackedWriter
from fecnet.search.building import build_index
from fecnet.search.index import Index
from tests.conftest import write_tiny
from tests.distributed.ranks import run_ranks
from tests.net_fixtures import aligned, squares  # noqa: F401  (fixtures)
from tests.nets import train_on


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    return train_on(write_tiny(folder / "tiny"), folder)


@pytest.fixture
def photos(tmp_path):
    """Six pictures, one of them broken, and a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 50, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "broken.jpg").write_bytes((folder / "0.png").read_bytes()[:900])
    (folder / "notes.txt").write_text("no picture")
    return folder


def write_people(path, *, size=48, subjects=True):
    """24 faces of six people in two classes; a face of no class, and one split of two labelled faces."""
    rng = np.random.default_rng(5)
    with PackedWriter(path, num_faces=24, height=size, width=size, channels=["grey"]) as writer:
        records = [{"key": f"k{row}", "source": f"{row}"} for row in range(24)]
        records = [record | ({"subject": f"p{row // 4}"} if subjects else {}) for row, record in enumerate(records)]
        writer.add_faces(rng.integers(0, 256, (24, size, size, 1), np.uint8), records)
        label = np.arange(24) % 2
        label[3] = -1
        writer.add_labels("mood", "all", classes=("glad", "sad"), faces_M=np.arange(24), label_M=label)
        writer.add_labels("mood", "few", classes=("glad", "sad"), faces_M=np.array([7, 9]), label_M=np.array([1, 1]))
        writer.set_coverage({"faces": {"read": 24, "kept": 24}})
    return path


def search(*words):
    """With the pictures as faces: most are noise."""
    whole = () if "--faces" in words or words[0] not in ("build", "query") else ("--faces", "whole")
    return main(["search", *map(str, words), *whole, "--device", "cpu"])


def test_a_photo_finds_others_and_not_itself(run, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert search("build", run, "photos", "--output", "faces") == 0
    said = capsys.readouterr().out
    assert "faces: 5 vectors of 16; 1 pictures without one: truncated 1; passed over: 1 other files" in said
    assert not list(tmp_path.glob("*.shards")) and not list(tmp_path.glob(".*"))
    index, encoder = Index("faces"), fecnet.load(run)
    assert index.description["left_out"] == {"truncated": 1} and index.description["model"]["name"] == encoder.name
    emb = encoder.embed([f"photos/{number}.png" for number in range(5)], faces="whole")
    assert np.abs(index.vector_ND - emb).max() <= 1e-6

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # names are found from where the index was built
    outputs = ("--json", "found.json", "--sheet", "found.png")
    asked = ("query", "../faces", photos / "3.png", photos / "broken.jpg", photos / "1.png", "--net", run, "-k", 3)
    assert search(*asked, *outputs) == 0
    said = capsys.readouterr().out
    assert re.search(r"3\.png\nrank  distance  picture\n   1    0\.\d{4}  photos/[0124]\.png\n   2 ", said)
    assert re.search(r"broken\.jpg: no answer: truncated\n", said)
    told = json.loads((tmp_path / "elsewhere" / "found.json").read_text())
    assert [answer["status"] for answer in told["answers"]] == ["ok", "truncated", "ok"]
    assert told["answers"][1]["neighbours"] == []
    for answer, number in zip(told["answers"][::2], (3, 1), strict=True):
        distance = np.square(emb - emb[number]).sum(1)
        order = distance.argsort()[1:4]
        assert [found["name"] for found in answer["neighbours"]] == [f"photos/{k}.png" for k in order]
        assert [found["distance"] for found in answer["neighbours"]] == pytest.approx(distance[order], abs=1e-5)
        assert [found["rank"] for found in answer["neighbours"]] == [1, 2, 3]
    sheet = np.asarray(Image.open("found.png"))
    assert sheet.shape[:2] == (2 * (96 + 2 + 13) + 2, 4 * (96 + 2) + 2)
    assert sheet[2:98, 2:98].std() > 20
    shutil.copy(photos / "3.png", "copy.png")  # under another name, or another picture of the same pixels
    assert search("query", "../faces", "copy.png", "--net", run, "-k", 9, "--json", "found.json") == 0
    (answer,) = json.loads((tmp_path / "elsewhere" / "found.json").read_text())["answers"]
    assert answer["neighbours"][0] == {
        "rank": 1,
        "distance": 0,
        "name": "photos/3.png",
        "frame": None,
        "time_s": None,
        "box": None,
    }
    assert len(answer["neighbours"]) == 5


def test_a_packed_set_and_its_sheet(run, tmp_path):
    """The sheet shows the rows that were found; a set that was prepared anew is not shown as if it were the old one."""
    write_people(tmp_path / "people")
    assert search("build", run, tmp_path / "people", "--output", tmp_path / "faces") == 0
    face = tmp_path / "face.png"
    Image.fromarray(PackedDataset(tmp_path / "people").faces_NHWC[5, ..., 0]).save(face)
    asked = ("query", tmp_path / "faces", face, "--net", run, "-k", 2, "--sheet", tmp_path / "found.png")
    assert search(*asked, "--json", tmp_path / "found.json") == 0
    (answer,) = json.loads((tmp_path / "found.json").read_text())["answers"]
    assert answer["neighbours"][0] == {
        "rank": 1,
        "distance": pytest.approx(0, abs=1e-6),
        "name": str(tmp_path / "people"),
        "frame": 5,
        "time_s": None,
        "box": None,
    }
    sheet = np.asarray(Image.open(tmp_path / "found.png"))
    assert np.array_equal(sheet[2:98, 2:98], sheet[2:98, 100:196])
    write_tiny(tmp_path / "other").rename(tmp_path / "people2")
    (tmp_path / "people").rename(tmp_path / "old")
    (tmp_path / "people2").rename(tmp_path / "people")
    assert search(*asked) == 0
    sheet = np.asarray(Image.open(tmp_path / "found.png"))
    assert (sheet[2:98, 100:196] == 255).all() and sheet[2:98, 2:98].std() > 20


def test_photos_are_shown_as_their_faces_were_found(aligned, tmp_path):  # noqa: F811
    """Cut faces ask an index of photos: each side of the sheet is made as its own pictures were; of all faces too."""
    run, packed, pictures, _ = aligned
    assert search("build", run, *pictures, "--faces", "auto", "--output", tmp_path / "faces") == 0
    asked = ("query", tmp_path / "faces", packed, "--net", run, "-k", 1, "--faces", "auto")
    assert search(*asked, "--sheet", tmp_path / "found.png", "--json", tmp_path / "found.json") == 0
    answers = json.loads((tmp_path / "found.json").read_text())["answers"]
    assert [answer["neighbours"][0]["name"] for answer in answers] == [str(picture) for picture in pictures]
    sheet = np.asarray(Image.open(tmp_path / "found.png"))
    for top in range(2, 5 * 111, 111):
        assert np.array_equal(sheet[top : top + 96, 2:98], sheet[top : top + 96, 100:196])
    assert search("build", run, *pictures, "--faces", "all", "--output", tmp_path / "all") == 0
    names = list(Index(tmp_path / "all").every_name())
    assert len(names) == 8 and names[0].box == (10, 10, 40, 40) and names[1].box == (100, 80, 160, 140)
    asked = ("query", tmp_path / "all", pictures[0], "--net", run, "-k", 9, "--faces", "all")
    assert search(*asked, "--sheet", tmp_path / "found.png", "--json", tmp_path / "found.json") == 0
    answers = json.loads((tmp_path / "found.json").read_text())["answers"]
    assert [answer["box"] for answer in answers] == [[10, 10, 40, 40], [100, 80, 160, 140]]
    for answer in answers:  # neither face finds a face of its own photo
        assert len(answer["neighbours"]) == 6 and str(pictures[0]) not in {n["name"] for n in answer["neighbours"]}
    assert not (np.asarray(Image.open(tmp_path / "found.png"))[2:98, 100:196] == 255).all()
    shutil.copytree(tmp_path / "all", tmp_path / "grown")
    assert main(["search", "remove", str(tmp_path / "grown"), str(pictures[2])]) == 0
    assert main(["search", "add", str(tmp_path / "grown"), str(pictures[2]), "--device", "cpu"]) == 0
    grown = Index(tmp_path / "grown")
    assert {(name.file, name.box) for name in grown.every_name()} == {(name.file, name.box) for name in names}
    assert len(grown) == 8 and grown.faces == "all"


def build_on_rank(run, photos, output):
    for module in (sources, shards):
        module.PIECE = 2
    build_index(fecnet.load(run, device="cpu"), Sources([photos]), output, faces="whole", progress=False)


def test_two_processes_build_what_one_does(run, photos, tmp_path, monkeypatch):
    for module in (sources, shards):
        monkeypatch.setattr(module, "PIECE", 2)
    build_on_rank(run, photos, tmp_path / "one")
    run_ranks(2, build_on_rank, run, photos, tmp_path / "many", timeout=120.0)
    one, many = ((tmp_path / name / "vectors.npy").read_bytes() for name in ("one", "many"))
    assert one == many and Index(tmp_path / "many").description["left_out"] == {"truncated": 1}


def naive_shares(emb, label, person, num):
    """Share of the same person among the nearest, and its chance, by a loop."""
    found, chance = [], []
    for query in range(len(emb)):
        others = [k for k in range(len(emb)) if k != query]
        near = sorted(others, key=lambda k: np.square(emb[k] - emb[query]).sum())[:num]
        found += [person[k] == person[query] for k in near]
        chance += [np.mean([person[k] == person[query] for k in others])]
    return 100 * np.mean(found), 100 * np.mean(chance)


def test_measure_tells_of_classes_and_people(run, tmp_path, capsys):
    write_people(tmp_path / "people")
    index, told = tmp_path / "faces", tmp_path / "told.json"
    assert search("build", run, tmp_path / "people", "--output", index, "--kind", "flat") == 0
    assert search("measure", index, "-k", 3, "--json", told) == 0
    said = capsys.readouterr().out
    assert "kind flat: exhaustive search" in said
    assert "all: 23 labelled faces; each is a query" in said and "few: 2 labelled faces" in said
    assert "all: where a nearest face shows another expression, it is of the same subject" in said
    measured = json.loads(told.read_text())
    assert measured["percent_of_exact"] is None and set(measured["splits"]) == {"all", "few"}
    keep = np.delete(np.arange(24), 3)
    percent, chance = naive_shares(Index(index).vector_ND[keep], keep % 2, keep // 4, 3)
    leak = measured["splits"]["all"]["identity_leak"]
    assert leak["subject"]["percent"] == pytest.approx(percent)
    assert leak["subject"]["chance"] == pytest.approx(chance)
    assert measured["splits"]["all"]["other_people"]["all"]["faces"] == 23
    assert measured["splits"]["few"]["everyone"]["all"]["recall@1"] == 100
    assert search("measure", index, "--split", "few", "--queries", 1) == 0


def test_people_that_are_not_known_are_not_told_of(run, tmp_path, capsys):
    write_people(tmp_path / "people", subjects=False)
    assert search("build", run, tmp_path / "people", "--output", tmp_path / "faces") == 0
    assert search("measure", tmp_path / "faces", "--split", "all") == 0
    said = capsys.readouterr().out
    assert said.endswith("subjects are unknown, so the identity leak is not measured\n")


def test_labels_are_asked_for_where_they_are(run, tmp_path, capsys):
    write_people(tmp_path / "people")
    index = tmp_path / "faces"
    assert search("build", run, tmp_path / "people", "--output", index) == 0
    assert "no label set 'rage'; there are: mood" in refused(capsys, "measure", index, "--labels", "rage")
    assert "no split 'val' in label set 'mood'; there are: all, few" in refused(
        capsys, "measure", index, "--split", "val"
    )
    tiny = run.parents[1] / "tiny"
    assert search("build", run, tiny, "--output", tmp_path / "tiny") == 0 and search("measure", tmp_path / "tiny") == 0
    assert "no label set ''; there are: none" in refused(capsys, "measure", tmp_path / "tiny", "--split", "val")
    assert search("build", run, tiny, tmp_path / "people", "--output", tmp_path / "both") == 0
    assert search("measure", tmp_path / "both") == 0
    (tmp_path / "people" / "dataset.json").unlink()
    assert "no packed data set here" in refused(capsys, "measure", index)


def test_measure_of_photos_tells_what_the_index_misses(run, photos, tmp_path, capsys):
    pytest.importorskip("faiss", reason="faiss is not installed: pip install 'fecnet[search]'")
    assert search("build", run, photos, "--output", tmp_path / "faces", "--kind", "hnsw") == 0
    assert search("measure", tmp_path / "faces", "-k", 2) == 0
    assert "kind hnsw: finds 100.00 % of the 2 nearest, of 5 vectors" in capsys.readouterr().out


@pytest.fixture
def built(run, photos, tmp_path):
    assert search("build", run, photos, "--output", tmp_path / "faces") == 0
    return tmp_path / "faces"


def refused(capsys, *words):
    capsys.readouterr()
    assert search(*words) == 2
    (said,) = re.findall(r"^(error: .*\n)", capsys.readouterr().err, re.MULTILINE)  # besides a progress bar
    return said


def test_an_index_of_another_net_is_refused(run, built, photos, tmp_path, capsys):
    other = train_on(write_tiny(tmp_path / "tiny", seed=1), tmp_path, "SEED", 3)
    said = refused(capsys, "query", built, photos / "1.png", "--net", other)
    assert re.search(rf"faces: built with {run}\S* \(\w+-\w+\); {other}\S* is another net \(\w+-\w+\)", said)


def test_what_stands_there_is_not_lost(run, built, photos, tmp_path, capsys):
    assert "faces: exists already; use --overwrite" in refused(capsys, "build", run, photos, "--output", built)
    assert search("build", run, photos / "2.png", "--output", built, "--overwrite") == 0
    assert len(Index(built)) == 1
    said = refused(capsys, "build", run, photos, "--output", photos, "--overwrite")
    assert "photos: would be written over, with the source" in said
    (built / "mine.txt").write_text("kept")
    for folder in (built, tmp_path):
        said = refused(capsys, "build", run, run, "--output", folder, "--overwrite")
        assert (
            "exists and is not an index, or contains other files; it is not replaced" in said
            or "would be written over" in said
        )
    assert (photos / "1.png").is_file() and (built / "mine.txt").is_file()


def test_nothing_to_find(run, photos, tmp_path, built, capsys):
    (tmp_path / "empty").mkdir()
    out = ("--output", tmp_path / "none")
    assert "empty: no pictures in it" in refused(capsys, "build", run, tmp_path / "empty", *out)
    said = refused(capsys, "build", run, photos / "broken.jpg", *out)
    assert "none: not made: none of 1 pictures has a face: truncated 1" in said
    assert not (tmp_path / "none").exists()
    said = refused(capsys, "query", built, photos / "broken.jpg", "--net", run)
    assert said == f"error: {photos / 'broken.jpg'}: truncated\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["query", "FACES", "PHOTO", "--net", "RUN", "--sheet", "a.pdf"], r"a\.pdf: --sheet writes a file \*\.png"),
        (["query", "FACES", "PHOTO", "--net", "RUN", "-k", "0"], r"k: 0; allowed: 1 or more"),
        (["query", "PHOTOS", "PHOTO", "--net", "RUN"], r"photos: no index here"),
        (["build", "RUN", "PHOTOS", "--output", "x", "--kind", "lsh"], r"kind: unknown name 'lsh'"),
        (["measure", "FACES", "--split", "val"], r"faces: --labels and --split are of an index of one packed set"),
        (["measure", "FACES", "--queries", "0"], r"queries: 0; allowed: 1 or more"),
    ],
)
def test_mistakes_are_one_line(run, built, photos, capsys, words, said):
    places = {"FACES": built, "PHOTO": photos / "1.png", "PHOTOS": photos, "RUN": run}
    assert re.search(said, refused(capsys, *(places.get(word, word) for word in words)))


def test_names_of_a_video_tell_frames(run, tmp_path):
    from tests.videos import write_video  # skips where PyAV is absent

    write_video(tmp_path / "video.avi", 7)
    assert search("build", run, tmp_path / "video.avi", "--every", 3, "--output", tmp_path / "faces") == 0
    with (tmp_path / "faces" / "names.csv").open(newline="") as file:
        assert [row["frame"] for row in csv.DictReader(file)] == ["0", "3", "6"]
    asked = ("query", tmp_path / "faces", tmp_path / "video.avi", "--net", run, "-k", 1)
    assert search(*asked, "--sheet", tmp_path / "found.png") == 0
    sheet = np.asarray(Image.open(tmp_path / "found.png"))
    for row in range(4):
        top = 2 + row * (96 + 2 + 13)
        query, found = sheet[top : top + 96, 2:98], sheet[top : top + 96, 100:196]
        assert not np.array_equal(query, found) and found.min() < 100  # a frame is not its own answer
