"""`rekollect index` and `rekollect search` against the running stack: folders, S3, going on after Ctrl-C, failures."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli.client import Client
from app.cli.crew import Crew
from app.cli.lookup import Lookup
from app.cli.pictures import Picture
from tests.live import LiveStack
from tests.s3 import S3Server

Run = Callable[..., subprocess.CompletedProcess[str]]


class Command:
    """Runs the command as a user does, with a home of its own."""

    def __init__(self, live: LiveStack, home: Path) -> None:
        self.home = home
        self._variables = {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "REKOLLECT_URL": live.url,
            "REKOLLECT_API_KEY": live.key.api_key,
            "REKOLLECT_CACHE_DIR": str(home / "cache"),
        }

    def start(self, *words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-P", "-m", "app.cli.main", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self._variables, cwd=self.home, stdout=pipe, stderr=pipe, text=True)

    def run(self, *words: str, status: int = 0) -> str:
        process = self.start(*words)
        said, errors = process.communicate(timeout=120)
        assert process.returncode == status, errors
        return said

    def failures(self) -> list[list[str]]:
        with (self.home / "index-failures.csv").open(newline="") as lines:
            return list(csv.reader(lines))


@pytest.fixture
def command(live: LiveStack, tmp_path: Path) -> Command:
    return Command(live, tmp_path)


@pytest.fixture
def folder(tmp_path: Path, portraits: dict[str, bytes]) -> Path:
    """Two people in folders of their own, a picture that is none, and a file that is not meant."""
    for name in ("obama", "biden"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "face 1.jpg").write_bytes(portraits[name])
    (tmp_path / "photos" / "broken.PNG").write_bytes(b"no picture")
    (tmp_path / "photos" / "notes.txt").write_text("not meant")
    return tmp_path / "photos"


def external_ids(rekognition: Any, collection: str) -> list[str]:
    return sorted(face["ExternalImageId"] for face in rekognition.list_faces(CollectionId=collection)["Faces"])


def test_a_folder_is_indexed_and_running_it_again_does_nothing_twice(
    command: Command, folder: Path, collection: str, rekognition: Any
) -> None:
    said = command.run("index", "photos", "--collection", collection, status=1)
    assert "3 images, 2 faces, 1 failed" in said
    assert command.failures() == [
        ["picture", "error"],
        ["photos/broken.PNG", "Request has invalid image format (InvalidImageFormatException)"],
    ]
    assert external_ids(rekognition, collection) == ["biden:face_1.jpg", "obama:face_1.jpg"]
    (folder / "broken.PNG").unlink()
    again = command.run("index", "photos", "--collection", collection)
    assert "2 images (2 were done before), 0 faces, 0 failed" in again
    (command.home / "cache/index").rename(command.home / "forgotten")
    anew = command.run("index", "photos", "--collection", collection)
    assert "2 images, 2 faces, 0 failed" in anew
    assert len(external_ids(rekognition, collection)) == 2


def test_a_picture_whose_job_was_canceled_is_done_anew(
    live: LiveStack, collection: str, rekognition: Any, portraits: dict[str, bytes]
) -> None:
    client, input_, key = Client(live.url, live.key.api_key), {"CollectionId": collection}, f"test:{collection}"
    fields = {"Operation": "IndexFaces", "Priority": "LOW", "Input": json.dumps(input_)}
    workers = [process for name, process in live.pids.items() if name.startswith("worker")]
    for process in workers:
        os.kill(process, signal.SIGSTOP)
    try:
        job, replayed = client.post_form("/v1/jobs", fields, portraits["obama"], headers={"Idempotency-Key": key})
        assert not replayed
        assert client.call("POST", job["Links"]["Cancel"])["Status"] == "CANCELED"
    finally:
        for process in workers:
            os.kill(process, signal.SIGCONT)
    lookup = Lookup(client, Crew(1), "IndexFaces", "LOW")
    outcome = lookup.run(Picture(Path("obama.jpg"), "obama.jpg"), portraits["obama"], input_, key)
    assert outcome.error is None
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 1


def test_again_begins_anew(command: Command, folder: Path, collection: str, rekognition: Any) -> None:
    (folder / "broken.PNG").unlink()
    words = ("index", "photos", "--collection", collection)
    command.run(*words)
    rekognition.delete_faces(
        CollectionId=collection,
        FaceIds=[face["FaceId"] for face in rekognition.list_faces(CollectionId=collection)["Faces"]],
    )
    assert "2 images (2 were done before), 0 faces" in command.run(*words)
    assert "2 images, 2 faces, 0 failed" in command.run(*words, "--again")
    assert len(external_ids(rekognition, collection)) == 2


def test_a_collection_that_was_made_anew_is_filled_anew(
    command: Command, folder: Path, collection: str, rekognition: Any
) -> None:
    (folder / "broken.PNG").unlink()
    command.run("index", "photos", "--collection", collection, "--external-id-from", "name")
    rekognition.delete_collection(CollectionId=collection)
    refused = command.run("index", "photos", "--collection", collection, status=1)
    assert refused == ""
    said = command.run("index", "photos", "--collection", collection, "--external-id-from", "name", "--create")
    assert "2 images, 2 faces, 0 failed" in said
    assert external_ids(rekognition, collection) == ["face_1", "face_1"]


def test_ids_come_from_a_table(command: Command, folder: Path, collection: str, rekognition: Any) -> None:
    (folder / "broken.PNG").unlink()
    (command.home / "ids.csv").write_text("path,external_id\nobama/face 1.jpg,president 44\n")
    words = ("index", "photos", "--collection", collection, "--external-id-from", "csv:ids.csv")
    assert "1 failed" in command.run(*words, status=1)
    assert command.failures()[1:] == [["photos/biden/face 1.jpg", "not in ids.csv"]]
    assert external_ids(rekognition, collection) == ["president_44"]


def test_ctrl_c_is_safe_and_running_it_again_goes_on(
    command: Command, collection: str, rekognition: Any, portraits: dict[str, bytes]
) -> None:
    many = command.home / "many"
    many.mkdir()
    for number in range(60):
        (many / f"{number:02d}.jpg").write_bytes(portraits["obama"])
    running = command.start("index", "many", "--collection", collection, "--concurrency", "2")
    notes = command.home / "cache/index"
    deadline = time.monotonic() + 60
    while sum(len(path.read_text().splitlines()) for path in notes.glob("*")) < 3:
        assert time.monotonic() < deadline
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    said, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert "run the same command again to go on" in said
    assert "Traceback" not in errors
    done = rekognition.describe_collection(CollectionId=collection)["FaceCount"]
    assert done < 60
    again = command.run("index", "many", "--collection", collection)
    assert "60 images (" in again
    assert "were done before" in again
    assert external_ids(rekognition, collection) == [f"{number:02d}.jpg" for number in range(60)]


@pytest.mark.parametrize(("rule", "ids"), [("path", ["shots:a.jpg", "shots:b.jpg"]), ("name", ["a", "b"])])
def test_a_prefix_of_s3_is_indexed_by_a_batch(
    command: Command,
    s3_server: S3Server,
    collection: str,
    rekognition: Any,
    portraits: dict[str, bytes],
    rule: str,
    ids: list[str],
) -> None:
    client, bucket = s3_server.client(), f"commands-{rule}"
    client.create_bucket(Bucket=bucket)
    for key, content in (("a.jpg", portraits["obama"]), ("b.jpg", portraits["biden"]), ("c.txt", b"no picture")):
        client.put_object(Bucket=bucket, Key=f"shots/{key}", Body=content)
    place = f"s3://{bucket}/shots/"
    said = command.run("index", place, "--collection", collection, "--external-id-from", rule, status=1)
    assert "3 images, 2 faces, 1 failed" in said
    assert command.failures()[1][0] == "shots/c.txt"
    assert external_ids(rekognition, collection) == ids


def test_many_pictures_are_searched(command: Command, folder: Path, gallery: str) -> None:
    search = ("search", "photos", "--collection", gallery, "--max-faces", "1")
    rows = list(csv.DictReader(command.run(*search, "--csv", status=1).splitlines()))
    found = {row["picture"]: row for row in rows}
    assert found["photos/biden/face 1.jpg"]["external_id"] == "biden"
    assert float(found["photos/obama/face 1.jpg"]["similarity"]) > 99
    assert found["photos/broken.PNG"]["error"].startswith("Request has invalid image format")
    documents = [json.loads(line) for line in command.run(*search, "--json", status=1).splitlines()]
    assert {document["Picture"] for document in documents} == set(found)
    assert "picture" in command.run(*search, status=1).splitlines()[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("index", "nowhere", "--collection", "contract-gallery"), "there is no file or folder nowhere"),
        (("index", ".", "--collection", "contract-gallery"), "there is no picture in ."),
        (("index", "photos", "--collection", "contract-gallery", "--external-id-from", "odd"), "--external-id-from is"),
        (("search", "nowhere", "--collection", "contract-gallery"), "there is no file or folder nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(command: Command, gallery: str, words: tuple[str, ...], said: str) -> None:
    process = command.start(*words)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.startswith(f"rekollect: {said}")
    assert len(errors.splitlines()) == 1
