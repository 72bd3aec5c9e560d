"""The three nets of MTCNN (arXiv:1604.02878) with the weights that come in the package facenet-pytorch.

The package itself is not imported: it imports torchvision and with it torch's compiler, which takes seconds in each
process that detects faces. For the same reason non-maximum suppression is here.

Shape suffixes: N images, h, w positions of the first net, K boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fecnet.utils.errors import UserError
from fecnet.utils.shown import shown

_INSTALL = "detector mtcnn needs facenet-pytorch; install it with: pip install 'fecnet[faces]'"
_BLOCK = 256  # boxes compared with one another at once: bounds memory
# from these numbers of crops on, the result for one is independent of the others, to the last bit (torch 2.15, AVX-512)
_FEWEST_MAPS, _FEWEST_ROWS = 2, 16


class _Layout(NamedTuple):
    file: str
    convolutions: tuple[tuple[int, int, int], ...]  # channels, kernel, kernel of the pooling that follows or 0
    dense: tuple[int, int]  # inputs and outputs of the hidden layer; zeros for none
    heads: tuple[int, ...]  # outputs: scores, shifts of the box, and landmarks


_LAYOUTS = (
    _Layout("pnet.pt", ((10, 3, 2), (16, 3, 0), (32, 3, 0)), (0, 0), (2, 4)),
    _Layout("rnet.pt", ((28, 3, 3), (48, 3, 3), (64, 2, 0)), (576, 128), (2, 4)),
    _Layout("onet.pt", ((32, 3, 3), (64, 3, 3), (64, 3, 2), (128, 2, 0)), (1152, 256), (2, 4, 10)),
)


class CascadeNet(nn.Module):
    """One of the three nets, with facenet-pytorch's names of weights.

    Its outputs are those of all heads but the first, followed by the scores, the softmax of the first head. The first
    net is fully convolutional with outputs of shape (N, outputs, h, w); the others have outputs of shape (N, outputs).
    """

    def __init__(self, layout: _Layout) -> None:
        super().__init__()
        # lists of the modules: in nets this small, looking up attributes by name takes a noticeable share of the time
        self._steps: list[tuple[nn.Module, nn.Module, int]] = []
        self._hidden: list[nn.Module] = []
        self._heads: list[nn.Module] = []
        width, number = 3, 0
        for number, (channels, kernel, pooling) in enumerate(layout.convolutions, 1):
            convolution, slopes = nn.Conv2d(width, channels, kernel), nn.PReLU(channels)
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"prelu{number}", slopes)
            self._steps.append((convolution, slopes, pooling))
            width = channels
        inputs, hidden = layout.dense
        if hidden:
            number += 1
            self._hidden = [nn.Linear(inputs, hidden), nn.PReLU(hidden)]
            self.add_module(f"dense{number}", self._hidden[0])
            self.add_module(f"prelu{number}", self._hidden[1])
            width = hidden
        for head, outputs in enumerate(layout.heads, 1):
            self._heads.append(nn.Linear(width, outputs) if hidden else nn.Conv2d(width, outputs, 1))
            self.add_module(f"{'dense' if hidden else 'conv'}{number + 1}_{head}", self._heads[-1])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """See the class; ``x`` is normalised, shape (N, 3, H, W)."""
        num = len(x)
        if self._hidden:
            x = _padded(x, _FEWEST_MAPS)
        for convolution, slopes, pooling in self._steps:
            x = slopes(convolution(x))
            if pooling:
                x = functional.max_pool2d(x, pooling, 2, ceil_mode=True)
        if self._hidden:
            x = _padded(x.permute(0, 3, 2, 1).flatten(1), _FEWEST_ROWS)  # the order of the weights
            for layer in self._hidden:
                x = layer(x)
        scores, *others = (head(x)[:num] for head in self._heads)
        return (*others, scores.softmax(dim=1))


def _padded(x: Tensor, fewest: int) -> Tensor:
    """Zeros after the crops, where they are fewer."""
    missing = fewest - len(x)
    return functional.pad(x, (0, 0) * (x.ndim - 1) + (0, missing)) if missing > 0 else x


def load_nets(device: str) -> list[CascadeNet]:
    """The three nets in evaluation mode, in channels-last memory, for which torch has a fast pooling kernel.

    Raises:
        UserError: facenet-pytorch is missing, or the device cannot be used.
    """
    found = find_spec("facenet_pytorch")  # does not import it
    if found is None or found.origin is None:
        raise UserError(_INSTALL)
    nets = []
    for layout in _LAYOUTS:
        net = CascadeNet(layout)
        net.load_state_dict(torch.load(Path(found.origin).parent / "data" / layout.file, weights_only=True))
        try:
            net.to(torch.device(device)).to(memory_format=torch.channels_last)
        except RuntimeError as error:
            raise UserError(
                f"device {shown(device)}: not usable here; allowed: cpu, or cuda where torch finds a GPU"
            ) from error
        net.eval()
        nets.append(net)
    return nets


def distinct(boxes_K4: np.ndarray, score_K: np.ndarray, overlap: float) -> np.ndarray:
    """Non-maximum suppression with the results of torchvision's.

    Args:
        boxes_K4: left, top, right, bottom, shape (K, 4).
        score_K: their scores, shape (K,).
        overlap: a box is dropped where its intersection over union with a kept box of a higher score exceeds this.

    Returns:
        Indices of the boxes kept, by descending score.
    """
    order_K = np.argsort(-score_K, kind="stable")
    boxes = boxes_K4[order_K]
    rest, kept = np.arange(len(boxes)), [np.arange(0)]
    while len(rest):
        block, rest = rest[:_BLOCK], rest[_BLOCK:]
        chosen = block[_best(_overlaps(boxes[block], boxes[block]) > overlap)]
        kept.append(chosen)
        if len(rest):
            rest = rest[~(_overlaps(boxes[chosen], boxes[rest]) > overlap).any(axis=0)]
    return order_K[np.concatenate(kept)]


def _best(over_KK: np.ndarray) -> Sequence[int]:
    """Indices of the boxes kept, of boxes sorted by descending score, by whether each pair overlaps too much."""
    dropped, kept = np.zeros(len(over_KK), bool), []
    for row, over_K in enumerate(over_KK):
        if not dropped[row]:
            kept.append(row)
            dropped |= over_K
    return kept


def _overlaps(one_K4: np.ndarray, other_L4: np.ndarray) -> np.ndarray:
    """Intersection over union of each pair, float64 of float32 boxes, shape (K, L); NaN for two boxes without area."""
    least_KL2 = np.maximum(one_K4[:, None, :2], other_L4[:, :2])
    sides_KL2 = (np.minimum(one_K4[:, None, 2:], other_L4[:, 2:]) - least_KL2).clip(0)
    common_KL = sides_KL2[..., 0] * sides_KL2[..., 1]
    area_K, area_L = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (one_K4, other_L4))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (common_KL / (area_K[:, None] + area_L - common_KL)).astype(np.float64)
