"""Ask the OSV database for known vulnerabilities of every version in constraints.txt, by pip-audit, and judge its report.

Three ends, three exit codes: nothing is known against any of them (0), something is (1), or they could not be asked about (2).
pip-audit alone ends with 0 where it skipped all of them.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
_COMMAND = [
    *(sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip"),
    *("--vulnerability-service", "osv", "--format", "json", "--progress-spinner", "off", "--timeout", "15"),
]


def verdict(report: str, complaint: str) -> tuple[int, str]:
    """Judge what pip-audit printed; give the exit code and what to say."""
    try:
        dependencies = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        why = (complaint.strip().splitlines() or ["it said nothing"])[-1]
        return 2, f"NOT AUDITED: the vulnerability database could not be asked, so nothing is known.\n  {why}"
    vulnerable = [one for one in dependencies if one.get("vulns")]
    skipped = [one["name"] for one in dependencies if "skip_reason" in one]
    lines = [f"  {one['name']} {one['version']}: {_ids(one)}" for one in vulnerable]
    if vulnerable:
        return 1, "\n".join([f"VULNERABLE: {len(vulnerable)} of {len(dependencies)}", *lines])
    if skipped or not dependencies:
        return 2, f"NOT AUDITED: {len(skipped)} of {len(dependencies)}: {', '.join(skipped)}"
    return 0, f"No vulnerability is known of any of the {len(dependencies)} versions in {CONSTRAINTS.name}."


def _ids(dependency: dict[str, Any]) -> str:
    return ", ".join(
        f"{one['id']} (fixed in {', '.join(map(str, one.get('fix_versions') or ())) or 'no version'})"
        for one in dependency["vulns"]
    )


def main() -> int:
    """Audit, say what came of it, and give the exit code."""
    done = subprocess.run(_COMMAND, capture_output=True, text=True, check=False)
    code, said = verdict(done.stdout, done.stderr)
    print(said, file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
