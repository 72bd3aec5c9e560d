"""A trained net with the preprocessing of its training data.

Shape suffixes: N pictures, D embedding dimensions, F features, K classes; H, W, C height, width and channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, overload

import numpy as np
import torch

from fecnet.data.packed import PackedDataset
from fecnet.encoder.face_maker import FaceMaker, PhotoFace
from fecnet.encoder.face_net import FaceNet
from fecnet.encoder.pictures import OK, STATUS, Boxes, Item, Items, each_item, paired
from fecnet.encoder.results import Classified, Encoded, FaceResult, face_results, probabilities
from fecnet.faces.which import Which, check_which
from fecnet.layers.choice import DEFAULT_SCALE, choice_log_probabilities
from fecnet.structures import odd_faces, of_label_set, opposite_distances
from fecnet.utils.errors import UserError
from fecnet.utils.lookup import lookup


class Encoder:
    """Maps pictures to embeddings, features and classes; ``fecnet.load`` returns one.

    A picture is a path, an open file or its bytes; a uint8 array, shape (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA;
    or a torch tensor, uint8 or float in 0..1, shape (H, W) or (C, H, W). Several pictures are arrays (N, H, W, C),
    tensors (N, C, H, W), lists or iterators, which may be nested. The EXIF orientation is applied, transparency is
    blended with white, and the first of several frames is used.
    The argument ``faces`` of all methods selects the faces of a picture:

    - ``auto``: an array of exactly the stored shape is a face of a packed set and is used unchanged. In any other
      picture the largest face is detected and preprocessed like the training faces: aligned if those were aligned,
      else rotated upright and cropped to the square that the training pictures show around the detector's box.
    - ``largest``: the same, but arrays of the stored shape are pictures too.
    - ``all``: every detected face has its own row, the highest detector score first.
    - ``whole``: each picture is a face already, of any size; it is resized as in ``fecnet prepare``.

    The argument ``boxes`` gives the expected location of the face in each picture. With ``whole`` nothing is detected:
    the square around the box is the face. A picture without a face gets a status and a row of NaN, not an exception.
    The outputs for a picture do not depend on the other pictures of the call, not even in the last bits. Where small
    batches are rounded differently, they are padded: on a GPU to ``batch_size``; on a CPU to sixteen faces, unless a
    measurement, made once per net, shows that this is not needed. ``steady=False`` turns this off in ``encode`` and
    ``stream``.
    All methods may be called from several threads at once. Batches are computed in float32.

    Args:
        net: computes the outputs of faces.
        maker: converts pictures to faces.
        classes: names in the order of the logits; empty for a net without logits.
        name: the checkpoint, for error messages.
        identity: a hash of the weights and the preprocessing.
        label_sets: see the attribute; None where the net has only ``classes``.
        choice_scale: see the attribute; None = the default.

    Attributes:
        classes: names in the order of the logits; empty for a net without logits.
        label_sets: names of the classes by label set. The first has ``classes``; each further one has its own logits.
        batch_size: faces per forward pass.
        face_shape: shape of a stored face: height, width, channels.
        channels: names of the channels, in order.
        name: the checkpoint.
        identity: a hash of the weights and the preprocessing.
        detector_device: device of the detector.
        tries_turns: whether pictures in which no face is found are rotated.
        choice_scale: scale of the distances in the probabilities of ``odd_one_out``: the one trained by the criterion
            ``choice``, else ``fecnet.layers.choice.DEFAULT_SCALE``. It may be set, for example to the scale that
            ``fecnet evaluate`` fits.
    """

    def __init__(
        self,
        net: FaceNet,
        maker: FaceMaker,
        *,
        classes: Sequence[str],
        name: str,
        identity: str,
        label_sets: Mapping[str, Sequence[str]] | None = None,
        choice_scale: float | None = None,
    ) -> None:
        self.net, self._maker = net, maker
        self.device, self.batch_size = net.device, net.batch_size
        self.classes, self.name = tuple(classes), name
        self.face_shape, self.channels, self.identity = maker.shape, maker.channels, identity
        self.label_sets = {name: tuple(names) for name, names in (label_sets or {}).items()}
        self.detector_device, self.tries_turns = maker.detector_device, maker.tries_turns
        self.choice_scale = DEFAULT_SCALE if choice_scale is None else choice_scale

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
        """Embeddings: the closer two are, the more similar people judge the expressions.

        Args:
            items: one picture or several, see the class; an iterator is read a batch at a time.
            faces: see the class.
            boxes: where the face is in each picture: x1, y1, x2, y2 in pixels, or None; see the class.
            return_status: return the status of each picture too.

        Returns:
            Unit vectors, float32, shape (N, D); rows of NaN where there is no face. With ``return_status`` also a list
            of N words: ``ok``, or another key of ``fecnet.encoder.pictures.STATUS``. With ``all`` a picture may have
            several rows; ``encode`` returns the picture of each row.

        Raises:
            UserError: the net has no embedding; an item is not a picture; or the detector is missing.
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
        """The input of the net's last layer, float32, shape (N, F); arguments, status and errors as in ``embed``."""
        found = self._gathered("feature", items, faces, boxes)
        return (found.outputs["feature"], found.status) if return_status else found.outputs["feature"]

    def classify(
        self, items: Items, *, faces: Which = "auto", boxes: Boxes | None = None, label_set: str = ""
    ) -> Classified:
        """The expression of each picture.

        Args:
            items: see ``embed``.
            faces: see ``embed``.
            boxes: see ``embed``.
            label_set: one of ``label_sets``; empty for the first.

        Raises:
            UserError: the net has no classes, or no such label set; else see ``embed``.
        """
        classes = lookup(self.label_sets, label_set, key="label_set") if label_set else self.classes
        output = of_label_set("logits", "" if label_set == next(iter(self.label_sets), "") else label_set)
        found = self._gathered(output, items, faces, boxes)
        probability_NK = probabilities(found.outputs[output])
        names = [
            classes[int(row_K.argmax())] if status == OK else None
            for row_K, status in zip(probability_NK, found.status, strict=True)
        ]
        return Classified(names, probability_NK, *found[1:5])

    def distance(self, a: Item, b: Item, *, faces: Which = "auto", boxes: Boxes | None = None) -> float:
        """Dissimilarity of two expressions: squared Euclidean distance of the embeddings, as in training, 0 to 4.

        NaN where one of them has no face.

        Args:
            a: a picture.
            b: another.
            faces: see ``embed``; not ``all``.
            boxes: box of the face in each of the two; see ``embed``.

        Raises:
            UserError: an argument is not exactly one picture; else see ``embed``.
        """
        first_D, second_D = self._one_each((a, b), faces, boxes)
        return float(np.square(first_D - second_D).sum())

    @overload
    def odd_one_out(
        self,
        a: Item,
        b: Item,
        c: Item,
        *,
        faces: Which = ...,
        boxes: Boxes | None = ...,
        probability: Literal[False] = ...,
    ) -> int | None: ...
    @overload
    def odd_one_out(
        self, a: Item, b: Item, c: Item, *, faces: Which = ..., boxes: Boxes | None = ..., probability: Literal[True]
    ) -> np.ndarray: ...
    def odd_one_out(
        self,
        a: Item,
        b: Item,
        c: Item,
        *,
        faces: Which = "auto",
        boxes: Boxes | None = None,
        probability: bool = False,
    ) -> int | np.ndarray | None:
        """The odd one out of three expressions.

        Args:
            a: a picture.
            b: another.
            c: another.
            faces: see ``embed``; not ``all``.
            boxes: box of the face in each of the three; see ``embed``.
            probability: return instead the probability that people choose each as the odd one
                (``fecnet.layers.choice``, with ``choice_scale``).

        Returns:
            0, 1 or 2: the one outside the closest pair. None if one has no face, or two pairs are equally close. With
            ``probability`` three numbers, float64, shape (3,); NaN if one has no face.

        Raises:
            UserError: an argument is not exactly one picture; else see ``embed``.
        """
        opposite_13 = opposite_distances(torch.from_numpy(self._one_each((a, b, c), faces, boxes))[None])
        if probability:
            return choice_log_probabilities(opposite_13.double(), self.choice_scale).exp()[0].numpy()
        odd = int(odd_faces(opposite_13))
        return odd if odd >= 0 else None

    def find_faces(self, items: Items, *, faces: Which = "all", boxes: Boxes | None = None) -> list[PhotoFace]:
        """The preprocessed faces of pictures, with their boxes, scores and landmarks; the net is not run.

        Uses the detector of the training data; if there was none, YuNet if its model is given, else MTCNN.

        Args:
            items: see ``embed``.
            faces: see the class.
            boxes: see ``embed``.

        Returns:
            A result for each row of ``encode``, in order; for a picture without a face, its status is the reason.

        Raises:
            UserError: see ``embed``.
        """
        return list(self._maker.make(paired(items, boxes), faces=faces))

    def analyze(self, picture: Item, *, faces: Which = "all") -> list[FaceResult]:
        """Every face of a picture with all outputs of the net, best detector score first; empty where there is none.

        Args:
            picture: one picture, see the class.
            faces: see the class.

        Raises:
            UserError: not exactly one picture, or one that cannot be read; else see ``embed``.
        """
        if len(items := list(each_item(picture))) != 1:
            raise UserError(f"analyze: {len(items)} pictures; expected one")
        found = self.find_faces(items, faces=faces)
        if not found[0].has_place and (status := found[0].status) != OK:
            if status == "no_face":
                return []
            what = picture if isinstance(picture, str | Path) else "picture"
            raise UserError(f"{what}: {status}: {STATUS[status]}")
        parts = self.net.encoded(found, steady=True)
        return [result for part in parts for result in face_results(part, self.classes)]

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
            UserError: see ``embed``.
        """
        return self.net.joined(list(self.stream(items, faces=faces, boxes=boxes, steady=steady)))

    def stream(
        self, items: Items, *, faces: Which = "auto", boxes: Boxes | None = None, steady: bool = True
    ) -> Iterator[Encoded]:
        """``encode`` for a stream of any length, a batch at a time; at most ``batch_size`` faces are in memory.

        Args:
            items: see ``embed``.
            faces: see ``embed``.
            boxes: see ``embed``.
            steady: pad the last batch where the outputs for a face would otherwise depend on the other faces of the
                batch. False: outputs may differ by about 1e-6, and few faces on a GPU are faster.

        Raises:
            UserError: see ``embed``.
        """
        check_which(faces)
        if boxes is None and faces in ("auto", "whole") and isinstance(items, np.ndarray) and self._are_stored(items):
            return self.net.encoded_stored(items, steady=steady)
        return self.net.encoded(self._maker.make(paired(items, boxes), faces=faces), steady=steady)

    def _are_stored(self, items: np.ndarray) -> bool:
        """Whether an array contains faces in the format of a packed set."""
        return items.dtype == np.uint8 and items.shape[1:] == self.face_shape

    def check_detector(self) -> None:
        """Raise UserError unless faces can be detected: the detector is installed, and is that of the training data."""
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
        return int(np.prod(self.net.shapes[name]))

    def has_output(self, name: str) -> bool:
        """Whether the net has this output, see ``check_output``."""
        return name in self.net.shapes

    def check_output(self, name: str) -> None:
        """Raise UserError unless the net has this output: ``embedding``, ``feature``, ``logits`` or another."""
        if name not in self.net.shapes:
            raise UserError(f"{self.name}: the net has no '{name}'; it has: {', '.join(sorted(self.net.shapes))}")

    def _gathered(self, output: str, items: Items, faces: Which, boxes: Boxes | None) -> Encoded:
        """``encode`` of one output."""
        self.check_output(output)
        parts = self.stream(items, faces=faces, boxes=boxes)
        return self.net.joined([part._replace(outputs={output: part.outputs[output]}) for part in parts])

    def _one_each(self, items: Sequence[Item], faces: Which, boxes: Boxes | None) -> np.ndarray:
        """The embedding of each item, shape (len(items), D)."""
        check_which(faces, ("auto", "largest", "whole"))
        emb_ND = self.embed(items, faces=faces, boxes=boxes)
        if len(emb_ND) != len(items):
            raise UserError(f"{len(emb_ND)} pictures; expected {len(items)}, one in each argument")
        return emb_ND
