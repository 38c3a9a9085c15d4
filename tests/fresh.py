"""A database of its own for a test, on the server of the session."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from app.db import migrate


@contextmanager
def fresh_database(server_url: str, *, migrated: bool = False) -> Iterator[str]:
    """Make an empty database beside the one of a URL, give its URL, and drop it."""
    name = f"fresh_{uuid.uuid4().hex}"
    base, _, options = server_url.partition("?")
    url = f"{base.rpartition('/')[0]}/{name}?{options}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            if migrated:
                migrate.upgrade(url)
            yield url
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
