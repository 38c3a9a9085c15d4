"""A bench to reprocess on: pictures go in, a worker of this process does what is to be done, answers come out."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from app.db import schema, search_tables
from app.db.session import Row
from app.domain.face_models import FaceModelVersion
from app.domain.jobs import Job
from app.services import collections, operations
from app.services.reprocesses import Reprocesses
from tests.desk import Desk
from workers import tasks
from workers.bulk import reprocess
from workers.runtime import Runtime

PEOPLE = "people"


@dataclass
class Bulk:
    """Calls of one account, answered by this process."""

    desk: Desk
    runtime: Runtime
    second: FaceModelVersion

    def __post_init__(self) -> None:
        self.reprocesses = Reprocesses(self.desk.database, self.desk.doorbell)
        self.account_id = self.desk.account.account_id

    def call(self, operation: str, **request: Any) -> dict[str, Any]:
        """Do what is answered at once."""
        with self.desk.database.transaction() as connection:
            return operations.QUICK[operation](connection, self.desk.account.caller, request)

    def job(self, operation: str, image: dict[str, Any], name: str = PEOPLE, **members: Any) -> Job:
        """Submit a job and run what is queued until it is done."""
        job = self.desk.submit(operation=operation, input={"CollectionId": name, "Image": image, **members})
        while not (shown := self.desk.get(job.job_id)).done:
            if not tasks.run_next("interactive"):
                self.desk.elapse(2)  # it waits for its next try
        return shown

    def index(self, picture: bytes | str, external: str, name: str = PEOPLE) -> list[str]:
        """Index bytes, or what a URL names, and give the FaceIds."""
        image = {"Url": picture} if isinstance(picture, str) else {"Bytes": picture}
        result = self.job("IndexFaces", image, name, ExternalImageId=external).result
        assert result is not None
        return [record["Face"]["FaceId"] for record in result["FaceRecords"]]

    def index_four(self, portraits: dict[str, bytes]) -> dict[str, str]:
        """Index three pictures of one person and one of another; give their FaceIds."""
        return {name: self.index(portraits[name], name)[0] for name in ("obama", "obama2", "obama3", "biden")}

    def search(self, picture: bytes, name: str = PEOPLE, threshold: float = 0.0) -> dict[str, Any]:
        """Search with a picture and give the whole answer."""
        result = self.job("SearchFacesByImage", {"Bytes": picture}, name, FaceMatchThreshold=threshold).result
        assert result is not None
        return result

    def start(self, on_failure: str = "keep-out") -> dict[str, Any]:
        return self.reprocesses.start(self.account_id, PEOPLE, self.second.version, on_failure)

    def show(self) -> dict[str, Any]:
        return self.reprocesses.get(self.account_id, PEOPLE)

    def work(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Do pieces of reprocesses until there is nothing to do."""
        while not until() and self.step():
            pass

    def step(self) -> bool:
        return reprocess.step(self.runtime)

    def elapse(self, time: timedelta) -> None:
        """Let time pass for reprocesses."""
        for table in (schema.reprocesses, schema.reprocess_pages):
            moments = [column for column in table.c if isinstance(column.type, sa.DateTime)]
            self.desk.change(sa.update(table).values({column.key: column - time for column in moments}))

    def collection(self) -> Row:
        with self.desk.database.transaction() as connection:
            return collections.get(connection, self.account_id, PEOPLE)

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        """Read what a table holds of the collection."""
        mine = table.c.collection_id == self.collection().collection_id
        with self.desk.database.transaction() as connection:
            return [dict(row) for row in connection.execute(sa.select(table).where(mine)).mappings()]

    def assert_clean(self, *, model: str, other: FaceModelVersion) -> None:
        """Assert that nothing is left of the version that is not searched."""
        collection = self.collection()
        assert (collection.model, collection.other_model, collection.indexes_other) == (model, None, False)
        homes = [*self.rows(schema.faces), *self.rows(schema.users)]
        assert {row["model"] for row in homes} == {model}
        for table in (schema.face_embeddings, schema.user_embeddings):
            assert self.rows(table) == []
        for table in (search_tables.of_faces(other), search_tables.of_users(other)):
            assert self.rows(table) == []
