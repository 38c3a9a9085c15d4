"""List items from where a batch says they are, for a moment at a time, page by page.

What is read of S3 is bounded whatever the size of the source: a piece of a manifest, a thousand keys of a prefix.
"""

import logging
import time

from app.errors import InvalidParameter, ServiceError, ServiceUnavailable
from app.services.batch_expansion import Listing, Page
from workers.runtime import Runtime

log = logging.getLogger(__name__)

#: A thread lists this long before it works on items again.
_LISTING_SECONDS = 1.0


def list_some(runtime: Runtime) -> bool:
    """Write some pages of a batch that is to be listed; False where there is none."""
    listing = runtime.expansion.take(worker=runtime.worker)
    if listing is None:
        return False
    with runtime.batch_heartbeat.hold(listing):
        try:
            _list(listing, runtime)
        except ServiceUnavailable:
            raise
        except ServiceError as error:
            log.warning("batch_source_failed", extra={"batch_id": listing.batch.batch_id, "code": error.code})
            runtime.expansion.fail(listing, error)
        finally:
            runtime.expansion.release(listing)
    return True


def _list(listing: Listing, runtime: Runtime) -> None:
    deadline = time.monotonic() + _LISTING_SECONDS
    going_on: Listing | None = listing
    while going_on is not None and time.monotonic() < deadline and not runtime.stopping.is_set():
        runtime.batch_heartbeat.advance(listing)
        going_on = runtime.expansion.add(going_on, _page(going_on, runtime))


def _page(listing: Listing, runtime: Runtime) -> Page:
    if "FailedItemsOf" in listing.batch.source:
        return runtime.expansion.failed_items(listing)
    raise InvalidParameter("The source of the batch is not known.")
