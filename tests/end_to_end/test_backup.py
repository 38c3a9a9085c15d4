"""A backup taken under work and restored into a fresh stack: every job ends, ids stay, nothing outlives its retention."""

import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.config import Settings
from app.local import postgres as local_postgres
from app.local.binaries import postgres_programs
from app.local.postgres import LocalPostgres
from tests.fresh import fresh_database
from tests.held import HeldServer
from tests.live import LiveStack
from tests.patience import wait_until

pytestmark = pytest.mark.models

PEOPLE = {"CollectionId": "people"}
#: A line of the audit log of two days ago.
OLD_LINE = (
    "INSERT INTO audit_log (audit_id, actor_kind, operation, resources, result)"
    " VALUES (uuidv7(interval '-2 days'), 'SYSTEM', 'PurgeJobs', '{}', 'OK')"
)


@dataclass
class Load:
    """Indexes one picture under ever new names, each with a webhook, and remembers what was accepted."""

    live: LiveStack
    hooks: HeldServer
    picture: bytes

    def __post_init__(self) -> None:
        self.accepted: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._submit_all)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _submit_all(self) -> None:
        while not self._stop.wait(0.2):
            self.submit()

    def submit(self, **changes: Any) -> str:
        image = changes.pop("image", {"Bytes": self.picture})
        input_ = {**PEOPLE, "Image": image, "ExternalImageId": uuid.uuid4().hex}
        answer = self.live.submit("IndexFaces", input_, Webhook={"Url": self.hooks.url}, **changes)
        assert answer.status == 202, answer.body
        self.accepted.append(answer.json["JobId"])
        return self.accepted[-1]


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


class Snapshot:
    """What a restored database holds before anybody works on it."""

    def __init__(self, url: str) -> None:
        self.jobs = {job: rest for job, *rest in ask(url, "SELECT job_id::text, status, finished_at, result FROM jobs")}
        self.faces = set(ask(url, "SELECT face_id, image_id, external_image_id, emb32 FROM faces"))
        self.events = {
            event: rest for event, *rest in ask(url, "SELECT event_id, job_id::text, type, body FROM events")
        }
        self.pending = {event for (event,) in ask(url, "SELECT event_id FROM deliveries WHERE status = 'PENDING'")}

    @property
    def statuses(self) -> set[str]:
        return {status for status, *_ in self.jobs.values()}


def run(program: str, *arguments: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    subprocess.run([str(postgres_programs() / program), *arguments], env=environment, check=True)


@contextmanager
def dumped(server: LocalPostgres, folder: Path) -> Iterator[Callable[[], Any]]:
    """Take a dump at once; what is given restores it into a database beside the other and gives its URL."""
    run("pg_dump", "--format=custom", "--no-owner", f"--file={folder / 'dump'}", f"--dbname={server.url}")
    with fresh_database(server.url) as url:

        def restore() -> str:
            run("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={url}", str(folder / "dump"))
            return url

        yield restore


@contextmanager
def copied(server: LocalPostgres, folder: Path) -> Iterator[Callable[[], Any]]:
    """Take a base backup at once; what is given starts a server on it and gives its URL."""
    home = folder / "restored"
    home.mkdir()
    backup = home / "cluster"
    run("pg_basebackup", f"--pgdata={backup}", "--wal-method=stream", "--checkpoint=fast", f"--dbname={server.url}")
    run("pg_verifybackup", "--quiet", str(backup))
    restored = LocalPostgres(home)

    def restore() -> str:
        owner = server._cluster.stat()
        for path in (home, backup, *backup.rglob("*")):
            shutil.chown(path, owner.st_uid, owner.st_gid)
        restored.start()
        return restored.url

    try:
        yield restore
    finally:
        restored.stop()


@pytest.fixture(params=[dumped, copied], ids=["pg_dump", "pg_basebackup"])
def take(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPostgres]:
    """A Postgres with the settings that it has by default, where ours are for one machine without replicas."""
    default = {"wal_level": "replica", "max_wal_senders": "10"}
    monkeypatch.setattr(local_postgres, "_SETTINGS", local_postgres._SETTINGS | default)
    server = LocalPostgres(tmp_path / "postgres")
    server.start()
    yield server
    server.stop()


def test_a_backup_under_work_comes_back_whole(
    take: Any, server: LocalPostgres, tmp_path: Path, settings: Settings, portraits: dict[str, bytes]
) -> None:
    variables = {"REKOLLECT_DATABASE_URL": server.url, "REKOLLECT_AUDIT_RETENTION_DAYS": "1"}
    with HeldServer(portraits["biden"]) as hooks, ExitStack() as kept:
        with LiveStack(tmp_path / "first", **variables) as first:
            first.rekognition().create_collection(**PEOPLE)
            key, secret_key = first.key, first.stack.variables["REKOLLECT_SECRET_KEY"]
            load = Load(first, hooks, portraits["obama"])
            old = _get_busy(load)
            with load:
                before = set(load.accepted)
                restore = kept.enter_context(take(server, tmp_path))
            hooks.release()
            first.finished(load.submit())  # which is lost, as all since the backup
        url = restore()
        snapshot = Snapshot(url)
        # Some have ended and some have not; whether one still waits is up to the machine.
        assert {"SUCCEEDED"} < snapshot.statuses <= {"SUCCEEDED", "IN_PROGRESS", "QUEUED"}
        assert snapshot.pending, "webhooks wait"
        assert before <= snapshot.jobs.keys(), "what was accepted before is in the backup"
        assert load.accepted[-1] not in snapshot.jobs
        ask(url, OLD_LINE)
        changes = {"REKOLLECT_DATABASE_URL": url, "REKOLLECT_SECRET_KEY": secret_key}
        with LiveStack(tmp_path / "second", **variables | changes) as second:
            second.stack.first_key = key  # it opens the restored stack too
            _check(second, snapshot, hooks, old)
            found = second.rekognition().search_faces_by_image(**PEOPLE, Image={"Bytes": portraits["obama"]})
            assert len(found["FaceMatches"]) == len(snapshot.jobs) - 1  # one picture shows somebody else


def _get_busy(load: Load) -> str:
    """Have jobs in every state and webhooks that wait; give a job whose retention ends in a moment."""
    old, *_ = [load.submit() for _ in range(4)]
    for job_id in load.accepted:
        load.live.finished(job_id)
    load.hooks.hold()
    load.submit(image={"Url": f"{load.hooks.url}/held.jpg"})
    wait_until(lambda: "/held.jpg" in load.hooks.paths)
    load.live.finished(load.submit())
    for _ in range(10):
        load.submit(Priority="LOW")
    load.live.query("ALTER TABLE jobs DISABLE TRIGGER finished_jobs_never_change")
    load.live.query("UPDATE jobs SET expires_at = now() + interval '3 seconds' WHERE job_id = %s", old)
    load.live.query("ALTER TABLE jobs ENABLE TRIGGER finished_jobs_never_change")
    return old


def _check(live: LiveStack, snapshot: Snapshot, hooks: HeldServer, old: str) -> None:
    wait_until(lambda: not live.query("SELECT 1 FROM jobs WHERE finished_at IS NULL"), 90, what="jobs end")
    wait_until(lambda: not live.query("SELECT 1 FROM deliveries WHERE status = 'PENDING'"), 90, what="webhooks arrive")
    command = [sys.executable, "-m", "app.cli.main", "schedules", "run", "purge"]
    subprocess.run(command, env={**os.environ, **live.stack.variables}, check=True, capture_output=True)
    wait_until(lambda: not live.query("SELECT 1 FROM jobs WHERE job_id = %s", old), 70, what="retention ends")
    wait_until(lambda: not live.query("SELECT 1 FROM audit_log WHERE audit_id < uuidv7(interval '-1 day')"), 70)
    now = Snapshot(live.database_url)
    assert now.jobs.keys() == snapshot.jobs.keys() - {old}
    assert now.statuses == {"SUCCEEDED"}
    ended = {job: row for job, row in snapshot.jobs.items() if row[1] is not None and job != old}
    assert {job: now.jobs[job] for job in ended} == ended, "what had ended is as it was"
    assert now.faces >= snapshot.faces
    names = [external for _, _, external, _ in now.faces]
    assert len(names) == len(set(names)) == len(snapshot.jobs), "each picture is stored once"
    kept = {event: row for event, row in snapshot.events.items() if row[0] != old}
    assert {event: now.events[event] for event in kept} == kept
    assert sorted(job for job, *_ in now.events.values()) == sorted(now.jobs), "one event for each job"
    _check_messages(now, hooks)


def _check_messages(now: Snapshot, hooks: HeldServer) -> None:
    """Every webhook arrived, by whichever stack, always with the same bytes."""
    bodies: dict[str, set[bytes]] = {}
    for message in hooks.messages:
        bodies.setdefault(message.headers["webhook-id"], set()).add(message.body)
    assert {event: bodies[event] for event in now.events} == {
        event: {bytes(row[2])} for event, row in now.events.items()
    }
    for body in bodies.values():
        assert json.loads(next(iter(body)))["type"] == "job.succeeded"
