"""Feature map to importance and weighted logits (Self-Cure Network). N images, F features, K classes."""

from __future__ import annotations

from torch import Tensor, nn

from fecnet.layers.importance import Importance
from fecnet.modeling.channels import Span
from fecnet.structures import Outputs


class ScnClassifier(nn.Module):
    """``importance = σ(linear(feature))``, ``logits = importance · linear(feature)`` (arXiv:2002.10392).

    Args:
        in_features: F.
        num_classes: K.
    """

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.importance = Importance(in_features)
        self.classes = nn.Linear(in_features, num_classes)

    def forward(self, feature_NF: Tensor) -> Outputs:
        """Features (N, F).

        Returns:
            ``logits``, shape (N, K); ``importance`` in 0..1, shape (N,).
        """
        importance_N1 = self.importance(feature_NF)
        return {"logits": importance_N1 * self.classes(feature_NF), "importance": importance_N1[:, 0]}


class ScnHead(nn.Module):
    """Global average pool → dropout → ``ScnClassifier``.

    Args:
        in_channels: channels of the feature map.
        num_classes: K.
        dropout: probability, before importance and logits.

    Attributes:
        readers: layers that read the pooled feature map.
    """

    readers = (Span("classifier.importance"), Span("classifier.classes"))

    def __init__(self, in_channels: int, num_classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = ScnClassifier(in_channels, num_classes)

    def forward(self, map_NCHW: Tensor) -> Outputs:
        """Feature map of any size, (N, in_channels, H, W).

        Returns:
            ``logits``, ``importance`` and ``feature``: the input of both before dropout, shape (N, in_channels).
        """
        feature_NF = map_NCHW.mean(dim=(2, 3))
        return {**self.classifier(self.dropout(feature_NF)), "feature": feature_NF}
