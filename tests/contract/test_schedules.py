"""/v1/schedules over HTTP: a schedule's life, its runs, and what is refused."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from app.domain.scopes import Scope
from app.services.access_keys import NewKey
from tests.contract.conftest import MakeKey
from tests.contract.wire import problem
from tests.live import Answer, LiveStack
from tests.patience import wait_until

SCHEDULES = "/v1/schedules"
NOWHERE = "00000000-0000-0000-0000-000000000000"
CHECK = {"Name": "check", "Kind": "INTEGRITY", "Cron": "30 3 * * *"}
RETENTION = {
    "Name": "retention",
    "Kind": "RETENTION",
    "Cron": "0 4 * * SUN",
    "Settings": {"CollectionId": "people", "Days": 30},
}


class Owner:
    """A caller with an account of its own."""

    def __init__(self, live: LiveStack, key: NewKey) -> None:
        self.live = live
        self.key = key

    def call(self, method: str, path: str, body: object = None) -> Answer:
        return self.live.call(method, path, body, key=self.key.api_key)

    def do(self, method: str, path: str, body: object = None, *, status: int = 200) -> Any:
        done = self.call(method, path, body)
        assert done.status == status, done.body
        return done.json if done.body else None

    def create(self, document: dict[str, Any]) -> Any:
        return self.do("POST", SCHEDULES, document, status=201)


@pytest.fixture
def owner(live: LiveStack, make_key: MakeKey) -> Iterator[Owner]:
    owner = Owner(live, make_key(f"owner-{uuid.uuid4()}"))
    yield owner
    for schedule in owner.do("GET", SCHEDULES)["Schedules"]:
        owner.do("DELETE", f"{SCHEDULES}/{schedule['ScheduleId']}", status=204)


def test_the_life_of_a_schedule(owner: Owner) -> None:
    made = owner.call("POST", SCHEDULES, {**CHECK, "TimeZone": "Europe/Berlin"})
    schedule = made.json
    path = made.headers["location"]
    assert path == schedule["Links"]["Self"] == f"{SCHEDULES}/{schedule['ScheduleId']}"
    assert (schedule["CatchUp"], schedule["Enabled"], schedule["Settings"]) == ("ONE", True, {})
    tick = owner.do("POST", schedule["Links"]["Run"], status=202)
    assert tick["Trigger"] == "MANUAL"
    wait_until(lambda: owner.do("GET", path)["LastRun"]["Status"] == "SUCCEEDED", what=lambda: owner.do("GET", path))
    shown = owner.do("GET", path)
    assert shown["LastRun"]["Result"]["Collections"] == 0
    assert shown["Ticks"] == [shown["LastRun"]]
    (listed,) = owner.do("GET", SCHEDULES)["Schedules"]
    assert listed == {name: value for name, value in shown.items() if name != "Ticks"}
    changed = owner.do("PATCH", path, {"Enabled": False, "Cron": "0 5 * * *"})
    assert (changed["Cron"], changed["Enabled"]) == ("0 5 * * *", False)
    assert "NextRunAt" not in changed
    owner.do("DELETE", path, status=204)
    problem(owner.call("GET", path), 404, "ResourceNotFoundException")


def test_retention_over_http(owner: Owner, portraits: dict[str, bytes]) -> None:
    rekognition = owner.live.rekognition_of(owner.key)
    rekognition.create_collection(CollectionId="people")
    rekognition.index_faces(CollectionId="people", Image={"Bytes": portraits["obama"]})
    owner.live.query("UPDATE faces SET created_at = created_at - interval '31 days' WHERE collection_id ="
        " (SELECT collection_id FROM collections JOIN access_keys USING (account_id) WHERE access_key_id = %s)",
        owner.key.access_key_id)  # fmt: skip
    schedule = owner.create(RETENTION)
    owner.do("POST", schedule["Links"]["Run"], status=202)
    wait_until(lambda: rekognition.describe_collection(CollectionId="people")["FaceCount"] == 0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Name": ""}, "Name"),
        ({"Name": "a b"}, "Name"),
        ({"Kind": "PURGE"}, "Kind must be one of RETENTION, RESYNC, INTEGRITY"),
        ({"Kind": ["RESYNC"]}, "Kind"),
        ({"Cron": "* * * * * *"}, "five fields"),
        ({"Cron": "61 * * * *"}, "Bad minute"),
        ({"TimeZone": "Mars/Phobos"}, "IANA"),
        ({"CatchUp": "SOME"}, "SKIP, ONE, ALL"),
        ({"Enabled": "yes"}, "true or false"),
        ({"Settings": {"CollectionId": "people"}}, "Settings of INTEGRITY"),
        ({"Settings": []}, "Settings of INTEGRITY"),
        ({"Kind": "RETENTION"}, "Settings.CollectionId is missing"),
        ({"Kind": "RETENTION", "Settings": {"CollectionId": "p", "Days": 0}}, "Settings.Days"),
        ({"Kind": "RETENTION", "Settings": {"CollectionId": "p", "Days": True}}, "Settings.Days"),
        ({"Kind": "RETENTION", "Settings": {"CollectionId": "p q", "Days": 1}}, "Settings.CollectionId"),
        ({"Kind": "RESYNC", "Settings": {"CollectionId": "p"}}, "Settings.Bucket is missing"),
        ({"Kind": "RESYNC", "Settings": {"CollectionId": "p", "Bucket": "b/c"}}, "Settings.Bucket"),
        ({"Kind": "RESYNC", "Settings": {"CollectionId": "p", "Bucket": "abc", "Prefix": "a\n"}}, "Settings.Prefix"),
        ({"Nonsense": 1}, "Unknown member"),
    ],
)
def test_what_is_wrong_is_said(owner: Owner, changes: dict[str, Any], said: str) -> None:
    assert said in problem(owner.call("POST", SCHEDULES, CHECK | changes), 400, "ValidationException")


@pytest.mark.parametrize("missing", ["Name", "Kind", "Cron"])
def test_what_is_missing_is_said(owner: Owner, missing: str) -> None:
    document = {name: value for name, value in CHECK.items() if name != missing}
    assert missing in problem(owner.call("POST", SCHEDULES, document), 400, "ValidationException")


def test_the_kind_is_said_once(owner: Owner) -> None:
    path = owner.create(CHECK)["Links"]["Self"]
    assert "Unknown member Kind" in problem(owner.call("PATCH", path, {"Kind": "RESYNC"}), 400, "ValidationException")
    problem(owner.call("PATCH", path, {"Settings": {"Days": 3}}), 400, "ValidationException")


def test_a_name_is_taken_once(owner: Owner) -> None:
    owner.create(CHECK)
    problem(owner.call("POST", SCHEDULES, CHECK), 409, "ConflictException")


@pytest.mark.parametrize(("method", "end"), [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/run")])
@pytest.mark.parametrize("schedule_id", [NOWHERE, "x"])
def test_what_is_not_there_is_not_found(owner: Owner, method: str, end: str, schedule_id: str) -> None:
    problem(owner.call(method, f"{SCHEDULES}/{schedule_id}{end}"), 404, "ResourceNotFoundException")


def test_the_purge_of_the_server_is_nobodys(owner: Owner) -> None:
    ((purge,),) = owner.live.query("SELECT schedule_id::text FROM schedules WHERE account_id IS NULL")
    for method in ("GET", "PATCH", "DELETE"):
        problem(owner.call(method, f"{SCHEDULES}/{purge}"), 404, "ResourceNotFoundException")


def test_a_key_needs_the_permission_and_what_the_runs_do(live: LiveStack, make_key: MakeKey, owner: Owner) -> None:
    account = f"scoped-{uuid.uuid4()}"
    outside = make_key(account, scopes=(Scope(("IndexFaces",)),))
    narrow = make_key(account, scopes=(Scope(("ManageSchedules",), ("people",)),))
    checker = make_key(account, scopes=(Scope(("ManageSchedules",)),))
    keeper = make_key(account, scopes=(Scope(("ManageSchedules",)), Scope(("D*Faces",), ("people",))))
    for key in (outside, narrow):
        for method, path in (("GET", SCHEDULES), ("POST", SCHEDULES), ("GET", f"{SCHEDULES}/{NOWHERE}")):
            detail = problem(live.call(method, path, key=key.api_key), 403, "AccessDeniedException")
            assert "rekognition:ManageSchedules" in detail
    assert live.call("POST", SCHEDULES, CHECK, key=checker.api_key).status == 201
    assert "DeleteFaces" in problem(
        live.call("POST", SCHEDULES, RETENTION, key=checker.api_key), 403, "AccessDeniedException"
    )
    made = live.call("POST", SCHEDULES, RETENTION, key=keeper.api_key)
    assert made.status == 201
    elsewhere = {"Settings": {"CollectionId": "others", "Days": 1}}
    for key in (checker, keeper):
        answer = live.call("PATCH", made.json["Links"]["Self"], elsewhere, key=key.api_key)
        problem(answer, 403, "AccessDeniedException")
    itself = made.json["Links"]["Self"]
    for method, path, body in (
        ("POST", f"{itself}/run", None),
        ("PATCH", itself, {"Cron": "* * * * *"}),
        ("PATCH", itself, {"Enabled": True}),
    ):
        answer = live.call(method, path, body, key=checker.api_key)
        assert "DeleteFaces" in problem(answer, 403, "AccessDeniedException")
        assert live.call(method, path, body, key=keeper.api_key).status in (200, 202)
    assert live.call("GET", SCHEDULES).status == 200
    problem(live.call("GET", SCHEDULES, key="nonsense"), 401, "UnrecognizedClientException")


def rekollect(live: LiveStack, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cli.main", "schedules", *words]
    return subprocess.run(command, env=live.stack.variables, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_shows_the_schedules_of_all_accounts(live: LiveStack, owner: Owner) -> None:
    schedule = owner.create({**CHECK, "Name": f"check-{uuid.uuid4()}"})
    listed = rekollect(live, "list")
    assert listed.returncode == 0, listed.stderr
    assert "(built in)" in listed.stdout
    assert schedule["Name"] in listed.stdout
    documents = json.loads(rekollect(live, "list", "--json").stdout)
    (purge,) = [one for one in documents if one["Account"] is None]
    assert (purge["Name"], purge["LastRun"]["Status"] != "FAILED") == ("purge", True)
    for action in ("run", "disable", "enable", "show"):
        done = rekollect(live, action, schedule["Name"], "--json")
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Ticks"][0]["Trigger"] == "MANUAL"
    missing = rekollect(live, "show", "nonsense")
    assert (missing.returncode, missing.stdout) == (1, "There is no schedule nonsense.\n")
