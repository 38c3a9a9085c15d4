"""A batch against a bare loop over the same engine, its memory, what it costs whoever waits, and a batch under kill -9.

REKOLLECT_BENCH_ITEMS (20,000) and REKOLLECT_BENCH_FAULTY_ITEMS (3,000) shorten it. The pictures are real portraits under
distinct ids; the bare loop fetches them from the same store with as many threads as the worker has, and forgets what it finds.
"""

import contextlib
import os
import random
import signal
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from app.domain.face_models import NEWEST
from app.domain.images import S3Image
from tests.benchmarks.test_overload import _family_mb
from tests.end_to_end import test_batch_faults as faults
from tests.faults.faulty import COLLECTION, FaultyStack
from tests.held import HeldServer
from tests.live import LiveStack
from tests.s3 import S3Server
from workers.fetch import Fetcher, make_s3_client
from workers.outbound import Dialer
from workers.vision.engine import FaceEngine

pytestmark = [pytest.mark.bench, pytest.mark.models]

ITEMS = int(os.environ.get("REKOLLECT_BENCH_ITEMS", "20000"))
FAULTY_ITEMS = int(os.environ.get("REKOLLECT_BENCH_FAULTY_ITEMS", "3000"))
BARE_ITEMS = min(ITEMS, 600)
THREADS = 2
LEAST_SHARE = 0.85
MOST_GROWTH = 1.1
STEADY_FROM = 1000  # items; memory is compared from here on
SEARCHES = 40
BUCKET = "bench-batches"


@pytest.fixture(scope="module")
def store(s3_server: S3Server, portraits: dict[str, bytes]) -> list[str]:
    """The portraits in S3; gives their keys."""
    client = s3_server.client()
    client.create_bucket(Bucket=BUCKET)
    for name, content in portraits.items():
        client.put_object(Bucket=BUCKET, Key=f"{name}.jpg", Body=content)
    return [f"{name}.jpg" for name in portraits]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[LiveStack]:
    folder = tmp_path_factory.mktemp("bench-batches")
    with LiveStack(folder, s3=s3_server, durable=True, REKOLLECT_WORKER_THREADS=str(THREADS)) as live:
        yield live


@pytest.fixture
def probe(portraits: dict[str, bytes]) -> Iterator[HeldServer]:
    with HeldServer(portraits["obama"]) as server:
        yield server


def test_a_batch_is_almost_as_fast_as_a_bare_loop_and_its_memory_stays_flat(
    live: LiveStack, s3_server: S3Server, store: list[str], settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = _Bare(settings, s3_server, store)
    before = bare.rate()
    batch = _submit(live, store, ITEMS)
    memory = _watch(live, batch)
    after = bare.rate()
    shown = live.call("GET", batch["Links"]["Self"]).json
    ((seconds,),) = live.query(
        "SELECT extract(epoch FROM finished_at - started_at)::float8 FROM batches WHERE batch_id = %s", batch["BatchId"]
    )
    rate, loop = ITEMS / seconds, statistics.mean((before, after))
    growth = {name: memory[-1][name] / memory[0][name] for name in ("api", "worker")}
    with capsys.disabled():
        print(
            f"\n\n{ITEMS} items: {rate:.1f}/s; bare loop {before:.1f}/s before, {after:.1f}/s after: {rate / loop:.0%}"
        )
        print(f"memory at the end against {STEADY_FROM} items: {', '.join(f'{n} {g:.2f}' for n, g in growth.items())}")
    assert shown["Counts"]["Succeeded"] == ITEMS, shown
    assert rate >= LEAST_SHARE * loop
    assert all(share <= MOST_GROWTH for share in growth.values())


class _Bare:
    """Fetches and looks, with as many threads as the worker, and nothing else."""

    def __init__(self, settings: Settings, s3_server: S3Server, store: list[str]) -> None:
        own = Settings(
            s3_endpoint_url=s3_server.endpoint_url,
            s3_access_key_id=s3_server.access_key_id,
            s3_secret_access_key=s3_server.secret_access_key,
        )
        self._engine = FaceEngine.load(settings, NEWEST)
        self._fetcher = Fetcher(Dialer(()), make_s3_client(own))
        self._store = store

    def rate(self) -> float:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._look, range(THREADS * 4)))
            began = time.perf_counter()
            list(pool.map(self._look, range(BARE_ITEMS)))
            return BARE_ITEMS / (time.perf_counter() - began)

    def _look(self, number: int) -> None:
        reference = S3Image(BUCKET, self._store[number % len(self._store)], None)
        self._engine.analyze(self._fetcher.fetch(reference, read_blob=lambda name: b""))


def _submit(live: LiveStack, store: list[str], count: int) -> Any:
    """Upload a batch of portraits under distinct ids into a collection of its own."""
    name = f"bench-{count}-{random.randrange(10**9)}"  # noqa: S311 - a name
    live.rekognition().create_collection(CollectionId=name)
    lines = [f'{{"Operation": "IndexFaces", "Defaults": {{"CollectionId": "{name}"}}}}']
    lines += [
        f'{{"CustomId": "{number}", "Input": {{"ExternalImageId": "{number}", "Image": '
        f'{{"S3Object": {{"Bucket": "{BUCKET}", "Name": "{store[number % len(store)]}"}}}}}}}}'
        for number in range(count)
    ]
    answer = live.call("POST", "/v1/batches", "\n".join(lines).encode(), {"Content-Type": "application/x-ndjson"})
    assert answer.status == 202, answer.body
    return answer.json


def _watch(live: LiveStack, batch: Any) -> list[dict[str, float]]:
    """Wait for the end of a batch, looking at the processes' memory once enough items have ended."""
    memory: list[dict[str, float]] = []
    while True:
        time.sleep(1.0)
        live.stack.tend()
        shown = live.call("GET", batch["Links"]["Self"]).json
        if shown["Progress"]["Done"] >= min(STEADY_FROM, ITEMS // 2):
            memory.append({name: _family_mb(live.pids[name]) for name in ("api", "worker")})
        if shown["Done"]:
            return memory


def test_whoever_waits_feels_little_of_a_batch(
    live: LiveStack, store: list[str], portraits: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    rekognition = live.rekognition()
    rekognition.create_collection(CollectionId="few")
    rekognition.index_faces(CollectionId="few", Image={"Bytes": portraits["obama"]})

    def search() -> float:
        began = time.perf_counter()
        rekognition.search_faces_by_image(CollectionId="few", Image={"Bytes": portraits["obama2"]})
        return time.perf_counter() - began

    idle = _p95([search() for _ in range(SEARCHES)])
    batch = _submit(live, store, 5000)
    while live.call("GET", batch["Links"]["Self"]).json["Progress"]["Done"] < 2 * 16:
        time.sleep(0.1)
    began = time.monotonic()
    busy = _p95([search() for _ in range(SEARCHES)])
    shown = live.call("GET", batch["Links"]["Self"]).json
    live.call("POST", batch["Links"]["Cancel"])
    item = THREADS / shown["RatePerSecond"]
    with capsys.disabled():
        print(
            f"\n\nsearch p95 idle {idle * 1000:.0f} ms, beside a batch {busy * 1000:.0f} ms, one item {item * 1000:.0f} ms"
        )
        print(
            f"{SEARCHES} searches in {time.monotonic() - began:.1f} s; the batch went on at {shown['RatePerSecond']}/s"
        )
    assert not shown["Done"]
    assert busy <= 2 * idle + item


def _p95(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.95)]


def test_a_batch_is_completed_once_although_everything_is_killed(
    tmp_path: Path, probe: HeldServer, portraits: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    with HeldServer() as hooks, LiveStack(tmp_path, workers=2, durable=True) as live:
        live.rekognition().create_collection(CollectionId=COLLECTION)
        enrolled = live.submit("IndexFaces", {"CollectionId": COLLECTION, "Image": {"Bytes": portraits["obama"]}})
        live.finished(enrolled.json["JobId"])
        live.query("DELETE FROM jobs")
        faulty = FaultyStack(live, probe, hooks, portraits["obama2"])
        batch_id = faults.submit(faulty, FAULTY_ITEMS)
        kills = _kill_until_done(faulty, batch_id)
        faulty.let_deliveries_be_due()
        faults.assert_whole(faulty, batch_id, FAULTY_ITEMS)
        ((attempts,),) = live.query("SELECT sum(attempt) FROM batch_items WHERE batch_id = %s", batch_id)
    with capsys.disabled():
        print(f"\n\n{FAULTY_ITEMS} items under {kills} kills: complete, nothing twice, {attempts} attempts, one event")


def _kill_until_done(faulty: FaultyStack, batch_id: str) -> int:
    """Kill a process every few seconds until the batch ends; give how many were killed."""
    chance, kills = random.Random(7), 0  # noqa: S311 - the same victims each time
    victims = (*faults.VICTIMS, "worker-1", "worker-2", "valkey", "postgres")
    while not faults.is_done(faulty, batch_id):
        with contextlib.suppress(ProcessLookupError):  # it ended of an earlier kill, and is not started again yet
            faulty.send(signal.SIGKILL, chance.choice(victims))
            kills += 1
        pause = time.monotonic() + chance.uniform(2.0, 8.0)
        faulty.until(lambda until=pause: time.monotonic() > until, "a moment passes", seconds=30)
        faulty.until(faulty.live.stack.ready, "the api is ready", seconds=60)
    return kills
