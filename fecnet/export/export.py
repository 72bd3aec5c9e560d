"""``fecnet export``: a trained net in another format, verified against the original before the file gets its name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fecnet.encoder.build import load_encoder
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.saved_net import open_saved_net
from fecnet.engine.checkpoint import containing_folder, find_checkpoint, load_info
from fecnet.engine.description import Export
from fecnet.export.agreement import Agreement
from fecnet.export.bundle import is_bundle_alone, make_bundle, make_half
from fecnet.export.check import check_tolerances, compare
from fecnet.export.faces import calibration_faces, choose_faces
from fecnet.export.graph import Save, Source
from fecnet.export.int8 import make_int8
from fecnet.export.onnx import make_onnx
from fecnet.export.program import make_program, open_program
from fecnet.utils.env import now
from fecnet.utils.errors import UserError
from fecnet.utils.files import whole_or_absent
from fecnet.utils.in_place import remove
from fecnet.utils.lookup import lookup
from fecnet.utils.package import VERSION

logger = logging.getLogger(__name__)


class _Format(NamedTuple):
    make: Callable[[Source], Save]
    ending: str  # suffix of its file; empty = a folder
    name: str  # default name, appended to that of the run
    exact: bool  # weights are in float32
    calibrated: bool = False  # needs training faces for calibration
    open: Callable[[Path], Encoder] = partial(load_encoder, device="cpu")  # opens what was just written


FORMATS = {
    "bundle": _Format(make_bundle, "", "-bundle", True),
    "half": _Format(make_half, "", "-half", False),
    "onnx": _Format(make_onnx, ".onnx", ".onnx", True),
    "torch": _Format(make_program, ".pt2", ".pt2", True, open=open_program),
    "int8": _Format(make_int8, ".onnx", "-int8.onnx", False, calibrated=True),
}


class Exported(NamedTuple):
    """The result of an export.

    Attributes:
        path: the file or folder written.
        megabytes: its size on disk, MB.
        agreement: comparison with the original net.
    """

    path: Path
    megabytes: float
    agreement: Agreement


def export_run(
    path: str,
    kind: str,
    *,
    output: str = "",
    checkpoint: str = "best",
    raw: bool = False,
    check: str = "",
    calibrate: str = "",
    overwrite: bool = False,
    progress: bool = True,
) -> Exported:
    """Write a trained net in another format, open it again, and compare the two on real faces.

    Args:
        path: run or checkpoint folder.
        kind: a key of ``FORMATS``.
        output: file or folder to write; empty for one next to the run.
        checkpoint: ``best`` or ``last`` checkpoint of a run.
        raw: put the preprocessing into the graph.
        check: packed set to compare on; empty for that of the run.
        calibrate: packed set for int8; empty for the training faces of the run.
        overwrite: replace an existing ``output``.
        progress: show bars.

    Raises:
        UserError: no checkpoint, an unsupported format version, a net that cannot be exported, or a file that does not
            agree with the net; no file is left then.
        OSError: the disk is full or read-only.
    """
    form = lookup(FORMATS, kind, key="format")
    if _is_file(path):
        raise UserError(f"{path}: an exported file; allowed: the run or checkpoint folder that it was exported from")
    folder = find_checkpoint(path, checkpoint)
    info = load_info(folder)
    cfg = info.settings()
    target = _target(output, folder, form, overwrite=overwrite)
    encoder = load_encoder(folder, device="cpu")
    faces = choose_faces(cfg, encoder, info, check)
    source = Source(
        open_saved_net(folder).net,  # the trained net: the encoder's was rewritten for this machine's CPU
        encoder.net.views,
        encoder.face_shape,
        raw,
        str(folder),
        folder,
        calibration_faces(cfg, encoder, calibrate) if form.calibrated else None,
    )
    save = form.make(source)
    made = Export(
        name=target.name,
        kind=kind,
        raw=raw,
        source=f"{containing_folder(folder).resolve().name}, iteration {info.iteration}",
        fecnet=VERSION,
        date=now(),
    )
    with _beside(target) as unchecked:
        save(unchecked, replace(info, export=made))
        agreement = compare(encoder, form.open(unchecked), faces, progress=progress)
        if form.exact:
            check_tolerances(agreement, target)
        save(unchecked, replace(info, export=replace(made, checked=agreement.to_dict())))
        with whole_or_absent(target) as place:
            unchecked.replace(place)
    exported = Exported(target, _bytes(target) / 1e6, agreement)
    logger.info(f"{target}: {exported.megabytes:.1f} MB\n{agreement.text()}")
    return exported


def _is_file(path: str | Path) -> bool:
    """Whether a path has the suffix of a file of ``fecnet export``; other formats are folders."""
    return Path(path).suffix in {form.ending for form in FORMATS.values() if form.ending}


def _target(output: str, checkpoint: Path, form: _Format, *, overwrite: bool) -> Path:
    """The output path, checked before any work is done."""
    base = containing_folder(checkpoint)
    target = Path(output) if output else base.with_name(f"{base.name}{form.name}")
    if target.suffix != form.ending and (form.ending or _is_file(target)):
        raise UserError(f"{target}: allowed for this format: {f'a file *{form.ending}' if form.ending else 'a folder'}")
    if target.exists():
        if not overwrite:
            raise UserError(f"{target}: exists already; use --overwrite to replace it")
        if target.is_dir() and (form.ending or not is_bundle_alone(target)):
            raise UserError(f"{target}: a folder with files that this command did not make; it is not replaced")
    return target


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A path of the same name in a temporary folder next to it; remains of a killed command are removed first."""
    folder = target.with_name(f".{target.name}.unchecked")
    remove(folder)
    folder.mkdir(parents=True)
    try:
        yield folder / target.name
    finally:
        remove(folder)


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))
