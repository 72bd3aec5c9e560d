"""Pictures that many addresses sent: mostly those that say that a photo is gone, which no program can know."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from fecnet.utils.files import replace_bytes

MANY = 10  # addresses

logger = logging.getLogger(__name__)


def warn_of_repeats(folder: Path, path_of: Mapping[str, Path], sha256_of: Mapping[str, str]) -> None:
    """Copy each picture that ``MANY`` or more addresses sent into ``folder/repeated``, and warn of it.

    A copy, since the stored ones are deleted once the picture is named as a placeholder, and the command that names it
    may have to be repeated.

    Args:
        folder: of the download.
        path_of: path of the stored photo by URL.
        sha256_of: hash of its content by URL.
    """
    first_of = {sha256_of[url]: path for url, path in reversed(list(path_of.items()))}
    for digest, number in Counter(sha256_of[url] for url in path_of).most_common():
        if number < MANY:
            return
        stored = first_of[digest]
        copy = folder / "repeated" / f"{digest[:12]}{stored.suffix}"
        if not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            replace_bytes(copy, stored.read_bytes())
        logger.warning(
            "%s: warning: %d addresses sent the same picture: %s; if it says that a photo is gone, interrupt and "
            "repeat the command with --placeholder %s",
            *(folder, number, copy, copy),
        )
