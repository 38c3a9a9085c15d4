"""The folder of one `rekollect up`: its lock, its secret key, its first credentials, its logs.

Secrets are files of mode 0600, written aside and renamed, so none is ever half there or readable for a moment. The
folder itself may be entered by others: Postgres, which does not run as root, has to reach its own folder inside.
"""

import base64
import fcntl
import os
import secrets
import shlex
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path

from app.local.errors import AlreadyInUse
from app.services.access_keys import NewKey


class DataDirectory:
    """Paths below one folder, and the files that this process keeps there."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self.postgres = self.path / "postgres"
        self.valkey = self.path / "valkey"
        self.credentials = self.path / "credentials"
        self.environment = self.path / "environment"
        self._lock: TextIOWrapper | None = None

    def open(self) -> None:
        """Make the folder and take its lock; raises AlreadyInUse where another process holds it."""
        self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.logs.mkdir(mode=0o700, exist_ok=True)
        lock = open(self.path / "lock", "a+", encoding="utf-8")  # noqa: SIM115  (held until close)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise AlreadyInUse(
                f"another `rekollect up` (pid {holder}) uses {self.path}: stop it, or use another --data-dir"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def close(self) -> None:
        """Give up the lock, which the system does too when we are killed."""
        if self._lock is not None:
            self.environment.unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def secret_key(self) -> str:
        """Give the key that encrypts the secrets in this folder's database; made at the first call, then kept."""
        path = self.path / "secret_key"
        if not path.exists():
            _write_private(path, base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
        return path.read_text(encoding="utf-8").strip()

    def keep_credentials(self, key: NewKey) -> None:
        """Write a key as an AWS shared-credentials file, so that SDKs can be pointed at it."""
        lines = {
            "aws_access_key_id": key.access_key_id,
            "aws_secret_access_key": key.secret_access_key,
            "rekollect_api_key": key.api_key,
            "rekollect_webhook_secret": key.webhook_secret,
        }
        text = "".join(f"{name} = {value}\n" for name, value in lines.items())
        _write_private(self.credentials, "[default]\n" + text)

    def keep_environment(self, variables: Mapping[str, str]) -> None:
        """Write the settings of the running stack, for a shell that wants to run other commands against it."""
        text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))
        _write_private(self.environment, text)


def _write_private(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
