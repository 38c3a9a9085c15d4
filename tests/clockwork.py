"""Schedules to test with: those of one account, a clock that can be moved, and runs from claim to end.

Nothing else comes due or is claimed meanwhile.
"""

import uuid
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from app.db import schema
from app.db.session import Database
from app.db.ticks import TickClaim
from app.services import schedules, ticks
from app.services.ticks import Progress
from tests.factories import Account

HOURLY = {
    "name": "check",
    "kind": "INTEGRITY",
    "cron": "0 * * * *",
    "timezone": "UTC",
    "catch_up": "ALL",
    "settings": {},
    "enabled": True,
}


class Clockwork:
    """The schedules of one account."""

    def __init__(self, database: Database, account: Account) -> None:
        self.database = database
        self.account = account

    def make(self, **changes: Any) -> str:
        document = schedules.create(self.database, self.account.account_id, {**HOURLY, **changes})
        return str(document["ScheduleId"])

    def show(self, schedule_id: str) -> Any:
        return schedules.get(self.database, self.account.account_id, schedule_id)

    def elapse(self, interval: timedelta) -> None:
        """Let time pass for schedules and ticks."""
        with self.database.transaction() as connection:
            for table in (schema.schedules, schema.ticks):
                moments = [column for column in table.c if isinstance(column.type, sa.DateTime)]
                connection.execute(sa.update(table).values({column.key: column - interval for column in moments}))

    def sweep(self) -> int:
        return schedules.make_ticks(self.database)

    def ticks(self, schedule_id: str) -> list[dict[str, Any]]:
        mine = schema.ticks.c.schedule_id == uuid.UUID(schedule_id)
        with self.database.transaction() as connection:
            found = connection.execute(sa.select(schema.ticks).where(mine).order_by(schema.ticks.c.due_at))
            return [dict(row) for row in found.mappings()]

    def claim(self) -> TickClaim:
        held = ticks.claim(self.database)
        assert held is not None, "there is nothing to claim"
        return held

    def finish(self, held: TickClaim, **result: Any) -> Progress | None:
        return ticks.advance(self.database, held, lambda connection: Progress(None, result))


def clear(database: Database) -> None:
    """Leave only the built-in schedules, and let them not come due."""
    built_in = schema.schedules.c.account_id.is_(None)
    with database.transaction() as connection:
        connection.execute(sa.delete(schema.schedules).where(~built_in))
        connection.execute(sa.delete(schema.ticks))
        later = sa.func.now() + timedelta(days=3650)
        connection.execute(sa.update(schema.schedules).where(built_in).values(next_due_at=later))
