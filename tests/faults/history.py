"""What clients saw: every call with its times, and whether its outcome is known.

An answer that never came, or that told of a fault of the server, leaves open whether the job exists: such a call is *unknown*
and is made again under the same key until it is known. What is accepted must be there, what was refused must not.
"""

import threading
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the key that it was made under, monotonic times in seconds, and `ok`, `fail` or `unknown`."""

    key: str
    began: float
    ended: float
    outcome: str
    status: int  # 0 where no answer came
    job_id: str = ""


class History:
    """All calls of all clients; threads share one."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._lock = threading.Lock()

    def note(self, call: Call) -> None:
        with self._lock:
            self.calls.append(call)

    def accepted(self) -> dict[str, set[str]]:
        """Give the job ids that were answered under each key; more than one is a fault."""
        found: dict[str, set[str]] = {}
        for call in list(self.calls):
            if call.outcome == "ok":
                found.setdefault(call.key, set()).add(call.job_id)
        return found

    def open_keys(self) -> set[str]:
        """List keys of which nobody knows yet what came of them."""
        return {call.key for call in self.calls} - self.accepted().keys()

    def outcomes(self) -> dict[str, int]:
        """Count the calls by outcome and status."""
        return dict(sorted(Counter(f"{call.outcome} {call.status}" for call in self.calls).items()))

    def milliseconds(self, share: float) -> float:
        """Give the percentile of the time to an answer of the calls that succeeded."""
        times = sorted((call.ended - call.began) * 1000 for call in self.calls if call.outcome == "ok")
        return times[min(len(times) - 1, int(len(times) * share / 100))] if times else 0.0
