"""Whom a courier sends what: fair over receivers, nothing into an open circuit, an end for endpoints that fail for days."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.db import deliveries, schema
from app.db.due_deliveries import waiting
from app.domain.receivers import FAILURES_TO_OPEN, FIRST_OPEN, MAX_CONCURRENCY
from app.domain.webhooks import LEASE, origin
from app.services import deliveries as log_of_deliveries
from app.services import events
from app.services import receivers as receiver_service
from app.services.endpoints import Endpoints
from tests.desk import Desk
from tests.factories import CIPHER, Account, make_account, make_endpoint
from tests.scripted import answer, raw
from tests.sending import deliver, receiver
from workers import courier
from workers.runtime import Runtime


def tell(desk: Desk, *urls: str) -> None:
    """End a job for each URL, so that its delivery is due, one after the other."""
    for url in urls:
        desk.submit(webhook_url=url)
        desk.outcomes.succeed(desk.claim(), lambda connection: {})
        desk.elapse(0.01)


def tell_endpoint(desk: Desk, endpoint_id: uuid.UUID) -> None:
    desk.submit(webhook_endpoint_id=endpoint_id)
    desk.outcomes.succeed(desk.claim(), lambda connection: {})


def take(desk: Desk, limit: int = 1, *, idle_only: bool = False) -> list[str]:
    """Take due deliveries, and give where they go."""
    with desk.database.transaction() as connection:
        return [row.url for row in deliveries.claim(connection, lease=LEASE, limit=limit, idle_only=idle_only)]


def trust(desk: Desk, url: str) -> None:
    """Let a receiver have done well for a while."""
    whose = {"account_id": desk.account.account_id, "receiver": origin(url)}
    desk.change(sa.insert(schema.receivers).values(**whose, concurrency=MAX_CONCURRENCY))


def count_due(desk: Desk) -> int:
    with desk.database.transaction() as connection:
        return deliveries.count_due(connection, limit=64)


def health(desk: Desk) -> dict[str, Any] | None:
    """Give the row of the account's only receiver that did not do well."""
    rows = [row for row in desk.rows(schema.receivers) if row["account_id"] == desk.account.account_id]
    return rows[0] if rows else None


def attempts(desk: Desk) -> int:
    return sum(row["attempts"] for row in desk.rows(schema.deliveries))


def fail_until_open(desk: Desk, runtime: Runtime, url: str) -> None:
    """Open the circuit of a receiver that fails, and leave one delivery more than it took."""
    tell(desk, *[url] * (FAILURES_TO_OPEN + 1))
    for _ in range(FAILURES_TO_OPEN):
        assert deliver(runtime)


def test_a_receiver_has_so_many_under_way_and_no_more(desk: Desk) -> None:
    trust(desk, "https://one.test/")
    tell(desk, *["https://one.test/"] * 6)
    assert [len(take(desk)) for _ in range(6)] == [1] * MAX_CONCURRENCY + [0, 0]
    assert count_due(desk) == 0


def test_a_lease_that_is_over_makes_room_again(desk: Desk) -> None:
    trust(desk, "https://one.test/")
    tell(desk, *["https://one.test/"] * 6)
    assert len([url for _ in range(6) for url in take(desk)]) == MAX_CONCURRENCY
    desk.elapse(LEASE.total_seconds() + 1)
    assert count_due(desk) == 1
    assert len([url for _ in range(6) for url in take(desk)]) == MAX_CONCURRENCY


def test_the_receiver_with_the_fewest_under_way_is_next(desk: Desk) -> None:
    trust(desk, "https://busy.test/")
    tell(desk, *["https://busy.test/"] * 5, "https://late.test/", "https://later.test/")
    order = [url for _ in range(7) for url in take(desk)]
    assert order == ["https://busy.test/", "https://late.test/", "https://later.test/", *["https://busy.test/"] * 3]


def test_many_are_taken_at_once_one_for_each_receiver(desk: Desk) -> None:
    trust(desk, "https://busy.test/")
    tell(desk, *["https://busy.test/"] * 3, *[f"https://{number}.test/" for number in range(4)])
    assert len(take(desk, 3)) == 3
    assert sorted(take(desk, 10)) == ["https://2.test/", "https://3.test/", "https://busy.test/"]


def tell_from(desk: Desk, account: Account, *urls: str) -> None:
    """Write events of another account, due as of now."""
    with desk.database.transaction() as connection:
        for url in urls:
            mine = {"event_id": f"evt_{uuid.uuid4().hex}", "account_id": account.account_id}
            connection.execute(sa.insert(schema.events).values(**mine, type="job.succeeded", body=b"{}"))
            connection.execute(sa.insert(schema.deliveries).values(**mine, receiver=origin(url), url=url))


def test_receivers_of_two_accounts_at_one_url_are_two(desk: Desk) -> None:
    trust(desk, "https://one.test/")
    tell(desk, *["https://one.test/"] * 5)
    tell_from(desk, make_account(desk.database), "https://one.test/")
    assert len([url for _ in range(6) for url in take(desk)]) == MAX_CONCURRENCY + 1


def test_accounts_take_turns_however_many_receivers_one_has(desk: Desk) -> None:
    tell(desk, *[f"https://{number}.test/" for number in range(6)])
    tell_from(desk, make_account(desk.database), "https://a.test/", "https://b.test/")
    assert sorted(take(desk, 4)) == ["https://0.test/", "https://1.test/", "https://a.test/", "https://b.test/"]
    tell_from(desk, make_account(desk.database), "https://last.test/")
    assert take(desk) == ["https://last.test/"], "the account that has the fewest under way is next"


def test_one_account_alone_may_have_most_threads_and_another_finds_some_free(desk: Desk, runtime: Runtime) -> None:
    runtime.settings = replace(runtime.settings, courier_threads=8)
    tell(desk, *[f"https://{number}.test/" for number in range(9)])
    assert len(courier.take(runtime, 8)) == 6
    assert courier.take(runtime, 2) == []
    tell_from(desk, make_account(desk.database), "https://a.test/", "https://b.test/")
    assert len(courier.take(runtime, 2)) == 1
    assert courier.take(runtime, 1) == []
    assert len(courier.take(runtime, 8)) == 4, "of another courier"


def test_a_receiver_that_is_new_gets_a_second_once_it_answered(desk: Desk, runtime: Runtime) -> None:
    with receiver(answer(200)) as server:
        tell(desk, *[server.url] * 12)
        sizes = []
        for _ in range(4):
            claims = [claim for _ in range(6) for claim in courier.take(runtime, 6)]
            sizes.append(len(claims))
            for claim in claims[:1]:
                courier.deliver(claim, runtime, chance=0.5)
            desk.elapse(LEASE.total_seconds() + 1)
    assert sizes == [1, 2, 3, MAX_CONCURRENCY]


def test_receivers_that_hang_leave_room_for_others_of_their_account(desk: Desk) -> None:
    tell(desk, *[f"https://{number}.hangs.test/" for number in range(8) for _ in range(4)])
    assert sum(len(take(desk, 48)) for _ in range(4)) == 8
    tell(desk, "https://well.test/")
    assert take(desk, 40) == ["https://well.test/"]


def test_looking_for_what_is_due_costs_nothing_for_what_is_not(desk: Desk) -> None:
    event = {"event_id": "evt_waiting", "account_id": desk.account.account_id}
    desk.change(sa.insert(schema.events).values(**event, type="job.succeeded", body=b"{}"))
    soon = sa.func.now() + timedelta(hours=1)
    columns = ("event_id", "account_id", "receiver", "url", "attempts", "next_attempt_at")
    number = sa.func.generate_series(1, 5000).column_valued()
    receivers = sa.func.concat("https://", number, ".test")
    many = sa.select(*map(sa.literal, event.values()), receivers, receivers, sa.literal(1), soon)
    desk.change(sa.insert(schema.deliveries).from_select(columns, many))
    with desk.database.transaction() as connection:
        statement = sa.select(waiting(64).subquery()).compile(connection, compile_kwargs={"literal_binds": True})
        (plan,) = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}").scalar_one()
    assert plan["Plan"]["Actual Rows"] == 0
    assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 1000


def test_the_circuit_opens_and_postpones_without_using_up_the_schedule(desk: Desk, runtime: Runtime) -> None:
    with receiver(answer(500)) as server:
        fail_until_open(desk, runtime, server.url)
        assert not deliver(runtime)
        assert count_due(desk) == 0
        desk.elapse(FIRST_OPEN.total_seconds() - 2)
        assert not deliver(runtime), "six are due by now, and none is sent"
        assert attempts(desk) == FAILURES_TO_OPEN
        desk.elapse(3)
        assert count_due(desk) == 1
        assert deliver(runtime)
        assert not deliver(runtime)
    assert len(server.requests) == FAILURES_TO_OPEN + 1
    row = health(desk)
    assert row is not None
    assert row["failures"] == FAILURES_TO_OPEN + 1
    assert row["open_until"] - row["updated_at"] == 2 * FIRST_OPEN


def test_one_delivery_alone_probes_a_half_open_circuit(desk: Desk, runtime: Runtime) -> None:
    with receiver(answer(500)) as server:
        fail_until_open(desk, runtime, server.url)
        desk.elapse(FIRST_OPEN.total_seconds() + 1)
        with ThreadPoolExecutor(8) as couriers:
            taken = [urls for urls in couriers.map(lambda _: take(desk), range(8)) if urls]
        assert len(taken) == 1
        assert count_due(desk) == 0
        desk.elapse(LEASE.total_seconds() + 1)
        assert len(take(desk, 5)) == 1, "the courier of the probe died, and another probes"


def test_a_probe_that_succeeds_lets_all_the_others_follow(desk: Desk, runtime: Runtime) -> None:
    with receiver(*[answer(503)] * FAILURES_TO_OPEN, answer(200)) as server:
        fail_until_open(desk, runtime, server.url)
        row = health(desk)
        assert row is not None
        assert row["concurrency"] == 1
        desk.elapse(FIRST_OPEN.total_seconds() + 1)
        assert deliver(runtime)
        row = health(desk)
        assert row is not None
        assert (row["concurrency"], row["failures"], row["failing_since"], row["open_until"]) == (2, 0, None, None)
        assert len([url for _ in range(5) for url in take(desk)]) == 2
        desk.elapse(LEASE.total_seconds() + 1)
        while deliver(runtime):
            pass
    row = health(desk)
    assert row is not None
    assert row["concurrency"] == MAX_CONCURRENCY
    assert {row["status"] for row in desk.rows(schema.deliveries)} == {"SUCCEEDED"}


def test_what_comes_back_late_neither_opens_for_longer_nor_probes(desk: Desk, runtime: Runtime) -> None:
    with receiver(answer(500)) as server:
        trust(desk, server.url)
        tell(desk, *[server.url] * 8)
        claims = [claim for _ in range(MAX_CONCURRENCY) for claim in courier.take(runtime, 1)]
        for claim in claims[:3]:
            courier.deliver(claim, runtime, chance=0.5)
        while deliver(runtime):
            pass
        before = health(desk)
        courier.deliver(claims[3], runtime, chance=0.5)
    assert before is not None
    assert before["failures"] == FAILURES_TO_OPEN
    after = health(desk)
    assert after is not None
    assert (after["failures"], after["open_until"]) == (before["failures"], before["open_until"])


def test_a_fault_of_ours_is_not_held_against_the_receiver(desk: Desk, runtime: Runtime) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    desk.change(sa.update(schema.webhook_secrets).values(secret=b"nobody can read this"))
    for _ in range(FAILURES_TO_OPEN):
        tell_endpoint(desk, endpoint_id)
        assert deliver(runtime)
    row = health(desk)
    assert row is not None
    assert (row["failures"], row["failing_since"], row["open_until"]) == (0, None, None)
    assert {row["error_kind"] for row in desk.rows(schema.delivery_attempts)} == {"internal"}
    assert {row["status"] for row in desk.rows(schema.deliveries)} == {"PENDING"}


def test_a_receiver_is_forgotten_a_month_after_its_last_change(desk: Desk) -> None:
    receiver_service.purge(desk.database)
    trust(desk, "https://old.test/")
    desk.elapse(29 * 86_400)
    trust(desk, "https://new.test/")
    assert receiver_service.purge(desk.database) == 0
    desk.elapse(2 * 86_400)
    assert receiver_service.purge(desk.database) >= 1
    row = health(desk)
    assert row is not None
    assert row["receiver"] == "https://new.test"


def test_a_disabled_endpoint_is_sent_nothing_until_it_is_enabled(desk: Desk, runtime: Runtime) -> None:
    endpoints = Endpoints(desk.database, CIPHER)
    with receiver(answer(200)) as server:
        endpoint_id, _ = make_endpoint(desk.database, desk.account, url=server.url)
        tell_endpoint(desk, endpoint_id)
        endpoints.disable(desk.account.account_id, str(endpoint_id))
        assert count_due(desk) == 0
        assert not deliver(runtime)
        endpoints.enable(desk.account.account_id, str(endpoint_id))
        assert count_due(desk) == 1
        assert deliver(runtime)


def test_an_endpoint_that_is_enabled_again_is_probed_first(desk: Desk, runtime: Runtime) -> None:
    endpoints = Endpoints(desk.database, CIPHER)
    with receiver(answer(410), answer(200)) as server:
        endpoint_id, _ = make_endpoint(desk.database, desk.account, url=server.url)
        for _ in range(4):
            tell_endpoint(desk, endpoint_id)
        deliver(runtime)
        assert not deliver(runtime)
        endpoints.enable(desk.account.account_id, str(endpoint_id))
        assert count_due(desk) == 1
        assert len(courier.take(runtime, 5)) == 1
        assert courier.take(runtime, 5) == []


def test_an_endpoint_that_has_gone_is_disabled_and_the_others_are_told(desk: Desk, runtime: Runtime) -> None:
    with receiver(answer(410)) as server, receiver(answer(200)) as watcher:
        gone, _ = make_endpoint(desk.database, desk.account, url=server.url, description="the old one")
        make_endpoint(desk.database, desk.account, url=watcher.url, event_types=["webhook.disabled"])
        make_endpoint(desk.database, desk.account, event_types=["job.succeeded"])
        make_endpoint(desk.database, make_account(desk.database))
        tell_endpoint(desk, gone)
        assert deliver(runtime)
        assert deliver(runtime)
        assert not deliver(runtime)
    shown = Endpoints(desk.database, CIPHER).get(desk.account.account_id, str(gone))
    assert (shown["Status"], shown["DisabledReason"]) == ("DISABLED", "GONE")
    (request,) = watcher.requests
    told = json.loads(request.partition(b"\r\n\r\n")[2])
    assert told["type"] == "webhook.disabled"
    assert told["data"]["EndpointId"] == str(gone)
    assert told["data"]["DisabledReason"] == "GONE"
    assert told["data"]["Description"] == "the old one"
    statuses = {row["endpoint_id"]: row["status"] for row in desk.rows(schema.deliveries)}
    assert statuses[gone] == "FAILED"


def test_an_endpoint_that_fails_for_days_is_warned_of_once_and_then_disabled(desk: Desk, runtime: Runtime) -> None:
    with receiver(answer(500)) as server:
        failing, _ = make_endpoint(desk.database, desk.account, url=server.url)
        make_endpoint(desk.database, desk.account, event_types=["webhook.failing", "webhook.disabled"])
        whose = {"account_id": desk.account.account_id, "receiver": str(failing)}

        def fail_after(days: float, failures: int) -> list[str]:
            """Fail once more, so long after the first time and after so many failures; give the events so far."""
            since = {"failures": failures, "open_until": sa.func.now(), "failing_since": _ago(days)}
            statement = sa.update(schema.receivers).values(**since)
            desk.change(statement.where(*(schema.receivers.c[name] == value for name, value in whose.items())))
            tell_endpoint(desk, failing)
            (claim,) = [claim for claim in courier.take(runtime, 10) if claim.endpoint_id == failing]
            courier.deliver(claim, runtime, chance=0.5)
            return sorted(row["type"] for row in desk.rows(schema.events) if row["job_id"] is None)

        desk.change(sa.insert(schema.receivers).values(**whose, failures=5))
        assert fail_after(2.4, 100) == []
        assert fail_after(2.6, 23) == []
        assert fail_after(2.6, 24) == ["webhook.failing"]
        assert fail_after(4.9, 100) == ["webhook.failing"]
        assert fail_after(5.1, 48) == ["webhook.failing"]
        assert fail_after(5.1, 49) == ["webhook.disabled", "webhook.failing"]
    shown = Endpoints(desk.database, CIPHER).get(desk.account.account_id, str(failing))
    assert (shown["Status"], shown["DisabledReason"]) == ("DISABLED", "FAILING")


def _ago(days: float) -> sa.ColumnElement[Any]:
    return sa.func.now() - timedelta(days=days)


def test_an_endpoint_that_nobody_else_hears_of_is_disabled_all_the_same(desk: Desk, runtime: Runtime) -> None:
    with receiver(answer(410)) as server:
        gone, _ = make_endpoint(desk.database, desk.account, url=server.url)
        tell_endpoint(desk, gone)
        deliver(runtime)
    assert [row["type"] for row in desk.rows(schema.events)] == ["job.succeeded"]
    assert Endpoints(desk.database, CIPHER).get(desk.account.account_id, str(gone))["Status"] == "DISABLED"


def test_an_endpoint_that_is_deleted_in_the_middle_leaves_nothing(desk: Desk, runtime: Runtime) -> None:
    with receiver(raw(b"")) as server:
        endpoint_id, _ = make_endpoint(desk.database, desk.account, url=server.url)
        tell_endpoint(desk, endpoint_id)
        (claim,) = courier.take(runtime, 1)
        Endpoints(desk.database, CIPHER).delete(desk.account.account_id, str(endpoint_id))
        courier.deliver(claim, runtime, chance=0.5)
    assert desk.rows(schema.deliveries) == []
    assert health(desk) is None


def test_a_test_event_is_attempted_once_and_held_against_nobody(desk: Desk, runtime: Runtime) -> None:
    with receiver(answer(500)) as server:
        endpoint_id, _ = make_endpoint(desk.database, desk.account, url=server.url)
        send_test(desk, endpoint_id)
        deliver(runtime)
        desk.elapse(1_000_000)
        assert not deliver(runtime)
    ((attempt,), (delivery,)) = desk.tables(schema.delivery_attempts, schema.deliveries)
    assert (attempt["trigger"], attempt["error_kind"], attempt["address"]) == ("TEST", "status", "127.0.0.1")
    assert delivery["status"] == "FAILED"
    row = health(desk)
    assert row is not None
    assert (row["failures"], row["failing_since"]) == (0, None)


def send_test(desk: Desk, endpoint_id: uuid.UUID) -> None:
    with desk.database.transaction() as connection:
        events.publish_test(connection, desk.account.account_id, endpoint_id)


def test_what_is_asked_for_goes_first_and_tries_an_open_circuit_at_once(desk: Desk, runtime: Runtime) -> None:
    with receiver(*[answer(500)] * (FAILURES_TO_OPEN + 1), answer(200)) as server:
        endpoint_id, _ = make_endpoint(desk.database, desk.account, url=server.url)
        for _ in range(FAILURES_TO_OPEN + 1):
            tell_endpoint(desk, endpoint_id)
        while deliver(runtime):
            pass
        before = health(desk)
        for _ in range(2):
            send_test(desk, endpoint_id)
        with ThreadPoolExecutor(4) as couriers:
            claims = [claim for taken in couriers.map(lambda _: courier.take(runtime, 1), range(4)) for claim in taken]
        assert [claim.asked_by for claim in claims] == ["TEST"], "one at a time"
        courier.deliver(claims[0], runtime, chance=0.5)
        after = health(desk)
        assert before is not None
        assert after is not None
        assert after["failures"] == before["failures"] == FAILURES_TO_OPEN
        assert after["open_until"] >= before["open_until"]
        assert deliver(runtime)
        row = health(desk)
        assert row is not None
        assert (row["failures"], row["open_until"]) == (0, None), "the second one got through"
        assert deliver(runtime), "and what waited follows"


def test_what_a_replay_brings_back_waits_for_the_circuit(desk: Desk, runtime: Runtime) -> None:
    with receiver(answer(500)) as server:
        endpoint_id, _ = make_endpoint(desk.database, desk.account, url=server.url)
        for _ in range(FAILURES_TO_OPEN):
            tell_endpoint(desk, endpoint_id)
        while deliver(runtime):
            pass
        desk.change(sa.update(schema.deliveries).values(status="FAILED", finished_at=sa.func.now()))
        log = (desk.database, desk.doorbell, desk.account.account_id)
        since = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        assert log_of_deliveries.replay(*log, str(endpoint_id), {"Since": since})["Deliveries"] == FAILURES_TO_OPEN
        assert not deliver(runtime)
        (first, *_) = desk.rows(schema.deliveries)
        log_of_deliveries.redeliver(*log, str(first["delivery_id"]))
        (claim,) = courier.take(runtime, 1)
        assert claim.delivery_id == first["delivery_id"]


def test_a_delivery_that_is_asked_for_again_has_the_whole_schedule_before_it(desk: Desk, runtime: Runtime) -> None:
    with receiver(answer(500)) as server:
        tell(desk, server.url)
        again = {"status": "PENDING", "round_start": 10, "attempts": 10, "trigger": "MANUAL"}
        desk.change(sa.update(schema.deliveries).values(again))
        deliver(runtime)
    (row,) = desk.rows(schema.deliveries)
    assert (row["status"], row["attempts"], row["trigger"]) == ("PENDING", 11, "SCHEDULE")
    (attempt,) = desk.rows(schema.delivery_attempts)
    assert (attempt["attempt"], attempt["trigger"]) == (11, "MANUAL")
