"""SIGTERM for `rekollect up` in the middle of its work: nothing is left behind, and the next start goes on."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from app.config import Settings
from app.domain.jobs import SLOTS_PER_CORE
from tests.held import HeldServer
from tests.live import free_port
from tests.patience import wait_until

pytestmark = pytest.mark.models

KEY_ID, SECRET = "AKIDSTOPUNDERLOAD001", "made-up-for-this-test-0123456789"
STOP_SECONDS = 12.0


class Up:
    """`rekollect up` in a folder, with one thread for jobs."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self._output = folder / "output"
        variables = {
            "REKOLLECT_BOOTSTRAP_ACCESS_KEY_ID": KEY_ID,
            "REKOLLECT_BOOTSTRAP_SECRET_ACCESS_KEY": SECRET,
            "REKOLLECT_DIAL_ALLOW": "127.0.0.0/8",
            "REKOLLECT_WORKER_THREADS": "1",
        }
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "app.cli.main", "up", "--port", str(port)],
                cwd=folder,
                env=os.environ | variables,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> "Up":
        wait_until(lambda: "\nready\n" in self._output.read_text(), what=self._output.read_text)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_SECONDS)

    @property
    def pids(self) -> list[int]:
        return [int(pid) for pid in re.findall(r"^\S+ +pid (\d+)", self.output, re.MULTILINE)]

    @property
    def output(self) -> str:
        return self._output.read_text()

    def call(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"Bearer {KEY_ID}.{SECRET}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@pytest.fixture
def pictures(portraits: dict[str, bytes]) -> Iterator[HeldServer]:
    with HeldServer(portraits["obama"]) as server:
        yield server


@pytest.fixture
def hooks() -> Iterator[HeldServer]:
    with HeldServer() as server:
        yield server


def left_of(pids: list[int]) -> list[int]:
    """Name what lives of these processes and of all they started: each of them leads a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[3]) in pids:
            found.append(int(stat.parent.name))
    return found


def release_when_asked_to_end(log: Path, pictures: HeldServer) -> None:
    """Give the pictures once the worker was asked to end: Celery says so before it begins to."""
    wait_until(lambda: "Warm shutdown" in log.read_text(), what="the worker is asked to end")
    time.sleep(0.5)
    pictures.release()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sigterm_finishes_the_running_jobs_leaves_nothing_and_the_rest_runs_at_the_next_start(
    tmp_path: Path, settings: Settings, pictures: HeldServer, hooks: HeldServer
) -> None:
    worker_log = tmp_path / ".rekollect/logs/worker.log"
    pictures.hold()
    with Up(tmp_path) as up:
        rekognition = boto3.session.Session().client(
            "rekognition", "us-east-1", endpoint_url=up.url, aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET
        )
        rekognition.create_collection(CollectionId="people")
        job = {
            "Operation": "SearchFacesByImage",
            "Input": {"CollectionId": "people", "Image": {"Url": pictures.url + "/held.jpg"}},
            "Webhook": {"Url": hooks.url},
        }
        accepted = [up.call("POST", "/v1/jobs", job)["JobId"] for _ in range(SLOTS_PER_CORE + 3)]
        wait_until(lambda: len(pictures.paths) == SLOTS_PER_CORE, what="a worker takes as many jobs as it has slots")
        assert set(up.pids) <= set(left_of(up.pids))
        threading.Thread(target=release_when_asked_to_end, args=(worker_log, pictures)).start()
    assert up.process.returncode == 0
    assert left_of(up.pids) == []
    assert [path for path in tmp_path.rglob("*") if path.is_socket()] == []
    assert len(re.findall('"job_finished".*"outcome": "succeeded"', worker_log.read_text())) == SLOTS_PER_CORE

    with Up(tmp_path) as up:
        jobs = [up.call("GET", f"/v1/jobs/{job_id}?wait=20") for job_id in accepted]
        assert [(job["Status"], job["Attempt"]) for job in jobs] == [("SUCCEEDED", 1)] * len(accepted)
        wait_until(lambda: len(hooks.messages) >= len(accepted), what="all webhooks arrive")
    assert sorted(json.loads(message.body)["data"]["JobId"] for message in hooks.messages) == sorted(accepted)
