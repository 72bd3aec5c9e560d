"""The folder of a study: what is written, versions, one server, backups, and a disk that is full."""

import math
import sqlite3
import threading

import numpy as np
import pytest
from PIL import Image

import fecnet.rate.pictures as pictures
from fecnet.cli.main import main
from fecnet.prepare.labelled.class_folders import read_folder
from fecnet.prepare.labelled.labelled import prepare_labelled
from fecnet.prepare.writer import PackedWriter
from fecnet.rate.answers import GivenAnswer, take_answer
from fecnet.rate.new import new_study
from fecnet.rate.plan import Plan
from fecnet.rate.rounds import more_triplets
from fecnet.rate.study import Study
from fecnet.rate.tasks import tasks_from
from fecnet.utils.errors import DataError, UserError
from tests.rate.studies import (
    answer_all,
    check_counts,
    invited,
    key,
    limit_pages,
    make_study,
    write_classes,
    write_photos,
)


def columns(study, query):
    return [tuple(row) for row in study.rows(query)]


def test_a_study_of_photos(tmp_path):
    with make_study(tmp_path, triplets=10, num_photos=9) as study:
        assert columns(study, "SELECT count(*), count(DISTINCT file), min(name), min(split) FROM faces") == [
            (9, 9, "00.png", "train")
        ]
        assert columns(study, "SELECT count(*), min(wanted), max(known), min(type) FROM triplets") == [
            (10, 3, None, None)
        ]
        assert study.rows("PRAGMA journal_mode")[0][0] == "wal"
        assert study.rows("PRAGMA synchronous")[0][0] == 2
        shown = np.array(Image.open(study.path / "faces" / "000004.png"))
        assert np.array_equal(shown, np.array(Image.open(tmp_path / "photos" / "03.png")))
        assert "expression" in study.text("instructions.md") and study.text("consent.md")


def test_photos_lose_what_the_camera_wrote_and_what_is_too_large(tmp_path):
    folder = tmp_path / "photos"
    write_photos(folder, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    exif[0x010E] = "where I live"
    Image.fromarray(np.random.default_rng(9).integers(0, 256, (600, 1500, 3), np.uint8)).save(
        folder / "large.jpg", exif=exif
    )
    (folder / "copy.png").write_bytes((folder / "00.png").read_bytes())
    (folder / "broken.png").write_bytes(b"no picture")
    with make_study(tmp_path, source=folder, triplets=2) as study:
        files = dict(columns(study, "SELECT name, file FROM faces"))
        assert [*files] == ["00.png", "01.png", "02.png", "large.jpg"]
        image = Image.open(study.path / "faces" / files["large.jpg"])
        assert (image.size, dict(image.getexif())) == ((410, pictures.LONGEST), {})
        assert b"where I live" not in (study.path / "faces" / files["large.jpg"]).read_bytes()


def test_what_is_left_out_is_told(tmp_path, capsys):
    write_photos(tmp_path / "photos", 4)
    (tmp_path / "photos" / "x.png").write_bytes(b"")
    study, photos = str(tmp_path / "study"), str(tmp_path / "photos")
    assert main(["rate", "new", study, photos, "--triplets", "3", "--hold-out", "0"]) == 0
    told = capsys.readouterr().out
    assert "1 of 5 pictures left out: 1 not_an_image" in told
    assert "round 1, random: 3 triplets" in told
    assert f"next: fecnet rate invite {study} 10" in told


def test_labelled_folders_give_types_and_controls(tmp_path):
    source = write_classes(tmp_path / "classes", {"anger": 6, "happy": 6, "sad": 6})
    with make_study(tmp_path, source=source, strategy="typed", triplets=30, controls=5) as study:
        assert columns(study, "SELECT type, count(*) FROM triplets WHERE known IS NULL GROUP BY type") == [
            *((0, 10), (1, 10), (2, 10))
        ]
        known = study.rows("SELECT a, b, c, known FROM triplets WHERE known IS NOT NULL")
        label = dict(columns(study, "SELECT id, label FROM faces"))
        assert len(known) == 5
        for row in known:
            labels = [label[row[letter]] for letter in "abc"]
            assert labels.count(labels[row["known"]]) == 1


def test_labels_are_read_only_where_they_are_wanted(tmp_path):
    source = write_classes(tmp_path / "people", {"ann": 4, "bob": 4})
    with make_study(tmp_path, source=source, triplets=4) as study:
        assert columns(study, "SELECT DISTINCT label FROM faces") == [("",)]


def test_a_packed_set_keeps_its_pixels_labels_and_splits(tmp_path):
    source = write_classes(tmp_path / "classes", {"anger": 6, "happy": 6, "sad": 6})
    packed = tmp_path / "set"
    prepare_labelled(read_folder(source), packed, size=24, hold_out_subjects=None, progress=False)
    with make_study(tmp_path, source=packed, triplets=6, hold_out={"test": 0.3}) as study:
        assert {label for (label,) in columns(study, "SELECT label FROM faces")} == {"anger", "happy", "sad"}
        image = Image.open(study.path / "faces" / "000001.png")
        assert np.array_equal(np.array(image), np.load(packed / "faces.npy")[0])


def test_a_packed_set_of_triplets_has_splits(tmp_path):
    with PackedWriter(tmp_path / "set", num_faces=12, height=24, width=24, channels=["grey"]) as writer:
        faces = np.random.default_rng(0).integers(0, 256, (12, 24, 24, 1), np.uint8)
        writer.add_faces(faces, [{"key": f"{k:03d}", "source": f"random:{k}"} for k in range(12)])
        for place, split in enumerate(("train", "val", "test")):
            trio = np.arange(4)[:3] + 4 * place
            faces_T3, one = np.stack([trio, trio + 1]), np.ones(2, np.int64)
            writer.add_triplets(split, faces_T3=faces_T3, odd_T=one, type_T=one, votes_T3=np.eye(3)[[1, 1]])
        writer.set_coverage({})
    with make_study(tmp_path, source=tmp_path / "set", triplets=9, hold_out={"test": 0.3}) as study:
        splits = dict(columns(study, "SELECT split, count(*) FROM faces GROUP BY split"))
        assert set(splits) == {"train", "val", "test"}  # its own
        crossing = (
            "SELECT count(*) FROM triplets JOIN faces x ON x.id = a JOIN faces y ON y.id = b WHERE x.split != y.split"
        )
        assert columns(study, crossing) == [(0,)]


def test_photos_are_held_out_before_triplets_are_made(tmp_path):
    with make_study(tmp_path, num_photos=20, triplets=30, hold_out={"val": 0.2, "test": 0.2}) as study:
        assert columns(study, "SELECT split, count(*) FROM faces GROUP BY split ORDER BY split") == [
            *(("test", 4), ("train", 12), ("val", 4))
        ]
        by_split = dict(
            columns(study, "SELECT split, count(*) FROM triplets JOIN faces ON faces.id = a GROUP BY split")
        )
        assert by_split == {"test": 4, "train": 22, "val": 4}  # of four faces there are four triplets


def test_a_net_chooses_what_it_is_undecided_on(tmp_path):
    class Net:
        def check_output(self, name):
            assert name == "embedding"

        def embed(self, items, *, faces, return_status):
            items = list(items)
            angle = np.linspace(0, 3, len(items))
            self.seen, self.faces = items, faces
            return np.stack([np.cos(angle), np.sin(angle)], axis=1), ["ok"] * len(items)

    net = Net()
    with make_study(tmp_path, num_photos=12, strategy="informative", encoder=net, triplets=8, raters=5) as study:
        assert net.seen[0].shape == (40, 40, 3) and net.faces == "auto"
        assert columns(study, "SELECT DISTINCT strategy, round, wanted, most FROM triplets") == [
            ("informative", 1, 2, 5)
        ]
        more_triplets(study, 5, encoder=net, faces="whole")
        assert net.faces == "whole"
        assert columns(study, "SELECT round, count(*) FROM triplets GROUP BY round") == [(1, 8), (2, 5)]


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({"triplets": 0}, r"--triplets 0; allowed: 1 to 1,000,000"),
        ({"raters": 300}, r"--raters 300; allowed: 1 to 255"),
        ({"control_every": 1}, "nothing but controls"),
        ({"faces": "all"}, "faces: 'all'; allowed here: auto, largest, whole"),
        ({"strategy": "clever"}, "--strategy: 'clever'|--strategy 'clever'|clever"),
        ({"strategy": "informative"}, "needs the net that is to learn: --net RUN"),
        ({"strategy": "typed"}, "photos"),
        ({"triplets": 57}, "split train: 57 triplets are asked for; of these faces there are 56"),
        ({"hold_out": {"test": 0.2}}, r"2 faces in split test; a triplet needs 3; .*--hold-out"),
        ({"hold_out": {"test": 0.01}}, r"--hold-out 0\.01: leaves split 'test' without a person"),
    ],
)
def test_what_cannot_be_asked_is_refused_and_leaves_nothing(tmp_path, plan, told):
    with pytest.raises(UserError, match=told):
        make_study(tmp_path, **plan)
    assert not (tmp_path / "study").exists()


def test_a_study_is_never_overwritten(tmp_path):
    make_study(tmp_path).close()
    with pytest.raises(DataError, match="a study is never overwritten; further triplets: fecnet rate more"):
        new_study(tmp_path / "study", tmp_path / "photos", Plan(3))


def test_a_study_of_a_newer_version_and_other_files_are_refused(tmp_path, capsys):
    make_study(tmp_path).close()
    file = tmp_path / "study" / "study.db"
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 2")
    assert main(["rate", "status", str(tmp_path / "study")]) == 2
    assert (
        capsys.readouterr()
        .err.strip()
        .endswith(f"{file}: made by a newer fecnet: format 2, this one reads up to 1; upgrade fecnet")
    )
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 1")
        database.execute("PRAGMA application_id = 7")
    with pytest.raises(DataError, match=r"a database of something else \(application_id 7\)"):
        Study(tmp_path / "study")
    for suffix in ("-wal", "-shm"):
        file.with_name(f"study.db{suffix}").unlink(missing_ok=True)
    file.write_bytes(b"no database at all, but text of some length" * 100)
    with pytest.raises(DataError, match="no database of a study, or damaged"):
        Study(tmp_path / "study")
    with pytest.raises(DataError, match="no study here"):
        Study(tmp_path)


def test_a_second_server_is_refused(tmp_path):
    with make_study(tmp_path) as study, Study(study.path) as other:
        with study.served(), pytest.raises(UserError, match="is served by another process already"), other.served():
            pass
        with other.served():
            pass


def test_a_backup_is_a_study_with_all_answers(tmp_path, capsys):
    with make_study(tmp_path) as study:
        (rater,) = invited(study)
        answer_all(study, rater, limit=4)
        copy = tmp_path / "copy"
        assert main(["rate", "backup", str(study.path), str(copy)]) == 0
        answer_all(study, rater)  # goes on
        with Study(copy) as again:
            assert columns(again, "SELECT count(*) FROM answers") == [(4,)]
            assert (copy / "faces" / "000001.png").is_file() and again.text("instructions.md")
            assert answer_all(again, rater) == 2
        assert main(["rate", "backup", str(study.path), str(copy)]) == 2
        assert f"{copy}: exists; allowed: a folder to create" in capsys.readouterr().err


def test_a_backup_ends_while_answers_come(tmp_path):
    with make_study(tmp_path, num_photos=30, triplets=3000) as study:
        (rater,) = invited(study)
        number = tasks_from(study, rater.id)[0].number
        backing = threading.Thread(target=study.back_up, args=(tmp_path / "copy",))
        backing.start()
        last, answers = None, 0
        while backing.is_alive() and answers < 20_000:
            last = take_answer(study, rater, GivenAnswer(number, key(), 0, 1.0, replaces=last))
            answers += 1
        backing.join()
        assert 0 < answers < 20_000
    with Study(tmp_path / "copy") as copy:
        assert columns(copy, "SELECT count(*) FROM triplets") == [(3000,)]


def test_a_full_disk_loses_nothing_and_is_told(tmp_path):
    with make_study(tmp_path, num_photos=20, triplets=400) as study:
        (rater,) = invited(study)
        first = tasks_from(study, rater.id)[0]
        kept = take_answer(study, rater, GivenAnswer(first.number, key(), 1, 1.0))
        limit_pages(study, study.rows("PRAGMA page_count")[0][0])
        with pytest.raises(OSError, match=r"no room on the disk .*study\.db"):
            answer_all(study, rater)
        before = columns(study, "SELECT count(*) FROM answers")[0][0]
        with pytest.raises(OSError, match="no room"):
            answer_all(study, rater)
        assert columns(study, "SELECT count(*) FROM answers")[0][0] == before
        check_counts(study)
        limit_pages(study, 1_000_000)
        answer_all(study, rater)
        assert columns(study, "SELECT count(*) FROM answers") == [(400,)]
        assert columns(study, f"SELECT count(*) FROM answers WHERE id = {kept}") == [(1,)]


def known_table(tmp_path, *lines):
    table = tmp_path / "known.csv"
    table.write_text("\n".join(["a,b,c,odd", *lines]))
    return table


def test_the_owners_own_triplets_are_controls(tmp_path):
    write_photos(tmp_path / "photos")
    table = known_table(tmp_path, "05.png,02.png,07.png,02.png", "", '"00.png",01.png,02.png,02.png')
    plan = Plan(triplets=math.comb(8, 3) - 2, raters=3)  # all that are left
    new_study(tmp_path / "study", tmp_path / "photos", plan, known=table, progress=False)
    with Study(tmp_path / "study") as study:
        rows = study.rows("SELECT a, b, c, known, type, wanted FROM triplets WHERE known IS NOT NULL ORDER BY a")
        assert [tuple(row) for row in rows] == [(1, 2, 3, 2, None, 0), (3, 6, 8, 0, None, 0)]
        assert study.rows("SELECT count(*) FROM triplets")[0][0] == math.comb(8, 3)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("00.png,01.png,9.png,00.png", "line 2: 9.png: no face of the study"),
        ("00.png,01.png,01.png,00.png", "line 2: allowed: three different faces"),
        ("00.png,01.png,02.png,03.png", "line 2: allowed: three different faces, and as odd"),
        ("00.png,01.png,02.png", "line 2: 3 fields; expected 4"),
        ("00.png,01.png,02.png,00.png\n02.png,01.png,00.png,01.png", "line 3: .* allowed: once"),
        ("", "no triplet in it"),
    ],
)
def test_a_wrong_table_of_known_triplets_is_one_line(tmp_path, line, said):
    write_photos(tmp_path / "photos")
    table = known_table(tmp_path, line)
    with pytest.raises(DataError, match=f"known.csv.*{said}"):
        new_study(tmp_path / "study", tmp_path / "photos", Plan(triplets=5), known=table, progress=False)
    assert not (tmp_path / "study").exists()


def test_known_triplets_need_their_columns(tmp_path, capsys):
    write_photos(tmp_path / "photos")
    (tmp_path / "known.csv").write_text("a,b,odd\n00.png,01.png,00.png\n")
    words = ["rate", "new", *(str(tmp_path / name) for name in ("study", "photos")), "--triplets", "5"]
    assert main([*words, "--known", str(tmp_path / "known.csv")]) == 2
    assert "columns a, b, odd; expected a, b, c, odd" in capsys.readouterr().err
