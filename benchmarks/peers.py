"""The training loop compared with three others on the same faces, net, batch and cores, in triplets/s at 160 pixels.

- *original*: following the description of the published PyTorch code of this embedding: JPEG files opened inside the
  loop, no worker processes, float32, a loss over all (3B)³ combinations of a batch.
- *plain*: the usual torchvision loop: a Dataset that opens JPEG files, a DataLoader with one worker per core, float32,
  the loss of the annotated triplets only.
- *plain_tuned*: the same with generic optimisations: the precision that fecnet chooses, channels-last memory, a fused
  optimizer. The remaining difference is not due to bf16.
- *metric_learning*: *plain* with the loss and the triplet indices of pytorch-metric-learning, where it is installed.

The original code was not run; its loop is re-implemented from its description. fecnet packs the faces once (``fecnet
prepare``) and trains in the precision that it chooses for this machine: as the recipe says; with two triplets that
share faces kept adjacent (``DATA.TRIPLET_GROUP_SIZE``, see the ``sharing`` benchmark); compiled (``SOLVER.COMPILE``);
and both. Packing and compilation do not count, nor do the first ten iterations of any loop, in which memory is
allocated. The files of the other loops hold the same faces at the input size: no crop or resize is needed.

A face that occurs twice in a batch passes through the net once in fecnet, so the number of triplets per face matters: 8
here; 10 in Google's FEC, with 500,000 triplets of 156,000 faces. ``faces_a_batch`` is the number of unique faces of 90.
"""

from __future__ import annotations

import importlib.util
import operator
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice, pairwise, product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.loop import LARGE_RECIPE, faces_a_batch, iteration_seconds, large_faces
from benchmarks.loss import cubic_loss
from benchmarks.record import spread
from fecnet.config.node import load_config, plain
from fecnet.data.packed import PackedDataset
from fecnet.modeling.build import build_model
from fecnet.modeling.criterion.triplet import triplet_loss
from fecnet.utils.env import choose_device, choose_precision, why_no_compile

MARGIN = 0.2
REQUIRED = {"ours over original": 3.5, "ours over plain": 2.0}  # at least
WARM = 10  # first iterations, not counted
PEOPLE, TRIPLETS = 450, 10_000  # 3,600 faces
_TOGETHER, _COMPILED = ["DATA.TRIPLET_GROUP_SIZE", "2"], ["SOLVER.COMPILE", "true"]
OURS: dict[str, list[str]] = {
    "ours": [],
    "ours_2_together": _TOGETHER,
    "ours_compiled": _COMPILED,
    "ours_compiled_2_together": [*_TOGETHER, *_COMPILED],
}

Loss = Callable[[Tensor, Tensor], Tensor]  # unit embeddings (3B, D) of B triplets one after the other, odd_B
Item = tuple[Tensor, int]  # three images (3, C, S, S) and which of them is the odd one


class JpegTriplets(Dataset[Item]):
    """Triplets whose faces are opened when they are asked for.

    Args:
        folder: ``<row>.jpg`` of each face.
        faces_T3: rows.
        odd_T: the odd face of each.
    """

    def __init__(self, folder: Path, faces_T3: np.ndarray, odd_T: np.ndarray) -> None:
        self._folder, self._faces_T3, self._odd_T = folder, faces_T3, odd_T
        to_float = v2.ToDtype(torch.float32, scale=True)
        self._transform = v2.Compose([v2.PILToTensor(), v2.RandomHorizontalFlip(), to_float])

    def __len__(self) -> int:
        return len(self._odd_T)

    def __getitem__(self, place: int) -> Item:
        images = []
        for row in self._faces_T3[place]:
            with Image.open(self._folder / f"{row}.jpg") as image:
                images.append(self._transform(image))
        return torch.stack(images), int(self._odd_T[place])


def run(*, quick: bool) -> dict[str, Any]:
    """Each loop for some iterations, one after the other, in several rounds."""
    iterations, rounds = (1, 1) if quick else (8, 3)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        few = {} if quick else {"people": PEOPLE, "triplets": TRIPLETS}
        cfg = large_faces(folder, quick=quick, **few)
        batch = cfg.SOLVER.BATCH_SIZE
        files = write_jpegs(PackedDataset(cfg.DATA.PATH), folder / "jpeg")
        settings = {name: load_config(None, options, base=cfg) for name, options in OURS.items()}
        # compiling takes half a minute, and each process of its own seconds
        why_not = "a quick run" if quick else why_no_compile(choose_device(cfg.DEVICE))
        if why_not:
            print(f"compiled: not measured: {why_not}")
            settings = {name: ours for name, ours in settings.items() if not ours.SOLVER.COMPILE}
        loops: dict[str, Callable[[], list[float]]] = {
            name: partial(our_seconds, plain(ours), folder / "result", iterations) for name, ours in settings.items()
        }
        for name in PEERS:
            if name == "metric_learning" and not importlib.util.find_spec("pytorch_metric_learning"):
                print("pytorch-metric-learning is not installed: not measured; pip install pytorch-metric-learning")
            else:
                loops[name] = partial(peer_seconds, name, plain(cfg), files, iterations)
        taken: dict[str, list[float]] = {name: [] for name in loops}
        faces = {name: faces_a_batch(ours) for name, ours in settings.items()}
        order = random.Random(0)
        for _ in range(rounds):
            for name in order.sample(list(loops), len(loops)):
                taken[name].append(sum(loops[name]() if quick else apart(loops[name])) / iterations)
                print(f"{name}: {batch / taken[name][-1]:.1f} triplets/s", flush=True)
    over = {
        f"{ours} over {name}": spread(list(map(operator.truediv, taken[name], taken[ours])))
        for ours, name in product(settings, set(taken) - set(settings))
    }
    for name, ratio in sorted(over.items()):
        print(f"{name}: {ratio['median']:.2f} × ({ratio['min']:.2f}–{ratio['max']:.2f})")
    print(f"required: {', '.join(f'{name} {times} ×' for name, times in REQUIRED.items())}")
    return {
        "input_size": cfg.DATA.INPUT_SIZE,
        "triplets_per_batch": batch,
        "faces_a_batch": {**faces, "others": 3.0 * batch},
        "triplets_per_s": {name: round(batch / statistics.median(found), 2) for name, found in taken.items()},
        "times_faster": dict(sorted(over.items())),
        "required": REQUIRED,
        "recipe": f"config/{LARGE_RECIPE.name}",
    }


def write_jpegs(dataset: PackedDataset, folder: Path) -> JpegTriplets:
    """The faces of the training triplets as files, quality 95."""
    table = dataset.triplets("train")
    folder.mkdir()
    for row in np.unique(table.faces_T3):
        face_HWC = dataset.faces_NHWC[row]
        Image.fromarray(face_HWC[..., 0] if face_HWC.shape[2] == 1 else face_HWC).save(
            folder / f"{row}.jpg", quality=95
        )
    return JpegTriplets(folder, table.faces_T3, table.odd_T)


def apart(loop: Callable[[], list[float]]) -> list[float]:
    """The result of a loop in a separate process: ours configures the memory allocator, the others do not."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(loop).result()


def our_seconds(settings: dict[str, Any], folder: Path, iterations: int) -> list[float]:
    """Of each iteration of our loop, without the first ones."""
    return iteration_seconds(load_config(base=settings), folder, iterations + WARM)[WARM:]


def batches(files: JpegTriplets, batch: int, *, workers: int | None) -> Iterable[tuple[Tensor, Tensor]]:
    """Shuffled batches: opened by this process (None), or by a DataLoader's workers."""
    return DataLoader(files, batch, shuffle=True, num_workers=workers or 0, drop_last=True)


def peer_seconds(name: str, settings: dict[str, Any], files: JpegTriplets, iterations: int) -> list[float]:
    """Of each iteration of a plain training loop, without the first ones."""
    cfg, peer = load_config(base=settings), PEERS[name]
    torch.manual_seed(0)
    device = choose_device(cfg.DEVICE)
    precision = choose_precision("auto" if peer.is_tuned else "fp32", device)
    order = torch.channels_last if peer.is_tuned else torch.contiguous_format
    model: nn.Module = build_model(cfg, 3).to(device, memory_format=order).train()  # type: ignore[call-overload]
    rate, decay = cfg.SOLVER.BASE_LR, cfg.SOLVER.WEIGHT_DECAY
    optimizer = torch.optim.Adam(model.parameters(), rate, weight_decay=decay, fused=peer.is_tuned)
    begun = [time.perf_counter()]
    for image_B3CSS, odd_B in islice(
        endless(batches(files, cfg.SOLVER.BATCH_SIZE, workers=peer.workers)), WARM + iterations
    ):
        optimizer.zero_grad()
        image_NCSS = image_B3CSS.flatten(0, 1).to(device, memory_format=order)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            emb_ND = model(image_NCSS)["embedding"]
        peer.loss(emb_ND.float(), odd_B.to(device)).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        begun.append(time.perf_counter())
    return [after - before for before, after in pairwise(begun)][WARM:]


def original_loss(emb_ND: Tensor, odd_B: Tensor) -> Tensor:
    """All (3B)³ combinations, those that were annotated kept."""
    return cubic_loss(emb_ND, odd_B, MARGIN)


def plain_loss(emb_ND: Tensor, odd_B: Tensor) -> Tensor:
    """The annotated triplets alone."""
    return triplet_loss(
        emb_ND.view(len(odd_B), 3, -1), odd_B, torch.full((len(odd_B),), MARGIN, device=odd_B.device)
    ).mean()


def metric_learning_loss(emb_ND: Tensor, odd_B: Tensor) -> Tensor:
    """``TripletMarginLoss`` of pytorch-metric-learning, given both annotated (anchor, positive, negative) of each."""
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss

    criterion = TripletMarginLoss(margin=MARGIN, distance=LpDistance(p=2, power=2))
    first_B = torch.arange(len(odd_B), device=odd_B.device) * 3
    others_B2 = first_B[:, None] + torch.tensor([[1, 2], [0, 2], [0, 1]], device=odd_B.device)[odd_B]
    anchors, positives = torch.cat([others_B2, others_B2.flip(1)]).unbind(1)
    negatives = (first_B + odd_B).repeat(2)
    found: Tensor = criterion(emb_ND, torch.arange(len(emb_ND), device=odd_B.device), (anchors, positives, negatives))
    return found


class Peer(NamedTuple):
    """A loop without our engine: worker processes (None: it opens files itself), loss, and whether it is tuned."""

    workers: int | None
    loss: Loss
    is_tuned: bool = False


CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
PEERS = {
    "original": Peer(None, original_loss),
    "plain": Peer(CORES, plain_loss),
    "plain_tuned": Peer(CORES, plain_loss, is_tuned=True),
    "metric_learning": Peer(CORES, metric_learning_loss),
}


def endless(batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Epoch after epoch."""
    while True:
        yield from batches
