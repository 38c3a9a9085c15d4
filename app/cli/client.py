"""The HTTP client of the commands that ask the API: one call, one JSON document, or one line of what is wrong.

It sends an API key, so it follows no redirect, and asks a stack on this machine past any proxy.
"""

import argparse
import configparser
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from app.config import PREFIX, Settings
from app.local.data_directory import DataDirectory

TIMEOUT_SECONDS = 20
_LARGEST_ANSWER_BYTES = 64 * 1024 * 1024
_OWN_HOSTS = ("127.0.0.1", "::1", "localhost")


class ClientError(Exception):
    """What went wrong, in one line that says what to do."""


class Refused(ClientError):
    """The API refused a call; `retry_after` is in seconds, and None where trying again does not help."""

    def __init__(self, document: Mapping[str, Any], retry_after: float | None) -> None:
        super().__init__(f"{document['detail']} ({document['code']})")
        self.code, self.detail, self.retry_after = document["code"], document["detail"], retry_after


class Unreachable(ClientError):
    """Nothing answered."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Give the redirect to the caller, who takes it for an error."""


class Client:
    """Calls /v1 with an API key."""

    def __init__(self, url: str, api_key: str) -> None:
        self._url, self._api_key = url.rstrip("/"), api_key
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if urlsplit(url).hostname in _OWN_HOSTS:
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        wait: int = 0,
    ) -> dict[str, Any]:
        """Give the answer's document, {} where it has none; raises ClientError. `wait`: seconds the server may take longer."""
        content = None if body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"}
        return self._document(self._send(method, path, content, query, {**kind, **(headers or {})}, wait))

    def post_form(
        self, path: str, fields: Mapping[str, str], file: bytes, *, headers: Mapping[str, str], wait: int = 0
    ) -> tuple[dict[str, Any], bool]:
        """Post texts and a picture as a form; give the answer's document, and if it is an earlier call's under the same key.

        Raises ClientError.
        """
        boundary = secrets.token_hex(16)
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{t}\r\n' for n, t in fields.items()
        ]
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="Image"; filename="picture"\r\n\r\n')
        content = "".join(parts).encode() + file + f"\r\n--{boundary}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        answer = self._send("POST", path, content, None, {**kind, **headers}, wait)
        return self._document(answer), answer.headers.get("Idempotency-Replayed") == "true"

    def read_lines(self, path: str, *, after: int, most: int) -> tuple[list[dict[str, Any]], int]:
        """Read lines of JSON that follow a number, and the number to go on after; raises ClientError."""
        answer = self._send("GET", path, None, {"after": after, "MaxResults": most}, {}, 0)
        if answer.status != 200:
            self._document(answer)
        try:
            lines = [json.loads(line) for line in answer.content.splitlines()]
            return lines, int(answer.headers["Next-After"])
        except (ValueError, KeyError, TypeError) as error:
            raise ClientError(f"{self._url} answered 200, but not as Rekollect does") from error

    def _send(
        self,
        method: str,
        path: str,
        content: bytes | None,
        query: Mapping[str, object] | None,
        headers: Mapping[str, str],
        wait: int,
    ) -> _Answer:
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        request = urllib.request.Request(  # noqa: S310 - the settings take http and https only
            self._url + path + (f"?{urlencode(asked)}" if asked else ""),
            method=method,
            data=content,
            headers={"Authorization": f"Bearer {self._api_key}", **headers},
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS + wait) as answer:
                return _Answer(answer.status, dict(answer.headers), answer.read(_LARGEST_ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                return _Answer(error.code, dict(error.headers), error.read(_LARGEST_ANSWER_BYTES))
        except (urllib.error.URLError, TimeoutError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            said = "no answer in time" if isinstance(reason, TimeoutError) else str(reason)
            raise Unreachable(
                f"nothing answers at {self._url} ({said}); start it with `rekollect up`, or name it in {PREFIX}URL"
            ) from error

    def _document(self, answer: _Answer) -> dict[str, Any]:
        status = answer.status
        try:
            document = json.loads(answer.content) if answer.content else {}
        except ValueError:
            document = None
        if not isinstance(document, dict) or (status >= 300 and "code" not in document):
            raise ClientError(f"{self._url} answered {status}, but not as Rekollect does; is {PREFIX}URL right?")
        if status == 401:
            raise ClientError(f"the key was refused: {document['detail']} It is that of {PREFIX}API_KEY or --data-dir.")
        if status >= 300:
            raise Refused(document, _retry_after(answer))
        return document


def _retry_after(answer: _Answer) -> float | None:
    stated = answer.headers.get("Retry-After", "")
    if stated.isdigit():
        return float(stated)
    return 1.0 if answer.status >= 500 else None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command with a client has."""
    parser.add_argument("--json", action="store_true", help="print the document as it was answered")
    parser.add_argument(
        "--data-dir", type=Path, default=Path(".rekollect"), help="folder with the credentials (default %(default)s)"
    )


def connect(arguments: argparse.Namespace) -> Client:
    """Make a client for the settings' address and key; raises ClientError where there is no key."""
    settings = Settings.from_environment()
    return Client(settings.url, settings.api_key or _kept_key(DataDirectory(arguments.data_dir).credentials))


def _kept_key(path: Path) -> str:
    credentials = configparser.ConfigParser(interpolation=None)
    try:
        found = credentials.read(path, encoding="utf-8")
        key = credentials.get("default", "rekollect_api_key")
    except (OSError, UnicodeDecodeError, configparser.Error):
        found, key = [], ""
    if not found or not key:
        raise ClientError(f"no API key: set {PREFIX}API_KEY, or name the folder of `rekollect up` with --data-dir")
    return key


def segment(identifier: str) -> str:
    """Write an identifier that a user typed as one segment of a path."""
    return quote(identifier, safe="")
