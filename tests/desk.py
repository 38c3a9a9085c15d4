"""A desk to work on jobs from: the product's own services on real servers, and a clock that can be moved.

Nothing waits for time to pass. `elapse` moves every stored moment back instead, which is the same to a product whose only
clock is Postgres's now().
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from app.broker import Doorbell
from app.db import schema
from app.db.session import Database
from app.domain.jobs import Claim, Company, Job, Lane
from app.errors import InternalServerError, ServiceError
from app.services import jobs
from app.services.outcomes import Outcomes
from tests.factories import Account, make_submission

#: Everything that hangs on a job.
JOB_TABLES = (
    schema.jobs,
    schema.job_attempts,
    schema.blobs,
    schema.events,
    schema.deliveries,
    schema.delivery_attempts,
)
#: Besides them, what has a time of its own.
TIMED_TABLES = (*JOB_TABLES, schema.receivers, schema.webhook_endpoints, schema.webhook_secrets)
WEBHOOK_URL = "https://example.com/hook"


def elapse(database: Database, seconds: float) -> None:
    """Let time pass for all jobs, what hangs on them, and those who are told of them."""
    with database.transaction() as connection:
        # Moving the clock is no change of a job, so the trigger that refuses changes of finished ones is off meanwhile.
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for table in TIMED_TABLES:
            moments = [column for column in table.c if isinstance(column.type, sa.DateTime)]
            if moments:
                earlier = {column.key: column - timedelta(seconds=seconds) for column in moments}
                connection.execute(sa.update(table).values(earlier))


@dataclass
class Desk:
    """Submits, claims and ends jobs of one account, on a database without any other job."""

    database: Database
    doorbell: Doorbell
    account: Account

    def __post_init__(self) -> None:
        self.outcomes = Outcomes(self.database, self.doorbell, keep=timedelta(days=30))

    def submit(self, **changes: Any) -> Job:
        job, _ = jobs.submit(self.database, self.doorbell, make_submission(self.account.account_id, **changes))
        return job

    def claim(self, lane: str = Lane.INTERACTIVE, *, worker: str = "worker") -> Claim:
        claim = self.find_work(lane, worker=worker)
        assert claim is not None, "there is nothing to claim"
        return claim

    def find_work(self, lane: str = Lane.INTERACTIVE, *, worker: str = "worker") -> Claim | None:
        """Claim what is next, in whichever company it runs."""
        found = self.look_for_work(Company.BESIDE, lane, worker=worker)
        while isinstance(found, Company):
            found = self.look_for_work(found, lane, worker=worker)
        return found

    def look_for_work(
        self, company: Company, lane: str = Lane.INTERACTIVE, *, worker: str = "worker"
    ) -> Claim | Company | None:
        limits = {"run_timeout": timedelta(seconds=60), "most_running": 1000}
        return jobs.claim(self.database, lane, company, worker=worker, **limits)

    def retry(self, claim: Claim, error: ServiceError | None = None) -> bool:
        """End an attempt with an error that may pass, one of ours where none is given."""
        return self.outcomes.retry(claim, error or InternalServerError())

    def renew(self, *claims: Claim) -> set[tuple[str, int]]:
        return jobs.renew(self.database, list(claims))

    def get(self, job_id: str) -> Job:
        return jobs.get(self.database, self.account.account_id, job_id)

    def elapse(self, seconds: float) -> None:
        elapse(self.database, seconds)

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        """Read a whole table."""
        (rows,) = self.tables(table)
        return rows

    def tables(self, *tables: sa.Table) -> list[list[dict[str, Any]]]:
        """Read whole tables."""
        with self.database.transaction() as connection:
            return [[dict(row) for row in connection.execute(sa.select(table)).mappings()] for table in tables]

    def change(self, statement: sa.Executable) -> None:
        with self.database.transaction() as connection:
            connection.execute(statement)

    def everything(self) -> list[list[dict[str, Any]]]:
        """Read all that hangs on jobs, to compare it before and after."""
        return [sorted(rows, key=repr) for rows in self.tables(*JOB_TABLES)]

    def attempts(self) -> list[str | None]:
        """List how the attempts ended, in the order of their leases."""
        return [row["outcome"] for row in sorted(self.rows(schema.job_attempts), key=lambda row: row["lease"])]
