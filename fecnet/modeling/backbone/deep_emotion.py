"""Deep-Emotion (arXiv:1902.01019) as in its published code, with the same parameter names.

A spatial transformer (arXiv:1506.02025), which predicts an affine transform of the face and applies it, followed by a
small convolutional net.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fecnet.layers.initialise import init_convolutions
from fecnet.modeling.backbone.base import Backbone
from fecnet.utils.errors import UserError

MIN_SIZE = 48  # pixels; the published size, and the minimum for the 9×9 and 8×8 feature maps of the linear layers
_MAP_SIDE = 9  # side of the feature map that the hidden layer reads
_LOCALISATION_SIDE = 8  # side of the feature map that the transformer's linear layers read


class DeepEmotion(Backbone):
    """Spatial transformer → two pairs of 3×3 convolutions of 10 channels → dropout → FC 50 → ReLU.

    The hidden layer is part of the backbone: followed by a linear layer 50 → 7, the net is the published one with
    66,877 parameters. For images larger than 48 px, the feature maps are average-pooled to the sizes that the linear
    layers expect; 48 px give these sizes without pooling.

    Args:
        in_channels: 1 grey, 2 grey and mask, 3 colour, 4 colour and mask.
        dropout: probability, before the hidden layer.
    """

    def __init__(self, *, in_channels: int = 1, dropout: float = 0.5) -> None:
        super().__init__()
        self.localization = nn.Sequential(
            nn.Conv2d(in_channels, 8, 7),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 10, 5),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
        )
        last = nn.Linear(32, 6)
        self.fc_loc = nn.Sequential(nn.Linear(10 * _LOCALISATION_SIDE**2, 32), nn.ReLU(inplace=True), last)
        self.conv1 = nn.Conv2d(in_channels, 10, 3)
        self.conv2 = nn.Conv2d(10, 10, 3)
        self.conv3 = nn.Conv2d(10, 10, 3)
        self.conv4 = nn.Conv2d(10, 10, 3)
        self.norm = nn.BatchNorm2d(10)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.fc1 = nn.Linear(10 * _MAP_SIDE**2, 50)
        self.out_channels = 50
        init_convolutions(self)
        # initialised as the identity transform
        nn.init.zeros_(last.weight)
        last.bias.data = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Image (N, in_channels, H, W), H and W at least 48, to features (N, 50, 1, 1).

        Raises:
            UserError: the image is smaller.
        """
        height, width = image_NCHW.shape[-2:]
        if min(height, width) < MIN_SIZE:
            raise UserError(f"deep_emotion needs images of at least {MIN_SIZE} px a side, got {height}×{width}")
        map_NCHW = F.relu(self.conv1(self.transform(image_NCHW)))
        map_NCHW = F.relu(self.pool(self.conv2(map_NCHW)))
        map_NCHW = F.relu(self.conv3(map_NCHW))
        map_NCHW = F.relu(self.pool(self.norm(self.conv4(map_NCHW))))
        flat_NF = F.adaptive_avg_pool2d(map_NCHW, _MAP_SIDE).flatten(1)
        return F.relu(self.fc1(self.dropout(flat_NF)))[:, :, None, None]

    def transform(self, image_NCHW: Tensor) -> Tensor:
        """The image under the predicted affine transform, zeros outside; same shape."""
        map_NCHW = F.adaptive_avg_pool2d(self.localization(image_NCHW), _LOCALISATION_SIDE)
        theta_N23 = self.fc_loc(map_NCHW.flatten(1)).to(image_NCHW.dtype).view(-1, 2, 3)
        height, width = image_NCHW.shape[-2:]
        return F.grid_sample(image_NCHW, _affine_grid(theta_N23, height, width), align_corners=False)


def _affine_grid(theta_N23: Tensor, height: int, width: int) -> Tensor:
    """Sampling position of each pixel centre, x and y in -1..1 from edge to edge, shape (N, height, width, 2).

    ``torch.nn.functional.affine_grid`` uses a matrix product, which mixed precision computes in bfloat16, with errors
    of up to half a pixel at 112 pixels.
    """
    x_W = (2 * torch.arange(width, device=theta_N23.device, dtype=theta_N23.dtype) + 1) / width - 1
    y_H = (2 * torch.arange(height, device=theta_N23.device, dtype=theta_N23.dtype) + 1) / height - 1
    theta_N2311 = theta_N23[..., None, None]
    places_N2HW = theta_N2311[:, :, 0] * x_W + theta_N2311[:, :, 1] * y_H[:, None] + theta_N2311[:, :, 2]
    return places_N2HW.permute(0, 2, 3, 1)
