"""The rules of a receiver's health, and of the retry schedule: small tables, and properties over any history."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import webhooks
from app.domain.receivers import (
    DISABLE_AFTER,
    DISABLE_FAILURES,
    FAILURES_TO_OPEN,
    FIRST_OPEN,
    LONGEST_OPEN,
    MAX_CONCURRENCY,
    NEW,
    Circuit,
    Health,
    after_failure,
    after_nothing,
    after_success,
    is_disabled_by,
    is_warned_by,
    open_for,
)
from app.domain.webhook_events import message
from app.domain.webhooks import JITTER, LONGEST_PAUSE, MAX_ATTEMPTS, RETRY_SCHEDULE, pause_after

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def fail(health: Health, now: datetime = NOW, *, overloaded: bool = False, probe: bool = False) -> Health:
    return after_failure(health, now, overloaded=overloaded, probe=probe)


def failed(times: int) -> Health:
    """Give the health after so many failures, each a probe as soon as one may be made."""
    health, now = NEW, NOW
    for _ in range(times):
        now = max(now, health.open_until or now)
        health = fail(health, now, probe=health.circuit(now) is Circuit.HALF_OPEN)
    return health


def test_the_fifth_failure_in_a_row_opens_the_circuit() -> None:
    assert failed(FAILURES_TO_OPEN - 1).circuit(NOW) is Circuit.CLOSED
    opened = failed(FAILURES_TO_OPEN)
    assert opened.circuit(NOW) is Circuit.OPEN
    assert opened.open_until == NOW + FIRST_OPEN
    assert opened.circuit(NOW + FIRST_OPEN - SECOND) is Circuit.OPEN
    assert opened.circuit(NOW + FIRST_OPEN) is Circuit.HALF_OPEN


def test_a_probe_that_fails_opens_it_for_twice_as_long() -> None:
    seconds = [open_for(failures).total_seconds() for failures in range(5, 12)]
    assert seconds == [30, 60, 120, 240, 480, 600, 600]
    assert open_for(1_000_000) == LONGEST_OPEN


def test_what_was_under_way_when_the_circuit_opened_tells_nothing_new() -> None:
    opened = failed(FAILURES_TO_OPEN)
    assert fail(opened, NOW + SECOND, overloaded=True) == opened
    assert after_success(opened).circuit(NOW) is Circuit.CLOSED


def test_what_tells_nothing_of_the_receiver_changes_nothing_but_shuts_the_circuit_behind_a_probe() -> None:
    opened = failed(FAILURES_TO_OPEN)
    assert after_nothing(opened, NOW, probe=False) == opened
    assert after_nothing(NEW, NOW, probe=True) == NEW, "it did well in between"
    later = NOW + timedelta(hours=1)
    assert after_nothing(opened, later, probe=True) == replace(opened, open_until=later + FIRST_OPEN)


@pytest.mark.parametrize(("before", "after"), [(4, 2), (3, 1), (2, 1), (1, 1)])
def test_overload_halves_the_concurrency_and_success_gives_one_back(before: int, after: int) -> None:
    assert fail(Health(concurrency=before), overloaded=True).concurrency == after
    assert fail(Health(concurrency=before)).concurrency == before
    assert after_success(Health(concurrency=before)).concurrency == min(before + 1, MAX_CONCURRENCY)


def test_an_endpoint_is_warned_half_way_once_and_disabled_in_the_end() -> None:
    half, end = NOW + DISABLE_AFTER / 2, NOW + DISABLE_AFTER
    health = Health(failures=DISABLE_FAILURES // 2, failing_since=NOW)
    assert is_warned_by(health, half)
    assert not is_warned_by(health, half - SECOND)
    assert not is_warned_by(replace(health, failures=DISABLE_FAILURES // 2 - 1), half)
    assert not is_warned_by(replace(health, warned_at=half), end)
    assert not is_disabled_by(health, end)
    health = replace(health, failures=DISABLE_FAILURES)
    assert is_disabled_by(health, end)
    assert not is_disabled_by(health, end - SECOND)
    assert not is_disabled_by(replace(health, failures=DISABLE_FAILURES - 1), end)
    assert not is_disabled_by(Health(failures=1000), end), "nobody knows since when"


@given(
    history=st.lists(
        st.tuples(st.booleans(), st.booleans(), st.booleans(), st.integers(0, 2000)),
        max_size=80,
    )
)
def test_whatever_happens_to_a_receiver_its_health_keeps_to_the_rules(
    history: list[tuple[bool, bool, bool, int]],
) -> None:
    health, now, last_success = NEW, NOW, NOW
    for succeeded, overloaded, probe, seconds in history:
        now += timedelta(seconds=seconds)
        before = health
        if succeeded:
            last_success = now
            health = after_success(health)
            assert health.circuit(now) is Circuit.CLOSED
            assert (health.failures, health.failing_since, health.warned_at) == (0, None, None)
        else:
            health = fail(health, now, overloaded=overloaded, probe=probe)
            assert before.failures <= health.failures <= before.failures + 1
            assert health.failing_since is not None
            assert last_success <= health.failing_since <= now
            assert before.failing_since in (None, health.failing_since)
        assert 1 <= health.concurrency <= MAX_CONCURRENCY
        assert (health.circuit(now) is not Circuit.CLOSED) is (health.failures >= FAILURES_TO_OPEN)
        if health.open_until is not None:
            assert health.open_until <= now + LONGEST_OPEN


def test_the_schedule_is_the_one_of_the_specification() -> None:
    pauses = [pause_after(made, 0.5) for made in range(1, MAX_ATTEMPTS)]
    assert pauses == sorted(pauses) == list(RETRY_SCHEDULE)
    assert timedelta(days=3) < sum(pauses, timedelta()) < timedelta(days=4)
    assert pause_after(MAX_ATTEMPTS, 0.5) is None


@given(
    made=st.integers(1, 40),
    chance=st.floats(0, 1),
    asked=st.one_of(st.none(), st.timedeltas(timedelta(), timedelta(days=30))),
)
def test_every_pause_keeps_to_the_schedule(made: int, chance: float, asked: timedelta | None) -> None:
    pause = pause_after(made, chance, asked)
    if made >= MAX_ATTEMPTS:
        assert pause is None
        return
    step = RETRY_SCHEDULE[made - 1]
    assert pause is not None
    assert step * (1 - JITTER) <= pause + SECOND / 1000
    assert pause <= max(step * (1 + JITTER), min(2 * step, LONGEST_PAUSE)) + SECOND / 1000
    if asked is not None:
        assert pause >= min(asked, 2 * step, LONGEST_PAUSE)


def test_a_thousand_failures_at_once_do_not_come_back_at_once() -> None:
    step = RETRY_SCHEDULE[1]
    pauses = [pause_after(2, number / 999) for number in range(1000)]
    known = [pause for pause in pauses if pause is not None]
    assert max(known) - min(known) >= 0.3 * step


def test_a_message_by_reference_is_the_same_every_time() -> None:
    body = message("job.succeeded", "now", {"JobId": "1", "Result": {"é": 1}})
    reference = webhooks.without_result(body)
    assert reference == message("job.succeeded", "now", {"JobId": "1"})
    assert webhooks.without_result(reference) == reference
    assert webhooks.without_result(b'{"type": "x", "data": [1]}') == b'{"type": "x", "data": [1]}'
