"""How long an access key is good: expiry, session tokens, disabling and revoking, and the command that does it by hand."""

import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from botocore.credentials import Credentials

from app.domain.scopes import Scope
from app.services.access_keys import NewKey
from tests.contract.conftest import MakeKey
from tests.contract.wire import call, front_end_error, key_of, problem, send, signed
from tests.live import Answer, LiveStack

EXPIRED = "The security token included in the request is expired"
UNKNOWN = "The security token included in the request is invalid."


def by_signature(live: LiveStack, key: NewKey, token: str | None = None) -> Answer:
    credentials = Credentials(key.access_key_id, key.secret_access_key, token or key.session_token)
    return call(live, "ListCollections", {}, credentials=credentials)


def by_bearer(live: LiveStack, key: NewKey) -> Answer:
    return live.call("GET", "/v1/jobs/00000000-0000-0000-0000-000000000000", key=key.api_key)


def keys(live: LiveStack, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run `rekollect keys` beside the stack, with its settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REKOLLECT_")}
    command = [str(Path(sys.executable).with_name("rekollect")), "keys", *words]
    return subprocess.run(
        command, env=environment | live.stack.variables, capture_output=True, text=True, timeout=30, check=False
    )


def made(live: LiveStack, *words: str) -> NewKey:
    """Make a key by command."""
    process = keys(live, "create", *words)
    assert process.returncode == 0, process.stderr
    shown = dict(re.findall(r"^  (\S.*?)  +(\S+)$", process.stdout, re.MULTILINE))
    assert ("API key (bearer)" in shown) != ("aws_session_token" in shown)
    return NewKey(
        shown["aws_access_key_id"],
        shown["aws_secret_access_key"],
        shown.get("API key (bearer)", ""),
        shown["webhook secret"],
        shown.get("aws_session_token"),
    )


def test_an_expired_key_is_refused_by_either_way(live: LiveStack, make_key: MakeKey) -> None:
    key = make_key("default", lifetime=timedelta(hours=1))
    assert by_signature(live, key).status == 200
    assert by_bearer(live, key).status == 404
    live.query("UPDATE access_keys SET expires_at = now() WHERE access_key_id = %s", key.access_key_id)
    assert front_end_error(by_signature(live, key), "ExpiredTokenException") == EXPIRED
    assert problem(by_bearer(live, key), 401, "ExpiredTokenException") == EXPIRED


def test_only_who_has_the_secret_learns_that_a_key_has_expired(live: LiveStack, make_key: MakeKey) -> None:
    key = make_key("default", lifetime=timedelta())
    answer = live.call("GET", "/v1/jobs/any", key=f"{key.access_key_id}.wrong")
    problem(answer, 401, "UnrecognizedClientException")
    wrong = call(live, "ListCollections", {}, credentials=key_of(key, secret_key="wrong"))
    front_end_error(wrong, "InvalidSignatureException")


def test_a_session_token_belongs_to_its_key(live: LiveStack, make_key: MakeKey) -> None:
    key, other = (make_key("default", with_session_token=True) for _ in range(2))
    assert live.rekognition_of(key).list_collections()["ResponseMetadata"]["HTTPStatusCode"] == 200
    for token in ("wrong", str(other.session_token), "é" * 10):
        answer = by_signature(live, key, token)
        assert answer.status == 400
        assert answer.json["__type"] in ("UnrecognizedClientException", "InvalidSignatureException")
    assert front_end_error(by_signature(live, key, "wrong"), "UnrecognizedClientException") == UNKNOWN
    missing = call(live, "ListCollections", {}, credentials=key_of(key))
    assert front_end_error(missing, "UnrecognizedClientException") == UNKNOWN
    assert front_end_error(by_signature(live, live.key, "any"), "UnrecognizedClientException") == UNKNOWN


def test_a_session_token_must_be_signed(live: LiveStack, make_key: MakeKey) -> None:
    key = make_key("default", with_session_token=True)
    target = {"X-Amz-Target": "RekognitionService.ListCollections"}
    headers = signed(live, "POST", "/", b"{}", headers=target, credentials=key_of(key))
    answer = send(live, "POST", "/", b"{}", headers | {"X-Amz-Security-Token": str(key.session_token)})
    message = front_end_error(answer, "InvalidSignatureException")
    assert message == "'X-Amz-Security-Token' must be a 'SignedHeader' in the AWS Authorization."


def test_a_session_that_is_over_is_told_from_a_wrong_token(live: LiveStack, make_key: MakeKey) -> None:
    key = make_key("default", with_session_token=True, lifetime=timedelta())
    assert front_end_error(by_signature(live, key), "ExpiredTokenException") == EXPIRED
    assert front_end_error(by_signature(live, key, "wrong"), "UnrecognizedClientException") == UNKNOWN


def test_a_key_with_a_session_token_is_no_bearer_token(live: LiveStack, make_key: MakeKey) -> None:
    key = make_key("default", with_session_token=True)
    problem(by_bearer(live, key), 401, "UnrecognizedClientException")


def test_a_key_made_by_command_can_be_disabled_enabled_and_revoked(live: LiveStack) -> None:
    key = made(live, "--name", "by-hand", "--operations", "List*", "--collections", "a-*", "b", "--rate", "50")
    assert by_signature(live, key).status == 200
    assert by_bearer(live, key).status == 404
    assert keys(live, "disable", key.access_key_id).stdout == "Disabled.\n"
    assert front_end_error(by_signature(live, key), "UnrecognizedClientException") == UNKNOWN
    problem(by_bearer(live, key), 401, "UnrecognizedClientException")
    assert keys(live, "enable", key.access_key_id).stdout == "Enabled.\n"
    assert by_signature(live, key).status == 200

    assert keys(live, "revoke", key.access_key_id).stdout == "Revoked.\n"
    assert front_end_error(by_signature(live, key), "UnrecognizedClientException") == UNKNOWN
    again = keys(live, "enable", key.access_key_id)
    assert (again.returncode, again.stdout) == (1, f"There is no key {key.access_key_id} that is not revoked.\n")


def test_the_list_tells_of_every_key_how_it_stands_and_what_it_may_do(live: LiveStack, make_key: MakeKey) -> None:
    scopes = (Scope(("List*", "Search*"), ("a-*", "b")), Scope(("DetectFaces",)))
    made_keys = {
        "active": make_key("tenant", scopes=scopes, rate=0.5, lifetime=timedelta(days=1)),
        "expired": make_key("tenant", lifetime=timedelta()),
        "disabled": make_key("tenant", scopes=()),
        "revoked": make_key("tenant"),
    }
    live.query(
        "UPDATE access_keys SET disabled_at = now() WHERE access_key_id = %s", made_keys["disabled"].access_key_id
    )
    live.query("UPDATE access_keys SET revoked_at = now() WHERE access_key_id = %s", made_keys["revoked"].access_key_id)
    listed = keys(live, "list").stdout
    lines = {line.split()[0]: re.split(r"\s{2,}", line) for line in listed.splitlines()}
    rates_and_rights = {
        "active": ["0.5", "List* Search* on a-* b; DetectFaces on *"],
        "expired": ["-", "everything"],
        "disabled": ["-", "nothing"],
        "revoked": ["-", "everything"],
    }
    for state, key in made_keys.items():
        line = lines[key.access_key_id]
        assert line[1] == "tenant"
        assert line[-4] == state
        assert bool(re.fullmatch(r"\d{4}-\d\d-\d\d [\d:]{8}", line[-3])) == (state in ("active", "expired"))
        assert line[-2:] == rates_and_rights[state]
        assert key.secret_access_key not in listed


def test_temporary_credentials_made_by_command_are_good_for_their_time(live: LiveStack) -> None:
    key = made(live, "--session", "--expires", "12h")
    assert by_signature(live, key).status == 200
    ((hours,),) = live.query(
        "SELECT extract(epoch FROM expires_at - now()) / 3600 FROM access_keys WHERE access_key_id = %s",
        key.access_key_id,
    )
    assert 11.9 < hours < 12
