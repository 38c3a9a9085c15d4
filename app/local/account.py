"""The unprivileged account that Postgres runs as when we are root, because Postgres refuses to run as root.

Where that account may not enter a folder on the way (a clone in root's home), the process gets one capability instead:
to read and search everything. We never change the mode of a folder that we did not make.
"""

import os
import pwd
import shutil
import signal
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.local.errors import LocalError

_NAMES = ("nobody", "postgres")


@dataclass(frozen=True, slots=True)
class ProcessOwner:
    """How to start a process as somebody else: a command to put in front, or the ids to change to."""

    prefix: tuple[str, ...]
    uid: int | None
    gid: int | None


@dataclass(frozen=True, slots=True)
class Account:
    """A user id without rights, and the first folder that is closed to it on the way to what it must read."""

    uid: int
    gid: int
    closed: Path | None = None

    def process_owner(self, death_signal: signal.Signals = signal.SIGTERM) -> ProcessOwner:
        """Say how to start a process as this account; raises LocalError where a closed folder cannot be passed."""
        if self.closed is None:
            return ProcessOwner((), self.uid, self.gid)
        setpriv, capability = shutil.which("setpriv"), _reading_capability()
        if setpriv is None or capability is None:
            lacking = "install setpriv (Debian: util-linux)" if setpriv is None else "this container has no such right"
            raise LocalError(
                f"Postgres does not run as root, and user id {self.uid} may not enter {self.closed}: "
                f"{lacking}, move the project, or run as an ordinary user"
            )
        name = signal.Signals(death_signal).name.removeprefix("SIG")
        ids = (f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups", f"--pdeathsig={name}")
        # no_setuid_fixup: without it access(2), with which Postgres looks for its programs, ignores the capability.
        passed = ("--securebits=+no_setuid_fixup", f"--inh-caps=+{capability}", f"--ambient-caps=+{capability}")
        return ProcessOwner((setpriv, *ids, *passed, "--"), None, None)


def _reading_capability() -> str | None:
    """Name the smallest capability of ours that passes closed folders; Docker takes the first one away from root."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    permitted = int(next((line.split()[1] for line in lines if line.startswith("CapPrm:")), "0"), 16)
    known = {"dac_read_search": 1 << 2, "dac_override": 1 << 1}
    return next((name for name, bit in known.items() if permitted & bit), None)


def unprivileged_account(owned: Path, reach: Sequence[Path]) -> Account | None:
    """Choose who runs a server; None means ourselves, which is the answer unless we are root.

    A folder that already belongs to an ordinary user keeps its user, so that root and that user can take turns.
    """
    if os.geteuid() != 0:
        _require_name(os.geteuid())
        return None
    uid, gid = _owner(owned) or _nobody()
    _require_name(uid)
    closed = (closed_folder(path, uid, gid) for path in reach)
    return Account(uid, gid, next((folder for folder in closed if folder), None))


def _owner(folder: Path) -> tuple[int, int] | None:
    if not folder.exists():
        return None
    status = folder.stat()
    return (status.st_uid, status.st_gid) if status.st_uid != 0 else None


def _nobody() -> tuple[int, int]:
    for name in _NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise LocalError(f"Postgres does not run as root, and this system has no user named {' or '.join(_NAMES)}")


def _require_name(uid: int) -> None:
    """Postgres's initdb refuses a user id that is not in the system's list, as some containers have it."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise LocalError(
            f"user id {uid} has no name on this system, which Postgres needs: add it to /etc/passwd, "
            "or set REKOLLECT_DATABASE_URL"
        ) from None


def closed_folder(path: Path, uid: int, gid: int) -> Path | None:
    """Name the first folder from the root down to `path` that the user may not enter."""
    path = path.resolve()
    return next((folder for folder in [*reversed(path.parents), path] if not _may_enter(folder, uid, gid)), None)


def _may_enter(folder: Path, uid: int, gid: int) -> bool:
    status = folder.stat()
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
