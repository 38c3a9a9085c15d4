"""Unmodified boto3, directly, under a path prefix, and through a reverse proxy that passes Host and path."""

import http.client
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from tests.clients.life import Refused, live_a_life
from tests.live import LiveStack


class Boto3:
    """Calls by boto3's methods and paginators."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def call(self, operation: str, page_size: int | None = None, **parameters: Any) -> dict[str, Any]:
        method = xform_name(operation)
        try:
            if page_size is None:
                answer = dict(getattr(self._client, method)(**parameters))
                assert answer["ResponseMetadata"]["RequestId"]
                return answer
            pages = self._client.get_paginator(method).paginate(**parameters, PaginationConfig={"PageSize": page_size})
            return dict(pages.build_full_result())
        except ClientError as error:
            found = error.response["Error"]
            # ValidationException is the one that the service model, and so boto3, has no class for.
            kind = (
                ClientError
                if found["Code"] == "ValidationException"
                else getattr(self._client.exceptions, found["Code"])
            )
            if type(error) is not kind:
                raise
            raise Refused(found["Code"], found["Message"]) from error


class _Proxy(BaseHTTPRequestHandler):
    """Passes a request on with its Host and its path, as nginx does with `proxy_set_header Host $http_host`."""

    protocol_version = "HTTP/1.1"
    upstream: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        headers = dict(self.headers.items()) | {"X-Forwarded-For": self.client_address[0], "Via": "1.1 proxy"}
        connection.request("POST", self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "server", "date"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def proxy(live: LiveStack) -> Iterator[str]:
    """The address of a reverse proxy in front of the stack."""
    handler = type("Proxy", (_Proxy,), {"upstream": live.stack.port})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("prefix", ["", "/rek/v1/"])
def test_a_collection_lives_its_life_with_boto3(live: LiveStack, portraits: dict[str, bytes], prefix: str) -> None:
    client = live.rekognition(endpoint_url=live.url + prefix)
    live_a_life(Boto3(client), f"boto3-{uuid.uuid4()}", portraits)


@pytest.mark.parametrize("prefix", ["", "/faces/of%20ours"])
def test_a_collection_lives_its_life_through_a_reverse_proxy(
    live: LiveStack, proxy: str, portraits: dict[str, bytes], prefix: str
) -> None:
    client = live.rekognition(endpoint_url=proxy + prefix)
    live_a_life(Boto3(client), f"proxy-{uuid.uuid4()}", portraits)
    client.close()
