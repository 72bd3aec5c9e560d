"""Trainings whose batch norms take no statistics: those of a rank's share are not those of the batch."""

from contextlib import contextmanager

import torch

from fecnet.runs import training


@contextmanager
def batch_norms_frozen():
    """While inside, nets are built with batch norms that stay in evaluation mode."""
    build = training.build_model

    def build_frozen(*settings):
        model = build(*settings)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval().train = lambda mode=True, module=module: module
        return model

    training.build_model = build_frozen
    try:
        yield
    finally:
        training.build_model = build
