"""A collection grows out of its shared bucket step by step: after each one every face is found, once."""

from dataclasses import replace

import numpy as np

from app.db import collections, schema, search_tables, second_versions, users
from app.domain.face_models import NEWEST
from tests.factories import Account, lookalikes, make_collection, random_embeddings, store_embeddings
from tests.growing import WANTED, Growing, rows

RNG = np.random.default_rng(77)


def test_every_step_leaves_every_face_in_one_place(growing: Growing) -> None:
    before, seen = growing.row, []
    for row in growing.steps():
        growing.check_all()
        growing.check(WANTED, 0.0, known=before)
        numbers = growing.scanned(WANTED)
        assert len(numbers) == len(set(numbers)) == 60
        seen.append(tuple(row.buckets))
    own = seen[0][-1]
    assert own >= 100
    assert list(dict.fromkeys(seen)) == [(3, own), (own,)]
    assert growing.per_bucket() == {own: 60}
    assert rows(growing.database, schema.bucket_work) == []
    number = growing.row.collection_id
    assert growing.own_partitions(number) == {f"{table}_{own}_{number}" for table in ("fv_sface128", "uv_sface128")}
    growing.check_all()


def test_collections_that_are_small_enough_stay(growing: Growing, account: Account) -> None:
    neighbour = make_collection(growing.database, account, "neighbour", bucket=3)
    store_embeddings(growing.database, account, "neighbour", random_embeddings(RNG, 50))
    for _ in growing.steps():
        pass
    other = Growing(growing.database, account, "neighbour", growing.growth)
    assert other.row.buckets == neighbour.buckets == [3]
    assert other.per_bucket() == {3: 50}
    with growing.database.transaction() as connection:
        assert growing.growth.find(connection) == 0


def test_a_collection_that_shrank_before_its_turn_stays(growing: Growing) -> None:
    claimed = growing.claim()
    growing.delete(list(growing.stored)[:20])
    assert not growing.step(claimed)
    assert growing.row.buckets == [3]
    assert rows(growing.database, schema.bucket_work) == []


def test_what_is_written_meanwhile_is_found_at_once_and_what_is_deleted_never_again(growing: Growing) -> None:
    for _ in growing.steps():
        growing.store(lookalikes(RNG, WANTED, 2))
        growing.delete([next(iter(growing.stored)), list(growing.stored)[-1]])
        growing.check_all()
    assert set(growing.per_bucket()) == set(growing.row.buckets)


def test_users_move_as_well(growing: Growing) -> None:
    names = [f"user-{number}" for number in range(20)]
    with growing.database.transaction() as connection:
        for name in names:
            collection = collections.lock_for_writing(connection, growing.account.account_id, "people")
            assert collection is not None
            assert users.insert(connection, collection, name)
            collections.add_users(connection, collection.collection_id, 1)
            vector = lookalikes(RNG, WANTED, 1)[0].tobytes()
            second_versions.set_user_vector(connection, collection, collection.next_no, NEWEST, vector)
    for row in growing.steps():
        with growing.database.transaction() as connection:
            hits = users.nearest(connection, row, WANTED.tobytes(), min_cosine=0.5, limit=100)
        assert sorted(hit.row.user_id for hit in hits) == sorted(names)
    assert growing.per_bucket(search_tables.of_users(NEWEST)) == {growing.row.buckets[0]: 20}


def test_a_bucket_that_is_full_is_followed_by_the_next(growing: Growing) -> None:
    growing.growth = replace(growing.growth, capacity=25)
    for _ in growing.steps():
        growing.check_all()
    own = growing.row.buckets
    assert [growing.per_bucket()[bucket] for bucket in own] == [28, 28, 4]  # four batches of seven, twice, and the rest
    growing.store(lookalikes(RNG, WANTED, 22))
    for _ in growing.steps():
        growing.check_all()
    assert growing.row.buckets[:3] == own
    (newest,) = growing.row.buckets[3:]
    growing.store(lookalikes(RNG, WANTED, 5))
    assert growing.per_bucket()[newest] == 5
    growing.check_all()


def test_a_bucket_whose_faces_come_and_go_is_counted_before_it_is_called_full(growing: Growing) -> None:
    growing.growth = replace(growing.growth, capacity=100)
    for _ in growing.steps():
        pass
    for _ in range(3):
        growing.delete(growing.store(random_embeddings(RNG, 20)))
    assert [row.buckets for row in growing.steps()] == []
    (bucket,) = [
        row for row in rows(growing.database, schema.dedicated_buckets) if row["bucket"] in growing.row.buckets
    ]
    assert bucket["faces"] == 60
    with growing.database.transaction() as connection:
        assert growing.growth.find(connection) == 0
