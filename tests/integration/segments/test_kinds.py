"""Users and further face model versions are kept as faces are; what workers search with is what is kept."""

import numpy as np
import pytest

from app.db import collections, face_models, faces, second_versions, users
from app.db.session import Database, Row
from app.domain.face_models import NEWEST, FaceModelVersion, ModelFile, Preprocessing, SimilarityCurve, registered
from tests.factories import Embeddings, lookalikes, random_embeddings, unit
from tests.integration.segments.conftest import RNG, people
from tests.keeping import Kept, Worker
from tests.patience import wait_until


@pytest.fixture(scope="module")
def second(database: Database) -> FaceModelVersion:
    file = ModelFile("second.onnx", "0" * 64, 1, "MIT", "")
    version = registered("2.0", file, 512, SimilarityCurve(30.0, 12.0), Preprocessing())
    with database.transaction() as connection:
        assert face_models.insert(connection, version)
    return version


def lock(kept: Kept, connection: object) -> Row:
    row = collections.lock_for_writing(connection, kept.account.account_id, kept.name)  # type: ignore[arg-type]
    assert row is not None
    return row


def switch(kept: Kept, model: str, other: str | None) -> None:
    with kept.database.transaction() as connection:
        row = collections.lock(connection, kept.row.collection_id)
        assert row is not None
        collections.set_versions(connection, row.collection_id, model=model, other=other, indexes_other=False)


def embed_again(kept: Kept, second: FaceModelVersion, numbers: range) -> dict[int, Embeddings]:
    made = unit(RNG.standard_normal((len(numbers), second.dimension)))
    with kept.database.transaction() as connection:
        numbered = [(number, embedding.tobytes()) for number, embedding in zip(numbers, made, strict=True)]
        second_versions.insert_faces(connection, lock(kept, connection), second, numbered)
    return dict(zip(numbers, made, strict=True))


def test_a_version_of_512_dimensions_is_kept_and_a_switch_is_followed(kept: Kept, second: FaceModelVersion) -> None:
    kept.warm()
    beside = embed_again(kept, second, range(1, 1_401))
    first = kept.stored
    switch(kept, "2.0", "1.0")

    def found(query: Embeddings, min_cosine: float) -> set[int]:
        with kept.database.transaction() as connection:
            hits = faces.nearest(
                connection, kept.row, query.tobytes(), min_cosine=min_cosine, limit=4096, scan=kept.scan
            )
        return {hit.row.face_no for hit in hits}

    def check(times: int = 10) -> None:
        stored = np.stack(list(beside.values()))
        numbers = np.array(list(beside))
        for query in lookalikes(RNG, stored[5], times, 0.03):
            for bar in (0.1, 0.4, 0.7):
                assert found(query, bar) == set(numbers[stored @ query >= bar].tolist())

    def is_fast() -> bool:
        before = kept.slow
        check(2)
        return kept.slow == before

    check()
    wait_until(is_fast)
    check()
    # A face that had stayed behind is taken along.
    late = unit(RNG.standard_normal((1, 512)))[0]
    with kept.database.transaction() as connection:
        second_versions.take_along(connection, lock(kept, connection), second, 1_450, late.tobytes())
    beside[1_450] = late
    assert found(late, 0.9) == {1_450}
    assert is_fast()
    # What was there before the switch is of another time when the collection goes back.
    switch(kept, "1.0", "2.0")
    kept.stored = first
    slow = kept.slow
    kept.check_all()
    assert kept.slow > slow
    kept.warm()
    kept.check_all()


class KeptUsers:
    """Users of a kept collection, and their vectors by number."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.vectors = dict(enumerate(people(RNG, 1_200)))
        with kept.database.transaction() as connection:
            for number, vector in self.vectors.items():
                row = lock(kept, connection)
                assert users.insert(connection, row, f"user-{number}")
                collections.add_users(connection, row.collection_id, 1)
                second_versions.set_user_vector(connection, row, row.next_no, NEWEST, vector.tobytes())

    def found(self, query: Embeddings, min_cosine: float) -> list[str]:
        with self.kept.database.transaction() as connection:
            row, vector = self.kept.row, query.tobytes()
            hits = users.nearest(connection, row, vector, min_cosine=min_cosine, limit=500, scan=self.kept.scan)
        return [hit.row.user_id for hit in hits]

    def check(self, times: int = 5) -> None:
        for _ in range(times):
            query = lookalikes(RNG, self.vectors[int(RNG.choice(list(self.vectors)))], 1, 0.05)[0]
            bar = float(RNG.choice([0.3, 0.5, 0.8]))
            wanted = {f"user-{number}" for number, vector in self.vectors.items() if vector @ query >= bar}
            assert set(self.found(query, bar)) == wanted

    def is_fast(self) -> bool:
        before = self.kept.slow
        self.check(2)
        return self.kept.slow == before

    def change(self, number: int, vector: Embeddings | None) -> None:
        with self.kept.database.transaction() as connection:
            row = lock(self.kept, connection)
            user = users.find(connection, row, f"user-{number}")
            assert user is not None
            content = None if vector is None else vector.tobytes()
            second_versions.set_user_vector(connection, row, user.user_no, NEWEST, content)
        if vector is not None:
            self.vectors[number] = vector

    def delete(self, number: int) -> None:
        with self.kept.database.transaction() as connection:
            row = lock(self.kept, connection)
            user = users.find(connection, row, f"user-{number}")
            assert user is not None
            users.delete(connection, row, user.user_no)
            collections.add_users(connection, row.collection_id, -1)


def test_users_are_kept_and_every_change_of_them_is_followed(kept: Kept) -> None:
    people = KeptUsers(kept)
    wait_until(people.is_fast)
    new = random_embeddings(RNG, 1)[0]
    people.change(7, new)
    assert people.found(new, 0.9) == ["user-7"]
    vectorless = people.vectors.pop(8)
    people.change(8, None)
    assert "user-8" not in people.found(vectorless, 0.3)
    gone = people.vectors.pop(9)
    people.delete(9)
    assert "user-9" not in people.found(gone, 0.3)
    assert people.is_fast()
    people.check(20)


def test_postgres_says_when_a_collection_is_too_small(kept: Kept) -> None:
    kept.workers = [Worker(kept.database, kept.file().parent, fewest=10_000)]
    assert kept.fast(4) == 0
    assert not kept.file().exists()
