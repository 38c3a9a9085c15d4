"""A running stack for tests: every process is real, started as `rekollect up` starts it."""

import base64
import json
import os
import re
import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psycopg
from botocore.config import Config

from app.local.stack import Stack
from app.services.access_keys import NewKey
from tests.s3 import S3Server


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, whatever its status."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Both ways into a stack, and its database: for whoever knows `url`, `key` and `database_url`."""

    url: str
    key: NewKey
    database_url: str

    def rekognition(self, **changes: Any) -> Any:
        """Make an unmodified boto3 client; by default the first key, no retries."""
        options: dict[str, Any] = {
            "endpoint_url": self.url,
            "region_name": "us-east-1",
            "aws_access_key_id": self.key.access_key_id,
            "aws_secret_access_key": self.key.secret_access_key,
            "config": Config(retries={"total_max_attempts": 1}),
        }
        return boto3.session.Session().client("rekognition", **(options | changes))

    def rekognition_of(self, key: NewKey, **changes: Any) -> Any:
        """Make a client that signs with another key, and sends its session token where it has one."""
        secrets = {"aws_access_key_id": key.access_key_id, "aws_secret_access_key": key.secret_access_key}
        return self.rekognition(**secrets, **{"aws_session_token": key.session_token, **changes})

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        *,
        key: str | None = None,
    ) -> Answer:
        """Call /v1 with the bearer token; `body` is JSON unless it is bytes."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {key or self.key.api_key}",
            **(headers or {}),
        }
        request = urllib.request.Request(self.url + path, method=method, data=content, headers=sent)
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return Answer(answer.status, _lower(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _lower(error.headers), error.read())

    def submit(self, operation: str, input_: dict[str, Any], **members: Any) -> Answer:
        """Submit a job; raw bytes in images are encoded."""
        encoded = {name: _encoded(value) for name, value in input_.items()}
        return self.call("POST", "/v1/jobs", {"Operation": operation, "Input": encoded, **members})

    def finished(self, job_id: str, seconds: float = 30) -> Any:
        """Poll a job until it is done."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            job = self.call("GET", f"/v1/jobs/{job_id}?wait=5").json
            if job["Done"]:
                return job
        raise AssertionError(f"job {job_id} is not done after {seconds} s: {job}")

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask the stack's database."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


class LiveStack(Client):
    """A stack in a folder."""

    def __init__(
        self, folder: Path, *, s3: S3Server | None = None, workers: int = 1, durable: bool = False, **settings: str
    ) -> None:
        self.lines: list[str] = []
        variables = {"REKOLLECT_DIAL_ALLOW": "127.0.0.0/8", **settings}
        if s3 is not None:
            variables |= {
                "REKOLLECT_S3_ENDPOINT_URL": s3.endpoint_url,
                "REKOLLECT_S3_ACCESS_KEY_ID": s3.access_key_id,
                "REKOLLECT_S3_SECRET_ACCESS_KEY": s3.secret_access_key,
            }
        inherited = {
            name: os.environ[name] for name in ("REKOLLECT_MODELS_DIR", "REKOLLECT_CACHE_DIR") if name in os.environ
        }
        self.stack = Stack(
            inherited | variables,
            folder / "data",
            port=free_port(),
            workers=workers,
            report=self.lines.append,
            durable=durable,
        )

    def __enter__(self) -> "LiveStack":
        self.stack.__enter__()
        self.stack.wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.stop()

    @property
    def url(self) -> str:
        return self.stack.url

    @property
    def pids(self) -> dict[str, int]:
        """The newest process id of each process, as the stack reported it."""
        found = (re.match(r"(\S+) +pid (\d+)", line) for line in self.lines)
        return {match[1]: int(match[2]) for match in found if match}

    @property
    def key(self) -> NewKey:
        assert self.stack.first_key is not None
        return self.stack.first_key

    @property
    def database_url(self) -> str:
        return self.stack.variables["REKOLLECT_DATABASE_URL"]


def _encoded(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("Bytes"), bytes):
        return {**value, "Bytes": base64.b64encode(value["Bytes"]).decode()}
    return value


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
