"""Receive the items of a batch as lines of JSON: never more than a page in memory or in one transaction.

Nothing of an upload is begun before all of it is there and was found right; one that breaks off or holds a wrong line leaves
nothing. Its idempotency key counts from then on, because only then is known what was asked.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator

from app.broker import Doorbell
from app.db import batches as rows
from app.db.session import Database
from app.domain.audit import Act
from app.domain.batches import MAX_ITEMS, MAX_LINE_BYTES, PAGE, Batch, BatchStatus, NewItem
from app.domain.jobs import Lane
from app.errors import Conflict, ServiceError, ServiceUnavailable, ValidationError
from app.services import audit, batch_audit, batches
from app.services.batch_intake import Intake
from app.services.batch_outcomes import BatchOutcomes
from app.services.batches import NewBatch

#: A slow upload shows at least this often that it goes on.
_TOUCH_SECONDS = 20.0


class Uploads:
    """Turns lines into batches."""

    def __init__(self, database: Database, doorbell: Doorbell, outcomes: BatchOutcomes) -> None:
        self._database = database
        self._doorbell = doorbell
        self._outcomes = outcomes

    def receive(self, new: NewBatch, intake: Intake, lines: Iterable[tuple[int, bytes]]) -> tuple[Batch, bool]:
        """Commit a batch of numbered lines and ring for it; with a known idempotency key give the first time's and True."""
        digest = hashlib.sha256(new.fingerprint.encode())
        if self._is_known(new):
            for _, line in lines:
                digest.update(line)
            return self._replay(new, digest.digest())
        batch_id = self._begin(new)
        try:
            self._add_all(batch_id, intake, _hashed(lines, digest))
            batch = self._activate(new, batch_id, digest.digest())
        except BaseException:  # the client may have hung up, or the server is stopping
            self._outcomes.discard(batch_id)
            raise
        if batch is None:
            self._outcomes.discard(batch_id)
            return self._replay(new, digest.digest())
        self._doorbell.ring(Lane.BULK, batches.BELLS)
        return batch, False

    def _is_known(self, new: NewBatch) -> bool:
        if new.idempotency_key is None:
            return False
        with self._database.statement() as connection:
            return rows.find_by_key(connection, new.account_id, new.idempotency_key) is not None

    def _replay(self, new: NewBatch, request_hash: bytes) -> tuple[Batch, bool]:
        with self._database.statement() as connection:
            return batches.replay(connection, new, request_hash), True

    def _begin(self, new: NewBatch) -> str:
        with self._database.transaction() as connection:
            batch = rows.insert(connection, new.values(BatchStatus.UPLOADING))
            batches.check_quota(connection, new.account_id)
        if batch is None:
            raise ServiceUnavailable
        return batch.batch_id

    def _add_all(self, batch_id: str, intake: Intake, lines: Iterable[tuple[int, bytes]]) -> None:
        count, page, added_at = 0, list[NewItem](), time.monotonic()
        for line_no, line in lines:
            if not line.strip():
                continue
            count += 1
            page.append(_read(intake, count, line, line_no))
            if len(page) == PAGE or time.monotonic() - added_at > _TOUCH_SECONDS:
                self._add(batch_id, page)
                page, added_at = [], time.monotonic()
        if page:
            self._add(batch_id, page)
        if count == 0:
            raise ValidationError("The upload holds no items.")

    def _add(self, batch_id: str, page: list[NewItem]) -> None:
        if page[-1].item_no > MAX_ITEMS:
            raise ValidationError(f"A batch has at most {MAX_ITEMS} items.")
        with self._database.transaction() as connection:
            batches.insert_all(connection, batch_id, page)
            if rows.touch(connection, batch_id, added=len(page)) is None:
                raise Conflict("The upload was taken for broken off. Send it again.")

    def _activate(self, new: NewBatch, batch_id: str, request_hash: bytes) -> Batch | None:
        with self._database.transaction() as connection:
            batch = rows.activate(connection, batch_id, idempotency_key=new.idempotency_key, request_hash=request_hash)
            if batch is not None:
                audit.note(connection, batch_audit.of_batch(batch, new.actor, Act.SUBMIT_BATCH))
        return batch


def _hashed(lines: Iterable[tuple[int, bytes]], digest: "hashlib._Hash") -> Iterator[tuple[int, bytes]]:
    for line_no, line in lines:
        digest.update(line)
        yield line_no, line


def _read(intake: Intake, item_no: int, line: bytes, line_no: int) -> NewItem:
    if len(line) > MAX_LINE_BYTES:
        raise ValidationError(f"Line {line_no} is longer than {MAX_LINE_BYTES} bytes.")
    try:
        return intake.read_line(item_no, line)
    except ServiceError as error:
        error.message = f"Line {line_no}: {error.message}"
        raise
