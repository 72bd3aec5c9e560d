"""Without the calls of POSIX, as on Windows: nets are loaded and used, and what needs the calls says so in one line."""

import subprocess
import sys

from tests.conftest import ROOT

WITHOUT_POSIX = """
import os, sys
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in ("fork", "geteuid", "getuid", "killpg", "posix_fallocate", "sched_getaffinity", "sysconf"):
    delattr(os, name)
"""


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", f"{WITHOUT_POSIX}\n{code}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_nets_load_and_every_module_imports():
    done = run("""
import pkgutil, fecnet, fecnet.encoder.build
try:
    fecnet.load("absent")
except ValueError as error:
    print(type(error).__name__, error)
for module in pkgutil.walk_packages(fecnet.__path__, "fecnet."):
    if module.name != "fecnet.__main__":
        __import__(module.name)
""")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("CheckpointError absent: no checkpoint here")
    assert done.stdout.count("\n") == 1


def test_what_needs_locks_says_so_in_one_line(tmp_path):
    command = "from fecnet.cli.main import main; sys.exit(main())", "prepare", "synthetic", str(tmp_path / "new")
    done = run(*command)
    assert done.returncode == 2
    assert done.stderr == f"error: {sys.platform}: this needs the file locks of POSIX; allowed: Linux, macOS\n"
    assert not list(tmp_path.iterdir())
