"""How pictures became the faces of a data set: recorded with it and with nets trained on it, so that new ones follow.

Shape suffixes: H, W pixels of a picture, S pixels a side of a face, C channels, 5 points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from fecnet.faces.align import TEMPLATE
from fecnet.faces.detect import build_detector
from fecnet.faces.detections import Detector
from fecnet.faces.extract import MARGIN, NoFace
from fecnet.utils.errors import UserError

Fit = Literal["central", "whole"]


@dataclass(frozen=True)
class FaceRecipe:
    """How a face was cut out of its picture; plain values, for JSON.

    Attributes:
        fit: how a picture that is a face as it is becomes square: its ``central`` square (``load_square``), or the
            ``whole`` of it with repeated edges (``whole_face``).
        align: faces were detected and aligned to ``template`` (``extract_faces``).
        mask: a last channel has the mask of the points that were found on the square face (``LandmarkFaces``).
        hull: the square face was cut along the hull of those points.
        detector: ``mtcnn`` or ``yunet``, where one was at work; else empty.
        detector_name: its ``name``: identity and all settings that change what is found.
        refine: see ``build_detector``.
        margin: shown to the detector around a box, as a fraction of its longer side.
        no_face: where the detector found none in a box: ``drop`` it, or the ``box`` was taken.
        template: where the five points of an aligned face are, as fractions of its side; empty without ``align``.
    """

    fit: Fit = "central"
    align: bool = False
    mask: bool = False
    hull: bool = False
    detector: str = ""
    detector_name: str = ""
    refine: bool = True
    margin: float = MARGIN
    no_face: NoFace = "drop"
    template: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def from_dict(cls, recorded: Mapping[str, Any]) -> Self:
        """The recipe as ``dataset.json`` and ``meta.json`` have it.

        Raises:
            UserError: a key that this version does not know, or one without which the rest means nothing.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(recorded) - known)
        if unknown or recorded.get("fit") not in ("central", "whole"):
            raise UserError(f"faces: {unknown[0] if unknown else 'fit'}: made in a way this version does not know")
        template = tuple(tuple(point) for point in recorded.get("template", ()))
        return cls(**{**recorded, "template": template})

    def to_dict(self) -> dict[str, Any]:
        """What ``from_dict`` reads; what was not done is left out."""
        left_out = set() if self.detector else {"detector", "detector_name", "refine"}
        left_out |= set() if self.align else {"margin", "no_face", "template"}
        held = {name: value for name, value in asdict(self).items() if name not in left_out}
        if self.align:
            held["template"] = [list(point) for point in self.template]
        return held

    def build_detector(self, model_path: str | Path = "", device: str = "cpu") -> Detector:
        """The detector that found the faces or the points.

        Args:
            model_path: YuNet's ``.onnx`` file.
            device: where MTCNN's nets run.

        Raises:
            UserError: its package or model is missing, or it is another one than was recorded: another model file, or
                another version of fecnet.
        """
        detector = build_detector(self.detector, model_path=model_path, device=device, refine=self.refine)
        if detector.name != self.detector_name:
            raise UserError(f"detector: {detector.name}; the faces were found with {self.detector_name}")
        if self.align and self.template != aligned_template():
            raise UserError("template: the faces were aligned to another one than this version of fecnet has")
        return detector


def aligned_template() -> tuple[tuple[float, ...], ...]:
    """``TEMPLATE`` as a recipe holds it."""
    return tuple(map(tuple, TEMPLATE.tolist()))
