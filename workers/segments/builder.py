"""Builds the file of a segment from what Postgres has at one moment, block by block.

However large the collection is, no more than a block of it is in memory. Whoever builds holds the folder's lock (`folder`).
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from app.db import search_tables, vector_changes
from app.db.session import Database
from workers.segments.codebook import BLOCK
from workers.segments.encoder import Encoder
from workers.segments.file import Writer
from workers.segments.layout import Head, room_for

#: Numbers that are read together.
_READ_TOGETHER = 128 * BLOCK

#: Rows that the encoder learns from: the first ones.
_LEARNED_FROM = 512 * BLOCK

#: Rows that are coded together: what comes of them stays in the processor's cache.
_CODED_TOGETHER = 32 * BLOCK

#: Fewer are not enough to learn from.
_FEWEST = 1_000


def build(
    database: Database, table: sa.Table, collection_id: int, place: Path, has_room: Callable[[int], bool]
) -> Head | None:
    """Build the file of a collection's vectors in a search table; None where they are too few, or too many for the room."""
    dimension, of_faces = vector_changes.dimension_of(table), search_tables.is_of_faces(table)
    with database.transaction() as connection:
        vector_changes.freeze(connection)
        history = vector_changes.history(connection)
        collection = vector_changes.find(connection, collection_id)
        if collection is None or history is None:
            return None
        room = room_for(collection.live_faces if of_faces else collection.live_users, dimension)
        seq, now = collection.change_seq, time.time()
        head = Head(history, collection_id, table.name, of_faces, seq, dimension, capacity=room, built_at=now)
        if not has_room(head.size):
            return None
        blocks = vector_changes.read_all(connection, table, collection, numbers=_READ_TOGETHER)
        writer = Writer(place.with_suffix(".new"), head)
        try:
            count = _fill(writer, _ahead(blocks))
            return writer.finish(count, place) if count >= _FEWEST else None
        finally:
            writer.close()


def _ahead(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Have Postgres make the next block while one is coded."""
    with ThreadPoolExecutor(1, thread_name_prefix="reader") as reader:
        coming = reader.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = reader.submit(next, blocks, None)
            yield block


def _fill(writer: Writer, blocks: Iterator[bytes]) -> int:
    """Write all that is read; give how many rows that were."""
    encoder, count = None, 0
    for read in _regroup(blocks, _row(writer.head.dimension)):
        if encoder is None:
            if len(read) < _FEWEST:
                return 0
            encoder = Encoder(read["embedding"].astype(np.float32))
        for start in range(0, len(read), _CODED_TOGETHER):
            some = read[start : start + _CODED_TOGETHER]
            rows = some["embedding"].astype("<f2")
            writer.append("codes", encoder.encode(rows.astype(np.float32)))
            writer.append("rows", rows.tobytes())
            writer.append("numbers", some["number"].astype("<i8").tobytes())
            writer.append("places", np.arange(count, count + len(some), dtype="<i8").tobytes())
            count += len(some)
    if encoder is not None:
        codebook = encoder.codebook()
        writer.append("rotation", codebook.rotation.tobytes())
        writer.append("centroids", codebook.centroids.tobytes())
    return count


def _regroup(blocks: Iterator[bytes], row: np.dtype[np.void]) -> Iterator[NDArray[np.void]]:
    """Give rows, the first ones as many as are learned from, always in whole blocks of the scan but for the last ones."""
    waiting, wanted = b"", _LEARNED_FROM * row.itemsize
    for block in blocks:
        waiting += block
        if len(waiting) >= wanted:
            whole = len(waiting) - len(waiting) % (BLOCK * row.itemsize)
            yield np.frombuffer(waiting[:whole], row)
            waiting, wanted = waiting[whole:], BLOCK * row.itemsize
    if waiting:
        yield np.frombuffer(waiting, row)


def _row(dimension: int) -> np.dtype[np.void]:
    """Describe a row as it is read."""
    return np.dtype([("number", ">i8"), ("header", ">i2", 2), ("embedding", ">f2", dimension)])
