"""Run a chunk of items: one after the other, ended together.

Between two items the thread sees whether the batch was paused or stopped, the lease lost, the process asked to end or wanted by
one alone; then it gives back what it has not begun.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from app import service_model
from app.domain.batches import Batch, Chunk, Item
from app.domain.jobs import Claim, Lane
from app.errors import InternalServerError, ServiceError, ServiceUnavailable
from app.services import batches
from app.services.batch_outcomes import Ended
from app.services.outcomes import Complete
from workers.insist import insist
from workers.jobs import kinds
from workers.runtime import Runtime

log = logging.getLogger(__name__)

#: What has ended is written at least this often, so that a chunk of slow pictures shows its progress too; a chunk of quick ones
#: is written once.
_WRITE_SECONDS = 5.0

#: Finished work waits this long for Postgres, or for a lock: there is nothing else to do without it.
_PATIENCE_SECONDS = 600.0


def run(chunk: Chunk, runtime: Runtime) -> None:
    """Run the items of a chunk and end them."""
    waiting = deque(chunk.items)
    ended: list[Ended] = []
    with runtime.batch_heartbeat.hold(chunk):
        written_at = time.monotonic()
        while waiting and not _has_to_stop(chunk, runtime):
            runtime.batch_heartbeat.advance(chunk)
            item = waiting.popleft()
            ended.append(Ended(item, _attempt(chunk, item, runtime)))
            if waiting and time.monotonic() - written_at > _WRITE_SECONDS:
                batch = _write(chunk, ended, (), runtime, last=False)
                ended, written_at = [], time.monotonic()
                if batch is None:
                    return
                if batch.halted:
                    break
        _write(chunk, ended, tuple(waiting), runtime, last=True)


def _has_to_stop(chunk: Chunk, runtime: Runtime) -> bool:
    stops = runtime.stopping.is_set() or runtime.batch_heartbeat.is_stopped(chunk)
    return stops or runtime.places.are_awaited


def _attempt(chunk: Chunk, item: Item, runtime: Runtime) -> Complete | ServiceError:
    """Do the work of one item up to its writes; anything unexpected is logged and counts as an error of ours."""
    name = f"{chunk.batch_id}/{item.item_no}"
    try:
        # What failed when it was read may be tried again, and is refused again here.
        input_ = service_model.check_input(chunk.operation, item.input, extensions=True)
        claim = Claim(
            name,
            chunk.lease,
            item.attempt,
            item.crashes,
            chunk.account_id,
            chunk.operation,
            input_,
            chunk.region,
            Lane.BULK,
        )
        return kinds.run(claim, runtime)
    except ServiceError as error:
        return error
    except Exception as error:  # the edge of the process: the item must end, the others must go on
        log.error("item_crashed", exc_info=error, extra={"item": name})
        return InternalServerError()


def _write(
    chunk: Chunk, ended: Sequence[Ended], given_back: Sequence[Item], runtime: Runtime, *, last: bool
) -> Batch | None:
    """End items in one transaction; None where the lease was lost."""
    try:
        batch = _finish(chunk, ended, given_back, runtime, last=last)
    except ServiceUnavailable:
        raise
    except Exception as error:  # one item's writes must not cost the others theirs
        log.error("chunk_not_written", exc_info=error, extra={"batch_id": chunk.batch_id})
        for one in ended:
            _write_alone(one, lambda some: _finish(chunk, some, (), runtime, last=False))
        batch = _finish(chunk, (), given_back, runtime, last=last)
    if batch is None:
        log.warning("chunk_lease_lost", extra={"batch_id": chunk.batch_id})
    else:
        log.info("items_finished", extra={"batch_id": chunk.batch_id, "items": len(ended)})
    return batch


def _finish(
    chunk: Chunk, ended: Sequence[Ended], given_back: Sequence[Item], runtime: Runtime, *, last: bool
) -> Batch | None:
    """End items as soon as Postgres can; where it could not for so long that the lease was lost, nobody crashed."""
    tries = 0

    def finish() -> Batch | None:
        nonlocal tries
        tries += 1
        runtime.batch_heartbeat.advance(chunk)
        if tries > 1:  # the heartbeat passes over a lease that is being finished
            batches.renew(runtime.database, [chunk])
        return runtime.batch_outcomes.finish(chunk, ended, given_back=given_back, last=last)

    batch = insist(finish, _PATIENCE_SECONDS, stopping=runtime.stopping)
    if batch is None and tries > 1:
        runtime.batch_outcomes.pardon(chunk)
    return batch


def _write_alone(one: Ended, write: Callable[[Sequence[Ended]], object]) -> None:
    try:
        write([one])
    except ServiceUnavailable:
        raise
    except Exception as error:
        log.error("item_not_written", exc_info=error, extra={"item_no": one.item.item_no})
        write([Ended(one.item, InternalServerError())])
