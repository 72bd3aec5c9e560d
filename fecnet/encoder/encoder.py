"""A trained net with the preprocessing of its training data.

Shape suffixes: N pictures, D embedding dimensions, F features, K classes; H, W, C height, width and channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import zip_longest
from typing import Literal, NamedTuple, overload

import numpy as np
import torch

from fecnet.data.packed import PackedDataset
from fecnet.encoder.face_maker import FaceMaker, PhotoFace, Picture
from fecnet.encoder.pictures import OK, Item, Items, each_item
from fecnet.engine.predict import Net, View, predict_batch
from fecnet.faces.extract import Box
from fecnet.faces.which import Which, check_which
from fecnet.structures import odd_faces, opposite_distances
from fecnet.utils.errors import UserError

# Faces from which on a CPU's kernels, seen with torch 2.15, give a face the same bits in batches of any size.
_STEADY = 16

Boxes = Iterable[Box | None]


class Encoded(NamedTuple):
    """The outputs for some pictures: a row for each, or with ``faces="all"`` for each face.

    A picture without a face has one row too.

    Attributes:
        outputs: each output of the net by name, float32, shape (N, …); rows of NaN where there is no face.
        status: ``ok`` or another key of ``fecnet.encoder.pictures.STATUS`` for each row.
        picture_N: place of each row's picture among those given, int64, from 0.
        box_N4: where the detector saw the face, float32: x1, y1, x2, y2 in pixels of the picture; may reach beyond it.
            NaN where nothing was detected.
        score_N: of the detector, float32, 0..1; NaN likewise.
        landmarks_N52: eyes, nose tip and mouth corners from the image's left, float32, pixels; NaN likewise.
    """

    outputs: dict[str, np.ndarray]
    status: list[str]
    picture_N: np.ndarray
    box_N4: np.ndarray
    score_N: np.ndarray
    landmarks_N52: np.ndarray


class Classified(NamedTuple):
    """The predicted classes of some pictures; rows as in ``Encoded``.

    Attributes:
        names: the most probable class of each, None where there is no face.
        probability_NK: of each class in the order of ``Encoder.classes``, float32; rows of NaN where there is no face.
        status: as in ``Encoded``.
        picture_N: as in ``Encoded``.
        box_N4: as in ``Encoded``.
        score_N: as in ``Encoded``.
    """

    names: list[str | None]
    probability_NK: np.ndarray
    status: list[str]
    picture_N: np.ndarray
    box_N4: np.ndarray
    score_N: np.ndarray


class Encoder:
    """Turns pictures into embeddings, features and classes; ``fecnet.load`` makes one.

    A picture is a path, an open file or the bytes of one; a uint8 array, shape (H, W) grey, (H, W, 3) RGB or (H, W, 4)
    RGBA; or a torch tensor, uint8 or float in 0..1, shape (H, W) or (C, H, W). Several are given as arrays
    (N, H, W, C), tensors (N, C, H, W), lists or iterators, also nested. Orientation is applied, transparency laid on
    white, and of several frames the first is used.

    ``faces`` says what is done with a picture, in all methods alike:

    - ``auto``: an array of exactly the stored shape is a face of a packed set and is used unchanged. In every other
      picture the largest face is found and made into what training had: aligned where the training faces were aligned,
      else cut to the square that the training pictures show around the detector's box, turned upright.
    - ``largest``: the same, with arrays of the stored shape as pictures too.
    - ``all``: a row for each face found, the highest detector score first.
    - ``whole``: each picture is a face already, of any size: it is resized as ``fecnet prepare`` resizes such pictures.

    ``boxes`` says where in each picture to look for its face. With ``whole`` a box is the face: the square on it, as in
    data sets with boxes. Pictures without a face get a status and a row of NaN, not an exception.

    The outputs for a picture do not depend on those beside it, not even in the last bits: small batches are filled up,
    on a CPU to sixteen faces, on a GPU to ``batch_size``. Where single faces are wanted soon, ``encode`` and ``stream``
    do without, by ``steady=False``.

    All methods may be called from several threads at once. Batches are computed in float32.

    Args:
        model: the net: a module in evaluation mode, or an exported one.
        maker: converts pictures to faces.
        views: each maps stored faces, uint8 (n, C, H, W), to an input of the net; outputs are averaged over views.
        device: where the model is.
        batch_size: faces per forward pass, and the most that ``stream`` holds.
        classes: names in the order of the logits; empty for a net without.
        name: the checkpoint, for errors.
        identity: a hash of the weights and the preprocessing.

    Attributes:
        classes: names in the order of the logits; empty for a net without.
        batch_size: faces per forward pass.
        face_shape: of a stored face: height, width, channels.
        channels: their names in order.
        name: the checkpoint.
        identity: a hash of the weights and the preprocessing.
        detector_device: where the detector runs.
        tries_turns: pictures in which no face is found are turned.
    """

    def __init__(
        self,
        model: Net,
        maker: FaceMaker,
        *,
        views: Sequence[View],
        device: torch.device,
        batch_size: int,
        classes: Sequence[str],
        name: str,
        identity: str,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size: {batch_size}; allowed: 1 or more")
        self.model, self.views, self.device = model, views, device
        self._maker = maker
        self.batch_size, self.classes, self.name = batch_size, tuple(classes), name
        self.face_shape, self.channels, self.identity = maker.shape, maker.channels, identity
        self.detector_device, self.tries_turns = maker.detector_device, maker.tries_turns

    @overload
    def embed(
        self, items: Items, *, faces: Which = ..., boxes: Boxes | None = ..., return_status: Literal[False] = ...
    ) -> np.ndarray: ...
    @overload
    def embed(
        self, items: Items, *, faces: Which = ..., boxes: Boxes | None = ..., return_status: Literal[True]
    ) -> tuple[np.ndarray, list[str]]: ...
    def embed(
        self, items: Items, *, faces: Which = "auto", boxes: Boxes | None = None, return_status: bool = False
    ) -> np.ndarray | tuple[np.ndarray, list[str]]:
        """Embeddings: the closer two are, the more similar the expressions are to human annotators.

        Args:
            items: one picture or several, see the class; an iterator is read a batch at a time.
            faces: see the class.
            boxes: where the face is in each picture: x1, y1, x2, y2 in pixels, or None; see the class.
            return_status: return the status of each picture too.

        Returns:
            Unit vectors, float32, shape (N, D); rows of NaN where there is no face. With ``return_status`` also N
            words: ``ok``, or another key of ``fecnet.encoder.pictures.STATUS``. With ``all`` there may be several rows
            of a picture: ``encode`` says which.

        Raises:
            UserError: the net has no embedding; something that is not a picture; or the detector is missing.
        """
        found = self._gathered("embedding", items, faces, boxes)
        return (found.outputs["embedding"], found.status) if return_status else found.outputs["embedding"]

    @overload
    def features(
        self, items: Items, *, faces: Which = ..., boxes: Boxes | None = ..., return_status: Literal[False] = ...
    ) -> np.ndarray: ...
    @overload
    def features(
        self, items: Items, *, faces: Which = ..., boxes: Boxes | None = ..., return_status: Literal[True]
    ) -> tuple[np.ndarray, list[str]]: ...
    def features(
        self, items: Items, *, faces: Which = "auto", boxes: Boxes | None = None, return_status: bool = False
    ) -> np.ndarray | tuple[np.ndarray, list[str]]:
        """The input of the last layer, float32, shape (N, F); everything else as ``embed``."""
        found = self._gathered("feature", items, faces, boxes)
        return (found.outputs["feature"], found.status) if return_status else found.outputs["feature"]

    def classify(self, items: Items, *, faces: Which = "auto", boxes: Boxes | None = None) -> Classified:
        """The expression of each picture.

        Args:
            items: see ``embed``.
            faces: see ``embed``.
            boxes: see ``embed``.

        Raises:
            UserError: the net has no classes; else as ``embed``.
        """
        found = self._gathered("logits", items, faces, boxes)
        probability_NK = probabilities(found.outputs["logits"])
        names = [
            self.classes[int(row_K.argmax())] if status == OK else None
            for row_K, status in zip(probability_NK, found.status, strict=True)
        ]
        return Classified(names, probability_NK, *found[1:5])

    def distance(self, a: Item, b: Item, *, faces: Which = "auto") -> float:
        """Dissimilarity of two expressions: squared Euclidean distance of the embeddings, as in training, 0 to 4.

        NaN where one of them has no face.

        Args:
            a: a picture.
            b: another.
            faces: see ``embed``; not ``all``.

        Raises:
            UserError: not one picture each; else as ``embed``.
        """
        first_D, second_D = self._one_each((a, b), faces)
        return float(np.square(first_D - second_D).sum())

    def odd_one_out(self, a: Item, b: Item, c: Item, *, faces: Which = "auto") -> int | None:
        """The odd one out of three expressions.

        Args:
            a: a picture.
            b: another.
            c: another.
            faces: see ``embed``; not ``all``.

        Returns:
            0, 1 or 2: the one outside the closest pair. None if one has no face, or two pairs are equally close.

        Raises:
            UserError: not one picture each; else as ``embed``.
        """
        emb_3D = self._one_each((a, b, c), faces)
        odd = int(odd_faces(opposite_distances(torch.from_numpy(emb_3D)[None])))
        return odd if odd >= 0 else None

    def find_faces(self, items: Items, *, faces: Which = "all", boxes: Boxes | None = None) -> list[PhotoFace]:
        """The faces of some pictures as the net takes them, with their boxes, scores and landmarks.

        Uses the detector of the training data; where there was none, YuNet if its model is given, else MTCNN.

        Args:
            items: see ``embed``.
            faces: see the class.
            boxes: see ``embed``.

        Returns:
            The rows that ``encode`` would have, in order; a picture without a face has one that says why.

        Raises:
            UserError: as ``embed``.
        """
        return list(self._maker.make(_paired(items, boxes), faces=faces))

    def encode(
        self, items: Items, *, faces: Which = "auto", boxes: Boxes | None = None, steady: bool = True
    ) -> Encoded:
        """All outputs of the net at once, by name, and the status of each picture.

        Args:
            items: see ``embed``.
            faces: see ``embed``.
            boxes: see ``embed``.
            steady: see ``stream``.

        Raises:
            UserError: as ``embed``.
        """
        return self._joined(list(self.stream(items, faces=faces, boxes=boxes, steady=steady)))

    def stream(
        self, items: Items, *, faces: Which = "auto", boxes: Boxes | None = None, steady: bool = True
    ) -> Iterator[Encoded]:
        """``encode`` for a stream of any length, a batch at a time; at most ``batch_size`` faces are in memory.

        Args:
            items: see ``embed``.
            faces: see ``embed``.
            boxes: see ``embed``.
            steady: fill up the last batch, so that the outputs for a face do not depend on the faces beside it; as slow
                for one face as for sixteen. False: up to about 1e-6 from those, and three times as soon for one face.

        Raises:
            UserError: as ``embed``.
        """
        check_which(faces)
        if boxes is None and faces in ("auto", "whole") and isinstance(items, np.ndarray) and self._are_stored(items):
            for first in range(0, len(items), self.batch_size):  # no conversion needed
                some = np.ascontiguousarray(items[first : first + self.batch_size])
                nothing = np.full((len(some), 14), np.nan, np.float32)
                found = (nothing[:, :4], nothing[:, 0], nothing[:, 4:].reshape(-1, 5, 2))
                place_N = np.arange(first, first + len(some))
                yield Encoded(self._forward(some, steady), [OK] * len(some), place_N, *found)
            return
        held: list[PhotoFace] = []
        for face in self._maker.make(_paired(items, boxes), faces=faces):
            held.append(face)
            if len(held) == self.batch_size:
                yield self._encoded(held, steady)
                held = []
        if held:
            yield self._encoded(held, steady)

    def _are_stored(self, items: np.ndarray) -> bool:
        """Whether an array holds faces in the format of a packed set."""
        return items.dtype == np.uint8 and items.shape[1:] == self.face_shape

    def _encoded(self, faces: Sequence[PhotoFace], steady: bool = True) -> Encoded:
        """One batch through the net; rows of NaN where there is no face."""
        images = [face.image_SSC for face in faces if face.image_SSC is not None]
        there_N = np.array([face.image_SSC is not None for face in faces], bool)
        found = self._forward(np.stack(images), steady) if images else {}
        outputs = {}
        for name, shape in self._shapes.items():
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

    def _joined(self, parts: Sequence[Encoded]) -> Encoded:
        parts = parts or [self._encoded([])]
        outputs = {name: np.concatenate([part.outputs[name] for part in parts]) for name in parts[0].outputs}
        columns = (np.concatenate(column) for column in list(zip(*parts, strict=True))[2:])
        return Encoded(outputs, [status for part in parts for status in part.status], *columns)

    def _forward(self, faces_NHWC: np.ndarray, steady: bool = False) -> dict[str, np.ndarray]:
        num = len(faces_NHWC)
        if steady:
            full = self.batch_size if self.device.type == "cuda" else min(self.batch_size, _STEADY)
            faces_NHWC = np.concatenate([faces_NHWC, np.repeat(faces_NHWC[:1], max(0, full - num), axis=0)])
        outputs = predict_batch(self.model, faces_NHWC, views=self.views, device=self.device)
        return {name: value[:num].numpy() for name, value in outputs.items()}

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each output for one face."""
        return {
            name: value.shape[1:] for name, value in self._forward(np.zeros((1, *self.face_shape), np.uint8)).items()
        }

    def check_detector(self) -> None:
        """Raise UserError unless faces can be found in photos: the detector is there, and the one of training."""
        self._maker.check_detector()

    def check_faces(self, dataset: PackedDataset) -> None:
        """Raise UserError unless the faces of a packed set have the size and channels of those trained on."""
        if dataset.faces_NHWC.shape[1:] != self.face_shape or dataset.channels != list(self.channels):
            raise UserError(
                f"{dataset.path}: faces of {dataset.faces_NHWC.shape[1:]} {dataset.channels}; {self.name} was "
                f"trained on {self.face_shape} {list(self.channels)}"
            )

    def dims(self, name: str) -> int:
        """Dimension of an output for one face, such as D of ``embedding``; see ``check_output``."""
        self.check_output(name)
        return int(np.prod(self._shapes[name]))

    def check_output(self, name: str) -> None:
        """Raise UserError unless the net has this output: ``embedding``, ``feature``, ``logits`` or another."""
        if name not in self._shapes:
            raise UserError(f"{self.name}: the net has no '{name}'; it has: {', '.join(sorted(self._shapes))}")

    def _gathered(self, output: str, items: Items, faces: Which, boxes: Boxes | None) -> Encoded:
        """``encode`` of one output."""
        self.check_output(output)
        parts = self.stream(items, faces=faces, boxes=boxes)
        return self._joined([part._replace(outputs={output: part.outputs[output]}) for part in parts])

    def _one_each(self, items: Sequence[Item], faces: Which) -> np.ndarray:
        """The embedding of each, shape (len(items), D)."""
        check_which(faces, ("auto", "largest", "whole"))
        emb_ND = self.embed(items, faces=faces)
        if len(emb_ND) != len(items):
            raise UserError(f"{len(emb_ND)} pictures; expected {len(items)}, one in each argument")
        return emb_ND


def probabilities(logits_NK: np.ndarray) -> np.ndarray:
    """Probability of each class, float32, shape (N, K)."""
    return torch.from_numpy(logits_NK).softmax(dim=1).numpy()


def _paired(items: Items, boxes: Boxes | None) -> Iterator[Picture]:
    """Each picture with its box."""
    if boxes is None:
        yield from ((item, None) for item in each_item(items))
        return
    missing = object()
    for item, box in zip_longest(each_item(items), boxes, fillvalue=missing):
        if item is missing or box is missing:
            raise UserError("boxes: not as many as pictures; expected one each, or None in its place")
        yield item, box  # type: ignore[misc]
