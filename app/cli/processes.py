"""The single-process commands for compose and Kubernetes: api, worker, courier, beat, migrate.

Each replaces this process by the server it names, so that signals reach the server itself. Workers are named by their module
and started by Celery: nothing here imports them.
"""

import argparse
import os
import sys
from typing import NoReturn

from app.config import Settings
from app.db import migrate as schema
from app.domain.jobs import SLOTS_PER_CORE, Lane
from app.services.access_keys import ensure_first_key

#: Threads of a courier that hear bells and sweep; it sends in threads of its own.
_BELL_THREADS = 2

_CELERY = [sys.executable, "-m", "celery", "--quiet", "-A", "workers.main"]


def configure_api(parser: argparse.ArgumentParser) -> None:
    """Add the options of `rekollect api`."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on (default %(default)s)")
    parser.add_argument("--fd", type=int, help="listen on this open socket instead, which a supervisor keeps")
    parser.set_defaults(run=api)


def configure_worker(parser: argparse.ArgumentParser) -> None:
    """`rekollect worker` takes no options; settings are in the environment."""
    parser.set_defaults(run=worker)


def configure_courier(parser: argparse.ArgumentParser) -> None:
    """`rekollect courier` takes no options."""
    parser.set_defaults(run=courier)


def configure_beat(parser: argparse.ArgumentParser) -> None:
    """`rekollect beat` takes no options."""
    parser.set_defaults(run=beat)


def configure_migrate(parser: argparse.ArgumentParser) -> None:
    """`rekollect migrate` takes no options."""
    parser.set_defaults(run=migrate)


def api(arguments: argparse.Namespace) -> NoReturn:
    """Serve HTTP with gunicorn; threads, because requests wait for jobs."""
    settings = Settings.from_environment()
    settings.require("database_url", "redis_url", "secret_key")
    # A request may wait for its job, and gets a moment more to be answered when the server stops.
    timeout = settings.wait_seconds + 30
    options = {
        "--bind": _address(arguments),
        "--worker-class": "app.web_worker.WebWorker",
        "--threads": settings.api_threads,
        "--workers": settings.api_processes,
        "--timeout": timeout,
        "--graceful-timeout": 10,
        "--keep-alive": 75,
        "--log-level": "warning",
    }
    words = [str(word) for option in options.items() for word in option]
    _become([sys.executable, "-m", "gunicorn", "--no-control-socket", *words, "app.main:create_app()"])


def _address(arguments: argparse.Namespace) -> str:
    if arguments.fd is not None:
        return f"fd://{arguments.fd}"
    return f"[{arguments.host}]:{arguments.port}" if ":" in arguments.host else f"{arguments.host}:{arguments.port}"


def worker(arguments: argparse.Namespace) -> NoReturn:
    """Run jobs: fetch, look, search."""
    settings = Settings.from_environment()
    lanes = f"{Lane.INTERACTIVE},{Lane.BULK},{Lane.MAINTENANCE}"
    # A look has one core. onnxruntime and OpenCV are told where they are opened, numpy's BLAS only hears its environment.
    for library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(library, "1")
    # Threads for what somebody waits for, as many for bulk work, and one that hears the next bell (workers.slots).
    _celery_worker("worker", lanes, 2 * SLOTS_PER_CORE * settings.worker_threads + 1)


def courier(arguments: argparse.Namespace) -> NoReturn:
    """Send webhooks."""
    Settings.from_environment()  # a wrong setting is told here, in a line
    _celery_worker("courier", f"{Lane.WEBHOOKS},{Lane.MAINTENANCE}", _BELL_THREADS)


def beat(arguments: argparse.Namespace) -> NoReturn:
    """Tick: have due schedules and lost work looked for every second. Any number may run."""
    _become([*_CELERY, "beat", "--scheduler", "workers.ticks:Scheduler", "--pidfile="])


def migrate(arguments: argparse.Namespace) -> int:
    """Bring the database to the newest schema, and make the first key where a setting names it."""
    settings = Settings.from_environment()
    settings.require("database_url")
    schema.upgrade(settings.database_url)
    print(f"The database is at revision {schema.head()}.")
    if settings.bootstrap_access_key_id and settings.bootstrap_secret_access_key:
        settings.require("secret_key")
        made = ensure_first_key(settings.database_url, settings)
        print("The first access key was made." if made else "There is an access key already.")
    return 0


def _celery_worker(name: str, lanes: str, threads: int) -> NoReturn:
    command = [*_CELERY, "worker", "--queues", lanes, "--concurrency", str(threads)]
    # Gossip, mingle and heartbeats are talk between workers that Postgres makes needless.
    _become([*command, "--hostname", f"{name}@%h", "--without-gossip", "--without-mingle", "--without-heartbeat"])


def _become(command: list[str]) -> NoReturn:
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 - a fixed command of ours
