"""A run that continues with another number of processes: what stays the same, in one line."""

from __future__ import annotations

from torch import nn

from fecnet.runs.tasks import takes_statistics


def process_change(before: int, now: int, batch_size: int, model: nn.Module) -> str:
    """What another number of processes means for a resumed run; empty where it is the same number.

    Args:
        before: processes that saved the checkpoint.
        now: processes of this launch.
        batch_size: of the global batch.
        model: in training mode.
    """
    if before == now:
        return ""
    drops = any(isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0 for layer in model.modules())
    own = ["batch norm statistics"] * takes_statistics(model) + ["dropout"] * drops
    result = "updates equal within rounding"
    if own:
        result = f"but each process's share has its own {' and '.join(own)}, so updates differ by more than rounding"
    return f"saved by {before} process(es), continues with {now}: the same global batches of {batch_size}, {result}"
