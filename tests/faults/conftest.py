"""A small fleet at work, for tests that do one kind of harm to it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from app.config import Settings
from tests.faults.aftermath import Aftermath
from tests.faults.checks import check_all
from tests.faults.customers import Customers
from tests.faults.fleet import Fleet
from tests.faults.receiver import FrailReceiver
from tests.faults.trade import Trade, open_trade
from tests.s3 import S3Server


@dataclass
class Shop:
    """A fleet with what its customers ask for."""

    fleet: Fleet
    trade: Trade
    receiver: FrailReceiver
    runs: int = 0

    def customers(self, *, jobs: int, per_second: float, threads: int = 8) -> Customers:
        """Clients for a run of their own."""
        self.runs += 1
        self.fleet.query("DELETE FROM jobs")
        self.fleet.query("DELETE FROM faces WHERE external_image_id LIKE 'fault-%%'")
        self.receiver.messages.clear()
        return Customers(
            self.fleet,
            self.trade.order,
            jobs=jobs,
            per_second=per_second,
            hook=self.receiver.url,
            seed=self.runs,
            threads=threads,
        )

    def check(self, customers: Customers) -> Aftermath:
        """Wait until everything has ended and make all checks."""
        aftermath = Aftermath(self.fleet, customers.history, self.receiver, self.trade.expected)
        aftermath.settle()
        check_all(aftermath)
        return aftermath

    def percentile(self, share: float, seconds: str = "finished_at - created_at") -> float:
        """Give a percentile of the seconds that the jobs of this run took."""
        ((found,),) = self.fleet.query(
            f"SELECT percentile_cont(%s) WITHIN GROUP (ORDER BY extract(epoch FROM {seconds}))::float8 FROM jobs",
            share / 100,
        )
        return float(found)


@pytest.fixture(scope="module")
def shop(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings, s3_server: S3Server, portraits: dict[str, bytes]
) -> Iterator[Shop]:
    counts = {"api": 2, "worker": 2, "courier": 1, "beat": 2}
    folder = tmp_path_factory.mktemp("shop") / "fleet"
    with FrailReceiver() as receiver, Fleet(folder, counts=counts, s3=s3_server) as fleet:
        receiver.secret = fleet.key.webhook_secret
        yield Shop(fleet, open_trade(fleet, s3_server, portraits), receiver)
