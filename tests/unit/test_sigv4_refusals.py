"""Who is refused before the signature is compared: AWS's texts, in AWS's order."""

import dataclasses
from datetime import datetime, timedelta
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from app import sigv4
from app.errors import IncompleteSignature, MissingAuthenticationToken, UnrecognizedClient
from tests.unit.signed_requests import (
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


def unsigned(request, name):
    """The request with one header left out of SignedHeaders, signed again by botocore over the rest."""
    left = {key: value for key, value in request.headers.items() if key not in (name, "authorization", "user-agent")}
    copy = AWSRequest(method=request.method, url=f"http://h{request.path}", data=request.body, headers=left)
    copy.context["timestamp"] = NOW.strftime(sigv4.TIMESTAMP)
    signer = SigV4Auth(Credentials(KEY, SECRET), "rekognition", "us-east-1")
    text = signer.string_to_sign(copy, signer.canonical_request(copy))
    signer._inject_signature_to_request(copy, signer.signature(text, copy))
    return with_header(request, "authorization", copy.headers["Authorization"])


@pytest.mark.parametrize("headers", [{}, {"authorization": ""}, {"authorization": "  "}])
def test_no_authorization(headers):
    request = dataclasses.replace(without_header(signed(), "authorization"), headers=headers)
    assert refused(request, MissingAuthenticationToken) == "Missing Authentication Token"


def test_authorization_in_header_and_query():
    request = dataclasses.replace(signed(), query="X-Amz-Algorithm=AWS4-HMAC-SHA256")
    assert refused(request) == (
        "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."
    )


def test_presigned_requests_are_refused_with_a_hint():
    request = signed(method="GET", body=b"", signer=SigV4QueryAuth)
    assert "X-Amz-Signature" in request.query
    assert "Authentication in the query string is not supported" in refused(request)


@pytest.mark.parametrize("authorization", ["Bearer s3cret", "Basic dXNlcjpw", "AWS4-HMAC-SHA1 Credential=a"])
def test_another_algorithm_is_refused_and_not_repeated(authorization):
    message = refused(with_header(signed(), "authorization", authorization), IncompleteSignature)
    assert "AWS4-HMAC-SHA256" in message
    assert authorization not in message


def test_a_part_without_equal_sign_is_refused():
    request = with_authorization(signed(), "Credential=", "Credential")
    assert "missing equal-sign" in refused(request, IncompleteSignature)


@pytest.mark.parametrize("character", ["\0", "\x85", "é"])
def test_no_control_or_foreign_character_reaches_the_search_for_the_key(character):
    request = with_authorization(signed(), KEY, KEY + character)
    assert "key=value pair" in refused(request, IncompleteSignature)


def test_two_authorization_headers_are_refused():
    authorization = signed().headers["authorization"]
    request = with_header(signed(), "authorization", f"{authorization},{authorization}")
    assert "missing equal-sign" in refused(request, IncompleteSignature)


def test_only_the_missing_parameters_are_listed():
    request = with_header(signed(), "authorization", "AWS4-HMAC-SHA256 Signature=abc")
    request = without_header(request, "x-amz-date")
    assert refused(request, IncompleteSignature) == (
        "Authorization header requires 'Credential' parameter. "
        "Authorization header requires 'SignedHeaders' parameter. "
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
        "Authorization=AWS4-HMAC-SHA256 Signature=abc"
    )


def test_an_empty_authorization_misses_everything_but_the_date():
    request = with_header(signed(), "authorization", "AWS4-HMAC-SHA256")
    assert refused(request, IncompleteSignature) == (
        "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. "
        "Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256"
    )


def test_the_host_must_be_signed():
    request = with_authorization(signed(), "host;", "")
    assert refused(request) == "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."


@pytest.mark.parametrize("name", ["X-Amz-Date", "X-Amz-Target"])
def test_what_decides_the_meaning_must_be_signed(name):
    request = unsigned(signed(), name.lower())
    assert name.lower() not in request.headers["authorization"]
    assert refused(request) == f"'{name}' must be a 'SignedHeader' in the AWS Authorization."


def test_a_request_without_a_target_needs_none_signed():
    request = unsigned(signed(), "x-amz-target")
    assert verify(without_header(request, "x-amz-target"))


def test_a_target_may_not_be_added_afterwards():
    request = without_header(unsigned(signed(), "x-amz-target"), "x-amz-target")
    added = with_header(request, "x-amz-target", "RekognitionService.DeleteCollection")
    assert "'X-Amz-Target' must be a 'SignedHeader'" in refused(added)


def test_a_date_header_alone_is_not_enough():
    request = with_header(without_header(signed(), "x-amz-date"), "date", "Sun, 22 Nov 2026 19:05:14 GMT")
    assert refused(request) == "'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization."


@pytest.mark.parametrize(
    "date", ["2026-11-22T19:05:14Z", "20261122T190514", "20261322T190514Z", "٢0261122T190514Z", ""]
)
def test_a_date_of_another_form(date):
    message = refused(with_header(signed(), "x-amz-date", date), IncompleteSignature)
    assert message.startswith(f"Date must be in ISO-8601 'basic format'. Got '{date}'.")


def test_a_signature_of_the_past():
    assert refused(signed(at=NOW - timedelta(minutes=6))) == (
        "Signature expired: 20261122T185914Z is now earlier than 20261122T190014Z (20261122T190514Z - 5 min.)"
    )


def test_a_signature_of_the_future():
    assert refused(signed(at=NOW + timedelta(minutes=16)), minutes=15) == (
        "Signature not yet current: 20261122T192114Z is still later than 20261122T192014Z (20261122T190514Z + 15 min.)"
    )


def test_the_clock_may_run_in_another_zone():
    elsewhere = NOW.astimezone(tz=datetime.strptime("+0530", "%z").tzinfo)
    assert "(20261122T190514Z - 5 min.)" in refused(signed(at=NOW - timedelta(hours=1)), now=elsewhere)


def test_a_scope_has_five_parts():
    request = with_authorization(signed(), "/us-east-1", "")
    assert refused(request, IncompleteSignature).startswith("Credential must have exactly 5 slash-delimited elements")


def test_another_region():
    assert refused(signed(region="mars-1")) == "Credential should be scoped to a valid region. "


def test_another_service():
    assert refused(signed(service="s3")) == "Credential should be scoped to correct service: 'rekognition'. "


def test_all_that_is_wrong_with_a_scope_is_told_at_once():
    request = with_authorization(signed(service="s3"), "aws4_request", "aws3")
    request = with_authorization(request, "/20261122/", "/20261121/")
    assert refused(request) == (
        "Credential should be scoped to correct service: 'rekognition'. "
        "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws3'. "
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
        "'20261121' != '20261122', from '20261122T190514Z'."
    )


def test_an_unknown_key_costs_one_signature_as_a_known_one_does():
    request = with_authorization(signed(), KEY, "AKIDSTRANGER")
    with patch.object(sigv4, "_signature", wraps=sigv4._signature) as made:
        assert refused(request, UnrecognizedClient) == "The security token included in the request is invalid."
    assert made.call_count == 1


def test_an_empty_secret_is_no_secret():
    with pytest.raises(UnrecognizedClient):
        sigv4.verify(
            signed(secret=""),
            find_secret=lambda *_: "",
            regions=["us-east-1"],
            now=NOW,
            skew=timedelta(minutes=5),
        )


def test_a_session_token_is_signed_and_goes_with_its_key():
    request = signed(token="token")
    assert "x-amz-security-token" in request.headers["authorization"]
    assert verify(request, token="token").access_key_id == KEY
    for other in (None, "another"):
        message = refused(request, UnrecognizedClient, token=other)
        assert message == "The security token included in the request is invalid."
    assert refused(signed(), UnrecognizedClient, token="token")
    unsigned_token = with_header(signed(), "x-amz-security-token", "token")
    assert "'X-Amz-Security-Token' must be" in refused(unsigned_token, token="token")


def test_a_wrong_secret_tells_nothing_of_what_was_expected():
    message = refused(signed(secret="wrong"))
    assert message.startswith("The request signature we calculated does not match the signature you provided.")
    assert "collection" not in message.lower()
