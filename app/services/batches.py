"""A batch's life up to its end: submit, look, pause, resume, retry what failed.

As with jobs, a batch exists once its row is committed, and a lost bell costs time only. How items and batches end is told in
`app.services.batch_outcomes`.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy.engine import Connection

from app.broker import Doorbell
from app.db import batch_items as items
from app.db import batch_leases as leases
from app.db import batch_sweeps as sweeps
from app.db import batches as rows
from app.db.session import Database
from app.domain.audit import OPERATOR, Act, Actor
from app.domain.batches import CHUNK, MAX_OPEN_BATCHES, PAGE, Batch, BatchStatus, Chunk, NewItem
from app.domain.jobs import RING_AGAIN, Company, Lane
from app.errors import (
    BatchNotFound,
    Conflict,
    IdempotentParameterMismatch,
    ProvisionedThroughputExceeded,
    ServiceUnavailable,
    ValidationError,
)
from app.services import audit, batch_audit

#: Bells that a batch rings at most at once: each that finds work rings another.
BELLS = 4

#: Batches that one sweep rings for at most.
_SWEEP_LIMIT = 64


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What a caller wants done to many items, and where these come from."""

    account_id: int
    operation: str
    defaults: dict[str, Any]
    source: Mapping[str, Any] = field(default_factory=dict)
    region: str | None = None
    idempotency_key: str | None = None
    webhook_url: str | None = None
    webhook_endpoint_id: uuid.UUID | None = None
    tells_endpoints: bool = False
    caller_metadata: Mapping[str, str] | None = None
    retry_of: uuid.UUID | None = None
    actor: Actor = OPERATOR

    @property
    def fingerprint(self) -> str:
        """What a repeated submit under the same key must have in common with the first."""
        parts = [self.operation, self.defaults, dict(self.source), self.webhook_url, self.caller_metadata]
        parts += [str(self.webhook_endpoint_id), str(self.retry_of)]
        return json.dumps(parts, sort_keys=True, separators=(",", ":"))

    def values(self, status: BatchStatus) -> dict[str, Any]:
        """Give the columns of its row."""
        return {
            "account_id": self.account_id,
            "operation": self.operation,
            "defaults": self.defaults,
            "source": dict(self.source),
            "region": self.region,
            "status": status.value,
            "actor": self.actor.stored(),
            "webhook_url": self.webhook_url,
            "webhook_endpoint_id": self.webhook_endpoint_id,
            "tells_endpoints": self.tells_endpoints,
            "caller_metadata": dict(self.caller_metadata) if self.caller_metadata else None,
            "retry_of": self.retry_of,
        }


def submit(
    database: Database, doorbell: Doorbell, new: NewBatch, inline: Sequence[NewItem] | None = None
) -> tuple[Batch, bool]:
    """Commit a batch and ring for it; with a known idempotency key give the batch of the first time and True.

    Without inline items they are listed from the batch's source, by the workers.
    """
    request_hash = _request_hash(new, inline)
    status = BatchStatus.EXPANDING if inline is None else BatchStatus.IN_PROGRESS
    values = {**new.values(status), "idempotency_key": new.idempotency_key, "request_hash": request_hash}
    with database.transaction() as connection:
        batch = rows.insert(connection, {**values, "total": len(inline or ())})
        if batch is None:
            return replay(connection, new, request_hash), True
        check_quota(connection, new.account_id)
        if inline is not None:
            _insert_pages(connection, batch, inline)
        audit.note(connection, batch_audit.of_batch(batch, new.actor, Act.SUBMIT_BATCH))
    doorbell.ring(Lane.BULK, min(BELLS, 1 + len(inline or ()) // CHUNK))
    return batch, False


def _request_hash(new: NewBatch, inline: Sequence[NewItem] | None) -> bytes:
    digest = hashlib.sha256(new.fingerprint.encode())
    for item in inline or ():
        digest.update(json.dumps([item.custom_id, item.input], sort_keys=True).encode())
    return digest.digest()


def _insert_pages(connection: Connection, batch: Batch, inline: Sequence[NewItem]) -> None:
    for start in range(0, len(inline), PAGE):
        insert_all(connection, batch.batch_id, inline[start : start + PAGE])


def insert_all(connection: Connection, batch_id: str, page: Sequence[NewItem]) -> None:
    """Queue a page of items; raise ValidationError where the batch has a CustomId already."""
    written = items.insert(connection, batch_id, page)
    for item in page:
        if item.item_no not in written:
            raise ValidationError(f"Item {item.item_no}: the CustomId {item.custom_id} is used twice.")


def check_quota(connection: Connection, account_id: int) -> None:
    """Raise ProvisionedThroughputExceeded where an account has more open batches than it may have."""
    if rows.count_open(connection, account_id) > MAX_OPEN_BATCHES:
        raise ProvisionedThroughputExceeded(
            f"The account has {MAX_OPEN_BATCHES} batches that have not ended, as many as it may have."
        )


def replay(connection: Connection, new: NewBatch, request_hash: bytes) -> Batch:
    """Give the batch that was submitted under the key of a new one; raise where that was another request."""
    key = str(new.idempotency_key)
    batch = rows.find_by_key(connection, new.account_id, key)
    if batch is None:
        raise ServiceUnavailable  # it was deleted between our insert and this look
    if batch.request_hash != request_hash:
        raise IdempotentParameterMismatch(key.partition(":")[2])  # without our own prefix
    return batch


def get(database: Database, account_id: int, batch_id: str) -> Batch:
    """Read a batch of an account, or raise BatchNotFound."""
    with database.statement() as connection:
        return _found(rows.find(connection, account_id, _checked(batch_id)), batch_id)


def _checked(batch_id: str) -> str:
    try:
        return str(uuid.UUID(batch_id))
    except ValueError as error:
        raise BatchNotFound(batch_id) from error


def _found(batch: Batch | None, batch_id: str) -> Batch:
    if batch is None:
        raise BatchNotFound(batch_id)
    return batch


def list_page(database: Database, account_id: int, *, before: uuid.UUID | None, limit: int) -> list[Batch]:
    """List batches of an account, newest first."""
    with database.statement() as connection:
        return rows.list_page(connection, account_id, before=before, limit=limit)


def pause(database: Database, batch: Batch, actor: Actor = OPERATOR) -> Batch:
    """Let no further item be started; what runs ends first. Raises Conflict where the batch has ended."""
    if batch.status is BatchStatus.UPLOADING:
        raise Conflict("The items of the batch are still being uploaded.")
    with database.transaction() as connection:
        paused = _changed(rows.pause(connection, batch.batch_id))
        audit.note(connection, batch_audit.of_batch(batch, actor, Act.PAUSE_BATCH))
    return paused


def resume(database: Database, doorbell: Doorbell, batch: Batch, actor: Actor = OPERATOR) -> Batch:
    """Let items be started again; raises Conflict where the batch has ended."""
    with database.transaction() as connection:
        resumed = _changed(rows.resume(connection, batch.batch_id))
        audit.note(connection, batch_audit.of_batch(batch, actor, Act.RESUME_BATCH))
    doorbell.ring(Lane.BULK, BELLS)
    return resumed


def _changed(batch: Batch | None) -> Batch:
    if batch is None:
        raise Conflict("The batch has ended.")
    return batch


def retry_failed(
    database: Database, doorbell: Doorbell, batch: Batch, *, idempotency_key: str | None, actor: Actor = OPERATOR
) -> tuple[Batch, bool]:
    """Submit what failed of a batch that has ended once more, as a new batch; raise Conflict where nothing did."""
    if not batch.done:
        raise Conflict("The batch has not ended; what failed of it can be retried when it has.")
    if not batch.failed:
        raise Conflict("No item of the batch failed.")
    new = NewBatch(
        account_id=batch.account_id,
        operation=batch.operation,
        defaults=batch.defaults,
        source={"FailedItemsOf": batch.batch_id},
        region=batch.region,
        idempotency_key=idempotency_key,
        webhook_url=batch.webhook_url,
        webhook_endpoint_id=batch.webhook_endpoint_id,
        tells_endpoints=batch.tells_endpoints,
        caller_metadata=batch.caller_metadata,
        retry_of=uuid.UUID(batch.batch_id),
        actor=actor,
    )
    return submit(database, doorbell, new)


def claim(database: Database, company: Company, *, most: int, worker: str) -> Chunk | Company | None:
    """Take items of the batch whose turn it is, or None where there are none; where they run in another company, give that."""
    with database.statement() as connection:
        return items.claim(connection, company, most=most, worker=worker)


class Leased(Protocol):
    """A chunk of a batch, or the reading of its source."""

    @property
    def key(self) -> tuple[str, int]: ...


def renew(database: Database, held: Sequence[Leased]) -> set[tuple[str, int]]:
    """Show that the worker of these leases is alive; give the keys of those that are not to go on."""
    with database.statement() as connection:
        halted = leases.renew(connection, [work.key[1] for work in held])
    return {work.key for work in held if work.key[1] in halted}


def ring_again(database: Database, doorbell: Doorbell) -> None:
    """Ring for every batch with work that no worker took for a while."""
    with database.transaction() as connection:
        waiting = sweeps.unheard(connection, silence=RING_AGAIN, limit=_SWEEP_LIMIT)
    doorbell.ring(Lane.BULK, waiting)


def purge(database: Database) -> int:
    """Delete a page of a batch past its retention; give how many items, and one for a batch that had none left."""
    with database.transaction() as connection:
        batch_id = sweeps.lock_doomed(connection)
        if batch_id is None:
            return 0
        deleted = 1 + sweeps.delete(connection, batch_id, limit=PAGE)
        audit.note(connection, *audit.of_purge(Act.PURGE_BATCHES, deleted))
    return deleted
