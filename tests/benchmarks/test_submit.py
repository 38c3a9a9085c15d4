"""How long a submit takes at 50 a second with fsync on and two API processes, and without Redis."""

import base64
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.benchmarks.load import Load, submit_at_a_rate
from tests.benchmarks.test_overhead import _scaled
from tests.live import LiveStack

pytestmark = [pytest.mark.bench, pytest.mark.models]

PER_SECOND, SECONDS = 50, 20
P50_MS, P99_MS = 10.0, 60.0
WITHOUT_REDIS_P99_MS = 150.0


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    with LiveStack(tmp_path_factory.mktemp("submit"), durable=True, REKOLLECT_API_PROCESSES="2") as live:
        live.rekognition().create_collection(CollectionId="people")
        yield live


def quick(_: int) -> dict[str, Any]:
    return {"Operation": "DescribeCollection", "Input": {"CollectionId": "people"}}


def test_a_submit_is_committed_within_milliseconds(
    live: LiveStack, portraits: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    image = {"Bytes": base64.b64encode(_scaled(portraits["obama3"], long_side=640)).decode()}

    def search(_: int) -> dict[str, Any]:
        return {
            "Operation": "SearchFacesByImage",
            "Input": {"CollectionId": "people", "Image": image},
            "Priority": "LOW",
        }

    submit_at_a_rate(live, quick, per_second=20, seconds=2)  # warm up
    table = {
        "small job, workers run them": submit_at_a_rate(live, quick, per_second=PER_SECOND, seconds=SECONDS),
    }
    os.kill(live.pids["worker"], signal.SIGSTOP)  # their time on these two cores is not what is measured
    try:
        table["picture of 640 px inline, workers idle"] = submit_at_a_rate(
            live, search, per_second=PER_SECOND, seconds=SECONDS
        )
    finally:
        os.kill(live.pids["worker"], signal.SIGCONT)
    _print(capsys, table)
    for load in table.values():
        assert set(load.statuses()) == {202}
        assert load.percentile(50) <= P50_MS
        assert load.percentile(99) <= P99_MS


def test_without_redis_a_submit_is_committed_as_well(live: LiveStack, capsys: pytest.CaptureFixture[str]) -> None:
    os.kill(live.pids["valkey"], signal.SIGKILL)  # nobody tends this stack: it stays dead
    load = submit_at_a_rate(live, quick, per_second=PER_SECOND, seconds=SECONDS)
    _print(capsys, {"Redis dead": load})
    assert set(load.statuses()) == {202}
    assert load.percentile(99) <= WITHOUT_REDIS_P99_MS


def _print(capsys: pytest.CaptureFixture[str], table: dict[str, Load]) -> None:
    with capsys.disabled():
        print(
            f"\n\n{f'submit at {PER_SECOND}/s, milliseconds, load {os.getloadavg()[0]:.1f}':<48}{'p50':>8}{'p90':>8}{'p99':>8}"
        )
        for name, load in table.items():
            print(f"{name:<48}" + "".join(f"{load.percentile(share):>8.1f}" for share in (50, 90, 99)))
