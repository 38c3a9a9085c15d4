"""How webhooks are sent to receivers that are moody, and how little the bad ones cost the good ones; one real courier.

Retries are minutes and hours apart, so the clock of what waits for its next attempt is moved. Everything else is as it comes.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from standardwebhooks.webhooks import Webhook

from tests.benchmarks.announcer import Announcer, announcer
from tests.benchmarks.receivers import MOODS, Received, Receivers
from tests.live import LiveStack

pytestmark = [pytest.mark.bench, pytest.mark.models]

EVENTS, ENDPOINTS = 5_000, 20
PER_SECOND = 125.0
DELIVERED_PER_SECOND = 100.0
FIRST_ATTEMPT_P50_MS = 150.0

HEALTHY, BAD = 7, ("hang", "drip", "gigabyte")
ROUNDS, SECONDS, EACH_PER_SECOND = 2, 20.0, 8.0
LONGER_P99 = 2.0
GROWTH_MIB = 10.0

Times = np.ndarray[Any, np.dtype[np.float64]]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveStack]:
    with LiveStack(tmp_path, durable=True) as live:
        yield live


@pytest.fixture
def announce(live: LiveStack) -> Iterator[Announcer]:
    with announcer(live) as announcer_:
        yield announcer_


def test_moody_receivers_get_every_event_in_the_end(
    live: LiveStack, announce: Announcer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Receivers(tmp_path) as receivers:
        endpoints = [announce.endpoint(f"{receivers.url}/moody/{number}") for number in range(ENDPOINTS)]
        began = time.perf_counter()
        writing = announce.announce(EVENTS, per_second=PER_SECOND, whom=lambda number: endpoints[number % ENDPOINTS])
        meanwhile = _count(live, "SUCCEEDED")
        _until(lambda: _count(live, "SUCCEEDED") == EVENTS, lambda: _let_retries_be_due(live))
        took = time.perf_counter() - began
    first = _milliseconds(live, "a.started_at - d.created_at", "true")
    received = receivers.received()
    with capsys.disabled():
        print(
            f"\n\n{EVENTS} events to {ENDPOINTS} endpoints, {PER_SECOND:g}/s, load {os.getloadavg()[0]:.1f}; moods {MOODS}"
        )
        print(f"delivered while they were written (bar >= {DELIVERED_PER_SECOND:g}/s)   {meanwhile / writing:8.1f}/s")
        print(f"all delivered after                                {took:8.1f} s, {len(received)} requests")
        _print_row(f"created to first attempt  (bar p50 <= {FIRST_ATTEMPT_P50_MS:g} ms)", first)
        _print_outcomes(live)
    _assert_sound(received, {f"/moody/{number}": endpoint.secret for number, endpoint in enumerate(endpoints)})
    assert meanwhile / writing >= DELIVERED_PER_SECOND
    assert np.median(first) <= FIRST_ATTEMPT_P50_MS


def test_three_bad_endpoints_of_ten_hardly_slow_the_others(
    live: LiveStack, announce: Announcer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Receivers(tmp_path) as receivers:
        ten = [announce.endpoint(f"{receivers.url}/well/{number}") for number in range(HEALTHY)]
        ten += [announce.endpoint(f"{receivers.url}/well/{kind}") for kind in BAD]

        def round_(behaviour: str) -> Times:
            """Send to all ten for a while, three of which are well or badly behaved; give the milliseconds of the others."""
            live.query("TRUNCATE deliveries, receivers CASCADE")
            for endpoint in ten[HEALTHY:]:
                url = endpoint.url.replace("/well/", behaviour)
                live.query("UPDATE webhook_endpoints SET url = %s WHERE endpoint_id = %s", url, endpoint.endpoint_id)
            count = int(SECONDS * EACH_PER_SECOND * len(ten))
            announce.announce(count, per_second=EACH_PER_SECOND * len(ten), whom=lambda number: ten[number % len(ten)])
            healthy = [endpoint.endpoint_id for endpoint in ten[:HEALTHY]]
            waiting = "SELECT count(*) FROM deliveries WHERE status = 'PENDING' AND endpoint_id = ANY(%s)"
            _until(lambda: live.query(waiting, healthy) == [(0,)])
            return _milliseconds(live, "d.finished_at - d.created_at", "d.endpoint_id = ANY(%s)", healthy)

        round_("/well/")  # warm up
        before = _mebibytes(live)
        rounds = [(round_("/well/"), round_("/")) for _ in range(ROUNDS)]  # in turn: what else runs here meets both
        after = _mebibytes(live)
        alone, beside = (np.concatenate(times) for times in zip(*rounds, strict=True))
        with capsys.disabled():
            print(f"\n\n{HEALTHY} healthy endpoints of ten, {EACH_PER_SECOND:g}/s each, load {os.getloadavg()[0]:.1f}")
            _print_row("created to delivered, all ten are well", alone)
            _print_row(f"three behave badly  (bar p99 <= {LONGER_P99:g} x)", beside)
            print(f"memory of the courier, MiB  (bar + {GROWTH_MIB:g})  {before:8.1f} -> {after:.1f}")
            _print_outcomes(live)
    assert np.percentile(beside, 99) <= LONGER_P99 * np.percentile(alone, 99)
    assert after - before < GROWTH_MIB


def _assert_sound(received: list[Received], secrets: dict[str, str]) -> None:
    """Check that every event has one id and one body, whatever happened to its attempts, and every signature is good."""
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for one in received:
        bodies[one.headers["webhook-id"]].add(one.body)
        Webhook(secrets[one.path]).verify(one.body, one.headers)
    assert len(bodies) == EVENTS
    assert {len(different) for different in bodies.values()} == {1}


def _until(happened: Callable[[], bool], meanwhile: Callable[[], object] = lambda: None, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        meanwhile()
        time.sleep(0.25)


def _let_retries_be_due(live: LiveStack) -> None:
    live.query("UPDATE deliveries SET next_attempt_at = now() WHERE status = 'PENDING' AND leased_until IS NULL")
    live.query("UPDATE receivers SET open_until = now() WHERE open_until > now() + interval '1 minute'")


def _count(live: LiveStack, status: str) -> int:
    ((count,),) = live.query("SELECT count(*) FROM deliveries WHERE status = %s", status)
    return int(count)


def _milliseconds(live: LiveStack, interval: str, condition: str, *parameters: object) -> Times:
    """Read a time of deliveries and their first attempts, by the clock of Postgres alone."""
    rows = live.query(
        f"SELECT extract(epoch FROM {interval})::float8 * 1000 FROM deliveries d"  # noqa: S608
        f" JOIN delivery_attempts a ON a.delivery_id = d.delivery_id AND a.attempt = 1 WHERE {condition}",
        *parameters,
    )
    return np.array([milliseconds for (milliseconds,) in rows])


def _mebibytes(live: LiveStack) -> float:
    """Give the resident memory of the courier."""
    lines = Path(f"/proc/{live.pids['courier']}/status").read_text().splitlines()
    (kibibytes,) = [line.split()[1] for line in lines if line.startswith("VmRSS")]
    return int(kibibytes) / 1024


def _print_row(name: str, times: Times) -> None:
    p50, p90, p99 = np.percentile(times, [50, 90, 99])
    print(f"{name:<50}{p50:>8.1f}{p90:>8.1f}{p99:>8.1f}")


def _print_outcomes(live: LiveStack) -> None:
    rows = live.query(
        "SELECT coalesce(error_kind || coalesce(' ' || status_code, ''), 'delivered'), count(*)"
        " FROM delivery_attempts GROUP BY 1 ORDER BY 2 DESC"
    )
    print("attempts: " + ", ".join(f"{count} {outcome}" for outcome, count in rows))
