"""Verify the AWS Signature V4 of a caller's request.

The canonical form is botocore's own, the code that signed the request at the other end, fed with exactly the headers
that the caller named; there is no second implementation to disagree with it. The method, path, query and headers must
be those the caller sent, not what a proxy or a framework made of them. No answer tells a stranger more than AWS does:
an unknown key costs the same work as a wrong secret, and the canonical request is never shown.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote_plus

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from app.errors import IncompleteSignature, InvalidSignature, MissingAuthenticationToken, UnrecognizedClient

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
TIMESTAMP = "%Y%m%dT%H%M%SZ"

_TIMESTAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
# Printable ASCII without the characters that end a path or a query: parsing a URL would cut there.
_PATH = re.compile(r"/[!$->@-~\"]*")
_QUERY = re.compile(r"[!\"$-~]*")
_HEADER_VALUE = re.compile(r"[\t -~]*")


@dataclass(frozen=True, slots=True)
class IncomingRequest:
    """A request as it came in: path and query raw, header names in lower case, the body before any decoding."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key signed, and for which region."""

    access_key_id: str
    region: str


@dataclass(frozen=True, slots=True)
class _Scope:
    access_key_id: str
    date: str
    region: str
    service: str
    terminator: str


class _Verifier(SigV4Auth):  # type: ignore[misc]  # botocore ships no type information
    """botocore's signer, without its list of headers never to sign: what was signed is the caller's choice."""

    def headers_to_sign(self, request: AWSRequest) -> Any:
        return request.headers


def verify(
    request: IncomingRequest,
    *,
    find_secret: Callable[[str, str | None], str | None],
    regions: Collection[str],
    now: datetime,
    skew: timedelta,
    service: str = "rekognition",
) -> Caller:
    """Return who signed the request, or raise what Rekognition answers; the order of the checks is AWS's.

    `find_secret` is given the key's id and the session token sent with it, and gives the secret where both are good.
    """
    authorization = _authorization_header(request)
    given = _parameters(authorization, request)
    signed_headers = given["SignedHeaders"].split(";")
    _check_signed(signed_headers, request)
    timestamp = request.headers["x-amz-date"].strip()
    _check_time(timestamp, now=now, skew=skew)
    scope = _read_scope(given["Credential"])
    _check_scope(scope, timestamp, regions=regions, service=service)
    _check_form(request, signed_headers)
    secret = find_secret(scope.access_key_id, request.headers.get("x-amz-security-token"))
    expected = _signature(request, signed_headers, scope, timestamp, secret or "unknown")
    if not secret:
        raise UnrecognizedClient
    if not hmac.compare_digest(expected.encode(), given["Signature"].encode("utf-8", "replace")):
        raise InvalidSignature
    return Caller(scope.access_key_id, scope.region)


def _authorization_header(request: IncomingRequest) -> str:
    names = {unquote_plus(pair.partition("=")[0]) for pair in request.query.split("&")}
    header = request.headers.get("authorization", "").strip()
    if header and "X-Amz-Algorithm" in names:
        raise InvalidSignature(
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."
        )
    if "X-Amz-Algorithm" in names:
        raise InvalidSignature(
            "Authentication in the query string is not supported. Sign the request with an 'Authorization' header."
        )
    if not header:
        raise MissingAuthenticationToken
    return header


def _parameters(authorization: str, request: IncomingRequest) -> dict[str, str]:
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        # The other word may be somebody's password or bearer token, so it is not repeated.
        raise IncompleteSignature(f"Unsupported AWS 'algorithm' in Authorization header, must be '{ALGORITHM}'.")
    pairs = re.split(r"[,\s]+", rest.strip(", \t"))
    if any("=" not in pair for pair in pairs if pair) or not _HEADER_VALUE.fullmatch(rest):
        raise IncompleteSignature("Invalid key=value pair (missing equal-sign) in Authorization header.")
    given = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
    missing = [
        f"Authorization header requires '{name}' parameter. "
        for name in ("Credential", "Signature", "SignedHeaders")
        if not given.get(name)
    ]
    if "x-amz-date" not in request.headers and "date" not in request.headers:
        missing.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
    if missing:
        raise IncompleteSignature("".join(missing) + f"Authorization={authorization}")
    return given


def _check_signed(signed_headers: list[str], request: IncomingRequest) -> None:
    if "host" not in signed_headers:
        raise InvalidSignature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    # A target outside the signature would let anyone on the way choose another operation for the same body.
    required = ["X-Amz-Date"]
    required += [name for name in ("X-Amz-Target", "X-Amz-Security-Token") if name.lower() in request.headers]
    for name in required:
        if name.lower() not in signed_headers or name.lower() not in request.headers:
            raise InvalidSignature(f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")


def _check_time(timestamp: str, *, now: datetime, skew: timedelta) -> None:
    try:
        signed_at = datetime.strptime(timestamp, TIMESTAMP).replace(tzinfo=UTC)
    except ValueError:
        signed_at = None
    if signed_at is None or not _TIMESTAMP.fullmatch(timestamp):
        raise IncompleteSignature(
            f"Date must be in ISO-8601 'basic format'. Got '{timestamp}'. See http://en.wikipedia.org/wiki/ISO_8601"
        )
    now = now.astimezone(UTC).replace(microsecond=0)
    here, minutes = now.strftime(TIMESTAMP), f"{skew.total_seconds() / 60:g}"
    if signed_at < now - skew:
        oldest = (now - skew).strftime(TIMESTAMP)
        raise InvalidSignature(f"Signature expired: {timestamp} is now earlier than {oldest} ({here} - {minutes} min.)")
    if signed_at > now + skew:
        newest = (now + skew).strftime(TIMESTAMP)
        raise InvalidSignature(
            f"Signature not yet current: {timestamp} is still later than {newest} ({here} + {minutes} min.)"
        )


def _read_scope(credential: str) -> _Scope:
    parts = credential.split("/")
    if len(parts) != 5:
        raise IncompleteSignature(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{credential}'"
        )
    return _Scope(*parts)


def _check_scope(scope: _Scope, timestamp: str, *, regions: Collection[str], service: str) -> None:
    wrong = ""
    if scope.region not in regions:
        wrong += "Credential should be scoped to a valid region. "
    if scope.service != service:
        wrong += f"Credential should be scoped to correct service: '{service}'. "
    if scope.terminator != TERMINATOR:
        wrong += f"Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{scope.terminator}'. "
    if scope.date != timestamp[:8]:
        wrong += (
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{scope.date}' != '{timestamp[:8]}', from '{timestamp}'."
        )
    if wrong:
        raise InvalidSignature(wrong)


def _check_form(request: IncomingRequest, signed_headers: list[str]) -> None:
    """Refuse what the canonical form would not tell apart from another request, and a body that belies its hash."""
    plain = (
        request.method == request.method.upper()
        and _PATH.fullmatch(request.path)
        and _QUERY.fullmatch(request.query)
        and signed_headers == sorted(set(signed_headers))
        and all(_HEADER_VALUE.fullmatch(request.headers.get(name, "\0")) for name in signed_headers)
    )
    if not plain:
        raise InvalidSignature
    stated = request.headers.get("x-amz-content-sha256")
    if stated is not None and stated.strip() != hashlib.sha256(request.body).hexdigest():
        raise InvalidSignature("The provided 'x-amz-content-sha256' header does not match what was computed.")


def _signature(request: IncomingRequest, signed_headers: list[str], scope: _Scope, timestamp: str, secret: str) -> str:
    query = f"?{request.query}" if request.query else ""
    copy = AWSRequest(
        method=request.method,
        url=f"http://signed{request.path}{query}",  # Only path and query are read; the host is in the headers.
        headers={name: request.headers[name] for name in signed_headers if name in request.headers},
        data=request.body,
    )
    copy.context["timestamp"] = timestamp
    signer = _Verifier(Credentials(scope.access_key_id, secret), scope.service, scope.region)
    signature: str = signer.signature(signer.string_to_sign(copy, signer.canonical_request(copy)), copy)
    return signature
