"""The files of segments: damaged ones are thrown away, old ones make room, and what was deleted leaves them."""

import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.db import vector_changes
from app.db.session import Database
from app.services import collections as collection_service
from tests.factories import make_collection, random_embeddings
from tests.integration.segments.conftest import RNG, people
from tests.keeping import Kept, Worker
from tests.patience import wait_until
from workers.segments import folder as folders
from workers.segments import tidying
from workers.segments.layout import HEAD_BYTES, Head


def restart(kept: Kept) -> None:
    """Begin anew, with the same files."""
    folder = kept.file().parent
    kept.workers = [Worker(kept.database, folder) for _ in kept.workers]


def tear(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 4096)


def flip_a_row(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for part in Head.from_bytes(bytes(content[:HEAD_BYTES])).used():  # elsewhere nothing is kept
        content[part.start] ^= 1
    path.write_bytes(content)


def flip_the_head(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(60)
        file.write(b"}")


def replace_by_something_else(path: Path) -> None:
    path.write_bytes(b"no segment at all")


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [tear, flip_a_row, flip_the_head, replace_by_something_else, empty])
def test_a_damaged_file_is_thrown_away_and_built_anew(kept: Kept, damage: object) -> None:
    kept.warm()
    copy = kept.file().read_bytes()
    kept.file().unlink()
    kept.file().write_bytes(copy)  # not the one that is mapped
    damage(kept.file())  # type: ignore[operator]
    damaged = kept.file().read_bytes()
    restart(kept)
    kept.check_all()
    kept.warm()
    kept.check_all()
    assert kept.file().read_bytes() != damaged
    assert kept.fast(4) == 4


def test_a_file_of_before_a_restart_is_used_again(kept: Kept) -> None:
    kept.warm()
    inode = kept.file().stat().st_ino
    restart(kept)
    kept.store(random_embeddings(RNG, 5))
    kept.warm()
    assert kept.file().stat().st_ino == inode
    assert kept.fast(4) == 4


def test_a_file_of_another_history_is_not_used(kept: Kept) -> None:
    kept.warm()
    place = kept.file()
    other = place.with_name("1-2-3." + place.name.split(".", 1)[1])
    place.rename(other)
    wait_until(lambda: kept.fast(1) == 0 or place.exists())
    kept.warm()
    assert not place.samefile(other)


def test_where_postgres_does_not_tell_its_history_it_answers_itself(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.warm()
    monkeypatch.setattr(vector_changes, "_HISTORY", sa.text("SELECT there_is_no_such_function()"))
    monkeypatch.setattr(vector_changes, "_HISTORY_SECONDS", 0.0)
    assert kept.fast(3) == 0


def test_only_the_owner_may_read_the_files(kept: Kept) -> None:
    kept.warm()
    assert kept.file().stat().st_mode & 0o077 == 0
    assert kept.file().parent.stat().st_mode & 0o077 == 0


def test_what_was_not_searched_for_long_makes_room(
    kept: Kept, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.warm()
    folder, size = kept.file().parent, kept.file().stat().st_size
    make_collection(database, kept.account, "others")
    others = Kept(database, kept.account, "others")
    others.workers = [Worker(database, folder, most_bytes=int(size * 1.5))]
    others.store(people(RNG, 1_500))
    assert others.fast(3) == 0
    wait_until(lambda: others.fast(1) == 0)
    time.sleep(1.5)
    assert not others.file().exists(), "the other one is in use"
    assert kept.file().exists()
    monkeypatch.setattr(folders, "_IN_USE_SECONDS", 0.0)
    others.workers = [Worker(database, folder, most_bytes=int(size * 1.5))]
    others.warm()
    assert not kept.file().exists()
    kept.check_all()
    wait_until(lambda: kept.fast(1) == 0, what="who had it mapped lets go of it")


def test_a_collection_that_has_no_room_at_all_is_searched_by_postgres(kept: Kept) -> None:
    kept.workers = [Worker(kept.database, kept.file().parent, most_bytes=1000)]
    assert kept.fast(4) == 0
    time.sleep(1)
    assert kept.fast(4) == 0
    assert list(kept.file().parent.glob("*.segment")) == []


def tidy(kept: Kept) -> None:
    tidying.tidy(kept.database, kept.workers[0].folder)


def test_the_file_of_a_deleted_collection_is_taken_away(kept: Kept) -> None:
    kept.warm()
    place = kept.file()
    tidy(kept)
    assert place.exists()
    with kept.database.transaction() as connection:
        collection_service.delete_collection(connection, kept.account.caller, {"CollectionId": "people"})
    tidy(kept)
    assert not place.exists()


def test_a_file_holds_no_deleted_face_for_long(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.warm()
    place = kept.file()
    monkeypatch.setattr(tidying, "_WITHDRAWN_SECONDS", 0.0)
    kept.store(random_embeddings(RNG, 3))
    tidy(kept)
    assert place.exists(), "nothing was deleted"
    kept.delete(list(kept.stored)[:1])
    tidy(kept)
    assert not place.exists()
    kept.check_all()
    kept.warm()
    kept.check_all()


def test_what_is_no_segment_is_taken_away(kept: Kept) -> None:
    kept.warm()
    foreign = kept.file().with_name("foreign.segment")
    foreign.write_bytes(b"something")
    tidy(kept)
    assert not foreign.exists()
    assert kept.file().exists()
