"""The whole system against the bare engine, from the HTTP submit to the stored result, also where the store is 100 ms away.

The engine looks at the same pictures in as many threads as the worker has cores, without a store or a database; it runs before
and after each way. A batch is the way for many pictures, and held to the bar; single jobs are shown beside it. And the same
loop in threads of one process and in processes: what the threads of a worker cost and save.
"""

import http.client
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from app.config import Settings
from app.domain.face_models import NEWEST
from tests.benchmarks.far_store import far_away
from tests.live import LiveStack
from tests.s3 import S3Server
from workers.vision.engine import FaceEngine

pytestmark = [pytest.mark.bench, pytest.mark.models]

ITEMS = int(os.environ.get("REKOLLECT_BENCH_PICTURES", "1200"))
BARE_ITEMS = 300
CORES = 2
FAR_SECONDS = 0.1
LEAST_SHARE = 0.9
BUCKET = "bench-throughput"

Way = Callable[[LiveStack, list[str]], float]


@pytest.fixture(scope="module")
def keys(s3_server: S3Server, portraits: dict[str, bytes]) -> list[str]:
    """The portraits in the store."""
    client = s3_server.client()
    client.create_bucket(Bucket=BUCKET)
    for name, content in portraits.items():
        client.put_object(Bucket=BUCKET, Key=name, Body=content)
    return list(portraits)


@pytest.fixture(params=[0.0, FAR_SECONDS], ids=["near", "far"])
def live(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server
) -> Iterator[LiveStack]:
    """A stack whose store is near or far."""
    with ExitStack() as opened:
        url = opened.enter_context(far_away(s3_server.endpoint_url, seconds=request.param))
        settings = {
            "REKOLLECT_S3_ENDPOINT_URL": url,
            "REKOLLECT_S3_ACCESS_KEY_ID": s3_server.access_key_id,
            "REKOLLECT_S3_SECRET_ACCESS_KEY": s3_server.secret_access_key,
            "REKOLLECT_WORKER_THREADS": str(CORES),
        }
        yield opened.enter_context(LiveStack(tmp_path_factory.mktemp("throughput"), durable=True, **settings))


def test_the_whole_system_keeps_up_with_the_bare_engine(
    live: LiveStack,
    keys: list[str],
    settings: Settings,
    portraits: dict[str, bytes],
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = FaceEngine.load(settings, NEWEST)
    live.rekognition().create_collection(CollectionId="people")
    shares = {}
    for name, way in {"batch": _by_batch, "jobs": _by_jobs}.items():
        before = _bare(engine, portraits)
        rate = way(live, keys)
        loop = statistics.mean((before, _bare(engine, portraits)))
        shares[name] = rate / loop
        with capsys.disabled():
            load = f"load {os.getloadavg()[0]:.1f}"
            print(
                f"\n{request.node.callspec.id}, {name}: {rate:.1f}/s, engine {loop:.1f}/s: {rate / loop:.0%} ({load})"
            )
    assert shares["batch"] >= LEAST_SHARE


def _bare(engine: FaceEngine, portraits: dict[str, bytes]) -> float:
    pictures = list(portraits.values())
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(engine.analyze, pictures * 2))
        began = time.perf_counter()
        list(pool.map(lambda number: engine.analyze(pictures[number % len(pictures)]), range(BARE_ITEMS)))
        return BARE_ITEMS / (time.perf_counter() - began)


def _input(number: int, keys: list[str]) -> dict[str, Any]:
    image = {"S3Object": {"Bucket": BUCKET, "Name": keys[number % len(keys)]}}
    return {"CollectionId": "people", "ExternalImageId": str(number), "Image": image}


def _by_batch(live: LiveStack, keys: list[str]) -> float:
    lines = [{"Operation": "IndexFaces"}, *({"Input": _input(number, keys)} for number in range(ITEMS))]
    body = "\n".join(map(json.dumps, lines)).encode()
    began = time.perf_counter()
    answer = live.call("POST", "/v1/batches", body, {"Content-Type": "application/x-ndjson"})
    assert answer.status == 202, answer.body
    while not (shown := live.call("GET", answer.json["Links"]["Self"]).json)["Done"]:
        time.sleep(0.2)
    assert shown["Counts"]["Succeeded"] == ITEMS, shown
    return ITEMS / (time.perf_counter() - began)


def _by_jobs(live: LiveStack, keys: list[str]) -> float:
    """Submit single jobs, a few at a time, as a client does that keeps a queue filled."""
    began = time.perf_counter()

    def submit(numbers: range) -> None:
        connection = http.client.HTTPConnection(live.stack.host, live.stack.port, timeout=60)
        headers = {"Authorization": f"Bearer {live.key.api_key}", "Content-Type": "application/json"}
        for number in numbers:
            body = json.dumps({"Operation": "IndexFaces", "Input": _input(ITEMS + number, keys)})
            connection.request("POST", "/v1/jobs", body, headers)
            answer = connection.getresponse()
            assert answer.status == 202, answer.read()
            answer.read()
        connection.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(submit, [range(0, ITEMS, 2), range(1, ITEMS, 2)]))
    while live.query("SELECT count(*) FROM jobs WHERE status IN ('QUEUED', 'IN_PROGRESS')") != [(0,)]:
        time.sleep(0.2)
    seconds = time.perf_counter() - began
    assert live.query("SELECT count(*) FROM jobs WHERE operation = 'IndexFaces' AND status = 'SUCCEEDED'") == [(ITEMS,)]
    return ITEMS / seconds


_engines: list[FaceEngine] = []


def _load(settings: Settings) -> None:
    _engines[:] = [FaceEngine.load(settings, NEWEST)]


def _look(picture: bytes) -> int:
    return len(_engines[0].analyze(picture))


def test_threads_of_one_process_against_processes(
    settings: Settings, portraits: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    spawn = multiprocessing.get_context("spawn")
    pools: dict[str, Callable[[int], Executor]] = {
        "threads": lambda count: ThreadPoolExecutor(count, initializer=_load_once, initargs=(settings,)),
        "processes": lambda count: ProcessPoolExecutor(count, spawn, initializer=_load, initargs=(settings,)),
    }
    rows: dict[tuple[str, int], list[float]] = {(kind, count): [] for count in (1, CORES) for kind in pools}
    for _ in range(3):
        for (kind, count), rates in rows.items():
            with pools[kind](count) as pool:
                rates.append(_rate(pool, list(portraits.values())))
    with capsys.disabled():
        print(f"\n{'pictures a second, best of three':<36}{'1':>8}{CORES:>8}")
        for kind in pools:
            print(f"{kind:<36}{max(rows[kind, 1]):>8.1f}{max(rows[kind, CORES]):>8.1f}")


def _load_once(settings: Settings) -> None:
    if not _engines:
        _load(settings)


def _rate(pool: Executor, pictures: list[bytes]) -> float:
    list(pool.map(_look, pictures * 4))
    began = time.perf_counter()
    list(pool.map(_look, [pictures[number % len(pictures)] for number in range(BARE_ITEMS)]))
    return BARE_ITEMS / (time.perf_counter() - began)
