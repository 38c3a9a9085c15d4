"""JSON in and out of the resources under /v1: bodies are small, of known members, and lists come a page at a time."""

import json
import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, request

from app.domain import pagination
from app.errors import SerializationError, ValidationError

MAX_BODY_BYTES = 64 * 1024
MAX_PAGE = 1000
DEFAULT_PAGE = 100

_NUMBER = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for: so many, older than the last one shown."""

    kind: str
    size: int
    before: uuid.UUID | None

    @property
    def limit(self) -> int:
        """How many to read: one more than is shown tells whether the list goes on."""
        return self.size + 1

    def show(self, found: Sequence[Mapping[str, Any]], key: str) -> dict[str, Any]:
        """Render a page under the list's name; `key` is the member that a list goes on after."""
        shown = list(found[: self.size])
        document: dict[str, Any] = {self.kind: shown}
        if len(found) > self.size:
            document["NextToken"] = pagination.token(self.kind, shown[-1][key])
        return document


def read_page(kind: str, *filters: str) -> Page:
    """Read MaxResults and NextToken of a list that also takes these filters; raises ValidationError."""
    size, token = read_size(*filters)
    return Page(kind, size, None if token is None else pagination.read_uuid(token, kind))


def read_size(*filters: str) -> tuple[int, str | None]:
    """Read how much of a list is shown at once, and the token that it goes on after; raises ValidationError."""
    known = {"MaxResults", "NextToken", *filters}
    _check_known(set(request.args), known, "parameter")
    size = request.args.get("MaxResults", str(DEFAULT_PAGE))
    if not _NUMBER.fullmatch(size) or int(size) > MAX_PAGE:
        raise ValidationError(f"MaxResults must be a whole number, 1 to {MAX_PAGE}.")
    return int(size), request.args.get("NextToken")


def read_members(known: Collection[str] = ()) -> dict[str, Any]:
    """Read a JSON object of known members; no body is an empty one. Raises SerializationError, ValidationError."""
    body = request.get_data()
    if len(body) > MAX_BODY_BYTES:
        raise ValidationError(f"The request body must be at most {MAX_BODY_BYTES} bytes.")
    try:
        members = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise SerializationError("The request body is not valid JSON.") from error
    if not isinstance(members, dict):
        raise SerializationError("The request body must be a JSON object.")
    _check_known(set(members), set(known), "member")
    return members


def _check_known(named: set[str], known: set[str], what: str) -> None:
    unknown = sorted(named - known)
    if unknown:
        raise ValidationError(f"Unknown {what} {unknown[0][:64]}; known are {', '.join(sorted(known)) or 'none'}.")


def answer(document: Mapping[str, Any], status: int = 200, **headers: str) -> Response:
    """Answer with a document; an underscore in a header's name stands for a hyphen."""
    made = Response(json.dumps(document), status=status, content_type="application/json")
    made.headers["Cache-Control"] = "no-store"
    for name, value in headers.items():
        made.headers[name.replace("_", "-")] = value
    return made
