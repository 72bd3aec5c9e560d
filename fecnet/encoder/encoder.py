"""A trained net with the preprocessing of its training data.

Shape suffixes: N pictures, D embedding dimensions, F features, K classes; H, W, C height, width and channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import zip_longest
from typing import Literal, NamedTuple, overload

import numpy as np
import torch

from fecnet.data.packed import PackedDataset
from fecnet.encoder.face_maker import FaceMaker, Picture
from fecnet.encoder.face_results import FaceResult, face_cuts, face_result
from fecnet.encoder.pictures import OK, STATUS, Item, Items, as_rgb, each_item
from fecnet.engine.predict import Net, View, predict_batch
from fecnet.faces.detections import Detections
from fecnet.faces.extract import Box
from fecnet.structures import odd_faces, of_label_set, opposite_distances
from fecnet.utils.errors import UserError
from fecnet.utils.lookup import lookup

# Faces from which on a CPU's kernels, seen with torch 2.15, give a face the same bits in batches of any size.
_STEADY = 16

Boxes = Iterable[Box | None]


class Encoded(NamedTuple):
    """The outputs for some pictures.

    Attributes:
        outputs: each output of the net by name, float32, shape (N, …); rows of NaN where there is no face.
        status: ``ok`` or another key of ``fecnet.encoder.pictures.STATUS`` for each picture.
    """

    outputs: dict[str, np.ndarray]
    status: list[str]


class Classified(NamedTuple):
    """The predicted classes of some pictures.

    Attributes:
        names: the most probable class of each, None where there is no face.
        probability_NK: of each class in the order of ``Encoder.classes``, or of the label set asked for, float32; rows
            of NaN where there is no face.
        status: as in ``Encoded``.
    """

    names: list[str | None]
    probability_NK: np.ndarray
    status: list[str]


class Encoder:
    """Turns pictures into embeddings, features and classes; ``fecnet.load`` makes one.

    A picture is a path; a uint8 array, shape (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA; or a torch tensor, uint8 or
    float in 0..1, shape (H, W) or (C, H, W). Several are given as arrays (N, H, W, C), tensors (N, C, H, W), lists or
    iterators, also nested. Each is converted to a face as ``fecnet prepare`` did for the training data:
    orientation applied, transparency on white, of several frames the first, any size, resized the same way. An array of
    exactly the stored shape is a face of a packed set and is used unchanged.

    With ``align`` the face is detected and aligned as in training: the one in the given box, or else the largest face
    of the picture. Without it, the box is cropped as in data sets with boxes. Pictures
    without a face get a status and a row of NaN, not an exception.

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
        label_sets: see the attribute; None where the net has ``classes`` alone.

    Attributes:
        classes: names in the order of the logits; empty for a net without.
        label_sets: names of the classes by label set; the first has ``classes``, each further one logits of its own.
        batch_size: faces per forward pass.
        face_shape: of a stored face: height, width, channels.
        channels: their names in order.
        aligned: the training faces were aligned in a known way; else ``align`` is an error.
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
        label_sets: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size: {batch_size}; allowed: 1 or more")
        self.model, self.views, self.device = model, views, device
        self._maker = maker
        self.batch_size, self.classes, self.name = batch_size, tuple(classes), name
        self.face_shape, self.channels, self.identity = maker.shape, maker.channels, identity
        self.label_sets = {name: tuple(names) for name, names in (label_sets or {}).items()}
        self.aligned = maker.aligned
        self.detector_device, self.tries_turns = maker.detector_device, maker.tries_turns

    @overload
    def embed(
        self, items: Items, *, align: bool = ..., boxes: Boxes | None = ..., return_status: Literal[False] = ...
    ) -> np.ndarray: ...
    @overload
    def embed(
        self, items: Items, *, align: bool = ..., boxes: Boxes | None = ..., return_status: Literal[True]
    ) -> tuple[np.ndarray, list[str]]: ...
    def embed(
        self, items: Items, *, align: bool = False, boxes: Boxes | None = None, return_status: bool = False
    ) -> np.ndarray | tuple[np.ndarray, list[str]]:
        """Embeddings: the closer two are, the more similar the expressions are to human annotators.

        Args:
            items: one picture or several, see the class; an iterator is read a batch at a time.
            align: detect the face and align it as in training; else each picture is a face.
            boxes: where the face is in each picture: x1, y1, x2, y2 in pixels, or None.
            return_status: return the status of each picture too.

        Returns:
            Unit vectors, float32, shape (N, D); rows of NaN where there is no face. With ``return_status`` also N
            words: ``ok``, or another key of ``fecnet.encoder.pictures.STATUS``.

        Raises:
            UserError: the net has no embedding; something that is not a picture; or ``align`` is not possible.
        """
        found = self._gathered("embedding", items, align, boxes)
        return (found.outputs["embedding"], found.status) if return_status else found.outputs["embedding"]

    @overload
    def features(
        self, items: Items, *, align: bool = ..., boxes: Boxes | None = ..., return_status: Literal[False] = ...
    ) -> np.ndarray: ...
    @overload
    def features(
        self, items: Items, *, align: bool = ..., boxes: Boxes | None = ..., return_status: Literal[True]
    ) -> tuple[np.ndarray, list[str]]: ...
    def features(
        self, items: Items, *, align: bool = False, boxes: Boxes | None = None, return_status: bool = False
    ) -> np.ndarray | tuple[np.ndarray, list[str]]:
        """The input of the last layer, float32, shape (N, F); everything else as ``embed``."""
        found = self._gathered("feature", items, align, boxes)
        return (found.outputs["feature"], found.status) if return_status else found.outputs["feature"]

    def classify(
        self, items: Items, *, align: bool = False, boxes: Boxes | None = None, label_set: str = ""
    ) -> Classified:
        """The expression of each picture.

        Args:
            items: see ``embed``.
            align: see ``embed``.
            boxes: see ``embed``.
            label_set: one of ``label_sets``; empty for the first.

        Raises:
            UserError: the net has no classes, or not of this label set; else as ``embed``.
        """
        classes = lookup(self.label_sets, label_set, key="label_set") if label_set else self.classes
        output = of_label_set("logits", "" if label_set == next(iter(self.label_sets), "") else label_set)
        found = self._gathered(output, items, align, boxes)
        probability_NK = probabilities(found.outputs[output])
        names = [
            classes[int(row_K.argmax())] if status == OK else None
            for row_K, status in zip(probability_NK, found.status, strict=True)
        ]
        return Classified(names, probability_NK, found.status)

    def distance(self, a: Item, b: Item, *, align: bool = False, boxes: Boxes | None = None) -> float:
        """Dissimilarity of two expressions: squared Euclidean distance of the embeddings, as in training, 0 to 4.

        NaN where one of them has no face.

        Args:
            a: a picture.
            b: another.
            align: see ``embed``.
            boxes: of the face in each of the two; see ``embed``.

        Raises:
            UserError: not one picture each; else as ``embed``.
        """
        first_D, second_D = self._one_each((a, b), align, boxes)
        return float(np.square(first_D - second_D).sum())

    def odd_one_out(self, a: Item, b: Item, c: Item, *, align: bool = False, boxes: Boxes | None = None) -> int | None:
        """The odd one out of three expressions.

        Args:
            a: a picture.
            b: another.
            c: another.
            align: see ``embed``.
            boxes: of the face in each of the three; see ``embed``.

        Returns:
            0, 1 or 2: the one outside the closest pair. None if one has no face, or two pairs are equally close.

        Raises:
            UserError: not one picture each; else as ``embed``.
        """
        emb_3D = self._one_each((a, b, c), align, boxes)
        odd = int(odd_faces(opposite_distances(torch.from_numpy(emb_3D)[None])))
        return odd if odd >= 0 else None

    def find_faces(self, picture: Item) -> Detections:
        """All faces of a picture, best score first; their boxes are what ``boxes`` takes.

        Uses the detector of the training data; where there was none, YuNet if its model is given, else MTCNN.

        Args:
            picture: one picture, see the class.

        Raises:
            UserError: not one picture, or one that cannot be read; the detector is missing, or another one than in
                training.
        """
        return self._maker.find(self._one_picture("find_faces", picture))

    def analyze(self, picture: Item) -> list[FaceResult]:
        """Every face of a picture with all that the net predicts, best score first; empty where there is none.

        Args:
            picture: one picture, see the class.

        Raises:
            UserError: as ``find_faces``.
        """
        image_HWC = self._one_picture("analyze", picture)
        found = self._maker.find(image_HWC)
        cuts = face_cuts(image_HWC, found, turn=self.tries_turns and not self.aligned)
        encoded = self.encode([cut[0] for cut in cuts], boxes=[cut[1] for cut in cuts], align=self.aligned)
        faces = zip(found.boxes_K4, found.scores_K.tolist(), encoded.status, strict=True)
        return [
            face_result(*face, {name: value[row] for name, value in encoded.outputs.items()}, self.classes)
            for row, face in enumerate(faces)
        ]

    def encode(self, items: Items, *, align: bool = False, boxes: Boxes | None = None, steady: bool = True) -> Encoded:
        """All outputs of the net at once, by name, and the status of each picture.

        Args:
            items: see ``embed``.
            align: see ``embed``.
            boxes: see ``embed``.
            steady: see ``stream``.

        Raises:
            UserError: as ``embed``.
        """
        parts = list(self.stream(items, align=align, boxes=boxes, steady=steady)) or [self._encoded([])]
        outputs = {name: np.concatenate([part.outputs[name] for part in parts]) for name in parts[0].outputs}
        return Encoded(outputs, [status for part in parts for status in part.status])

    def _one_picture(self, call: str, picture: Item) -> np.ndarray:
        """uint8 RGB."""
        items = list(each_item(picture))
        if len(items) != 1:
            raise UserError(f"{call}: {len(items)} pictures; expected one")
        image_HWC = as_rgb(items[0])
        if isinstance(image_HWC, str):
            raise UserError(f"{picture}: {image_HWC}: {STATUS[image_HWC]}")
        return image_HWC

    def faces(self, items: Items, *, align: bool = False) -> list[np.ndarray | str]:
        """The preprocessed faces of some pictures, for inspection.

        Args:
            items: see ``embed``.
            align: see ``embed``.

        Returns:
            For each picture uint8 of ``face_shape``, or the status if there is none.

        Raises:
            UserError: as ``embed``.
        """
        return list(self._maker.make(_paired(items, None), align=align))

    def stream(
        self, items: Items, *, align: bool = False, boxes: Boxes | None = None, steady: bool = True
    ) -> Iterator[Encoded]:
        """``encode`` for a stream of any length, a batch at a time; at most ``batch_size`` faces are in memory.

        Args:
            items: see ``embed``.
            align: see ``embed``.
            boxes: see ``embed``.
            steady: fill up the last batch, so that the outputs for a face do not depend on the faces beside it; as slow
                for one face as for sixteen. False: up to about 1e-6 from those, and three times as soon for one face.

        Raises:
            UserError: as ``embed``.
        """
        if boxes is None and not align and isinstance(items, np.ndarray) and self._are_stored(items):
            for first in range(0, len(items), self.batch_size):  # no conversion needed
                some = np.ascontiguousarray(items[first : first + self.batch_size])
                yield Encoded(self._forward(some, steady), [OK] * len(some))
            return
        held: list[np.ndarray | str] = []
        for face in self._maker.make(_paired(items, boxes), align=align):
            held.append(face)
            if len(held) == self.batch_size:
                yield self._encoded(held, steady)
                held = []
        if held:
            yield self._encoded(held, steady)

    def _are_stored(self, items: np.ndarray) -> bool:
        """Whether an array holds faces in the format of a packed set."""
        return items.dtype == np.uint8 and items.shape[1:] == self.face_shape

    def _encoded(self, faces: Sequence[np.ndarray | str], steady: bool = True) -> Encoded:
        """One batch through the net; rows of NaN where there is no face."""
        status = [face if isinstance(face, str) else OK for face in faces]
        there = np.flatnonzero([word == OK for word in status])
        found: dict[str, np.ndarray] = {}
        if len(there):
            found = self._forward(np.stack([face for face in faces if not isinstance(face, str)]), steady)
        outputs = {}
        for name, shape in self._shapes.items():
            outputs[name] = np.full((len(faces), *shape), np.nan, np.float32)
            if len(there):
                outputs[name][there] = found[name]
        return Encoded(outputs, status)

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

    def check_align(self) -> None:
        """Raise UserError unless faces can be aligned as in training: the method is known, the detector available."""
        self._maker.check_align()

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

    def has_output(self, name: str) -> bool:
        """Whether the net has this output, see ``check_output``."""
        return name in self._shapes

    def check_output(self, name: str) -> None:
        """Raise UserError unless the net has this output: ``embedding``, ``feature``, ``logits`` or another."""
        if name not in self._shapes:
            raise UserError(f"{self.name}: the net has no '{name}'; it has: {', '.join(sorted(self._shapes))}")

    def _gathered(self, output: str, items: Items, align: bool, boxes: Boxes | None) -> Encoded:
        """``encode`` of one output."""
        self.check_output(output)
        parts = list(self.stream(items, align=align, boxes=boxes)) or [self._encoded([])]
        rows = np.concatenate([part.outputs[output] for part in parts])
        return Encoded({output: rows}, [status for part in parts for status in part.status])

    def _one_each(self, items: Sequence[Item], align: bool, boxes: Boxes | None) -> np.ndarray:
        """The embedding of each, shape (len(items), D)."""
        emb_ND = self.embed(items, align=align, boxes=boxes)
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
