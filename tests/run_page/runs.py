"""Small runs to make pages of, trained and measured once; their class names do what they can to break a page."""

from fecnet.config.node import load_config
from fecnet.runs.inference import infer_run
from fecnet.runs.training import train_run
from tests.classes import KINDS, RECIPE, write_labelled

HOSTILE = ("<script>alert(1)</script>", "</style><img src=x onerror=alert(2)>", "\"'&]]>")


def make_runs(folder):
    """``result/{embedding,classifier,joint,affect,unmeasured}`` on one data set; the last was not measured."""
    data = write_labelled(folder / "moods", classes=HOSTILE)
    result = folder / "result"
    kinds = {
        "embedding": ("embedding, FEATURE_DIM: 16", "triplet", "[1.0]"),
        **{kind: KINDS[kind] for kind in ("classifier", "joint", "affect")},
    }
    kinds["unmeasured"] = KINDS["classifier"]
    for name, kind in kinds.items():
        recipe = folder / f"{name}.yaml"
        recipe.write_text(RECIPE % (data, *kind, result))
        assert train_run(load_config(recipe), recipe=name) == 0
        if name != "unmeasured":
            infer_run(str(result / name), baselines=name == "embedding")
    return result
