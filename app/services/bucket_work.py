"""The workers' part of what is to be done about buckets: claimed under a lease, got on with step by step.

A step is one short transaction, fenced by the lease; whoever claims the work next goes on from the last one that was committed.
"""

import logging
import time

from app.broker import Doorbell
from app.db import bucket_work as rows
from app.db.session import Database, Row
from app.domain.buckets import PAUSE, BucketWorkKind
from app.domain.jobs import Lane
from app.errors import ServiceUnavailable
from app.services import clearing
from app.services.growth import Growth

log = logging.getLogger(__name__)

#: One turn; then other bulk work has its own.
_TURN_SECONDS = 0.5


class BucketWork:
    """Hands out the work and does it."""

    def __init__(self, database: Database, doorbell: Doorbell, growth: Growth) -> None:
        self._database = database
        self._doorbell = doorbell
        self._growth = growth

    def find(self) -> None:
        """Note which collections are to grow, and ring for what nobody does."""
        with self._database.transaction() as connection:
            self._growth.find(connection)
            is_waiting = rows.any_waiting(connection)
        if is_waiting:
            self._doorbell.ring(Lane.BULK)

    def run(self) -> bool:
        """Take a turn at what has waited the longest; False where there is nothing to do now."""
        with self._database.transaction() as connection:
            claimed = rows.claim(connection)
        if claimed is None:
            return False
        try:
            self._run(claimed)
        except ServiceUnavailable as error:  # a lock that is held too long, or Postgres is away
            log.warning("bucket_work_waits", exc_info=error, extra={"collection_id": claimed.collection_id})
            self._give_back(claimed, failed=True)
        except Exception as error:  # other bulk work goes on, whatever it was; this is tried again
            log.error("bucket_work_failed", exc_info=error, extra={"collection_id": claimed.collection_id})
            self._give_back(claimed, failed=True)
        else:
            self._give_back(claimed)
        return True

    def _run(self, claimed: Row) -> None:
        deadline = time.monotonic() + _TURN_SECONDS
        while self._step(claimed):
            if time.monotonic() > deadline:
                return
        clearing.drop_unused(self._database, claimed.collection_id)

    def _step(self, claimed: Row) -> bool:
        if claimed.kind == BucketWorkKind.CLEAR:
            return clearing.step(self._database, claimed)
        with self._database.transaction() as connection:
            return self._growth.step(connection, claimed)

    def _give_back(self, claimed: Row, *, failed: bool = False) -> None:
        """Let others have their turn; work that is done is not there any more."""
        with self._database.transaction() as connection:
            rows.give_back(connection, claimed, pause=PAUSE if failed else PAUSE * 0)
