"""What a registration says of a backbone, neck, head or criterion, and how one is added from outside the package.

The registrations themselves are the dicts ``BACKBONES``, ``NECKS``, ``HEADS`` and ``CRITERIA``, each in the
``registry.py`` of its package. Everything that has to know a part by name reads it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import nn

from fecnet.config.defaults import _C
from fecnet.config.node import flatten
from fecnet.modeling.backbone.base import Backbone
from fecnet.modeling.neck.base import Neck
from fecnet.utils.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Part:
    """What all registrations have.

    Attributes:
        build: makes the part, of keywords alone; which ones besides ``options`` the kinds of parts say.
        options: config key by keyword of ``build``. One of them set, without a chosen part that has it, is an error.
    """

    build: Callable[..., nn.Module]
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        """The config keys that the part uses."""
        return tuple(self.options.values())

    def keywords(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The options as keywords, from settings by dotted key."""
        return {keyword: settings[key] for keyword, key in self.options.items()}


@dataclass(frozen=True, kw_only=True)
class BackboneEntry(Part):
    """A backbone; ``build`` takes ``in_channels`` too, and ``widths`` where there are ``default_widths``.

    Attributes:
        build: makes it.
        default_widths: of one that ``fecnet prune`` knows: options to the size of each of its ``channel_groups``, which
            ``MODEL.LAYER_CHANNELS`` replaces. None: it has no ``channel_groups``.
    """

    build: Callable[..., Backbone]
    default_widths: Callable[..., list[int]] | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The config keys that the part uses."""
        return super().keys + (("MODEL.LAYER_CHANNELS",) if self.default_widths else ())


@dataclass(frozen=True, kw_only=True)
class NeckEntry(Part):
    """A neck; ``build`` takes ``in_channels`` too, and ``widths`` where there are ``default_widths``.

    Attributes:
        build: makes it.
        default_widths: options to the size of each of its ``channel_groups``; None: it has none.
    """

    build: Callable[..., Neck]
    default_widths: Callable[..., list[int]] | None = None


@dataclass(frozen=True, kw_only=True)
class HeadEntry(Part):
    """A head; ``build`` takes ``in_channels`` too, and ``num_classes`` where it gives ``logits``.

    Attributes:
        outputs: what a criterion may read of it, besides ``feature``.
        sees_regions: the net shows it six regions of each face (``RegionNet``).
    """

    outputs: Set[str]
    sees_regions: bool = False


@dataclass(frozen=True, kw_only=True)
class CriterionEntry(Part):
    """A criterion; ``build`` takes its options alone.

    Three of them arrive as what they mean for the data: ``DATA.LABELS`` as the names of the classes in label order,
    ``LOSS.CLASS_WEIGHTS`` as one number for each or None, ``LOSS.SCN_RELABEL_AFTER`` as iterations or None.

    Attributes:
        reads: of a batch: ``triplets``, or names of targets. One that reads nothing can only stand beside another.
        outputs: what it reads of the net.
        trains_classes: logits that it reads become those of the classes.
    """

    reads: tuple[str, ...] = ()
    outputs: Set[str]
    trains_classes: bool = False


P = TypeVar("P", bound=Part)


def register(parts: dict[str, P], name: str, part: P) -> None:
    """Add a part from outside the package, before settings that name it are used.

    Args:
        parts: ``BACKBONES``, ``NECKS``, ``HEADS`` or ``CRITERIA``.
        name: as settings give it.
        part: its registration.

    Raises:
        UserError: the name is taken.
    """
    if name in parts:
        raise UserError(f"{type(part).__name__} '{name}': the name is taken; allowed: any but {', '.join(parts)}")
    parts[name] = part


@dataclass(frozen=True)
class Choice:
    """What settings choose of one kind of part.

    Attributes:
        key: config key of the choice.
        parts: all there are, by name.
        names: those chosen.
    """

    key: str
    parts: Mapping[str, Part]
    names: Sequence[str]


def check_used(settings: Mapping[str, Any], choices: Iterable[Choice]) -> None:
    """Refuse options of parts that are not chosen.

    Args:
        settings: all of them, by dotted key.
        choices: of all kinds of parts that share a section of the settings.

    Raises:
        UserError: keys with another value than the default that no chosen part uses, a line each.
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
                f"{key}: {settings[key]!r} is not used by {choice.key} {', '.join(choice.names)}; it is an option of "
                f"{users}; allowed here: {default[key]!r}"
            )
    if problems:
        raise UserError("\n".join(problems.values()))
