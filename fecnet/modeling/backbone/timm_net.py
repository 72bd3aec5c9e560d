"""Convolutional nets of timm (optional, imported here only); without weights: nothing is downloaded."""

from __future__ import annotations

import difflib
from types import ModuleType

import torch
from torch import Tensor, nn

from fecnet.modeling.backbone.base import Backbone
from fecnet.utils.errors import ConfigError
from fecnet.utils.shown import shown

PREFIX = "timm:"
_PROPOSED = 3  # nearest names in the error about an unknown one


class TimmNet(Backbone):
    """A net of timm up to its last feature map; the layers after that are removed.

    Args:
        name: a name of ``timm.list_models``.
        in_channels: channels of the image.
        input_size: side of the images it will get, pixels.

    Attributes:
        net: the net, with timm's names of parameters.
        out_channels: channels of the feature map.

    Raises:
        ConfigError: timm is absent, has no such net, or the net returns no feature map for such images.
    """

    def __init__(self, name: str, *, in_channels: int, input_size: int) -> None:
        super().__init__()
        timm = _import_timm(name)
        _check_known(name, timm.list_models())
        image_1CSS = torch.zeros(1, in_channels, input_size, input_size)
        try:
            self.net = timm.create_model(name, pretrained=False, in_chans=in_channels, num_classes=0).eval()
            with torch.no_grad():
                shape = _without_unused(self.net, image_1CSS)
        except Exception as error:  # nets of fixed input size raise various classes
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            image = f"images of {in_channels} channels and {input_size}×{input_size}"
            raise ConfigError(
                f"MODEL.BACKBONE: {PREFIX}{name} cannot process {image} pixels ({reason}); allowed: a convolutional "
                "net for this size, or another DATA.INPUT_SIZE"
            ) from error
        self.out_channels = int(self.net.num_features)
        if len(shape) != 4 or shape[1] != self.out_channels:
            raise ConfigError(
                f"MODEL.BACKBONE: {PREFIX}{name} returns shape {tuple(shape)} instead of a feature map for an image of "
                f"{input_size} pixels; allowed: a convolutional net, such as timm:resnet18"
            )
        self.net.train()

    @property
    def published(self) -> nn.Module:
        """The net itself: its names are those of published weights."""
        return self.net

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """The last feature map, shape (N, out_channels, h, w)."""
        feature_map: Tensor = self.net.forward_features(image_NCHW)
        return feature_map


def with_sync_batch_norm(model: nn.Module) -> nn.Module:
    """The model with ``SyncBatchNorm`` in place of every batch norm.

    A batch norm of timm may include its activation, which torch's conversion would remove.
    """
    if any(isinstance(module, TimmNet) for module in model.modules()):
        from timm.layers import convert_sync_batchnorm

        converted: nn.Module = convert_sync_batchnorm(model)
        return converted
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def _import_timm(name: str) -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise ConfigError(
            f"MODEL.BACKBONE: {PREFIX}{name} needs timm; install it with: pip install 'fecnet[timm]'"
        ) from error
    found: ModuleType = timm
    return found


def _check_known(name: str, known: list[str]) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=_PROPOSED) or ["resnet18", "mobilenetv3_small_100"]
    raise ConfigError(
        f"MODEL.BACKBONE: unknown net {shown(name)} of timm ({len(known):,} are known); allowed: names without a tag, "
        f"such as {', '.join(PREFIX + other for other in near)}"
    )


def _without_unused(net: nn.Module, image_1CSS: Tensor) -> torch.Size:
    """Remove the children that the feature map does not depend on, which would get no gradient; return its shape."""
    used: set[nn.Module] = set()
    hooks = [module.register_forward_hook(lambda module, *_: used.add(module)) for module in net.modules()]
    feature_map = net.forward_features(image_1CSS)  # type: ignore[operator]
    for hook in hooks:
        hook.remove()
    for name, child in list(net.named_children()):
        if used.isdisjoint(child.modules()):
            setattr(net, name, nn.Identity())
    return torch.Size(getattr(feature_map, "shape", ()))  # some nets give lists
