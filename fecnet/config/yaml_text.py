"""Reads YAML as it is meant in recipes: the plain types of YAML 1.2, each key once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from fecnet.utils.errors import ConfigError
from fecnet.utils.files import check_file
from fecnet.utils.shown import cut

# PyYAML implements YAML 1.1, which takes 1e-4 for a string, 010 for 8, 1:30 for 90 and 2001-01-01 for a date.
_FLOAT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")
_INT = re.compile(r"[-+]?(\d[\d_]*|0x[\da-fA-F]+)$", re.ASCII)
_TAG = "tag:yaml.org,2002:"
_MOST_DIGITS = 100
# What a damaged document raises: PyYAML's own errors, and those of Python inside it for tags that do not fit.
_FAULTS = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


class _Loader(yaml.SafeLoader):
    """Plain values only: no tags beyond these."""

    yaml_constructors = {  # noqa: RUF012 - PyYAML's
        None: yaml.SafeLoader.construct_undefined,
        **{
            f"{_TAG}{kind}": yaml.SafeLoader.yaml_constructors[f"{_TAG}{kind}"]
            for kind in ("null", "bool", "float", "str", "seq", "map")
        },
    }
    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's
        first: [pair for pair in pairs if pair[0].removeprefix(_TAG) in ("null", "bool", "merge")]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping in which each key occurs once; PyYAML takes the last one."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"'{cut(key.value)}' is given twice; allowed: once"
                    raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
        return node

    def whole_number(self, node: Any) -> int:
        """An int, decimal or ``0x``."""
        text = self.construct_scalar(node)
        if len(text) > _MOST_DIGITS:
            problem = f"a number of {len(text)} digits; allowed: up to {_MOST_DIGITS}"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
        return int(text.replace("_", ""), 16 if "x" in text else 10)


_Loader.add_constructor(f"{_TAG}int", _Loader.whole_number)
_Loader.add_implicit_resolver(f"{_TAG}int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+0123456789."))


def read_yaml(path: Path) -> Any:
    """The content of a file.

    Raises:
        ConfigError: unreadable, not text in UTF-8, or not YAML as described above; names the line.
    """
    check_file(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not YAML: not text in UTF-8: {error}") from error
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except _FAULTS as error:
        raise ConfigError(f"{path}: {_why_not(error)}") from error


def parse_yaml(text: str) -> Any:
    """The value that a text is in YAML; the text itself where it is none."""
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except _FAULTS:
        return text


def _why_not(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    line = f"line {mark.line + 1}: " if mark else ""
    if isinstance(error, RecursionError):
        return "not YAML: nested too deeply"
    return f"{line}not YAML: {cut(getattr(error, 'problem', None) or str(error))}"
