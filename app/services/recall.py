"""The recall of approximate search, measured on the collection itself: stored faces are searched exactly and approximately."""

from app.db import approximate, face_models, faces, vectors
from app.db.session import Database, Row
from app.domain.search_modes import MEASURED_SIMILARITY, SAMPLE, Recall
from app.services.faces import MAX_MATCHES


def measure(database: Database, collection: Row) -> Recall:
    """Search with some faces of a collection, both ways; a face does not count as a match of itself."""
    with database.transaction() as connection:
        min_cosine = face_models.get(connection, collection.model).curve.cosine(MEASURED_SIMILARITY)
        sample = faces.sample(connection, collection, SAMPLE)
    matches = found = 0
    for face in sample:
        wanted = _search(database, collection, face, min_cosine, vectors.scan)
        got = _search(database, collection, face, min_cosine, approximate.scan)
        matches += len(wanted)
        found += len(wanted & got)
    return Recall(found / matches if matches else None, len(sample), matches)


def _search(database: Database, collection: Row, face: Row, min_cosine: float, scan: vectors.Scan) -> set[int]:
    with database.transaction() as connection:
        hits = faces.nearest(
            connection, collection, bytes(face.emb32), min_cosine=min_cosine, limit=MAX_MATCHES, scan=scan
        )
    return {hit.row.face_no for hit in hits} - {face.face_no}
