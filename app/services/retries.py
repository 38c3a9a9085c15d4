"""What is tried again, after which pause, and how a failure is told that remained: for jobs as for items of batches."""

from datetime import timedelta

from app.domain.jobs import FETCH_PAUSES, RETRY_PAUSES, Lane
from app.errors import InternalServerError, ServiceError, SourceAway


def pause(error: ServiceError, lane: Lane, *, tries: int) -> timedelta | None:
    """Say how long after a failure the next try is, where there were so many; None where there is to be none."""
    if not error.retryable:
        return None
    pauses: tuple[timedelta, ...] = RETRY_PAUSES
    if isinstance(error, SourceAway):
        pauses = FETCH_PAUSES if lane == Lane.BULK else ()
    return pauses[tries - 1] if tries <= len(pauses) else None


def told(error: ServiceError) -> ServiceError:
    """Give what a caller is told of a failure that remained: of one of ours no details."""
    return InternalServerError() if error.retryable and not isinstance(error, SourceAway) else error
