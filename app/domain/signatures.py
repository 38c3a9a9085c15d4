"""Signatures of webhook messages (Standard Webhooks 1.0, symmetric).

The signed bytes are the bytes that are sent; whoever signs must send exactly that body. Our own signer, because the
published package signs one secret at a time and mistakes aware times; in the tests it is the judge.
"""

import base64
import binascii
import hashlib
import hmac
import secrets

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """Make a webhook secret: `whsec_` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Give one signature, `v1,…`; several, joined by spaces, make a header while a secret is rotated."""
    if "." in message_id:
        # A dot separates the parts of what is signed, so an id with one could be moved into the timestamp.
        raise ValueError("a message id must not contain a dot")
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode("ascii")


def _key(secret: str) -> bytes:
    if not secret.startswith(PREFIX):
        raise ValueError(f"a webhook secret begins with {PREFIX}")
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"a webhook secret is base64 after {PREFIX}") from None
