"""The OpenAPI document: valid, complete, and true of the running stack under generated requests, well-formed and not."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import requests
import schemathesis
from botocore.credentials import Credentials
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis import Case, SerializationContext, checks

from app.api.openapi.document import document
from app.service_model import service_model
from app.services import operations
from app.services.access_keys import NewKey
from tests.contract.conftest import MakeKey
from tests.contract.wire import AWS_JSON, signed
from tests.live import LiveStack, free_port

API = schemathesis.openapi.from_dict(document())

#: Whether every valid request is accepted and every invalid one refused, no schema can tell of page tokens and the like.
NOT_ASKED = [checks.positive_data_acceptance, checks.negative_data_rejection]
SCHEDULES = "/v1/schedules"
ENDPOINTS, OUT_OF_REACH = "/v1/webhooks/endpoints", f"https://127.0.0.1:{free_port()}/"
COLLECTION = "described"
ENOUGH = settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


def test_the_document_is_openapi_3_1() -> None:
    assert document()["openapi"] == "3.1.0"
    API.validate()


def test_every_schema_is_json_schema_2020_12() -> None:
    for schema in document()["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere() -> None:
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document())))
    assert references
    for reference in references:
        found: Any = document()
        for step in reference.split("/"):
            found = found[step]


def test_every_operation_has_its_schemas() -> None:
    schemas = document()["components"]["schemas"]
    for name in operations.ALL:
        shapes = service_model().operation_model(name)
        assert {shapes.input_shape.name, shapes.output_shape.name, f"{name}Job"} <= schemas.keys()


def test_the_running_stack_gives_the_document(live: LiveStack) -> None:
    answer = requests.get(f"{live.url}/openapi.json", timeout=10)
    assert answer.json() == json.loads(json.dumps(document()))
    etag = answer.headers["ETag"]
    assert requests.get(f"{live.url}/openapi.json", headers={"If-None-Match": etag}, timeout=10).status_code == 304


def test_every_route_under_v1_is_described_and_the_reverse(live: LiveStack) -> None:
    script = (
        "import json; from app.main import create_app; "
        "print(json.dumps([[rule.rule, *rule.methods] for rule in create_app().url_map.iter_rules()]))"
    )
    environment = {**os.environ, **live.stack.variables}
    printed = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True).stdout
    routed = {
        (_shape(re.sub("<[^>]+>", "{}", path)), method)
        for path, *methods in json.loads(printed)
        for method in methods
        if path.startswith("/v1/") and method not in ("HEAD", "OPTIONS")
    }
    described = {
        (_shape(path), method.upper())
        for path, methods in document()["paths"].items()
        for method in methods
        if path.startswith("/v1/")
    }
    assert routed == described


def _shape(path: str) -> str:
    return re.sub(r"{\w*}", "{}", path)


@pytest.fixture(scope="module")
def key(make_key: MakeKey) -> NewKey:
    """A key of an account of its own, so that its many jobs are nobody else's."""
    return make_key("schemathesis")


@pytest.fixture
def known(live: LiveStack, key: NewKey) -> Iterator[dict[str, str]]:
    """A job that has failed, a batch, an endpoint, a delivery to it, and a schedule, by the parameter that names them."""

    def call(method: str, path: str, body: object = None) -> Any:
        answer = live.call(method, path, body, {"Prefer": "wait=20"}, key=key.api_key)
        assert answer.status < 300, answer.body
        return answer.json if answer.body else None

    job = call("POST", "/v1/jobs", {"Operation": "DescribeCollection", "Input": {"CollectionId": "none"}})
    batch = call(
        "POST", "/v1/batches", {"Operation": "DetectFaces", "Items": [{"Input": {"Image": {"Url": OUT_OF_REACH}}}]}
    )
    endpoint = call("POST", ENDPOINTS, {"Url": OUT_OF_REACH, "EventTypes": ["webhook.failing"]})["EndpointId"]
    delivery = call("POST", f"{ENDPOINTS}/{endpoint}/test")
    call("POST", "/v1/jobs", {"Operation": "CreateCollection", "Input": {"CollectionId": COLLECTION}})
    schedule = call("POST", SCHEDULES, {"Name": "known", "Kind": "INTEGRITY", "Cron": "0 3 * * *"})["ScheduleId"]
    made = {"JobId": job["JobId"], "BatchId": batch["BatchId"], "CollectionId": COLLECTION, "ScheduleId": schedule}
    yield {**made, "EndpointId": endpoint, "DeliveryId": delivery["DeliveryId"]}
    for made in call("GET", SCHEDULES)["Schedules"]:
        call("DELETE", f"{SCHEDULES}/{made['ScheduleId']}")
    for made in call("GET", ENDPOINTS)["Endpoints"]:
        call("DELETE", f"{ENDPOINTS}/{made['EndpointId']}")


@schemathesis.serializer(AWS_JSON)
def _json(_: SerializationContext, value: object) -> bytes:
    return json.dumps(value).encode()


@schemathesis.serializer("application/x-ndjson")
def _lines(_: SerializationContext, value: object) -> bytes:
    return str(value).encode(errors="replace")


def within_reach(value: Any) -> Any:
    """Point every URL at a closed port of ours: nobody else is to be dialled."""
    if isinstance(value, dict):
        return {
            name: OUT_OF_REACH if name == "Url" and re.match("https?:", str(item)) else within_reach(item)
            for name, item in value.items()
        }
    return [within_reach(item) for item in value] if isinstance(value, list) else value


@given(case=API["/v1/jobs"]["POST"].as_strategy())
@settings(ENOUGH, max_examples=30, phases=[Phase.generate])
def test_what_the_document_allows_is_accepted(case: Case, live: LiveStack, key: NewKey) -> None:
    assume(case.media_type == "application/json" and "\\u0000" not in json.dumps(case.body))
    assume("Tag" not in json.dumps(case.body))  # their patterns are beyond JSON Schema
    # JSON Schema takes 1.0 for a whole number, AWS does not.
    whole = re.sub(r"(?<=[ \[])(-?\d+)\.0(?=[,}\]])", r"\1", json.dumps(case.body))
    case.headers, case.body = {}, within_reach(json.loads(whole))
    for member in ("Deadline", "ClientRequestToken"):  # a time may be past, a token used
        case.body.pop(member, None)
    if "EndpointId" in case.body.get("Webhook", {}):
        del case.body["Webhook"]
    answer = case.call(base_url=live.url, headers={"Authorization": f"Bearer {key.api_key}"})
    assert answer.status_code == 202, answer.text


@API.include(path_regex="^/(livez|readyz)$").parametrize()
@ENOUGH
def test_the_probes_answer_as_described(case: Case, live: LiveStack) -> None:
    # POST on these paths is a call of the AWS wire behind some prefix, only not a good one.
    case.validate_response(
        case.call(base_url=live.url),
        excluded_checks=[*NOT_ASKED, checks.unsupported_method, checks.allow_header_conformance],
    )


@API.include(path_regex="^/v1/").parametrize()
@ENOUGH
def test_the_native_api_answers_as_described(case: Case, live: LiveStack, key: NewKey, known: dict[str, str]) -> None:
    for name, value in case.path_parameters.items():
        if str(value) < "A":  # about as many as there are others
            case.path_parameters[name] = known[name]
    if re.fullmatch("wait=[0-9]+", case.headers.get("Prefer", "")):
        case.headers["Prefer"] = "wait=1"
    case.body = within_reach(case.body)
    answer = case.call(base_url=live.url, headers={"Authorization": f"Bearer {key.api_key}"})
    case.validate_response(answer, excluded_checks=NOT_ASKED)


class Signed(requests.auth.AuthBase):
    """Signs as an AWS SDK does."""

    def __init__(self, live: LiveStack, key: NewKey) -> None:
        self._live, self._credentials = live, Credentials(key.access_key_id, key.secret_access_key)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        content = body.encode() if isinstance(body, str) else body
        kept = {name: request.headers[name] for name in ("X-Amz-Target", "Content-Type") if name in request.headers}
        request.headers.update(signed(self._live, "POST", "/", content, headers=kept, credentials=self._credentials))
        return request


@API.include(path="/").parametrize()
@ENOUGH
def test_the_aws_wire_answers_as_described(case: Case, live: LiveStack, key: NewKey) -> None:
    answer = case.call(base_url=live.url, auth=Signed(live, key))
    # Whatever credentials were made up, ours were sent; and who sends none is refused with 400, as at AWS.
    case.validate_response(answer, excluded_checks=[*NOT_ASKED, checks.ignored_auth, checks.missing_required_header])
