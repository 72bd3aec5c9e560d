"""The triplet criterion: linear in the batch size, low memory, relative to an implementation with a (3B)³ tensor."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.record import seconds, spread
from fecnet.modeling.criterion.triplet import triplet_loss


def cubic_loss(emb_ND: Tensor, odd_B: Tensor, margin: float) -> Tensor:
    """The usual batch formulation: all (anchor, positive, negative) combinations, then those that were annotated."""
    distance_NN = (emb_ND[:, None] - emb_ND[None]).square().sum(-1)
    hinge_NNN = (distance_NN[:, :, None] - distance_NN[:, None, :] + margin).relu()
    others_B2 = torch.tensor([[1, 2], [0, 2], [0, 1]], device=odd_B.device)[odd_B]
    first = torch.arange(len(odd_B), device=odd_B.device) * 3
    a, p, n = first + others_B2[:, 0], first + others_B2[:, 1], first + odd_B
    mask_NNN = torch.zeros_like(hinge_NNN)
    mask_NNN[a, p, n] = 1
    mask_NNN[p, a, n] = 1
    return (hinge_NNN * mask_NNN).sum() / len(odd_B)


def inputs(num_triplets: int) -> tuple[Tensor, Tensor]:
    """Unit embeddings (3B, 16) and odd faces (B,)."""
    generator = torch.Generator().manual_seed(0)
    emb_ND = torch.nn.functional.normalize(torch.randn(3 * num_triplets, 16, generator=generator), dim=1)
    return emb_ND.requires_grad_(), torch.randint(0, 3, (num_triplets,), generator=generator)


def ours(num_triplets: int) -> float:
    """Seconds of one forward and backward."""
    emb_ND, odd_B = inputs(num_triplets)
    margin_B = torch.full((num_triplets,), 0.2)
    return seconds(lambda: triplet_loss(emb_ND.view(-1, 3, 16), odd_B, margin_B).mean().backward())


def cubic(num_triplets: int) -> float:
    """Seconds of one forward and backward."""
    emb_ND, odd_B = inputs(num_triplets)
    return seconds(lambda: cubic_loss(emb_ND, odd_B, 0.2).backward())


def run(*, quick: bool) -> dict[str, Any]:
    """Median times over batches, their ratio at 90 triplets, and the memory at 4,096."""
    repeats = 3 if quick else 30
    emb_ND, odd_B = inputs(30)
    expected = cubic_loss(emb_ND, odd_B, 0.2)
    found = triplet_loss(emb_ND.view(-1, 3, 16), odd_B, torch.full((30,), 0.2)).mean()
    torch.testing.assert_close(found, expected)  # the same number, or the comparison means nothing
    for warm in range(3):
        ours(90 + warm)
    measured: dict[str, Any] = {"ours_ms": {}}
    print(f"{'triplets':>10} {'ours, ms':>10}")
    for size in (90, 1024) if quick else (90, 1024, 4096, 16384, 65536):
        times = spread([1e3 * ours(size) for _ in range(repeats)])
        measured["ours_ms"][size] = times
        print(f"{size:10d} {times['median']:10.3f}")
    # Training calls the loss again and again, so a warm call is what counts: the median of a few after each other.
    pairs = [(statistics.median(ours(90) for _ in range(20)), cubic(90)) for _ in range(1 if quick else 9)]
    measured["cubic_ms_at_90"] = spread([1e3 * slow for _, slow in pairs])
    measured["cubic_over_ours_at_90"] = spread([slow / fast for fast, slow in pairs])
    measured["memory_mb_at_4096"] = memory_mb(4096)
    print(f"(3B)³ over ours at 90 triplets: {measured['cubic_over_ours_at_90']['median']:.0f} ×")
    print(f"memory at 4,096 triplets: {measured['memory_mb_at_4096']:.1f} MB")
    return measured


def memory_mb(num_triplets: int) -> float:
    """What one forward and backward adds to a fresh process's peak memory, MB."""
    code = f"from benchmarks.loss import peak_growth; print(peak_growth({num_triplets}))"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def peak_growth(num_triplets: int) -> float:
    """Peak resident memory above what was resident before, MB (Linux); small calls first, to load libraries."""
    for _ in range(3):
        ours(8)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is resident now
    before = _status_mb("VmRSS")
    ours(num_triplets)
    return _status_mb("VmHWM") - before


def _status_mb(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))
