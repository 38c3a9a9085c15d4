"""GET /v1/audit and `rekollect audit` against the running stack: every call that must leave a line does, under its own key."""

import json
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.api.audit import OPERATIONS
from app.api.openapi.document import ROUTES
from app.domain.audit import Act
from app.domain.scopes import Scope
from app.services.access_keys import NewKey
from tests.contract.conftest import MakeKey
from tests.contract.wire import call as aws_call
from tests.contract.wire import key_of, problem
from tests.live import Answer, LiveStack, free_port
from tests.patience import wait_until

AUDIT = "/v1/audit"
#: What a route is called in the log.
WITH_LINE = {
    "getJob": Act.GET_JOB,
    "cancelJob": Act.CANCEL_JOB,
    "submitBatch": Act.SUBMIT_BATCH,
    "retryBatch": Act.SUBMIT_BATCH,
    "getBatchResults": Act.GET_BATCH_RESULTS,
    "getBatchFailures": Act.GET_BATCH_RESULTS,
    "cancelBatch": Act.CANCEL_BATCH,
    "pauseBatch": Act.PAUSE_BATCH,
    "resumeBatch": Act.RESUME_BATCH,
    "startReprocess": Act.START_REPROCESS,
    "cancelReprocess": Act.CANCEL_REPROCESS,
    "rollBackReprocess": Act.ROLL_BACK_REPROCESS,
    "finishReprocess": Act.FINISH_REPROCESS,
    "changeCollection": Act.SET_SEARCH_MODE,
    "keepCrops": Act.KEEP_CROPS,
    "deleteCrops": Act.PURGE_CROPS,
    "createEndpoint": Act.CREATE_ENDPOINT,
    "updateEndpoint": Act.UPDATE_ENDPOINT,
    "deleteEndpoint": Act.DELETE_ENDPOINT,
    "enableEndpoint": Act.ENABLE_ENDPOINT,
    "disableEndpoint": Act.DISABLE_ENDPOINT,
    "rotateSecret": Act.ROTATE_SECRET,
    "testEndpoint": Act.TEST_ENDPOINT,
    "replayDeliveries": Act.REPLAY_DELIVERIES,
    "redeliver": Act.REDELIVER,
    "createSchedule": Act.CREATE_SCHEDULE,
    "updateSchedule": Act.UPDATE_SCHEDULE,
    "deleteSchedule": Act.DELETE_SCHEDULE,
    "runSchedule": Act.RUN_SCHEDULE,
    "listAuditLines": Act.READ_LOG,
}
#: What they submit has a line of its own, or they show nothing about people.
WITHOUT_LINE = {"submitJob", "retryJob", "listJobs", "listBatches", "getBatch", "getReprocess", "listReprocessFailures"}
WITHOUT_LINE |= {
    "getCollection",
    "getCrops",
    "listEndpoints",
    "getEndpoint",
    "listDeliveries",
    "getDelivery",
    "listSchedules",
    "getSchedule",
}
#: A reprocess needs a second model: tests/integration/reprocess has its lines.
ELSEWHERE = {Act.START_REPROCESS, Act.CANCEL_REPROCESS, Act.ROLL_BACK_REPROCESS, Act.FINISH_REPROCESS}


class Person:
    """Somebody with a key, and what the log says of it."""

    def __init__(self, live: LiveStack, key: NewKey) -> None:
        self.live, self.key = live, key
        self.rekognition = live.rekognition_of(key)

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        return self.live.call(method, path, body, headers, key=self.key.api_key)

    def lines(self, query: str = "") -> list[dict[str, Any]]:
        """Read the log, oldest first, without the readings of it."""
        answer = self.call("GET", f"{AUDIT}?MaxResults=1000{query}")
        assert answer.status == 200, answer.body
        return [
            line for line in answer.json["Lines"][::-1] if (line["Operation"], line["Result"]) != ("ReadAuditLog", "OK")
        ]

    def operations(self, query: str = "") -> list[str]:
        return [line["Operation"] for line in self.lines(query)]


@pytest.fixture
def person(live: LiveStack, make_key: MakeKey) -> Person:
    """The owner of an account of its own."""
    return Person(live, make_key(f"audited-{uuid.uuid4().hex}"))


def test_both_ways_in_leave_the_same_lines(person: Person, portraits: dict[str, bytes]) -> None:
    client, picture = person.rekognition, portraits["obama"]
    client.create_collection(CollectionId="people")
    indexed = client.index_faces(CollectionId="people", Image={"Bytes": picture}, ExternalImageId="a-name")
    request_id = indexed["ResponseMetadata"]["RequestId"]
    answer = person.call("POST", "/v1/jobs", {"Operation": "ListFaces", "Input": {"CollectionId": "people"}})
    path = answer.json["Links"]["Self"]
    job = person.call("GET", f"{path}?wait=20")
    person.call("GET", path, **{"If-None-Match": job.headers["etag"]})  # 304 gives nothing away
    client.search_faces_by_image(CollectionId="people", Image={"Bytes": picture})
    (face,) = indexed["FaceRecords"]
    client.delete_faces(CollectionId="people", FaceIds=[face["Face"]["FaceId"]])
    found = person.lines("&CollectionId=people")
    assert [(line["Operation"], line["Result"], line.get("Count")) for line in found] == [
        ("CreateCollection", "OK", None),
        ("IndexFaces", "OK", 1),
        ("ListFaces", "OK", 1),
        ("GetJob", "OK", None),
        ("SearchFacesByImage", "OK", 1),
        ("DeleteFaces", "OK", 1),
    ]
    assert {json.dumps(line["Actor"]) for line in found} == {
        json.dumps({"Kind": "KEY", "Id": person.key.access_key_id})
    }
    assert {line["SourceAddress"] for line in found} == {"127.0.0.1"}
    assert found[1]["RequestId"] == request_id
    assert found[2]["RequestId"] == answer.headers["x-amzn-requestid"]
    assert found[2]["Resources"] == {"JobId": answer.json["JobId"]}
    for secret in (face["Face"]["FaceId"], "a-name", face["Face"]["ImageId"]):
        assert secret not in json.dumps(found)


def test_refused_calls_leave_lines(live: LiveStack, person: Person, make_key: MakeKey) -> None:
    ((account,),) = live.query(
        "SELECT accounts.name FROM accounts JOIN access_keys USING (account_id) WHERE access_key_id = %s",
        person.key.access_key_id,
    )
    scoped = make_key(account, scopes=(Scope(("ListFaces",), ("team-a",)),))
    faces = [str(uuid.uuid4())]
    for operation, input_ in (
        ("ListFaces", {"CollectionId": "team-a"}),  # which is not there
        ("DeleteFaces", {"CollectionId": "b", "FaceIds": ["x y"]}),  # malformed: nothing was asked
        ("DeleteFaces", {"CollectionId": "team-b", "FaceIds": faces}),
    ):
        assert aws_call(live, operation, input_, credentials=key_of(scoped)).status == 400
    for method, path in (("POST", "/v1/schedules"), ("GET", AUDIT), ("GET", "/v1/collections/team-b/crops")):
        assert live.call(method, path, {} if method == "POST" else None, key=scoped.api_key).status == 403
    found = person.lines(f"&AccessKeyId={scoped.access_key_id}")
    assert [(line["Operation"], line.get("CollectionId"), line["Result"]) for line in found] == [
        ("ListFaces", "team-a", "ResourceNotFoundException"),
        ("DeleteFaces", "team-b", "AccessDeniedException"),
        ("ManageSchedules", None, "AccessDeniedException"),
        ("ReadAuditLog", None, "AccessDeniedException"),
        ("DescribeCollection", "team-b", "AccessDeniedException"),
    ]


def _settings(person: Person) -> set[str]:
    """Do everything once that is no operation of the AWS wire; give the names of the acts."""
    out_of_reach = f"https://127.0.0.1:{free_port()}/"

    def call(method: str, path: str, body: object = None) -> Any:
        answer = person.call(method, path, body)
        assert answer.status < 300, (method, path, answer.body)
        return answer.json if answer.body and answer.headers["content-type"] == "application/json" else None

    person.rekognition.create_collection(CollectionId="people")
    endpoint = call("POST", "/v1/webhooks/endpoints", {"Url": out_of_reach})["EndpointId"]
    own = f"/v1/webhooks/endpoints/{endpoint}"
    call("PATCH", own, {"Description": "x"})
    call("POST", f"{own}/rotate-secret")
    delivery = call("POST", f"{own}/test")["DeliveryId"]
    wait_until(lambda: call("GET", f"/v1/webhooks/deliveries/{delivery}")["Status"] != "PENDING", 20)
    call("POST", f"/v1/webhooks/deliveries/{delivery}/redeliver")
    call("POST", f"{own}/replay", {"Since": (datetime.now(UTC) - timedelta(hours=1)).isoformat()})
    call("POST", f"{own}/disable")
    call("POST", f"{own}/enable")
    call("DELETE", own)
    schedule = {
        "Name": "old",
        "Kind": "RETENTION",
        "Cron": "0 3 * * *",
        "Settings": {"CollectionId": "people", "Days": 9},
    }
    own = call("POST", "/v1/schedules", schedule)["Links"]["Self"]
    call("PATCH", own, {"Cron": "0 4 * * *"})
    call("POST", f"{own}/run")
    call("DELETE", own)
    call("PATCH", "/v1/collections/people", {"SearchMode": "approximate"})
    call("PUT", "/v1/collections/people/crops", {"KeepCrops": True})
    call("DELETE", "/v1/collections/people/crops")
    items = [{"Input": {"Image": {"Url": out_of_reach}}}]
    own = call("POST", "/v1/batches", {"Operation": "DetectFaces", "Items": items})["Links"]["Self"]
    call("POST", f"{own}/pause")
    call("POST", f"{own}/resume")
    call("POST", f"{own}/cancel")
    call("GET", f"{own}/results")
    job = call("POST", "/v1/jobs", {"Operation": "DetectFaces", "Input": items[0]["Input"], "Priority": "LOW"})
    person.call("POST", f"{job['Links']['Self']}/cancel")
    return set(person.operations())


def test_every_route_that_changes_or_gives_something_has_a_line(person: Person) -> None:
    done = _settings(person)
    assert set(WITH_LINE.values()) - ELSEWHERE - {Act.READ_LOG, Act.GET_JOB} <= done
    ours = [line for line in person.lines() if line["Operation"] in set(Act)]
    assert {line["Actor"]["Kind"] for line in ours} == {"KEY", "OPERATOR"}
    (made,) = [line for line in ours if line["Actor"]["Kind"] == "OPERATOR"]
    assert (made["Operation"], made["Resources"]) == ("CreateAccessKey", {"AccessKeyId": person.key.access_key_id})


def test_whoever_adds_a_route_decides_whether_it_has_a_line() -> None:
    assert {route.name for route in ROUTES} == WITH_LINE.keys() | WITHOUT_LINE


def test_the_log_is_shown_to_keys_that_may_read_all_of_it_and_of_their_account_alone(
    live: LiveStack, person: Person, make_key: MakeKey
) -> None:
    person.rekognition.create_collection(CollectionId="people")
    stranger = Person(live, make_key(f"audited-{uuid.uuid4().hex}"))
    assert [line["Operation"] for line in stranger.lines()] == ["CreateAccessKey"]
    assert stranger.lines("&CollectionId=people") == []
    problem(live.call("GET", AUDIT, key="nonsense"), 401, "UnrecognizedClientException")
    account = f"audited-{uuid.uuid4().hex}"
    auditor = make_key(account, scopes=(Scope(("ReadAuditLog",), ("*",)),))
    partial = make_key(account, scopes=(Scope(("*",), ("team-a",)),))
    assert live.call("GET", AUDIT, key=auditor.api_key).status == 200
    problem(live.call("GET", AUDIT, key=partial.api_key), 403, "AccessDeniedException")
    read = [line["Operation"] for line in live.call("GET", AUDIT, key=auditor.api_key).json["Lines"]]
    assert read == ["ReadAuditLog", "ReadAuditLog", "CreateAccessKey", "CreateAccessKey"]


@pytest.mark.parametrize(
    "query",
    ["Operation=Nonsense", "CollectionId=a%20b", "AccessKeyId=a-b", "Since=yesterday", "Until=2026-01-01", "Actor=x"],
)
def test_a_wrong_filter_is_refused(person: Person, query: str) -> None:
    problem(person.call("GET", f"{AUDIT}?{query}"), 400, "ValidationException")


def test_pages_follow_each_other(person: Person) -> None:
    for number in range(5):
        person.rekognition.create_collection(CollectionId=f"c{number}")
    token, read = "", []
    while True:
        answer = person.call("GET", f"{AUDIT}?Operation=CreateCollection&MaxResults=2{token}").json
        read += [line["CollectionId"] for line in answer["Lines"]]
        if "NextToken" not in answer:
            break
        token = f"&NextToken={answer['NextToken']}"
    assert read == ["c4", "c3", "c2", "c1", "c0"]


def rekollect(live: LiveStack, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cli.main", "audit", *words]
    return subprocess.run(command, env=live.stack.variables, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_shows_lines_of_all_accounts(live: LiveStack, person: Person) -> None:
    name = f"c-{uuid.uuid4().hex}"
    person.rekognition.create_collection(CollectionId=name)
    person.rekognition.delete_collection(CollectionId=name)
    shown = rekollect(live, "--collection", name, "--json", "--key", person.key.access_key_id)
    assert shown.returncode == 0, shown.stderr
    found = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [line["Operation"] for line in found] == ["DeleteCollection", "CreateCollection"]
    assert found[0]["Account"].startswith("audited-")
    table = rekollect(live, "--account", found[0]["Account"], "--since", "2026-01-01T00:00:00Z", "--limit", "2")
    assert table.stdout.splitlines()[0].split()[:4] == ["time", "account", "actor", "operation"]
    assert len(table.stdout.splitlines()) == 3
    assert "OPERATOR" not in table.stdout
    wrong = rekollect(live, "--since", "yesterday")
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_every_line_is_one_that_can_be_asked_for(live: LiveStack) -> None:
    written = {operation for (operation,) in live.query("SELECT DISTINCT operation FROM audit_log")}
    assert written <= set(OPERATIONS)
