"""Registration of backbones, necks, heads and criteria, also from outside the package.

The registries are the dicts ``BACKBONES``, ``NECKS``, ``HEADS`` and ``CRITERIA``, each in the ``registry.py`` of its
package. All code that looks up a part by name uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import nn

from fecnet.config.defaults import _C
from fecnet.config.node import flatten
from fecnet.modeling.backbone.base import Backbone
from fecnet.modeling.models import ExpressionNet
from fecnet.modeling.neck.base import Neck
from fecnet.utils.errors import UserError
from fecnet.utils.shown import shown


@dataclass(frozen=True, kw_only=True)
class Part:
    """Base of all registrations.

    Attributes:
        build: constructs the part from keyword arguments: ``options``, and those that the subclasses list.
        options: config key by keyword of ``build``. Setting a key that no chosen part uses is an error.
    """

    build: Callable[..., nn.Module]
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        """The config keys that the part uses."""
        return tuple(self.options.values())

    def keywords(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The options as keyword arguments, from settings by dotted key."""
        return {keyword: settings[key] for keyword, key in self.options.items()}


@dataclass(frozen=True, kw_only=True)
class BackboneEntry(Part):
    """A backbone; ``build`` takes ``in_channels`` too, and ``widths`` where there are ``default_widths``.

    Attributes:
        build: constructs it.
        default_widths: for a prunable backbone: maps its options to the size of each of its ``channel_groups``, which
            ``MODEL.LAYER_CHANNELS`` overrides. None: it has no ``channel_groups``.
        variants: maps names and shapes of tensors to the options with which the backbone may have them. Where a file
            does not fit the chosen backbone, the error names the backbones that it fits. None: it is not proposed.
    """

    build: Callable[..., Backbone]
    default_widths: Callable[..., list[int]] | None = None
    variants: Callable[[Mapping[str, torch.Size]], Iterable[Mapping[str, Any]]] | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The config keys that the part uses."""
        return super().keys + (("MODEL.LAYER_CHANNELS",) if self.default_widths else ())


@dataclass(frozen=True, kw_only=True)
class NeckEntry(Part):
    """A neck; ``build`` takes ``in_channels`` too, and ``widths`` where there are ``default_widths``.

    Attributes:
        build: constructs it.
        default_widths: maps its options to the size of each of its ``channel_groups``; None: it has none.
    """

    build: Callable[..., Neck]
    default_widths: Callable[..., list[int]] | None = None


@dataclass(frozen=True, kw_only=True)
class HeadEntry(Part):
    """A head; ``build`` takes ``in_channels`` too, and ``num_classes`` where its outputs include ``logits``.

    Attributes:
        outputs: names of its outputs besides ``feature``.
        net: class of the whole net; such as ``RegionNet``, which applies backbone and neck to six regions of each face.
        takes_extra: ``build`` also takes ``extra_classes``, the number of classes of each of ``DATA.EXTRA_LABELS``.
    """

    outputs: Set[str]
    net: type[ExpressionNet] = ExpressionNet
    takes_extra: bool = False


@dataclass(frozen=True, kw_only=True)
class CriterionEntry(Part):
    """A criterion; ``build`` takes its options only.

    Four options are resolved before: ``DATA.LABELS`` to the class names in label order, ``LOSS.CLASS_WEIGHTS`` to one
    number per class or None, ``LOSS.SCN_RELABEL_AFTER`` to iterations or None, ``DATA.TRAIN_SPLIT`` to the number of
    answers of each of its raters.

    Attributes:
        reads: inputs from a batch: ``triplets``, ``answers`` of raters to them, or names of targets. A criterion that
            reads none must be combined with another one.
        outputs: outputs of the net that it reads.
        trains_classes: it trains the logits that it reads to predict the classes.
        mixes: it takes mixed faces (``Batch.mix``), or reads none of the labels.
    """

    reads: tuple[str, ...] = ()
    outputs: Set[str]
    trains_classes: bool = False
    mixes: bool = False


P = TypeVar("P", bound=Part)


def register(parts: dict[str, P], name: str, part: P) -> None:
    """Add a part from outside the package; call it before settings that use its name.

    Args:
        parts: ``BACKBONES``, ``NECKS``, ``HEADS`` or ``CRITERIA``.
        name: as used in settings.
        part: its registration.

    Raises:
        UserError: the name is taken.
    """
    if name in parts:
        raise UserError(f"{type(part).__name__} '{name}': the name is taken; allowed: any but {', '.join(parts)}")
    parts[name] = part


@dataclass(frozen=True)
class Choice:
    """The chosen parts of one kind.

    Attributes:
        key: config key of the choice.
        parts: all registered parts, by name.
        names: names of the chosen parts.
    """

    key: str
    parts: Mapping[str, Part]
    names: Sequence[str]


def check_used(settings: Mapping[str, Any], choices: Iterable[Choice]) -> None:
    """Reject options of parts that are not chosen.

    Args:
        settings: all settings, by dotted key.
        choices: the choices of all kinds of parts that share a section of the settings.

    Raises:
        UserError: keys with a non-default value that no chosen part uses, one line each.
    """
    choices, default = list(choices), dict(flatten(_C))
    used = {key for choice in choices for name in choice.names for key in choice.parts[name].keys}
    problems: dict[str, str] = {}
    for choice in choices:
        section = choice.key.partition(".")[0]
        for key in dict.fromkeys(key for part in choice.parts.values() for key in part.keys):
            if key in used or not key.startswith(f"{section}.") or settings[key] == default[key]:
                continue
            users = ", ".join(name for name, part in choice.parts.items() if key in part.keys)
            problems[key] = (
                f"{key}: {shown(settings[key])} is not used by {choice.key} {', '.join(choice.names)}; "
                "it is an option of "
                f"{users}; allowed here: {shown(default[key])}"
            )
    if problems:
        raise UserError("\n".join(problems.values()))
