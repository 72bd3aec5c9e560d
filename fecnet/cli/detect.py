"""``fecnet detect PHOTO …``: detected faces as text, JSON and an image."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fecnet.cli.json_option import STDOUT, add_json_option
from fecnet.cli.net_options import add_try_turns
from fecnet.utils.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from fecnet.faces.detections import Detections


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="an image file")
    parser.add_argument("--detector", default="mtcnn", help="mtcnn or yunet (default mtcnn)")
    parser.add_argument("--detector-model", default="", metavar="FILE", help="YuNet's .onnx file")
    parser.add_argument("--min-face", type=int, default=40, help="minimum face size, pixels (default 40)")
    parser.add_argument("--detector-device", default="cpu", help="device of MTCNN: cpu, cuda or one GPU (default cpu)")
    parser.add_argument(
        "--no-refine", action="store_true", help="faster; less accurate landmarks, lower recall of rotated faces"
    )
    add_try_turns(parser)
    add_json_option(parser, "a line per photo with 'faces' or 'error'")
    parser.add_argument(
        "--draw", type=Path, metavar="IMAGE", help="write the photo with boxes and landmarks; one photo only"
    )
    parser.set_defaults(run=_detect)


def _detect(options: argparse.Namespace) -> int:
    import json
    import sys

    from fecnet.faces.decode import decode_image
    from fecnet.faces.detect import build_detector
    from fecnet.utils.files import replace_text

    if options.draw and len(options.photos) > 1:
        raise UserError(f"--draw {options.draw}: takes one photo, {len(options.photos)} given")
    if options.draw:
        _check_ending(options.draw)
    detector = build_detector(
        options.detector,
        model_path=options.detector_model,
        device=options.detector_device,
        min_face=options.min_face,
        refine=not options.no_refine,
        try_turns=options.try_turns,
    )
    code, lines, in_text = 0, [], options.json != STDOUT
    for path in options.photos:
        try:
            image_HWC = decode_image(path)
        except (UserError, OSError) as error:  # one photo among many must not end the run
            code = 2
            lines.append(json.dumps({"photo": str(path), "detector": detector.name, "error": str(error)}))
            if in_text:
                print(f"error: {error}", file=sys.stderr, flush=True)
            else:
                print(lines[-1], flush=True)
            continue
        found = detector.detect(image_HWC)
        described = {"photo": str(path), "detector": detector.name, "faces": _faces(found)}
        lines.append(json.dumps(described))
        print(_text(described) if in_text else lines[-1], flush=True)
        if options.draw:
            _draw(image_HWC, found, options.draw)
    if options.json and in_text:
        replace_text(Path(options.json), "".join(f"{line}\n" for line in lines))
    return code


def _faces(found: Detections) -> list[dict[str, Any]]:
    """The faces as plain numbers, rounded to their precision."""
    from fecnet.faces.turns import quarter_turn

    return [
        {
            "box": [round(edge, 1) for edge in box_4.tolist()],
            "score": round(float(score), 4),
            "landmarks": [[round(x, 1), round(y, 1)] for x, y in points_52.tolist()],
            "turn": quarter_turn(points_52),
        }
        for box_4, score, points_52 in zip(*found, strict=True)
    ]


def _text(described: dict[str, Any]) -> str:
    faces = described["faces"]
    lines = [f"{described['photo']}: {len(faces)} {'face' if len(faces) == 1 else 'faces'}"]
    for face in faces:
        box = ", ".join(f"{edge:.1f}" for edge in face["box"])
        points = "  ".join(f"{x:.1f}, {y:.1f}" for x, y in face["landmarks"])
        turn = f"  turn {face['turn']}" if face["turn"] else ""
        lines.append(f"  box {box}  score {face['score']:.3f}  points {points}{turn}")
    return "\n".join(lines)


def _draw(image_HWC: np.ndarray, found: Detections, path: Path) -> None:
    """Write the photo with the detections, atomically.

    Raises:
        OSError: the file cannot be written.
    """
    import io

    from PIL import Image, ImageDraw

    from fecnet.utils.files import replace_bytes

    image = Image.fromarray(image_HWC)
    pen, width = ImageDraw.Draw(image), max(1, max(image.size) // 300)
    for box_4, _, points_52 in zip(*found, strict=True):
        pen.rectangle(box_4.tolist(), outline="lime", width=width)
        for x, y in points_52.tolist():
            pen.ellipse((x - 2 * width, y - 2 * width, x + 2 * width, y + 2 * width), fill="red")
    held = io.BytesIO()
    image.save(held, Image.registered_extensions()[path.suffix.lower()])
    replace_bytes(path, held.getbuffer())


def _check_ending(path: Path) -> None:
    """Raise UserError unless Pillow can write files with this suffix; it only reads some formats."""
    from PIL import Image

    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise UserError(f"{path}: '{path.suffix}' names no image format to write; use .png or .jpg")
