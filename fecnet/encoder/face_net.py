"""Runs a net on faces, a batch at a time.

Shape suffixes: N faces, H, W, C height, width and channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch

from fecnet.encoder.face_maker import PhotoFace
from fecnet.encoder.pictures import OK
from fecnet.encoder.results import Encoded
from fecnet.engine.predict import Net, View, predict_batch
from fecnet.utils.errors import CheckpointError, UserError

# Batch size from which on CPU kernels (measured with torch 2.15) compute a face to the same bits in batches of any
# size; and the sizes of smaller batches that are compared with it.
_STEADY, _PROBES = 16, (1, 2, 3, 7)


class FaceNet:
    """Computes the outputs of faces.

    Args:
        model: the net: a module in evaluation mode, or an exported one.
        views: each maps stored faces, uint8 (n, C, H, W), to an input of the net; outputs are averaged over views.
        device: device of the model.
        batch_size: faces per forward pass.
        face_shape: shape of a stored face: height, width, channels.
        name: name of the net, for error messages.

    Raises:
        UserError: a batch size below 1.
    """

    def __init__(
        self,
        model: Net,
        *,
        views: Sequence[View],
        device: torch.device,
        batch_size: int,
        face_shape: tuple[int, ...],
        name: str = "the net",
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size: {batch_size}; allowed: 1 or more")
        self.model, self.views, self.device = model, views, device
        self.batch_size, self.face_shape, self.name = batch_size, face_shape, name

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each output for one face."""
        found = self.forward(np.zeros((1, *self.face_shape), np.uint8))
        return {name: value.shape[1:] for name, value in found.items()}

    @cached_property
    def _fewest(self) -> int:
        """Size that smaller batches are padded to, so that outputs do not depend on the other faces of the batch.

        On a CPU nothing is padded if small and larger batches give the same bits. This is measured once per net: on the
        processors tested, nets rewritten for inference and ONNX sessions do, plain modules do not.
        """
        if self.device.type == "cuda":
            return self.batch_size
        noise = np.random.default_rng(0).integers(0, 256, (_STEADY, *self.face_shape), np.uint8)
        wanted = self.forward(noise)
        for num in _PROBES:
            found = self.forward(noise[:num])
            if any(not np.array_equal(found[name], value[:num]) for name, value in wanted.items()):
                return min(self.batch_size, _STEADY)
        return 1

    def encoded(self, faces: Iterable[PhotoFace], *, steady: bool) -> Iterator[Encoded]:
        """A row for each face, a batch at a time; NaN where there is no image. ``steady``: see ``Encoder.stream``."""
        held: list[PhotoFace] = []
        for face in faces:
            held.append(face)
            if len(held) == self.batch_size:
                yield self._batch(held, steady)
                held = []
        if held:
            yield self._batch(held, steady)

    def encoded_stored(self, faces_NHWC: np.ndarray, *, steady: bool) -> Iterator[Encoded]:
        """``encoded`` for an array of stored faces, uint8, shape (N, H, W, C), which is faster."""
        for first in range(0, len(faces_NHWC), self.batch_size):
            some = np.ascontiguousarray(faces_NHWC[first : first + self.batch_size])
            nothing = np.full((len(some), 15), np.nan, np.float32)
            found = (nothing[:, :4], nothing[:, 4], nothing[:, 5:].reshape(-1, 5, 2))
            place_N = np.arange(first, first + len(some))
            yield Encoded(self.forward(some, steady=steady), [OK] * len(some), place_N, *found)

    def joined(self, parts: Sequence[Encoded]) -> Encoded:
        """The rows of several batches, or of none."""
        parts = parts or [self._batch([], steady=False)]
        outputs = {name: np.concatenate([part.outputs[name] for part in parts]) for name in parts[0].outputs}
        columns = (np.concatenate(column) for column in list(zip(*parts, strict=True))[2:])
        return Encoded(outputs, [status for part in parts for status in part.status], *columns)

    def forward(self, faces_NHWC: np.ndarray, *, steady: bool = False) -> dict[str, np.ndarray]:
        """The outputs of at most ``batch_size`` stored faces, uint8, by name.

        Raises:
            CheckpointError: an output is not finite, so the net is broken.
        """
        num = len(faces_NHWC)
        if steady and num < min(self.batch_size, _STEADY if self.device.type == "cpu" else self.batch_size):
            missing = max(0, self._fewest - num)
            faces_NHWC = np.concatenate([faces_NHWC, np.repeat(faces_NHWC[:1], missing, axis=0)])
        outputs = predict_batch(self.model, faces_NHWC, views=self.views, device=self.device)
        found = {name: value[:num].numpy() for name, value in outputs.items()}
        for name, value in found.items():
            if not np.isfinite(value).all():
                raise CheckpointError(f"{self.name}: its {name} of a face is not finite: the net is broken")
        return found

    def _batch(self, faces: Sequence[PhotoFace], steady: bool) -> Encoded:
        images = [face.image_SSC for face in faces if face.image_SSC is not None]
        there_N = np.array([face.image_SSC is not None for face in faces], bool)
        found = self.forward(np.stack(images), steady=steady) if images else {}
        outputs = {}
        for name, shape in self.shapes.items():
            outputs[name] = np.full((len(faces), *shape), np.nan, np.float32)
            if images:
                outputs[name][there_N] = found[name]
        return Encoded(
            outputs,
            [face.status for face in faces],
            np.array([face.picture for face in faces], np.int64),
            np.array([face.box_4 for face in faces], np.float32).reshape(-1, 4),
            np.array([face.score for face in faces], np.float32),
            np.array([face.landmarks_52 for face in faces], np.float32).reshape(-1, 5, 2),
        )
