"""Fetch the page's third-party assets into `app/admin/static/vendor/` and record the source of each file.

    python scripts/vendor.py           fetch what PACKAGES pins (needs npm), rewrite vendored.json
    python scripts/vendor.py --check   compare the files with vendored.json (needs nothing)

To update: change a version below, run it, review the diff, commit both.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).resolve().parent.parent / "app" / "admin" / "static" / "vendor"
MANIFEST = VENDOR / "vendored.json"


@dataclass(frozen=True)
class Package:
    """An npm package, the licence it comes under, and the files of it that the page serves."""

    name: str
    version: str
    licence: str
    files: tuple[str, ...]


PACKAGES = (
    Package(
        "swagger-ui-dist",
        "5.35.0",
        "Apache-2.0",
        ("swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt", "swagger-ui.css", "LICENSE", "NOTICE"),
    ),
    # draws the charts; sets styles through the CSSOM only, which the page's policy allows
    Package("uplot", "1.6.32", "MIT", ("dist/uPlot.esm.js", "dist/uPlot.min.css", "LICENSE")),
    # the Latin part of Inter with all its weights, 48 KB
    Package(
        "@fontsource-variable/inter", "5.3.0", "OFL-1.1", ("files/inter-latin-wght-normal.woff2", "LICENSE")
    ),
    # changes what is shown into what was fetched, so that focus and typing stay where they are
    Package("idiomorph", "0.8.0", "0BSD", ("dist/idiomorph.esm.js", "LICENSE")),
)


def fetch(package: Package, into: Path) -> dict[str, str]:
    """Write the package's files below `into/<name>/` and return their sha256 by path relative to `into`."""
    with tempfile.TemporaryDirectory() as scratch:
        command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
        packed = subprocess.run(command, cwd=scratch, check=True, capture_output=True, text=True)
        sums = {}
        with tarfile.open(Path(scratch) / packed.stdout.strip().splitlines()[-1]) as archive:
            for name in package.files:
                member = archive.extractfile(f"package/{name}")
                if member is None:
                    raise FileNotFoundError(f"{package.name}@{package.version} holds no file {name}")
                content = member.read()
                target = into / package.name / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
                sums[f"{package.name}/{name}"] = hashlib.sha256(content).hexdigest()
    return sums


def differences(vendor: Path = VENDOR) -> list[str]:
    """Return one line for each vendored file that is missing, changed or unrecorded."""
    recorded: dict[str, str] = {}
    for entry in json.loads((vendor / MANIFEST.name).read_text("utf-8")):
        recorded |= entry["sha256"]
    present = {
        path.relative_to(vendor).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in vendor.rglob("*")
        if path.is_file() and path.name != MANIFEST.name
    }
    found = [f"{name}: missing" for name in sorted(recorded.keys() - present.keys())]
    found += [f"{name}: not in {MANIFEST.name}" for name in sorted(present.keys() - recorded.keys())]
    found += [
        f"{name}: content differs from {MANIFEST.name}"
        for name in sorted(recorded.keys() & present.keys())
        if recorded[name] != present[name]
    ]
    return found


def main(arguments: list[str]) -> int:
    """Fetch, or check with `--check`; returns the exit status."""
    if arguments == ["--check"]:
        found = differences()
        sys.stderr.writelines(f"{line}\n" for line in found)
        return 1 if found else 0
    if arguments:
        sys.stderr.write(__doc__ or "")
        return 2
    manifest: list[dict[str, Any]] = [
        {
            "package": package.name,
            "version": package.version,
            "licence": package.licence,
            "sha256": fetch(package, VENDOR),
        }
        for package in PACKAGES
    ]
    MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
