"""What is done to the gradients between backward and update; nothing here reads back from the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

GradientRule = Callable[[nn.Module], None]


def clip_value(limit: float) -> GradientRule:
    """Clamp each element of each gradient to ±``limit``.

    It makes an infinite gradient finite, so ``FiniteGuard.update`` must have looked before.
    """

    def rule(model: nn.Module) -> None:
        nn.utils.clip_grad_value_(model.parameters(), limit, foreach=True)

    return rule


def clip_norm(limit: float) -> GradientRule:
    """Scale all gradients so that their joint L2 norm is at most ``limit``."""

    def rule(model: nn.Module) -> None:
        nn.utils.clip_grad_norm_(model.parameters(), limit, foreach=True)

    return rule


def l1_on_scales(strength: float, names: Sequence[str]) -> GradientRule:
    """Add the subgradient of ``strength · Σ|γ|`` to the gradients of batch norms' scales (arXiv:1708.06519).

    It belongs after the clipping, as in the published code: what clips the gradient of the loss leaves it whole. Rules
    see gradients that are averaged over ranks, summed over micro-batches and unscaled, so it counts once.

    Args:
        strength: λ.
        names: of the batch norms in the model.
    """

    @torch.no_grad()
    def rule(model: nn.Module) -> None:
        scales = [model.get_submodule(name).get_parameter("weight") for name in names]
        trained = [(scale.grad, scale.sign()) for scale in scales if scale.grad is not None]
        if trained:
            gradients, signs = zip(*trained, strict=True)
            torch._foreach_add_(gradients, signs, alpha=strength)

    return rule


class FiniteGuard:
    """Blocks every update from the first gradient on that is not finite; sticky, and without synchronisation.

    A magnitude above 1e19 counts as not finite: its square is not, in float32.

    Fused optimizers leave parameters and state alone on the device where their ``found_inf`` is 1, so the loop can
    run on and ask ``first_bad`` when it reads back anyway. Call ``update`` on the reduced gradients, before the
    gradient rules, and ``step`` in place of ``optimizer.step()``.

    Args:
        device: where the gradients are.

    Attributes:
        found_inf: 0 or 1, float32, shape (); 1 for good once a gradient was not finite.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.found_inf = torch.zeros((), dtype=torch.float32, device=device)
        self._first_bad = torch.zeros((), dtype=torch.int64, device=device)

    @torch.no_grad()
    def update(self, gradients: Tensor | Iterable[Tensor], iteration: int) -> None:
        """Look at the gradients of one iteration.

        Args:
            gradients: parameters whose ``grad`` is looked at, or the norm of all gradients, shape ().
            iteration: 1-based, remembered if it is the first bad one.
        """
        if isinstance(gradients, Tensor):
            peak = gradients
        else:
            grads = [parameter.grad for parameter in gradients if parameter.grad is not None]
            if not grads:
                return
            # L2 costs half of L2 in double and a sixth of the largest magnitude.
            peak = torch.stack(torch._foreach_norm(grads, 2)).sum()
        is_bad = ~torch.isfinite(peak)
        self._first_bad.masked_fill_(is_bad & (self._first_bad == 0), iteration)
        self.found_inf.masked_fill_(is_bad, 1.0)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Update unless blocked; optimizers that are not fused cost one read-back."""
        if optimizer.defaults.get("fused"):
            optimizer.found_inf = self.found_inf  # type: ignore[attr-defined]
            optimizer.step()
        elif not self.found_inf.item():
            optimizer.step()

    def first_bad(self) -> int:
        """Iteration of the first gradient that was not finite, 0 = none; waits for the device."""
        return int(self._first_bad.item())
