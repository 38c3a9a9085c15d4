"""Webhook endpoints: the addresses that an account wants its events sent to.

A secret is shown once, when it is made, and rests encrypted; so do headers, because some carry credentials. Whoever changes an
endpoint and its receiver begins with the receiver, as the couriers do.
"""

import json
import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy.engine import Connection

from app.db import endpoints as rows
from app.db.session import Database
from app.domain.audit import OPERATOR, Act, Actor, Line
from app.domain.endpoints import MAX_ENDPOINTS, MAX_LIVE_SECRETS, Endpoint, document
from app.domain.jobs import iso
from app.domain.signatures import new_secret
from app.encryption import Cipher
from app.errors import EndpointNotFound, ServiceQuotaExceeded
from app.services import audit

#: Deliveries that go with one transaction at most when their endpoint is deleted.
_DELETED_AT_ONCE = 2000

Document = dict[str, Any]


class Endpoints:
    """The endpoints of all accounts. Holds what every use of them needs: where they are, the key of their secrets, who acts."""

    def __init__(self, database: Database, cipher: Cipher, actor: Actor = OPERATOR) -> None:
        self._database = database
        self._cipher = cipher
        self._actor = actor

    def create(self, account_id: int, settings: Document) -> tuple[Document, str]:
        """Make an endpoint; give its document and its secret, which is not shown again."""
        secret = new_secret()
        with self._database.transaction() as connection:
            if rows.lock_and_count(connection, account_id) >= MAX_ENDPOINTS:
                raise ServiceQuotaExceeded(f"An account can have at most {MAX_ENDPOINTS} webhook endpoints.")
            endpoint_id = rows.new_id(connection)
            values = {**settings, "headers": self._seal_headers(endpoint_id, settings.get("headers"))}
            rows.insert(connection, {**values, "endpoint_id": endpoint_id, "account_id": account_id})
            rows.insert_secret(connection, endpoint_id, self._seal(endpoint_id, secret))
            self._note(connection, account_id, endpoint_id, Act.CREATE_ENDPOINT)
            return self._show(_found(connection, account_id, endpoint_id)), secret

    def get(self, account_id: int, endpoint_id: str) -> Document:
        """Show an endpoint of an account, or raise EndpointNotFound."""
        with self._database.statement() as connection:
            return self._show(_found(connection, account_id, read_id(endpoint_id)))

    def list_page(self, account_id: int, *, before: uuid.UUID | None, limit: int) -> list[Document]:
        """Show endpoints of an account, newest first."""
        with self._database.statement() as connection:
            return [
                self._show(endpoint) for endpoint in rows.list_page(connection, account_id, before=before, limit=limit)
            ]

    def change(self, account_id: int, endpoint_id: str, changes: Document) -> Document:
        """Set what the changes name and show the endpoint; a new address is tried with one delivery first."""
        number, values = read_id(endpoint_id), dict(changes)
        if "headers" in changes:
            values["headers"] = self._seal_headers(number, changes["headers"])
        with self._database.transaction() as connection:
            endpoint = _found(connection, account_id, number)
            if values.get("url", endpoint.url) != endpoint.url:
                rows.probe_first(connection, account_id, number)
            if values:
                rows.update(connection, account_id, number, values)
            self._note(connection, account_id, number, Act.UPDATE_ENDPOINT)
            return self._show(_found(connection, account_id, number))

    def enable(self, account_id: int, endpoint_id: str) -> Document:
        """Send to an endpoint again, one delivery first where it had failed; show it."""
        number = read_id(endpoint_id)
        with self._database.transaction() as connection:
            if not _found(connection, account_id, number).enabled:
                rows.probe_first(connection, account_id, number)
                rows.enable(connection, account_id, number)
            self._note(connection, account_id, number, Act.ENABLE_ENDPOINT)
            return self._show(_found(connection, account_id, number))

    def disable(self, account_id: int, endpoint_id: str) -> Document:
        """Stop sending to an endpoint; what is pending waits. Show it."""
        number = read_id(endpoint_id)
        with self._database.transaction() as connection:
            rows.disable(connection, account_id, number, "REQUESTED")
            shown = self._show(_found(connection, account_id, number))
            self._note(connection, account_id, number, Act.DISABLE_ENDPOINT)
        return shown

    def delete(self, account_id: int, endpoint_id: str) -> None:
        """Delete an endpoint with its deliveries, in transactions that stay short."""
        self.disable(account_id, endpoint_id)
        number, deleted = read_id(endpoint_id), 1
        while deleted:
            with self._database.transaction() as connection:
                deleted = rows.delete_deliveries(connection, account_id, number, limit=_DELETED_AT_ONCE)
        with self._database.transaction() as connection:
            rows.delete(connection, account_id, number)
            self._note(connection, account_id, number, Act.DELETE_ENDPOINT)

    def rotate_secret(self, account_id: int, endpoint_id: str, overlap: timedelta) -> Document:
        """Make a new secret and show it once; earlier ones sign beside it for a while, of too many the oldest ends now."""
        number, secret = read_id(endpoint_id), new_secret()
        with self._database.transaction() as connection:
            _found(connection, account_id, number, lock=True)
            ends = rows.retire_secrets(connection, number, overlap=overlap, keep=MAX_LIVE_SECRETS - 1)
            rows.insert_secret(connection, number, self._seal(number, secret))
            self._note(connection, account_id, number, Act.ROTATE_SECRET)
        shown = {"EndpointId": str(number), "Secret": secret}
        return {**shown, "PreviousSecretsExpireAt": iso(max(ends))} if ends else shown

    def _note(self, connection: Connection, account_id: int, endpoint_id: uuid.UUID, act: Act) -> None:
        audit.note(connection, Line(account_id, self._actor, act, resources={"EndpointId": str(endpoint_id)}))

    def _show(self, endpoint: Endpoint) -> Document:
        return document(endpoint, list(self._open_headers(endpoint)))

    def _open_headers(self, endpoint: Endpoint) -> dict[str, str]:
        if endpoint.headers is None:
            return {}
        opened: dict[str, str] = json.loads(self._cipher.decrypt(endpoint.headers, owner=_owner(endpoint.endpoint_id)))
        return opened

    def _seal_headers(self, endpoint_id: uuid.UUID, headers: dict[str, str] | None) -> bytes | None:
        return None if headers is None else self._seal(endpoint_id, json.dumps(headers))

    def _seal(self, endpoint_id: uuid.UUID, text: str) -> bytes:
        return self._cipher.encrypt(text, owner=_owner(endpoint_id))


def read_id(endpoint_id: str) -> uuid.UUID:
    """Read the id of an endpoint, or raise EndpointNotFound."""
    try:
        return uuid.UUID(endpoint_id)
    except ValueError as error:
        raise EndpointNotFound(endpoint_id) from error


def _found(connection: Connection, account_id: int, endpoint_id: uuid.UUID, *, lock: bool = False) -> Endpoint:
    endpoint = rows.find(connection, account_id, endpoint_id, lock=lock)
    if endpoint is None:
        raise EndpointNotFound(str(endpoint_id))
    return endpoint


def _owner(endpoint_id: uuid.UUID | str) -> str:
    return f"endpoint {endpoint_id}"
