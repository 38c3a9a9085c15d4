"""Write a CycloneDX bill of materials: the distributions of an environment, by cyclonedx-bom, and our models beside them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from app.domain.face_models import VERSIONS, ModelFile

ROOT = Path(__file__).parents[2]


def of_environment(python: str) -> dict[str, Any]:
    """List what is installed in the environment of an interpreter."""
    generator = Path(sys.executable).with_name("cyclonedx-py")
    command = [str(generator), "environment", python, "--pyproject", str(ROOT / "pyproject.toml")]
    command += ["--output-reproducible", "--output-format", "JSON"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(printed)
    return found


def component(file: ModelFile) -> dict[str, Any]:
    """Describe a model file as CycloneDX does."""
    return {
        "type": "machine-learning-model",
        "bom-ref": file.name,
        "name": file.name,
        "hashes": [{"alg": "SHA-256", "content": file.sha256}],
        "licenses": [{"license": {"id": file.licence}}],
        "externalReferences": [{"type": "distribution", "url": file.url}],
    }


def with_models(bill: dict[str, Any]) -> dict[str, Any]:
    """Add the models that are pulled, each once."""
    files = dict.fromkeys(file for version in VERSIONS.values() for file in (version.detector, version.embedder))
    return {**bill, "components": [*bill["components"], *map(component, files)]}


if __name__ == "__main__":
    environment, target = sys.argv[1:]
    Path(target).write_text(json.dumps(with_models(of_environment(environment)), indent=2) + "\n")
