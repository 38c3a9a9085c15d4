"""Webhook deliveries: the retry schedule and the limits of a message (Standard Webhooks 1.0)."""

import re
from datetime import timedelta

#: Pauses before attempt 2, 3, …: the specification's example schedule, ten attempts over about 76 hours.
RETRY_SCHEDULE = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
MAX_ATTEMPTS = len(RETRY_SCHEDULE) + 1

#: Every pause is stretched or shortened by up to this share, so that a thousand failures do not come back at once.
JITTER = 0.2

#: Above this size a message carries a reference to the job instead of its result.
MAX_BODY_BYTES = 20_000

#: A courier that took a delivery and died leaves it; after this long another may take it.
LEASE = timedelta(seconds=60)

#: An attempt row keeps this much of the receiver's answer.
KEPT_ANSWER_BYTES = 4096


def pause_before(attempt: int, chance: float) -> timedelta | None:
    """Give the pause before an attempt (2, 3, …), or None when the schedule is used up; `chance` is in 0..1."""
    if attempt > MAX_ATTEMPTS:
        return None
    return RETRY_SCHEDULE[attempt - 2] * (1 - JITTER + 2 * JITTER * chance)


def origin(url: str) -> str:
    """Give scheme, host and port of a checked URL as written: what stands for the receiver of a job's own webhook."""
    found = re.match(r"[^/]*//[^/?#]*", url)
    return url if found is None else found[0].lower()
