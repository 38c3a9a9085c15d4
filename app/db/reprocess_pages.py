"""Queries on pages: the faces of a collection in handfuls, each leased to one worker.

A page is a range of face numbers; what is still to be done in it is told by the embeddings and failures that are there already.
Its lease number is raised by every claim, and a worker whose lease was lost stores nothing. Times are Postgres's now().
"""

import uuid
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.schema import face_embeddings, faces, reprocess_failures, reprocess_pages
from app.db.session import Row
from app.domain.jobs import Company
from app.domain.reprocesses import PAGE_LEASE, Reprocess

_now = sa.func.now()
_pages = reprocess_pages


def _overdue(reprocess_id: uuid.UUID, company: Company) -> sa.ColumnElement[bool]:
    killed = ~_pages.c.paused | (_pages.c.crashes > 0)
    wanted = killed if company is Company.ALONE else ~killed
    return sa.and_(_pages.c.reprocess_id == reprocess_id, _pages.c.leased_until <= _now, wanted)


def reclaim(connection: Connection, reprocess_id: uuid.UUID, company: Company) -> Row | None:
    """Take a page whose lease ran out: its worker died, and it runs alone, or its pause is over."""
    overdue = sa.select(_pages.c.after_no).where(_overdue(reprocess_id, company)).order_by(_pages.c.after_no).limit(1)
    statement = (
        sa.update(_pages)
        .where(_pages.c.reprocess_id == reprocess_id, _pages.c.after_no == overdue.scalar_subquery())
        .values(
            lease=_pages.c.lease + 1,
            leased_until=_now + PAGE_LEASE,
            crashes=_pages.c.crashes + sa.case((_pages.c.paused, 0), else_=1),
            paused=False,
        )
        .returning(_pages)
    )
    return connection.execute(statement).one_or_none()


def any_overdue(connection: Connection, reprocess_id: uuid.UUID, company: Company) -> bool:
    """Tell whether a page waits that runs in a company."""
    return bool(connection.execute(sa.select(sa.exists().where(_overdue(reprocess_id, company)))).scalar_one())


def cut(connection: Connection, reprocess: Reprocess, *, size: int) -> Row | None:
    """Make a page of the next faces after the cursor, or give None where there are none."""
    ahead = (
        sa.select(faces.c.face_no)
        .where(*_lacking(reprocess), faces.c.face_no > reprocess.face_cursor)
        .order_by(faces.c.face_no)
        .limit(size)
    )
    numbers = list(connection.execute(ahead).scalars())
    if not numbers:
        return None
    values = {
        "reprocess_id": reprocess.reprocess_id,
        "after_no": reprocess.face_cursor,
        "last_no": numbers[-1],
        "leased_until": _now + PAGE_LEASE,
    }
    return connection.execute(sa.insert(_pages).values(**values).returning(_pages)).one()


def _lacking(reprocess: Reprocess) -> tuple[sa.ColumnElement[bool], ...]:
    embedded = sa.exists().where(
        face_embeddings.c.collection_id == faces.c.collection_id,
        face_embeddings.c.face_no == faces.c.face_no,
        face_embeddings.c.model == reprocess.to_model,
    )
    failed = sa.exists().where(
        reprocess_failures.c.reprocess_id == reprocess.reprocess_id,
        reprocess_failures.c.face_no == faces.c.face_no,
    )
    return faces.c.collection_id == reprocess.collection_id, ~embedded, ~failed


def faces_of(connection: Connection, reprocess: Reprocess, page: Row) -> list[Row]:
    """List what is still to be embedded of a page, with all that is known of each face."""
    statement = (
        sa.select(faces)
        .where(*_lacking(reprocess), faces.c.face_no > page.after_no, faces.c.face_no <= page.last_no)
        .order_by(faces.c.face_no)
    )
    return list(connection.execute(statement))


def still_there(connection: Connection, collection_id: int, numbers: list[int]) -> set[int]:
    """Tell which faces were not deleted meanwhile; the collection's row is locked."""
    statement = sa.select(faces.c.face_no).where(faces.c.collection_id == collection_id, faces.c.face_no.in_(numbers))
    return set(connection.execute(statement).scalars())


def any_left(connection: Connection, reprocess: Reprocess) -> bool:
    """Tell whether a page is being worked on, or faces were not handed out yet."""
    open_page = sa.exists().where(_pages.c.reprocess_id == reprocess.reprocess_id)
    ahead = sa.exists().where(*_lacking(reprocess), faces.c.face_no > reprocess.face_cursor)
    return bool(connection.execute(sa.select(open_page | ahead)).scalar_one())


def next_faces(connection: Connection, collection_id: int, *, after: int, limit: int) -> list[int]:
    """List the numbers of the next faces of a collection."""
    statement = (
        sa.select(faces.c.face_no)
        .where(faces.c.collection_id == collection_id, faces.c.face_no > after)
        .order_by(faces.c.face_no)
        .limit(limit)
    )
    return list(connection.execute(statement).scalars())


def renew(connection: Connection, page: Row) -> bool:
    """Renew a lease; False where it was lost."""
    statement = sa.update(_pages).where(*_held(page)).values(leased_until=_now + PAGE_LEASE)
    return connection.execute(statement).rowcount == 1


def lock(connection: Connection, page: Row) -> bool:
    """Lock a page that is held; False where its lease was lost."""
    statement = sa.select(_pages.c.after_no).where(*_held(page)).with_for_update()
    return connection.execute(statement).one_or_none() is not None


def delete(connection: Connection, page: Row) -> None:
    """Forget a page that is done with."""
    connection.execute(sa.delete(_pages).where(*_held(page)))


def put_back(connection: Connection, page: Row, *, pause: timedelta, **values: Any) -> None:
    """Let a page be taken again after a pause."""
    statement = sa.update(_pages).where(*_held(page))
    connection.execute(statement.values(leased_until=_now + pause, paused=True, **values))


def _held(page: Row) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        _pages.c.reprocess_id == page.reprocess_id,
        _pages.c.after_no == page.after_no,
        _pages.c.lease == page.lease,
    )
