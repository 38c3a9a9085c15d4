"""Settings: every environment variable, read and checked once.

Only the process edges (`app.main`, `app.cli`, `workers.runtime`, `migrations/env.py`) read settings; everyone else is handed
values. There is no default secret, and nothing listens beyond loopback unless told to.
"""

import base64
import binascii
import dataclasses
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from app.domain.addresses import IPNetwork, parse_networks
from app.domain.buckets import OWN_BUCKET_FACES
from app.failpoints import arm, parse_points

PREFIX = "REKOLLECT_"

#: Threads of a web process that never wait for a job.
_FREE_THREADS = 4


class SettingsError(Exception):
    """One or more settings are missing or wrong; the message names each variable."""


def _text(value: str) -> str:
    return value


def _postgres_url(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if scheme not in ("postgresql", "postgres") or not separator:
        raise ValueError("must be postgresql://user:password@host/database")
    return f"postgresql://{rest}"


def _redis_url(value: str) -> str:
    if not value.startswith(("redis://", "rediss://", "redis+socket://")):
        raise ValueError("must be redis://host:6379/0, rediss://... or redis+socket:///path")
    return value


def _http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must be an http or https URL")
    return value


def _access_key_id(value: str) -> str:
    if not (value.isascii() and value.isalnum() and len(value) <= 128):
        raise ValueError("must be letters and digits")
    return value


def _provider(value: str) -> str:
    if value not in ("CPUExecutionProvider", "CUDAExecutionProvider"):
        raise ValueError("must be CPUExecutionProvider or CUDAExecutionProvider")
    return value


def _path(value: str) -> Path:
    return Path(value).expanduser()


def _positive(value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise ValueError("must be a whole number above 0")
    return int(value)


def _whole(value: str) -> int:
    if not value.isdigit():
        raise ValueError("must be a whole number")
    return int(value)


def _switch(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return value.lower() == "true"


def read_rate(value: str) -> float:
    """Read calls per second; the range keeps a mistyped unit from turning into no limit, or into no calls at all."""
    try:
        rate = float(value)
    except ValueError:
        rate = 0.0
    if not 0.001 <= rate <= 1_000_000:  # never true for nan
        raise ValueError("must be a number of calls per second, 0.001 to 1000000")
    return rate


def _words(value: str) -> tuple[str, ...]:
    return tuple(word for word in value.replace(",", " ").split() if word)


def _regions(value: str) -> tuple[str, ...]:
    regions = _words(value)
    if not regions:
        raise ValueError("must name a region")
    return regions


def _networks(value: str) -> tuple[IPNetwork, ...]:
    return parse_networks(_words(value))


def _secret_key(value: str) -> bytes:
    try:
        key = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise ValueError("must be 32 random bytes in base64 (make one: openssl rand -base64 32)")
    return key


def _level(value: str) -> str:
    if value.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
    return value.upper()


def _setting(read: Callable[[str], Any], help_: str, default: Any = None, *, secret: bool = False) -> Any:
    return dataclasses.field(default=default, repr=not secret, metadata={"read": read, "help": help_})


def default_cache_dir() -> Path:
    """Give the folder for pulled models and samples where no setting names one."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rekollect"


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """All settings of all processes; the README's table is kept equal to this list by a test."""

    database_url: str = _setting(
        _postgres_url,
        "Postgres 18 with pgvector, as postgresql://user:password@host/database; unset: `rekollect up` starts its own",
        "",
        secret=True,
    )
    redis_url: str = _setting(
        _redis_url, "Valkey or Redis, as redis://host:6379/0; unset: `rekollect up` starts its own", "", secret=True
    )
    secret_key: bytes = _setting(
        _secret_key,
        "32 bytes in base64 that encrypt the secrets in the database; `rekollect up` makes and keeps one",
        b"",
        secret=True,
    )
    bootstrap_access_key_id: str = _setting(_access_key_id, "id of the first access key of a new database", "")
    bootstrap_secret_access_key: str = _setting(
        _text, "secret of the first access key of a new database", "", secret=True
    )
    region: tuple[str, ...] = _setting(
        _regions,
        "regions that clients may sign for; calls with a bearer token count as made in the first one",
        ("us-east-1", "us-west-2", "eu-west-1"),
    )
    clock_skew_seconds: int = _setting(_positive, "largest difference between a signature's time and ours", 300)
    rate_limit: float | None = _setting(
        read_rate, "calls per second that a key without its own rate may make; unset: no limit"
    )
    wait_seconds: int = _setting(_positive, "longest time that an image operation on POST / waits for a worker", 50)
    max_waiters: int = _setting(_positive, "requests that may wait for a job at once, per API process", 48)
    max_queued_jobs: int = _setting(
        _positive,
        "jobs that one account may have waiting in a lane (LOW is one of its own); above it submits get 429",
        10_000,
    )
    max_running_jobs: int = _setting(_positive, "jobs that one account may have running; more of them wait", 1_000)
    max_upload_megabytes: int = _setting(_positive, "largest upload of a batch's items as JSON Lines", 2_048)
    shed_after_seconds: int = _setting(
        _positive,
        "when an account's jobs wait this long for a worker, it is refused new ones with 503; LOW ones at half of it",
        30,
    )
    api_processes: int = _setting(_positive, "web server processes", 1)
    api_threads: int = _setting(_positive, "threads of each web server process", 64)
    worker_threads: int = _setting(_positive, "pictures that one worker process looks at at once", 2)
    courier_threads: int = _setting(
        _positive,
        "webhooks that one courier process sends at once; a quarter is kept for accounts that have none under way",
        64,
    )
    run_timeout_seconds: int = _setting(_positive, "longest run of one job; after that it is taken from its worker", 60)
    job_retention_days: int = _setting(_positive, "days that a finished job and its result are kept", 30)
    audit_retention_days: int = _setting(_positive, "days that lines of the audit log are kept", 400)
    keep_crops: bool = _setting(
        _switch,
        "whether aligned crops of indexed faces are kept, so that they can be embedded anew without their source; "
        "a collection's tag `rekollect:keep-crops` goes first",
        False,
    )
    rollback_days: int = _setting(
        _positive, "days that a reprocessed collection can go back; until then new faces are embedded twice", 7
    )
    own_bucket_faces: int = _setting(
        _positive, "faces above which a collection gets search partitions of its own, while it serves", OWN_BUCKET_FACES
    )
    index_megabytes: int = _setting(
        _positive, "memory that Postgres may take to build an approximate index, where a collection asks for one", 1024
    )
    segment_faces: int = _setting(
        _whole,
        "faces, or users, from which on a collection that is searched often is also kept by workers, compressed and shared by "
        "all of a machine, where faiss-cpu is installed (the extra `cache`); 0: never",
        20_000,
    )
    segment_megabytes: int = _setting(
        _positive, "largest size of all these copies on a machine; a million faces of 128 dimensions take 305", 4_096
    )
    segment_dir: Path | None = _setting(
        _path, "folder for them, on a fast disk or in memory (default: `segments` in the cache folder)"
    )
    models_dir: Path | None = _setting(_path, "folder with model files to use instead of downloading them")
    cache_dir: Path | None = _setting(_path, "folder for pulled models and samples (default ~/.cache/rekollect)")
    execution_provider: str = _setting(
        _provider,
        "onnxruntime's execution provider: CPUExecutionProvider or CUDAExecutionProvider",
        "CPUExecutionProvider",
    )
    s3_endpoint_url: str = _setting(_http_url, "S3-compatible endpoint for S3Object images; unset: AWS", "")
    s3_region: str = _setting(_text, "region of the S3 endpoint", "us-east-1")
    s3_access_key_id: str = _setting(_text, "access key for S3; unset: the usual AWS credential chain", "")
    s3_secret_access_key: str = _setting(_text, "secret of that key", "", secret=True)
    dial_allow: tuple[IPNetwork, ...] = _setting(
        _networks,
        "addresses or networks that image URLs and webhooks may reach although they are not public (127.0.0.0/8 for tests)",
        (),
    )
    url: str = _setting(
        _http_url, "where the API is, for `rekollect jobs`, `webhooks`, `index` and `search`", "http://127.0.0.1:8080"
    )
    api_key: str = _setting(_text, "API key for these commands; unset: that of .rekollect/credentials", "", secret=True)
    log_level: str = _setting(_level, "DEBUG, INFO, WARNING or ERROR", "INFO")
    failpoints: tuple[tuple[str, int], ...] = _setting(
        parse_points, "for tests of crashes alone: points in the code at which processes die (`app/failpoints.py`)", ()
    )
    failpoints_dir: Path | None = _setting(_path, "folder in which such deaths are noted; without it there are none")

    @property
    def cache(self) -> Path:
        """Folder for pulled files."""
        return self.cache_dir or default_cache_dir()

    @property
    def segments(self) -> Path:
        """Folder for the copies of large collections."""
        return self.segment_dir or self.cache / "segments"

    @property
    def seats(self) -> int:
        """How many requests may wait at once: some threads always stay free for quick calls and probes."""
        return max(1, min(self.max_waiters, self.api_threads - _FREE_THREADS))

    @property
    def run_timeout(self) -> timedelta:
        """Longest run of one job."""
        return timedelta(seconds=self.run_timeout_seconds)

    @property
    def job_retention(self) -> timedelta:
        """How long a finished job and its result are kept."""
        return timedelta(days=self.job_retention_days)

    @property
    def audit_retention(self) -> timedelta:
        """How long lines of the audit log are kept."""
        return timedelta(days=self.audit_retention_days)

    @property
    def rollback_window(self) -> timedelta:
        """How long a reprocessed collection can go back."""
        return timedelta(days=self.rollback_days)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read all variables; raise SettingsError that names every variable that is wrong."""
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for field in dataclasses.fields(cls):
            name = PREFIX + field.name.upper()
            raw = environment.get(name)
            if raw is None or raw == "":
                continue
            try:
                values[field.name] = field.metadata["read"](raw)
            except ValueError as error:
                wrong.append(f"{name} {error}")
        if wrong:
            raise SettingsError("; ".join(wrong))
        return cls(**values)

    def require(self, *names: str) -> None:
        """Raise SettingsError unless each named setting has a value."""
        missing = [PREFIX + name.upper() for name in names if not getattr(self, name)]
        if missing:
            raise SettingsError("not set: " + ", ".join(missing))

    def arm_failpoints(self) -> None:
        """Let this process die where a test asks for it; raise SettingsError where only the half of that was asked for."""
        if self.failpoints:
            self.require("failpoints_dir")
        arm(self.failpoints, self.failpoints_dir)
