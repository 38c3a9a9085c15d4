"""The Celery application of the worker, the courier and beat: `celery -A workers.main`.

The process edge: settings are read here, logs are set up, and a worker loads its models before it takes the first bell.
"""

import logging
import time
import warnings
from typing import Any

from celery.exceptions import CPendingDeprecationWarning, SecurityWarning
from celery.signals import setup_logging, worker_init, worker_ready, worker_shutting_down

from app import logs
from app.broker import create_celery
from app.config import Settings
from app.domain.jobs import SLOTS_PER_CORE
from workers import courier, tasks
from workers.drain import Drain
from workers.runtime import current, open_runtime

log = logging.getLogger(__name__)

# Celery warns that root must not read pickles; we accept JSON alone.
warnings.filterwarnings("ignore", category=SecurityWarning)

settings = Settings.from_environment()
settings.require("database_url", "redis_url", "secret_key")
celery = create_celery(settings.redis_url)
celery.conf.worker_pool = "workers.pool:ThreadPool"
settings.arm_failpoints()
open_runtime(settings, celery)


@setup_logging.connect  # type: ignore[untyped-decorator]  # Celery ships no types
def _configure_logs(**_: Any) -> None:
    logs.configure(settings.log_level)


@worker_init.connect  # type: ignore[untyped-decorator]
def _prepare(sender: Any, **_: Any) -> None:
    # Before the first bell: a missing or damaged model stops the worker with its message, and no job waits for loading.
    if _runs_jobs(sender):
        began = time.monotonic()
        current().prepare()
        log.info("models_loaded", extra={"milliseconds": round((time.monotonic() - began) * 1000)})
    else:
        courier.open_courier(current())


@worker_ready.connect  # type: ignore[untyped-decorator]
def _ready(sender: Any, **_: Any) -> None:
    # At every loss of Redis Celery warns of a setting that we did set. It asks for these warnings itself, so not earlier.
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
    # A few threads for every core, as with bells: most of them wait for pictures.
    works = tasks.drains(SLOTS_PER_CORE * settings.worker_threads) if _runs_jobs(sender) else [courier.wake]
    Drain(current().doorbell, works).start()
    log.info("worker_ready", extra={"worker": current().worker})


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop(**_: Any) -> None:
    current().stopping.set()
    courier.close_courier()


def _runs_jobs(consumer: Any) -> bool:
    return str(consumer.hostname).startswith("worker@")
