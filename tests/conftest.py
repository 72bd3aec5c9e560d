"""Fixtures: a tiny packed data set, a tiny recipe, and the settings of the test processes."""

import os
import re

# Two pytest workers share two cores; set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import numpy as np
import pytest

from fecnet.prepare.writer import PackedWriter
from fecnet.utils.terminal import log_to_terminal

ROOT = Path(__file__).parents[1]
log_to_terminal()  # tests read the log of a run from the output, as users do


SLOW = {  # folders and files whose tests start processes, train for long, compile or run whole nets: seconds each
    *("distributed", "export", "pruning", "studies", "test_fuzz_benchmark", "test_identity_leak_benchmark"),
    *("test_backbones", "test_benchmarks", "test_coming_from", "test_command_line", "test_compile", "test_detect"),
    *("test_download", "test_embed_launches", "test_embed_resume", "test_encoder_faces", "test_expression_net"),
    *("test_fec", "test_fine_tuning", "test_in_browser", "test_installed", "test_iresnet", "test_launch"),
    *("test_learning_curves", "test_mask_channel", "test_memory", "test_no_waiting", "test_other_systems", "test_page"),
    *("test_pretrained", "test_profiling", "test_readme", "test_recipes", "test_relabelling", "test_scn"),
    *("test_small_maps", "test_train_classes", "test_train_run", "test_using", "test_vgg", "test_watch"),
    *("test_watch_faces", "test_weight_names", "test_aligned_photos", "test_label_sets", "test_search_command"),
    *("test_shipped_nets", "test_timm_net", "test_serve_page", "test_rater_page", "test_rate_benchmark"),
    *("test_study_recipes", "test_choice_run", "test_hash_seeds", "test_rehearsal_benchmark"),
}


def is_slow(path):
    return bool(SLOW & {path.stem, path.parent.name})


def pytest_ignore_collect(collection_path, config):
    """Tests that ``make test-fast`` leaves out are not even imported, since their packages take seconds to import."""
    return True if config.option.markexpr == "not slow" and is_slow(collection_path) else None


def pytest_collection_modifyitems(items):
    for item in items:
        if is_slow(item.path):
            item.add_marker(pytest.mark.slow)


def pytest_addoption(parser):
    parser.addoption("--only-gpu-skips", action="store_true", help="fail where a test skips for another reason")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    """With ``--only-gpu-skips`` a skip fails unless the test needs a GPU, or data that this machine does not have."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")  # not in xdist's workers
    if reporter is None or not session.config.option.only_gpu_skips:
        return
    allowed = r"\bGPU\b" if (ROOT.parent / "shared" / "data").is_dir() else r"\bGPU\b|shared/data\b.* is absent"
    reasons = {report.longrepr[2] for report in reporter.stats.get("skipped", [])}
    if others := sorted(reason for reason in reasons if not re.search(allowed, reason)):
        reporter.write_line(f"\nskipped for want of other things than a GPU: {'; '.join(others)}", red=True)
        session.exitstatus = session.exitstatus or 1


def write_tiny(path, *, num_faces=60, num_triplets=40, size=48, seed=0, channels=("grey",)):
    """Write random faces and triplets with mixed types and odd faces: enough to exercise every code path."""
    rng = np.random.default_rng(seed)
    with PackedWriter(path, num_faces=num_faces, height=size, width=size, channels=channels) as writer:
        faces = rng.integers(0, 256, (num_faces, size, size, len(channels)), np.uint8)
        writer.add_faces(faces, [{"key": f"{k:03d}", "source": f"random:{k}"} for k in range(num_faces)])
        for split in ("train", "val", "test"):
            writer.add_triplets(
                split,
                faces_T3=np.stack([rng.permutation(num_faces)[:3] for _ in range(num_triplets)]),
                odd_T=rng.integers(0, 3, num_triplets),
                type_T=np.arange(num_triplets) % 3,
                votes_T3=rng.integers(1, 4, (num_triplets, 3)),
            )
        writer.set_coverage({"faces": {"read": num_faces, "kept": num_faces}})
    return path


@pytest.fixture
def tiny(tmp_path):
    """A packed data set of random faces."""
    return write_tiny(tmp_path / "tiny")


TINY_RECIPE = """
DATA: {PATH: %s, EVAL_SPLITS: [val], REPORT_SPLITS: [test], INPUT_SIZE: 48}
AUGMENT: {FLIP: 0.5, TRANSLATE: 0.05, NOISE: 0.01}
MODEL: {BACKBONE: resnet18, WIDTH_MULT: 0.125, BLOCKS: [1, 1], NECK: conv1x1, NECK_CHANNELS: 16, FEATURE_DIM: 16}
SOLVER: {LENGTH: 6, BATCH_SIZE: 8, BASE_LR: 1e-3, SCHEDULE: cosine, PRECISION: fp32}
EVAL: {PERIOD: 3}
CHECKPOINT: {PERIOD: 2}
LOG: {PERIOD: 2, TENSORBOARD: false}
OUTPUT_DIR: %s
DEVICE: cpu
"""


@pytest.fixture
def recipe(tiny, tmp_path):
    """A recipe that trains a tiny net on the tiny data set in a second."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_RECIPE % (tiny, tmp_path / "result"))
    return path


@pytest.fixture
def no_square(monkeypatch):
    """Sets are prepared without measuring their square, since detecting faces in 200 pictures takes half a minute."""
    monkeypatch.setattr("fecnet.prepare.measured_square.measure_square", lambda *_: None)
