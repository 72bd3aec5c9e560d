"""The necks that ``MODEL.NECK`` names."""

from __future__ import annotations

from fecnet.modeling.neck.necks import Conv1x1Neck, Conv3x3Neck, DenseBlockNeck, NoNeck
from fecnet.modeling.parts import NeckEntry

_CHANNELS = {"channels": "MODEL.NECK_CHANNELS"}

NECKS: dict[str, NeckEntry] = {
    "dense_block": NeckEntry(build=DenseBlockNeck, options=_CHANNELS, default_widths=DenseBlockNeck.default_widths),
    "conv3x3": NeckEntry(build=Conv3x3Neck, options=_CHANNELS, default_widths=Conv3x3Neck.default_widths),
    "conv1x1": NeckEntry(build=Conv1x1Neck, options=_CHANNELS, default_widths=Conv1x1Neck.default_widths),
    "none": NeckEntry(build=NoNeck),
}
