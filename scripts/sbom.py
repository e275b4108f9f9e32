"""Write what a build is made of (CycloneDX 1.5): `uv run scripts/sbom.py dist/sbom.json`.

uv names every pinned package with the hashes of its files. What it says of this machine, of the
time and of the index that it was asked is left out, so that the same pins give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
UV = os.environ.get("UV", "uv")  # `uv run` names its own binary, which may not be on the path
NAMESPACE = uuid.UUID("5f0b1c1e-6f38-4a5c-9d0e-2b8a1f7c4d10")


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="where to write it")
    out: Path = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(sbom(), indent=2, sort_keys=True) + "\n")
    print(f"wrote {out}")


def sbom() -> dict[str, Any]:
    """The packages that the service runs on, as requirements.txt pins them."""
    found = _exported()
    for component in found["components"]:
        for reference in component.get("externalReferences", ()):
            name = urlsplit(reference["url"]).path.rpartition("/")[2]
            reference["url"] = f"{component['purl']}?file_name={quote(name)}"
    found["metadata"].pop("timestamp", None)
    found.pop("serialNumber", None)
    digest = json.dumps(found, sort_keys=True)
    found["serialNumber"] = uuid.uuid5(NAMESPACE, digest).urn
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        found["metadata"]["timestamp"] = datetime.fromtimestamp(int(epoch), UTC).isoformat()
    return found


def _exported() -> dict[str, Any]:
    scope = ["--frozen", "--all-packages", "--no-dev", "--no-emit-workspace", "--quiet"]
    command = [UV, "export", "--format", "cyclonedx1.5", "--preview-features", "sbom-export"]
    done = subprocess.run([*command, *scope], cwd=ROOT, check=True, capture_output=True, text=True)
    exported: dict[str, Any] = json.loads(done.stdout)
    return exported


if __name__ == "__main__":
    main()
