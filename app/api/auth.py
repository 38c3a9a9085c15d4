"""Who is calling: a signature (AWS SigV4) or a bearer token, or refused."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Request, g

from app import sigv4
from app.api.context import Context
from app.api.errors import request_id
from app.domain.caller import Caller
from app.domain.scopes import MANAGE_SCHEDULES, MANAGE_WEBHOOKS, READ_AUDIT_LOG
from app.errors import ExpiredToken, MissingAuthenticationToken, UnrecognizedClient
from app.services import access_keys, operations
from app.services.access_keys import KnownKey


def signed_caller(request: Request, body: bytes, context: Context) -> Caller:
    """Verify the request's signature over exactly these bytes."""
    found: list[KnownKey] = []

    def find_secret(access_key_id: str, session_token: str | None) -> str | None:
        with context.database.statement() as connection:
            key = access_keys.find(connection, context.cipher, access_key_id, session_token)
        if key is None:
            return None
        found.append(key)
        return key.secret

    settings = context.settings
    caller = sigv4.verify(
        _incoming(request, body),
        find_secret=find_secret,
        regions=settings.region,
        now=datetime.now(UTC),
        skew=timedelta(seconds=settings.clock_skew_seconds),
    )
    return _admitted(request, found[0], caller.region, context)


def caller(request: Request, body: bytes, context: Context) -> Caller:
    """Accept a bearer token as well as a signature."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return signed_caller(request, body, context)
    with context.database.statement() as connection:
        key = access_keys.find_by_api_key(connection, context.cipher, token.strip())
    if key is None:
        raise UnrecognizedClient("The API key in the request is invalid.")
    return _admitted(request, key, context.settings.region[0], context)


def _admitted(request: Request, key: KnownKey, region: str, context: Context) -> Caller:
    """Refuse a key that has expired, count the call against its rate, and say who calls."""
    if key.expired:
        raise ExpiredToken
    default = context.settings.rate_limit
    context.rate_limiter.check(key.access_key_id, key.rate if key.rate is not None else default)
    g.caller = Caller(key.account_id, region, key.access_key_id, key.scopes, request.remote_addr or None, request_id())
    return g.caller  # type: ignore[no-any-return]  # Flask's `g` is untyped


def authorize(caller: Caller, operation: str, input_: Mapping[str, Any]) -> None:
    """Raise AccessDenied unless the caller's key may do this to the collection that the input names, if it names one."""
    collection = caller.collection_in(input_)
    caller.check_allowed(operation, collection)
    if operation == "CreateCollection" and input_.get("Tags"):
        caller.check_allowed("TagResource", collection)  # as at AWS: tags are a permission of their own


def authorize_batch(caller: Caller, operation: str, defaults: Mapping[str, Any]) -> None:
    """Raise AccessDenied unless the caller's key may do this to the batch's collection; to any, where its items name theirs."""
    if operation in operations.ON_COLLECTION and "CollectionId" not in defaults:
        caller.check_allowed_everywhere(operation)
    else:
        caller.check_allowed(operation, defaults.get("CollectionId"))


def has_token(request: Request) -> bool:
    """Tell whether the caller shows a bearer token, which covers no body."""
    return request.headers.get("Authorization", "").partition(" ")[0].lower() == "bearer"


def webhook_manager(request: Request, context: Context) -> Caller:
    """Admit a caller whose key may manage the account's webhooks."""
    require_credentials(request)
    found = caller(request, request.get_data(), context)
    found.check_allowed_everywhere(MANAGE_WEBHOOKS)  # an endpoint hears of every collection
    return found


def schedule_manager(request: Request, context: Context) -> Caller:
    """Admit a caller whose key may manage the account's schedules."""
    require_credentials(request)
    found = caller(request, request.get_data(), context)
    found.check_allowed_everywhere(MANAGE_SCHEDULES)  # what runs by itself asks no key again
    return found


def auditor(request: Request, context: Context) -> Caller:
    """Admit a caller whose key may read the account's audit log."""
    require_credentials(request)
    found = caller(request, request.get_data(), context)
    found.check_allowed_everywhere(READ_AUDIT_LOG)  # it tells of every collection
    return found


def require_credentials(request: Request) -> None:
    """Refuse a request without any credentials before its body is read."""
    if not request.headers.get("Authorization"):
        raise MissingAuthenticationToken


def _incoming(request: Request, body: bytes) -> sigv4.IncomingRequest:
    # RAW_URI is the request line as it came in; PATH_INFO has lost its percent-encoding.
    path, _, query = str(request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or "/").partition("?")
    headers = {name.lower(): value for name, value in request.headers.items()}
    return sigv4.IncomingRequest(method=request.method, path=path, query=query, headers=headers, body=body)
