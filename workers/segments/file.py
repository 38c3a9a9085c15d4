"""A segment's file: written once beside its place and moved there when it is whole, then mapped by every worker of the machine.

Invariant: nobody changes a file that has its name. Who maps one keeps it, whatever is moved to that name or taken away.
"""

import mmap
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from workers.segments.codebook import Codebook
from workers.segments.layout import HEAD_BYTES, DamagedFile, Head
from workers.segments.scanner import Memory, Scanner

#: Bytes that are checked or written at once, so that other threads have their turn.
_STRETCH = 1 << 24


class Writer:
    """Fills a new file, section by section, each from its beginning."""

    def __init__(self, path: Path, head: Head) -> None:
        self._path, self.head = path, head
        self._sections = head.sections
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._ends = {name: section.offset for name, section in self._sections.items()}
        os.ftruncate(self._file, head.size)

    def append(self, name: str, content: bytes | memoryview) -> None:
        """Write the next bytes of a section; raises DamagedFile where there is no room for them."""
        if self._ends[name] + len(content) > self._sections[name].end:
            raise DamagedFile(f"more {name} than there is room for")
        self._ends[name] += os.pwrite(self._file, content, self._ends[name])

    def finish(self, count: int, place: Path) -> Head:
        """Say how many rows there are, and move the file to its place; gives the head."""
        head = replace(self.head, count=count)
        with _mapped(self._file, head.size) as content:
            head = replace(head, checksum=_checksum(content, head))
        os.pwrite(self._file, head.to_bytes(), 0)
        self._path.replace(place)
        return head

    def close(self) -> None:
        """Let go of the file; one that was not finished is taken away."""
        os.close(self._file)
        self._path.unlink(missing_ok=True)


class Mapped:
    """A whole file in memory that all processes share."""

    def __init__(self, path: Path) -> None:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            status = os.fstat(file)
            self.inode, self.blocks = status.st_ino, status.st_blocks
            self.head = Head.from_bytes(os.pread(file, HEAD_BYTES, 0))
            if status.st_size != self.head.size:
                raise DamagedFile("the length is another one")
            content = np.frombuffer(mmap.mmap(file, 0, prot=mmap.PROT_READ), np.uint8)
        finally:
            os.close(file)
        if _checksum(content.data, self.head) != self.head.checksum:
            raise DamagedFile("the checksum is another one")
        self._sections = self.head.sections
        self._content = content
        self.numbers = self._array("numbers")[: self.head.count]

    def scanner(self) -> Scanner:
        """Give what searches it."""
        codebook = Codebook(self._array("rotation"), self._array("centroids"))
        offsets = (self._sections[name].offset for name in ("codes", "rows", "places"))
        return Scanner(codebook, Memory(self._content, *offsets), self.head.count)

    def _array(self, name: str) -> Any:
        section = self._sections[name]
        return self._content[section.offset : section.end].view(section.kind).reshape(section.shape)


@contextmanager
def _mapped(file: int, size: int) -> Iterator[memoryview]:
    with mmap.mmap(file, size, prot=mmap.PROT_READ) as content, memoryview(content) as view:
        yield view


def _checksum(content: memoryview, head: Head) -> int:
    checksum = 0
    for part in head.used():
        for start in range(part.start, part.stop, _STRETCH):  # without the GIL, but not for long
            with content[start : min(start + _STRETCH, part.stop)] as stretch:
                checksum = zlib.crc32(stretch, checksum)
    return checksum
