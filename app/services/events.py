"""Webhook events: what is told when a job has ended, and to whom.

An event and its deliveries are written by the transaction that ends the job, so there is a webhook if and only if there is an
ending. The body is stored once, and every attempt sends exactly those bytes.
"""

import json
import uuid
from typing import Any

from sqlalchemy.engine import Connection

from app.db import deliveries
from app.domain import webhooks
from app.domain.jobs import Job, document, event_type


def has_receiver(job: Job) -> bool:
    """Tell whether the end of a job may be told to somebody."""
    return job.webhook_url is not None or job.webhook_endpoint_id is not None or job.tells_endpoints


def publish(connection: Connection, job: Job) -> None:
    """Write the event of a job that has ended, with a delivery to whoever wants it."""
    if job.webhook_url is not None:
        receiver = webhooks.origin(job.webhook_url)
        deliveries.insert(connection, _event(job), receiver=receiver, url=job.webhook_url)


def _event(job: Job) -> dict[str, Any]:
    shown = document(job)
    message = {"type": event_type(job.status), "timestamp": shown["FinishedAt"], "data": shown}
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > webhooks.MAX_BODY_BYTES:  # by reference: the receiver fetches the result from Links.Self
        message["data"] = {name: value for name, value in shown.items() if name != "Result"}
        body = json.dumps(message, separators=(",", ":")).encode()
    return {
        "event_id": f"evt_{uuid.uuid4().hex}",
        "account_id": job.account_id,
        "job_id": uuid.UUID(job.job_id),
        "type": message["type"],
        "body": body,
    }
