"""The web application in this process, called as its server calls it, and the statements that it asks Postgres meanwhile."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from flask import Flask
from sqlalchemy.engine import Engine

from app.services.access_keys import NewKey
from tests.contract.wire import AWS_JSON

_HOST = "localhost"

#: Stands in the statement that reads what the caller itself has queued; it is not asked each time, its answer is kept a moment.
_OWN_LOAD = "AS interactive_wait"


@dataclass(frozen=True)
class Call:
    """A request that is not yet signed by anybody; an operation of AWS is one to /."""

    method: str
    path: str
    body: str = ""
    operation: str | None = None

    def about(self, others: Mapping[str, str]) -> "Call":
        """Give the same request about other things."""
        return Call(self.method, _exchanged(self.path, others), _exchanged(self.body, others), self.operation)


@dataclass(frozen=True)
class Answer:
    """What a caller sees, and how Postgres was asked."""

    status: int
    body: str
    asked: list[str] = field(compare=False)

    def about(self, others: Mapping[str, str]) -> "Answer":
        """Give what the answer would be about other things, without what is new in every answer."""
        return Answer(self.status, _without_the_new(_exchanged(self.body, others)), self.asked)


_NEW = {
    "<id>": re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    "<time>": re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\d{10}\.\d+"),
    "<secret>": re.compile(r"whsec_[A-Za-z0-9+/=]+"),
    "<event>": re.compile(r"evt_[A-Za-z0-9]+"),
    "<token>": re.compile(r'(?<="NextToken": ")[^"]+'),
}


def _exchanged(text: str, others: Mapping[str, str]) -> str:
    if not others:
        return text
    longest_first = sorted(others, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), lambda found: others[found[0]], text)


def _without_the_new(text: str) -> str:
    for name, pattern in _NEW.items():
        text = pattern.sub(name, text)
    return text


class Web:
    """Sends requests as the holder of a key."""

    def __init__(self, app: Flask, engine: Engine) -> None:
        self.app = app
        self._client = app.test_client()
        self._engine = engine

    def routes(self) -> set[str]:
        """Name every route, as `GET /v1/jobs/<job_id>`."""
        return {
            f"{method} {rule.rule}"
            for rule in self.app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
            | ({"OPTIONS"} if not rule.provide_automatic_options and "OPTIONS" in (rule.methods or ()) else set())
        }

    def send(self, key: NewKey, call: Call) -> Answer:
        with self._asked() as asked:
            headers = self._signed(key, call) if call.operation else _bearer(key)
            body = call.body.encode("utf-8", "surrogateescape")
            answer = self._client.open(call.path, method=call.method, data=body, headers=headers)
            return Answer(answer.status_code, answer.get_data(as_text=True), asked)

    @contextmanager
    def _asked(self) -> Iterator[list[str]]:
        asked: list[str] = []

        def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if _OWN_LOAD not in statement:
                asked.append(statement)

        sa.event.listen(self._engine, "before_cursor_execute", note)
        try:
            yield asked
        finally:
            sa.event.remove(self._engine, "before_cursor_execute", note)

    def _signed(self, key: NewKey, call: Call) -> dict[str, str]:
        body = call.body.encode("utf-8", "surrogateescape")
        request = AWSRequest(method="POST", url=f"http://{_HOST}/", data=body)
        request.headers["Host"] = _HOST
        request.headers["X-Amz-Target"] = f"RekognitionService.{call.operation}"
        request.headers["Content-Type"] = AWS_JSON
        SigV4Auth(Credentials(key.access_key_id, key.secret_access_key), "rekognition", "us-east-1").add_auth(request)
        return dict(request.headers.items())


def _bearer(key: NewKey) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.api_key}", "Content-Type": "application/json"}


def as_text(document: object) -> str:
    """Write a body; nothing is an empty one."""
    return "" if document is None else json.dumps(document)
