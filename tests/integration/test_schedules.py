"""Schedules and their ticks: due once, claimed by one worker at a time, gone on with after a crash, made up for later."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import redis
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import schema
from app.db.session import Database
from app.db.ticks import TickClaim
from app.domain.cron import MAX_MISSED
from app.domain.schedules import KEEP_TICKS, LEASE, MAX_SCHEDULES, MAX_TRIES, RETRY_PAUSES
from app.errors import CollectionNotFound, Conflict, ScheduleNotFound, ServiceQuotaExceeded, ServiceUnavailable
from app.services import schedules, ticks
from app.services.ticks import Progress
from tests.clockwork import HOURLY, Clockwork
from tests.desk import Desk
from tests.factories import make_account


def test_the_purge_is_built_in(database: Database) -> None:
    (purge,) = [document for number, _, document in schedules.list_all(database) if number is None]
    assert (purge["Name"], purge["Kind"], purge["Cron"], purge["Enabled"]) == ("purge", "PURGE", "* * * * *", True)


def test_a_schedule_is_shown_as_it_was_made(clockwork: Clockwork) -> None:
    document = clockwork.show(clockwork.make(cron="30 3 * * MON", timezone="Europe/Berlin", catch_up="SKIP"))
    shown = {name: document[name] for name in ("Name", "Kind", "Cron", "TimeZone", "CatchUp", "Settings", "Enabled")}
    assert shown == {
        "Name": "check",
        "Kind": "INTEGRITY",
        "Cron": "30 3 * * MON",
        "TimeZone": "Europe/Berlin",
        "CatchUp": "SKIP",
        "Settings": {},
        "Enabled": True,
    }
    assert document["NextRunAt"] > document["CreatedAt"]
    assert document["Ticks"] == []
    assert "LastRun" not in document


def test_a_due_time_becomes_a_tick_once(clockwork: Clockwork) -> None:
    schedule = clockwork.make()
    assert clockwork.sweep() == 0
    clockwork.elapse(timedelta(hours=1))
    assert [clockwork.sweep(), clockwork.sweep()] == [1, 0]
    (tick,) = clockwork.ticks(schedule)
    assert (tick["status"], tick["trigger"]) == ("QUEUED", "SCHEDULE")
    clockwork.finish(clockwork.claim(), Faces=3)
    document = clockwork.show(schedule)
    assert document["LastRun"]["Result"] == {"Faces": 3}
    assert (document["LastRun"]["Status"], document["LastRun"]["Attempt"]) == ("SUCCEEDED", 1)
    assert document["LastRun"]["DueAt"] < document["NextRunAt"]
    assert ticks.claim(clockwork.database) is None


def test_sweepers_that_race_make_each_tick_once(clockwork: Clockwork) -> None:
    made = [clockwork.make(name=f"check-{number}") for number in range(5)]
    clockwork.elapse(timedelta(hours=7))
    together = threading.Barrier(8)

    def sweep(_: int) -> int:
        together.wait()
        return clockwork.sweep()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(sweep, range(8))) == 5 * 7
    assert [len(clockwork.ticks(schedule)) for schedule in made] == [7] * 5


@pytest.mark.parametrize(("catch_up", "runs"), [("SKIP", 0), ("ONE", 1), ("ALL", 5)])
def test_after_an_outage_the_policy_says_what_is_made_up_for(clockwork: Clockwork, catch_up: str, runs: int) -> None:
    schedule = clockwork.make(catch_up=catch_up, cron="*/30 * * * *")
    with clockwork.database.transaction() as connection:
        # Two and a half hours after it came due first; the newest due time is ten minutes past.
        moment = sa.func.date_bin(timedelta(minutes=30), sa.func.now(), sa.func.to_timestamp(0)) - timedelta(hours=2)
        connection.execute(
            sa.update(schema.schedules)
            .where(schema.schedules.c.schedule_id == uuid.UUID(schedule))
            .values(next_due_at=moment)
        )
        late = connection.execute(sa.select(sa.func.extract("epoch", sa.func.now()) % 1800)).scalar_one()
    expected = 1 if catch_up == "SKIP" and late <= 60 else runs
    assert clockwork.sweep() == expected
    assert len({tick["due_at"] for tick in clockwork.ticks(schedule)}) == expected


def test_a_long_outage_costs_a_bounded_number_of_runs(clockwork: Clockwork) -> None:
    schedule = clockwork.make(cron="* * * * *")
    clockwork.elapse(timedelta(days=30))
    assert clockwork.sweep() == MAX_MISSED
    due = [tick["due_at"] for tick in clockwork.ticks(schedule)]
    assert due == [due[0] + timedelta(minutes=number) for number in range(MAX_MISSED)]


def test_a_schedule_that_cannot_be_told_holds_up_no_other(clockwork: Clockwork) -> None:
    lost, good = clockwork.make(name="lost"), clockwork.make(name="good")
    clockwork.elapse(timedelta(hours=1))
    with clockwork.database.transaction() as connection:
        mine = schema.schedules.c.schedule_id == uuid.UUID(lost)
        connection.execute(sa.update(schema.schedules).where(mine).values(timezone="Mars/Phobos"))
    assert clockwork.sweep() == 1
    assert len(clockwork.ticks(good)) == 1
    assert clockwork.sweep() == 0


def test_runs_of_one_schedule_are_in_order_and_never_overlap(clockwork: Clockwork) -> None:
    schedule, other = clockwork.make(), clockwork.make(name="other")
    clockwork.elapse(timedelta(hours=3))
    clockwork.sweep()
    together = threading.Barrier(6)

    def claim(_: int) -> TickClaim | None:
        together.wait()
        return ticks.claim(clockwork.database)

    with ThreadPoolExecutor(6) as pool:
        held = [claim for claim in pool.map(claim, range(6)) if claim is not None]
    assert len(held) <= 2
    while len(held) < 2:
        held.append(clockwork.claim())
    assert ticks.claim(clockwork.database) is None
    assert {str(claim.schedule_id) for claim in held} == {schedule, other}
    for claimed in held:
        assert claimed.due_at == clockwork.ticks(str(claimed.schedule_id))[0]["due_at"]
        clockwork.finish(claimed)
    assert clockwork.claim().due_at == clockwork.ticks(schedule)[1]["due_at"]


def test_a_tick_whose_worker_died_goes_on_from_its_last_step(clockwork: Clockwork) -> None:
    schedule = clockwork.make()
    clockwork.elapse(timedelta(hours=1))
    clockwork.sweep()
    dead = clockwork.claim()
    assert ticks.advance(clockwork.database, dead, lambda connection: Progress({"After": 7}, {"Faces": 7})) is not None
    assert ticks.claim(clockwork.database) is None
    clockwork.elapse(LEASE + timedelta(seconds=1))
    heir = clockwork.claim()
    assert (heir.cursor, heir.result, heir.failures) == ({"After": 7}, {"Faces": 7}, 1)
    assert clockwork.finish(dead, Faces=99) is None
    clockwork.finish(heir, Faces=9)
    (tick,) = clockwork.ticks(schedule)
    assert (tick["status"], tick["result"], tick["cursor"]) == ("SUCCEEDED", {"Faces": 9}, None)
    assert clockwork.show(schedule)["LastRun"]["Attempt"] == 2


def test_what_a_step_wrote_is_gone_with_its_lease(clockwork: Clockwork) -> None:
    clockwork.make()
    clockwork.elapse(timedelta(hours=1))
    clockwork.sweep()
    held = clockwork.claim()

    def write(connection: Connection) -> Progress:
        connection.execute(sa.update(schema.schedules).values(name=schema.schedules.c.name + "!"))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        ticks.advance(clockwork.database, held, write)
    assert "check" in {document["Name"] for _, _, document in schedules.list_all(clockwork.database)}


def test_a_tick_that_kills_its_workers_fails_and_the_next_one_runs(clockwork: Clockwork) -> None:
    schedule = clockwork.make()
    clockwork.elapse(timedelta(hours=2))
    clockwork.sweep()
    first, second = (tick["due_at"] for tick in clockwork.ticks(schedule))
    for _ in range(MAX_TRIES):
        assert clockwork.claim().due_at == first
        clockwork.elapse(LEASE + timedelta(seconds=1))
        first, second = (tick["due_at"] for tick in clockwork.ticks(schedule))
    assert ticks.claim(clockwork.database) is None
    failed = clockwork.show(schedule)["Ticks"][1]
    assert (failed["Status"], failed["Error"]["Code"], failed["Attempt"]) == (
        "FAILED",
        "InternalServerError",
        MAX_TRIES,
    )
    assert clockwork.claim().due_at == second


def test_a_failure_that_may_pass_is_tried_again_and_another_is_not(clockwork: Clockwork) -> None:
    schedule = clockwork.make()
    clockwork.elapse(timedelta(hours=1))
    clockwork.sweep()
    for pause in RETRY_PAUSES:
        assert not ticks.fail(clockwork.database, clockwork.claim(), ServiceUnavailable())
        assert ticks.claim(clockwork.database) is None
        clockwork.elapse(pause)
    assert ticks.fail(clockwork.database, clockwork.claim(), ServiceUnavailable("S3 is away."))
    (tick,) = clockwork.show(schedule)["Ticks"]
    assert (tick["Status"], tick["Error"]["Message"], tick["Attempt"]) == ("FAILED", "S3 is away.", MAX_TRIES)
    clockwork.elapse(timedelta(hours=1) - sum(RETRY_PAUSES, timedelta()))  # so that it is a full hour again
    clockwork.sweep()
    assert ticks.fail(clockwork.database, clockwork.claim(), CollectionNotFound("people"))
    assert clockwork.show(schedule)["LastRun"]["Error"] == {
        "Code": "ResourceNotFoundException",
        "Message": "The collection id: people does not exist",
    }


def test_a_tick_that_is_given_back_waits_for_the_others_and_is_no_failure(clockwork: Clockwork) -> None:
    clockwork.make(name="long")
    clockwork.make(name="short")
    clockwork.elapse(timedelta(hours=1))
    clockwork.sweep()
    first = clockwork.claim()
    ticks.give_back(clockwork.database, first)
    second = clockwork.claim()
    assert second.schedule_id != first.schedule_id
    again = clockwork.claim()
    assert (again.schedule_id, again.failures, again.lease) == (first.schedule_id, 0, 2)


def test_a_run_on_demand_is_a_tick_and_changes_no_due_time(
    clockwork: Clockwork, desk: Desk, bells: redis.Redis
) -> None:
    schedule = clockwork.make()
    before = clockwork.show(schedule)["NextRunAt"]
    tick = schedules.run_now(clockwork.database, desk.doorbell, clockwork.account.account_id, schedule)
    assert (tick["Trigger"], tick["Status"]) == ("MANUAL", "QUEUED")
    assert bells.llen("maintenance") == 1
    clockwork.finish(clockwork.claim())
    assert clockwork.show(schedule)["NextRunAt"] == before
    for _ in range(10):
        schedules.run_now(clockwork.database, desk.doorbell, clockwork.account.account_id, schedule)
    with pytest.raises(Conflict, match="10 runs"):
        schedules.run_now(clockwork.database, desk.doorbell, clockwork.account.account_id, schedule)


def test_a_disabled_schedule_comes_due_no_more_and_makes_up_for_nothing(clockwork: Clockwork) -> None:
    schedule = clockwork.make()
    account_id = clockwork.account.account_id
    document = schedules.change(clockwork.database, account_id, schedule, {"enabled": False})
    assert "NextRunAt" not in document
    clockwork.elapse(timedelta(hours=5))
    assert clockwork.sweep() == 0
    document = schedules.change(clockwork.database, account_id, schedule, {"enabled": True})
    assert document["NextRunAt"] > document["UpdatedAt"]
    assert clockwork.sweep() == 0


def test_a_disabled_schedule_ends_what_is_queued_and_what_runs(clockwork: Clockwork, desk: Desk) -> None:
    schedule, other = clockwork.make(), clockwork.make(name="other", cron="30 0 1 1 *")
    account_id = clockwork.account.account_id
    clockwork.elapse(timedelta(hours=2))
    clockwork.sweep()
    held = clockwork.claim()
    assert ticks.advance(clockwork.database, held, lambda connection: Progress({"After": 7}, {"Faces": 7})) is not None
    schedules.run_now(clockwork.database, desk.doorbell, account_id, other)
    shown = schedules.change(clockwork.database, account_id, schedule, {"enabled": False})
    assert [(tick["Status"], tick["Error"]["Code"]) for tick in shown["Ticks"]] == [("FAILED", "Disabled")] * 2
    assert shown["Ticks"][1]["Result"] == {"Faces": 7}
    assert clockwork.finish(held) is None
    assert str(clockwork.claim().schedule_id) == other
    schedules.run_now(clockwork.database, desk.doorbell, account_id, schedule)
    assert str(clockwork.claim().schedule_id) == schedule  # who asks for it outright gets it


def test_names_are_unique_in_an_account(clockwork: Clockwork, database: Database) -> None:
    clockwork.make()
    with pytest.raises(Conflict, match="check already exists"):
        clockwork.make()
    second = clockwork.make(name="second")
    with pytest.raises(Conflict):
        schedules.change(database, clockwork.account.account_id, second, {"name": "check"})
    schedules.change(database, clockwork.account.account_id, second, {"name": "second"})
    schedules.create(database, make_account(database).account_id, HOURLY)


def test_another_account_sees_nothing_of_a_schedule(clockwork: Clockwork, database: Database, desk: Desk) -> None:
    schedule, stranger = clockwork.make(), make_account(database).account_id
    (built_in,) = [one["ScheduleId"] for number, _, one in schedules.list_all(database) if number is None]
    assert schedules.list_page(database, stranger, before=None, limit=10) == []
    for whose, which in ((stranger, schedule), (stranger, built_in), (clockwork.account.account_id, "no id")):
        with pytest.raises(ScheduleNotFound):
            schedules.get(database, whose, which)
        with pytest.raises(ScheduleNotFound):
            schedules.change(database, whose, which, {"enabled": False})
        with pytest.raises(ScheduleNotFound):
            schedules.run_now(database, desk.doorbell, whose, which)
        with pytest.raises(ScheduleNotFound):
            schedules.delete(database, whose, which)
    assert clockwork.show(schedule)["Enabled"]


def test_an_account_has_a_bounded_number_of_schedules(clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_SCHEDULES == 100
    monkeypatch.setattr("app.services.schedules.MAX_SCHEDULES", 2)
    clockwork.make(name="one")
    clockwork.make(name="two")
    with pytest.raises(ServiceQuotaExceeded):
        clockwork.make(name="three")


def test_lists_come_a_page_at_a_time(clockwork: Clockwork) -> None:
    made = [clockwork.make(name=f"check-{number}") for number in range(3)]
    page = schedules.list_page(clockwork.database, clockwork.account.account_id, before=None, limit=2)
    assert [document["ScheduleId"] for document in page] == [made[2], made[1]]
    rest = schedules.list_page(clockwork.database, clockwork.account.account_id, before=uuid.UUID(made[1]), limit=2)
    assert [document["ScheduleId"] for document in rest] == [made[0]]


def test_a_deleted_schedule_takes_its_ticks_along_and_its_worker_writes_nothing(clockwork: Clockwork) -> None:
    schedule = clockwork.make()
    clockwork.elapse(timedelta(hours=1))
    clockwork.sweep()
    held = clockwork.claim()
    schedules.delete(clockwork.database, clockwork.account.account_id, schedule)
    assert clockwork.ticks(schedule) == []
    assert clockwork.finish(held) is None


def test_old_ticks_are_forgotten_but_for_the_newest(clockwork: Clockwork) -> None:
    schedule = clockwork.make()
    clockwork.elapse(timedelta(hours=3))
    clockwork.sweep()
    for _ in range(3):
        clockwork.finish(clockwork.claim())
    assert ticks.purge(clockwork.database) == 0
    clockwork.elapse(KEEP_TICKS + timedelta(seconds=1))
    newest = clockwork.ticks(schedule)[-1]["due_at"]
    assert ticks.purge(clockwork.database) == 2
    assert [tick["due_at"] for tick in clockwork.ticks(schedule)] == [newest]


def test_waiting_ticks_are_rung_for(clockwork: Clockwork, desk: Desk, bells: redis.Redis) -> None:
    clockwork.make()
    schedules.ring(clockwork.database, desk.doorbell)
    assert bells.llen("maintenance") == 0
    clockwork.elapse(timedelta(hours=1))
    clockwork.sweep()
    schedules.ring(clockwork.database, desk.doorbell)
    assert bells.llen("maintenance") == 1
    clockwork.claim()
    schedules.ring(clockwork.database, desk.doorbell)
    assert bells.llen("maintenance") == 1


def test_nobody_else_sees_the_object_names_of_a_deleted_schedule(clockwork: Clockwork) -> None:
    schedule = clockwork.make()
    row = {"schedule_id": uuid.UUID(schedule), "collection_id": 1, "etag": "e", "seen_at": sa.func.now()}
    with clockwork.database.transaction() as connection:
        for number in range(2100):
            connection.execute(sa.insert(schema.synced_objects).values(**row, key=f"{number}.jpg"))
    schedules.delete(clockwork.database, clockwork.account.account_id, schedule)
    with clockwork.database.transaction() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.synced_objects)).scalar_one() == 0
