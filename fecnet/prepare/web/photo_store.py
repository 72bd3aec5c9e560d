"""The folder of photos by URL: ``photos/<2 hex>/<sha256 of the URL>.<ending>``, written atomically."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from fecnet.prepare.web.pictures import suffix_of
from fecnet.utils.files import replace_bytes


class PhotoStore:
    """The stored photos of a download; on opening, partial files of a killed run are deleted.

    Args:
        folder: of the download; created if missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "photos"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._paths: dict[str, Path] = {}
        for path in self._folder.glob("*/*"):
            if path.name.endswith(".partial"):
                path.unlink()
            else:
                self._paths[path.stem] = path

    def find(self, url: str) -> Path | None:
        """Path of the photo of ``url``; None where it is not stored."""
        return self._paths.get(_name(url))

    def put(self, url: str, content: bytes) -> Path:
        """Store a photo, atomically and flushed to disk; one with another suffix is replaced.

        Raises:
            OSError: the disk is full or read-only.
        """
        name = _name(url)
        path = self._folder / name[:2] / f"{name}{suffix_of(content)}"
        path.parent.mkdir(exist_ok=True)
        replace_bytes(path, content)
        with self._lock:
            before, self._paths[name] = self._paths.get(name), path
        if before is not None and before != path:
            before.unlink()
        return path

    def remove(self, url: str) -> None:
        """Delete the photo of ``url``."""
        self._paths.pop(_name(url)).unlink()


def _name(url: str) -> str:
    return hashlib.sha256(url.encode(errors="surrogatepass")).hexdigest()
