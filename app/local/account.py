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
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise LocalError(
                f"Postgres does not run as root, and user id {self.uid} may not enter {self.closed}: "
                "install setpriv (Debian: util-linux), move the project, or run as an ordinary user"
            )
        name = signal.Signals(death_signal).name.removeprefix("SIG")
        ids = (f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups", f"--pdeathsig={name}")
        capability = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
        return ProcessOwner((setpriv, *ids, *capability, "--"), None, None)


def unprivileged_account(owned: Path, reach: Sequence[Path]) -> Account | None:
    """Choose who runs a server; None means ourselves, which is the answer unless we are root.

    A folder that already belongs to an ordinary user keeps its user, so that root and that user can take turns.
    """
    if os.geteuid() != 0:
        return None
    uid, gid = _owner(owned) or _nobody()
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
