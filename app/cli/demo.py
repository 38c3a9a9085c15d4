"""`rekollect demo`: the main job end to end, on real parts, with real portraits.

Starts the whole stack in a folder of its own, indexes portraits of two people, searches with another portrait as a job with
a webhook, checks the webhook's signature with an independent library, asks the same through an unmodified boto3 client, and
leaves nothing behind.
"""

import argparse
import base64
import json
import os
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from app.assets import pull_samples
from app.cli.receiver import Receiver
from app.config import PREFIX
from app.local.errors import LocalError
from app.local.stack import Stack

COLLECTION = "demo"
ENROLLED = {"obama.jpg": "barack-obama", "obama2.jpg": "barack-obama", "biden.jpg": "joe-biden"}
PROBE, EXPECTED = "obama3.jpg", "barack-obama"
_LONGEST_JOB_SECONDS = 60.0
STRANGER = "biden.jpg"  # a stranger as long as he is not enrolled


def configure(parser: argparse.ArgumentParser) -> None:
    """`rekollect demo` takes no options."""
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 when everything came out as it should."""
    say = _Progress()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that being ended cleans up as Ctrl-C does
    try:
        with tempfile.TemporaryDirectory(prefix="rekollect-demo-") as folder, Receiver() as receiver:
            environment = {**os.environ, PREFIX + "DIAL_ALLOW": "127.0.0.0/8"}
            stack = Stack(environment, Path(folder) / "data", port=_free_port(), report=say, durable=False)
            samples = {path.name: path for path in pull_samples(stack.settings, lambda line: say("samples    " + line))}
            with stack:
                stack.wait_until_ready()
                return _Show(stack, samples, receiver, say).run()
    except (LocalError, BotoCoreError, ClientError, OSError) as error:  # OSError holds what urllib raises
        print(f"rekollect demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


class _Progress:
    """Prints each step with the time since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self, line: str) -> None:
        if not line.startswith(("first access key", "  ")):  # the demo's key dies with the demo
            print(f"{time.monotonic() - self._start:6.1f} s  {line}", flush=True)


class _Show:
    """The acts of the demo, against a running stack."""

    def __init__(self, stack: Stack, samples: dict[str, Path], receiver: Receiver, say: _Progress) -> None:
        key = stack.first_key
        if key is None:
            raise LocalError("the demo needs a new data directory")
        self._stack, self._url, self._samples, self._receiver, self._say = stack, stack.url, samples, receiver, say
        self._api_key, self._webhook_secret = key.api_key, key.webhook_secret
        self._rekognition = boto3.client(
            "rekognition",
            endpoint_url=stack.url,
            region_name="us-east-1",
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret_access_key,
        )

    def run(self) -> int:
        """Play all acts, print the table, and tell whether all came out right."""
        self._rekognition.create_collection(CollectionId=COLLECTION)
        self._say(f"boto3      CreateCollection {COLLECTION}")
        self._index("obama.jpg")
        self._index("obama2.jpg")
        stranger, stranger_ms = self._ask(STRANGER)
        self._say(f"boto3      SearchFacesByImage {STRANGER}, not enrolled yet: {len(stranger)} matches")
        self._index("biden.jpg")
        job, job_ms = self._submit(PROBE)
        verified = self._await_webhook(job["JobId"])
        matches, wire_ms = self._ask(PROBE)
        self._say(f"boto3      SearchFacesByImage {PROBE}: {len(matches)} matches")
        job_matches = job.get("Result", {}).get("FaceMatches", [])
        self._print_table(
            [
                (STRANGER + " (a stranger then)", "boto3, POST /", stranger, stranger_ms),
                (PROBE, "job, POST /v1/jobs", job_matches, job_ms),
                (PROBE, "boto3, POST /", matches, wire_ms),
            ]
        )
        good = [not stranger, verified, _names(matches)[:1] == [EXPECTED], _names(matches) == _names(job_matches)]
        good.append(set(_names(matches)) == {EXPECTED})
        print("\nAll as expected." if all(good) else "\nNOT as expected.")
        return 0 if all(good) else 1

    def _index(self, name: str) -> None:
        began = time.monotonic()
        answer = self._rekognition.index_faces(
            CollectionId=COLLECTION,
            Image={"Bytes": self._samples[name].read_bytes()},
            ExternalImageId=ENROLLED[name],
        )
        faces = len(answer["FaceRecords"])
        self._say(f"boto3      IndexFaces {name} as {ENROLLED[name]}: {faces} face, {_since(began):.0f} ms")

    def _ask(self, name: str) -> tuple[list[Any], float]:
        began = time.monotonic()
        answer = self._rekognition.search_faces_by_image(
            CollectionId=COLLECTION, Image={"Bytes": self._samples[name].read_bytes()}
        )
        return answer["FaceMatches"], _since(began)

    def _submit(self, name: str) -> tuple[dict[str, Any], float]:
        """Submit a search as a job, with a webhook, and poll until it is done."""
        began = time.monotonic()
        image = {"Bytes": base64.b64encode(self._samples[name].read_bytes()).decode()}
        job = self._call(
            "POST",
            "/v1/jobs",
            {
                "Operation": "SearchFacesByImage",
                "Input": {"CollectionId": COLLECTION, "Image": image},
                "Webhook": {"Url": self._receiver.url},
            },
        )
        self._say(f"POST       /v1/jobs: 202, JobId {job['JobId']}, {job['Status']}")
        while not job["Done"] and time.monotonic() < began + _LONGEST_JOB_SECONDS:
            time.sleep(0.02)
            self._stack.tend()
            job = self._call("GET", f"/v1/jobs/{job['JobId']}")
        self._say(f"GET        /v1/jobs/{job['JobId']}: {job['Status']}")
        return job, _since(began)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - our own address
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._api_key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            document: dict[str, Any] = json.load(answer)
        return document

    def _await_webhook(self, job_id: str) -> bool:
        message = self._receiver.wait(20)
        if message is None:
            self._say("webhook    did not arrive")
            return False
        verified = message.is_signed_with(self._webhook_secret)
        body = json.loads(message.body)
        self._say(f"webhook    {message.headers['webhook-id']} {body['type']}, {len(message.body)} bytes")
        self._say(f"webhook    signature {'verified' if verified else 'WRONG'} by the library standardwebhooks")
        return verified and body["data"]["JobId"] == job_id

    def _print_table(self, rows: list[tuple[str, str, list[Any], float]]) -> None:
        print(f"\n{'picture':<28}{'asked by':<22}{'who matched':<16}{'similarity':>10}{'time':>10}")
        for picture, way, matches, milliseconds in rows:
            shown = matches or [None]
            for number, match in enumerate(shown):
                who = "no match" if match is None else match["Face"]["ExternalImageId"]
                similarity = "" if match is None else f"{match['Similarity']:.2f}"
                spent = f"{milliseconds:.0f} ms" if number == 0 else ""
                first = (picture, way) if number == 0 else ("", "")
                print(f"{first[0]:<28}{first[1]:<22}{who:<16}{similarity:>10}{spent:>10}")


def _names(matches: list[Any]) -> list[str]:
    return [match["Face"]["ExternalImageId"] for match in matches]


def _since(began: float) -> float:
    return (time.monotonic() - began) * 1000


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
