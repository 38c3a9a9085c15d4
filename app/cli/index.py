"""`rekollect index`: put many pictures into a collection, from a folder or from S3, and see how it goes.

Files go up as jobs, a few at a time; a prefix of S3 is one batch on the server. Ctrl-C is safe: running the command again goes
on.
"""

import argparse
import csv
import hashlib
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.cli import pictures
from app.cli.client import Client, ClientError, Refused, add_options, connect
from app.cli.crew import Crew
from app.cli.follow import Followed
from app.cli.lookup import Lookup, Outcome, error_of
from app.cli.notes import Notes, State, state
from app.cli.pictures import Naming, Picture, Prefix, Unlisted
from app.cli.progress import Progress
from app.config import Settings

_WAIT_SECONDS = 30
_INTERRUPTED = 130


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `rekollect index`."""
    parser.add_argument("place", type=pictures.read_place, metavar="PATH|s3://BUCKET/PREFIX", help="what to index")
    parser.add_argument("--collection", required=True, help="the collection's id")
    parser.add_argument("--create", action="store_true", help="make the collection where there is none")
    parser.add_argument(
        "--external-id-from",
        metavar="name|path|csv:FILE",
        default="path",
        help="ExternalImageId of a picture: its name without suffix, its path (default), or two columns path,external_id",
    )
    parser.add_argument("--quality-filter", choices=("NONE", "AUTO", "LOW", "MEDIUM", "HIGH"))
    parser.add_argument("--max-faces", type=int, metavar="N", help="of one picture")
    parser.add_argument("--concurrency", type=int, default=8, metavar="N", help="files under way (default %(default)s)")
    parser.add_argument("--again", action="store_true", help="begin anew, whatever earlier runs did with these files")
    parser.add_argument(
        "--failures", type=Path, default=Path("index-failures.csv"), metavar="FILE", help="(default %(default)s)"
    )
    add_options(parser)
    parser.set_defaults(run=index)


@dataclass(slots=True)
class _Report:
    """What a run leaves behind: counts on the screen, failures in a file."""

    progress: Progress
    failures: list[tuple[str, str]] = field(default_factory=list)

    def fail(self, name: str, error: str) -> None:
        self.failures.append((name, error))
        self.progress.count(failed=True)

    @contextmanager
    def ending(self, file: Path, crew: Crew) -> Iterator[None]:
        """However the block ends, say what was done and write the failures."""
        try:
            yield
        finally:
            self.progress.show(last=True)
            print(self.progress.summary())
            if self.failures:
                with file.open("w", newline="", encoding="utf-8") as lines:
                    csv.writer(lines).writerows([("picture", "error"), *self.failures])
                print(f"what failed, and why: {file}")
            if crew.stopped:
                print("ended by Ctrl-C; run the same command again to go on")

    def status(self, crew: Crew) -> int:
        """Give the exit status."""
        return _INTERRUPTED if crew.stopped else int(bool(self.failures))


def index(arguments: argparse.Namespace) -> int:
    """Index; the exit status is 1 where pictures failed, 130 after Ctrl-C."""
    client, crew = connect(arguments), Crew(arguments.concurrency)
    made_at = _collection(client, arguments)
    with crew.listening():
        if isinstance(arguments.place, Prefix):
            return _index_prefix(arguments, client, crew)
        return _index_files(arguments, client, crew, made_at)


def _collection(client: Client, arguments: argparse.Namespace) -> str:
    """Give the time at which the collection was made, which tells it from an earlier one of that name."""
    input_ = {"CollectionId": arguments.collection}
    job = _at_once(client, "DescribeCollection", input_)
    if "Error" in job and arguments.create:
        _at_once(client, "CreateCollection", input_)
        job = _at_once(client, "DescribeCollection", input_)
    if "Error" in job:
        raise ClientError(f"{job['Error']['Message']}; --create makes it")
    return str(job["Result"]["CreationTimestamp"])


def _at_once(client: Client, operation: str, input_: dict[str, Any]) -> dict[str, Any]:
    body = {"Operation": operation, "Input": input_, "Priority": "HIGH"}
    job = client.call("POST", "/v1/jobs", body, headers={"Prefer": f"wait={_WAIT_SECONDS}"}, wait=_WAIT_SECONDS)
    if not job["Done"]:
        raise ClientError(f"no worker answered within {_WAIT_SECONDS} s; is one running?")
    return job


def _input(arguments: argparse.Namespace) -> dict[str, Any]:
    members = {
        "CollectionId": arguments.collection,
        "QualityFilter": arguments.quality_filter,
        "MaxFaces": arguments.max_faces,
    }
    return {name: value for name, value in members.items() if value is not None}


def _index_files(arguments: argparse.Namespace, client: Client, crew: Crew, made_at: str) -> int:
    name_of = pictures.naming(arguments.external_id_from)
    found = list(pictures.find(arguments.place))
    if not found:
        raise ClientError(f"there is no picture in {arguments.place}: nothing ends in .jpg, .jpeg or .png")
    report = _Report(Progress(len(found)))
    lookup = Lookup(client, crew, "IndexFaces", "LOW")
    settings = Settings.from_environment()
    bound_to = (settings.url, arguments.collection, made_at, str(arguments.place.absolute()))
    run = uuid.uuid4().hex if arguments.again else ""
    with Notes(settings.cache, *bound_to) as notes:
        left = _left(found, name_of, None if arguments.again else notes, report)
        work = _work(lookup, _input(arguments), (*bound_to[1:3], *([run] if run else [])))
        with report.ending(arguments.failures, crew):
            for done in crew.do(work, left):
                _count(done, notes, report)
    return report.status(crew)


#: A picture with its ExternalImageId.
_Named = tuple[Picture, str]


@dataclass(frozen=True, slots=True)
class _Done:
    """What came of a picture, under which id, and the state of its file when it was read."""

    outcome: Outcome
    external_id: str
    read: State


def _left(found: Sequence[Picture], name_of: Naming, notes: Notes | None, report: _Report) -> Iterator[_Named]:
    for picture in found:
        try:
            external_id = name_of(picture)
        except Unlisted as error:
            report.fail(str(picture.path), str(error))
            continue
        if notes is not None and notes.knows(picture, external_id):
            report.progress.count(skipped=True)
        else:
            yield picture, external_id


def _work(lookup: Lookup, shared: dict[str, Any], bound_to: Sequence[str]) -> Callable[[_Named], _Done]:
    """Make the work on one picture; the same content under the same id is the same job, whoever submits it again."""

    def work(named: _Named) -> _Done:
        picture, external_id = named
        input_ = shared | ({"ExternalImageId": external_id} if external_id else {})
        try:
            with picture.path.open("rb") as file:
                read, content = state(os.fstat(file.fileno())), file.read()
        except OSError as error:
            return _Done(Outcome(picture, error=f"cannot be read: {error.strerror}"), external_id, [])
        digest = hashlib.sha256(repr((bound_to, sorted(input_.items()))).encode() + content).hexdigest()
        return _Done(lookup.run(picture, content, input_, f"index:{digest}"), external_id, read)

    return work


def _count(done: _Done, notes: Notes, report: _Report) -> None:
    outcome = done.outcome
    if outcome.error is not None:
        report.fail(str(outcome.picture.path), outcome.error)
    elif outcome.result is not None:
        notes.add(outcome.picture, done.external_id, done.read)
        report.progress.count(faces=len(outcome.result["FaceRecords"]))


def _index_prefix(arguments: argparse.Namespace, client: Client, crew: Crew) -> int:
    if arguments.external_id_from not in ("name", "path"):
        raise ClientError("for pictures in S3 --external-id-from is name or path")
    place = {"Bucket": arguments.place.bucket, "Prefix": arguments.place.prefix}
    source = {**place, "ExternalImageIdFrom": {"name": "NAME", "path": "KEY"}[arguments.external_id_from]}
    batch = _open_batch(client, {"Operation": "IndexFaces", "Defaults": _input(arguments), "S3Prefix": source})
    followed = Followed(client, crew, batch)
    report = _Report(Progress(None))
    with report.ending(arguments.failures, crew):
        for line in followed.lines():
            _count_line(line, followed.batch, report)
        if followed.batch["Done"] and "Error" in followed.batch:
            raise ClientError(followed.batch["Error"]["Message"])
    if crew.stopped:
        print(f"the batch {batch['BatchId']} goes on by itself; cancel it with POST {batch['Links']['Self']}/cancel")
    return report.status(crew)


def _count_line(line: dict[str, Any] | None, batch: dict[str, Any], report: _Report) -> None:
    if line is None:
        report.progress.total = batch["Counts"]["Total"]
        report.progress.show()
    elif "Result" in line:
        report.progress.count(faces=len(line["Result"]["FaceRecords"]))
    else:
        report.fail(line["CustomId"], error_of(line))


def _open_batch(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    """Give the batch that does this already, or submit one."""
    wanted = {"S3Prefix": body["S3Prefix"]}
    try:
        batches: list[dict[str, Any]] = client.call("GET", "/v1/batches", query={"MaxResults": 100})["Batches"]
        for batch in batches:
            same = (batch["Operation"], batch.get("Defaults"), batch["Source"]) == (
                "IndexFaces",
                body["Defaults"],
                wanted,
            )
            if same and not batch["Done"]:
                print(f"going on with the batch {batch['BatchId']}", file=sys.stderr)
                return batch
        return client.call("POST", "/v1/batches", body)
    except Refused as error:
        raise ClientError(error.detail) from error
