"""The HTTP client of `rekollect jobs` and `rekollect webhooks`: one call, one JSON document, or one line of what is wrong.

It sends an API key, so it follows no redirect, and asks a stack on this machine past any proxy.
"""

import argparse
import configparser
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
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
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        request = urllib.request.Request(  # noqa: S310 - the settings take http and https only
            self._url + path + (f"?{urlencode(asked)}" if asked else ""),
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._api_key}",
                "Content-Type": "application/json",
                **(headers or {}),
            },
        )
        return self._document(*self._send(request, TIMEOUT_SECONDS + wait))

    def _send(self, request: urllib.request.Request, timeout: float) -> tuple[int, bytes]:
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                return answer.status, answer.read(_LARGEST_ANSWER_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(_LARGEST_ANSWER_BYTES)
        except (urllib.error.URLError, TimeoutError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            said = "no answer in time" if isinstance(reason, TimeoutError) else str(reason)
            raise ClientError(
                f"nothing answers at {self._url} ({said}); start it with `rekollect up`, or name it in {PREFIX}URL"
            ) from error

    def _document(self, status: int, content: bytes) -> dict[str, Any]:
        try:
            document = json.loads(content) if content else {}
        except ValueError:
            document = None
        if not isinstance(document, dict) or (status >= 300 and "code" not in document):
            raise ClientError(f"{self._url} answered {status}, but not as Rekollect does; is {PREFIX}URL right?")
        if status == 401:
            raise ClientError(f"the key was refused: {document['detail']} It is that of {PREFIX}API_KEY or --data-dir.")
        if status >= 300:
            raise ClientError(f"{document['detail']} ({document['code']})")
        return document


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
