"""`make audit-deps` never takes silence for a clean bill: reports as pip-audit 2.10 prints them."""

import json
from typing import Any

import pytest

from tests.supply_chain.vulnerabilities import verdict

CLEAN = {"name": "flask", "version": "3.1.3", "vulns": []}
SKIPPED = {"name": "numpy", "skip_reason": "Dependency not found on PyPI and could not be audited: numpy (2.4.6)"}
KNOWN = {
    "name": "urllib3",
    "version": "1.26.4",
    "vulns": [{"id": "PYSEC-2021-108", "fix_versions": ["1.26.5"], "aliases": ["CVE-2021-33503"], "description": "x"}],
}
OFFLINE = (
    "Traceback (most recent call last):\n  ...\nrequests.exceptions.ConnectionError: Failed to resolve 'api.osv.dev'"
)


def judge(*dependencies: dict[str, Any]) -> tuple[int, str]:
    return verdict(json.dumps({"dependencies": list(dependencies), "fixes": []}), "")


def test_a_clean_report_passes() -> None:
    assert judge(CLEAN) == (0, "No vulnerability is known of any of the 1 versions in constraints.txt.")


def test_a_known_vulnerability_fails_with_its_name_and_its_fix() -> None:
    code, said = judge(CLEAN, KNOWN, SKIPPED)
    assert code == 1
    assert "urllib3 1.26.4: PYSEC-2021-108 (fixed in 1.26.5)" in said


@pytest.mark.parametrize("report", ["", "{}", "[]", "null", "Found no vulnerabilities"])
def test_a_database_that_is_out_of_reach_fails_and_says_so(report: str) -> None:
    code, said = verdict(report, OFFLINE)
    assert code == 2
    assert said.startswith("NOT AUDITED")
    assert "api.osv.dev" in said


def test_what_was_skipped_is_not_taken_for_clean() -> None:
    code, said = judge(CLEAN, SKIPPED)
    assert (code, "numpy" in said) == (2, True)
    assert judge()[0] == 2
