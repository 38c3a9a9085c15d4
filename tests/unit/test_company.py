"""The places of a worker process: work that may kill it has the process to itself, and nobody waits for ever."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.domain.jobs import Company
from tests.patience import wait_until
from workers.company import Places

BESIDE, ALONE = Company.BESIDE, Company.ALONE


def test_work_runs_beside_other_work() -> None:
    places, together = Places(), threading.Barrier(3)
    with ThreadPoolExecutor(3) as pool:
        ran = [pool.submit(places.run, lambda company: together.wait(5) >= 0) for _ in range(3)]
        assert [one.result() for one in ran] == [True] * 3


def test_work_is_attempted_in_the_company_that_it_asks_for() -> None:
    answers, seen = iter([ALONE, BESIDE, False]), []

    def attempt(company: Company) -> bool | Company:
        seen.append(company)
        return next(answers)

    assert Places().run(attempt) is False
    assert seen == [BESIDE, ALONE, BESIDE]


def test_nothing_runs_beside_work_that_is_alone() -> None:
    places, under_way, breaches = Places(), Counter[Company](), []

    def work(wanted: Company) -> bool:
        def attempt(company: Company) -> bool | Company:
            if company is not wanted:
                return wanted
            under_way[company] += 1
            if under_way[ALONE] and sum(under_way.values()) > 1:
                breaches.append(dict(under_way))
            time.sleep(0.002)
            under_way[company] -= 1
            return True

        return places.run(attempt)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, [BESIDE, BESIDE, ALONE, BESIDE] * 20))
    assert breaches == []


def test_who_waits_to_be_alone_is_announced_and_goes_before_those_who_come_later() -> None:
    places, leave, order = Places(), threading.Event(), []

    def note(name: str, wanted: Company) -> bool:
        return places.run(lambda company: wanted if company is not wanted else order.append(name) is None)

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(places.run, lambda company: leave.wait(5))
        wait_until(lambda: places._taken == 1)
        assert not places.are_awaited
        alone = pool.submit(note, "alone", ALONE)
        wait_until(lambda: places.are_awaited)
        late = pool.submit(note, "late", BESIDE)
        time.sleep(0.05)
        leave.set()
        assert [first.result(5), alone.result(5), late.result(5)] == [True] * 3
    assert order == ["alone", "late"]
    assert not places.are_awaited


def test_a_place_is_given_back_by_what_fails() -> None:
    places = Places()

    def fail(company: Company) -> bool | Company:
        if company is BESIDE:
            return ALONE
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            places.run(fail)
    assert places.run(lambda company: True)
