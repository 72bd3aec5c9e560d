"""What docs/rate.md shows: from photos to a study, its answers, a trained net and the next round."""

import re
import shlex

import pytest

from fecnet.cli.main import main
from fecnet.rate.raters import Rater
from fecnet.rate.study import Study
from tests.conftest import ROOT
from tests.rate.studies import answer_all, write_photos
from tests.short_runs import TWO_ITERATIONS

PAGE = (ROOT / "docs" / "rate.md").read_text()


def test_the_page_is_what_happens(tmp_path, monkeypatch, capsys, no_square):
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos", 40)
    commands = "".join(re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)).splitlines()
    told = {}
    for command in commands:
        words = shlex.split(command)[1:]
        short = [*TWO_ITERATIONS, "MODEL.WIDTH_MULT", "0.125", "DATA.INPUT_SIZE", "32"] if words[0] == "train" else []
        assert main([*words, *short]) == 0, command
        told[" ".join(words[:2])] = capsys.readouterr().out
        if words[:2] == ["rate", "invite"]:
            with Study("study") as study:
                for number in range(1, 4):
                    answer_all(study, Rater(number, excluded=False))
    assert [*told] == [
        *("rate new", "rate invite", "rate status", "rate export", "rate backup"),
        *("prepare study", "train own_triplets", "rate more"),
    ]
    assert "40 faces (" in told["rate new"]
    assert told["rate invite"].count("http://127.0.0.1:8000/r/") == 12
    assert "600 answers, 1,200 wanted" in told["rate status"] and "kappa 1.00" in told["rate status"]
    assert "split-half agreement of raters" in told["prepare study"]
    assert "round 2, informative: 100 triplets" in told["rate more"]
    with Study("study_copy") as copy:
        assert copy.rows("SELECT count(*) FROM answers WHERE replaced_at IS NULL")[0][0] > 600  # with the repeated ones
    assert (tmp_path / "answers" / "train.csv").is_file()


def test_every_option_of_the_page_is_there(capsys):
    helps = ""
    for words in (
        *(["rate", name] for name in ("new", "more", "invite", "serve", "status", "exclude")),
        *(["prepare", name] for name in ("study", "folder")),
    ):
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        helps += capsys.readouterr().out
    for option in {*re.findall(r"--[a-z][a-z-]+", PAGE)}:
        assert f"{option} " in helps or f"{option}\n" in helps or f"{option}]" in helps, option
