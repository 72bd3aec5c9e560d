"""Recipes and overrides meet the defaults: types, mistakes all at once, freezing."""

import pytest
import torch
import yaml

from fecnet.config.document import config_page, config_rows
from fecnet.config.node import dump_config, flatten, load_config, plain
from tests.conftest import ROOT


def test_scientific_notation_is_a_number(tmp_path):
    (tmp_path / "a.yaml").write_text("SOLVER:\n  BASE_LR: 1e-3\n  MILESTONES: (40, 45)\n")
    cfg = load_config(tmp_path / "a.yaml", ["SOLVER.WEIGHT_DECAY", "5E-4"])
    assert cfg.SOLVER.BASE_LR == 0.001
    assert cfg.SOLVER.WEIGHT_DECAY == 0.0005
    assert cfg.SOLVER.MILESTONES == [40.0, 45.0]


def test_all_mistakes_are_named_at_once_with_the_nearest_key(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("SOLVER: {BASE_RL: 0.1, BATCH_SIZE: many}\nDATA: 3\nSEED: 1.5\n")
    with pytest.raises(ValueError) as error:
        load_config(path, ["MODEL.NEK", "none", "SOLVER.COMPILE", "2"])
    lines = str(error.value).splitlines()
    assert f"{path}: unknown key 'SOLVER.BASE_RL'; did you mean 'SOLVER.BASE_LR'?" in lines
    assert f"{path}: 'SOLVER.BATCH_SIZE' must be a whole number, found 'many'" in lines
    assert f"{path}: 'DATA' is a section of keys, found 3" in lines
    assert f"{path}: 'SEED' must be a whole number, found 1.5" in lines
    assert "override: unknown key 'MODEL.NEK'; did you mean 'MODEL.NECK'?" in lines
    assert "override: 'SOLVER.COMPILE' must be true or false, found 2" in lines
    assert len(lines) == 6


def test_of_many_mistakes_twenty_are_shown(tmp_path, monkeypatch):
    path, sought = tmp_path / "recipe.yaml", []
    monkeypatch.setattr("difflib.get_close_matches", lambda key, *_, **__: sought.append(key) or [])
    path.write_text("".join(f"SEEED_{number}: 1\n" for number in range(300)))
    with pytest.raises(ValueError) as error:
        load_config(path)
    lines = str(error.value).splitlines()
    assert len(lines) == 21 and lines[-1] == "and 280 further errors"
    assert len(sought) == 20  # to look for the nearest key takes milliseconds


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_recipe_is_the_defaults(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    assert load_config(tmp_path / "a.yaml") == load_config()


@pytest.mark.parametrize(("text", "said"), [("- 1\n", "found list"), ("a: [\n", "not YAML"), ("\x00", "not YAML")])
def test_what_is_no_recipe_is_refused(tmp_path, text, said):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=said):
        load_config(tmp_path / "a.yaml")


def test_an_absent_recipe_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.yaml: No such file"):
        load_config(tmp_path / "absent.yaml")


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_numbers_are_finite(value):
    with pytest.raises(ValueError, match="finite number"):
        load_config(None, ["SOLVER.BASE_LR", value])


def test_frozen():
    cfg = load_config()
    changes = [
        lambda: setattr(cfg, "SEED", 1),
        lambda: cfg.SOLVER.update(BASE_LR=1.0),
        lambda: cfg.pop("SEED"),
        lambda: cfg.setdefault("NEW", 1),
        lambda: cfg.__setitem__("SEED", 1),
        lambda: cfg.SOLVER.__delitem__("BASE_LR"),
        lambda: delattr(cfg, "SEED"),
        cfg.clear,
    ]
    for change in changes:
        with pytest.raises(TypeError, match="frozen"):
            change()
    assert set(cfg) == set(plain(load_config()))  # no method became a key


def test_settings_survive_yaml_and_a_checkpoint(tmp_path):
    cfg = load_config(None, ["SOLVER.BASE_LR", "1e-5", "DATA.EVAL_SPLITS", "[a, b]"])
    assert yaml.safe_load(dump_config(cfg)) == plain(cfg)
    assert load_config(base=yaml.safe_load(dump_config(cfg))) == cfg
    torch.save(plain(cfg), tmp_path / "cfg.pt")
    assert torch.load(tmp_path / "cfg.pt", weights_only=True) == plain(cfg)


def test_every_key_is_documented_and_the_page_is_fresh():
    assert [key for key, _, _ in config_rows()] == [key for key, _ in flatten(load_config())]
    assert (ROOT / "docs" / "config.md").read_text() == config_page(), "run: fecnet config > docs/config.md"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SEED", "-1"),
        ("SEED", "99999999999999999999"),
        ("NAME", "../outside"),
        ("DATA.EVAL_SPLITS", "[]"),
        ("DATA.REPORT_SPLITS", "[]"),
        ("DATA.INPUT_SIZE", "0"),
        ("EVAL.BATCH_SIZE", "0"),
        ("EVAL.PERIOD", "-1"),
        ("CHECKPOINT.PERIOD", "-2"),
        ("CHECKPOINT.KEEP", "-1"),
        ("LOG.PERIOD", "0"),
    ],
)
def test_values_out_of_range_name_their_key(key, value):
    with pytest.raises(ValueError, match=rf"^'{key}': .*; allowed: "):
        load_config(None, [key, value])


def test_text_that_looks_like_a_number_stays_text():
    assert load_config(None, ["NAME", "3", "MODEL.PRETRAINED_ON", "on"]).NAME == "3"


def test_a_base_is_completed_and_checked():
    base = plain(load_config(None, ["SEED", "7"]))
    del base["MODEL"]["BLOCKS"]  # written before there was such a key
    assert load_config(base=base).MODEL.BLOCKS == [2, 2, 2, 2]
    assert load_config(base=base).SEED == 7
    base["MODEL"]["BLOKS"] = [1]
    with pytest.raises(ValueError, match=r"meta\.json: unknown key 'MODEL\.BLOKS'"):
        load_config(base=base, base_name="meta.json")
