"""Accounts, their access keys, and the answers that are kept under a ClientRequestToken."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.db.schema.metadata import metadata, moment, owner

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("account_id", sa.Integer, sa.Identity(always=True), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("webhook_secret", sa.LargeBinary, nullable=False),  # encrypted
    moment("created_at", now=True),
)

access_keys = sa.Table(
    "access_keys",
    metadata,
    sa.Column("access_key_id", sa.Text, primary_key=True),
    owner(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=False),  # encrypted, not hashed: SigV4 needs it back
    sa.Column("session_token", sa.LargeBinary),  # its SHA-256; requests with the key must carry the token
    sa.Column("scopes", JSONB(none_as_null=True)),  # what the key may do; none: everything in the account
    sa.Column("rate", sa.REAL),  # calls per second; none: the setting
    moment("created_at", now=True),
    moment("revoked_at", nullable=True),
    moment("disabled_at", nullable=True),
    moment("expires_at", nullable=True),
)

request_tokens = sa.Table(
    "request_tokens",
    metadata,
    sa.Column("account_id", sa.Integer, sa.ForeignKey("accounts.account_id"), primary_key=True),
    sa.Column("token", sa.Text, primary_key=True),
    sa.Column("request_hash", sa.LargeBinary, nullable=False),
    sa.Column("response", JSONB, nullable=False),
    moment("created_at", now=True),
    sa.Index("ix_request_tokens_created_at", "created_at"),
)
