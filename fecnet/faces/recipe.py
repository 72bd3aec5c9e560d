"""How images were turned into faces: recorded in data sets and nets, to process new images identically.

Shape suffixes: H, W pixels of an image, S pixels per side of a face, C channels, 5 landmarks.
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
from fecnet.faces.face_square import FaceSquare
from fecnet.utils.errors import UserError
from fecnet.utils.shown import shown
from fecnet.utils.typed_json import from_json

Fit = Literal["central", "whole"]


@dataclass(frozen=True)
class FaceRecipe:
    """How a face was extracted from its image; plain values, for JSON.

    Attributes:
        fit: how a face crop is made square: its ``central`` square (``load_square``), or the ``whole`` image padded
            with edge pixels (``whole_face``).
        align: faces were detected and aligned to ``template`` (``extract_faces``).
        mask: the last channel is the mask of the landmarks detected on the square face (``LandmarkFaces``).
        hull: the square face was cropped along the hull of those landmarks.
        detector: ``mtcnn`` or ``yunet``; empty without detection.
        detector_name: its ``name`` with all settings that affect the detections.
        refine: see ``build_detector``.
        try_turns: see ``build_detector``.
        margin: context around a box for the detector, as a fraction of its longer side.
        no_face: where no face was detected: ``drop`` it, or the ``box``, or the whole image without one, was used.
        template: landmarks of an aligned face, as fractions of its side; empty without ``align``.
        square: without ``align``, what the pictures show around a face (``measure_square``); None = not known.
    """

    fit: Fit = "central"
    align: bool = False
    mask: bool = False
    hull: bool = False
    detector: str = ""
    detector_name: str = ""
    refine: bool = True
    try_turns: bool = False
    margin: float = MARGIN
    no_face: NoFace = "drop"
    template: tuple[tuple[float, ...], ...] = ()
    square: FaceSquare | None = None

    @classmethod
    def from_dict(cls, recorded: Mapping[str, Any]) -> Self:
        """The recipe as stored in ``dataset.json`` and ``meta.json``.

        Raises:
            UserError: an unknown key, an invalid ``fit``, or a value of a wrong type.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(recorded) - known)
        if unknown or recorded.get("fit") not in ("central", "whole"):
            raise UserError(f"faces: {unknown[0] if unknown else 'fit'}: made in a way this version does not know")
        square = recorded.get("square")
        if square is not None and (not isinstance(square, dict) or square.keys() - asdict(FaceSquare()).keys()):
            raise UserError(f"faces: square: {shown(square)}; expected: {', '.join(asdict(FaceSquare()))}")
        return from_json(cls, dict(recorded), "faces")

    def to_dict(self) -> dict[str, Any]:
        """The inverse of ``from_dict``; fields of steps that were not done are omitted."""
        left_out = set() if self.detector else {"detector", "detector_name", "refine"}
        left_out |= set() if self.align else {"margin", "no_face", "template"}
        left_out |= set() if self.try_turns else {"try_turns"}
        left_out |= set() if self.square else {"square"}
        held = {name: value for name, value in asdict(self).items() if name not in left_out}
        if self.align:
            held["template"] = [list(point) for point in self.template]
        return held

    def build_detector(self, model_path: str | Path = "", device: str = "cpu") -> Detector:
        """The detector of the faces or landmarks.

        Args:
            model_path: YuNet's ``.onnx`` file.
            device: of MTCNN's nets.

        Raises:
            UserError: its package or model is missing, or it differs from the recorded one: another model file or
                another version of fecnet.
        """
        detector = build_detector(
            self.detector, model_path=model_path, device=device, refine=self.refine, try_turns=self.try_turns
        )
        if detector.name != self.detector_name:
            raise UserError(f"detector: {detector.name}; the faces were found with {self.detector_name}")
        if self.align and self.template != aligned_template():
            raise UserError("template: the faces were aligned to another template than that of this version of fecnet")
        return detector


def aligned_template() -> tuple[tuple[float, ...], ...]:
    """``TEMPLATE`` in the form of a recipe."""
    return tuple(map(tuple, TEMPLATE.tolist()))
