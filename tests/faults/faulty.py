"""A live stack whose parts tests kill, freeze and wipe, with what must hold afterwards whatever was done."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from app.cli.receiver import Message
from tests.held import HeldServer
from tests.live import LiveStack

COLLECTION = "people"


class FaultyStack:
    """Remembers what it submitted. Its processes are tended only inside `until`, so that elsewhere the dead stay dead."""

    def __init__(self, live: LiveStack, pictures: HeldServer, hooks: HeldServer, probe: bytes) -> None:
        self.live, self.pictures, self.hooks = live, pictures, hooks
        self.probe = {"CollectionId": COLLECTION, "Image": {"Bytes": probe}}
        self.accepted: list[str] = []
        self.expected = self._result_without_faults()

    def _result_without_faults(self) -> Any:
        job = self.finished(self.search())
        assert job["Result"]["FaceMatches"]
        return job["Result"]

    def search(self, **members: Any) -> str:
        """Submit a search with a webhook and give the job's id."""
        return self._accepted("SearchFacesByImage", self.probe, **members)

    def index_held(self, name: str) -> str:
        """Submit an IndexFaces whose picture is held, and wait until a worker is in the middle of it."""
        self.pictures.hold()
        image = {"Url": f"{self.pictures.url}/{name}.jpg"}
        job_id = self._accepted("IndexFaces", {"CollectionId": COLLECTION, "Image": image, "ExternalImageId": name})
        self.until(lambda: self.times_fetched(name) == 1, "a worker fetches the picture")
        return job_id

    def _accepted(self, operation: str, input_: dict[str, Any], **members: Any) -> str:
        answer = self.live.submit(operation, input_, Webhook={"Url": self.hooks.url}, **members)
        assert answer.status == 202, answer.body
        self.accepted.append(answer.json["JobId"])
        return self.accepted[-1]

    def try_search(self, key: str) -> int:
        """Submit a search under an idempotency key and give the status of the answer, good or bad."""
        answer = self.live.submit(
            "SearchFacesByImage", self.probe, Webhook={"Url": self.hooks.url}, ClientRequestToken=key
        )
        if answer.status in (200, 202) and answer.json["JobId"] not in self.accepted:
            self.accepted.append(answer.json["JobId"])
        return answer.status

    def times_fetched(self, name: str) -> int:
        return self.pictures.paths.count(f"/{name}.jpg")

    def until(self, condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
        """Tend the stack, as `rekollect up` does, until the condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
            self.live.stack.tend()
            time.sleep(0.05)

    def finished(self, job_id: str) -> Any:
        """Wait for a job's end, looking at its row: the API may be away."""
        self.until(lambda: self.row(job_id)["done"], f"job {job_id} ends")
        return self.live.call("GET", f"/v1/jobs/{job_id}").json

    def row(self, job_id: str) -> dict[str, Any]:
        """Read what must never change once a job is done."""
        ((status, finished_at, result),) = self.live.query(
            "SELECT status, finished_at, result FROM jobs WHERE job_id = %s", job_id
        )
        return {"status": status, "done": finished_at is not None, "finished_at": finished_at, "result": result}

    def send(self, number: signal.Signals, *names: str) -> list[int]:
        """Send a signal to processes by name; give their ids."""
        pids = [self.live.pids[name] for name in names]
        for pid in pids:
            os.kill(pid, number)
        return pids

    def worker_of(self, job_id: str) -> str:
        """Name the process that runs a job."""
        ((worker,),) = self.live.query(
            "SELECT worker FROM job_attempts WHERE job_id = %s ORDER BY lease DESC LIMIT 1", job_id
        )
        pid = int(worker.rpartition("/")[2])
        return next(name for name, known in self.live.pids.items() if known == pid)

    def let_lease_run_out(self, job_id: str) -> None:
        """Spare the test the seconds until the sweeper takes a silent worker for dead."""
        self.live.query("UPDATE jobs SET heartbeat_at = now() - interval '1 hour' WHERE job_id = %s", job_id)

    def let_deliveries_be_due(self) -> None:
        """Spare the test the minute until a delivery is taken from a silent courier."""
        self.live.query("UPDATE deliveries SET next_attempt_at = now(), leased_until = NULL WHERE status = 'PENDING'")

    def outcomes(self, job_id: str) -> list[str]:
        """List how the attempts of a job ended."""
        rows = self.live.query("SELECT outcome FROM job_attempts WHERE job_id = %s ORDER BY lease", job_id)
        return [outcome for (outcome,) in rows]

    def faces_named(self, external_image_id: str) -> int:
        """Count the stored faces of an index job."""
        ((count,),) = self.live.query("SELECT count(*) FROM faces WHERE external_image_id = %s", external_image_id)
        return int(count)

    def messages_about(self, job_id: str) -> list[Message]:
        """List the webhooks that arrived for a job."""
        return [message for message in self.hooks.messages if json.loads(message.body)["data"]["JobId"] == job_id]

    def assert_sound(self) -> None:
        """Assert what holds after any fault: nothing lost, nothing doubled, nothing left over."""
        live = self.live
        self.until(lambda: not live.query("SELECT 1 FROM jobs WHERE finished_at IS NULL"), "all jobs end")
        self.until(lambda: not live.query("SELECT 1 FROM deliveries WHERE status = 'PENDING'"), "all webhooks arrive")
        jobs = live.query("SELECT job_id::text, operation, result FROM jobs")
        assert sorted(job_id for job_id, *_ in jobs) == sorted(self.accepted)
        for job_id, operation, result in jobs:
            assert operation != "SearchFacesByImage" or result == self.expected, job_id
        events = dict(live.query("SELECT event_id, job_id::text FROM events"))
        assert sorted(events.values()) == sorted(self.accepted)
        deliveries = live.query("SELECT event_id, status FROM deliveries")
        assert sorted(deliveries) == sorted((event_id, "SUCCEEDED") for event_id in events)
        assert live.query("SELECT job_id FROM blobs") == []
        assert live.query("SELECT job_id FROM job_attempts WHERE finished_at IS NULL OR outcome IS NULL") == []
        self._assert_messages(events)

    def _assert_messages(self, events: dict[str, str]) -> None:
        bodies: dict[str, set[bytes]] = {}
        for message in self.hooks.messages:
            bodies.setdefault(message.headers["webhook-id"], set()).add(message.body)
            assert message.is_signed_with(self.live.key.webhook_secret)
        assert bodies.keys() == events.keys()
        assert Counter(len(different) for different in bodies.values()) == {1: len(events)}
