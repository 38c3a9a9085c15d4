"""Parts of `rekollect index` and `search`: what pictures are found, what they are called, what is remembered and shown."""

import argparse
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from app.cli import index, pictures, reprocess
from app.cli.client import Client, ClientError, Unreachable
from app.cli.crew import Crew
from app.cli.lookup import Lookup
from app.cli.notes import Notes, state
from app.cli.pictures import Picture, Prefix, Unlisted
from app.cli.progress import Progress, duration


def test_pictures_are_found_in_folders_below_in_order(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.JPG", "a.jpeg", "a.txt", "c.jpg/inside.gif"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert [picture.name for picture in pictures.find(tmp_path)] == ["a.jpeg", "b/1.JPG", "b/2.png"]
    assert [picture.name for picture in pictures.find(tmp_path / "a.txt")] == ["a.txt"]  # named outright, it is meant


@pytest.mark.parametrize(("rule", "name"), [("name", "a_b"), ("path", "people:a_b.jpg"), ("csv:ids.csv", "known")])
def test_pictures_are_called_by_a_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ids.csv").write_text("people/a b.jpg,known\n")
    assert pictures.naming(rule)(Picture(tmp_path / "people/a b.jpg", "people/a b.jpg")) == name


def test_a_table_names_every_picture_and_has_one_title(tmp_path: Path) -> None:
    file = tmp_path / "ids.csv"
    file.write_text("path,external_id\na.jpg,A\npath,external_id\n")
    name_of = pictures.naming(f"csv:{file}")
    assert [name_of(Picture(tmp_path / name, name)) for name in ("a.jpg", "path")] == ["A", "external_id"]
    with pytest.raises(Unlisted, match=r"not in .*ids\.csv"):
        name_of(Picture(tmp_path / "b.jpg", "b.jpg"))
    file.write_text("path,id\n")
    assert pictures.naming(f"csv:{file}")(Picture(tmp_path / "path", "path")) == "id"


@pytest.mark.parametrize("rule", ["", "csv", "csv:", "csv:missing.csv", "csv:wide.csv", "stem"])
def test_a_rule_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wide.csv").write_text("a,b,c\n")
    with pytest.raises(ClientError):
        pictures.naming(rule)


def test_a_place_in_s3_is_told_from_a_path() -> None:
    assert pictures.read_place("s3://bucket/some/prefix") == Prefix("bucket", "some/prefix")
    assert pictures.read_place("s3://bucket") == Prefix("bucket", "")
    assert pictures.read_place("s3/bucket") == Path("s3/bucket")


def test_notes_know_a_picture_as_long_as_it_stays_as_it_was(tmp_path: Path) -> None:
    picture = Picture(tmp_path / "a.jpg", "a.jpg")
    picture.path.write_bytes(b"1")
    with Notes(tmp_path, "collection") as notes:
        assert not notes.knows(picture, "id")
        notes.add(picture, "id", state(picture.path.stat()))
        written = notes.path
    with written.open("a") as file:
        file.write('["half a li')
    with Notes(tmp_path, "collection") as notes:
        assert notes.knows(picture, "id")
        assert not notes.knows(picture, "another id")
        picture.path.write_bytes(b"22")
        assert not notes.knows(picture, "id")
        picture.path.unlink()
        assert not notes.knows(picture, "id")
    with Notes(tmp_path, "another collection") as notes:
        assert not notes.knows(picture, "id")


def test_progress_shows_counts_rate_and_the_time_left() -> None:
    stream = io.StringIO()
    progress = Progress(10, stream=stream)
    progress.count(faces=2)
    progress.count(failed=True)
    progress.count(skipped=True)
    line = progress.line(progress._began + 2)
    assert line == "[#######                 ] 3/10 images  2 faces  1 failed  1.0 images/s  ETA 7 s"
    progress.show(last=True)
    assert stream.getvalue().endswith("\n")
    assert progress.summary().startswith("3 images (1 were done before), 2 faces, 1 failed, in ")


def test_durations_are_short() -> None:
    assert [duration(seconds) for seconds in (0.4, 59, 61, 3599, 7260)] == [
        "0 s",
        "59 s",
        "1 min 01 s",
        "59 min 59 s",
        "2 h 01 min",
    ]


@pytest.mark.parametrize(
    ("answers", "error", "keys"),
    [
        ([("CANCELED", None, False)], "it ended as CANCELED without a result", 1),
        ([("CANCELED", None, True), ("SUCCEEDED", None, False)], None, 2),
        ([("CANCELED", None, True), ("CANCELED", None, False)], "it ended as CANCELED without a result", 2),
        ([("EXPIRED", ("Late", True), True), ("SUCCEEDED", None, False)], None, 2),
        ([("FAILED", ("Away", True), True), ("SUCCEEDED", None, False)], None, 2),
        ([("FAILED", ("No picture", False), True)], "No picture (No picture)", 1),
        ([("SUCCEEDED", None, True)], None, 1),
    ],
)
def test_a_job_without_result_is_an_error_and_an_old_one_that_could_end_otherwise_is_done_anew(
    monkeypatch: pytest.MonkeyPatch, answers: list[Any], error: str | None, keys: int
) -> None:
    asked = []

    def post_form(_: Client, __: str, ___: Any, ____: bytes, *, headers: Any, wait: int) -> Any:
        asked.append(headers["Idempotency-Key"])
        status, failure, replayed = answers.pop(0)
        job = {"Done": True, "Status": status}
        if failure:
            job["Error"] = {"Code": failure[0], "Message": failure[0], "Retryable": failure[1]}
        return job | ({"Result": {"FaceRecords": []}} if status == "SUCCEEDED" else {}), replayed

    monkeypatch.setattr(Client, "post_form", post_form)
    lookup = Lookup(Client("http://localhost", "key"), Crew(1), "IndexFaces", "LOW")
    outcome = lookup.run(Picture(Path("a.jpg"), "a.jpg"), b"", {}, "key")
    assert outcome.error == error
    assert (outcome.result is None) == (error is not None)
    assert len(set(asked)) == keys


def test_files_that_vanish_and_an_api_that_goes_away_cost_no_failure_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / "photos" / name for name in ("a.jpg", "b.jpg", "c.jpg")]
    files[0].parent.mkdir()
    for file in files:
        file.write_bytes(file.name.encode())

    def post_form(_: Client, __: str, ___: Any, content: bytes, **____: Any) -> Any:
        if content == b"c.jpg":
            raise Unreachable("nothing answers")
        files[0].unlink()
        files[1].unlink()
        return {"Done": True, "Status": "SUCCEEDED", "Result": {"FaceRecords": [{}]}}, False

    described = {"Done": True, "Result": {"CreationTimestamp": "1"}}
    monkeypatch.setattr(Client, "post_form", post_form)
    monkeypatch.setattr(Client, "call", lambda *_, **__: described)
    monkeypatch.setattr("app.cli.lookup._TRIES", 1)
    monkeypatch.setenv("REKOLLECT_API_KEY", "key")
    monkeypatch.setenv("REKOLLECT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    index.configure(parser)
    arguments = parser.parse_args(["photos", "--collection", "people", "--concurrency", "1"])
    with pytest.raises(Unreachable):
        arguments.run(arguments)
    said = capsys.readouterr().out
    assert "2 images, 1 faces, 1 failed" in said
    assert "photos/b.jpg,cannot be read: No such file or directory" in Path("index-failures.csv").read_text()


def test_crops_are_purged_in_as_many_calls_as_it_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [{"Deleted": 10_000, "Left": 7}, {"Deleted": 7, "Left": 0}]
    monkeypatch.setattr(Client, "call", lambda *_: answers.pop(0))
    monkeypatch.setenv("REKOLLECT_API_KEY", "key")
    parser = argparse.ArgumentParser()
    reprocess.configure_crops(parser)
    arguments = parser.parse_args(["purge", "people", "--json"])
    assert arguments.run(arguments) == 0
    assert json.loads(capsys.readouterr().out) == {"Deleted": 10_007, "Left": 0}


def test_a_crew_begins_nothing_more_once_it_is_stopped() -> None:
    crew, begun = Crew(2), []

    def work(piece: int) -> int:
        begun.append(piece)
        if piece == 3:
            crew._stop.set()
        time.sleep(0.01)
        return piece

    assert set(crew.do(work, range(1000))) == set(begun)
    assert 4 <= len(begun) < 20
