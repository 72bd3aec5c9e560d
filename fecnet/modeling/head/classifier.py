"""Feature map to class logits, alone or beside an embedding."""

from __future__ import annotations

from torch import Tensor, nn

from fecnet.modeling.head.embedding import EmbeddingHead
from fecnet.structures import Outputs


class ClassifierHead(nn.Module):
    """Global average pool → dropout → linear.

    Pools globally, whatever the map's size: a fixed window, as in the published FER2013 systems, sees a corner of it.

    Args:
        in_channels: channels of the map.
        num_classes: K.
        dropout: probability, before the linear layer.
    """

    def __init__(self, in_channels: int, num_classes: int, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(in_channels, num_classes)
        nn.init.normal_(self.classifier.weight, std=0.01)  # logits start near 0: no class is favoured
        nn.init.zeros_(self.classifier.bias)

    def forward(self, map_NCHW: Tensor) -> Outputs:
        """Map of any size, (N, in_channels, H, W).

        Returns:
            ``logits``: shape (N, K); ``feature``: the pooled map, before dropout, shape (N, in_channels).
        """
        feature_NC = map_NCHW.mean(dim=(2, 3))
        return {"logits": self.classifier(self.dropout(feature_NC)), "feature": feature_NC}


class JointHead(nn.Module):
    """An embedding and class logits from one map.

    Args:
        embedding: map to embedding.
        classifier: map to logits.
    """

    def __init__(self, embedding: EmbeddingHead, classifier: ClassifierHead) -> None:
        super().__init__()
        self.embedding = embedding
        self.classifier = classifier

    def forward(self, map_NCHW: Tensor) -> Outputs:
        """Map of any size to ``embedding``, ``logits``, and ``feature``: what the embedding layer reads."""
        return {**self.classifier(map_NCHW), **self.embedding(map_NCHW)}
