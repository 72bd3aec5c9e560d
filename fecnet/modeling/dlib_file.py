"""Reads the weights of dlib's face recognition net, ``dlib_face_recognition_resnet_model_v1.dat``; executes no code.

The file is a stream of layers, beginning at the image. A layer begins with its tag, a string; in a convolution or an
affine layer, one tensor with all its parameters follows. A string is its length and its bytes. An integer is one byte
with the number of its bytes and, in the highest bit, the sign, followed by these bytes, little-endian. A tensor is its
version, four sizes, and its float32 values (dlib 19, serialize.h and tensor.h). O output channels, C input channels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fecnet.modeling.backbone.dlib_resnet import STAGES
from fecnet.utils.errors import UserError

SUFFIX = ".dat"
MEAN, STD = 0.5, 0.5  # MODEL.MEAN and MODEL.STD with which the returned tensors give the results of dlib's net
_MEAN_RGB, _STD = (122.782, 117.001, 104.298), 256.0  # of dlib's input layer, pixels in 0..255
_EPS = 1e-5  # of torch's batch norms
_LARGEST = 1 << 28  # bytes; the file has 22 MB
_TAG = re.compile(rb"\x01(?:\x05con_[45]|\x07affine_)")


def read_dlib_resnet(path: Path) -> dict[str, Tensor]:
    """The tensors of ``DlibResNet``, three input channels.

    dlib's affine layers and the biases of its convolutions become batch norms of mean 0 and variance 1, and its
    subtraction of a mean colour becomes part of the first.

    Raises:
        UserError: the file is not that net, or truncated.
    """
    layers = list(_layers(path))
    tensors: dict[str, Tensor] = {}
    names = [("stem.conv", "stem.norm", STAGES[0][0], 3, 7)]
    before = STAGES[0][0]
    for block, channels in enumerate(channels for channels, number in STAGES for _ in range(number)):
        names.append((f"blocks.{block}.conv1", f"blocks.{block}.norm1", channels, before, 3))
        names.append((f"blocks.{block}.conv2", f"blocks.{block}.norm2", channels, channels, 3))
        before = channels
    if len(layers) < 2 * len(names):
        raise UserError(f"{path}: {len(layers)} layers with weights; dlib's face recognition net has 58 of them")
    for (conv, norm, out_channels, in_channels, side), parameters, affine in zip(
        names, layers[::2], layers[1::2], strict=False
    ):
        shape = (out_channels, in_channels, side, side)
        if (len(parameters), len(affine)) != (int(np.prod(shape)) + out_channels, 2 * out_channels):
            raise UserError(
                f"{path}: {len(parameters)} and {len(affine)} numbers where {conv} and {norm} of dlib's face "
                f"recognition net have {int(np.prod(shape)) + out_channels} and {2 * out_channels}"
            )
        weight_OCKK, bias_O = parameters[:-out_channels].view(shape), parameters[-out_channels:]
        scale_O, shift_O = affine[:out_channels], affine[out_channels:]
        if conv == "stem.conv":
            weight_OCKK, bias_O = _from_unit_range(weight_OCKK, bias_O)
        tensors[f"{conv}.weight"] = weight_OCKK
        tensors[f"{norm}.weight"], tensors[f"{norm}.bias"] = scale_O, shift_O + scale_O * bias_O
        tensors[f"{norm}.running_mean"] = torch.zeros(out_channels)
        tensors[f"{norm}.running_var"] = torch.full((out_channels,), 1 - _EPS)
    return tensors


def _from_unit_range(weight_OCKK: Tensor, bias_O: Tensor) -> tuple[Tensor, Tensor]:
    """Convert dlib's first convolution, which has no padding, to pixels normalised as (pixel / 255 - MEAN) / STD."""
    shift_C = 255 * MEAN - torch.tensor(_MEAN_RGB)
    return weight_OCKK * (255 * STD / _STD), bias_O + (weight_OCKK.sum((2, 3)) * shift_C).sum(1) / _STD


def _layers(path: Path) -> Iterator[Tensor]:
    """The parameters of each convolution and affine layer in order, float32, one-dimensional."""
    if path.stat().st_size > _LARGEST:
        raise UserError(f"{path}: {path.stat().st_size:,} bytes; dlib's face recognition net has 22,466,066")
    content, at = path.read_bytes(), 0
    while tag := _TAG.search(content, at):
        sizes, at = _integers(content, tag.end(), 5)
        number = math.prod(sizes[1:])
        if not number or at + 4 * number > len(content):
            raise UserError(f"{path}: cut short or damaged in the layer at byte {tag.start():,}")
        yield torch.from_numpy(np.frombuffer(content, "<f4", number, at).astype(np.float32))
        at += 4 * number


def _integers(content: bytes, at: int, number: int) -> tuple[list[int], int]:
    """Integers and the position after them; 0 where the content ends before."""
    found = []
    for _ in range(number):
        length = int.from_bytes(content[at : at + 1]) & 0x0F
        found.append(int.from_bytes(content[at + 1 : at + 1 + length], "little"))
        at += 1 + length
    return found, at
