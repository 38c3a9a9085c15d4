"""Migrations: up, down and up again; each one takes back what it did; together they build what the code expects."""

import re
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.db import migrate, schema
from app.db.session import Database, sqlalchemy_url
from app.local.postgres import LocalPostgres
from app.services.collections import delete_collection
from tests.factories import make_account, make_collection, random_embeddings
from tests.fresh import fresh_database
from tests.growing import Growing
from tests.patience import wait_until

PARTITION = re.compile(r"(faces_\d+|[fu]v_\w+_\d+)")
SEARCH_TABLE = "fv_sface128"

#: Everything that a migration can make, in words: relations, columns, constraints, indexes, extensions.
INVENTORY = """
    SELECT 'relation', c.relname, c.relkind::text || ' ' || coalesce(pg_get_partkeydef(c.oid), '') || ' '
           || coalesce(pg_get_expr(c.relpartbound, c.oid), '') || ' ' || coalesce(c.reloptions::text, '')
      FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'alembic%%'
    UNION ALL
    SELECT 'column', c.relname || '.' || a.attname,
           format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull::text || a.attstorage::text || a.attidentity::text || ' '
           || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped AND c.relname NOT LIKE 'alembic%%'
    UNION ALL
    SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
     WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND conrelid::regclass::text NOT LIKE 'alembic%%'
    UNION ALL
    SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE 'alembic%%'
    UNION ALL
    SELECT 'extension', extname, '' FROM pg_extension
    UNION ALL
    SELECT 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT 'function', p.oid::regprocedure::text, prosrc FROM pg_proc p
     WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS (
           SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
"""


@pytest.fixture
def url(postgres: LocalPostgres) -> Iterator[str]:
    """The address of an empty database."""
    with fresh_database(postgres.url) as url:
        yield url


def ask(url: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    engine = sa.create_engine(sqlalchemy_url(url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(statement, parameters)]


def inventory(url: str) -> set[tuple[Any, ...]]:
    return set(ask(url, INVENTORY))


def revisions() -> list[str]:
    """List the revisions, oldest first."""
    scripts = ScriptDirectory.from_config(migrate._config())
    return [script.revision for script in scripts.walk_revisions()][::-1]


def test_each_migration_takes_back_what_it_did(url: str) -> None:
    empty = inventory(url)
    before = [empty]
    for revision in revisions():
        migrate.upgrade(url, revision)
        assert inventory(url) - before[-1], f"{revision} adds nothing"
        before.append(inventory(url))
    for revision, wanted in zip(["base", *revisions()[:-1]][::-1], before[:-1][::-1], strict=True):
        migrate.downgrade(url, revision)
        assert inventory(url) ^ wanted == set(), f"down to {revision}"
    migrate.upgrade(url)
    assert inventory(url) == before[-1]


def test_the_way_down_puts_what_has_grown_back_into_shared_buckets(url: str) -> None:
    migrate.upgrade(url)
    database = Database(url)
    account = make_account(database)
    rng = np.random.default_rng(1)
    for name in ("grown", "deleted"):
        make_collection(database, account, name)
        growing = Growing(database, account, name)
        growing.store(random_embeddings(rng, 60))
        for _ in growing.steps():
            pass
    with database.transaction() as connection:
        delete_collection(connection, account.caller, {"CollectionId": "deleted"})
    database.close()
    migrate.downgrade(url, revisions()[revisions().index("0015") - 1])
    ((number, buckets),) = ask(url, "SELECT collection_id, buckets FROM collections")
    assert buckets == [number % schema.SHARED_BUCKETS]
    assert ask(url, "SELECT bucket, collection_id, count(*) FROM fv_sface128 GROUP BY 1, 2") == [(*buckets, number, 60)]
    assert ask(url, "SELECT DISTINCT collection_id FROM faces") == [(number,)]
    migrate.upgrade(url)


def test_faces_are_read_while_an_index_over_them_is_built(url: str) -> None:
    migrate.upgrade(url, "0008")
    migrating = threading.Thread(target=migrate.upgrade, args=(url, "0009"))
    with psycopg.connect(url) as writer, psycopg.connect(url, autocommit=True) as reader:
        writer.execute("LOCK faces IN ROW EXCLUSIVE MODE")  # what builds the index waits for whoever writes
        migrating.start()
        wait_until(lambda: reader.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall(), 8, pause=0.01)
        reader.execute("SET lock_timeout = '1s'")
        assert reader.execute("SELECT face_no FROM faces").fetchall() == []
    migrating.join()
    assert ask(url, "SELECT version_num FROM alembic_version") == [("0009",)]


def test_a_migration_that_fails_leaves_those_before_it(url: str) -> None:
    migrate.upgrade(url, "0008")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE schedules (in_the_way int)")
    with pytest.raises(sa.exc.ProgrammingError):
        migrate.upgrade(url)
    assert ask(url, "SELECT version_num FROM alembic_version") == [("0010",)]


def test_migrating_twice_is_no_error(url: str) -> None:
    migrate.upgrade(url)
    migrate.upgrade(url)
    database = Database(url)
    with database.transaction() as connection:
        assert migrate.is_at_head(connection)
    database.close()


def test_a_database_without_the_last_migration_is_not_at_head(url: str) -> None:
    migrate.upgrade(url, revisions()[-2])
    database = Database(url)
    with database.transaction() as connection:
        assert not migrate.is_at_head(connection)
    database.close()


def test_the_models_are_what_the_migrations_build(database_url: str) -> None:
    engine = sa.create_engine(sqlalchemy_url(database_url), poolclass=sa.NullPool)
    options = {
        "compare_type": True,
        "compare_server_default": True,
        # Partitions are the migrations' business, with their indexes.
        "include_name": lambda name, kind, _: kind != "table" or not PARTITION.fullmatch(name),
    }
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), schema.metadata)
    assert differences == []


def test_every_constraint_has_the_name_that_the_models_give_it(database_url: str) -> None:
    found = ask(
        database_url,
        "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
        " AND contype IN ('p', 'u', 'f', 'c') AND conrelid <> 0 AND conrelid::regclass::text <> 'alembic_version'",
    )
    named = {(table, name) for table, name in found if not PARTITION.fullmatch(table)}
    modelled = {
        (table.name, str(constraint.name))
        for table in schema.metadata.tables.values()
        for constraint in table.constraints
        if table.name not in {search.name for search in [*schema.face_vectors.values(), *schema.user_vectors.values()]}
    }
    assert named == modelled


def test_every_moment_has_a_time_zone(database_url: str) -> None:
    without = ask(
        database_url,
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        " AND data_type IN ('timestamp without time zone', 'time without time zone', 'date')",
    )
    assert without == []


def test_the_search_table_is_partitioned_by_bucket_without_a_default(database_url: str) -> None:
    ((key,),) = ask(database_url, "SELECT pg_get_partkeydef(%s::regclass)", SEARCH_TABLE)
    assert key == "LIST (bucket)"
    partitions = ask(
        database_url,
        "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = %s::regclass",
        SEARCH_TABLE,
    )
    shared = {(f"{SEARCH_TABLE}_{bucket}", f"FOR VALUES IN ('{bucket}')") for bucket in range(schema.SHARED_BUCKETS)}
    assert set(partitions) == shared


def test_each_bucket_has_the_covering_index(database_url: str) -> None:
    found = dict(
        ask(database_url, "SELECT tablename, indexdef FROM pg_indexes WHERE tablename ~ %s", f"^{SEARCH_TABLE}")
    )
    assert len(found) == schema.SHARED_BUCKETS
    for table, definition in found.items():
        assert definition == (
            f"CREATE UNIQUE INDEX uq_{table} ON public.{table} USING btree (collection_id, face_no)"
            " INCLUDE (bucket, embedding)"
        )


def test_embeddings_are_plain_halves_in_every_bucket(database_url: str) -> None:
    found = ask(
        database_url,
        "SELECT DISTINCT format_type(a.atttypid, a.atttypmod), a.attstorage::text FROM pg_attribute a"
        " WHERE a.attname = 'embedding' AND a.attrelid::regclass::text ~ %s",
        f"^{SEARCH_TABLE}(_[0-9]+)?$",
    )
    assert found == [("halfvec(128)", "p")]


def test_faces_are_spread_over_sixteen_partitions(database_url: str) -> None:
    found = ask(
        database_url,
        "SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'faces'::regclass",
    )
    assert {bound for (bound,) in found} == {
        f"FOR VALUES WITH (modulus 16, remainder {remainder})" for remainder in range(16)
    }
