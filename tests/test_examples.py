"""The cluster examples: their structure, and their command lines through torchrun's and train.py's real parsers.

Nothing here talks to a cluster; srun, scontrol and torchrun are stand-ins on the PATH.
"""

import argparse
import json
import os
import signal
import subprocess
import time

import pytest
import yaml
from torch.distributed.run import parse_args

from fecnet.cli import train
from fecnet.config.node import load_config
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
STUBS = {
    "srun": 'exec "$@"',
    "scontrol": 'if [ "$1" = show ]; then printf "first\\nsecond\\n"; else echo "$*" >>"$LOG.scontrol"; fi',
    "torchrun": """
if [ -n "${SLEEP:-}" ]; then
  trap 'echo saved >>"$LOG.saved"; exit 143' TERM
  touch "$LOG.ready"
  for _ in $(seq 200); do sleep 0.05; done
fi
for argument in "$@"; do echo "$argument" >>"$LOG"; done
exit "${CODE:-0}"
""",
}


def assert_trains(arguments, **expected):
    """Arguments of torchrun that start train.py on a recipe that is there, with settings that are allowed."""
    launched = parse_args(arguments)
    assert launched.training_script == "train.py"
    parser = argparse.ArgumentParser()
    train.add(parser)
    options = parser.parse_intermixed_args(launched.training_script_args)
    assert options.resume == "auto"
    cfg = load_config(ROOT / options.recipe, options.overrides)
    for key, value in expected.items():
        assert cfg[key] == value
    return launched


@pytest.fixture
def slurm(tmp_path):
    """Start slurm.sh as the second of two nodes' worth of job 4711."""
    for name, text in STUBS.items():
        path = tmp_path / name
        path.write_text(f"#!/usr/bin/env bash\n{text}\n")
        path.chmod(0o755)

    def start(*arguments, **environment):
        return subprocess.Popen(
            ["bash", str(EXAMPLES / "slurm.sh"), *arguments],
            cwd=ROOT,
            env=os.environ
            | {
                "PATH": f"{tmp_path}:{os.environ['PATH']}",
                "TORCHRUN": "torchrun",
                "LOG": str(tmp_path / "log"),
                "SLURM_JOB_ID": "4711",
                "SLURM_NNODES": "2",
                "SLURM_JOB_NODELIST": "node[1-2]",
            }
            | environment,
        )

    return start


def test_slurm_starts_torchrun_with_a_rendezvous(slurm, tmp_path):
    assert slurm("config/demo.yaml", "SOLVER.BASE_LR", "1e-3").wait(60) == 0
    launched = assert_trains((tmp_path / "log").read_text().splitlines(), NAME="slurm-4711")
    assert (launched.nnodes, launched.rdzv_backend, launched.rdzv_id) == ("2", "c10d", "4711")
    assert (launched.rdzv_endpoint, launched.max_restarts) == ("first:30111", 3)
    assert not (tmp_path / "log.scontrol").exists()


def test_slurm_default_recipe_and_exit_code(slurm, tmp_path):
    assert slurm(CODE="7").wait(60) == 7
    assert_trains((tmp_path / "log").read_text().splitlines())
    assert not (tmp_path / "log.scontrol").exists()


def test_slurm_saves_and_queues_again_before_the_time_limit(slurm, tmp_path):
    job = slurm(SLEEP="1")
    for _ in range(200):
        if (tmp_path / "log.ready").exists():
            break
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(60) == 0
    assert (tmp_path / "log.saved").read_text() == "saved\n"
    assert (tmp_path / "log.scontrol").read_text() == "requeue 4711\n"


def test_slurm_options():
    text = (EXAMPLES / "slurm.sh").read_text()
    options = dict(
        line.removeprefix("#SBATCH --").partition("=")[::2] for line in text.splitlines() if "#SBATCH" in line
    )
    assert options["ntasks-per-node"] == "1"  # torchrun starts the others
    assert options["signal"] == "B:USR1@180"  # to the script, which hands it on
    assert "requeue" in options and options["open-mode"] == "append"


def documents(name):
    return list(yaml.safe_load_all((EXAMPLES / name).read_text()))


def assert_pod(pod, container):
    """One container of that name, whose mounts are volumes of the pod, with time to save before it is killed."""
    (found,) = pod["containers"]
    assert found["name"] == container
    assert found["image"] == "fecnet:latest"
    assert {mount["name"] for mount in found["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert pod["terminationGracePeriodSeconds"] > 30  # what torchrun gives its processes
    return found


def test_pytorchjob():
    (job,) = documents("pytorchjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    (kind,) = job["spec"]["pytorchReplicaSpecs"]
    assert kind == "Worker"  # an elastic job has no master
    worker = job["spec"]["pytorchReplicaSpecs"]["Worker"]
    elastic = job["spec"]["elasticPolicy"]
    assert elastic["minReplicas"] <= worker["replicas"] <= elastic["maxReplicas"]
    container = assert_pod(worker["template"]["spec"], "pytorch")
    command, *arguments = container["command"]
    assert command == "torchrun"
    assert_trains(arguments, NAME="fec", OUTPUT_DIR="/store/result")
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 8
    assert {"name": "TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "value": "1"} in container["env"]  # pods join while it runs


def test_trainjob():
    runtime, job = documents("trainjob.yaml")
    assert {document["apiVersion"] for document in (runtime, job)} == {"trainer.kubeflow.org/v1alpha1"}
    assert (runtime["kind"], job["kind"]) == ("TrainingRuntime", "TrainJob")
    reference = job["spec"]["runtimeRef"]
    assert (reference["kind"], reference["name"]) == ("TrainingRuntime", runtime["metadata"]["name"])
    assert "torch" in runtime["spec"]["mlPolicy"]
    (node,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    assert node["template"]["metadata"]["labels"] == {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    assert_pod(node["template"]["spec"]["template"]["spec"], node["name"])
    trainer = job["spec"]["trainer"]
    command, *arguments = trainer["command"] + trainer["args"]
    assert command == "torchrun"
    assert_trains(arguments, NAME="fec", OUTPUT_DIR="/store/result")
    assert trainer["numNodes"] == 2
    assert json.dumps(trainer["resourcesPerNode"]) == '{"limits": {"nvidia.com/gpu": 8}}'


@pytest.mark.parametrize("path", [*EXAMPLES.glob("*.sh"), *ROOT.glob("*.sh")], ids=lambda path: path.name)
def test_shell_scripts_parse(path):
    subprocess.run(["bash", "-n", str(path)], check=True)
