"""What must hold after any fault, C-1 to C-7: each check is one look at the tables, the clients' history and the receiver."""

from collections import Counter
from collections.abc import Callable

from app.domain.jobs import LEASE, MAX_CRASHES, Status, event_type
from tests.faults.aftermath import Aftermath

#: Outcomes of an attempt that end its job.
FINAL = {"succeeded": "SUCCEEDED", "failed": "FAILED", "canceled": "CANCELED"}


def check_all(aftermath: Aftermath) -> None:
    """Make every check; all that fail are told together."""
    failures = []
    for check in CHECKS:
        try:
            check(aftermath)
        except AssertionError as failure:
            failures.append(f"{check.__name__}: {failure}")
    assert not failures, "\n\n".join(failures)


def c1_every_accepted_job_is_a_row(aftermath: Aftermath) -> None:
    accepted = aftermath.history.accepted()
    assert not aftermath.history.open_keys(), f"nobody knows what came of {sorted(aftermath.history.open_keys())[:5]}"
    twice = {key: ids for key, ids in accepted.items() if len(ids) > 1}
    assert not twice, f"a key gave several jobs: {twice}"
    told = {job_id for ids in accepted.values() for job_id in ids}
    stored = {job_id for (job_id,) in aftermath.ask("SELECT job_id::text FROM jobs")}
    assert told == stored, (
        f"{len(told - stored)} lost: {sorted(told - stored)[:5]}; {len(stored - told)} nobody asked for"
    )


def c2_every_job_has_ended(aftermath: Aftermath) -> None:
    rows = aftermath.ask("SELECT job_id::text, status, attempt, crashes FROM jobs WHERE finished_at IS NULL")
    assert not rows, f"{len(rows)} jobs have not ended: {rows[:5]}"
    batches = aftermath.ask(
        "SELECT batch_id::text, status, running FROM batches WHERE finished_at IS NULL OR running > 0"
    )
    assert not batches, f"{len(batches)} batches have not ended: {batches[:5]}"


def c3_every_job_ended_once(aftermath: Aftermath) -> None:
    attempts = aftermath.ask(
        "SELECT job_id::text, outcome FROM job_attempts WHERE outcome IN ('succeeded', 'failed', 'canceled')"
    )
    ends = Counter(job_id for job_id, _ in attempts)
    twice = [job_id for job_id, times in ends.items() if times > 1]
    assert not twice, f"{len(twice)} jobs ended more than once: {twice[:5]}"
    outcomes = dict(attempts)
    for job_id, status, attempts_made in aftermath.ask(
        "SELECT job_id::text, status, attempt FROM jobs WHERE attempt > 0"
    ):
        told = FINAL.get(outcomes.get(job_id, ""), "")
        assert status == told or (status == "FAILED" and not told), f"{job_id}: {status}, {attempts_made}, {told}"


def c4_every_ending_is_told_once_and_alike(aftermath: Aftermath) -> None:
    assert not aftermath.receiver.ill_signed, (
        f"{len(aftermath.receiver.ill_signed)} messages were signed wrongly or late"
    )
    statuses = dict(aftermath.ask("SELECT job_id::text, status FROM jobs"))
    events = aftermath.ask("SELECT event_id, type, job_id::text FROM events WHERE job_id IS NOT NULL")
    wanted = sorted((event_type(Status(status)), job_id) for job_id, status in statuses.items())
    assert sorted((type_, job_id) for _, type_, job_id in events) == wanted, "not one event for each job's end"
    arrived = aftermath.receiver.of_job()
    for event_id, _, job_id in events:
        seen = arrived.get(job_id, set())
        assert len(seen) == 1, f"job {job_id}: {len(seen)} different messages arrived"
        assert {name for name, _ in seen} == {event_id}, f"job {job_id} was told under another id"
    late = aftermath.ask("SELECT delivery_id, status FROM deliveries WHERE status <> 'SUCCEEDED'")
    assert not late, f"{len(late)} deliveries did not succeed: {late[:5]}"


def c5_results_are_those_of_a_run_without_faults(aftermath: Aftermath) -> None:
    wrong = []
    for job_id, operation, status, result, error in aftermath.ask(
        # A job that was there when so many workers died is poison for all that anybody knows.
        "SELECT job_id::text, operation, status, result, error FROM jobs WHERE NOT (status = 'FAILED' AND"
        f" {MAX_CRASHES} <= (SELECT count(*) FROM job_attempts WHERE job_attempts.job_id = jobs.job_id"
        " AND outcome IN ('crashed', 'timed-out')))"
    ):
        if status != "SUCCEEDED":
            wrong.append((job_id, operation, status, error))
        elif operation in aftermath.expected and result != aftermath.expected[operation]:
            wrong.append((job_id, operation, result))
    assert not wrong, f"{len(wrong)} jobs ended otherwise than without faults: {wrong[:3]}"


def c5_every_picture_is_indexed_once(aftermath: Aftermath) -> None:
    doubled = aftermath.ask(
        "SELECT external_image_id, count(*) FROM faces WHERE external_image_id LIKE 'fault-%%' GROUP BY 1 HAVING count(*) > 1"
    )
    assert not doubled, f"{len(doubled)} pictures were indexed more than once: {doubled[:5]}"
    indexed = aftermath.ask(
        "SELECT count(DISTINCT external_image_id) FROM faces WHERE external_image_id LIKE 'fault-%%'"
    )
    asked = aftermath.ask(
        "SELECT (SELECT count(*) FROM jobs WHERE operation = 'IndexFaces' AND status = 'SUCCEEDED')"
        " + (SELECT count(*) FROM batch_items WHERE status = 'SUCCEEDED')"
    )
    assert indexed == asked, f"{asked} pictures were to be indexed, {indexed} are"


def c6_nothing_is_stuck(aftermath: Aftermath) -> None:
    seconds = LEASE.total_seconds() + 5
    stuck = aftermath.ask(
        "SELECT job_id::text, status, heartbeat_at FROM jobs WHERE (status = 'QUEUED' AND available_at < now() -"
        f" interval '5 s') OR (status = 'IN_PROGRESS' AND heartbeat_at < now() - interval '{seconds} s')"
    )
    assert not stuck, f"{len(stuck)} jobs are stuck: {stuck[:5]}"


def c7_nothing_is_left_over(aftermath: Aftermath) -> None:
    for what, statement in LEFT_OVER.items():
        rows = aftermath.ask(statement)
        assert not rows, f"{len(rows)} {what}: {rows[:5]}"


LEFT_OVER = {
    "pictures of jobs that have ended": "SELECT job_id::text FROM blobs",
    "attempts without an end": "SELECT job_id::text, lease FROM job_attempts WHERE finished_at IS NULL OR outcome IS NULL",
    "attempts of no job": "SELECT job_id::text FROM job_attempts WHERE job_id NOT IN (SELECT job_id FROM jobs)",
    "deliveries of no event": "SELECT delivery_id FROM deliveries WHERE event_id NOT IN (SELECT event_id FROM events)",
    "events without a delivery": "SELECT event_id FROM events WHERE event_id NOT IN (SELECT event_id FROM deliveries)",
    "leases on batches": "SELECT lease FROM batch_leases",
}

CHECKS: tuple[Callable[[Aftermath], None], ...] = (
    c1_every_accepted_job_is_a_row,
    c2_every_job_has_ended,
    c3_every_job_ended_once,
    c4_every_ending_is_told_once_and_alike,
    c5_results_are_those_of_a_run_without_faults,
    c5_every_picture_is_indexed_once,
    c6_nothing_is_stuck,
    c7_nothing_is_left_over,
)
