"""The contract with the workers: Celery's settings, the names of queues and tasks, and the doorbell.

A message is a doorbell: it says that a lane has work, never which, and carries no data of a caller. Jobs live in Postgres and
are claimed there with a lease, so a bell that is lost, doubled or late costs time and nothing else.
"""

import logging
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from kombu import pools
from kombu.connection import Connection
from kombu.entity import Queue
from kombu.exceptions import LimitExceeded, OperationalError

from app.domain.jobs import Lane

log = logging.getLogger(__name__)

RUN_NEXT = "rekollect.run_next"
DELIVER_NEXT = "rekollect.deliver_next"
SWEEP = "rekollect.sweep"
FIND_GROWTH = "rekollect.find_growth"
RUN_TICKS = "rekollect.run_ticks"

#: What the bell of a lane asks for; in the other lanes the next job is run.
_BELLS: dict[str, tuple[str, list[str]]] = {Lane.WEBHOOKS: (DELIVER_NEXT, []), Lane.MAINTENANCE: (RUN_TICKS, [])}

#: Bells that wait in a lane at most: while nobody listens, the sweeper rings for the same jobs again and again. They bear no
#: time at which they are worthless: a worker whose clock is ahead would hear none.
_MOST_BELLS = 10_000

#: A Redis that takes connections and then says nothing holds up a ring for this long.
_RING_SECONDS = 1.0

#: After a failed ring a thread asks so often whether Redis is back, and nobody rings before: no submit waits for a dead Redis.
_LOOK_SECONDS = 0.5

_DEFAULT_PORT = 6379


class _Connection(Connection):
    """Looks for a lost Redis every second or two; Celery alone would do so less and less often, at last twice a minute."""

    def ensure_connection(self, *args: Any, **options: Any) -> Any:
        pauses = {"interval_start": 1, "interval_step": 1, "interval_max": 1}
        return super().ensure_connection(*args, **{**pauses, **options})  # type: ignore[no-untyped-call]


def create_celery(redis_url: str) -> Celery:
    """Build the Celery application that all processes share; each setting has its reason beside it."""
    celery = Celery("rekollect", broker=redis_url)
    celery.amqp.Connection = _Connection
    celery.conf.update(
        # Bells are acknowledged when they are heard: the lease in Postgres is the real acknowledgement, and late
        # acknowledgement would repeat every job that outlasts Redis's visibility timeout.
        task_acks_late=False,
        # Not even that costs Redis a round trip: a queue forgets a bell when it hands it out.
        task_queues=[Queue(lane.value, no_ack=True) for lane in Lane],  # type: ignore[no-untyped-call]
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        # Results live in Postgres.
        task_ignore_result=True,
        result_backend=None,
        # Nothing but JSON is ever read from Redis: no pickle, no code.
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=Lane.MAINTENANCE.value,
        task_default_delivery_mode="transient",
        # A dead Redis must cost a submit a second at most, and no retry: the sweeper rings again.
        task_publish_retry=False,
        broker_connection_timeout=1,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": 300,
            # Without it a publish on a half-open connection waits for ever. Longer than a blocking pop (1 s).
            "socket_timeout": 5,
            "socket_connect_timeout": 1,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "retry_on_timeout": False,
            # Otherwise kombu sleeps two seconds and connects once more before it reports a dead Redis.
            "max_retries": 0,
        },
        # Early acknowledgement leaves nothing to cancel, and a job must survive a restart of Redis.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # Remote control would let anybody who reaches Redis steer the workers.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        beat_schedule={
            "sweep": {"task": SWEEP, "schedule": 1.0, "options": {"queue": Lane.MAINTENANCE.value}},
            # It looks at every collection, so less often.
            "find_growth": {
                "task": FIND_GROWTH,
                "schedule": 5.0,
                "options": {"queue": Lane.MAINTENANCE.value},
            },
        },
        beat_max_loop_interval=1,
        timezone="UTC",
    )
    return celery


def server(redis_url: str) -> tuple[str, int] | None:
    """Give host and port of the server that a URL names; None for a socket."""
    parts = urlsplit(redis_url)
    return None if parts.scheme == "redis+socket" else (parts.hostname or "localhost", parts.port or _DEFAULT_PORT)


def bells_waiting(producer: Any, lane: str) -> int:
    """Count the bells of a lane that nobody has heard yet; raises OperationalError where Redis does not answer."""
    try:
        return int(producer.channel.client.llen(lane))
    except producer.connection.connection_errors as error:
        raise OperationalError(str(error)) from error


class Doorbell:
    """Rings the workers of a lane. It never raises: a bell that cannot be rung is rung by the sweeper later."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
        self._producers = pools.producers[self._connection()]
        self._silent = threading.Event()
        self._lock = threading.Lock()

    def ring(self, lane: str, times: int = 1) -> bool:
        """Ring once for each piece of work; False where Redis did not take the bell."""
        if self._silent.is_set():
            return False
        task, args = _BELLS.get(lane, (RUN_NEXT, [lane]))
        try:
            with self._producers.acquire(block=True, timeout=_RING_SECONDS) as producer:
                for _ in range(min(times, _MOST_BELLS - bells_waiting(producer, lane))):
                    if self._silent.is_set():  # another thread found out while this one waited for a producer
                        return False
                    self._celery.send_task(task, args=args, producer=producer, queue=lane, retry=False)
        except (OperationalError, LimitExceeded, OSError) as error:
            self._fall_silent()
            log.warning("doorbell_failed", extra={"lane": lane, "reason": type(error).__name__})
            return False
        return True

    def answers(self) -> bool:
        """Tell whether Redis answers."""
        try:
            with self._connection() as connection:
                connection.ensure_connection(max_retries=1, timeout=1)
        except (OperationalError, OSError):
            return False
        return True

    def _fall_silent(self) -> None:
        with self._lock:
            if not self._silent.is_set():
                self._silent.set()
                threading.Thread(target=self._wait_for_an_answer, name="doorbell", daemon=True).start()

    def _wait_for_an_answer(self) -> None:
        try:
            time.sleep(_LOOK_SECONDS)
            while not self.answers():
                time.sleep(_LOOK_SECONDS)
        finally:  # whatever went wrong, the next ring finds out anew
            self._silent.clear()

    def _connection(self) -> Any:
        # A connection to ring over waits less long than the one over which a worker listens.
        return self._celery.connection_for_write(transport_options={"socket_timeout": _RING_SECONDS})
