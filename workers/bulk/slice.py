"""A slice: what one thread does of bulk work before it listens for bells again.

Bells wake as many threads as may work: each that finds work rings for another one, and when the slice is over for itself. A
bell too many finds no free slot, and is forgotten.
"""

import time
from collections.abc import Callable

from app.domain.batches import CHUNK, Chunk
from app.domain.jobs import Lane
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
        chunk = batches.claim(runtime.database, most=CHUNK, worker=runtime.worker)
        if chunk is not None:
            _run_chunk(chunk, runtime, ring=not worked)
        moved = reprocess.step(runtime, ring=not (worked or chunk))
        grew = runtime.bucket_work.run()
        if not (ran or listed or chunk or moved or grew):
            return worked
        worked = True
        if time.monotonic() > deadline:
            break
    runtime.doorbell.ring(Lane.BULK)
    return worked


def _run_chunk(chunk: Chunk, runtime: Runtime, *, ring: bool) -> None:
    if ring:
        runtime.doorbell.ring(Lane.BULK)
    failpoint("after_batch_claim")
    chunks.run(chunk, runtime)
