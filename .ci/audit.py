"""Checks the packages of the lock for known vulnerabilities: make audit. It needs the network.

pip-audit ends well where it could look up none of the packages, so what was looked up is counted here.
"""

from __future__ import annotations

import json
import subprocess
import sys

_COMMAND = ("-m", "pip_audit", "--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off")


def main(lock: str) -> int:
    """Print what is known of the packages; returns 0 where all were looked up and nothing is known against them.

    Args:
        lock: the lock file.

    Returns:
        1 for a known vulnerability; else 2 where a package was not looked up.
    """
    done = subprocess.run(
        [sys.executable, *_COMMAND, "--requirement", lock], capture_output=True, text=True, check=False
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1][:200]
        print(f"{lock}: not audited; is there a network? {reason}", file=sys.stderr)
        return 2
    return report(lock, packages)


def report(lock: str, packages: list[dict]) -> int:
    """Print a line for each vulnerability, and the counts; see ``main``.

    Args:
        lock: the lock file.
        packages: as pip-audit lists them: each with ``vulns``, or a ``skip_reason``.
    """
    for package in packages:
        for known in package.get("vulns", ()):
            fixed = ", ".join(known["fix_versions"]) or "no version"
            print(f"{package['name']} {package['version']}: {known['id']}; fixed in {fixed}")
    hit = sum(bool(package.get("vulns")) for package in packages)
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    looked_up = len(packages) - len(skipped)
    print(f"{lock}: {looked_up} of {len(packages)} packages looked up, {hit} with known vulnerabilities")
    if skipped:
        some = ", ".join(skipped[:5]) + (", …" if len(skipped) > 5 else "")
        print(f"{lock}: {len(skipped)} packages not looked up, so nothing is known of them: {some}", file=sys.stderr)
    return 1 if hit else 2 if skipped or not packages else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
