"""Secrets stay out of logs: a stack at DEBUG does all that it can and fails in every way, and nobody wrote down a secret.

Read is all that the processes wrote: their output and errors, what the supervisor reports, the logs of Postgres and Valkey, and
the audit log.
"""

import base64
import contextlib
import json
import os
import re
import signal
import struct
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from app.config import Settings
from app.db.session import Database
from app.encryption import Cipher
from app.local.postgres import LocalPostgres
from app.services import access_keys
from app.services.access_keys import Terms
from tests.contract.wire import call, key_of, signed
from tests.held import HeldServer
from tests.live import LiveStack, free_port
from tests.patience import wait_until
from tests.s3 import S3Server

pytestmark = pytest.mark.models

PEOPLE = {"CollectionId": "people"}
FIRST_KEY, FIRST_SECRET = "REKOFIRSTKEY", "first-secret-" + "f1r5t" * 6
DATABASE_PASSWORD = "database-password-d4t4b4s3"
S3_OBJECT = {"S3Object": {"Bucket": "secret-portraits", "Name": "obama.jpg"}}


class Run:
    """A stack that is used up: what it does, the secrets that were in play, and in the end all that was written."""

    def __init__(self, live: LiveStack, server: HeldServer, picture: bytes) -> None:
        self.live, self.server, self.picture = live, server, picture
        self.audit: list[str] = []
        self.secrets: dict[str, str] = {
            "secret of the first key": FIRST_SECRET,
            "database password": DATABASE_PASSWORD,
            "master key": live.stack.variables["REKOLLECT_SECRET_KEY"],
            "master key in hex": live.stack.settings.secret_key.hex(),
            "S3 secret": S3Server.secret_access_key,
            "webhook secret of the account": live.key.webhook_secret,
        }

    def url(self, name: str) -> str:
        """Make a URL whose query is a secret."""
        query = f"X-Amz-Signature={uuid.uuid4().hex}&token=q{uuid.uuid4().hex}"
        self.secrets[f"query of {name}"] = query.partition("=")[2].partition("&")[0]
        self.secrets[f"token of {name}"] = query.rpartition("=")[2]
        return f"{self.server.url}/{name}?{query}"

    def job(self, operation: str, image: object, **members: Any) -> Any:
        input_ = {"Image": image, **({} if operation == "DetectFaces" else PEOPLE)}
        answer = self.live.submit(operation, input_, **members)
        assert answer.status in (200, 202), answer.body
        return self.live.finished(answer.json["JobId"], 60)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        return self.live.query(statement)

    def read_all(self) -> str:
        """Read all that was written by a stack that has ended."""
        directory = self.live.stack.directory
        logs = [
            *directory.logs.iterdir(),
            *directory.path.glob("*/*.log"),
            *directory.path.parent.glob("**/postgres.log"),
        ]
        texts = [path.read_text(errors="replace") for path in sorted(set(logs))]
        return "\n".join([*texts, *self.live.lines])


def _use_both_ways_in(run: Run) -> None:
    client, bytes_ = run.live.rekognition(), {"Bytes": run.picture}
    client.create_collection(**PEOPLE)
    client.index_faces(**PEOPLE, Image=bytes_, ExternalImageId="somebody")
    client.search_faces_by_image(**PEOPLE, Image=bytes_)
    client.create_user(**PEOPLE, UserId="one")
    client.list_faces(**PEOPLE)
    assert run.job("IndexFaces", S3_OBJECT)["Status"] == "SUCCEEDED"
    assert run.job("SearchFacesByImage", {"Url": run.url("found.jpg")})["Status"] == "SUCCEEDED"
    run.secrets["metadata"] = f"m{uuid.uuid4().hex}"
    told = {"Webhook": {"Url": run.url("hook")}, "Metadata": {"order": run.secrets["metadata"]}}
    assert run.job("DetectFaces", bytes_, **told, ClientRequestToken="once")["Status"] == "SUCCEEDED"
    assert run.live.submit("DetectFaces", {"Image": S3_OBJECT}, ClientRequestToken="once").status == 422
    items = [{"Input": {"Image": {"Url": run.url("item.jpg")}}}, {"Input": {"Image": S3_OBJECT}}]
    batch = {"Operation": "IndexFaces", "Defaults": PEOPLE, "Items": items}
    path = run.live.call("POST", "/v1/batches", batch).json["Links"]["Self"]
    wait_until(lambda: run.live.call("GET", path).json["Done"], 60)


def _use_keys_and_endpoints(run: Run) -> None:
    database = Database(run.live.database_url, pool_size=1)
    with database.transaction() as connection:
        cipher, terms = Cipher(run.live.stack.settings.secret_key), Terms(with_session_token=True)
        key = access_keys.create(connection, cipher, terms=terms)
    database.close()
    assert key.session_token is not None
    run.secrets |= {"session token": key.session_token, "secret of a session": key.secret_access_key}
    run.live.rekognition_of(key).list_collections()
    run.secrets["header of an endpoint"] = f"h{uuid.uuid4().hex}"
    sent = {"Authorization": f"Bearer {run.secrets['header of an endpoint']}"}
    made = run.live.call("POST", "/v1/webhooks/endpoints", {"Url": run.url("endpoint"), "Headers": sent}).json
    path = f"/v1/webhooks/endpoints/{made['EndpointId']}"
    run.secrets["secret of an endpoint"] = made["Secret"]
    run.live.call("POST", f"{path}/test")
    run.secrets["rotated secret"] = run.live.call("POST", f"{path}/rotate-secret").json["Secret"]
    run.job("DetectFaces", S3_OBJECT)
    wait_until(lambda: len(run.server.messages) >= 3, 30)


def _be_refused(run: Run) -> None:
    live = run.live
    body = json.dumps({}).encode()
    headers = signed(live, "POST", "/", body, headers={"X-Amz-Target": "RekognitionService.ListCollections"})
    run.secrets["signature"] = headers["Authorization"].rpartition("=")[2]
    assert call(live, "ListCollections", {}, credentials=key_of(live.key, secret_key="wrong" * 8)).status == 400
    assert call(live, "ListCollections", {}, credentials=key_of(live.key, token="wrong-token" * 4)).status == 400
    run.secrets["mistyped API key"] = f"x{live.key.secret_access_key[:-1]}"
    assert live.call("GET", "/v1/jobs", key=f"{FIRST_KEY}.{run.secrets['mistyped API key']}").status == 401
    assert live.call("GET", f"/v1/jobs?token={live.key.api_key}").status == 400
    assert live.call("GET", f"/nowhere?token={live.key.api_key}").status == 405
    assert live.call("POST", "/v1/jobs", b"{" + run.picture).status == 400
    closed = run.url("gone.jpg").replace(run.server.url, f"http://127.0.0.1:{free_port()}")
    for image in ({"Url": closed}, {"S3Object": {"Bucket": "secret-portraits", "Name": "gone"}}):
        assert run.job("DetectFaces", image)["Status"] == "FAILED"
    cut = run.picture[: len(run.picture) // 2]
    assert run.job("DetectFaces", {"Bytes": b"not a picture" + cut})["Status"] == "FAILED"


def _crash(run: Run) -> None:
    """Let Postgres refuse rows that hold a picture and an embedding, then kill a worker and Postgres under work."""
    live = run.live
    run.query("ALTER TABLE faces ADD CONSTRAINT planted CHECK (confidence < 0) NOT VALID")
    assert run.job("IndexFaces", {"Bytes": run.picture + b"once more"})["Status"] == "FAILED"
    run.query("ALTER TABLE faces DROP CONSTRAINT planted")
    run.query("ALTER TABLE blobs ADD CONSTRAINT planted CHECK (length(content) < 0) NOT VALID")
    with contextlib.suppress(ClientError):
        live.rekognition().detect_faces(Image={"Bytes": run.picture})
    assert live.submit("DetectFaces", {"Image": {"Bytes": run.picture}}).status == 500
    run.query("ALTER TABLE blobs DROP CONSTRAINT planted")
    run.query("ALTER TABLE webhook_secrets ADD CONSTRAINT planted CHECK (length(secret) < 0) NOT VALID")
    assert live.call("POST", "/v1/webhooks/endpoints", {"Url": run.url("planted")}).status == 500
    run.query("ALTER TABLE webhook_secrets DROP CONSTRAINT planted")
    run.server.hold()
    told = {"Webhook": {"Url": run.url("late")}}
    job_id = live.submit("DetectFaces", {"Image": {"Url": run.url("held.jpg")}}, **told).json["JobId"]
    wait_until(lambda: any("held.jpg" in path for path in run.server.paths))
    os.kill(live.pids["worker"], signal.SIGKILL)
    run.query("UPDATE jobs SET heartbeat_at = now() - interval '1 hour' WHERE finished_at IS NULL")
    run.server.release()
    wait_until(lambda: live.stack.tend() or live.call("GET", f"/v1/jobs/{job_id}").json["Done"], 60)


def _lose_postgres(run: Run, server: LocalPostgres) -> None:
    server.kill()
    with contextlib.suppress(ClientError, BotoCoreError):
        run.live.rekognition().index_faces(**PEOPLE, Image={"Bytes": run.picture})
    run.live.submit("DetectFaces", {"Image": {"Bytes": run.picture}}, Webhook={"Url": run.url("away")})
    time.sleep(3)  # beat, workers and couriers find nobody, each in its way
    server.start()
    wait_until(run.live.stack.ready, 30)
    run.live.stack.tend()


def _note_people(run: Run) -> None:
    """Count as secrets what shows people: the picture, and embeddings as bytes and as numbers."""
    encoded = base64.b64encode(run.picture).decode()
    for place in (0, 48, len(encoded) // 8 * 4, len(encoded) - 64):
        run.secrets[f"picture at {place} in base64"] = encoded[place : place + 48]
        run.secrets[f"picture at {place} in hex"] = run.picture[place // 4 * 3 :][:12].hex()
    for number, (embedding,) in enumerate(run.query("SELECT emb32 FROM faces")):
        first, second = struct.unpack("<2f", embedding[:8])
        run.secrets |= {
            f"embedding {number} in hex": embedding[:12].hex(),
            f"embedding {number} in base64": base64.b64encode(embedding[:12]).decode(),
            f"embedding {number} in numbers": f"{first:.5f}"[:-1],
            f"embedding {number} in more numbers": f"{second:.5f}"[:-1],
        }


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server, settings: Settings, portraits: dict[str, bytes]
) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("talkative")
    server = LocalPostgres(folder / "postgres")
    server.start()
    picture = portraits["obama"]
    client = s3_server.client()
    client.create_bucket(Bucket="secret-portraits")
    client.put_object(Bucket="secret-portraits", Key="obama.jpg", Body=picture)
    variables = {
        "REKOLLECT_DATABASE_URL": server.url.replace("rekollect@", f"rekollect:{DATABASE_PASSWORD}@"),
        "REKOLLECT_BOOTSTRAP_ACCESS_KEY_ID": FIRST_KEY,
        "REKOLLECT_BOOTSTRAP_SECRET_ACCESS_KEY": FIRST_SECRET,
        "REKOLLECT_LOG_LEVEL": "DEBUG",
    }
    try:
        with HeldServer(picture) as held, LiveStack(folder, s3=s3_server, **variables) as live:
            run = Run(live, held, picture)
            _use_both_ways_in(run)
            _use_keys_and_endpoints(run)
            _be_refused(run)
            _note_people(run)
            _crash(run)
            _lose_postgres(run, server)
            run.audit = [str(line) for (line,) in run.query("SELECT audit_log::text FROM audit_log")]
        yield run
    finally:
        server.stop()


@pytest.fixture(scope="module")
def written(run: Run) -> str:
    return run.read_all()


def test_the_run_was_as_talkative_as_it_can_be(written: str) -> None:
    """What is searched for secrets holds a line of every process, and tracebacks of every planted failure."""
    for word in ("job_finished", "job_crashed", "request_failed", "worker_ready", "swept", "tick_run", '"debug"'):
        assert word in written, word
    assert written.count("violates check constraint") >= 6  # by whoever failed, and by Postgres
    assert "left out" in written
    assert "Traceback" in written
    assert "database system is ready" in written
    assert "Server initialized" in written or "Ready to accept connections" in written


def test_no_secret_was_written_by_any_process(run: Run, written: str) -> None:
    assert len(run.secrets) > 30
    assert [name for name, secret in run.secrets.items() if secret in written] == []


def test_nothing_that_was_written_looks_like_bytes(written: str) -> None:
    assert re.findall(r"[A-Za-z0-9+/=]{120,}", written) == []
    assert re.findall(r"(?:\\x[0-9a-f]{2}){6,}|\\\\x[0-9a-f]{24,}", written) == []


def test_no_line_of_the_audit_log_holds_a_secret(run: Run) -> None:
    audit = "\n".join(run.audit)
    assert audit.count("\n") > 15
    assert [name for name, secret in run.secrets.items() if secret in audit] == []
    for said in ("http://", "somebody", "once"):
        assert said not in audit
