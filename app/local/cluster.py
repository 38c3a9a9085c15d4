"""Tell a live Postgres from the traces of a killed one.

After a kill -9 Postgres clears up behind itself, unless the old process id now belongs to another process of the same
user (usual in containers, where ids repeat). We look for processes that stand in the cluster's folder, and only where
there is none do we remove the lock file: a server or an orphaned backend that still writes is never raced.
"""

import os
import time
from pathlib import Path

from app.local.errors import AlreadyInUse

_PROCESSES = Path("/proc")
_PATIENCE_SECONDS = 5.0  # a server whose supervisor was killed needs a moment for its last checkpoint


def release(cluster: Path) -> None:
    """Wait for the last process of a killed server and remove its lock file; raises AlreadyInUse where one lives on."""
    lock = cluster / "postmaster.pid"
    if not lock.exists() or not _PROCESSES.is_dir():
        return
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while users := _standing_in(cluster):
        if time.monotonic() > deadline:
            raise AlreadyInUse(
                f"another Postgres (pid {min(users)}) uses {cluster}: stop it, or use another --data-dir"
            )
        time.sleep(0.05)
    lock.unlink(missing_ok=True)


def _standing_in(folder: Path) -> list[int]:
    home = str(folder.resolve())
    found = []
    for entry in _PROCESSES.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if os.readlink(entry / "cwd") == home:
                found.append(int(entry.name))
        except OSError:  # gone meanwhile, or not ours to look at
            continue
    return found
