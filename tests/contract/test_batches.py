"""/v1/batches over HTTP: inline and uploaded items on a real worker, results while and after it runs, refusals."""

import contextlib
import http.client
import json
import time
import uuid
from typing import Any

import pytest

from app.domain.scopes import Scope
from tests.contract.conftest import MakeKey
from tests.contract.wire import problem, send, signed
from tests.live import Answer, LiveStack
from tests.s3 import S3Server

BUCKET = "batches"


@pytest.fixture(scope="session")
def bucket(s3_server: S3Server, portraits: dict[str, bytes]) -> str:
    """A bucket with the sample portraits, and with one object that is no picture."""
    client = s3_server.client()
    client.create_bucket(Bucket=BUCKET)
    for name, content in portraits.items():
        client.put_object(Bucket=BUCKET, Key=f"people/{name}.jpg", Body=content)
    client.put_object(Bucket=BUCKET, Key="people/readme.txt", Body=b"no picture")
    return BUCKET


def item(name: str, **members: Any) -> dict[str, Any]:
    image = {"S3Object": {"Bucket": BUCKET, "Name": f"people/{name}"}}
    return {"CustomId": name, "Input": {"Image": image, "ExternalImageId": name, **members}}


def submit(live: LiveStack, collection: str, *items: dict[str, Any], **members: Any) -> Answer:
    batch = {"Operation": "IndexFaces", "Defaults": {"CollectionId": collection}, "Items": list(items), **members}
    return live.call("POST", "/v1/batches", batch)


def upload(live: LiveStack, query: str, *lines: object, **headers: str) -> Answer:
    body = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines) + b"\n"
    return live.call("POST", f"/v1/batches{query}", body, {"Content-Type": "application/x-ndjson", **headers})


def finished(live: LiveStack, answer: Answer, seconds: float = 60) -> Any:
    assert answer.status == 202, answer.body
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        batch = live.call("GET", f"/v1/batches/{answer.json['BatchId']}").json
        if batch["Done"]:
            return batch
        time.sleep(0.1)
    raise AssertionError(f"not done after {seconds} s: {batch}")


def lines(answer: Answer) -> list[Any]:
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in answer.body.splitlines()]


def test_a_batch_indexes_its_items_and_tells_which_failed(live: LiveStack, bucket: str, collection: str) -> None:
    answer = submit(live, collection, item("obama.jpg"), item("biden.jpg"), item("readme.txt"), Metadata={"Team": "a"})
    assert answer.headers["location"] == answer.json["Links"]["Self"]
    batch = finished(live, answer)
    assert (batch["Status"], batch["Operation"], batch["Metadata"]) == ("SUCCEEDED", "IndexFaces", {"Team": "a"})
    assert batch["Counts"] == {"Total": 3, "Queued": 0, "InProgress": 0, "Succeeded": 2, "Failed": 1, "Canceled": 0}
    assert batch["Progress"] == {"Done": 3, "Total": 3}
    assert batch["CreatedAt"] <= batch["StartedAt"] <= batch["FinishedAt"] <= batch["ExpiresAt"]
    told = live.call("GET", batch["Links"]["Results"])
    assert (told.headers["next-after"], told.headers["batch-status"]) == ("3", "SUCCEEDED")
    results = {line["CustomId"]: line for line in lines(told)}
    face = results["obama.jpg"]["Result"]["FaceRecords"][0]["Face"]
    assert face["ExternalImageId"] == "obama.jpg"
    (failure,) = lines(live.call("GET", batch["Links"]["Failures"]))
    assert failure == results["readme.txt"]
    assert failure["Error"]["Code"] == "InvalidImageFormatException"


def test_the_same_items_again_index_nothing_twice(
    live: LiveStack, bucket: str, collection: str, rekognition: Any
) -> None:
    for _ in range(2):
        assert (
            finished(live, submit(live, collection, item("obama.jpg"), item("biden.jpg")))["Counts"]["Succeeded"] == 2
        )
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == 2


def test_what_failed_is_retried_as_a_new_batch(
    live: LiveStack, s3_server: S3Server, bucket: str, collection: str, portraits: dict[str, bytes]
) -> None:
    name = f"late-{uuid.uuid4()}.jpg"
    first = finished(live, submit(live, collection, item("obama.jpg"), item(name)))
    assert first["Counts"]["Failed"] == 1
    s3_server.client().put_object(Bucket=BUCKET, Key=f"people/{name}", Body=portraits["biden"])
    second = finished(live, live.call("POST", first["Links"]["RetryFailed"]))
    assert (second["RetryOf"], second["Counts"]["Total"], second["Counts"]["Succeeded"]) == (first["BatchId"], 1, 1)
    (line,) = lines(live.call("GET", second["Links"]["Results"]))
    assert line["CustomId"] == name
    problem(live.call("POST", f"/v1/batches/{second['BatchId']}/retry-failed"), 409, "ConflictException")


@pytest.mark.parametrize(
    ("operation", "defaults", "own"),
    [
        ("DetectFaces", {}, {}),
        ("SearchFacesByImage", {"CollectionId": "contract-gallery", "MaxFaces": 1}, {"FaceMatchThreshold": 99}),
        ("CompareFaces", {"SourceImage": {"S3Object": {"Bucket": BUCKET, "Name": "people/obama.jpg"}}}, None),
    ],
)
def test_other_operations_run_in_batches_too(
    live: LiveStack, bucket: str, gallery: str, operation: str, defaults: dict[str, Any], own: dict[str, Any] | None
) -> None:
    image = {"S3Object": {"Bucket": BUCKET, "Name": "people/obama2.jpg"}}
    input_ = {"TargetImage": image} if own is None else {"Image": image, **own}
    body = {"Operation": operation, "Defaults": defaults, "Items": [{"Input": input_}]}
    batch = finished(live, live.call("POST", "/v1/batches", body))
    (line,) = lines(live.call("GET", batch["Links"]["Results"]))
    assert line["Status"] == "SUCCEEDED", line
    assert line["Result"].get("FaceMatches") or line["Result"].get("FaceDetails")


def test_items_are_uploaded_as_lines_with_a_header(live: LiveStack, bucket: str, collection: str) -> None:
    header = {"Operation": "IndexFaces", "Defaults": {"CollectionId": collection}, "ClientRequestToken": collection}
    items = [item("obama.jpg"), item("biden.jpg")]
    first = upload(live, "", header, *items)
    assert finished(live, first)["Counts"]["Succeeded"] == 2
    again = upload(live, "", header, *items)
    assert (again.json["BatchId"], again.headers["idempotency-replayed"]) == (first.json["BatchId"], "true")
    problem(upload(live, "", header, items[0]), 422, "IdempotentParameterMismatchException")


def test_items_are_uploaded_as_lines_with_a_query(live: LiveStack, bucket: str) -> None:
    image = {"Image": {"S3Object": {"Bucket": BUCKET, "Name": "people/obama.jpg"}}}
    many = [{"CustomId": str(number), "Input": image} for number in range(1200)]
    answer = upload(live, "?Operation=DetectFaces", *many)
    assert answer.status == 202
    assert answer.json["Counts"]["Total"] == 1200
    canceled = live.call("POST", answer.json["Links"]["Cancel"])
    assert canceled.status in (200, 202)
    batch = finished(live, answer)
    assert batch["Status"] == "CANCELED"
    assert batch["Counts"]["Succeeded"] + batch["Counts"]["Canceled"] == 1200
    told = lines(live.call("GET", batch["Links"]["Results"]))
    assert len(told) == 1200
    assert [line["Cursor"] for line in told] == list(range(1, 1201))


@pytest.mark.parametrize(
    ("wrong", "detail"),
    [
        (b"{", "Line 3: The line is not valid JSON."),
        ({"Input": {}}, "Line 3: 1 validation error detected"),
        ({"CustomId": "same", "Input": {"Image": {"Url": "https://example.com/a.jpg"}}}, "the CustomId same is used"),
        ({"Input": {"Image": {"Bytes": "AAAA"}}}, "Line 3: Image.Bytes is not taken in a batch"),
        (b'{"CustomId": "' + b"x" * 70_000 + b'"}', "Line 3 is longer than 65536 bytes."),
    ],
)
def test_a_wrong_line_refuses_the_upload_and_leaves_nothing(live: LiveStack, wrong: object, detail: str) -> None:
    before = live.query("SELECT count(*) FROM batches")
    good = {"CustomId": "same", "Input": {"Image": {"Url": "https://example.com/a.jpg"}}}
    answer = upload(live, "", {"Operation": "DetectFaces"}, good, wrong)
    assert answer.status == 400
    assert detail in answer.json["detail"]
    assert live.query("SELECT count(*) FROM batches") == before
    assert live.query("SELECT 1 FROM batch_items i LEFT JOIN batches b USING (batch_id) WHERE b IS NULL") == []


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"Operation": "ListFaces"}, "ValidationException"),
        ({"Operation": "DetectFaces", "Items": []}, "ValidationException"),
        ({"Operation": "DetectFaces"}, "ValidationException"),
        ({"Operation": "DetectFaces", "Items": [{}], "S3Prefix": {"Bucket": "b"}}, "ValidationException"),
        ({"Operation": "DetectFaces", "Items": [{"Unknown": 1}]}, "ValidationException"),
        ({"Operation": "DetectFaces", "Items": [[]]}, "SerializationException"),
        (
            {"Operation": "DetectFaces", "Items": [{"Input": {"Image": {"Url": "ftp://a"}}}]},
            "InvalidParameterException",
        ),
        (
            {"Operation": "DetectFaces", "Defaults": {"Image": {"Bytes": "AAAA"}}, "Items": [{}]},
            "InvalidParameterException",
        ),
        ({"Operation": "IndexFaces", "Defaults": {"QualityFilter": "ODD"}, "Items": [{}]}, "ValidationException"),
        ({"Operation": "DetectFaces", "S3Prefix": {"Prefix": "a"}}, "ValidationException"),
        ({"Operation": "DetectFaces", "Manifest": {"S3Object": {"Bucket": "b"}}}, "ValidationException"),
        ({"Operation": "DetectFaces", "S3Prefix": {"Bucket": "bad bucket!"}}, "ValidationException"),
        (
            {"Operation": "DetectFaces", "Manifest": {"S3Object": {"Bucket": "no/bucket", "Name": "a"}}},
            "ValidationException",
        ),
        ({"Operation": "DetectFaces", "Items": [{}], "Extra": 1}, "ValidationException"),
    ],
)
def test_a_wrong_submission_is_refused(live: LiveStack, members: dict[str, Any], code: str) -> None:
    problem(live.call("POST", "/v1/batches", members), 400, code)


def test_an_item_may_not_leave_the_collection_of_the_defaults(live: LiveStack, collection: str) -> None:
    other = item("obama.jpg", CollectionId="another")
    assert "another CollectionId" in problem(submit(live, collection, other), 400, "ValidationException")


def test_a_batch_of_another_account_does_not_exist(live: LiveStack, make_key: MakeKey, collection: str) -> None:
    batch = submit(live, collection, item("obama.jpg")).json
    stranger = make_key("batch-stranger").api_key
    for path in ("", "/results", "/failures"):
        answer = live.call("GET", batch["Links"]["Self"] + path, key=stranger)
        problem(answer, 404, "ResourceNotFoundException")
    for act in ("cancel", "pause", "resume", "retry-failed"):
        answer = live.call("POST", f"{batch['Links']['Self']}/{act}", key=stranger)
        problem(answer, 404, "ResourceNotFoundException")
    assert live.call("GET", "/v1/batches", key=stranger).json == {"Batches": []}
    problem(live.call("GET", "/v1/batches/none"), 404, "ResourceNotFoundException")


def test_a_key_of_one_collection_keeps_to_its_batches(
    live: LiveStack, make_key: MakeKey, collection: str, bucket: str
) -> None:
    key = make_key("default", scopes=[Scope(("IndexFaces",), (collection,))]).api_key
    mixed = {"Operation": "IndexFaces", "Items": [item("obama.jpg", CollectionId=collection)]}
    problem(live.call("POST", "/v1/batches", mixed, key=key), 403, "AccessDeniedException")
    other = {"Operation": "IndexFaces", "Defaults": {"CollectionId": "other"}, "Items": [item("obama.jpg")]}
    problem(live.call("POST", "/v1/batches", other, key=key), 403, "AccessDeniedException")
    foreign = live.call("POST", "/v1/batches", other).json
    own = live.call("POST", "/v1/batches", {**other, "Defaults": {"CollectionId": collection}}, key=key).json
    problem(live.call("GET", foreign["Links"]["Self"], key=key), 403, "AccessDeniedException")
    shown = live.call("GET", "/v1/batches?MaxResults=1000", key=key).json["Batches"]
    assert own["BatchId"] in [batch["BatchId"] for batch in shown]
    assert foreign["BatchId"] not in [batch["BatchId"] for batch in shown]


def test_batches_are_listed_newest_first_in_pages(live: LiveStack, collection: str) -> None:
    made = [submit(live, collection, item("obama.jpg")).json["BatchId"] for _ in range(3)]
    first = live.call("GET", "/v1/batches?MaxResults=2").json
    assert [batch["BatchId"] for batch in first["Batches"]] == made[:0:-1]
    second = live.call("GET", f"/v1/batches?MaxResults=1&NextToken={first['NextToken']}").json
    assert [batch["BatchId"] for batch in second["Batches"]] == made[:1]


def test_slow_uploads_of_one_account_leave_slots_to_others(live: LiveStack, make_key: MakeKey, bucket: str) -> None:
    image = {"Image": {"S3Object": {"Bucket": BUCKET, "Name": "people/obama.jpg"}}}
    with contextlib.ExitStack() as open_ones:
        for _ in range(2):
            slow = open_ones.enter_context(
                contextlib.closing(http.client.HTTPConnection(live.url.removeprefix("http://")))
            )
            slow.putrequest("POST", "/v1/batches")
            kind = {"Authorization": f"Bearer {live.key.api_key}", "Content-Type": "application/x-ndjson"}
            for name, value in {**kind, "Transfer-Encoding": "chunked"}.items():
                slow.putheader(name, value)
            slow.endheaders()
        time.sleep(0.5)
        problem(upload(live, "?Operation=DetectFaces", {"Input": image}), 429, "ThrottlingException")
        other = make_key("other-uploader").api_key
        body = json.dumps({"Input": image}).encode()
        kind = {"Content-Type": "application/x-ndjson"}
        answer = live.call("POST", "/v1/batches?Operation=DetectFaces", body, kind, key=other)
        assert answer.status == 202, answer.body
    deadline = time.monotonic() + 10
    while (again := upload(live, "?Operation=DetectFaces", {"Input": image})).status == 429:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert again.status == 202


@pytest.mark.parametrize("what", ["results", "failures"])
def test_an_answer_has_a_limited_number_of_lines_and_says_where_to_read_on(
    live: LiveStack, bucket: str, what: str
) -> None:
    image = {"Image": {"S3Object": {"Bucket": BUCKET, "Name": "people/none.jpg"}}}
    answer = live.call("POST", "/v1/batches", {"Operation": "DetectFaces", "Items": [{"Input": image}]})
    batch_id = finished(live, answer)["BatchId"]
    live.query(
        """INSERT INTO batch_items (batch_id, item_no, input, status, ended_no, error)
           SELECT batch_id, n, input, status, n, error FROM batch_items, generate_series(2, 10005) AS n
           WHERE batch_id = %s""",
        batch_id,
    )
    live.query("UPDATE batches SET total = 10005, failed = 10005 WHERE batch_id = %s", batch_id)
    path, after, counts = answer.json["Links"]["Self"], 0, []
    for query in ("", "&MaxResults=999999999"):
        told = live.call("GET", f"{path}/{what}?after={after}{query}")
        counts.append(len(lines(told)))
        after = int(told.headers["next-after"])
    assert (counts, after) == ([10_000, 5], 10_005)


def test_an_upload_may_be_signed(live: LiveStack, bucket: str) -> None:
    image = {"Image": {"S3Object": {"Bucket": BUCKET, "Name": "people/obama.jpg"}}}
    body = b"\n".join(json.dumps(line).encode() for line in ({"Operation": "DetectFaces"}, {"Input": image}))
    kind = {"Content-Type": "application/x-ndjson"}
    headers = signed(live, "POST", "/v1/batches", body, headers=kind)
    assert send(live, "POST", "/v1/batches", body, headers).status == 202
    problem(send(live, "POST", "/v1/batches", body + b"\n{}", headers), 403, "InvalidSignatureException")


def test_a_paused_batch_is_shown_as_such_and_resumed(live: LiveStack, bucket: str) -> None:
    image = {"Image": {"S3Object": {"Bucket": BUCKET, "Name": "people/obama.jpg"}}}
    answer = live.call("POST", "/v1/batches", {"Operation": "DetectFaces", "Items": [{"Input": image}] * 40})
    paused = live.call("POST", answer.json["Links"]["Pause"]).json
    assert paused["Status"] == "PAUSED"
    assert "EtaSeconds" not in paused
    resumed = live.call("POST", paused["Links"]["Resume"]).json
    assert resumed["Status"] == "IN_PROGRESS"
    assert finished(live, answer)["Counts"]["Succeeded"] == 40


def test_a_prefix_of_s3_is_listed_and_indexed_under_its_keys(
    live: LiveStack, bucket: str, collection: str, rekognition: Any, portraits: dict[str, bytes]
) -> None:
    body = {
        "Operation": "IndexFaces",
        "Defaults": {"CollectionId": collection},
        "S3Prefix": {"Bucket": bucket, "Prefix": "people/"},
    }
    batch = finished(live, live.call("POST", "/v1/batches", body))
    results = {line["CustomId"]: line for line in lines(live.call("GET", batch["Links"]["Results"]))}
    assert {f"people/{name}.jpg" for name in portraits} | {"people/readme.txt"} <= results.keys()
    face = results["people/obama.jpg"]["Result"]["FaceRecords"][0]["Face"]
    assert face["ExternalImageId"] == "people:obama.jpg"
    assert results["people/readme.txt"]["Status"] == "FAILED"
    count = rekognition.describe_collection(CollectionId=collection)["FaceCount"]
    finished(live, live.call("POST", "/v1/batches", body))
    assert rekognition.describe_collection(CollectionId=collection)["FaceCount"] == count


def test_a_manifest_in_s3_is_read_and_its_wrong_lines_are_items_that_failed(
    live: LiveStack, s3_server: S3Server, bucket: str
) -> None:
    image = {"Image": {"S3Object": {"Bucket": BUCKET, "Name": "people/obama.jpg"}}}
    good = [json.dumps({"CustomId": str(number), "Input": image}) for number in range(3)]
    wrong = ["{", "", json.dumps({"CustomId": "0", "Input": image}), json.dumps({"CustomId": "last"})]
    s3_server.client().put_object(Bucket=BUCKET, Key="manifest.jsonl", Body="\n".join(good + wrong).encode())
    body = {"Operation": "DetectFaces", "Manifest": {"S3Object": {"Bucket": BUCKET, "Name": "manifest.jsonl"}}}
    batch = finished(live, live.call("POST", "/v1/batches", body))
    assert (batch["Status"], batch["Counts"]["Succeeded"], batch["Counts"]["Failed"]) == ("SUCCEEDED", 3, 3)
    failures = {line["Item"]: line["Error"]["Message"] for line in lines(live.call("GET", batch["Links"]["Failures"]))}
    assert failures[4] == "Line 4: The line is not valid JSON."
    assert failures[5] == "The CustomId 0 is used twice."
    assert failures[6].startswith("Line 7: 1 validation error")


@pytest.mark.parametrize(
    "source",
    [
        {"Manifest": {"S3Object": {"Bucket": BUCKET, "Name": "none.jsonl"}}},
        {"S3Prefix": {"Bucket": "no-such-bucket"}},
    ],
)
def test_a_source_that_is_not_there_fails_the_batch_with_a_reason(
    live: LiveStack, bucket: str, source: dict[str, Any]
) -> None:
    batch = finished(live, live.call("POST", "/v1/batches", {"Operation": "DetectFaces", **source}))
    assert (batch["Status"], batch["Error"]["Code"]) == ("FAILED", "InvalidS3ObjectException")
    assert "CancelRequestedAt" not in batch


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_manifest_is_a_batch_of_nothing(
    live: LiveStack, s3_server: S3Server, bucket: str, content: bytes
) -> None:
    s3_server.client().put_object(Bucket=BUCKET, Key="empty.jsonl", Body=content)
    body = {"Operation": "DetectFaces", "Manifest": {"S3Object": {"Bucket": BUCKET, "Name": "empty.jsonl"}}}
    batch = finished(live, live.call("POST", "/v1/batches", body))
    assert (batch["Status"], batch["Counts"]["Total"]) == ("SUCCEEDED", 0)
