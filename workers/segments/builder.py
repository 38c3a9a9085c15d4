"""Builds the file of a segment from what Postgres has at one moment, block by block.

However large the collection is, no more than a block of it is in memory. Whoever builds holds the folder's lock (`folder`).
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from app.db import vector_changes
from app.db.session import Database
from workers.segments.encoder import BLOCK, Encoder
from workers.segments.file import Writer
from workers.segments.layout import Head, room_for

#: Rows that are read together; the encoder learns from the first ones.
_READ_TOGETHER = 512 * BLOCK

#: Rows that are coded together: what comes of them stays in the processor's cache.
_CODED_TOGETHER = 32 * BLOCK

#: Fewer are not enough to learn from.
_FEWEST = 1_000


def build(
    database: Database, table: sa.Table, collection_id: int, place: Path, has_room: Callable[[int], bool]
) -> Head | None:
    """Build the file of a collection's vectors in a search table; None where they are too few, or too many for the room."""
    dimension, of_faces = vector_changes.dimension_of(table), vector_changes.is_of_faces(table)
    with database.transaction() as connection:
        vector_changes.freeze(connection)
        history = vector_changes.history(connection)
        collection = vector_changes.find(connection, collection_id)
        if collection is None:
            return None
        room = room_for(collection.live_faces if of_faces else collection.live_users, dimension)
        seq, now = collection.change_seq, time.time()
        head = Head(history, collection_id, table.name, of_faces, seq, dimension, capacity=room, built_at=now)
        if not has_room(head.size):
            return None
        blocks = vector_changes.read_all(connection, table, collection, rows=_READ_TOGETHER)
        writer = Writer(place.with_suffix(".new"), head)
        try:
            count = _fill(writer, blocks)
            return writer.finish(count, place) if count >= _FEWEST else None
        finally:
            writer.close()


def _fill(writer: Writer, blocks: Iterator[bytes]) -> int:
    """Write all that is read; give how many rows that were."""
    encoder, count = None, 0
    layout = _row(writer.head.dimension)
    for block in blocks:
        read = np.frombuffer(block, layout)
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


def _row(dimension: int) -> np.dtype[np.void]:
    """Describe a row of binary COPY: a number and a halfvec."""
    number, halfvec = [("length", ">i4"), ("number", ">i8")], [("size", ">i4"), ("header", ">i2", 2)]
    return np.dtype([("fields", ">i2"), *number, *halfvec, ("embedding", ">f2", dimension)])
