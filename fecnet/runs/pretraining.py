"""Pretrained weights, and their disclosure in the checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from fecnet.config.node import Frozen
from fecnet.data.build import build_trained_rows, build_views
from fecnet.data.folds import FOLD
from fecnet.data.label_splits import CUT_BY, HOLD_OUT
from fecnet.data.packed import PackedDataset
from fecnet.engine.checkpoint import load_info
from fecnet.engine.description import INFO_FILE, CheckpointInfo
from fecnet.modeling import dlib_file
from fecnet.modeling.build import default_widths
from fecnet.modeling.deviation_net import DeviationNet
from fecnet.modeling.models import ExpressionNet
from fecnet.modeling.pretrained import LoadReport, find_weights, load_pretrained
from fecnet.modeling.statistics import take_statistics
from fecnet.nets.shipped import is_name, shipped_net
from fecnet.runs.tasks import Task
from fecnet.utils.errors import ConfigError
from fecnet.utils.shown import shown

logger = logging.getLogger(__name__)

_FACES_OF_STATISTICS = 256


def load_start(cfg: Frozen, model: ExpressionNet, dataset: PackedDataset, task: Task) -> None:
    """Fill the parts of ``model`` that ``MODEL.PRETRAINED_PARTS`` names from ``MODEL.PRETRAINED``, and report.

    Both branches of a ``DeviationNet`` start from the loaded backbone; if all parts are loaded, each from its own.

    Args:
        cfg: the settings of the run.
        model: the net, untrained.
        dataset: the data set that it will be trained on.
        task: the task that it will be trained for.

    Raises:
        UserError: the file cannot be read, does not cover the net, or is not the name of a shipped net.
        ConfigError: ``MODEL.PRETRAINED_ON`` is missing; the file's net has other widths, or was trained on faces that
            are held out here; all parts are to be loaded and a weight does not fit, or the classes differ or are
            unknown; or weights that are not in the file would be frozen: a convolution, or the identity branch.
    """
    keeps = isinstance(model, DeviationNet)  # the identity branch is never trained
    if keeps and not cfg.MODEL.PRETRAINED:
        raise ConfigError(
            "MODEL.PRETRAINED: empty, but MODEL.HEAD 'deviation' keeps an identity branch as it starts, which would be "
            "random; allowed here: weights of face recognition for this backbone"
        )
    if not cfg.MODEL.PRETRAINED_ON:
        raise ConfigError("MODEL.PRETRAINED_ON: empty; say what the file was trained on, checkpoints disclose it")
    _check_widths(cfg)
    _check_held_out(cfg, dataset)
    if cfg.MODEL.PRETRAINED_PARTS == "all":
        if task.has_classes:
            _check_classes(cfg, task.classes, task.extra_classes)
        report = _load_all(model, _weights_file(cfg.MODEL.PRETRAINED))
    else:
        report = load_pretrained(model.backbone.published, _weights_file(cfg.MODEL.PRETRAINED))
        if Path(cfg.MODEL.PRETRAINED).suffix == dlib_file.SUFFIX:
            _fit_dlib(cfg, model, dataset, task)
        if isinstance(model, DeviationNet):
            model.start_identity()
    logger.info(str(report))
    if report.missing and (cfg.MODEL.FREEZE_BACKBONE or keeps):
        key, allowed = ("HEAD: 'deviation'", "another head") if keeps else ("FREEZE_BACKBONE: true", "false")
        raise ConfigError(
            f"MODEL.{key}, but {report.path} has no weights for {report.missing[0]} that fit images of "
            f"{len(dataset.channels)} channels, and it would stay random; allowed: {allowed}"
        )
    if report.converted and "mask" in dataset.channels and cfg.MODEL.FREEZE_BACKBONE:
        logger.info("MODEL.FREEZE_BACKBONE: true; the mask's weights start at zero and stay so: it has no effect")


def disclose_pretraining(cfg: Frozen, resumed: CheckpointInfo | None) -> str | None:
    """What the weights were trained on before this run, including what their own checkpoint discloses."""
    if resumed is not None:
        return resumed.pretraining
    if not cfg.MODEL.PRETRAINED:
        return None
    origin = _info_beside(cfg.MODEL.PRETRAINED)
    earlier = origin and origin.pretraining
    return f"{cfg.MODEL.PRETRAINED_ON}; before that: {earlier}" if earlier else str(cfg.MODEL.PRETRAINED_ON)


def _fit_dlib(cfg: Frozen, model: ExpressionNet, dataset: PackedDataset, task: Task) -> None:
    """Set the batch-norm statistics of dlib's net, which has none, from training faces.

    Raises:
        ConfigError: another normalisation of the pixels than the one that its first layer was converted for.
    """
    for key, read_for in (("MEAN", dlib_file.MEAN), ("STD", dlib_file.STD)):
        if set(cfg.MODEL[key]) != {read_for}:
            raise ConfigError(f"MODEL.{key}: {list(cfg.MODEL[key])} with weights of dlib; allowed: [{read_for}]")
    rows = build_trained_rows(cfg, dataset, task.targets, triplets=task.triplets)
    picked = rows[np.linspace(0, len(rows) - 1, _FACES_OF_STATISTICS).astype(int)]
    image_NCHW = torch.from_numpy(np.ascontiguousarray(dataset.faces_NHWC[picked].transpose(0, 3, 1, 2)))
    view = build_views(cfg, *dataset.faces_NHWC.shape[1:3])[0]
    with torch.no_grad():
        take_statistics(model.backbone, model.normalise(view(image_NCHW)))


def _load_all(model: ExpressionNet, path: str) -> LoadReport:
    """Load every weight by name and shape; the preprocessing, which is in buffers, must be the same too."""
    mean, std = model.mean.clone(), model.std.clone()
    found = find_weights(model, path)
    unfit = [*found.report.missing, *found.report.skipped, *found.report.converted]
    if unfit:
        raise ConfigError(
            f"MODEL.PRETRAINED_PARTS: all, but {path} does not fit this net: {unfit[0]} ({len(unfit)} in all); "
            "allowed: the settings of the net it was saved from, or backbone"
        )
    model.load_state_dict(dict(found.tensors), strict=False)  # older files lack the batch-norm counters
    for key, ours, theirs in (("MEAN", mean, model.mean), ("STD", std, model.std)):
        if not torch.equal(ours, theirs):
            raise ConfigError(f"MODEL.{key}: {ours.flatten().tolist()}; {path} has {theirs.flatten().tolist()}")
    return found.report


def _check_classes(cfg: Frozen, classes: Sequence[str], extra_classes: Mapping[str, Sequence[str]]) -> None:
    """Check the classes of a classifier to load, since weights of other or reordered classes would fit in shape.

    Raises:
        ConfigError: the classes differ from those here, or are unknown.
    """
    origin = _info_beside(cfg.MODEL.PRETRAINED)
    if origin is None:
        raise ConfigError(
            f"MODEL.PRETRAINED_PARTS: all, but no {INFO_FILE} beside {cfg.MODEL.PRETRAINED} says which classes its "
            f"classifier has, in which order; here they are {', '.join(classes)}; allowed: a checkpoint's, or backbone"
        )
    if origin.classes != list(classes):
        raise ConfigError(
            f"MODEL.PRETRAINED_PARTS: all, but the classes of {cfg.MODEL.PRETRAINED} are "
            f"{', '.join(origin.classes) or 'none'}; here they are {', '.join(classes)}; allowed: the same names in "
            "the same order, or backbone"
        )
    theirs, ours = (
        {name: list(each) for name, each in of.items()} for of in (origin.extra_classes or {}, extra_classes)
    )
    if list(theirs.items()) != list(ours.items()):
        raise ConfigError(
            f"MODEL.PRETRAINED_PARTS: all, but further label sets of {cfg.MODEL.PRETRAINED} are {theirs or 'none'}, "
            f"DATA.EXTRA_LABELS here: {ours or 'none'}; allowed: the same in the same order, or backbone"
        )


def _check_widths(cfg: Frozen) -> None:
    """Check the layer widths: weights of a pruned net fit no other widths, and errors about shapes would be unclear.

    Raises:
        ConfigError: the file belongs to a checkpoint whose backbone has other widths.
    """
    origin = _info_beside(cfg.MODEL.PRETRAINED)
    if origin is None:
        return
    before = origin.settings()
    if before.MODEL.BACKBONE != cfg.MODEL.BACKBONE or not (before.MODEL.LAYER_CHANNELS or cfg.MODEL.LAYER_CHANNELS):
        return
    of_backbone, _ = default_widths(before)
    theirs, ours = (list(of.MODEL.LAYER_CHANNELS) or list(chain(*default_widths(of))) for of in (before, cfg))
    if cfg.MODEL.PRETRAINED_PARTS == "backbone":
        theirs, ours = theirs[: len(of_backbone)], ours[: len(of_backbone)]
    if theirs != ours:
        raise ConfigError(
            f"MODEL.LAYER_CHANNELS: {list(cfg.MODEL.LAYER_CHANNELS)}; {cfg.MODEL.PRETRAINED} is of a net with "
            f"{theirs}; allowed: the same"
        )


def _check_held_out(cfg: Frozen, dataset: PackedDataset) -> None:
    """Check that the loaded net was not trained on faces that are held out here.

    Raises:
        ConfigError: the file belongs to a checkpoint trained on these faces with another hold-out.
    """
    origin = _info_beside(cfg.MODEL.PRETRAINED)
    evaluated = [part for part in (HOLD_OUT, FOLD) if part in (*cfg.DATA.EVAL_SPLITS, *cfg.DATA.REPORT_SPLITS)]
    if origin is None or not evaluated or origin.data.faces_sha256 != dataset.faces_sha256:
        return
    before = origin.settings().DATA
    for key in CUT_BY:
        if cfg.DATA[key] != before[key]:
            raise ConfigError(
                f"DATA.{key}: {shown(cfg.DATA[key])}; {cfg.MODEL.PRETRAINED} was trained on the same faces with "
                f"{shown(before[key])} and possibly on some of '{evaluated[0]}'; allowed: the same"
            )


def _info_beside(weights: str) -> CheckpointInfo | None:
    """The description of the checkpoint that the file belongs to, or None where it belongs to none."""
    folder = Path(_weights_file(weights)).parent
    return load_info(folder) if (folder / INFO_FILE).is_file() else None


def _weights_file(weights: str) -> str:
    """The file that ``MODEL.PRETRAINED`` refers to: a path, or the name of a shipped net.

    Raises:
        CheckpointError: neither a file nor a net of that name.
    """
    return str(shipped_net(weights) / "model.safetensors") if is_name(weights) else weights
