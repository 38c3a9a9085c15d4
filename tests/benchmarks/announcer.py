"""Events for webhook benchmarks: written as the end of a job writes them, at a rate, with a bell for each."""

import base64
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from app.broker import Doorbell, create_celery
from app.db import schema
from app.db.session import Database
from app.domain.jobs import Lane
from app.domain.webhook_events import message
from app.encryption import Cipher
from app.services.endpoints import Endpoints
from tests.live import LiveStack

#: About as large as the result of a search with three matches.
_DATA = {"Operation": "SearchFacesByImage", "Status": "SUCCEEDED", "Result": {"FaceMatches": ["x" * 500] * 3}}


@dataclass(frozen=True)
class Endpoint:
    """An endpoint of the stack's first account."""

    endpoint_id: uuid.UUID
    url: str
    secret: str


class Announcer:
    """Writes events of a stack's first account."""

    def __init__(self, live: LiveStack, database: Database, doorbell: Doorbell) -> None:
        self._database = database
        self._doorbell = doorbell
        self._cipher = Cipher(base64.b64decode(live.stack.variables["REKOLLECT_SECRET_KEY"]))
        ((self._account_id,),) = live.query("SELECT account_id FROM accounts")

    def endpoint(self, url: str) -> Endpoint:
        """Make an endpoint."""
        shown, secret = Endpoints(self._database, self._cipher).create(self._account_id, {"url": url})
        return Endpoint(uuid.UUID(shown["EndpointId"]), url, secret)

    def announce(self, count: int, *, per_second: float, whom: Callable[[int], Endpoint]) -> float:
        """Write so many events when their time has come; give the seconds that it took."""
        began, written = time.perf_counter(), 0
        while written < count:
            due = min(count, int((time.perf_counter() - began) * per_second) + 1)
            self._write([whom(number) for number in range(written, due)])
            self._doorbell.ring(Lane.WEBHOOKS, due - written)
            written = due
            time.sleep(max(0.0, began + written / per_second - time.perf_counter()))
        return time.perf_counter() - began

    def _write(self, receivers: Sequence[Endpoint]) -> None:
        """Write an event for each of these endpoints, in two statements: what is measured is not the writing."""
        events, deliveries = [], []
        for to in receivers:
            mine = {"event_id": f"evt_{uuid.uuid4().hex}", "account_id": self._account_id}
            body = message("job.succeeded", "2026-01-01T00:00:00.000Z", {"JobId": mine["event_id"], **_DATA})
            events.append({**mine, "type": "job.succeeded", "body": body})
            deliveries.append(
                {**mine, "receiver": str(to.endpoint_id), "endpoint_id": to.endpoint_id, "url": to.url},
            )
        with self._database.transaction() as connection:
            connection.execute(sa.insert(schema.events), events)
            connection.execute(sa.insert(schema.deliveries), deliveries)


@contextmanager
def announcer(live: LiveStack) -> Iterator[Announcer]:
    """Open what an announcer needs."""
    database = Database(live.database_url, pool_size=1)
    celery = create_celery(live.stack.variables["REKOLLECT_REDIS_URL"])
    try:
        yield Announcer(live, database, Doorbell(celery))
    finally:
        celery.close()
        database.close()
