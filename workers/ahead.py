"""Fetch the next picture while the present one is looked at, so that a core never waits for a store that is far away.

For a near one it does not pay: another thread costs more than the wait. What was fetched ahead and is not wanted any more is
forgotten; so little is ever held that a forgotten forget costs no memory.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from app.domain.images import ImageReference, InlineImage
from workers.fetch import Fetcher

#: Pictures that are fetched or held ahead at once, at most; a picture has up to 15 MB.
_MOST = 8

#: Where a fetch takes longer than this, of late and on the average, the next one is begun ahead.
FAR_SECONDS = 0.025
_MEMORY = 0.1  # the weight of the newest fetch in that average


class AheadFetcher:
    """Fetches as a Fetcher does, and ahead. Threads share one."""

    def __init__(self, fetcher: Fetcher, *, threads: int) -> None:
        self._fetcher = fetcher
        self._most = min(threads, _MOST)
        self._pool = ThreadPoolExecutor(self._most, thread_name_prefix="fetch-ahead")
        self._seconds = 0.0
        self._held: dict[ImageReference, Future[bytes]] = {}
        self._lock = threading.Lock()

    def begin(self, reference: ImageReference) -> None:
        """Begin to fetch a picture that `fetch` will be asked for soon, if that pays and not too many are held already."""
        with self._lock:
            if self._seconds > FAR_SECONDS and reference not in self._held and len(self._held) < self._most:
                self._held[reference] = self._pool.submit(self._timed, reference)

    def fetch(self, reference: ImageReference, *, read_blob: Callable[[str], bytes]) -> bytes:
        """Give the bytes, fetched ahead or now; raise what a Fetcher raises."""
        if isinstance(reference, InlineImage):
            return self._fetcher.fetch(reference, read_blob=read_blob)
        begun = self._take(reference)
        # One that waits for a thread, behind what was forgotten and still runs, is fetched here instead.
        return self._timed(reference) if begun is None or begun.cancel() else begun.result()

    def forget(self, reference: ImageReference) -> None:
        """Drop a picture that will not be asked for after all."""
        begun = self._take(reference)
        if begun is not None:
            begun.cancel()

    def _timed(self, reference: ImageReference) -> bytes:
        began = time.monotonic()
        try:
            return self._fetcher.fetch(reference, read_blob=_no_blob)
        finally:
            with self._lock:
                self._seconds += _MEMORY * (time.monotonic() - began - self._seconds)

    def _take(self, reference: ImageReference) -> Future[bytes] | None:
        with self._lock:
            return self._held.pop(reference, None)


def _no_blob(name: str) -> bytes:
    raise LookupError(name)  # only inline images have one
