"""What the handlers of one web process share: the database, the doorbell, the waiting room, and who may call."""

from dataclasses import dataclass

from flask import current_app

from app.broker import Doorbell
from app.config import Settings
from app.db.session import Database
from app.encryption import Cipher
from app.rate_limits import RateLimiter
from app.services.admission import Admission
from app.services.batch_outcomes import BatchOutcomes
from app.services.outcomes import Outcomes
from app.services.waiting import Waiting

_KEY = "rekollect"


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that outlives a request."""

    settings: Settings
    database: Database
    doorbell: Doorbell
    admission: Admission
    outcomes: Outcomes
    batch_outcomes: BatchOutcomes
    waiting: Waiting
    cipher: Cipher
    rate_limiter: RateLimiter


def install(extensions: dict[str, object], context: Context) -> None:
    """Make the context known to an application."""
    extensions[_KEY] = context


def context() -> Context:
    """Give the context of the application that serves this request."""
    found = current_app.extensions[_KEY]
    assert isinstance(found, Context)  # noqa: S101 - narrows the type of Flask's untyped dictionary
    return found
