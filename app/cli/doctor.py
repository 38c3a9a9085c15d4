"""`rekollect doctor`: what this machine has, what it lacks, and what to do about it, one line each.

Invariant: it changes nothing and always ends: whatever it asks of the outside has a timeout of a few seconds.
"""

import argparse
import http.client
import importlib.util
import os
import shutil
import sys
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg

from app.assets import model_files, verify_models
from app.broker import Doorbell, create_celery
from app.config import Settings, SettingsError
from app.db import face_models, migrate
from app.db.session import Database
from app.domain.face_models import ModelFile
from app.local.account import unprivileged_account
from app.local.binaries import missing_processor_flags, postgres_programs, valkey_program
from app.local.errors import LocalError
from app.local.stack import require_free_port

_TIMEOUT_SECONDS = 3
_LEAST_PYTHON = (3, 11)
_LEAST_POSTGRES = 18
_LEAST_PGVECTOR = (0, 8, 4)
_LEAST_DISK = 2_000_000_000  # the models, a database with some faces, and its write-ahead log


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report; only a required one that is not ok makes the command fail."""

    name: str
    status: Literal["ok", "missing", "wrong"]
    detail: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the checks look at."""

    environment: Mapping[str, str]
    settings: Settings
    data_dir: Path
    host: str
    port: int


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `rekollect doctor`, which are those of `rekollect up`."""
    parser.add_argument("--host", default="127.0.0.1", help="address the api is to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port the api is to listen on (default %(default)s)")
    parser.add_argument("--data-dir", type=Path, default=Path(".rekollect"), help="folder of `rekollect up`")
    parser.set_defaults(run=doctor)


def doctor(arguments: argparse.Namespace) -> int:
    """Print every check; 1 when a required one is not ok."""
    checks = examine(os.environ, arguments.data_dir, arguments.host, arguments.port)
    for check in checks:
        print(f"{check.status:<8} {check.name:<16} {check.detail}")
    bad = [check.name for check in checks if check.required and check.status != "ok"]
    print(f"to do: {', '.join(bad)}" if bad else "all good")
    return 1 if bad else 0


def examine(environment: Mapping[str, str], data_dir: Path, host: str, port: int) -> list[Check]:
    """Make all checks; with wrong settings the rest is checked with the defaults."""
    try:
        settings, first = Settings.from_environment(environment), Check("settings", "ok", "every variable is valid")
    except SettingsError as error:
        settings, first = Settings(), Check("settings", "wrong", str(error))
    around = Surroundings(environment, settings, data_dir.absolute(), host, port)
    return [first, *(check(around) for check in _CHECKS)]


def python_version(_: Surroundings) -> Check:
    text = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _LEAST_PYTHON:
        return Check("python", "wrong", f"{text}; 3.11 or newer is needed")
    return Check("python", "ok", text)


def processor(around: Surroundings) -> Check:
    embedded = not around.settings.database_url
    if missing := missing_processor_flags():
        todo = f"lacks {', '.join(missing)} for the embedded pgvector; set REKOLLECT_DATABASE_URL to a Postgres 18"
        return Check("processor", "wrong", todo, required=embedded)
    return Check("processor", "ok", "can run the embedded pgvector")


def embedded_postgres(around: Surroundings) -> Check:
    return _embedded("local postgres", postgres_programs, required=not around.settings.database_url)


def embedded_valkey(around: Surroundings) -> Check:
    return _embedded("local valkey", valkey_program, required=not around.settings.redis_url)


def _embedded(name: str, find: Callable[[], Path], *, required: bool) -> Check:
    try:
        return Check(name, "ok", str(find()))
    except LocalError as error:
        return Check(name, "missing", str(error), required=required)


def server_account(around: Surroundings) -> Check:
    """As root, the embedded Postgres needs somebody else to run as."""
    folder = around.data_dir / "postgres"
    try:
        account = unprivileged_account(folder, [_existing(around.data_dir), postgres_programs()])
        if account is None:
            return Check("account", "ok", "not root: the embedded Postgres runs as you")
        account.process_owner()
    except LocalError as error:
        return Check("account", "missing", str(error), required=not around.settings.database_url)
    how = f", past {account.closed} with setpriv" if account.closed else ""
    return Check("account", "ok", f"root: the embedded Postgres runs as user id {account.uid}{how}")


def secret_key(around: Surroundings) -> Check:
    if around.settings.secret_key:
        return Check("secret key", "ok", "from REKOLLECT_SECRET_KEY")
    if around.settings.database_url:
        todo = "set REKOLLECT_SECRET_KEY (make one: openssl rand -base64 32); only `rekollect up` keeps one of its own"
        return Check("secret key", "missing", todo)
    return Check("secret key", "ok", f"`rekollect up` keeps one in {around.data_dir / 'secret_key'}")


def models(around: Surroundings) -> Check:
    bad = [file.name for file, intact in verify_models(around.settings, _model_files(around)) if not intact]
    if bad:
        todo = "run `rekollect models pull`; what was registered here goes into the folder of REKOLLECT_MODELS_DIR"
        return Check("models", "missing", f"{', '.join(bad)}: {todo}")
    return Check("models", "ok", "all files are there, with the right checksums")


def _model_files(around: Surroundings) -> list[ModelFile]:
    """List the files of all versions that can be told: without a database those that are built in."""
    if not around.settings.database_url or schema(around).status != "ok":
        return model_files()
    pool = Database(around.settings.database_url, pool_size=1)
    with pool.transaction() as connection:
        registered = face_models.list_registered(connection)
    pool.close()
    return list(dict.fromkeys([*model_files(), *(version.embedder for version in registered)]))


def database(around: Surroundings) -> Check:
    url = around.settings.database_url
    if not url:
        return Check("database", "ok", "REKOLLECT_DATABASE_URL is not set: `rekollect up` starts its own")
    try:
        with psycopg.connect(url, connect_timeout=_TIMEOUT_SECONDS) as connection:
            connection.execute(f"SET statement_timeout = '{_TIMEOUT_SECONDS}s'")
            query = "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'"
            row = connection.execute(query).fetchone()
            major = connection.info.server_version // 10_000
    except psycopg.Error as error:
        return Check("database", "wrong", f"REKOLLECT_DATABASE_URL: {_one_line(error)}")
    return _judge_database(major, str(row[0]) if row else "")


def _judge_database(major: int, pgvector: str) -> Check:
    if major < _LEAST_POSTGRES:
        return Check("database", "wrong", f"Postgres {major}; {_LEAST_POSTGRES} or newer is needed")
    if not pgvector:
        return Check("database", "missing", "this Postgres has no pgvector; install it on the server")
    if tuple(int(part) for part in pgvector.split(".") if part.isdigit()) < _LEAST_PGVECTOR:
        return Check("database", "wrong", f"pgvector {pgvector}; 0.8.4 or newer is needed")
    return Check("database", "ok", f"Postgres {major} with pgvector {pgvector}")


def schema(around: Surroundings) -> Check:
    url = around.settings.database_url
    if not url:
        return Check("migrations", "ok", "`rekollect up` runs them")
    if database(around).status != "ok":
        return Check("migrations", "wrong", "cannot be told: see database")
    pool = Database(url, pool_size=1)
    with pool.transaction() as connection:
        migrated = migrate.is_at_head(connection)
    pool.close()
    if not migrated:
        return Check("migrations", "missing", "the database is not at the newest schema: run `rekollect migrate`")
    return Check("migrations", "ok", "the database is at the newest schema")


def redis(around: Surroundings) -> Check:
    url = around.settings.redis_url
    if not url:
        return Check("redis", "ok", "REKOLLECT_REDIS_URL is not set: `rekollect up` starts its own")
    if not Doorbell(create_celery(url)).answers():
        return Check("redis", "wrong", "nothing answers at REKOLLECT_REDIS_URL; jobs would run, but slower")
    return Check("redis", "ok", "answers")


def port(around: Surroundings) -> Check:
    try:
        require_free_port(around.host, around.port)
    except LocalError as error:
        return Check("port", "wrong", str(error))
    return Check("port", "ok", f"{around.port} is free")


def disk(around: Surroundings) -> Check:
    folder = _existing(around.data_dir)
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free in {folder}"
    if free < _LEAST_DISK:
        return Check("disk", "wrong", f"{text}; make room for at least {_LEAST_DISK / 1e9:.0f} GB")
    return Check("disk", "ok", text)


def segments(around: Surroundings) -> Check:
    """Large collections are searched many times quicker with it; without it all works the same."""
    if not around.settings.segment_faces:
        return Check(
            "segment cache", "ok", "REKOLLECT_SEGMENT_FACES is 0: every search goes to Postgres", required=False
        )
    if importlib.util.find_spec("faiss") is None:
        todo = "off: large collections are searched quicker with `pip install rekollect[cache]`"
        return Check("segment cache", "missing", todo, required=False)
    return Check("segment cache", "ok", f"on, in {around.settings.segments}", required=False)


def s3(around: Surroundings) -> Check:
    url = around.settings.s3_endpoint_url
    if not url:
        return Check("s3", "ok", "REKOLLECT_S3_ENDPOINT_URL is not set: S3 images come from AWS", required=False)
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return Check("s3", "wrong", f"REKOLLECT_S3_ENDPOINT_URL: {_one_line(error)}")
    finally:
        connection.close()
    return Check("s3", "ok", f"{url} answers ({status} without a signature)")


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


_CHECKS: tuple[Callable[[Surroundings], Check], ...] = (
    python_version,
    processor,
    embedded_postgres,
    embedded_valkey,
    server_account,
    secret_key,
    models,
    database,
    schema,
    redis,
    port,
    disk,
    segments,
    s3,
)
