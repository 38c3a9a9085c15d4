"""What a segment's file holds, and where: a head that says so, then arrays, each beginning at a page.

Invariant: the places lie whole codes behind the codes and whole rows behind the rows, because faiss looks for them there.
"""

import json
import zlib
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from workers.segments.codebook import BLOCK, EXTRA, PAIR, STEPS

HEAD_BYTES = 4096
_MAGIC = b"rekollect segment 1\n"
_PAGE = 4096


class DamagedFile(Exception):
    """A segment's file is torn or foreign: it is thrown away and built anew."""


class Section(NamedTuple):
    """Where an array lies in a file."""

    offset: int
    kind: Any
    shape: tuple[int, ...]

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.offset + int(np.prod(self.shape)) * int(np.dtype(self.kind).itemsize)

    def part(self, count: int) -> slice:
        """Give the bytes of the first entries."""
        return slice(self.offset, self.offset + (self.end - self.offset) // self.shape[0] * count)


@dataclass(frozen=True, slots=True)
class Head:
    """What a file is a copy of, and how much of it there is."""

    history: str  #: of the database, as `app.db.vector_changes` names it
    collection_id: int
    table: str  #: the search table
    of_faces: bool  #: or of users
    change_seq: int  #: the collection's change number that it was read at
    dimension: int
    capacity: int  #: rows that there is room for
    built_at: float  #: in seconds since 1970
    count: int = 0
    checksum: int = 0  #: of the arrays' used parts

    @property
    def sections(self) -> dict[str, Section]:
        """Say where each array lies."""
        pairs = (self.dimension + EXTRA) // PAIR
        code_bytes = pairs // 2
        rotation = Section(HEAD_BYTES, np.float32, (self.dimension, self.dimension))
        centroids = Section(_up(rotation.end, _PAGE), np.float32, (pairs, STEPS, PAIR))
        codes = Section(_up(centroids.end, _PAGE), np.uint8, (self.capacity, code_bytes))
        behind_codes = codes.offset + _up(codes.end - codes.offset, _PAGE * code_bytes)
        rows = Section(behind_codes, np.float16, (self.capacity, self.dimension))
        places = Section(rows.end, np.int64, (self.capacity,))
        numbers = Section(_up(places.end, _PAGE), np.int64, (self.capacity,))
        return {
            "rotation": rotation,
            "centroids": centroids,
            "codes": codes,
            "rows": rows,
            "places": places,
            "numbers": numbers,
        }

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return _up(self.sections["numbers"].end, _PAGE)

    def used(self) -> list[slice]:
        """List the parts of a file that its checksum is of."""
        sections = self.sections
        coded = _up(self.count, BLOCK)
        return [
            sections["rotation"].part(self.dimension),
            sections["centroids"].part(sections["centroids"].shape[0]),
            sections["codes"].part(coded),
            *(sections[name].part(self.count) for name in ("rows", "places", "numbers")),
        ]

    def to_bytes(self) -> bytes:
        """Give the first bytes of the file."""
        text = json.dumps(asdict(self)).encode()
        content = _MAGIC + len(text).to_bytes(4, "little") + zlib.crc32(text).to_bytes(4, "little") + text
        return content.ljust(HEAD_BYTES, b"\0")

    @classmethod
    def from_bytes(cls, content: bytes) -> "Head":
        """Read the first bytes of a file; raises DamagedFile."""
        start = len(_MAGIC)
        length, checksum = (int.from_bytes(content[start + at : start + at + 4], "little") for at in (0, 4))
        text = content[start + 8 : start + 8 + length]
        if content[:start] != _MAGIC or len(text) != length or zlib.crc32(text) != checksum:
            raise DamagedFile("the head is not one")
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise DamagedFile("the head is of another version") from error


def room_for(rows: int, dimension: int) -> int:
    """Give the capacity of a file that so many rows fit into: whole blocks, and rows that are whole codes together."""
    return _up(max(rows, 1), BLOCK * ((dimension + EXTRA) // PAIR // 2))


def _up(value: int, step: int) -> int:
    return -(-value // step) * step
