"""Feature map to unit embedding."""

from __future__ import annotations

from torch import Tensor, nn

from fecnet.layers.initialise import init_centred_linear
from fecnet.layers.l2 import l2_normalize
from fecnet.modeling.channels import Span
from fecnet.structures import Outputs


class EmbeddingHead(nn.Module):
    """Global average pool → linear → ReLU6 → dropout → linear → unit length (arXiv:1811.11283).

    Args:
        in_channels: channels of the feature map.
        feature_dim: units before the embedding.
        embedding_dim: dimensions of the embedding.
        dropout: probability, before the embedding layer.

    Attributes:
        readers: layers that read the pooled feature map.
    """

    readers = (Span("feature"),)

    def __init__(
        self, in_channels: int, *, feature_dim: int = 512, embedding_dim: int = 16, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.feature = nn.Linear(in_channels, feature_dim)
        self.relu = nn.ReLU6()
        self.dropout = nn.Dropout(dropout)
        self.embedding = nn.Linear(feature_dim, embedding_dim)
        init_centred_linear(self.feature)
        init_centred_linear(self.embedding)

    def forward(self, map_NCHW: Tensor) -> Outputs:
        """Feature map of any size, (N, in_channels, H, W).

        Returns:
            ``embedding``: unit length, float32, shape (N, embedding_dim); ``feature``: input of the embedding layer
            before dropout, shape (N, feature_dim).
        """
        pooled_NC = map_NCHW.mean(dim=(2, 3))
        feature_NF = self.relu(self.feature(pooled_NC))
        return {"embedding": l2_normalize(self.embedding(self.dropout(feature_NF))), "feature": feature_NF}
