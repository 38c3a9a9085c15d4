"""How a collection is searched: exactly, or by an approximate index that it asked for; what such an index is like.

Only buckets of a collection's own are indexed: in a shared one a graph of everybody's faces would lose a few matches of each.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.domain.buckets import CAPACITY
from app.domain.jobs import iso
from app.errors import ValidationError


class SearchMode(StrEnum):
    """What a collection asks for."""

    EXACT = "exact"  #: every match is found
    APPROXIMATE = "approximate"  #: cheaper for millions of faces; some matches are missed


class IndexStatus(StrEnum):
    """Where an approximate index stands; until it is READY every search is exact."""

    WAITING = "WAITING"  #: the collection has no bucket of its own yet
    BUILDING = "BUILDING"
    READY = "READY"


#: Connections of each face in the graph, and candidates that are looked at when it is placed there: pgvector's own defaults.
#: With 32 and 200 an index finds a little more, is a third larger, and takes five times as long to build.
CONNECTIONS, BUILD_CANDIDATES = 16, 64

#: Candidates of a search; the walk goes on by as many until all of them are below the threshold. Of the matches at similarity
#: 80, 95 and 99 among 100,000 made faces 400 find 97.8, 98.7 and 100 %, 200 find 96.1, 95.5 and 100 % for a third less.
CANDIDATES = 400

#: Faces that one search looks at in each bucket, at most.
MOST_VISITED = 20_000

#: An index is made anew when this share of its faces is deleted: repairing the graph (VACUUM) takes four times as long.
DEAD_SHARE = 0.1

#: How many stored faces are searched with to measure the recall, the similarity they are searched for, and how often.
SAMPLE, MEASURED_SIMILARITY, MEASURE_EVERY = 100, 80.0, timedelta(days=1)

#: How often an index is compared with its collection, and when work on it that failed is tried again.
LOOK_EVERY, PAUSE = timedelta(minutes=1), timedelta(minutes=5)

#: Beside its embedding a face takes this in memory while a graph is built: 700 bytes in all for 128 dimensions.
_BUILD_BYTES = 450


@dataclass(frozen=True, slots=True)
class Recall:
    """Which share of the matches of some stored faces the index found; none where they had no match."""

    recall: float | None
    sample: int
    matches: int


def build_megabytes(faces: int, dimension: int, *, most: int) -> int:
    """Give the memory that the graph of a bucket is built in, within bounds; with less it is built on disk, far more slowly."""
    needed = min(faces, CAPACITY) * (_BUILD_BYTES + 2 * dimension) // 2**20
    return max(64, min(most, needed + 64))


def read_mode(value: object) -> SearchMode:
    """Check what a caller asks for; raises ValidationError."""
    if not isinstance(value, str) or value not in set(SearchMode):
        raise ValidationError(f"SearchMode must be one of {', '.join(SearchMode)}.")
    return SearchMode(value)


def recall_document(
    recall: float | None, sample: int | None, matches: int | None, at: datetime | None
) -> dict[str, Any]:
    """Render a measurement; absent members are left out."""
    if at is None:
        return {}
    members = {
        "Recall": recall,
        "Threshold": MEASURED_SIMILARITY,
        "Sample": sample,
        "Matches": matches,
        "MeasuredAt": iso(at),
    }
    return {"Measured": {name: value for name, value in members.items() if value is not None}}
