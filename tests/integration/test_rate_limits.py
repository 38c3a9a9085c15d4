"""The token bucket on a real Valkey: its size, its refill, what a refusal is called, and what happens without a server.

Time does not pass here: the bucket's moments are moved back, as its only clock is Valkey's own.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from app.errors import ProvisionedThroughputExceeded, ServiceError, Throttled
from app.local.valkey import LocalValkey
from app.rate_limits import RateLimiter

KEY = "rekollect:rate:key"


@pytest.fixture
def limiter(valkey: LocalValkey, bells: redis.Redis) -> RateLimiter:
    return RateLimiter(valkey.url)


@pytest.fixture
def elapse(bells: redis.Redis) -> Callable[[float], None]:
    """Let time pass for the key's bucket."""

    def move(seconds: float) -> None:
        for moment in ("at", "full"):
            value = bells.hget(KEY, moment)
            assert value is not None
            bells.hset(KEY, moment, str(float(value) - seconds))

    return move


def refusal(limiter: RateLimiter, rate: float | None) -> ServiceError | None:
    try:
        limiter.check("key", rate)
    except ServiceError as error:
        return error
    return None


def taken(limiter: RateLimiter, rate: float | None, calls: int) -> int:
    """Call so often; give how many calls were let through."""
    return [refusal(limiter, rate) for _ in range(calls)].count(None)


@pytest.mark.parametrize(("rate", "burst"), [(0.01, 2), (0.5, 2), (1, 2), (5, 10), (50, 100)])
def test_the_bucket_holds_two_seconds_of_calls_and_two_at_least(limiter: RateLimiter, rate: float, burst: int) -> None:
    assert burst <= taken(limiter, rate, burst + 20) <= burst + 3 * (rate > 1), "a fast bucket refills meanwhile"


def test_without_a_rate_nobody_is_counted(limiter: RateLimiter, bells: redis.Redis) -> None:
    assert taken(limiter, None, 50) == 50
    assert bells.exists(KEY) == 0


def test_the_bucket_refills_at_its_rate_and_not_above_its_size(
    limiter: RateLimiter, elapse: Callable[[float], None]
) -> None:
    rate = 0.1
    assert taken(limiter, rate, 4) == 2
    elapse(9)
    assert taken(limiter, rate, 2) == 0
    elapse(1.5)
    assert taken(limiter, rate, 3) == 1
    elapse(1000)
    assert taken(limiter, rate, 5) == 2


def test_a_refusal_tells_when_the_next_call_is_let_through(
    limiter: RateLimiter, elapse: Callable[[float], None]
) -> None:
    assert taken(limiter, 0.1, 2) == 2
    first = refusal(limiter, 0.1)
    assert first is not None
    assert first.retry_after_milliseconds is not None
    assert 9_000 < first.retry_after_milliseconds <= 10_000
    elapse(first.retry_after_milliseconds / 1000 + 0.001)
    assert refusal(limiter, 0.1) is None


def test_a_burst_is_throttled_and_a_steady_excess_is_named_otherwise(
    limiter: RateLimiter, elapse: Callable[[float], None]
) -> None:
    rate = 0.5
    assert taken(limiter, rate, 2) == 2
    assert isinstance(refusal(limiter, rate), Throttled)
    elapse(2)
    assert refusal(limiter, rate) is None
    assert isinstance(refusal(limiter, rate), Throttled)
    for _ in range(5):
        elapse(2)
        assert refusal(limiter, rate) is None, "a call every two seconds is within the rate"
    assert isinstance(refusal(limiter, rate), ProvisionedThroughputExceeded), "the bucket was never full since"
    elapse(4)
    assert taken(limiter, rate, 2) == 2
    assert isinstance(refusal(limiter, rate), Throttled), "it was full, so this is a burst again"


def test_keys_have_buckets_of_their_own(limiter: RateLimiter) -> None:
    assert taken(limiter, 0.1, 5) == 2
    limiter.check("another", 0.1)


def test_processes_share_a_bucket_and_threads_take_no_token_twice(limiter: RateLimiter, valkey: LocalValkey) -> None:
    limiters = [limiter, RateLimiter(valkey.url)]
    with ThreadPoolExecutor(8) as pool:
        passed = list(pool.map(lambda n: refusal(limiters[n % 2], 0.1) is None, range(40)))
    assert passed.count(True) == 2


def test_an_idle_bucket_is_forgotten_only_when_it_is_full_again(limiter: RateLimiter, bells: redis.Redis) -> None:
    for rate, seconds in ((0.01, 201), (1, 3), (100, 3)):
        bells.delete(KEY)
        assert refusal(limiter, rate) is None
        assert bells.ttl(KEY) == pytest.approx(seconds, abs=1)


def test_a_bucket_whose_rate_was_changed_goes_on(limiter: RateLimiter) -> None:
    assert taken(limiter, 0.01, 3) == 2
    assert refusal(limiter, 0.02) is not None
    time.sleep(0.01)
    assert refusal(limiter, 1000) is None


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[LocalValkey]:
    """A Valkey that the test may stop, in a folder whose name must be quoted in an address."""
    server = LocalValkey(tmp_path / "a b%20ü")
    server.start()
    yield server
    server.stop()


def test_without_a_server_nobody_is_refused_and_later_it_counts_again(
    mortal: LocalValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.rate_limits._BREAKER_SECONDS", 0.2)
    limiter = RateLimiter(mortal.url)
    assert taken(limiter, 0.1, 5) == 2
    mortal.stop()
    began = time.monotonic()
    assert taken(limiter, 0.1, 1000) == 1000
    assert time.monotonic() - began < 0.5, "after one failure it does not ask for a while"
    mortal.start()
    time.sleep(0.3)
    assert taken(limiter, 0.1, 5) == 2


def test_a_server_that_was_never_there_refuses_nobody(tmp_path: Path) -> None:
    for url in (f"redis+socket://{tmp_path}/none.sock", "redis://127.0.0.1:1/0"):
        assert taken(RateLimiter(url), 0.1, 5) == 5
