"""Clients under way while faults happen: each submits jobs at its pace and repeats what it does not know the outcome of."""

import base64
import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from tests.faults.history import Call, History
from tests.live import Client

#: A client hears nothing for this long and gives up on the call, not on the job.
_PATIENCE_SECONDS = 15.0

Work = Callable[[int], tuple[str, dict[str, Any]]]


class Customers:
    """Threads that submit `jobs` jobs at a rate; a `with` block starts and joins them."""

    def __init__(
        self, client: Client, work: Work, *, jobs: int, per_second: float, hook: str, seed: int, threads: int = 8
    ) -> None:
        self.history = History()
        self._client, self._work, self._hook = client, work, hook
        self._rate, self._jobs, self._seed = per_second, jobs, seed
        self._numbers = self._count()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(place,)) for place in range(threads)]

    def __enter__(self) -> "Customers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        if failure is not None:
            self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def busy(self) -> bool:
        """Tell whether somebody still has something to submit."""
        return any(thread.is_alive() for thread in self._threads)

    def hurry(self) -> None:
        """Begin nothing more; what is under way is repeated until its outcome is known."""
        with self._lock:
            self._numbers = iter(())

    def _count(self) -> Iterator[int]:
        began = time.monotonic()
        for number in range(self._jobs):
            yield number
            time.sleep(max(0.0, began + number / self._rate - time.monotonic()))

    def _run(self, place: int) -> None:
        chance = random.Random(f"{self._seed}/{place}")
        connection = Connection(self._client)
        while not self._stop.is_set():
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                break
            self._submit(connection, number, chance)
        connection.close()

    def _submit(self, connection: "Connection", number: int, chance: random.Random) -> None:
        """Make a call until its outcome is known."""
        operation, input_ = self._work(number)
        key = f"{self._seed}-{number}"
        body = {"Operation": operation, "Input": input_, "Webhook": {"Url": self._hook}, "ClientRequestToken": key}
        content = json.dumps(body, default=lambda raw: base64.b64encode(raw).decode()).encode()
        while not self._stop.is_set():
            call = connection.submit(key, content)
            self.history.note(call)
            if call.outcome == "ok":
                return
            assert call.status not in (400, 401, 403, 404, 422), f"{operation} was refused with {call.status}"
            time.sleep(chance.uniform(0.1, 1.0))


class Connection:
    """One kept-alive connection of a client, made anew whenever it breaks."""

    def __init__(self, client: Client) -> None:
        self._place = urlsplit(client.url).netloc
        self._headers = {"Authorization": f"Bearer {client.key.api_key}", "Content-Type": "application/json"}
        self._http = http.client.HTTPConnection(self._place, timeout=_PATIENCE_SECONDS)

    def submit(self, key: str, content: bytes) -> Call:
        """Make one call and tell what is known of it."""
        began = time.monotonic()
        try:
            self._http.request("POST", "/v1/jobs", content, self._headers)
            answer = self._http.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            self._http.close()
            return Call(key, began, time.monotonic(), "unknown", 0)
        if answer.status in (200, 202):
            return Call(key, began, time.monotonic(), "ok", answer.status, json.loads(body)["JobId"])
        outcome = "fail" if answer.status < 500 else "unknown"
        return Call(key, began, time.monotonic(), outcome, answer.status)

    def close(self) -> None:
        self._http.close()
