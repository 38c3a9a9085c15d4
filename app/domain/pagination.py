"""Page tokens: the key of the last row shown, opaque to callers, far below the 255 characters that the service model allows."""

import base64
import binascii
import hashlib
import uuid

from app.errors import InvalidPaginationToken


def token(kind: str, last: str) -> str:
    """Make the token that continues after a key (a number, a UUID) in the list that `kind` names: no other takes it."""
    raw = f"{kind}\n{last}".encode()
    return base64.urlsafe_b64encode(_check(raw) + raw).decode().rstrip("=")


def read_number(value: str | None, kind: str) -> int:
    """Give the number back, or 0 where there is no token; raises InvalidPaginationToken."""
    last = _read(value, kind, default="0")
    if not (last.isascii() and last.isdigit() and len(last) <= 19 and int(last) < 2**63):  # the keys are bigints
        raise InvalidPaginationToken
    return int(last)


def read_uuid(value: str | None, kind: str) -> uuid.UUID:
    """Give the UUID back, or the lowest of all where there is no token; raises InvalidPaginationToken."""
    try:
        return uuid.UUID(_read(value, kind, default=str(uuid.UUID(int=0))))
    except ValueError as error:
        raise InvalidPaginationToken from error


def _read(value: str | None, kind: str, *, default: str) -> str:
    if value is None:
        return default
    try:
        raw = base64.urlsafe_b64decode(value.encode() + b"=" * (-len(value) % 4))
        check, body = raw[:4], raw[4:]
        found, separator, last = body.decode().partition("\n")
    except (binascii.Error, ValueError) as error:
        raise InvalidPaginationToken from error
    if check != _check(body) or found != kind or not separator:
        raise InvalidPaginationToken
    return last


def _check(raw: bytes) -> bytes:
    # Catches a garbled token. It is no secret: a token only says where in the caller's own list to go on.
    return hashlib.sha256(raw).digest()[:4]
