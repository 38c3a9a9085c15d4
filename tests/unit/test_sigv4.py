"""A request signed by botocore passes untouched; with any signed byte changed it does not."""

import dataclasses
import hashlib
import io
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSResponse
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3 import HTTPResponse

from app import sigv4
from app.errors import FrontEndError
from tests.unit.signed_requests import (
    BODY,
    KEY,
    NOW,
    SECRET,
    refused,
    signed,
    verify,
    with_authorization,
    with_header,
    without_header,
)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:39907/",
        "https://faces.example/",
        "https://faces.example",
        "http://faces.example:8080/rek/v1/",
        "http://faces.example/v1/jobs/a%20b%2Fc",
        "http://faces.example/v1/jobs/~x;y=1/@:!$&'()*+,",
        "http://faces.example/a/../b//c/./",
        "http://faces.example/v1/jobs?Status=QUEUED&CollectionId=a%3Ab&After=&Flag",
        "http://faces.example/v1/jobs?b=2&a=1&b=1",
    ],
)
@pytest.mark.parametrize(("method", "body"), [("POST", BODY), ("POST", b"\x00\xff\r\n" * 999), ("GET", b"")])
def test_a_request_signed_by_botocore_passes(url, method, body):
    request = signed(url, method=method, body=body)
    if not request.path:
        request = dataclasses.replace(request, path="/")  # A client sends "/" on the wire.
    assert verify(request) == sigv4.Caller(KEY, "us-east-1")


@pytest.mark.parametrize("url", ["http://127.0.0.1:39907", "https://faces.example/rek/v1/"])
def test_a_call_of_an_unmodified_boto3_client_passes(url):
    sent = []

    def receive(request, **_):
        sent.append(request)
        return AWSResponse(request.url, 200, {}, HTTPResponse(io.BytesIO(b"{}"), preload_content=False))

    client = boto3.client(
        "rekognition", "us-east-1", endpoint_url=url, aws_access_key_id=KEY, aws_secret_access_key=SECRET
    )
    client.meta.events.register("before-send.rekognition", receive)
    client.create_collection(CollectionId="team", Tags={"a": "é"})
    parts = urlsplit(sent[0].url)
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in sent[0].headers.items()
    }
    headers["host"] = parts.netloc  # The HTTP client adds it on the wire.
    request = sigv4.IncomingRequest("POST", parts.path, parts.query, headers, sent[0].body)
    assert verify(request, now=datetime.now(UTC)) == sigv4.Caller(KEY, "us-east-1")
    assert "does not match" in refused(dataclasses.replace(request, path="/other/"), now=datetime.now(UTC))


def test_spacing_of_headers_and_of_the_authorization_does_not_matter():
    request = signed(headers={"X-Amz-Meta": "two  words \t here"})
    request = with_header(request, "x-amz-meta", "  two words here ")
    request = with_header(request, "x-amz-date", f" {request.headers['x-amz-date']}  ")
    assert verify(request)
    for separator in (",", ",   ", " , "):
        assert verify(with_authorization(request, ", ", separator))


def test_headers_that_botocore_would_not_sign_may_be_signed():
    names = ("host", "user-agent", "x-amz-date", "x-amz-target")
    request = signed()

    class SignsUserAgent(SigV4Auth):
        def headers_to_sign(self, request):
            return {name: request.headers[name] for name in names}

        def canonical_headers(self, headers_to_sign):
            return "\n".join(f"{name}:{headers_to_sign[name]}" for name in names)

    resigned = signed(headers={"User-Agent": "Boto3/1.44.5"}, signer=SignsUserAgent)
    assert "user-agent" in resigned.headers["authorization"]
    assert verify(resigned) == verify(request)


def test_a_stated_body_hash_is_accepted_when_it_is_true():
    digest = hashlib.sha256(BODY).hexdigest()
    assert verify(signed(headers={"X-Amz-Content-SHA256": digest}))
    assert verify(with_header(signed(), "x-amz-content-sha256", digest))


def test_the_region_of_the_scope_is_told():
    assert verify(signed(region="eu-west-1")).region == "eu-west-1"


@pytest.mark.parametrize("minutes", [-5, 5])
def test_the_edge_of_the_window_is_inside(minutes):
    assert verify(signed(at=NOW + timedelta(minutes=minutes)), now=NOW + timedelta(microseconds=999))


def test_the_last_of_duplicate_parameters_wins():
    assert verify(with_authorization(signed(), "Credential=", f"Signature={'0' * 64}, Credential="))


@pytest.mark.parametrize(
    "change",
    [
        {"body": BODY + b" "},
        {"body": b""},
        {"method": "PUT"},
        {"method": "Post"},
        {"path": "/rek/"},
        {"path": "/#x"},
        {"path": "/?x"},
        {"path": "[::1/"},
        {"path": "@other/"},
        {"path": "/\t"},
        {"query": "a=1"},
        {"query": "#a"},
    ],
)
def test_a_changed_request_is_refused(change):
    assert "does not match" in refused(dataclasses.replace(signed(), **change))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-target", "RekognitionService.DeleteCollection"),
        ("x-amz-date", "20261122T190515Z"),
        ("host", "127.0.0.1"),
        ("content-type", "application/json"),
        ("content-type", "application/x-amz-json-1.1\xa0"),
    ],
)
def test_a_changed_header_is_refused(name, value):
    assert "does not match" in refused(with_header(signed(), name, value))


@pytest.mark.parametrize("names", ["host;content-type;x-amz-date;x-amz-target", "Host;host;x-amz-date;x-amz-target"])
def test_signed_headers_in_another_form_are_refused(names):
    request = with_authorization(signed(), "content-type;host;x-amz-date;x-amz-target", names)
    assert "does not match" in refused(request)


def test_a_signed_header_that_did_not_arrive_is_refused():
    assert "does not match" in refused(without_header(signed(), "content-type"))


@pytest.mark.parametrize("stated", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "0" * 64, ""])
def test_a_body_that_belies_its_stated_hash_is_refused(stated):
    request = signed(headers={"X-Amz-Content-SHA256": stated})
    assert refused(request) == "The provided 'x-amz-content-sha256' header does not match what was computed."


SAMPLE = signed("http://127.0.0.1:8080/rek/v1/?Status=QUEUED&n=1")
SIGNED_HEADERS = ("content-type", "host", "x-amz-date", "x-amz-target")
PLACES = ("method", "path", "query", "body", "Credential", "SignedHeaders", "Signature", *SIGNED_HEADERS)


def altered(request, place, change):
    """The request with one part passed through a function."""
    if place in ("method", "path", "query", "body"):
        return dataclasses.replace(request, **{place: change(getattr(request, place))})
    if place in SIGNED_HEADERS:
        return with_header(request, place, change(request.headers[place]))
    value = request.headers["authorization"].partition(f"{place}=")[2].partition(",")[0]
    return with_authorization(request, f"{place}={value}", f"{place}={change(value)}")


@given(st.sampled_from(PLACES), st.integers(0, 200), st.integers(0, 255))
@settings(max_examples=400, deadline=None)
def test_no_signed_byte_can_be_changed(place, position, byte):
    def change(part):
        at = position % len(part)
        new = bytes([byte]) if isinstance(part, bytes) else chr(byte)
        changed.append(part[at : at + 1] != new)
        return part[:at] + new + part[at + 1 :]

    changed = []
    request = altered(SAMPLE, place, change)
    if changed[0]:
        with pytest.raises(FrontEndError):
            verify(request)
    else:
        assert verify(request)


@given(st.text(st.characters(max_codepoint=255), max_size=120))
@settings(max_examples=200, deadline=None)
def test_no_authorization_header_raises_anything_but_a_refusal(text):
    for authorization in (text, f"AWS4-HMAC-SHA256 {text}", f"{SAMPLE.headers['authorization']}{text}="):
        with suppress(FrontEndError):
            assert verify(with_header(SAMPLE, "authorization", authorization)).access_key_id == KEY
