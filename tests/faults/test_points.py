"""A process dies at every named point: what it was at is done once all the same.

All points at once in one run, each with one death; `make faults` runs each by itself too, with REKOLLECT_FAULTS_REPEATS deaths.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.assets import models_folder
from app.config import Settings
from app.db.session import Database
from app.failpoints import POINTS
from tests.faults.aftermath import Aftermath
from tests.faults.checks import check_all
from tests.faults.customers import Customers
from tests.faults.fleet import Fleet
from tests.faults.receiver import FrailReceiver
from tests.faults.trade import Trade, open_trade
from tests.s3 import S3Server
from tests.second_model import register_second_model

pytestmark = pytest.mark.models

REPEATS = int(os.environ.get("REKOLLECT_FAULTS_REPEATS", "3"))
COUNTS = {"api": 1, "worker": 2, "courier": 1, "beat": 1}
ITEMS = 6

#: Faces above which a collection of this fleet grows out of its bucket.
FEW = 4


class Stage:
    """A fleet whose processes die at points, and what brings it to each of them."""

    def __init__(self, fleet: Fleet, trade: Trade, receiver: FrailReceiver, folder: Path) -> None:
        self.fleet, self.trade, self.receiver = fleet, trade, receiver
        self._folder = folder
        self._runs = 0

    def run(self, *points: str, deaths: int) -> None:
        """Let so many processes die at each of these points while everything goes on, and check what is left."""
        self._runs += 1
        marks = self._folder / f"deaths-{self._runs}"
        marks.mkdir()
        self.clear()
        self.fleet.rekognition().create_collection(CollectionId=f"moving-{self._runs}")
        armed = ",".join(f"{name}:{deaths}" for name in points)
        for name in self.fleet.children:
            self.fleet.relaunch(name, REKOLLECT_FAILPOINTS=armed, REKOLLECT_FAILPOINTS_DIR=str(marks))
        with self._customers() as customers:
            self.begin_other_work()
            self.fleet.wait(
                lambda: self._hurry() or len(list(marks.iterdir())) == deaths * len(points),
                120 + 20 * deaths,
                "a process dies at every point",
            )
            customers.hurry()
            self.fleet.wait(lambda: not customers.busy, 60, "every client knows what came of its calls")
        aftermath = Aftermath(self.fleet, customers.history, self.receiver, self.trade.expected)
        aftermath.settle()
        check_all(aftermath)
        self.check_other_work()

    def _customers(self) -> Customers:
        hook, seed = self.receiver.url, self._runs
        return Customers(self.fleet, self.trade.order, jobs=100_000, per_second=3, hook=hook, seed=seed, threads=3)

    def clear(self) -> None:
        """Forget earlier jobs and what they stored."""
        self.fleet.query("DELETE FROM jobs")
        self.fleet.query("DELETE FROM batches")
        self.receiver.messages.clear()

    def begin_other_work(self) -> None:
        """Fill a collection by a batch, which makes it grow into a bucket of its own, and move it to another model version."""
        name = f"moving-{self._runs}"
        self.fleet.query(
            "INSERT INTO schedules (account_id, name, kind, cron, catch_up, next_due_at)"
            " SELECT account_id, %s, 'INTEGRITY', '* * * * * *', 'ALL', date_trunc('second', now()) FROM accounts",
            name,
        )
        self._insist("/v1/batches", self.trade.batch(ITEMS, self.receiver.url, name))
        ended = "SELECT 1 FROM batches WHERE finished_at IS NOT NULL"
        self.fleet.wait(lambda: self._hurry() or self.fleet.query(ended), 90, "the batch ends")
        self._insist(f"/v1/collections/{name}/reprocess", {"FaceModelVersion": "2.0", "OnFailure": "keep-out"})

    def _insist(self, path: str, body: dict[str, object]) -> None:
        """Post until it is accepted: the process that takes it may die of it."""
        token = {} if path.endswith("reprocess") else {"ClientRequestToken": f"{path}-{self._runs}".replace("/", "-")}
        answers: list[object] = []

        def posted() -> bool:
            try:
                answer = self.fleet.call("POST", path, {**body, **token})
            except OSError as error:
                answers.append(error)
                return False
            answers.append(answer)
            return answer.status in (200, 202, 409)

        self.fleet.wait(posted, 60, lambda: f"{path} is accepted: {answers[-1]}")

    def _hurry(self) -> None:
        """Spare the test the seconds until a dead worker's lease has run out; a living one renews it."""
        silent = "heartbeat_at < now() - interval '6 s'"
        self.fleet.query(
            f"UPDATE jobs SET heartbeat_at = now() - interval '1 minute' WHERE status = 'IN_PROGRESS' AND {silent}"
        )
        self.fleet.query(f"UPDATE batch_leases SET heartbeat_at = now() - interval '1 minute' WHERE {silent}")

    def check_other_work(self) -> None:
        """Assert that what is no job went as it should, too."""
        name = f"moving-{self._runs}"
        grown = "SELECT 1 FROM collections WHERE name = %s AND buckets[1] >= 100"
        self.fleet.wait(lambda: self.fleet.query(grown, name), 60, "the collection has a bucket of its own")
        moved = "SELECT 1 FROM reprocesses WHERE collection_name = %s AND status = 'SUCCEEDED'"
        self.fleet.wait(lambda: self.fleet.query(moved, name), 60, "the reprocess ends")
        ticks = self.fleet.query("SELECT due_at, count(*) FROM ticks GROUP BY schedule_id, due_at HAVING count(*) > 1")
        assert not ticks, f"a due time became several ticks: {ticks}"


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings, s3_server: S3Server, portraits: dict[str, bytes]
) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("points")
    places = {
        "REKOLLECT_MODELS_DIR": str(settings.models_dir or models_folder(settings)),
        "REKOLLECT_CACHE_DIR": str(folder / "cache"),
        "REKOLLECT_OWN_BUCKET_FACES": str(FEW),
        "REKOLLECT_KEEP_CROPS": "true",
    }
    with FrailReceiver() as receiver, Fleet(folder / "fleet", counts=COUNTS, s3=s3_server, **places) as fleet:
        receiver.secret = fleet.key.webhook_secret
        trade = open_trade(fleet, s3_server, portraits)
        database = Database(fleet.database_url, pool_size=1)
        register_second_model(database, fleet.settings, folder)
        database.close()
        yield Stage(fleet, trade, receiver, folder)


def test_a_process_dies_at_every_point(stage: Stage) -> None:
    stage.run(*POINTS, deaths=1)


@pytest.mark.faults
@pytest.mark.parametrize("point", POINTS)
def test_processes_die_at_one_point(stage: Stage, point: str) -> None:
    stage.run(point, deaths=REPEATS)
