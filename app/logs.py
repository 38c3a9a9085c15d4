"""Logs: one JSON object per line, a constant event name, data in fields.

Never bytes, embeddings, keys, secrets or signed URLs: fields are ids, counts, codes and durations. What Postgres says of a row
that broke a constraint is the row itself, and is cut out of tracebacks.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


#: Where Postgres quotes the row or the key that it refused; up to the next part of the message, or of the traceback.
_DETAIL = re.compile(
    r"^DETAIL: .*?(?=^(?:HINT|CONTEXT|QUERY|LINE \d+|\[SQL): |^\[SQL: |^\(Background on |^\n|\Z)", re.M | re.S
)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the time, level, logger and event, then the fields given as `extra`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["traceback"] = _DETAIL.sub("DETAIL: left out\n", self.formatException(record.exc_info))
        return json.dumps(line, default=str)


def configure(level: str) -> None:
    """Send all logs of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # These speak on every connection; what matters of it is in our own events.
    for noisy in (
        "alembic",
        "botocore",
        "celery.app.trace",
        "celery.beat",
        "celery.worker.consumer.consumer",
        "celery.worker.strategy",
        "kombu",
        "urllib3",
    ):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
