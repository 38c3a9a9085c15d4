"""An account that has one of everything, at rest; and all that the tables hold of an account."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

from app.broker import Doorbell
from app.db import schema
from app.db.session import Database
from app.domain import pagination
from app.domain.batches import NewItem
from app.errors import InvalidParameter
from app.services import batches, operations
from app.services.batch_outcomes import BatchOutcomes, Ended
from app.services.batches import NewBatch
from tests.clockwork import Clockwork
from tests.desk import Desk
from tests.factories import Account, make_account, make_endpoint, random_embeddings, store_embeddings
from tests.integration.test_batch_items import BatchDesk

#: The name of a collection that every account has.
SHARED = "people"

#: Tables that belong to nobody.
COMMON = {"face_models"}

#: A row belongs to an account by the first of these columns that its table has.
_OWNERS = (
    "account_id", "collection_id", "job_id", "batch_id", "endpoint_id", "event_id", "delivery_id", "schedule_id",
    "reprocess_id",
)  # fmt: skip

#: What accounts choose by themselves.
_NAMES = {"collection_id", "user_id", "request_token"}


@dataclass(frozen=True)
class World:
    """An account and what it has, by the names that the routes have for it; the mark stands in all texts of its own."""

    account: Account
    mark: str
    ids: Mapping[str, list[str]]

    @property
    def words(self) -> list[str]:
        """What must not be read by others; a name that is somebody's may be another's too."""
        ids = [word for kind, words in self.ids.items() if kind not in _NAMES for word in words]
        return [*ids, self.mark, self.account.key.access_key_id, self.account.key.webhook_secret]


def furnish(database: Database, doorbell: Doorbell, name: str) -> World:
    """Make an account with one of everything; nothing of it is due, so that no worker ever touches it."""
    home = _Home(Desk(database, doorbell, make_account(database)), name)
    faces = home.make_collections()
    endpoint_id, _ = make_endpoint(database, home.desk.account, description=home.mark)
    jobs = home.make_jobs()
    batch = home.make_batch()
    schedule = Clockwork(database, home.desk.account).make(name=home.mark)
    home.make_reprocess(faces)
    home.let_rest()
    ids = {
        "collection_id": [home.private],
        "face_id": faces,
        "user_id": [home.user],
        "arn": [home.desk.account.caller.collection_arn(name) for name in (home.private, SHARED)],
        "job_id": jobs,
        "batch_id": [batch],
        "endpoint_id": [str(endpoint_id)],
        "delivery_id": [str(row["delivery_id"]) for row in home.rows(schema.deliveries)],
        "event_id": [str(row["event_id"]) for row in home.rows(schema.events)],
        "schedule_id": [schedule],
        "request_token": [home.token],
        "jobs_token": [pagination.token("Jobs", jobs[-1])],
        "batches_token": [pagination.token("Batches", batch)],
    }
    assert all(ids.values())
    return World(home.desk.account, home.mark, ids)


class _Home:
    """Puts one of everything into an account; all names end in a 1, so that those that end in a 2 are nobody's."""

    def __init__(self, desk: Desk, name: str) -> None:
        self.desk = desk
        self.mark, self.private, self.user, self.token = (
            f"{name}-{what}-1" for what in ("mark", "private", "user", "token")
        )

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        return [row for row in self.desk.rows(table) if row["account_id"] == self.desk.account.account_id]

    def make_collections(self) -> list[str]:
        """Make a collection that all have, one that nobody ever names, and one of the account's own, with a user each.

        Gives the faces of the last.
        """

        def call(operation: str, **request: Any) -> None:
            with self.desk.database.transaction() as connection:
                operations.QUICK[operation](connection, self.desk.account.caller, request)

        faces: list[str] = []
        for number, name in enumerate((SHARED, f"{self.mark}-collection", self.private)):
            call("CreateCollection", CollectionId=name, Tags={self.mark: self.mark})
            embeddings = random_embeddings(np.random.default_rng(self.desk.account.account_id * 3 + number), 2)
            faces = store_embeddings(self.desk.database, self.desk.account, name, embeddings)
            call("CreateUser", CollectionId=name, UserId=f"{self.mark}-user")
            call("CreateUser", CollectionId=name, UserId=self.user, ClientRequestToken=f"{self.token}{number}")
            call("AssociateFaces", CollectionId=name, UserId=self.user, FaceIds=faces[:1], UserMatchThreshold=0)
        return faces

    def make_jobs(self) -> list[str]:
        """Make a job that succeeded, one that failed, one that runs and one that waits."""

        def submit(**changes: Any) -> str:
            common = {
                "caller_metadata": {"note": self.mark},
                "idempotency_key": f"v1:{uuid.uuid4()}",
                "tells_endpoints": True,
            }
            image = {"S3Object": {"Bucket": self.mark, "Name": "a.jpg"}}
            input_ = {"CollectionId": self.private, "Image": image, "ExternalImageId": self.mark}
            return self.desk.submit(input=input_, **{**common, **changes}).job_id

        ended = [submit(idempotency_key=f"v1:{self.token}"), submit()]
        self.desk.outcomes.succeed(self.desk.claim(), lambda connection: {"FaceRecords": [], "Note": self.mark})
        self.desk.outcomes.fail(self.desk.claim(), InvalidParameter(self.mark))
        running = submit()
        self.desk.claim()
        return [*ended, running, submit()]

    def make_batch(self) -> str:
        """Make a paused batch of which one item succeeded and one failed."""
        items = [
            NewItem(number, f"{self.mark}-{number}", {"Image": {"Url": f"https://{self.mark}/{number}"}})
            for number in (1, 2, 3)
        ]
        new = NewBatch(
            self.desk.account.account_id,
            "IndexFaces",
            {"CollectionId": self.private},
            caller_metadata={"note": self.mark},
        )
        batch, _ = batches.submit(self.desk.database, self.desk.doorbell, new, items)
        outcomes = BatchOutcomes(self.desk.database, self.desk.doorbell, keep=timedelta(days=30))
        chunk = BatchDesk(self.desk).claim(2)
        ended = [
            Ended(chunk.items[0], lambda connection: {"FaceRecords": []}),
            Ended(chunk.items[1], InvalidParameter(self.mark)),
        ]
        outcomes.finish(chunk, ended, given_back=(), last=True)
        batches.pause(self.desk.database, batch)
        return batch.batch_id

    def make_reprocess(self, faces: list[str]) -> None:
        """Make one that runs, with a page and a failure."""
        mine = schema.collections.c.account_id == self.desk.account.account_id
        with self.desk.database.transaction() as connection:
            numbers = sa.select(schema.collections.c.collection_id).where(
                mine, schema.collections.c.name == self.private
            )
            values = {
                "account_id": self.desk.account.account_id,
                "collection_id": connection.execute(numbers).scalar_one(),
                "collection_name": self.private,
                "from_model": "1.0",
                "to_model": "2.0",
                "on_failure": "keep-out",
                "total": len(faces),
            }
            made = sa.insert(schema.reprocesses).values(**values).returning(schema.reprocesses.c.reprocess_id)
            reprocess_id = connection.execute(made).scalar_one()
            page = {"reprocess_id": reprocess_id, "after_no": 0, "last_no": 9, "leased_until": sa.func.now()}
            connection.execute(sa.insert(schema.reprocess_pages).values(**page))
            failure = {"face_no": 1, "face_id": uuid.UUID(faces[0]), "reason": "NO_SOURCE", "message": self.mark}
            connection.execute(sa.insert(schema.reprocess_failures).values(reprocess_id=reprocess_id, **failure))

    def let_rest(self) -> None:
        """Let what waits wait for ten years."""
        later = sa.func.now() + timedelta(days=3650)
        for table, name, waits in (
            (schema.jobs, "available_at", schema.jobs.c.status == "QUEUED"),
            (schema.deliveries, "next_attempt_at", schema.deliveries.c.status == "PENDING"),
            (schema.schedules, "next_due_at", schema.schedules.c.account_id.is_not(None)),
        ):
            mine = table.c.account_id == self.desk.account.account_id
            self.desk.change(sa.update(table).where(mine, waits).values({name: later}))


def everything(database: Database, account_id: int) -> dict[str, list[str]]:
    """Read all that the tables hold of an account; fails on a table of which nothing tells whose its rows are."""
    held: dict[str, list[Any]] = {"account_id": [account_id]}
    found: dict[str, list[str]] = {}
    with database.transaction() as connection:
        for table in schema.metadata.sorted_tables:
            owner = next((name for name in _OWNERS if name in table.c), None)
            assert owner is not None or table.name in COMMON, f"whose are the rows of {table.name}?"
            if owner is None:
                continue
            rows = connection.execute(sa.select(table).where(table.c[owner].in_(held.get(owner, [])))).all()
            found[table.name] = sorted(map(repr, rows))
            for name in _OWNERS[1:]:
                if name in table.c and table.c[name].primary_key:
                    held.setdefault(name, []).extend(row._mapping[table.c[name]] for row in rows)
    return found


def ghosts(world: World) -> Iterator[tuple[str, str]]:
    """Give for each id one of the same form that nobody has, next to it in every order."""
    for name, words in world.ids.items():
        for word in words:
            yield word, _ghost(world, name, word)


def _ghost(world: World, name: str, word: str) -> str:
    if name == "arn":
        return _neighbour(word.replace(world.account.caller.account_number, "9" * 12))
    if name == "jobs_token":
        return pagination.token("Jobs", _neighbour(world.ids["job_id"][-1]))
    if name == "batches_token":
        return pagination.token("Batches", _neighbour(world.ids["batch_id"][0]))
    return _neighbour(word)


def _neighbour(word: str) -> str:
    return word[:-1] + {"1": "2", "a": "b"}.get(word[-1], "1" if word[-1].isdigit() else "a")
