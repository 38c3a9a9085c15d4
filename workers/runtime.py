"""What one worker process holds open: settings, connections, models, the dialer. Opened once, after the process started.

Threads share all of it: onnxruntime's sessions are thread-safe, the pool hands each thread its own connection.
"""

import importlib.util
import logging
import os
import socket
import threading
from dataclasses import dataclass
from functools import cached_property, partial

from celery import Celery

from app.broker import Doorbell, server
from app.config import Settings
from app.db import approximate
from app.db.session import Database, servers
from app.db.vectors import Scan
from app.domain.batches import Chunk
from app.domain.jobs import Claim
from app.encryption import Cipher
from app.services import batches, jobs
from app.services.batch_expansion import Expansion, Listing
from app.services.batch_outcomes import BatchOutcomes
from app.services.bucket_work import BucketWork
from app.services.growth import Growth
from app.services.index_keeping import IndexKeeper
from app.services.outcomes import Outcomes
from app.services.reembedding import Page, Reembedding
from workers.collection_cache import CollectionCache
from workers.company import Places
from workers.cores import Cores
from workers.fetch import Fetcher, S3Client, make_s3_client
from workers.heartbeat import Heartbeat
from workers.indexer import Indexer
from workers.outbound import Dialer
from workers.slots import Slots
from workers.store import Store
from workers.vision.engines import Engines

log = logging.getLogger(__name__)


@dataclass
class Runtime:
    """The open resources of a process; the heavy ones are opened at first use, so that a courier loads no model."""

    settings: Settings
    celery: Celery

    @cached_property
    def worker(self) -> str:
        """Name of this process in attempt rows."""
        return f"{socket.gethostname()}/{os.getpid()}"

    @cached_property
    def database(self) -> Database:
        """Connections to Postgres, enough for the threads that ask at once, the heartbeats and the sweeper.

        There are more threads than that, which look at pictures or wait for receivers far longer than they need a connection.
        """
        return Database(self.settings.database_url, pool_size=max(self.settings.worker_threads, 8) + 6)

    @cached_property
    def doorbell(self) -> Doorbell:
        """Bells for the lanes."""
        return Doorbell(self.celery)

    @cached_property
    def outcomes(self) -> Outcomes:
        """Ends jobs."""
        return Outcomes(self.database, self.doorbell, keep=self.settings.job_retention)

    @cached_property
    def reembedding(self) -> Reembedding:
        """Hands out the work of reprocesses and stores it."""
        return Reembedding(self.database, self.doorbell, rollback_window=self.settings.rollback_window)

    @cached_property
    def bucket_work(self) -> BucketWork:
        """Does what is to be done about the buckets of collections."""
        return BucketWork(self.database, self.doorbell, Growth(self.settings.own_bucket_faces))

    @cached_property
    def indexer(self) -> Indexer:
        """Builds approximate indexes."""
        return Indexer(IndexKeeper(self.database, megabytes=self.settings.index_megabytes), self.stopping)

    @cached_property
    def heartbeat(self) -> Heartbeat[Claim]:
        """Renews the leases of the jobs that run here."""
        return Heartbeat(partial(jobs.renew, self.database), run_timeout=self.settings.run_timeout)

    @cached_property
    def batch_heartbeat(self) -> Heartbeat[Chunk | Listing]:
        """Renews the leases of the chunks of batches that run here."""
        return Heartbeat(partial(batches.renew, self.database), run_timeout=self.settings.run_timeout)

    @cached_property
    def page_heartbeat(self) -> Heartbeat[Page]:
        """Renews the leases of the pages of reprocesses that are embedded here; a face waits for its source and for a core."""
        return Heartbeat(self.reembedding.renew, run_timeout=2 * self.settings.run_timeout)

    @cached_property
    def batch_outcomes(self) -> BatchOutcomes:
        """Ends items of batches."""
        return BatchOutcomes(self.database, self.doorbell, keep=self.settings.job_retention)

    @cached_property
    def expansion(self) -> Expansion:
        """Lists items of batches."""
        return Expansion(self.database, self.batch_outcomes)

    @cached_property
    def slots(self) -> Slots:
        """Shares the threads between what somebody waits for and the rest."""
        return Slots(self.settings.worker_threads)

    @cached_property
    def places(self) -> Places:
        """Keeps what may kill this process apart from the rest."""
        return Places()

    @cached_property
    def cores(self) -> Cores:
        """Shares the cores between those threads."""
        return Cores(self.settings.worker_threads)

    @cached_property
    def collection_cache(self) -> CollectionCache:
        """What items of batches know of the collections that they index into."""
        return CollectionCache()

    @cached_property
    def stopping(self) -> threading.Event:
        """Set when the process was asked to stop: long work ends at its next step."""
        return threading.Event()

    @cached_property
    def engines(self) -> Engines:
        """The models, by face model version."""
        return Engines(self.settings)

    @cached_property
    def scan(self) -> Scan:
        """The way that searches go: through the machine's segments where faiss is installed, else through Postgres alone."""
        settings = self.settings
        if not settings.segment_faces or importlib.util.find_spec("faiss") is None:
            return approximate.scan_as_asked
        from workers.segments.cache import Segments  # it imports faiss, which is optional
        from workers.segments.folder import Folder

        folder = Folder(settings.segments, settings.segment_megabytes << 20)
        segments = Segments(self.database, folder, fewest=settings.segment_faces)
        segments.keeper.start()
        return segments.scan

    def prepare(self) -> None:
        """Open now what the first job would have to wait for: the built-in models, and faiss."""
        _ = self.engines, self.scan

    @cached_property
    def dialer(self) -> Dialer:
        """The one way to an address that a caller chose, never to our own servers."""
        own = servers(self.settings.database_url)
        redis = server(self.settings.redis_url)
        return Dialer(self.settings.dial_allow, own_servers=own if redis is None else [*own, redis])

    @cached_property
    def fetcher(self) -> Fetcher:
        """Reads images, wherever they are."""
        return Fetcher(self.dialer, self.s3_client)

    @cached_property
    def s3_client(self) -> S3Client:
        """The client for pictures and manifests in S3."""
        return make_s3_client(self.settings)

    @cached_property
    def store(self) -> Store:
        """Lists keys and reads manifests in S3."""
        return Store(self.s3_client)

    @cached_property
    def cipher(self) -> Cipher:
        """Opens the webhook secrets."""
        return Cipher(self.settings.secret_key)


_current: list[Runtime] = []


def open_runtime(settings: Settings, celery: Celery) -> None:
    """Make the runtime of this process; nothing is opened yet."""
    _current[:] = [Runtime(settings, celery)]


def current() -> Runtime:
    """Give the runtime of this process."""
    return _current[0]
