"""Every table, index and constraint. The migrations build the same; a test compares the two.

Everything is scoped by account.
"""

from app.db.schema.accounts import access_keys, accounts, request_tokens
from app.db.schema.audit import audit_log
from app.db.schema.batches import batch_items, batch_leases, batches
from app.db.schema.collections import collections, face_tombstones, faces, user_tombstones, users
from app.db.schema.embeddings import face_crops, face_embeddings, face_models, user_embeddings
from app.db.schema.jobs import blobs, job_attempts, jobs
from app.db.schema.metadata import metadata
from app.db.schema.reprocesses import reprocess_failures, reprocess_pages, reprocesses
from app.db.schema.schedules import FACE_OBJECT, schedules, synced_objects, ticks
from app.db.schema.search import (
    FIRST_DEDICATED,
    LAST_BUCKET,
    SHARED_BUCKETS,
    bucket_work,
    dedicated_buckets,
    face_vectors,
    search_indexes,
    user_vectors,
)
from app.db.schema.webhooks import (
    deliveries,
    delivery_attempts,
    events,
    receivers,
    webhook_endpoints,
    webhook_secrets,
)

__all__ = [
    "FACE_OBJECT",
    "FIRST_DEDICATED",
    "LAST_BUCKET",
    "SHARED_BUCKETS",
    "access_keys",
    "accounts",
    "audit_log",
    "batch_items",
    "batch_leases",
    "batches",
    "blobs",
    "bucket_work",
    "collections",
    "dedicated_buckets",
    "deliveries",
    "delivery_attempts",
    "events",
    "face_crops",
    "face_embeddings",
    "face_models",
    "face_tombstones",
    "face_vectors",
    "faces",
    "job_attempts",
    "jobs",
    "metadata",
    "receivers",
    "reprocess_failures",
    "reprocess_pages",
    "reprocesses",
    "request_tokens",
    "schedules",
    "search_indexes",
    "synced_objects",
    "ticks",
    "user_embeddings",
    "user_tombstones",
    "user_vectors",
    "users",
    "webhook_endpoints",
    "webhook_secrets",
]
