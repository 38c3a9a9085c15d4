"""`rekollect jobs`: submit work, look at it, take it back, and try it again, over HTTP."""

import argparse
import base64
import json
import re
import sys
from pathlib import Path
from typing import Any

from app.cli import tables
from app.cli.client import ClientError, add_options, connect, segment
from app.domain.jobs import Priority, Status
from app.services import operations

_IMAGES = {"image": "Image", "source": "SourceImage", "target": "TargetImage"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `rekollect jobs`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list jobs, newest first")
    listing.add_argument("--status", choices=list(Status))
    listing.add_argument("--operation", choices=sorted(operations.ALL), metavar="OPERATION")
    listing.add_argument("--collection")
    listing.add_argument("--limit", type=int, default=50, help="how many (default %(default)s)")
    listing.add_argument("--next", metavar="TOKEN", help="go on where the page before ended")
    listing.set_defaults(run=list_)
    for name, help_ in (("show", "show a job"), ("cancel", "take a job back"), ("retry", "submit a job once more")):
        one = actions.add_parser(name, help=help_)
        one.add_argument("job_id")
        one.add_argument("--wait", type=seconds, default=0, metavar="SECONDS", help="wait for its end, 30 at most")
        one.set_defaults(run={"show": show, "cancel": cancel, "retry": retry}[name])
    _configure_submit(actions.add_parser("submit", help="submit a job"))
    for action in actions.choices.values():
        add_options(action)


def _configure_submit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("operation", choices=sorted(operations.ALL), metavar="OPERATION", help="as SearchFacesByImage")
    parser.add_argument("--collection", help="CollectionId of the input")
    for name, member in _IMAGES.items():
        parser.add_argument(f"--{name}", metavar="PICTURE", help=f"{member}: a file, s3://BUCKET/NAME or an https URL")
    parser.add_argument(
        "--input", type=_object, default={}, metavar="JSON", help="further members; - reads them from stdin"
    )
    parser.add_argument("--webhook", metavar="URL|ENDPOINT", help="who is told; default: the endpoints that want it")
    parser.add_argument("--priority", choices=list(Priority))
    parser.add_argument("--deadline", type=int, metavar="SECONDS", help="when it must have been started")
    parser.add_argument("--metadata", nargs="+", type=pair, default=[], metavar="NAME=VALUE", help="your own notes")
    parser.add_argument("--key", help="idempotency key: a repeated submit gives the same job")
    parser.add_argument("--wait", type=seconds, default=0, metavar="SECONDS", help="wait for its end, 30 at most")
    parser.set_defaults(run=submit)


def list_(arguments: argparse.Namespace) -> int:
    """List jobs."""
    query = {
        "Status": arguments.status,
        "Operation": arguments.operation,
        "CollectionId": arguments.collection,
        "MaxResults": arguments.limit,
        "NextToken": arguments.next,
    }
    page = connect(arguments).call("GET", "/v1/jobs", query=query)
    rows = [
        (
            job["JobId"],
            job["Operation"],
            job["Status"],
            tables.moment(job["CreatedAt"]),
            tables.moment(job.get("FinishedAt")),
            job.get("Error", {}).get("Code"),
        )
        for job in page["Jobs"]
    ]
    titles = ("job", "operation", "status", "created", "finished", "error")
    print_page(arguments, page, tables.table(titles, rows))
    return 0


def print_page(arguments: argparse.Namespace, page: dict[str, Any], table: str) -> None:
    """Print a page of a list, and how to see the next."""
    if arguments.json:
        print(json.dumps(page, indent=2))
        return
    print(table)
    if "NextToken" in page:
        print(f"\nmore: --next {page['NextToken']}")


def show(arguments: argparse.Namespace) -> int:
    """Show a job; the exit status is 1 where it ended without success."""
    query = {"wait": arguments.wait or None}
    path = f"/v1/jobs/{segment(arguments.job_id)}"
    return _print_job(arguments, connect(arguments).call("GET", path, query=query, wait=arguments.wait))


def cancel(arguments: argparse.Namespace) -> int:
    """Cancel a job; with --wait until its worker has stopped."""
    client, path = connect(arguments), f"/v1/jobs/{segment(arguments.job_id)}"
    job = client.call("POST", f"{path}/cancel")
    if arguments.wait and not job["Done"]:
        job = client.call("GET", path, query={"wait": arguments.wait}, wait=arguments.wait)
    print_document(arguments, job)
    return 0


def retry(arguments: argparse.Namespace) -> int:
    """Submit a job that did not succeed once more."""
    path = f"/v1/jobs/{segment(arguments.job_id)}/retry"
    return _print_job(arguments, connect(arguments).call("POST", path, headers=_prefer(arguments), wait=arguments.wait))


def submit(arguments: argparse.Namespace) -> int:
    """Submit a job."""
    input_ = dict(arguments.input)
    if arguments.collection is not None:
        input_["CollectionId"] = arguments.collection
    input_ |= {
        member: _picture(chosen) for name, member in _IMAGES.items() if (chosen := getattr(arguments, name)) is not None
    }
    body = {
        "Operation": arguments.operation,
        "Input": input_,
        "Webhook": _webhook(arguments.webhook),
        "Priority": arguments.priority,
        "Deadline": arguments.deadline,
        "Metadata": dict(arguments.metadata) or None,
        "ClientRequestToken": arguments.key,
    }
    named = {name: value for name, value in body.items() if value is not None}
    client = connect(arguments)
    return _print_job(
        arguments, client.call("POST", "/v1/jobs", named, headers=_prefer(arguments), wait=arguments.wait)
    )


def print_document(arguments: argparse.Namespace, document: dict[str, Any]) -> None:
    """Print one thing."""
    print(json.dumps(document, indent=2) if arguments.json else tables.lines(document))


def _print_job(arguments: argparse.Namespace, job: dict[str, Any]) -> int:
    print_document(arguments, job)
    return 1 if job["Done"] and job["Status"] != Status.SUCCEEDED else 0


def _prefer(arguments: argparse.Namespace) -> dict[str, str]:
    return {"Prefer": f"wait={arguments.wait}"} if arguments.wait else {}


def _webhook(receiver: str | None) -> dict[str, str] | None:
    if receiver is None:
        return None
    return {"Url": receiver} if "://" in receiver else {"EndpointId": receiver}


def _picture(source: str) -> dict[str, Any]:
    if found := re.fullmatch(r"s3://([^/]+)/(.+)", source):
        return {"S3Object": {"Bucket": found[1], "Name": found[2]}}
    if re.match(r"https?://", source):
        return {"Url": source}
    try:
        return {"Bytes": base64.b64encode(Path(source).read_bytes()).decode()}
    except OSError as error:
        raise ClientError(f"cannot read {source}: {error.strerror}") from error


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return value


def pair(text: str) -> tuple[str, str]:
    """Read an argument NAME=VALUE."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value


def seconds(text: str) -> int:
    """Read an argument of whole seconds."""
    if not re.fullmatch("[0-9]{1,4}", text):
        raise argparse.ArgumentTypeError("must be a whole number of seconds")
    return int(text)
