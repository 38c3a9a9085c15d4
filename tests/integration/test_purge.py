"""Deletion deletes: after DeleteFaces, DeleteCollection and a job's expiry no row and no byte of it is left anywhere.

The audit log alone goes on saying that it was there: by the name of the collection and the ids of the jobs.
"""

import uuid

import numpy as np
import pytest
import sqlalchemy as sa

from app.db import deliveries, schema
from app.db import jobs as rows
from app.db.session import Database
from app.domain.faces import DetectedFace
from app.domain.webhooks import LEASE
from app.services import collections, faces, indexing, jobs
from tests.desk import WEBHOOK_URL, Desk
from tests.factories import make_face, make_image, random_embeddings

THIRTY_DAYS = 30 * 86_400
RNG = np.random.default_rng()  # embeddings that no other test stored


class Census:
    """All rows of all tables, whatever the product knows of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.transaction() as connection:
            found = connection.exec_driver_sql(
                "SELECT c.relname, array_agg(a.attname) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
                " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
                " AND a.attnum > 0 GROUP BY c.relname"
            )
            self.columns: dict[str, list[str]] = {name: list(columns) for name, columns in found}

    def count(self) -> dict[str, int]:
        """Count the rows of every table."""
        return self._count(dict.fromkeys(self.columns, "true"))

    def mentions(self, *needles: str | bytes) -> dict[str, int]:
        """Count the rows that hold one of these texts or bytes in any column."""
        texts = [needle.hex() if isinstance(needle, bytes) else needle for needle in needles]
        return self._count(dict.fromkeys(self.columns, "t::text LIKE ANY (%(found)s)"), [f"%{one}%" for one in texts])

    def of_collection(self, number: int) -> dict[str, int]:
        """Count the rows that name a collection by its number."""
        tables = [name for name, columns in self.columns.items() if "collection_id" in columns]
        return self._count(dict.fromkeys(tables, f"collection_id = {number}"))

    def _count(self, conditions: dict[str, str], found: list[str] | None = None) -> dict[str, int]:
        with self._database.transaction() as connection:
            counts = {
                table: connection.exec_driver_sql(
                    f"SELECT count(*) FROM {table} t WHERE {condition}",  # noqa: S608 - names from the catalogue
                    {"found": found},
                ).scalar_one()
                for table, condition in conditions.items()
            }
        return {table: count for table, count in counts.items() if count}


def index(desk: Desk, mark: str, *seen: DetectedFace) -> list[str]:
    """Run a whole IndexFaces job, its webhook attempted once; give the FaceIds. The mark is in all that a caller sends."""
    job = desk.submit(
        input={"CollectionId": mark, "Image": {"Bytes": mark.encode()}, "ExternalImageId": mark},
        webhook_url=f"{WEBHOOK_URL}?{mark}",
        caller_metadata={"order": mark},
        idempotency_key=f"{mark} {uuid.uuid4()}",
    )
    image = make_image(*seen, external=mark, image=str(uuid.uuid4()), source={"Url": f"https://example.com/{mark}"})
    account_id = desk.account.account_id
    assert desk.outcomes.succeed(desk.claim(), lambda connection: indexing.index(connection, account_id, mark, image))
    with desk.database.transaction() as connection:
        (row,) = deliveries.claim(connection, lease=LEASE, limit=1)
        answer = {"status_code": 500, "error": mark, "milliseconds": 1, "answer": mark.encode()}
        deliveries.record(connection, row.delivery_id, row.attempts, answer, status="PENDING", pause=LEASE)
    result = desk.get(job.job_id).result
    assert result is not None
    return [record["Face"]["FaceId"] for record in result["FaceRecords"]]


def test_nothing_is_left_of_what_was_deleted(desk: Desk) -> None:
    census = Census(desk.database)
    assert {"jobs", "blobs", "faces", "fv_sface128", "collections", "accounts"} <= census.columns.keys()
    before = {table: count for table, count in census.count().items() if table != "audit_log"}
    caller, mark = desk.account.caller, uuid.uuid4().hex
    one, two = (make_face(embedding, place=place) for place, embedding in enumerate(random_embeddings(RNG, 2)))
    with desk.database.transaction() as connection:
        collections.create_collection(connection, caller, {"CollectionId": mark, "Tags": {"team": mark}})
        number = collections.get(connection, caller.account_id, mark).collection_id
    ids = index(desk, mark, one, two)
    index(desk, mark, one, two)
    desk.submit(input={"Image": {"Bytes": mark.encode()}})  # expires with its image
    assert census.mentions(one.embedding) == {"faces": 2}
    assert census.of_collection(number) == {"collections": 1, "faces": 4, "fv_sface128": 4}
    told = {"audit_log": 2}  # two jobs that ended
    assert census.mentions(mark) == told | {
        "collections": 1,
        "faces": 4,
        "jobs": 2,
        "deliveries": 2,
        "delivery_attempts": 2,
    }
    assert census.mentions(mark.encode()) == {"blobs": 1, "events": 2, "delivery_attempts": 2}

    with desk.database.transaction() as connection:
        faces.delete_faces(connection, caller, {"CollectionId": mark, "FaceIds": ids})
    assert census.of_collection(number) == {"collections": 1, "faces": 2, "fv_sface128": 2, "face_tombstones": 2}
    assert set(census.mentions(*ids)) == {"jobs"}  # the answer of the job, until it expires
    assert set(census.mentions(*(face_id.encode() for face_id in ids))) == {"events"}  # likewise

    with desk.database.transaction() as connection:
        collections.delete_collection(connection, caller, {"CollectionId": mark})
    assert census.of_collection(number) == {}
    assert census.mentions(one.embedding, two.embedding) == {}

    desk.elapse(601)
    desk.outcomes.expire()
    assert "blobs" not in census.mentions(mark.encode())
    desk.elapse(THIRTY_DAYS + 1)
    assert jobs.purge(desk.database) == 3
    left = census.count()
    assert {table: count for table, count in left.items() if table != "audit_log"} == before
    assert census.mentions(mark) == told
    with desk.database.transaction() as connection:
        named = sa.select(schema.audit_log.c.operation).where(schema.audit_log.c.collection == mark)
        assert connection.execute(named).scalars().all() == ["IndexFaces"] * 2
    assert census.mentions(mark.encode(), *ids, *(face_id.encode() for face_id in ids)) == {}


def test_the_census_sees_a_row_in_any_table(desk: Desk) -> None:
    census = Census(desk.database)
    needle = uuid.uuid4()
    desk.change(sa.insert(schema.face_tombstones).values(collection_id=2**31 - 1, change_seq=1, face_no=1))
    desk.submit(input={"Anything": {"deep": [str(needle)]}})
    assert census.of_collection(2**31 - 1) == {"face_tombstones": 1}
    assert census.mentions(str(needle)) == {"jobs": 1}
    desk.change(sa.delete(schema.face_tombstones).where(schema.face_tombstones.c.collection_id == 2**31 - 1))


def test_only_jobs_past_their_retention_are_purged(desk: Desk) -> None:
    old = desk.submit()
    desk.outcomes.succeed(desk.claim(), lambda connection: {})
    desk.elapse(86_400)
    new = desk.submit()
    desk.outcomes.succeed(desk.claim(), lambda connection: {})
    waiting = desk.submit()
    desk.elapse(29 * 86_400 + 60)
    assert jobs.purge(desk.database) == 1
    assert {str(row["job_id"]) for row in desk.rows(schema.jobs)} == {new.job_id, waiting.job_id}
    assert old.job_id not in {new.job_id, waiting.job_id}


@pytest.mark.parametrize("plan", ["of the planner", "nested loop"])
def test_a_purge_is_short_and_the_next_one_goes_on(desk: Desk, plan: str) -> None:
    desk.change(
        sa.text(
            "INSERT INTO jobs (account_id, operation, input, lane, request_hash, start_deadline_at, status,"
            " finished_at, expires_at) SELECT :account, '', '{}', 'bulk', '', now(), 'SUCCEEDED', now(),"
            " now() - interval '1 s' FROM generate_series(1, 700)"
        ).bindparams(account=desk.account.account_id)
    )
    deleted = []
    for _ in range(3):
        with desk.database.transaction() as connection:
            if (
                plan == "nested loop"
            ):  # as the planner chooses it where it knows little: asks a subquery again and again
                for method in ("hashjoin", "mergejoin", "material", "hashagg", "sort"):
                    connection.exec_driver_sql(f"SET LOCAL enable_{method} = off")
            deleted.append(rows.purge(connection, limit=500))
    assert deleted == [500, 200, 0]
