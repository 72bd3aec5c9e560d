"""What ``shipped`` measures, ours and the opponents, in one form: faces in, embeddings and probabilities out.

Shape suffixes: N faces, K classes, D numbers of an embedding.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import NamedTuple

import numpy as np

from benchmarks.opponents.package import Absent, Opponent
from fecnet.encoder.build import load_encoder
from fecnet.encoder.encoder import probabilities
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.structures import of_label_set
from fecnet.utils.class_words import find_class

OPPONENTS = (  # each a file of benchmarks/opponents
    "fer",
    "human_models",
    "face_api",
    "face_emotion_recognition",
    "facex",
    "facial_emotion_recognition",
    "what_the_face",
    "facemood",
)
_BATCH = 64  # faces
_SECONDS = 2.0  # of rounds that are timed


class Answers(NamedTuple):
    """The outputs of a model for some faces.

    Attributes:
        embedding_ND: its own, or the square roots of its probabilities.
        classes: its classes and their probabilities (N, K) by label set; "" for all that it has none of its own for.
    """

    embedding_ND: np.ndarray
    classes: Mapping[str, tuple[Sequence[str], np.ndarray]]

    def probability(self, label_set: str, words: Sequence[str]) -> np.ndarray:
        """Of the classes that are named, float32, shape (N, K); -1 for one that the model does not know."""
        own, probability_NK = self.classes.get(label_set) or self.classes[""]
        columns = [find_class(word, own) for word in words]
        unknown_N = np.full(len(probability_NK), -1, np.float32)
        return np.stack([unknown_N if k is None else probability_NK[:, k] for k in columns], axis=1)

    def roots(self) -> np.ndarray:
        """Square roots of the probabilities, shape (N, K): their squared distance is twice Hellinger's."""
        return np.sqrt(self.classes[""][1])


@dataclass(frozen=True, eq=False)
class Model:
    """One row of the table.

    Attributes:
        name: of the net, or of the package with its version.
        about: size in MB, licence, and what runs it here.
        answer: to faces, uint8, shape (N, H, W, 1).
    """

    name: str
    about: Mapping[str, float | str]
    answer: Callable[[np.ndarray], Answers]

    def faces_per_s(self, faces_NHWC: np.ndarray) -> float:
        """The best of all rounds of a batch, of which there are two or more, in seconds of the processor."""
        batch, taken = faces_NHWC[:_BATCH], list[float]()
        while len(taken) < 2 or sum(taken) < _SECONDS:
            begun = process_time()
            self.answer(batch)
            taken.append(process_time() - begun)
        return round(len(batch) / min(taken), 1)


def our_model(net: str) -> Model:
    """A run, checkpoint or shipped net, with its own views.

    Raises:
        UserError: no such net, or it has no embedding or no classes.
    """
    encoder = load_encoder(net, device="cpu")
    first, *_ = encoder.label_sets

    def answer(faces_NHWC: np.ndarray) -> Answers:
        outputs = encoder.encode(faces_NHWC).outputs
        classes = {
            label_set: (words, probabilities(outputs[of_label_set("logits", "" if label_set == first else label_set)]))
            for label_set, words in encoder.label_sets.items()
        }
        return Answers(outputs["embedding"], {"": classes[first], **classes})

    weights = find_checkpoint(net, "best") / "model.safetensors"
    name = net if "/" not in net else Path(net).name
    return Model(name, _about(weights, "MIT, see its card", "torch"), answer)


def opponent_model(opponent: Opponent) -> Model:
    """A package's model, asked in batches."""

    def answer(faces_NHWC: np.ndarray) -> Answers:
        faces_NHW = faces_NHWC[..., 0]
        parts = [faces_NHW[first : first + _BATCH] for first in range(0, len(faces_NHW), _BATCH)]
        probability_NK = np.concatenate([opponent.probability(part) for part in parts])
        answers = Answers(np.empty(0), {"": (opponent.classes, probability_NK)})
        return answers._replace(embedding_ND=answers.roots())

    return Model(opponent.name, _about(opponent.weights, opponent.licence, opponent.runs_in), answer)


def opponents_in(folder: Path) -> tuple[list[Model], dict[str, str]]:
    """The opponents that can be measured here, and for each other one the reason why not, by its file."""
    models, absent = list[Model](), dict[str, str]()
    for file in OPPONENTS:
        try:
            models.append(opponent_model(importlib.import_module(f"benchmarks.opponents.{file}").load(folder)))
        except Absent as reason:
            absent[file] = str(reason)
    return models, absent


def _about(weights: Path, licence: str, runs_in: str) -> dict[str, float | str]:
    return {"megabytes": round(weights.stat().st_size / 1e6, 3), "licence": licence, "runs_in": runs_in}
