"""Throughput of the encoder on packed faces relative to the bare net, and memory on a long video.

The net is the demo's, untrained, since the outputs do not matter here. Both rates are measured alternately on the same
batches, with freed memory kept, as in ``fecnet embed``: otherwise page faults dominate the difference.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.record import seconds, spread
from fecnet.config.node import load_config
from fecnet.data.augment import center_view
from fecnet.embed.shards import embedded
from fecnet.embed.sources import Sources
from fecnet.embed.videos import can_read
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.face_maker import FaceMaker
from fecnet.encoder.face_net import FaceNet
from fecnet.faces.recipe import FaceRecipe
from fecnet.modeling.build import build_model
from fecnet.modeling.fast_inference import for_inference
from fecnet.utils.env import choose_device, exact_float32
from fecnet.utils.memory import keep_freed_memory
from fecnet.watch.video_file import VideoFile

FACES, RUNS = 10_000, 5
MINUTES, RATE = 10, 25  # of the video; frames per second
REQUIRED_RATIO = 0.95  # least share of the bare net's rate
REQUIRED_GROWTH_MB = 20.0  # most that memory may grow from the first shard of the video to the last


def run(*, quick: bool) -> dict[str, Any]:
    """Faces/s of both, and resident memory along the video; without PyAV the video is skipped."""
    encoder = untrained_encoder()
    if encoder.device.type == "cpu":
        keep_freed_memory()
    num_faces, runs, frames = (300, 1, 150) if quick else (FACES, RUNS, 60 * MINUTES * RATE)
    faces = np.random.default_rng(0).integers(0, 256, (num_faces, *encoder.face_shape), np.uint8)
    bare(encoder, faces[: 2 * encoder.batch_size])
    ours, theirs = [], []
    for _ in range(runs):
        theirs.append(num_faces / seconds(lambda: bare(encoder, faces)))
        ours.append(num_faces / seconds(lambda: encoder.embed(faces)))
    ratio = spread([one / other for one, other in zip(ours, theirs, strict=True)])
    print(f"encoder {max(ours):.0f} faces/s, bare net {max(theirs):.0f}: {ratio['median']:.3f} × (≥ {REQUIRED_RATIO})")
    measured = {
        "faces": num_faces,
        "device": str(encoder.device),
        "faces_per_s": spread(ours),
        "bare_faces_per_s": spread(theirs),
        "ratio": ratio,
        "required_ratio": REQUIRED_RATIO,
    }
    return measured | video_memory(encoder, frames)


def untrained_encoder() -> Encoder:
    """The demo's net with its preprocessing."""
    cfg = load_config(Path(__file__).parents[1] / "config" / "demo.yaml")
    device = choose_device("auto")
    maker = FaceMaker(size=48, channels=["R", "G", "B"], recipe=FaceRecipe(), origin="demo")
    view = partial(center_view, input_size=cfg.DATA.INPUT_SIZE, crop=cfg.DATA.CROP)
    model = for_inference(build_model(cfg, 3).to(device).eval())
    net = FaceNet(model, views=[view], device=device, batch_size=cfg.EVAL.BATCH_SIZE, face_shape=maker.shape)
    return Encoder(net, maker, classes=(), name="demo", identity="untrained")


@torch.inference_mode()
def bare(encoder: Encoder, faces_NHWC: np.ndarray) -> torch.Tensor:
    """The net alone on the same batches: to the device, view, forward, back."""
    found = []
    with exact_float32():
        for first in range(0, len(faces_NHWC), encoder.batch_size):
            image_NCHW = torch.from_numpy(faces_NHWC[first : first + encoder.batch_size]).permute(0, 3, 1, 2)
            found.append(encoder.net.model(encoder.net.views[0](image_NCHW.to(encoder.device)))["embedding"].cpu())
    return torch.cat(found)


def video_memory(encoder: Encoder, frames: int) -> dict[str, Any]:
    """Resident memory, MB, after each shard of a video of noise."""
    if not can_read():
        print("PyAV is not here: the video is not measured")
        return {}
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "noise.avi"
        noise = np.random.default_rng(1)
        film = VideoFile(path, RATE)
        for number in range(frames):
            small = noise.integers(0, 256, (24, 32, 3), np.uint8)
            film.add(np.repeat(np.repeat(small, 10, axis=0), 10, axis=1), number / RATE)
        film.close()
        (piece,) = Sources([path]).pieces()
        resident, seen = [], 0
        for rows in embedded(encoder, piece.frames(0), "embedding", faces="whole"):
            resident.append(resident_mb())
            seen += len(rows.status)
    growth = resident[-1] - resident[0]
    print(
        f"{seen} frames: {resident[0]:.0f} MB after the first shard, {growth:+.1f} to the last (≤ {REQUIRED_GROWTH_MB})"
    )
    return {
        "video_frames": seen,
        "resident_mb": resident,
        "growth_mb": growth,
        "required_growth_mb": REQUIRED_GROWTH_MB,
    }


def resident_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20
