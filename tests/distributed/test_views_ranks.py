"""Several views of a face on 1, 2 and 3 processes: the same outputs to the bit, and those of a loop over faces."""

import numpy as np
import pytest
import torch

from fecnet.config.node import load_config
from fecnet.data.build import build_views
from fecnet.data.packed import PackedDataset
from fecnet.modeling.build import build_model
from fecnet.runs.tasks import build_evaluator
from tests.classes import CLASSES, write_labelled, write_recipe
from tests.distributed.ranks import run_ranks

TTA = ("center", "flip", "ten_crop")
SPLITS = ["train", "val", "test"]


def settings(recipe, views):
    options = ["EVAL.TTA", views, "DATA.CROP", "0.9167", "DATA.INPUT_SIZE", "44", "EVAL.BATCH_SIZE", "7"]
    return load_config(recipe, options)


def net(cfg):
    torch.manual_seed(0)
    return build_model(cfg, 1, len(CLASSES)).eval()


def measure(recipe):
    """Outputs, the tables of the splits and their near ties, by views; 64 faces in batches of 7 are always uneven."""
    found = {}
    for views in TTA:
        cfg = settings(recipe, views)
        evaluator = build_evaluator(cfg, PackedDataset(cfg.DATA.PATH), SPLITS, torch.device("cpu"))
        model = net(cfg)
        table = {split: measured.to_dict() for split, measured in evaluator(model).items()}
        outputs = evaluator.predict(model)
        moves = evaluator.largest_moves(model, outputs)  # measured on one rank, told on all
        near = [metric.near_ties(evaluator.part(outputs, metric), moves[metric.output]) for metric in evaluator.metrics]
        found[views] = outputs, (table, near)
    return found


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    write_labelled(folder / "moods")
    return write_recipe(folder, "joint")


@pytest.fixture(scope="module")
def alone(recipe):
    return run_ranks(1, measure, recipe)[0]


@pytest.mark.parametrize("world_size", [2, 3])
def test_outputs_and_counts_do_not_depend_on_the_number_of_processes(recipe, alone, world_size):
    for rank in run_ranks(world_size, measure, recipe):
        for views, (outputs, table) in alone.items():
            found, counted = rank[views]
            assert counted == table
            assert found.keys() == outputs.keys() and all(torch.equal(found[name], outputs[name]) for name in outputs)
    assert not torch.equal(alone["flip"][0]["logits"], alone["center"][0]["logits"])


@pytest.mark.parametrize("views", TTA)
def test_outputs_are_the_mean_over_the_views_of_each_face(recipe, alone, views):
    cfg = settings(recipe, views)
    dataset, model = PackedDataset(cfg.DATA.PATH), net(cfg)
    for row in (0, 40, 63):
        image = torch.from_numpy(np.array(dataset.faces_NHWC[row : row + 1])).permute(0, 3, 1, 2)
        with torch.no_grad():
            each = [model(view(image)) for view in build_views(cfg, *dataset.faces_NHWC.shape[1:3])]
        assert len(each) == {"center": 1, "flip": 2, "ten_crop": 10}[views]
        logits, embedding = (torch.stack([out[name][0] for out in each]).mean(0) for name in ("logits", "embedding"))
        torch.testing.assert_close(alone[views][0]["logits"][row], logits, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(
            alone[views][0]["embedding"][row], embedding / embedding.norm(), rtol=1e-4, atol=1e-6
        )
