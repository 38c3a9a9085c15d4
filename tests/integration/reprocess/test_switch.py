"""A collection moves to a second face model version, and back: what is searched before, while and after."""

from datetime import timedelta
from typing import Any

import pytest

from app.db import face_models, schema
from app.domain.crops import TAG
from app.domain.face_models import FaceModelVersion
from app.errors import Conflict
from tests.bulk import PEOPLE, Bulk
from tests.picture_server import PictureServer
from tests.s3 import S3Server

pytestmark = pytest.mark.models

DAYS = timedelta(days=8)
MINUTES = timedelta(minutes=2)


def make_fresh(bulk: Bulk, portraits: dict[str, bytes]) -> None:
    """Make a collection that had the second version from the beginning, with the same pictures."""
    with bulk.desk.database.transaction() as connection:
        face_models.set_default(connection, bulk.second)
    assert bulk.call("CreateCollection", CollectionId="fresh")["FaceModelVersion"] == "2.0"
    with bulk.desk.database.transaction() as connection:
        face_models.set_default(connection, face_models.get(connection, "1.0"))
    for name in ("obama", "obama2", "obama3", "biden"):
        bulk.index(portraits[name], name, "fresh")


def said(answer: dict[str, Any]) -> list[tuple[str, float, str]]:
    """What an answer says without ids."""
    return [
        (match["Face"]["ExternalImageId"], match["Similarity"], match["Face"]["IndexFacesModelVersion"])
        for match in answer["FaceMatches"]
    ]


def test_after_the_switch_answers_are_those_of_a_fresh_collection(bulk: Bulk, portraits: dict[str, bytes]) -> None:
    ids = bulk.index_four(portraits)
    before = bulk.search(portraits["obama"])
    started = bulk.start()
    assert (started["Status"], started["Progress"]) == ("IN_PROGRESS", {"Done": 0, "Total": 4})
    assert bulk.search(portraits["obama"]) == before
    bulk.work()
    shown = bulk.show()
    assert (shown["Status"], shown["Progress"], shown["Failed"]) == ("SUCCEEDED", {"Done": 4, "Total": 4}, 0)
    assert bulk.call("DescribeCollection", CollectionId=PEOPLE)["FaceModelVersion"] == "2.0"
    make_fresh(bulk, portraits)
    for name in ("obama", "biden"):
        after = bulk.search(portraits[name])
        assert after["FaceModelVersion"] == "2.0"
        assert said(after) == said(bulk.search(portraits[name], "fresh"))
        assert {match["Face"]["FaceId"] for match in after["FaceMatches"]} == set(ids.values())
    assert said(bulk.search(portraits["obama"])) != said(before)


def searches(bulk: Bulk, portraits: dict[str, bytes], ids: dict[str, str]) -> list[Any]:
    """Everything that can be asked, to compare it before and after."""
    people = {"CollectionId": PEOPLE}
    found: list[Any] = [bulk.search(portraits[name]) for name in ("obama", "biden")]
    found += [bulk.call("SearchFaces", **people, FaceId=ids[name], FaceMatchThreshold=0.0) for name in ids]
    found += [bulk.call("SearchUsers", **people, UserId=user, UserMatchThreshold=0.0) for user in ("44th", "46th")]
    found += [bulk.call("SearchUsers", **people, FaceId=ids["obama3"], UserMatchThreshold=0.0)]
    found += [bulk.job("SearchUsersByImage", {"Bytes": portraits["obama"]}, UserMatchThreshold=0.0).result]
    return [*found, bulk.call("ListFaces", **people), bulk.call("DescribeCollection", **people)]


def with_users(bulk: Bulk, ids: dict[str, str]) -> None:
    for user, names in (("44th", ("obama", "obama2")), ("46th", ("biden",))):
        bulk.call("CreateUser", CollectionId=PEOPLE, UserId=user)
        faces = [ids[name] for name in names]
        bulk.call("AssociateFaces", CollectionId=PEOPLE, UserId=user, FaceIds=faces)


def test_a_rollback_restores_every_answer_exactly(bulk: Bulk, portraits: dict[str, bytes]) -> None:
    ids = bulk.index_four(portraits)
    with_users(bulk, ids)
    before = searches(bulk, portraits, ids)
    bulk.start()
    bulk.work()
    after = searches(bulk, portraits, ids)
    assert all(answer["FaceModelVersion"] == "2.0" for answer in after)
    assert [user["User"]["UserId"] for user in after[6]["UserMatches"]] == ["46th"]
    bulk.reprocesses.rollback(bulk.account_id, PEOPLE)
    assert searches(bulk, portraits, ids) == before
    bulk.elapse(MINUTES)
    bulk.work()
    assert searches(bulk, portraits, ids) == before
    bulk.assert_clean(model="1.0", other=bulk.second)
    with pytest.raises(Conflict):
        bulk.reprocesses.rollback(bulk.account_id, PEOPLE)


def test_after_the_window_the_former_version_is_gone_and_answers_stay(bulk: Bulk, portraits: dict[str, bytes]) -> None:
    ids = bulk.index_four(portraits)
    with_users(bulk, ids)
    bulk.start()
    bulk.work()
    after = searches(bulk, portraits, ids)
    bulk.elapse(DAYS)
    bulk.work()
    assert searches(bulk, portraits, ids) == after
    with bulk.desk.database.transaction() as connection:
        former = face_models.get(connection, "1.0")
    bulk.assert_clean(model="2.0", other=former)
    assert "RollbackUntil" not in bulk.show()
    with pytest.raises(Conflict):
        bulk.reprocesses.rollback(bulk.account_id, PEOPLE)


def test_the_window_can_be_ended_and_the_next_reprocess_leads_back(bulk: Bulk, portraits: dict[str, bytes]) -> None:
    ids = bulk.index_four(portraits)
    with_users(bulk, ids)
    before = searches(bulk, portraits, ids)
    bulk.start()
    bulk.work()
    with pytest.raises(Conflict, match="finish"):
        bulk.reprocesses.start(bulk.account_id, PEOPLE, "1.0", "abort")
    bulk.reprocesses.finish(bulk.account_id, PEOPLE)
    bulk.elapse(MINUTES)
    bulk.work()
    bulk.reprocesses.start(bulk.account_id, PEOPLE, "1.0", "abort")
    bulk.work()
    assert searches(bulk, portraits, ids) == before


def test_faces_that_come_meanwhile_are_found_in_both_versions(bulk: Bulk, portraits: dict[str, bytes]) -> None:
    bulk.index(portraits["obama"], "obama")
    bulk.start()
    (during,) = bulk.index(portraits["obama2"], "during")
    assert {match["Face"]["FaceId"] for match in bulk.search(portraits["obama2"])["FaceMatches"]} >= {during}
    bulk.work()
    assert bulk.show()["Progress"]["Done"] == 1
    (after,) = bulk.index(portraits["obama3"], "after")
    assert {name for name, *_ in said(bulk.search(portraits["obama"]))} == {"obama", "during", "after"}
    bulk.reprocesses.rollback(bulk.account_id, PEOPLE)
    back = bulk.search(portraits["obama"])
    assert {(name, model) for name, _, model in said(back)} == {(n, "1.0") for n in ("obama", "during", "after")}
    bulk.elapse(MINUTES)
    bulk.work()
    assert bulk.search(portraits["obama"]) == back
    bulk.assert_clean(model="1.0", other=bulk.second)
    assert after in {match["Face"]["FaceId"] for match in back["FaceMatches"]}


def test_a_picture_that_was_looked_at_before_the_start_is_looked_at_again(
    bulk: Bulk, portraits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = bulk.runtime.engines
    original = engines.of
    versions: list[str] = []

    def of(version: FaceModelVersion) -> Any:
        versions.append(version.version)
        if len(versions) == 1:
            bulk.start()  # while the picture is looked at
        return original(version)

    monkeypatch.setattr(engines, "of", of)
    bulk.index(portraits["obama"], "obama")
    assert versions == ["1.0", "1.0", "2.0"]
    assert bulk.desk.attempts() == ["retried", "succeeded"]
    assert [row["model"] for row in bulk.rows(schema.face_embeddings)] == ["2.0"]


def test_a_search_that_meets_the_switch_looks_again(
    bulk: Bulk, portraits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk.index_four(portraits)
    bulk.start()
    engines = bulk.runtime.engines
    original = engines.of
    switched: list[bool] = []

    def of(version: FaceModelVersion) -> Any:
        if not switched:
            switched.append(True)
            bulk.work()
        return original(version)

    monkeypatch.setattr(engines, "of", of)
    answer = bulk.search(portraits["obama"], threshold=80.0)
    assert answer["FaceModelVersion"] == "2.0"
    assert {name for name, *_ in said(answer)} == {"obama", "obama2", "obama3"}
    assert bulk.desk.attempts()[-1] == "succeeded"


def test_a_source_is_fetched_again_and_a_group_only_once(
    bulk: Bulk, portraits: dict[str, bytes], group: bytes, pictures: PictureServer
) -> None:
    bulk.call("TagResource", ResourceArn=bulk.desk.account.caller.collection_arn(PEOPLE), Tags={TAG: "false"})
    bulk.index(pictures.put("obama", portraits["obama"]), "obama")
    assert len(bulk.index(pictures.put("group", group), "group")) == 3
    assert bulk.rows(schema.face_crops) == []
    pictures.asked.clear()
    bulk.start("abort")
    bulk.work()
    assert bulk.show()["Status"] == "SUCCEEDED"
    assert pictures.asked == ["/obama", "/group"]
    assert len(bulk.search(portraits["obama"], threshold=80.0)["FaceMatches"]) == 3


def test_an_object_of_s3_is_read_again(bulk: Bulk, portraits: dict[str, bytes], s3_server: S3Server) -> None:
    bulk.call("TagResource", ResourceArn=bulk.desk.account.caller.collection_arn(PEOPLE), Tags={TAG: "false"})
    store = s3_server.client()
    store.create_bucket(Bucket="reprocess")
    for name in ("obama", "biden"):
        store.put_object(Bucket="reprocess", Key=name, Body=portraits[name])
        image = {"S3Object": {"Bucket": "reprocess", "Name": name}}
        bulk.job("IndexFaces", image, ExternalImageId=name)
    store.delete_object(Bucket="reprocess", Key="biden")
    bulk.start()
    bulk.work()
    (failure,) = bulk.reprocesses.failures(bulk.account_id, PEOPLE, token=None, size=10)["Failures"]
    assert failure["Reason"] == "SOURCE_UNAVAILABLE"
    assert [name for name, *_ in said(bulk.search(portraits["obama2"]))] == ["obama"]
