"""Model of two branches: the expression is the deviation of a face from its identity (Deviation Learning Network)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Self

from torch import Tensor, nn

from fecnet.modeling.backbone.base import Backbone
from fecnet.modeling.channels import ChannelGroup
from fecnet.modeling.models import ExpressionNet
from fecnet.modeling.neck.base import Neck
from fecnet.utils.errors import ConfigError

_MODE_DEPENDENT = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.dropout._DropoutNd,
)  # layers that differ in training mode


class DeviationNet(ExpressionNet):
    """Normalise → face branch − identity branch → neck → head (Zhang et al., CVPR 2021).

    Both branches start from the same face-recognition weights. The face branch, ``backbone``, is trained; the identity
    branch and its batch-norm statistics are frozen, and saved with the net.

    Args:
        backbone: image to feature map; the identity branch is a copy of it.
        neck: difference of the feature maps to feature map.
        head: feature map to outputs.
        mean: see ``ExpressionNet``.
        std: see ``ExpressionNet``.
        freeze_backbone: must be false.

    Attributes:
        identity: the identity branch.

    Raises:
        ConfigError: the face branch would be frozen, or would compute the same as the identity branch also in training
            mode: a difference of zero has no gradient that could change it.
    """

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        head: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        freeze_backbone: bool = False,
    ) -> None:
        if freeze_backbone:
            raise ConfigError(
                "MODEL.FREEZE_BACKBONE: true with MODEL.HEAD 'deviation', whose branches would stay equal; "
                "allowed here: false (the identity branch is frozen in any case)"
            )
        if not any(isinstance(layer, _MODE_DEPENDENT) for layer in backbone.modules()):
            raise ConfigError(
                f"MODEL.HEAD: 'deviation' with {type(backbone).__name__} without batch norm and dropout: both branches "
                "compute the same, and no gradient parts them; allowed here: a backbone with batch norm"
            )
        super().__init__(backbone, neck, head, mean=mean, std=std)
        self.identity = deepcopy(backbone).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Set the training mode, except in the identity branch."""
        super().train(mode)
        self.identity.eval()
        return self

    def start_identity(self) -> None:
        """Make the identity branch a copy of the face branch, after weights were loaded into the face branch."""
        self.identity.load_state_dict(self.backbone.state_dict())

    def extract(self, image_NCHW: Tensor) -> Tensor:
        """The neck's input for normalised images: the difference of the branches' feature maps."""
        return self.backbone(image_NCHW) - self.identity(image_NCHW)

    def channel_groups(self) -> list[ChannelGroup]:
        """Empty: each channel is in both branches, so none can be pruned."""
        return []
