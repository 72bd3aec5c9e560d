"""Optional optimizers of NVIDIA apex, a package that is built from source and runs on GPUs only."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from fecnet.utils.errors import ConfigError


def apex_optimizer(
    name: str, groups: list[dict[str, object]], *, instead: str, **options: object
) -> torch.optim.Optimizer:
    """``apex.optimizers.<name>`` over ``groups``.

    Args:
        name: ``FusedAdam`` or ``FusedLAMB``.
        groups: parameter groups.
        instead: alternative in torch, for the error message.
        options: of its constructor.

    Raises:
        ConfigError: apex is not installed, is another package (``apex`` on PyPI is a web toolkit), or was built without
            GPU support; or the parameters are not on a GPU.
    """

    def refusal(why: str) -> ConfigError:
        return ConfigError(f"SOLVER.OPTIMIZER: {name} is part of NVIDIA apex, {why}; {instead}")

    if find_spec("apex") is None:
        raise refusal("which is not installed here (github.com/NVIDIA/apex, built from source)")
    try:
        build: Any = getattr(import_module("apex.optimizers"), name)
    except (ImportError, AttributeError) as error:
        raise refusal(f"and the package 'apex' installed here is another one ({error})") from error
    parameters = groups[0]["params"]
    assert isinstance(parameters, list)
    if not parameters[0].is_cuda:
        raise refusal(f"which runs on GPUs only, and the net is on '{parameters[0].device.type}'")
    try:
        return build(groups, **options)
    except (RuntimeError, ImportError) as error:
        raise refusal(f"which was built without its GPU part here ({error})") from error
