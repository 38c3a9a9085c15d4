"""What Rekollect adds to the face search itself, on an idle stack: the way into a worker, and the way back to the caller.

The same picture is looked at and searched directly in this process, in turn with the requests, and that time is taken off.
These are wall times of one machine: let it do nothing else meanwhile.
"""

import base64
import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest

from app.config import Settings
from app.db.session import Database
from app.domain.face_models import NEWEST
from app.services import collections, faces
from tests.benchmarks.crowd import fill
from tests.live import LiveStack
from workers.vision.engine import FaceEngine

pytestmark = [pytest.mark.bench, pytest.mark.models]

COLLECTION = "crowd"
FACES = 1_000
ROUNDS = 100
WARM_UP_ROUNDS = 10
PICKUP_P50_MS = 30.0
OVERHEAD_P50_MS = 25.0

Way = Callable[[], Any]
Times = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Bench:
    """A stack, a connection to it that is kept alive as boto3's is, a picture, and its search without the stack."""

    live: LiveStack
    connection: http.client.HTTPConnection
    picture: bytes
    directly: Way


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, settings: Settings, portraits: dict[str, bytes]) -> Iterator[Bench]:
    with LiveStack(tmp_path_factory.mktemp("bench"), durable=True) as live:
        fill(live, COLLECTION, portraits, FACES)
        picture = _scaled(portraits["obama3"], long_side=640)
        engine = FaceEngine.load(settings, NEWEST)
        connection = http.client.HTTPConnection(live.stack.host, live.stack.port)
        database = Database(live.database_url, pool_size=1)
        ((account_id,),) = live.query("SELECT account_id FROM accounts")

        def directly() -> Any:
            largest = engine.analyze(picture)[0]
            with database.transaction() as transaction:
                collection = collections.get(transaction, account_id, COLLECTION)
                return faces.search(transaction, collection, largest.embedding, threshold=80.0, max_faces=10)

        yield Bench(live, connection, picture, directly)
        connection.close()
        database.close()


def test_an_idle_stack_starts_a_search_soon_and_adds_little_to_it(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    ways = {"boto3, POST /": _by_boto3(bench), "POST /v1/jobs, Prefer: wait": _by_job(bench)}
    alone, *answered = _taken_in_turn([bench.directly, *ways.values()])
    pickup = _in_postgres(bench.live, "started_at - created_at")
    added = {way: times - np.median(alone) for way, times in zip(ways, answered, strict=True)}
    with capsys.disabled():
        load = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        print(f"\n\n{f'milliseconds, {ROUNDS} rounds, load {load}':<48}{'p50':>8}{'p90':>8}{'p99':>8}")
        _print_row("look and search, in this process", alone)
        for way, times in zip(ways, answered, strict=True):
            _print_row(way, times)
        for way, times in added.items():
            _print_row(f"{way}: added  (bar p50 < {OVERHEAD_P50_MS:g})", times)
        _print_row(f"commit to start  (bar p50 < {PICKUP_P50_MS:g})", pickup)
        _print_row("start to end", _in_postgres(bench.live, "finished_at - started_at"))
    assert np.median(pickup) < PICKUP_P50_MS
    assert {way: p50 for way, times in added.items() if (p50 := float(np.median(times))) >= OVERHEAD_P50_MS} == {}


def _by_boto3(bench: Bench) -> Way:
    rekognition = bench.live.rekognition()

    def ask() -> Any:
        return rekognition.search_faces_by_image(CollectionId=COLLECTION, Image={"Bytes": bench.picture}, MaxFaces=10)[
            "FaceMatches"
        ]

    return ask


def _by_job(bench: Bench) -> Way:
    image = {"Bytes": base64.b64encode(bench.picture).decode()}
    input_ = {"CollectionId": COLLECTION, "Image": image, "MaxFaces": 10}
    body = json.dumps({"Operation": "SearchFacesByImage", "Input": input_})
    headers = {
        "Authorization": f"Bearer {bench.live.key.api_key}",
        "Content-Type": "application/json",
        "Prefer": "wait=10",
    }

    def ask() -> Any:
        bench.connection.request("POST", "/v1/jobs", body, headers)
        return json.load(bench.connection.getresponse())["Result"]["FaceMatches"]

    return ask


def _taken_in_turn(ways: list[Way]) -> list[Times]:
    """Time every way in every round, so that whatever the machine does besides meets all alike."""
    rounds = [[_milliseconds(way) for way in ways] for _ in range(WARM_UP_ROUNDS + ROUNDS)]
    return list(np.array(rounds[WARM_UP_ROUNDS:]).T)


def _milliseconds(way: Way) -> float:
    began = time.perf_counter()
    assert way(), "the person in the picture is in the collection"
    return (time.perf_counter() - began) * 1000


def _in_postgres(live: LiveStack, interval: str) -> Times:
    """Read a time of the newest searches, by the clock of Postgres alone."""
    rows = live.query(
        f"SELECT extract(epoch FROM {interval}) * 1000 FROM jobs WHERE operation = 'SearchFacesByImage' "  # noqa: S608
        f"ORDER BY created_at DESC LIMIT {2 * ROUNDS}"
    )
    return np.array([float(milliseconds) for (milliseconds,) in rows])


def _print_row(name: str, times: Times) -> None:
    p50, p90, p99 = np.percentile(times, [50, 90, 99])
    print(f"{name:<48}{p50:>8.1f}{p90:>8.1f}{p99:>8.1f}")


def _scaled(picture: bytes, *, long_side: int) -> bytes:
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    factor = long_side / max(pixels.shape[:2])
    encoded, smaller = cv2.imencode(
        ".jpg", cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    )
    assert encoded
    return smaller.tobytes()
