"""Requests signed by botocore itself, as the server sees them, and ways to alter them."""

import dataclasses
from datetime import UTC, datetime, timedelta
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from app import sigv4
from app.errors import FrontEndError, InvalidSignature

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = datetime(2026, 11, 22, 19, 5, 14, tzinfo=UTC)
BODY = b'{"CollectionId": "team"}'


def signed(
    url="http://127.0.0.1:8080/",
    *,
    method="POST",
    body=BODY,
    headers=(),
    secret=SECRET,
    token=None,
    region="us-east-1",
    service="rekognition",
    at=NOW,
    signer=SigV4Auth,
):
    """A request as botocore signs it and as the server sees it."""
    request = AWSRequest(method=method, url=url, data=body)
    request.headers["Host"] = urlsplit(url).netloc
    request.headers["Content-Type"] = "application/x-amz-json-1.1"
    request.headers["X-Amz-Target"] = "RekognitionService.DescribeCollection"
    for name, value in dict(headers).items():
        request.headers[name] = value
    with patch("botocore.auth.get_current_datetime", return_value=at):
        signer(Credentials(KEY, secret, token), service, region).add_auth(request)
    parts = urlsplit(request.url)
    received = {name.lower(): value for name, value in request.headers.items()}
    received["user-agent"] = "Boto3/1.44.5"
    return sigv4.IncomingRequest(method, parts.path, parts.query, received, body)


def verify(request, *, regions=("us-east-1", "eu-west-1"), now=NOW, minutes=5, token=None):
    """Check a request as a server that knows one key, which is good with this session token alone, or without any."""
    known = {(KEY, token): SECRET}
    return sigv4.verify(
        request,
        find_secret=lambda key, given: known.get((key, given)),
        regions=regions,
        now=now,
        skew=timedelta(minutes=minutes),
    )


def refused(request, error=InvalidSignature, **options):
    with pytest.raises(FrontEndError) as caught:
        verify(request, **options)
    assert type(caught.value) is error
    return caught.value.message


def with_header(request, name, value):
    return dataclasses.replace(request, headers={**request.headers, name: value})


def without_header(request, name):
    return dataclasses.replace(request, headers={key: value for key, value in request.headers.items() if key != name})


def with_authorization(request, old, new):
    authorization = request.headers["authorization"]
    assert old in authorization
    return with_header(request, "authorization", authorization.replace(old, new))
