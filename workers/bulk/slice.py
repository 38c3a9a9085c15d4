"""A slice: what one thread does of bulk work before it listens for bells again.

Bells wake as many threads as may work: each that finds work rings for another one, and when the slice is over for itself. A
bell too many finds no free slot, and is forgotten.
"""

import time
from collections.abc import Callable

from app.domain.batches import CHUNK, Chunk
from app.domain.jobs import Company, Lane
from app.failpoints import failpoint
from app.services import batches
from workers.bulk import chunk as chunks
from workers.bulk import reprocess, sources
from workers.runtime import Runtime

_SLICE_SECONDS = 5.0


def run(runtime: Runtime, *, run_job: Callable[[], bool]) -> bool:
    """Work on jobs, batches, reprocesses and buckets in turns for a while; False where there was nothing or no slot.

    `run_job` runs a job of the bulk lane; it gives False where there is none.
    """
    with runtime.slots.bulk() as taken:
        return taken and _work(runtime, run_job)


def _work(runtime: Runtime, run_job: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _SLICE_SECONDS
    worked = False
    while not runtime.stopping.is_set():
        ran = run_job()
        listed = sources.list_some(runtime)
        chunked = _run_chunk(runtime, ring=not worked)
        moved = reprocess.step(runtime, ring=not (worked or chunked))
        grew = runtime.bucket_work.run()
        if not (ran or listed or chunked or moved or grew):
            return worked
        worked = True
        if time.monotonic() > deadline:
            break
    runtime.doorbell.ring(Lane.BULK)
    return worked


def _run_chunk(runtime: Runtime, *, ring: bool) -> bool:
    def attempt(company: Company) -> bool | Company:
        found = batches.claim(runtime.database, company, most=CHUNK, worker=runtime.worker)
        if not isinstance(found, Chunk):
            return found or False
        if ring:
            runtime.doorbell.ring(Lane.BULK)
        failpoint("after_batch_claim")
        chunks.run(found, runtime)
        return True

    return runtime.places.run(attempt)
