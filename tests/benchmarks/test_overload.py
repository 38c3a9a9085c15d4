"""Ten times more work than the workers can do, for a minute: refused in order, nothing breaks, and soon it is over."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.load import submit_at_a_rate
from tests.benchmarks.test_overhead import _scaled
from tests.held import HeldServer
from tests.live import LiveStack

pytestmark = [pytest.mark.bench, pytest.mark.models]

SECONDS = 60
MAX_QUEUED = 200
SHED_AFTER_SECONDS = 5
MOST_GROWTH = 1.1
NORMAL_AGAIN_SECONDS = 10.0


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveStack]:
    settings = {
        "REKOLLECT_MAX_QUEUED_JOBS": str(MAX_QUEUED),
        "REKOLLECT_SHED_AFTER_SECONDS": str(SHED_AFTER_SECONDS),
        "REKOLLECT_WORKER_THREADS": "1",
    }
    with LiveStack(tmp_path, durable=True, **settings) as live:
        live.rekognition().create_collection(CollectionId="people")
        yield live


@pytest.fixture
def pictures(portraits: dict[str, bytes]) -> Iterator[HeldServer]:
    with HeldServer(_scaled(portraits["obama"], long_side=640)) as server:
        yield server


class Watch:
    """Looks every half second at how deep the queue is and how large the processes are."""

    def __init__(self, live: LiveStack) -> None:
        self.live = live
        self.depths: list[int] = []
        self.megabytes: list[dict[str, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.5):
            ((depth,),) = self.live.query("SELECT count(*) FROM jobs WHERE status = 'QUEUED'")
            self.depths.append(depth)
            self.megabytes.append({name: _family_mb(self.live.pids[name]) for name in ("api", "worker")})


def _family_mb(pid: int) -> float:
    """Give the resident memory of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    status = Path(f"/proc/{pid}/status").read_text()
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024
    return own + sum(_family_mb(int(child)) for child in children)


def test_ten_times_too_much_is_refused_in_order(
    live: LiveStack, pictures: HeldServer, capsys: pytest.CaptureFixture[str]
) -> None:
    def search(number: int) -> dict[str, Any]:
        image = {"Url": f"{pictures.url}/{number}.jpg"}
        return {"Operation": "SearchFacesByImage", "Input": {"CollectionId": "people", "Image": image}}

    capacity = _capacity(live, search)
    with Watch(live) as watch:
        load = submit_at_a_rate(live, search, per_second=10 * capacity, seconds=SECONDS, callers=48)
        ended = time.monotonic()
        _wait_until_normal(live, search)
        normal_after = time.monotonic() - ended
    statuses = load.statuses()
    growth = {name: watch.megabytes[-1][name] / watch.megabytes[20][name] for name in ("api", "worker")}
    with capsys.disabled():
        print(f"\n\ncapacity {capacity:.0f} jobs/s, offered {len(load.answers) / SECONDS:.0f}/s for {SECONDS} s")
        print(f"answers {statuses}, deepest queue {max(watch.depths)}, normal again after {normal_after:.1f} s")
        print(f"memory at the end against 10 s after the start: {', '.join(f'{n} {g:.2f}' for n, g in growth.items())}")
    assert set(statuses) <= {202, 429, 503}
    assert statuses[202] >= capacity * SECONDS / 2
    assert all("retry-after" in headers for status, headers, _ in load.answers if status != 202)
    assert max(watch.depths) <= MAX_QUEUED * 1.1
    assert all(share <= MOST_GROWTH for share in growth.values())
    assert normal_after <= NORMAL_AGAIN_SECONDS


def _capacity(live: LiveStack, body: Any) -> float:
    """Measure how many jobs a second the stack finishes when it always has some."""
    submit_at_a_rate(live, body, per_second=100, seconds=1)
    began = time.monotonic()
    while live.query("SELECT 1 FROM jobs WHERE finished_at IS NULL LIMIT 1"):
        time.sleep(0.05)
    ((count,),) = live.query(
        "SELECT count(*) FROM jobs WHERE finished_at > now() - make_interval(secs => %s)", time.monotonic() - began
    )
    return float(count) / (time.monotonic() - began)


def _wait_until_normal(live: LiveStack, body: Any) -> None:
    """Wait until a job is accepted and starts within a second."""
    number = 10_000_000
    while True:
        number += 1
        answer = live.call("POST", "/v1/jobs", body(number), {"Prefer": "wait=1"})
        if answer.status == 200:
            return
        time.sleep(0.2)
