"""Per-sample random numbers as a function of (seed, iteration, key): no generator, no state, any device."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

_Hashed = TypeVar("_Hashed", int, Tensor)


def _mix(value: _Hashed) -> _Hashed:
    """Bijective hash of integers in 0..2^32-1.

    The multipliers are odd and below 2^31: products fit int64, so every device computes the same bits.
    """
    for multiplier in (0x7FEB352D, 0x27D4EB2F, 0x165667B1):
        value = ((value ^ (value >> 16)) * multiplier) & 0xFFFFFFFF
    return value ^ (value >> 15)


def uniforms(seed: int, iteration: int, key_N: Tensor, num: int) -> Tensor:
    """Uniform numbers in [0, 1) that depend only on the arguments.

    Args:
        seed: taken modulo 2^32.
        iteration: taken modulo 2^32.
        key_N: key of each sample, such as its row of ``faces.npy``, int64, shape (N,).
        num: number of independent values per key.

    Returns:
        float32, shape (num, N), multiples of 2^-24.
    """
    key = _mix(_mix(seed & 0xFFFFFFFF) ^ (iteration & 0xFFFFFFFF))
    stream_num1 = torch.arange(num, device=key_N.device)[:, None]
    hashed = _mix(_mix(key_N ^ key) ^ stream_num1)
    return (hashed >> 8).to(torch.float32) * 2.0**-24
