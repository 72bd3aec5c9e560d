"""``fecnet report`` of a joint run with as many test faces as FER2013 (3,589): time and size of the page."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.record import seconds
from fecnet.prepare.synthetic import prepare_synthetic

ROOT = Path(__file__).parents[1]
REQUIRED_S, REQUIRED_MB = 60.0, 10.0
JOINT = (
    *("MODEL.HEAD", "joint", "MODEL.NECK", "conv1x1", "LOSS.CRITERIA", "[triplet, cross_entropy]"),
    *("LOSS.WEIGHTS", "[1.0, 0.2]", "SOLVER.WARMUP", "0", "EVAL.PERIOD", "0", "CHECKPOINT.PERIOD", "0"),
    *("LOG.TENSORBOARD", "false", "NAME", "joint"),
)


def run(*, quick: bool) -> dict[str, Any]:
    """Draw faces, train and measure a joint net, and time the page from the start of the command to its end."""
    identities = 20 if quick else 449  # with eight faces each
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data, page = folder / "data", folder / "report.html"
        prepare_synthetic(data, num_train_identities=80, num_train_triplets=1200, num_test_identities=identities)
        where = ["DATA.PATH", str(data), "OUTPUT_DIR", str(folder / "result")]
        length = ["SOLVER.LENGTH", "2" if quick else "100"]
        _python("train.py", "config/demo_classes.yaml", *JOINT, *where, *length)
        _python("inference.py", str(folder / "result" / "joint"))
        report = ("-m", "fecnet", "report", str(folder / "result" / "joint"), "--output", str(page))
        taken = seconds(lambda: _python(*report))
        table = json.loads((folder / "result" / "joint" / "evaluation" / "classes.json").read_text(encoding="utf-8"))
        found = {
            "test_faces": table["faces_predicted"],
            "seconds": round(taken, 1),
            "page_mb": round(page.stat().st_size / 1e6, 2),
            "required": {"seconds": REQUIRED_S, "page_mb": REQUIRED_MB},
        }
    print(json.dumps(found))
    return found


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True)
