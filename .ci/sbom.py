"""Writes the bill of materials of a wheel beside it, in CycloneDX: make sbom.

It lists the wheel with its hash, the trained nets in it, and the packages that it asks for, each with the version that
the lock has: those of its extras are optional.
"""

from __future__ import annotations

import email
import hashlib
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement

_TOOLS = ("dev", "docs")  # extras of those who change fecnet
_PINNED = re.compile(r"^([\w.-]+)==(\S+)(?: ; (.*?))? \\$", re.MULTILINE)


def locked_versions(lock: Path) -> dict[str, str]:
    """Versions by package; of several the one for this Python."""
    found = {}
    for name, version, marker in _PINNED.findall(lock.read_text(encoding="utf-8")):
        if not marker or Requirement(f"{name}; {marker}").marker.evaluate():
            found[name] = version
    return found


def _asked_for(metadata: email.message.Message, versions: dict[str, str]) -> Iterator[Component]:
    """The packages that the wheel asks for."""
    scopes: dict[str, ComponentScope] = {}
    for text in metadata.get_all("Requires-Dist", []):
        requirement = Requirement(text)
        extra = re.search(r"extra == ['\"](\w+)['\"]", str(requirement.marker or ""))
        name = requirement.name.lower().replace("_", "-")
        if name == "fecnet" or (extra and extra[1] in _TOOLS):
            continue
        scope = ComponentScope.OPTIONAL if extra else ComponentScope.REQUIRED
        if scopes.get(name) != ComponentScope.REQUIRED:
            scopes[name] = scope
    for name, scope in sorted(scopes.items()):
        version = versions.get(name)
        yield Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            scope=scope,
            bom_ref=name,
            purl=PackageURL("pypi", name=name, version=version),
        )


def _nets(archive: zipfile.ZipFile) -> Iterator[Component]:
    """The trained nets inside the wheel."""
    for path in sorted(archive.namelist()):
        if path.endswith(".safetensors"):
            digest = hashlib.sha256(archive.read(path)).hexdigest()
            yield Component(
                name=Path(path).parent.name,
                type=ComponentType.MACHINE_LEARNING_MODEL,
                bom_ref=path,
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
            )


def bill_of(wheel: Path, lock: Path) -> str:
    """The bill of materials as JSON, checked against the schema of CycloneDX 1.6."""
    with zipfile.ZipFile(wheel) as archive:
        (place,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(place))
        parts = [*_asked_for(metadata, locked_versions(lock)), *_nets(archive)]
    whole = Component(
        name=metadata["Name"],
        version=metadata["Version"],
        type=ComponentType.LIBRARY,
        bom_ref=metadata["Name"],
        purl=PackageURL("pypi", name=metadata["Name"].lower(), version=metadata["Version"]),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(wheel.read_bytes()).hexdigest())],
    )
    bom = Bom(components=parts)
    bom.metadata.component = whole
    bom.register_dependency(whole, parts)
    text = str(JsonV1Dot6(bom).output_as_string(indent=2))
    if problem := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise SystemExit(f"{wheel}: the bill of materials does not fit its schema: {problem}")
    return text


def main(lock: str, *wheels: str) -> int:
    """Write ``WHEEL.cdx.json`` for each wheel."""
    for wheel in map(Path, wheels):
        target = wheel.with_name(f"{wheel.name}.cdx.json")
        target.write_text(bill_of(wheel, Path(lock)) + "\n", encoding="utf-8")
        print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
