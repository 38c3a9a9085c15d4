"""Have one picture looked at over HTTP: submit it as a job, wait for its end, come again where there is no room."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from app.cli.client import Client, Refused, Unreachable
from app.cli.crew import Crew
from app.cli.pictures import MAX_BYTES, Picture

_WAIT_SECONDS = 20
_LONGEST_PAUSE_SECONDS = 30.0

#: An API that does not answer is asked again so often, after ever longer pauses: it may be starting again.
_TRIES = 6


Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a picture: a result or an error; neither where the user ended it."""

    picture: Picture
    result: dict[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Lookup:
    """What all pictures of a command have in common."""

    client: Client
    crew: Crew
    operation: str
    priority: str

    def run(self, picture: Picture, content: bytes, input_: Mapping[str, Any], key: str) -> Outcome:
        """Submit a picture under an idempotency key and give what came of it."""
        if len(content) > MAX_BYTES:
            return Outcome(picture, error=f"larger than {MAX_BYTES} bytes; put it into S3")
        fields = {"Operation": self.operation, "Priority": self.priority, "Input": json.dumps(input_)}
        try:
            job = self._submit(fields, content, key)
            while job is not None and not job["Done"]:
                job = self._insist(partial(self._look, job["Links"]["Self"]))
        except Refused as refusal:
            return Outcome(picture, error=str(refusal))
        if job is None:
            return Outcome(picture)
        return Outcome(picture, job["Result"]) if "Result" in job else Outcome(picture, error=error_of(job))

    def _submit(self, fields: Mapping[str, str], content: bytes, key: str) -> dict[str, Any] | None:
        """Submit a job, anew where the key stands for one that could have ended otherwise; None where the user ended it."""
        answer = self._insist(partial(self._post, fields, content, key))
        if answer is not None and answer[1] and _could_end_otherwise(answer[0]):
            answer = self._insist(partial(self._post, fields, content, f"{key}:{uuid.uuid4().hex}"))
        return None if answer is None else answer[0]

    def _post(self, fields: Mapping[str, str], content: bytes, key: str) -> tuple[dict[str, Any], bool]:
        headers = {"Idempotency-Key": key, "Prefer": f"wait={_WAIT_SECONDS}"}
        return self.client.post_form("/v1/jobs", fields, content, headers=headers, wait=_WAIT_SECONDS)

    def _look(self, path: str) -> dict[str, Any]:
        return self.client.call("GET", path, query={"wait": _WAIT_SECONDS}, wait=_WAIT_SECONDS)

    def _insist(self, call: Callable[[], Answer]) -> Answer | None:
        """Call until there is an answer; None where the user ended it, ClientError where nothing answers for long."""
        failures = 0
        while not self.crew.stopped:
            try:
                return call()
            except Refused as error:
                if error.retry_after is None:
                    raise
                pause = min(error.retry_after, _LONGEST_PAUSE_SECONDS)
            except Unreachable:
                failures += 1
                if failures == _TRIES:
                    raise
                pause = 2.0 ** (failures - 1)
            self.crew.pause(pause)
        return None


def _could_end_otherwise(job: Mapping[str, Any]) -> bool:
    """Tell whether a job ended for a reason that may not be there the next time: canceled, expired, a failure that passes."""
    if not job["Done"] or "Result" in job:
        return False
    return job["Status"] != "FAILED" or bool(job.get("Error", {}).get("Retryable"))


def error_of(job: Mapping[str, Any]) -> str:
    """Say in a line why a job, or an item of a batch, ended without a result."""
    error = job.get("Error")
    return f"{error['Message']} ({error['Code']})" if error else f"it ended as {job['Status']} without a result"
