"""Every recipe for triplets trains on a packed study."""

import pytest

from fecnet.config.node import load_config
from fecnet.rate.packing import prepare_study
from fecnet.runs.training import train_run
from tests.conftest import ROOT
from tests.rate.studies import answer_all, invited, make_study, write_classes
from tests.short_runs import short

RECIPES = [
    path
    for path in sorted((ROOT / "config").glob("*.yaml"))
    if path.stem.startswith(("fec_code_", "fec_paper_")) or path.stem in ("demo", "ferplus", "own_triplets")
]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    source = write_classes(folder / "classes", {"anger": 20, "happy": 20, "sad": 20})
    plan = {"strategy": "typed", "triplets": 120, "hold_out": {"val": 0.25, "test": 0.25}}
    with make_study(folder, source=source, **plan) as study, pytest.MonkeyPatch.context() as patch:
        patch.setattr("fecnet.prepare.measured_square.measure_square", lambda *_: None)
        for rater in invited(study, 3):
            answer_all(study, rater)
        prepare_study(study, folder / "set", workers=1, progress=False)
    return folder / "set"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_study_trains_with(path, packed, tmp_path):
    words = [*short(path), "DATA.PATH", str(packed), "DATA.EVAL_SPLITS", "[val]", "DATA.REPORT_SPLITS", "[test]"]
    words += ["DATA.HOLD_OUT", "0"]
    assert train_run(load_config(path, [*words, "OUTPUT_DIR", str(tmp_path / "result")]), recipe=path.stem) == 0
