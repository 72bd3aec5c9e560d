"""Heads for class logits, valence and arousal, or logits together with an embedding or valence and arousal."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from fecnet.modeling.channels import Span, prefix_spans
from fecnet.modeling.head.embedding import EmbeddingHead
from fecnet.structures import Outputs, of_label_set


class ClassifierHead(nn.Module):
    """Global average pool → dropout → linear.

    Pools globally for any feature map size; a fixed window, as in the published FER2013 systems, covers only a corner.

    Args:
        in_channels: channels of the feature map.
        num_classes: K.
        dropout: probability, before the linear layers.
        extra_classes: number of classes by name of further label sets, each with a linear layer of its own; or None.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        dropout: float = 0.5,
        extra_classes: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = _classifier(in_channels, num_classes)
        # a list, since a name of a label set may contain characters that a module's name may not
        self._extra_names = list(extra_classes or {})
        self.extra = nn.ModuleList(_classifier(in_channels, num) for num in (extra_classes or {}).values())

    @property
    def readers(self) -> tuple[Span, ...]:
        """Layers that read the pooled feature map."""
        return Span("classifier"), *(Span(f"extra.{place}") for place in range(len(self.extra)))

    def forward(self, map_NCHW: Tensor) -> Outputs:
        """Feature map of any size, (N, in_channels, H, W).

        Returns:
            ``logits``: shape (N, K), and likewise ``logits_<set>`` of each further label set; ``feature``: the pooled
            feature map before dropout, shape (N, in_channels).
        """
        feature_NC = map_NCHW.mean(dim=(2, 3))
        dropped_NC = self.dropout(feature_NC)
        outputs = {"logits": self.classifier(dropped_NC), "feature": feature_NC}
        for name, classifier in zip(self._extra_names, self.extra, strict=True):
            outputs[of_label_set("logits", name)] = classifier(dropped_NC)
        return outputs


def _classifier(in_channels: int, num_classes: int) -> nn.Linear:
    classifier = nn.Linear(in_channels, num_classes)
    nn.init.normal_(classifier.weight, std=0.01)  # initial logits are near 0, so no class is preferred
    nn.init.zeros_(classifier.bias)
    return classifier


class AffectHead(nn.Module):
    """Global average pool → dropout → linear to valence and arousal, not limited to -1..1.

    Args:
        in_channels: channels of the feature map.
        dropout: probability, before the linear layer.

    Attributes:
        readers: layers that read the pooled feature map.
    """

    readers = (Span("affect"),)

    def __init__(self, in_channels: int, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.affect = nn.Linear(in_channels, 2)

    def forward(self, map_NCHW: Tensor) -> Outputs:
        """Feature map of any size, (N, in_channels, H, W).

        Returns:
            ``valence_arousal``: shape (N, 2); ``feature``: pooled feature map before dropout, shape (N, in_channels).
        """
        feature_NC = map_NCHW.mean(dim=(2, 3))
        return {"valence_arousal": self.affect(self.dropout(feature_NC)), "feature": feature_NC}


class JointHead(nn.Module):
    """Class logits, and an embedding or valence and arousal, from one feature map.

    Args:
        classifier: feature map to logits.
        other: feature map to the other outputs.
    """

    def __init__(self, classifier: ClassifierHead, other: EmbeddingHead | AffectHead) -> None:
        super().__init__()
        self.classifier = classifier
        self.other = other

    @property
    def readers(self) -> tuple[Span, ...]:
        """Layers that read the pooled feature map."""
        return prefix_spans(self.classifier.readers, "classifier.") + prefix_spans(self.other.readers, "other.")

    def forward(self, map_NCHW: Tensor) -> Outputs:
        """Feature map of any size, (N, in_channels, H, W), to the outputs of both; ``feature`` is that of ``other``."""
        return {**self.classifier(map_NCHW), **self.other(map_NCHW)}
