"""Named regions of an iteration for the profiler, at no cost where it is off."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.profiler import record_function


def phase(name: str) -> AbstractContextManager[Any]:
    """Label the code inside for ``torch.profiler``.

    ``record_function`` takes a tenth of a millisecond even with the profiler off: as long as augmentation.
    """
    return record_function(name) if torch.autograd._profiler_enabled() else nullcontext()
