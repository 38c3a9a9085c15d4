"""An open loop of requests: so many a second, sent when their time has come, whether the earlier ones were answered or not."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.live import LiveStack


@dataclass
class Load:
    """What was sent and what came back; latency counts from the moment at which a request should have been sent."""

    milliseconds: list[float] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        return float(np.percentile(self.milliseconds, share))

    def statuses(self) -> dict[int, int]:
        found = [status for status, *_ in self.answers]
        return {status: found.count(status) for status in sorted(set(found))}


def submit_at_a_rate(
    live: LiveStack, body: Callable[[int], dict[str, Any]], *, per_second: float, seconds: float, callers: int = 16
) -> Load:
    """Submit jobs from a number of callers, each with a connection of its own that is kept alive."""
    load, lock, began = Load(), threading.Lock(), time.perf_counter() + 0.1
    numbers = iter(range(int(per_second * seconds)))

    def call() -> None:
        connection = http.client.HTTPConnection(live.stack.host, live.stack.port, timeout=60)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            due = began + number / per_second
            time.sleep(max(0.0, due - time.perf_counter()))
            answer = _submit(connection, live.key.api_key, json.dumps(body(number)))
            with lock:
                load.milliseconds.append((time.perf_counter() - due) * 1000)
                load.answers.append(answer)
        connection.close()

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return load


def _submit(connection: http.client.HTTPConnection, api_key: str, body: str) -> tuple[int, dict[str, str], bytes]:
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/jobs", body, headers)
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
