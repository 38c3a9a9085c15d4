"""A private folder for a server's Unix socket.

The folder's mode 0700 is what protects the servers: they ask for no password, and whoever can reach the socket is let
in. A socket's path may have at most 107 bytes; below a deeper data directory the socket moves to a folder of its own.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from app.local.errors import LocalError

_LONGEST_PATH = 107  # sizeof(sun_path) - 1 on Linux; 103 elsewhere is checked by the server itself
_PREFIX = "rekollect-"


class SocketFolder:
    """Made by `open`, removed by `close`; nothing but sockets may lie in it.

    Where the preferred place is too deep it becomes a link to the folder in use, by which the next start finds and
    removes what a killed one left.
    """

    def __init__(self, preferred: Path, socket_name: str) -> None:
        self._preferred = preferred
        self._socket_name = socket_name
        self._folder: Path | None = None

    @property
    def path(self) -> Path:
        """The folder that is in use."""
        return self._folder or self._preferred

    @property
    def socket(self) -> Path:
        """The socket's own path."""
        return self.path / self._socket_name

    def open(self, own: Callable[[Path], None]) -> None:
        """Make the folder, empty; `own` hands it to the account that runs the server."""
        if self._folder is None:
            self._remove_leftovers()
            self._folder = self._make()
        for leftover in self._folder.iterdir():  # of a server that died under us: children know this path, so it stays
            leftover.unlink()
        own(self._folder)

    def close(self) -> None:
        """Leave no socket behind; does nothing unless open, because the folder may be another server's."""
        if self._folder is not None:
            self._remove_leftovers()
            self._folder = None

    def _make(self) -> Path:
        if _fits(self.socket):
            self._preferred.mkdir(mode=0o700)
            return self._preferred
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        if not _fits(folder / self._socket_name):
            folder.rmdir()
            raise LocalError(f"{folder} is too deep for a Unix socket; set TMPDIR to a shorter path")
        self._preferred.symlink_to(folder)
        return folder

    def _remove_leftovers(self) -> None:
        if self._preferred.is_symlink():
            target = self._preferred.readlink()
            self._preferred.unlink()
            if target.name.startswith(_PREFIX) and target.parent == Path(tempfile.gettempdir()):
                shutil.rmtree(target, ignore_errors=True)
        elif self._preferred.exists():
            shutil.rmtree(self._preferred)


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= _LONGEST_PATH
