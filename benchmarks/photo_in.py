"""From photo to prediction: a net's accuracy on faces that are detected in photos, relative to the packed faces.

Protocol: labelled faces of the FERPlus PublicTest split, and of CK+, are pasted into photos without faces at random
places, sides of 48 to 200 pixels (log-uniform) and turns of -20 to 20 degrees, and go through the encoder as it is by
default, and with YuNet as the detector. A face that is not found counts as wrong. The net is
config/ferplus_joint.yaml, trained for 1,500 iterations, or ``--net RUN``. Of CK+, which the net never saw, its classes
that FERPlus has too. Photos: shared/data/faces, whose faces are blurred, and in which neither detector finds one then
at its first look; in ``percent_false`` of them the second look does.

A missing data set must be prepared first: ``fecnet prepare ferplus FER2013_FOLDER datasets/ferplus``.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.demo import ROOT, run_commands
from benchmarks.faces import DATA, YUNET
from fecnet.data.packed import PackedDataset
from fecnet.encoder.build import load_encoder
from fecnet.encoder.encoder import Encoder
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.faces.decode import decode_image
from fecnet.faces.detect import build_detector
from fecnet.faces.detections import Detector
from fecnet.prepare.labelled.ckplus import read_ckplus

FACES, QUICK_FACES = 1500, 4
SIDES, TURN = (48, 200), 20.0  # pixels; degrees to either side
BINS = {"side": (48, 64, 96, 140, 200), "turn": (0, 7, 14, 20)}
MOST_LOST = 2.0  # points
_PHOTO = 480  # pixels: longer side of the photos
_NAMES = {"anger": "anger", "angry": "anger", "contempt": "contempt", "disgust": "disgust", "fear": "fear"} | {
    "happy": "happiness",
    "happiness": "happiness",
    "sadness": "sadness",
    "sad": "sadness",
    "surprise": "surprise",
}


def run(*, quick: bool, net: str = "") -> dict[str, Any]:
    """Train, paste, measure; without the data a quick run skips it."""
    data = ROOT / "datasets" / "ferplus"
    if not (data / "dataset.json").is_file() or not (DATA / "faces").is_dir():
        if quick:
            print(f"{data} or {DATA / 'faces'} is absent: not measured")
            return {}
        raise SystemExit(
            f"{data} or {DATA / 'faces'} is absent: fecnet prepare ferplus FER2013_FOLDER datasets/ferplus"
        )
    with tempfile.TemporaryDirectory() as folder:
        if not net:
            net = f"{folder}/photo_in"
            short = ["SOLVER.LENGTH", "2" if quick else "1500", "EVAL.PERIOD", "0"]
            run_commands([["train.py", "config/ferplus_joint.yaml", "OUTPUT_DIR", folder, "NAME", "photo_in", *short]])
        models = {"mtcnn": "", "yunet": str(YUNET)} if YUNET.is_file() else {"mtcnn": ""}
        encoders = {kind: load_encoder(net, checkpoint="last", detector_model=model) for kind, model in models.items()}
        trained = load_info(find_checkpoint(net, "last")).iteration
    number = QUICK_FACES if quick else FACES
    detectors = [
        build_detector(kind, model_path=model, min_face=side) for kind, model in models.items() for side in (20, 40)
    ]
    photos = photos_without_faces(detectors, 2 if quick else 60)
    classes = encoders["mtcnn"].classes
    sets = {"ferplus public_test": _ferplus(PackedDataset(data), classes, number)}
    if (DATA / "ckplus48").is_dir():
        sets["ckplus"] = _ckplus(classes, number)
    measured = {
        f"{name}, {kind}": measure(encoder, faces, photos, label_N)
        for name, (faces, label_N) in sets.items()
        for kind, encoder in encoders.items()
    }
    told = {"iterations": trained, "photos": len(photos), "most_lost": MOST_LOST, "seed": 0}
    told |= {f"percent_false, {kind}": percent_false(encoder, photos) for kind, encoder in encoders.items()}
    return told | {"sets": measured}


def measure(
    encoder: Encoder, faces_NHW1: np.ndarray, photos: Sequence[np.ndarray], label_N: np.ndarray
) -> dict[str, Any]:
    """Accuracy on the packed faces and on photos with them, in %, also by side and turn; uint8 grey faces."""
    rng = np.random.default_rng(0)
    num = len(faces_NHW1)
    side_N = np.exp(rng.uniform(math.log(SIDES[0]), math.log(SIDES[1]), num)).round().astype(int)
    turn_N = rng.uniform(-TURN, TURN, num)

    def pasted() -> Iterator[np.ndarray]:
        for face_HW1, side, turn in zip(faces_NHW1, side_N.tolist(), turn_N.tolist(), strict=True):
            photo_HWC = photos[int(rng.integers(len(photos)))]
            yield paste(photo_HWC, face_HW1[..., 0], side, turn, tuple(rng.uniform(0, 1, 2).tolist()))

    packed = encoder.classify(faces_NHW1)
    found = encoder.classify(pasted())
    right_N = packed.probability_NK.argmax(1) == label_N
    there_N = np.array([status == "ok" for status in found.status])
    right_there_N = there_N & (np.nan_to_num(found.probability_NK).argmax(1) == label_N)
    told = _percents(right_N, there_N, right_there_N)
    bins = {
        f"{name} {low} to {high}": _percents(right_N[part], there_N[part], right_there_N[part])
        for name, values in (("side", side_N), ("turn", np.abs(turn_N)))
        for low, high in zip(BINS[name], BINS[name][1:], strict=False)
        if (part := (values >= low) & (values < high + (high == BINS[name][-1]))).any()
    }
    print(told, *(f"\n  {name}: {of}" for name, of in bins.items()))
    return {"all": told, **bins}


def _percents(right_N: np.ndarray, there_N: np.ndarray, right_there_N: np.ndarray) -> dict[str, Any]:
    """Of all faces, and of those found; in %."""
    return {
        "faces": len(right_N),
        "percent_found": round(100 * float(there_N.mean()), 1),
        "percent_packed": round(100 * float(right_N.mean()), 1),
        "percent_photos": round(100 * float(right_there_N.mean()), 1),
        "percent_packed_of_found": round(100 * float(right_N[there_N].mean()), 1),
        "percent_photos_of_found": round(100 * float(right_there_N[there_N].mean()), 1),
        "points_lost": round(100 * float(right_N.mean() - right_there_N.mean()), 1),
        "points_lost_of_found": round(100 * float(right_N[there_N].mean() - right_there_N[there_N].mean()), 1),
    }


def percent_false(encoder: Encoder, photos: Sequence[np.ndarray]) -> float:
    """Of photos without a face, those in which one is claimed."""
    found = encoder.find_faces(photos, faces="largest")
    return round(100 * sum(face.status == "ok" for face in found) / len(photos), 1)


def paste(photo_HWC: np.ndarray, face_HW: np.ndarray, side: int, turn: float, where: tuple[float, ...]) -> np.ndarray:
    """A photo with a face of that side, in pixels, turned by degrees; ``where`` as fractions of the places possible."""
    photo = Image.fromarray(photo_HWC)
    face = Image.fromarray(face_HW).resize((side, side), Image.Resampling.BICUBIC)
    mask = Image.new("L", face.size, 255)
    face, mask = (image.rotate(turn, Image.Resampling.BICUBIC, expand=True) for image in (face, mask))
    if face.width > photo.width or face.height > photo.height:  # a small photo is enlarged
        times = max(face.width / photo.width, face.height / photo.height)
        photo = photo.resize((round(photo.width * times) + 1, round(photo.height * times) + 1))
    corner = [round(part * (long - short)) for part, long, short in zip(where, photo.size, face.size, strict=True)]
    photo.paste(face.convert("RGB"), (corner[0], corner[1]), mask)
    return np.asarray(photo)


def photos_without_faces(detectors: Sequence[Detector], most: int) -> list[np.ndarray]:
    """Photos whose faces are blurred; those in which something is still found are left out."""
    photos: list[np.ndarray] = []
    for path in sorted((DATA / "faces" / "images").iterdir()):
        photo = Image.fromarray(decode_image(path))
        photo.thumbnail((_PHOTO, _PHOTO))
        blurred = photo.filter(ImageFilter.GaussianBlur(30))
        found = [detector.detect(np.asarray(photo)).boxes_K4 for detector in detectors]
        for box_4 in np.concatenate(found):
            grown = 0.5 * (box_4[2:] - box_4[:2]).max()
            box = tuple(np.concatenate([box_4[:2] - grown, box_4[2:] + grown]).round().astype(int).tolist())
            photo.paste(blurred.crop(box), box[:2])
        if not any(len(detector.detect(np.asarray(photo)).scores_K) for detector in detectors):
            photos.append(np.asarray(photo))
        if len(photos) == most:
            break
    return photos


def _ferplus(dataset: PackedDataset, classes: Sequence[str], number: int) -> tuple[np.ndarray, np.ndarray]:
    """Faces on whose class most raters agree, and the class."""
    labels = dataset.labels("ferplus", "public_test")
    assert labels.distribution_MK is not None
    sure = np.flatnonzero((labels.label_M >= 0) & (labels.distribution_MK.max(axis=1) > 0.5))
    some = np.random.default_rng(1).permutation(sure)[:number]
    names = [labels.classes[label] for label in labels.label_M[some]]
    return np.array(dataset.faces_NHWC[labels.faces_M[some]]), np.array([classes.index(name) for name in names])


def _ckplus(classes: Sequence[str], number: int) -> tuple[np.ndarray, np.ndarray]:
    source = read_ckplus(DATA / "ckplus48")
    named = [(picture.picture, _NAMES.get(source.classes[picture.label], "")) for picture in source.pictures]
    known = [(face, classes.index(name)) for face, name in named if name in classes]
    some = np.random.default_rng(1).permutation(len(known))[:number]
    return np.stack([known[k][0] for k in some])[..., None], np.array([known[k][1] for k in some])
