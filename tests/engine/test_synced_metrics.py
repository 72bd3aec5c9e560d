"""What a checkpoint says of its run is on the disk before it: a cut of power takes no metrics from a resumed run."""

import os
from pathlib import Path

from tests.engine.test_collapse import Training, spaced


def test_metrics_are_on_the_disk_before_a_checkpoint_is_saved(tmp_path, monkeypatch):
    synced, saved = {}, []
    real = os.fsync

    def fsync(handle):
        real(handle)
        synced[Path(f"/proc/self/fd/{handle}").readlink()] = os.fstat(handle).st_size

    monkeypatch.setattr(os, "fsync", fsync)
    training = Training(tmp_path, [0.8, 0.7], [spaced(1)] * 2)
    metrics = (tmp_path / "metrics.jsonl").resolve()

    def save(info, **_):
        saved.append(info.iteration)
        assert synced.pop(metrics) == metrics.stat().st_size  # all that is logged so far
        assert synced.pop(metrics.parent)  # and its name

    training.save = save
    training.run()
    assert saved == [1, 2]
