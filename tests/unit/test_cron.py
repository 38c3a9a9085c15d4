"""When schedules come due: later every time, on the clock of their zone, and made up for as their policy says."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.cron import LATE, MAX_LENGTH, MAX_MISSED, CatchUp, Rule, read_catch_up, read_cron, read_time_zone
from app.errors import ValidationError

#: Whole and half hours of daylight saving, a jump at midnight, one over a whole day, and none.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Beirut",
    "Pacific/Apia",
    "Asia/Kolkata",
)

FIELDS = st.tuples(
    st.sampled_from(("*", "*/5", "0", "30", "0,30", "59", "15-20", "*/7")),
    st.sampled_from(("*", "*/3", "0", "2", "1,2,3", "23", "2-4")),
    st.sampled_from(("*", "*/2", "1", "29", "L", "28-31")),
    st.sampled_from(("*", "3", "10", "JAN-MAR", "*/4")),
    st.sampled_from(("*", "SUN", "MON-FRI", "5#2", "6L")),
)
CRONS = FIELDS.map(" ".join)
MOMENTS = st.datetimes(datetime(2009, 1, 1), datetime(2031, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))

#: An hour around each change of the clocks of 2026 in the zones above, where there is one.
CHANGES = st.sampled_from(
    [
        datetime(2026, 3, 29, 1, tzinfo=UTC),
        datetime(2026, 10, 25, 1, tzinfo=UTC),
        datetime(2026, 3, 8, 7, tzinfo=UTC),
        datetime(2026, 11, 1, 6, tzinfo=UTC),
        datetime(2026, 4, 4, 15, tzinfo=UTC),
        datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
        datetime(2026, 3, 28, 22, tzinfo=UTC),
        datetime(2026, 10, 24, 21, tzinfo=UTC),
        datetime(2011, 12, 30, 10, tzinfo=UTC),
    ]
)
NEAR_CHANGES = st.builds(lambda change, seconds: change + timedelta(seconds=seconds), CHANGES, st.integers(-7200, 7200))
ANY_MOMENT = MOMENTS | NEAR_CHANGES


def rule(cron: str, zone: str = "UTC", catch_up: CatchUp = CatchUp.ALL) -> Rule:
    return Rule(cron, zone, catch_up)


def following(cron: str, zone: str, moment: datetime) -> datetime:
    """Give the next due time; what never comes due is no example."""
    try:
        return rule(cron, zone).following(moment)
    except ValueError:
        assume(False)
        raise


def local(year: int, month: int, day: int, hour: int, minute: int, zone: str) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "moment", "due"),
    [
        ("* * * * *", "UTC", "2026-01-01T00:00:00", "2026-01-01T00:01:00"),
        ("* * * * *", "UTC", "2026-01-01T00:00:00.000001", "2026-01-01T00:01:00"),
        ("0 3 * * *", "UTC", "2026-01-01T03:00:00", "2026-01-02T03:00:00"),
        ("0 3 * * *", "Europe/Berlin", "2026-01-01T00:00:00", "2026-01-01T02:00:00"),
        ("0 3 * * *", "Europe/Berlin", "2026-07-01T00:00:00", "2026-07-01T01:00:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00", "2026-03-29T01:00:00"),  # jumped over
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T22:00:00", "2026-10-25T00:30:00"),  # the first of two
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00", "2026-10-26T01:30:00"),  # not the second
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:15:00", "2026-10-26T01:30:00"),  # asked from the second pass
        ("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:30:00", "2026-10-25T01:00:00"),  # follows the clock
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 12 * * SUN", "UTC", "2026-01-01T00:00:00", "2026-01-04T12:00:00"),
    ],
)
def test_the_next_due_time(cron: str, zone: str, moment: str, due: str) -> None:
    asked = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert rule(cron, zone).following(asked) == datetime.fromisoformat(due).replace(tzinfo=UTC)


@given(CRONS, st.sampled_from(ZONES), ANY_MOMENT)
def test_the_next_due_time_is_later_and_a_whole_second(cron: str, zone: str, moment: datetime) -> None:
    due = following(cron, zone, moment)
    assert due > moment
    assert (due.microsecond, due.tzinfo) == (0, UTC)


@given(CRONS, st.sampled_from(ZONES), ANY_MOMENT, st.integers(1, 100_000))
def test_asking_later_gives_no_earlier_time(cron: str, zone: str, moment: datetime, seconds: int) -> None:
    first, later = following(cron, zone, moment), following(cron, zone, moment + timedelta(seconds=seconds))
    assert later >= first
    if moment + timedelta(seconds=seconds) < first:
        assert later == first


@given(CRONS, st.sampled_from(ZONES), ANY_MOMENT, st.integers(0, 40))
def test_what_was_missed_is_what_would_have_come_due(cron: str, zone: str, moment: datetime, count: int) -> None:
    """ALL gives exactly the due times between the first one known and now, however the clock was changed meanwhile."""
    expected = [following(cron, zone, moment)]
    while len(expected) <= count:
        expected.append(following(cron, zone, expected[-1]))
    assert rule(cron, zone).due(expected[0], expected[-1]) == expected
    almost = expected[-1] - timedelta(microseconds=1)
    assert rule(cron, zone).due(expected[0], almost) == expected[:-1]


@given(CRONS, st.sampled_from(ZONES), ANY_MOMENT, st.integers(0, 10_000_000))
def test_policies_differ_only_in_how_many_they_make_up_for(
    cron: str, zone: str, first_asked: datetime, late_seconds: int
) -> None:
    first = following(cron, zone, first_asked)
    now = first + timedelta(seconds=late_seconds)
    every, one, skipped = (
        rule(cron, zone, policy).due(first, now) for policy in (CatchUp.ALL, CatchUp.ONE, CatchUp.SKIP)
    )
    assert every == sorted(set(every))
    assert 1 <= len(every) <= MAX_MISSED
    assert all(first <= due <= now for due in every)
    assert one == every[-1:]
    assert skipped == [due for due in one if now - due <= LATE]


def test_a_year_without_power_costs_a_bounded_number_of_runs() -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    now = first + timedelta(days=365, seconds=1)
    found = rule("* * * * *").due(first, now)
    assert (len(found), found[-1]) == (MAX_MISSED, now - timedelta(seconds=1))
    assert rule("* * * * *", catch_up=CatchUp.SKIP).due(first, now) == [now - timedelta(seconds=1)]
    assert rule("0 0 1 1 *", catch_up=CatchUp.SKIP).due(first, now - timedelta(days=1)) == []


@pytest.mark.parametrize("cron", ["30 3 * * *", "*/5 * * * MON-FRI", "0 0 L * *", "0 0 29 2 *", "  5   4 *  * sun "])
def test_good_expressions_are_kept(cron: str) -> None:
    assert read_cron(cron).split() == cron.split()


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "",
        "* * * *",
        "* * * * * *",  # seconds
        "@daily",
        "60 * * * *",
        "* 24 * * *",
        "* * 32 * *",
        "0 0 30 2 *",
        "0 0 31 2,4 *",
        "x * * * *",
        "*/0 * * * *",
        "٥ * * * *",
        "5-1 * * * *",
        "* * * * " + "1," * MAX_LENGTH,
    ],
)
def test_wrong_expressions_are_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="Cron"):
        read_cron(value)


@given(st.lists(st.text("0123456789*/,-L#WJANSU²٥ ", max_size=12), min_size=5, max_size=5).map(" ".join))
def test_any_other_text_is_refused_and_nothing_worse(value: str) -> None:
    try:
        cron = read_cron(value)
    except ValidationError:
        return
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert rule(cron).due(now, now + timedelta(days=1)) is not None


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Ushuaia"])
def test_time_zones_are_names(name: str) -> None:
    assert read_time_zone(name) == name


@pytest.mark.parametrize(
    "name", [None, 1, "", "Europe", "Mars/Phobos", "../etc/passwd", "/etc/passwd", "localtime", "x\0"]
)
def test_other_time_zones_are_refused(name: object) -> None:
    with pytest.raises(ValidationError, match="TimeZone"):
        read_time_zone(name)


def test_a_zone_that_this_machine_lost_is_told_as_such() -> None:
    with pytest.raises(ValueError, match="Mars"):
        rule("* * * * *", "Mars/Phobos").following(datetime(2026, 1, 1, tzinfo=UTC))


def test_policies_are_three_words() -> None:
    assert [read_catch_up(policy.value) for policy in CatchUp] == ["SKIP", "ONE", "ALL"]
    for wrong in (None, "skip", "", 1, ["ALL"]):
        with pytest.raises(ValidationError, match="SKIP, ONE, ALL"):
            read_catch_up(wrong)
