"""Pseudo-random permutations of any length, evaluated at single positions: no state, no memory, no set-up time."""

from __future__ import annotations

import numpy as np

_ROUNDS = 6


def permuted(position: np.ndarray, size: int, key: int) -> np.ndarray:
    """The image of ``position`` under a pseudo-random permutation of ``0..size-1``.

    A Feistel network over the next even number of bits with cycle walking until the value is in range (Black and
    Rogaway, "Ciphers with arbitrary finite domains", 2002).

    Args:
        position: int64, any shape, values 0..size-1.
        size: length of the permutation.
        key: chooses the permutation.

    Returns:
        int64, the shape of ``position``; a bijection of 0..size-1 for each key.
    """
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    value = _feistel(position.astype(np.uint64), half_bits, key)
    while (outside := value >= size).any():  # at most 4 values per position, so few repetitions
        value[outside] = _feistel(value[outside], half_bits, key)
    return value.astype(np.int64)


def _feistel(value: np.ndarray, half_bits: int, key: int) -> np.ndarray:
    bits, mask = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    left, right = value >> bits, value & mask
    for subkey in _mix(np.arange(_ROUNDS, dtype=np.uint64) + np.uint64(key * _ROUNDS % 2**64)):
        left, right = right, left ^ (_mix(right ^ subkey) & mask)
    return (left << bits) | right


def _mix(value: np.ndarray) -> np.ndarray:
    """SplitMix64's output function (Steele, Lea and Flood, 2014): each input bit flips half of the output bits."""
    value = value * np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
