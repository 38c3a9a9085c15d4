"""A small disk for Postgres, which a test fills: every job, picture and result is in its folder."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PIECE = bytes(1 << 20)


class Disk:
    """A mounted file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        self._free_at = 0.0

    def fill(self, seconds: float) -> None:
        """Leave no byte for some seconds."""
        self._free_at = time.monotonic() + seconds
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(_PIECE)
            except OSError:
                return

    def tend(self) -> None:
        """Make room again when its time has come."""
        if self._ballast.exists() and time.monotonic() >= self._free_at:
            self.free()

    def free(self) -> None:
        """Make room at once."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[Disk | None]:
    """Mount a disk of some megabytes in memory; None where this account may not mount."""
    folder.mkdir()
    options = ["-o", f"size={megabytes}m,mode=0711"]
    mounts = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", folder]).returncode == 0
    if not mounts:
        yield None
        return
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
