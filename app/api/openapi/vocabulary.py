"""The words and limits that schemas name, taken from the code that keeps them."""

import re

from app.api import audit as audited
from app.api import documents, submissions
from app.api import jobs as routes
from app.db.schema import metadata
from app.domain import (
    audit,
    batches,
    cron,
    deliveries,
    endpoints,
    face_models,
    jobs,
    receivers,
    reprocesses,
    schedules,
    search_modes,
    webhook_events,
    webhooks,
)
from app.domain.images import MAX_URL_LENGTH
from app.service_model import json_schema, service_model
from app.services import operations

OPERATIONS = sorted(operations.ALL)
COLLECTION_ID = json_schema.schema(service_model().shape_for("CollectionId"))
STATUSES = [status.value for status in jobs.Status]
PRIORITIES = [priority.value for priority in jobs.Priority]
LONGEST_DEADLINE_SECONDS = int(jobs.LONGEST_DEADLINE.total_seconds())
LAST_POSITION = jobs.LAST_POSITION
MAX_URL = MAX_URL_LENGTH

BATCH_OPERATIONS = sorted(operations.IMAGE)
BATCH_STATUSES = [*(status.value for status in batches.BatchStatus), batches.PAUSED]
MAX_INLINE_ITEMS = batches.MAX_INLINE_ITEMS
EXTERNAL_ID_FROM = list(batches.EXTERNAL_ID_FROM)

LONGEST_WAIT_SECONDS = routes.LONGEST_WAIT_SECONDS
DEFAULT_PAGE, LARGEST_PAGE = documents.DEFAULT_PAGE, documents.MAX_PAGE
LARGEST_ANSWER = batches.MAX_LINES
IDEMPOTENCY_KEY = submissions.TOKEN.pattern
MAX_METADATA = submissions.MAX_METADATA
LONGEST_METADATA_KEY, LONGEST_METADATA_VALUE = submissions.LONGEST_METADATA_KEY, submissions.LONGEST_METADATA_VALUE

JOB_EVENTS = [jobs.event_type(status) for status in jobs.Status if status in jobs.TERMINAL]
EVENTS = list(webhook_events.TYPES)
BATCH_EVENTS = [batches.COMPLETED]
REPROCESS_EVENTS = [webhook_events.REPROCESSED]
ENDPOINT_EVENTS = [webhook_events.TEST, webhook_events.FAILING, webhook_events.DISABLED]
MAX_ATTEMPTS = webhooks.MAX_ATTEMPTS
MAX_MESSAGE_BYTES = webhooks.MAX_BODY_BYTES
KEPT_ANSWER_BYTES = webhooks.KEPT_ANSWER_BYTES

PAYLOADS = list(endpoints.PAYLOADS)
CIRCUITS = [circuit.value for circuit in receivers.Circuit]
MAX_DESCRIPTION, MAX_HEADERS = endpoints.MAX_DESCRIPTION, endpoints.MAX_HEADERS
HEADER_NAME, HEADER_VALUE = endpoints.HEADER_NAME.pattern, endpoints.HEADER_VALUE.pattern
DEFAULT_OVERLAP_SECONDS = int(endpoints.DEFAULT_OVERLAP.total_seconds())
LONGEST_OVERLAP_SECONDS = int(endpoints.MAX_OVERLAP.total_seconds())

DELIVERY_STATUSES = list(deliveries.STATUSES)
MAX_REPLAY_DAYS, MAX_REPLAYED = deliveries.MAX_REPLAY_RANGE.days, deliveries.MAX_REPLAYED

VERSION_NAME = face_models.VERSION_NAME.pattern
ON_FAILURE = list(reprocesses.ON_FAILURE)
REPROCESS_STATUSES = [status.value for status in reprocesses.Status]
FAILURE_REASONS = [reason.value for reason in reprocesses.Reason]

SEARCH_MODES = [mode.value for mode in search_modes.SearchMode]
INDEX_STATUSES = [status.value for status in search_modes.IndexStatus]
ACTORS = [kind.value for kind in audit.ActorKind]
AUDITED = audited.OPERATIONS
ACCESS_KEY_ID = audited.ACCESS_KEY_ID.pattern

SCHEDULE_KINDS = [kind.value for kind in schedules.NEEDS]
SCHEDULE_NAME, BUCKET = schedules.NAME.pattern, schedules.BUCKET.pattern
MAX_RETENTION_DAYS, MAX_PREFIX = schedules.MAX_DAYS, schedules.MAX_PREFIX
CATCH_UPS = [policy.value for policy in cron.CatchUp]
MAX_CRON, MAX_MISSED = cron.MAX_LENGTH, cron.MAX_MISSED
TICK_STATUSES = [status.value for status in schedules.TickStatus]


def _kept_by_postgres(table: str, column: str) -> list[str]:
    """Give the words that a column may hold, which only its table names."""
    checks = {str(constraint.name): constraint for constraint in metadata.tables[table].constraints}
    return re.findall("'([A-Z_]+)'", str(vars(checks[f"ck_{table}_{column}"])["sqltext"]))


ENDPOINT_STATUSES = _kept_by_postgres("webhook_endpoints", "status")
DISABLED_REASONS = _kept_by_postgres("webhook_endpoints", "disabled_reason")
TRIGGERS = _kept_by_postgres("deliveries", "trigger")
TICK_TRIGGERS = _kept_by_postgres("ticks", "trigger")
