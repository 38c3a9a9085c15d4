"""The audit log: who did what to which collection, when, and with which result.

A line of a change is written in the transaction of the change, so there is neither without the other. What was refused left no
transaction, and gets its line afterwards.
"""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy.engine import Connection

from app.db import audit as rows
from app.db.session import Database
from app.domain.audit import SYSTEM, Act, Filter, Line, document, read_actor, result_of, touched
from app.domain.caller import Caller
from app.domain.jobs import Job
from app.errors import ServiceError

#: Lines that one purge deletes at most, so that its transaction stays short.
_PURGE_LIMIT = 5000

Document = dict[str, Any]


def note(connection: Connection, *lines: Line) -> None:
    """Write lines in the caller's transaction."""
    if lines:
        rows.insert(connection, lines)


def of_call(caller: Caller, operation: str, input_: Mapping[str, Any], output: Mapping[str, Any]) -> Line:
    """Give the line of an operation that was answered at once."""
    user = {"UserId": str(input_["UserId"])} if "UserId" in input_ else {}
    count = touched(operation, output)
    return Line(caller.account_id, caller.actor, operation, caller.collection_in(input_), user, count=count)


def of_refusal(caller: Caller, operation: str, collection: str | None, error: ServiceError) -> Line:
    """Give the line of a call that was refused."""
    return Line(caller.account_id, caller.actor, operation, collection, result=error.code)


def of_job(job: Job) -> Line:
    """Give the line of a job that has ended, in whatever way."""
    caller = Caller(job.account_id, region="", access_key_id="")
    return Line(
        job.account_id,
        read_actor(job.actor),
        job.operation,
        caller.collection_in(job.subject),
        {"JobId": job.job_id},
        result_of(job),
        touched(job.operation, job.result),
    )


def note_reading(database: Database, job: Job, caller: Caller) -> None:
    """Write down who was given the result of a job."""
    collection, resources = caller.collection_in(job.subject), {"JobId": job.job_id}
    with database.statement() as connection:
        note(connection, Line(job.account_id, caller.actor, Act.GET_JOB, collection, resources))


def list_page(
    database: Database, caller: Caller, wanted: Filter, *, before: uuid.UUID | None, limit: int
) -> list[Document]:
    """Show lines of the caller's account, newest first; that they were read becomes a line."""
    with database.transaction() as connection:
        found = rows.list_page(connection, caller.account_id, wanted, before=before, limit=limit)
        note(connection, Line(caller.account_id, caller.actor, Act.READ_LOG, wanted.collection, count=len(found)))
    return [document(line) for line in found]


def list_all(
    database: Database, wanted: Filter, *, account: str | None, before: uuid.UUID | None, limit: int
) -> list[Document]:
    """Show lines of all accounts, or of one, each with the name of its account, newest first."""
    with database.statement() as connection:
        found = rows.list_all(connection, wanted, account=account, before=before, limit=limit)
    return [{"Account": line["account"], **document(line)} for line in found]


def purge(database: Database, *, keep: timedelta) -> int:
    """Forget the oldest lines, if they are older than they are kept, and write down how many; give how many."""
    with database.transaction() as connection:
        deleted = rows.purge(connection, keep=keep, limit=_PURGE_LIMIT)
        note(connection, *of_purge(Act.PURGE_LOG, deleted))
    return deleted


def of_purge(act: Act, count: int) -> list[Line]:
    """Give the line of what was forgotten, of all accounts; none where that was nothing."""
    return [Line(None, SYSTEM, act, count=count)] if count else []
