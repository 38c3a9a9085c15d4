"""Look for what does not fit together: faces no search finds, vectors of nobody, wrong counters, pictures that should be gone.

Nothing is changed. Findings are counts with a few examples; a collection that takes too long to look at is named as such.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import face_models, search_tables
from app.db import integrity as rows
from app.db.schema import (
    batch_items,
    batches,
    bucket_work,
    collections,
    face_crops,
    face_embeddings,
    faces,
    user_embeddings,
    users,
)
from app.db.session import Database, Row
from app.db.ticks import TickClaim
from app.domain.face_models import VERSIONS
from app.errors import ServiceUnavailable
from app.services.ticks import Progress

MAX_EXAMPLES = 20

#: Faces or users that one step looks at.
_PAGE = 10_000

#: Any one statement about a collection.
_PATIENCE = timedelta(seconds=10)

#: More blobs than this are not counted.
_MOST_BLOBS = 10_000

FINDINGS = (
    "FacesWithoutEmbedding",
    "EmbeddingsWithoutFace",
    "UsersWithoutVector",
    "VectorsWithoutUser",
    "CropsWithoutFace",
    "WrongCounters",
    "BlobsOfEndedJobs",
    "BatchesGoneWithItemsLeft",
    "CollectionsGoneWithRowsLeft",
    "NotChecked",
)

#: What lies beside faces and users and names them by number, without a foreign key, and what one is called that nobody has.
_BESIDE = {
    faces: ((face_embeddings, "EmbeddingsWithoutFace"), (face_crops, "CropsWithoutFace")),
    users: ((user_embeddings, "VectorsWithoutUser"),),
}

Document = dict[str, Any]


def check(database: Database, held: TickClaim) -> Progress:
    """Look at the next page of the next collection, or at the blobs when all collections were seen."""
    report, cursor = _Report(held.result), held.cursor or {"Collection": 0}
    is_begun = "Part" in cursor
    with database.transaction() as connection:
        after = cursor["Collection"] - is_begun
        collection = rows.next_collection(connection, held.account_id, after=after)
    if collection is None:
        _within_time(database, report, {"Blobs": "all"}, lambda connection: _check_blobs(connection, held, report))
        _within_time(database, report, {"Orphans": "all"}, lambda connection: _check_orphans(connection, report))
        return Progress(None, report.document)
    if is_begun and collection.collection_id != cursor["Collection"]:  # it was deleted meanwhile
        return Progress({"Collection": cursor["Collection"]}, report.document)
    report.document["Collections"] += not is_begun
    here = {"CollectionId": collection.name}
    following = _within_time(
        database, report, here, lambda connection: _check_page(connection, collection, cursor, report)
    )
    return Progress(following or {"Collection": collection.collection_id}, report.document)


def _within_time(
    database: Database, report: "_Report", what: Document, look: Callable[[Connection], Document | None]
) -> Document | None:
    """Look while there is time; what takes too long is named as not checked."""
    try:
        with database.transaction() as connection:
            rows.limit_time(connection, _PATIENCE)
            return look(connection)
    except ServiceUnavailable as error:
        if not rows.ran_out_of_time(error):
            raise
    report.add("NotChecked", 1, [what])
    return None


class _Report:
    """Findings so far."""

    def __init__(self, before: Document | None) -> None:
        nothing = {name: {"Count": 0, "Examples": []} for name in FINDINGS}
        self.document: Document = {"Collections": 0, **nothing, **(before or {})}

    def add(self, finding: str, count: int, examples: Sequence[Document]) -> None:
        """Count a finding and keep as many examples as there is room for."""
        known = self.document[finding]
        kept = [*known["Examples"], *examples][:MAX_EXAMPLES]
        self.document[finding] = {"Count": known["Count"] + count, "Examples": kept}


def _check_page(connection: Connection, collection: Row, cursor: Document, report: _Report) -> Document:
    """Look at a page of one part, faces or users, and say where to go on."""
    part, after = cursor.get("Part", "Faces"), cursor.get("After", 0)
    if "Part" not in cursor:
        _check_counters(connection, collection, report)
    version = face_models.get(connection, collection.model)
    if part == "Faces":
        table, vectors = faces, search_tables.of_faces(version)
    else:
        table, vectors = users, search_tables.of_users(version)
    until = rows.end_of_page(connection, table, collection.collection_id, after=after, size=_PAGE)
    found = rows.unpaired(connection, table, vectors, collection, after=after, until=until)
    if not rows.is_where_it_was(connection, collection):
        return {"Collection": collection.collection_id, "Part": part, "After": after}  # once more
    _report_pairs(connection, table, collection, found, report)
    _check_beside(connection, table, collection, (after, until), report)
    if not rows.is_last(until):
        return {"Collection": collection.collection_id, "Part": part, "After": until}
    if part == "Faces":
        return {"Collection": collection.collection_id, "Part": "Users", "After": 0}
    return {"Collection": collection.collection_id}


def _check_counters(connection: Connection, collection: Row, report: _Report) -> None:
    found = rows.counters(connection, collection.collection_id)
    if found is None or (found.live_faces, found.live_users) == (found.faces, found.users):
        return
    counted = {"FaceCount": found.live_faces, "UserCount": found.live_users}
    real = {"Faces": found.faces, "Users": found.users}
    report.add("WrongCounters", 1, [{"CollectionId": collection.name, **counted, **real}])


def _report_pairs(
    connection: Connection, table: sa.Table, collection: Row, found: tuple[list[int], list[int]], report: _Report
) -> None:
    number, (alone, orphans) = collection.collection_id, found
    here = {"CollectionId": collection.name}
    orphaned = [{**here, "Number": orphan} for orphan in orphans[:MAX_EXAMPLES]]
    if table is faces:
        named = rows.name_faces(connection, number, alone[:MAX_EXAMPLES])
        report.add("FacesWithoutEmbedding", len(alone), [{**here, "FaceId": face_id} for face_id in named])
        report.add("EmbeddingsWithoutFace", len(orphans), orphaned)
    else:
        named = rows.name_users(connection, number, alone[:MAX_EXAMPLES])
        report.add("UsersWithoutVector", len(alone), [{**here, "UserId": user_id} for user_id in named])
        report.add("VectorsWithoutUser", len(orphans), orphaned)


def _check_beside(
    connection: Connection, table: sa.Table, collection: Row, page: tuple[int, int], report: _Report
) -> None:
    """Look at kept crops, embeddings of another version, and the tables that it is searched in."""
    here, (after, until) = {"CollectionId": collection.name}, page
    for version in (*VERSIONS.values(), *face_models.list_registered(connection)):
        if version.version == collection.model:
            continue
        vectors = search_tables.of_faces(version) if table is faces else search_tables.of_users(version)
        found = rows.strays(connection, table, vectors, collection, version.version, after=after, until=until)
        there = {**here, "FaceModelVersion": version.version}
        _, finding = _BESIDE[table][0]
        report.add(finding, len(found), [{**there, "Number": number} for number in found[:MAX_EXAMPLES]])
    for kept, finding in _BESIDE[table]:
        found = rows.ownerless(connection, kept, table, collection.collection_id, after=after, until=until)
        report.add(finding, len(found), [{**here, "Number": number} for number in found[:MAX_EXAMPLES]])


def _check_orphans(connection: Connection, report: _Report) -> None:
    """Count what is left of batches and collections that are gone. It is nobody's, so every account is told, without names."""
    report.add("BatchesGoneWithItemsLeft", rows.orphaned(connection, batch_items.c.batch_id, batches.c.batch_id), [])
    for table in (faces, users, face_embeddings, user_embeddings, face_crops):
        # Workers clear a large collection away once it was deleted.
        owners = (collections.c.collection_id, bucket_work.c.collection_id)
        gone = rows.orphaned(connection, table.c.collection_id, *owners)
        report.add("CollectionsGoneWithRowsLeft", gone, [])


def _check_blobs(connection: Connection, held: TickClaim, report: _Report) -> None:
    idle = rows.idle_blobs(connection, held.account_id, limit=_MOST_BLOBS)
    report.add("BlobsOfEndedJobs", len(idle), [{"JobId": job_id} for job_id in idle[:MAX_EXAMPLES]])
