"""The audit log: a line with every change and none without it, which nobody alters, and nothing in it that it must not hold."""

import contextlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa

from app.db import schema
from app.domain.audit import OK, Act, Actor, ActorKind, Filter, Line, least_id
from app.errors import CollectionNotFound, InvalidParameter
from app.services import access_keys, audit, batches, operations, schedules
from app.services.batch_outcomes import BatchOutcomes, Ended
from app.services.batches import NewBatch
from app.services.endpoints import Endpoints
from tests.clockwork import Clockwork
from tests.desk import Desk
from tests.factories import CIPHER, make_account, make_collection, make_endpoint, random_embeddings, store_embeddings
from tests.integration.test_batch_items import BatchDesk, good, make_items
from tests.integration.test_schedule_kinds import make_old, run
from workers.runtime import Runtime

KEY = Actor(ActorKind.KEY, "REKOTEST", "192.0.2.7", "the-request")


def lines(desk: Desk, **wanted: Any) -> list[dict[str, Any]]:
    """Read the account's lines, oldest first, without those of its making."""
    with desk.database.transaction() as connection:
        account_id = desk.account.account_id
        found = audit.rows.list_page(connection, account_id, Filter(**wanted), before=None, limit=1000)
    return [line for line in found[::-1] if line["operation"] != Act.CREATE_KEY]


def told(line: dict[str, Any]) -> tuple[Any, ...]:
    return line["actor_kind"], line["actor"], line["operation"], line["collection"], line["result"], line["count"]


def test_an_operation_and_its_line_are_one_transaction(desk: Desk) -> None:
    caller = desk.account.caller
    operations.run(desk.database, caller, "CreateCollection", {"CollectionId": "people"})
    operations.run(desk.database, caller, "ListFaces", {"CollectionId": "people"})
    with pytest.raises(CollectionNotFound):
        operations.run(desk.database, caller, "DeleteCollection", {"CollectionId": "nobody"})
    key = caller.access_key_id
    assert [told(line) for line in lines(desk)] == [
        ("KEY", key, "CreateCollection", "people", OK, None),
        ("KEY", key, "ListFaces", "people", OK, 0),
        ("KEY", key, "DeleteCollection", "nobody", "ResourceNotFoundException", None),
    ]


def test_where_the_line_cannot_be_written_nothing_is_changed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no line")

    monkeypatch.setattr(audit.rows, "insert", fail)
    with pytest.raises(RuntimeError):
        operations.run(desk.database, desk.account.caller, "CreateCollection", {"CollectionId": "people"})
    with contextlib.suppress(RuntimeError):
        desk.submit(actor=KEY)
        desk.outcomes.fail(desk.claim(), InvalidParameter())
    monkeypatch.undo()
    assert [row for row in desk.rows(schema.collections) if row["account_id"] == desk.account.account_id] == []
    assert [row["status"] for row in desk.rows(schema.jobs)] == ["IN_PROGRESS"]
    assert lines(desk) == []


def test_a_job_is_told_once_with_its_submitter_however_it_ends(desk: Desk) -> None:
    records = {"FaceRecords": [{}, {}]}
    good_job = desk.submit(actor=KEY)
    desk.outcomes.succeed(desk.claim(), lambda connection: records)
    desk.submit(actor=KEY)
    desk.outcomes.fail(desk.claim(), InvalidParameter())
    canceled = desk.submit(actor=KEY)
    desk.outcomes.cancel(desk.account.account_id, canceled.job_id, KEY)
    desk.submit(actor=KEY)
    desk.elapse(601)
    desk.outcomes.expire()
    found = lines(desk)
    assert [told(line)[2:] for line in found] == [
        ("IndexFaces", "people", OK, 2),
        ("IndexFaces", "people", "InvalidParameterException", None),
        ("CancelJob", None, OK, None),
        ("IndexFaces", "people", "Canceled", None),
        ("IndexFaces", "people", "ThrottlingException", None),
    ]
    assert found[0]["resources"] == {"JobId": good_job.job_id}
    assert {(line["actor"], line["source_address"], line["request_id"]) for line in found} == {
        ("REKOTEST", "192.0.2.7", "the-request")
    }


def test_a_worker_that_lost_its_lease_writes_no_line(desk: Desk) -> None:
    desk.submit(actor=KEY)
    late = desk.claim()
    desk.elapse(16)
    desk.outcomes.rescue()
    assert not desk.outcomes.succeed(late, lambda connection: {"FaceRecords": []})
    assert lines(desk) == []


def test_a_job_of_an_older_version_is_told_as_the_systems(desk: Desk) -> None:
    job = desk.submit(actor=KEY)
    desk.change(sa.update(schema.jobs).where(schema.jobs.c.job_id == uuid.UUID(job.job_id)).values(actor=None))
    desk.outcomes.succeed(desk.claim(), lambda connection: {"FaceRecords": []})
    assert [told(line)[:3] for line in lines(desk)] == [("SYSTEM", None, "IndexFaces")]


def test_items_that_end_together_are_one_line_for_each_result(desk: Desk) -> None:
    make_collection(desk.database, desk.account)
    new = NewBatch(desk.account.account_id, "SearchFacesByImage", {"CollectionId": "people"}, actor=KEY)
    batch, _ = batches.submit(desk.database, desk.doorbell, new, make_items(4))
    chunk = BatchDesk(desk).claim()
    first, *others = chunk.items
    ended = [Ended(first, InvalidParameter()), *map(good, others)]
    outcomes = BatchOutcomes(desk.database, desk.doorbell, keep=timedelta(days=30))
    outcomes.finish(chunk, ended, given_back=(), last=True)
    found = lines(desk)
    assert [(line["operation"], line["result"], line["resources"]) for line in found] == [
        ("SubmitBatch", OK, {"BatchId": batch.batch_id}),
        ("SearchFacesByImage", "InvalidParameterException", {"BatchId": batch.batch_id, "Items": "1"}),
        ("SearchFacesByImage", OK, {"BatchId": batch.batch_id, "Items": "2,3,4"}),
    ]
    assert {(line["actor"], line["collection"]) for line in found} == {("REKOTEST", "people")}


def test_what_retention_deletes_is_told_with_how_many(clockwork: Clockwork, runtime: Runtime, desk: Desk) -> None:
    make_collection(desk.database, desk.account)
    embeddings = random_embeddings(np.random.default_rng(), 3)
    face_ids = store_embeddings(desk.database, desk.account, "people", embeddings)
    make_old(desk.database, face_ids[:2], 31)
    schedule = clockwork.make(kind="RETENTION", settings={"CollectionId": "people", "Days": 30})
    run(clockwork, runtime, schedule)
    found = lines(desk)
    assert [told(line) for line in found if line["actor_kind"] == "SCHEDULE"] == [
        ("SCHEDULE", schedule, "DeleteFaces", "people", OK, 2)
    ]
    assert [line["operation"] for line in found] == ["CreateSchedule", "RunSchedule", "DeleteFaces"]
    said = str(found)
    assert not [face_id for face_id in face_ids if face_id in said]


def test_keys_and_endpoints_leave_lines_without_their_secrets(desk: Desk) -> None:
    account = desk.account
    key_id = account.key.access_key_id
    with desk.database.transaction() as connection:
        assert access_keys.switch(connection, key_id, disabled=True)
        assert access_keys.switch(connection, key_id, disabled=False)
        assert access_keys.revoke(connection, key_id)
        assert not access_keys.revoke(connection, key_id)
    endpoint_id, secret = make_endpoint(desk.database, account, url="https://example.com/hook?token=s3cr3t")
    endpoints = Endpoints(desk.database, CIPHER, KEY)
    rotated = endpoints.rotate_secret(account.account_id, str(endpoint_id), timedelta())
    endpoints.change(account.account_id, str(endpoint_id), {"headers": {"X-Secret": "s3cr3t"}})
    endpoints.delete(account.account_id, str(endpoint_id))
    found = lines(desk)
    assert [(line["actor_kind"], line["operation"]) for line in found] == [
        ("OPERATOR", "DisableAccessKey"),
        ("OPERATOR", "EnableAccessKey"),
        ("OPERATOR", "RevokeAccessKey"),
        ("OPERATOR", "CreateWebhookEndpoint"),
        ("KEY", "RotateWebhookSecret"),
        ("KEY", "UpdateWebhookEndpoint"),
        ("KEY", "DisableWebhookEndpoint"),
        ("KEY", "DeleteWebhookEndpoint"),
    ]
    for word in (secret, rotated["Secret"], "s3cr3t", "example.com", account.key.secret_access_key):
        assert word not in str(found)


@pytest.fixture
def written(desk: Desk) -> Desk:
    """A desk with one line."""
    with desk.database.transaction() as connection:
        audit.note(connection, Line(desk.account.account_id, KEY, "ListFaces", "people"))
    return desk


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET actor = 'somebody else'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "SET rekollect.purges_audit_log = 'on'; UPDATE audit_log SET actor = 'somebody else'",
        "SET rekollect.purges_audit_log = 'on'; TRUNCATE audit_log",
    ],
)
def test_postgres_refuses_to_change_a_line(written: Desk, statement: str) -> None:
    with psycopg.connect(written.database.url) as connection, pytest.raises(psycopg.errors.RaiseException):
        connection.execute(statement)
    assert [told(line)[2:4] for line in lines(written)] == [("ListFaces", "people")]


def test_the_purge_forgets_lines_past_their_time_and_says_how_many(written: Desk) -> None:
    old = least_id(datetime.now(UTC) - timedelta(days=400, minutes=1))
    young = least_id(datetime.now(UTC) - timedelta(days=399))
    row = {"account_id": written.account.account_id, "actor_kind": "SYSTEM", "operation": "x", "resources": {}}
    written.change(sa.insert(schema.audit_log).values([{**row, "audit_id": one, "result": OK} for one in (old, young)]))
    assert audit.purge(written.database, keep=timedelta(days=400)) == 1
    assert audit.purge(written.database, keep=timedelta(days=400)) == 0
    kept = [line["audit_id"] for line in lines(written)]
    assert young in kept
    assert old not in kept
    assert len(kept) == 2
    purges = [row for row in written.rows(schema.audit_log) if row["operation"] == "PurgeAuditLog"]
    assert purges[-1]["count"] == 1
    with psycopg.connect(written.database.url) as connection, pytest.raises(psycopg.errors.RaiseException):
        connection.execute("DELETE FROM audit_log")  # the purge's permission ended with it


def test_filters_find_their_lines_and_pages_lose_none(desk: Desk) -> None:
    account_id = desk.account.account_id
    other = Actor(ActorKind.KEY, "REKOOTHER")
    with desk.database.transaction() as connection:
        for number in range(10):
            operation, actor = ("ListFaces", KEY) if number % 2 else ("DeleteFaces", other)
            audit.note(connection, Line(account_id, actor, operation, f"c{number % 5}", count=number))
        audit.note(connection, Line(make_account(desk.database).account_id, KEY, "ListFaces", "c1"))
    assert [line["count"] for line in lines(desk, collection="c1")] == [1, 6]
    assert [line["count"] for line in lines(desk, operation="ListFaces")] == [1, 3, 5, 7, 9]
    assert [line["count"] for line in lines(desk, access_key_id="REKOOTHER", collection="c0")] == [0]
    now = datetime.now(UTC)
    assert len(lines(desk, since=now - timedelta(minutes=1), until=now + timedelta(minutes=1))) == 10
    assert lines(desk, until=now - timedelta(minutes=1)) == lines(desk, since=now + timedelta(minutes=1)) == []
    read: list[Any] = []
    caller, before = desk.account.caller, None
    while page := audit.list_page(desk.database, caller, Filter(access_key_id="REKOTEST"), before=before, limit=2):
        read += [line["Count"] for line in page]
        before = uuid.UUID(page[-1]["AuditId"])
    assert read == [9, 7, 5, 3, 1]


def test_of_a_built_in_schedule_the_line_belongs_to_no_account(clockwork: Clockwork, desk: Desk) -> None:
    ((schedule_id,),) = [
        (row["schedule_id"],) for row in desk.rows(schema.schedules) if row["kind"] == "PURGE" and not row["account_id"]
    ]
    schedules.change(desk.database, None, str(schedule_id), {"enabled": False})
    schedules.change(desk.database, None, str(schedule_id), {"enabled": True})
    found = audit.list_all(desk.database, Filter(operation="UpdateSchedule"), account=None, before=None, limit=2)
    assert [(line["Account"], line["Actor"], line["Resources"]) for line in found] == [
        (None, {"Kind": "OPERATOR"}, {"ScheduleId": str(schedule_id)})
    ] * 2
