"""A description of a checkpoint (``meta.json``), written by hand: no net is trained for it."""

from dataclasses import replace

from fecnet.config.node import load_config, plain
from fecnet.engine.description import (
    CHECKPOINT_FORMAT,
    Accuracy,
    CheckpointInfo,
    DataInfo,
    Export,
    Preprocessing,
    Provenance,
    Selection,
)


def describe(**changes):
    """The description of a classifier of two classes after its only evaluation, with all fields."""
    info = CheckpointInfo(
        format=CHECKPOINT_FORMAT,
        iteration=5,
        command="python train.py",
        started="2026-01-01 00:00:00+00:00",
        kind="classifier",
        classes=["calm", "glad"],
        preprocessing=Preprocessing(
            height=48,
            width=48,
            channels=["grey"],
            faces={"fit": "central", "align": False, "mask": False, "hull": False},
            crop=1.0,
            input_size=48,
            mean=[0.5],
            std=[0.5],
        ),
        data=DataInfo(
            name="moods",
            sources={"moods": "0"},
            num_faces=9,
            splits={"train": {"labels": {"mood": 9}}},
            height=48,
            width=48,
            channels=["grey"],
            faces_sha256="0",
        ),
        coverage={"faces": {"read": 9, "kept": 9, "dropped": {}}},
        config=plain(load_config()),
        provenance=Provenance(
            fecnet="0.1.0",
            commit=None,
            torch="2.8.0",
            python="3.11.7",
            processor="some",
            cores=2,
            device="cpu",
            threads=2,
            world_size=1,
            precision="float32",
        ),
        pretraining=None,
        length=5,
        accuracy=Accuracy(
            iteration=5,
            selection=Selection(split="val", figure="accuracy", percent=50.0),
            splits={"val": {"accuracy": 50.0}},
        ),
        seconds=1.5,
        pruned={"of": 16, "removed": 8},
        export=Export(
            name="moods.onnx",
            kind="onnx",
            raw=False,
            source="moods",
            fecnet="0.1.0",
            date="today",
            checked={"text": ""},
        ),
        extra_classes={"tone": ["dark", "bright"]},
        choice_scale=4.5,
    )
    return replace(info, **changes)
