"""Webhook deliveries: the retry schedule and the limits of a message (Standard Webhooks 1.0)."""

import json
import re
from datetime import timedelta
from typing import Any

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

#: A receiver may ask for a longer pause than the schedule's: up to twice the next one, and never longer than this.
LONGEST_PAUSE = timedelta(hours=24)

#: A courier that took a delivery and died leaves it; after this long another may take it.
LEASE = timedelta(seconds=60)

#: An attempt row keeps this much of the receiver's answer.
KEPT_ANSWER_BYTES = 4096


def pause_after(made: int, chance: float, asked: timedelta | None = None) -> timedelta | None:
    """Give the pause after so many attempts of a round, 1 or more, or None where the schedule is used up.

    `chance` in 0..1 spreads the pauses; `asked` is what the receiver asked for.
    """
    if made >= MAX_ATTEMPTS:
        return None
    step = RETRY_SCHEDULE[made - 1]
    pause = step * (1 - JITTER + 2 * JITTER * chance)
    return pause if asked is None else max(pause, min(asked, 2 * step, LONGEST_PAUSE))


def without_result(body: bytes) -> bytes:
    """Give the stored message by reference, with the same bytes every time: the receiver fetches the result itself."""
    message = json.loads(body)
    data = message.get("data")
    if not isinstance(data, dict) or "Result" not in data:
        return body
    message["data"] = {name: value for name, value in data.items() if name != "Result"}
    return encode(message)


def encode(message: dict[str, Any]) -> bytes:
    """Write a message down, in as few bytes as it takes."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def origin(url: str) -> str:
    """Give scheme, host and port of a checked URL as written: what stands for the receiver of a job's own webhook."""
    found = re.match(r"[^/]*//[^/?#]*", url)
    return url if found is None else found[0].lower()
