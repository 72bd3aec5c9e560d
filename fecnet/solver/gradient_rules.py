"""Rules applied to the gradients between backward pass and update; none synchronises with the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

GradientRule = Callable[[nn.Module], None]


def clip_value(limit: float) -> GradientRule:
    """Clamp each element of each gradient to ±``limit``.

    This makes an infinite gradient finite, so ``FiniteGuard.update`` must be called before.
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

    It is applied after clipping, as in the published code, so that clipping does not affect it. Rules receive gradients
    that are averaged over ranks, summed over micro-batches and unscaled, so it is added once.

    Args:
        strength: λ.
        names: names of the batch norms in the model.
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
    """Blocks all updates from the first non-finite gradient on, without synchronisation.

    A magnitude above 1e19 counts as not finite, since its square overflows float32.

    Fused optimizers do not change parameters and state where ``found_inf`` is 1, so the training loop can continue and
    check ``first_bad`` whenever it synchronises anyway. Call ``update`` on the reduced gradients, before the gradient
    rules, and ``step`` in place of ``optimizer.step()``.

    Args:
        device: of the gradients.

    Attributes:
        found_inf: 0 or 1, float32, shape (); stays 1 after the first non-finite gradient.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.found_inf = torch.zeros((), dtype=torch.float32, device=device)
        self._first_bad = torch.zeros((), dtype=torch.int64, device=device)

    @torch.no_grad()
    def update(self, gradients: Tensor | Iterable[Tensor], iteration: int) -> None:
        """Check the gradients of one iteration.

        Args:
            gradients: parameters whose ``grad`` is checked, or the norm of all gradients, shape ().
            iteration: 1-based, recorded if it is the first with a non-finite gradient.
        """
        if isinstance(gradients, Tensor):
            peak = gradients
        else:
            grads = [parameter.grad for parameter in gradients if parameter.grad is not None]
            if not grads:
                return
            # The L2 norm takes half the time of L2 in float64 and a sixth of that of the maximum norm.
            peak = torch.stack(torch._foreach_norm(grads, 2)).sum()
        is_bad = ~torch.isfinite(peak)
        self._first_bad.masked_fill_(is_bad & (self._first_bad == 0), iteration)
        self.found_inf.masked_fill_(is_bad, 1.0)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Update unless blocked; an optimizer that is not fused synchronises once."""
        if optimizer.defaults.get("fused"):
            optimizer.found_inf = self.found_inf  # type: ignore[attr-defined]
            optimizer.step()
        elif not self.found_inf.item():
            optimizer.step()

    def first_bad(self) -> int:
        """Iteration of the first non-finite gradient, 0 = none; synchronises with the device."""
        return int(self._first_bad.item())
