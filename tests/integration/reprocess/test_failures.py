"""What cannot be embedded, who dies of it, and what is left: a reprocess ends as its caller said, whatever happens."""

import json
import time
import uuid
from collections.abc import Callable
from datetime import timedelta

import cv2
import numpy as np
import pytest
import redis
import sqlalchemy as sa

from app.assets import AssetError
from app.db import schema, search_tables
from app.domain.crops import TAG
from app.domain.face_models import VERSION_1, FaceModelVersion
from app.domain.jobs import HEARTBEAT, Company
from app.domain.reprocesses import MAX_CRASHES, MODEL_PATIENCE, PAGE_LEASE, SOURCE_PAUSES
from app.errors import Conflict, InvalidParameter, ReprocessNotFound
from app.services.crops import Crops
from app.services.reembedding import Outcome, Page
from tests.bulk import PEOPLE, Bulk
from tests.factories import make_endpoint
from tests.picture_server import PictureServer
from tests.vision.pictures import jpeg, side_by_side
from workers.bulk import reprocess
from workers.vision.arrays import Pixels
from workers.vision.engine import FaceEngine

pytestmark = pytest.mark.models

LEASE_OVER = PAGE_LEASE + timedelta(seconds=1)


@pytest.fixture
def bare(bulk: Bulk) -> Bulk:
    """A collection that keeps no crops."""
    arn = bulk.desk.account.caller.collection_arn(PEOPLE)
    bulk.call("TagResource", ResourceArn=arn, Tags={TAG: "false"})
    return bulk


@pytest.fixture
def kept(bare: Bulk, portraits: dict[str, bytes], pictures: PictureServer) -> Bulk:
    """The same with a face that can be embedded anew, so that a reprocess is not given up."""
    bare.index(pictures.put("kept", portraits["biden"]), "kept")
    return bare


def embed(page: Page, bulk: Bulk) -> Outcome:
    with bulk.runtime.page_heartbeat.hold(page):
        return reprocess.embed(page, bulk.runtime)


def reasons(bulk: Bulk) -> list[tuple[str, str]]:
    shown = bulk.reprocesses.failures(bulk.account_id, PEOPLE, token=None, size=100)["Failures"]
    return [(failure["FaceId"], failure["Reason"]) for failure in shown]


def test_a_face_without_source_stays_behind_and_is_listed(kept: Bulk, portraits: dict[str, bytes]) -> None:
    bare = kept
    ids = bare.index_four(portraits)
    bare.call("CreateUser", CollectionId=PEOPLE, UserId="44th")
    bare.call("AssociateFaces", CollectionId=PEOPLE, UserId="44th", FaceIds=[ids["obama"]])
    before = bare.search(portraits["obama"])
    bare.start("keep-out")
    bare.work()
    shown = bare.show()
    assert (shown["Status"], shown["Progress"]["Done"], shown["Failed"]) == ("SUCCEEDED", 1, 4)
    assert sorted(reasons(bare)) == sorted((face_id, "NO_SOURCE") for face_id in ids.values())
    assert [m["Face"]["ExternalImageId"] for m in bare.search(portraits["obama"])["FaceMatches"]] == ["kept"]
    assert bare.call("SearchFaces", CollectionId=PEOPLE, FaceId=ids["obama"])["FaceMatches"] == []
    assert bare.call("SearchUsers", CollectionId=PEOPLE, UserId="44th")["UserMatches"] == []
    listed = bare.call("ListFaces", CollectionId=PEOPLE)
    assert listed["FaceModelVersion"] == "2.0"
    assert {face["FaceId"] for face in listed["Faces"] if face["IndexFacesModelVersion"] == "1.0"} == set(ids.values())
    bare.reprocesses.rollback(bare.account_id, PEOPLE)
    assert bare.search(portraits["obama"]) == before


def test_a_reprocess_that_could_embed_nothing_switches_nothing(bare: Bulk, portraits: dict[str, bytes]) -> None:
    ids = bare.index_four(portraits)
    before = bare.search(portraits["obama"])
    bare.start("keep-out")
    bare.work()
    shown = bare.show()
    assert (shown["Status"], shown["Failed"], shown["Error"]["Code"]) == ("FAILED", 4, "NOTHING_EMBEDDED")
    assert sorted(reasons(bare)) == sorted((face_id, "NO_SOURCE") for face_id in ids.values())
    assert bare.search(portraits["obama"]) == before
    bare.assert_clean(model="1.0", other=bare.second)


@pytest.mark.parametrize("cleaned", [False, True])
def test_who_stayed_behind_is_found_again_when_the_picture_comes_again(
    kept: Bulk, portraits: dict[str, bytes], cleaned: bool
) -> None:
    (face_id,) = kept.index(portraits["obama"], "obama")
    kept.start()
    kept.work()
    if cleaned:
        kept.elapse(timedelta(days=8))
        kept.work()
    assert kept.search(portraits["obama"], threshold=80.0)["FaceMatches"] == []
    assert kept.index(portraits["obama"], "obama") == [face_id]
    (match,) = kept.search(portraits["obama"], threshold=80.0)["FaceMatches"]
    assert (match["Face"]["FaceId"], match["Face"]["IndexFacesModelVersion"]) == (face_id, "2.0")
    assert match["Similarity"] == pytest.approx(100, abs=1e-3)
    kept.elapse(timedelta(days=8))
    kept.work()
    kept.assert_clean(model="2.0", other=VERSION_1)
    assert kept.search(portraits["obama"], threshold=80.0)["FaceMatches"] == [match]


@pytest.mark.parametrize("cleaned", [False, True])
def test_who_stayed_behind_stands_for_its_user_again_when_the_picture_comes_again(
    kept: Bulk, portraits: dict[str, bytes], cleaned: bool
) -> None:
    (face_id,) = kept.index(portraits["obama"], "obama")
    kept.call("CreateUser", CollectionId=PEOPLE, UserId="44th")
    kept.call("AssociateFaces", CollectionId=PEOPLE, UserId="44th", FaceIds=[face_id])
    kept.start()
    kept.work()
    if cleaned:
        kept.elapse(timedelta(days=8))
        kept.work()

    def matches() -> list[str]:
        result = kept.job("SearchUsersByImage", {"Bytes": portraits["obama2"]}).result
        assert result is not None
        return [match["User"]["UserId"] for match in result["UserMatches"]]

    assert (matches(), len(reasons(kept))) == ([], 1)
    kept.index(portraits["obama"], "obama")
    assert (matches(), reasons(kept)) == (["44th"], [])


def test_who_stayed_behind_in_one_version_may_come_along_into_the_next(
    kept: Bulk, portraits: dict[str, bytes], pictures: PictureServer, third: FaceModelVersion
) -> None:
    url = pictures.put("obama", portraits["obama"])
    (face_id,) = kept.index(url, "obama")
    pictures.put("obama", 404)
    kept.start()
    kept.work()
    kept.elapse(timedelta(days=8))
    kept.work()
    assert reasons(kept) == [(face_id, "SOURCE_UNAVAILABLE")]
    pictures.put("obama", portraits["obama"])
    kept.reprocesses.start(kept.account_id, PEOPLE, third.version, "abort")
    kept.work()
    kept.elapse(timedelta(days=8))
    kept.work()
    (match,) = kept.search(portraits["obama"], threshold=80.0)["FaceMatches"]
    assert match["Face"]["IndexFacesModelVersion"] == third.version
    kept.assert_clean(model=third.version, other=kept.second)


def test_who_stayed_behind_is_found_again_after_the_way_back(kept: Bulk, portraits: dict[str, bytes]) -> None:
    ids = kept.index_four(portraits)
    before = kept.search(portraits["obama"])
    kept.start()
    kept.work()
    kept.elapse(timedelta(days=8))
    kept.work()
    assert kept.collection().other_model is None
    kept.call("AssociateFaces", CollectionId=PEOPLE, UserId=new_user(kept), FaceIds=list(ids.values()))
    kept.reprocesses.start(kept.account_id, PEOPLE, "1.0", "abort")
    kept.work()
    assert kept.show()["Status"] == "SUCCEEDED"
    assert [m["Similarity"] for m in kept.search(portraits["obama"])["FaceMatches"]] == [
        m["Similarity"] for m in before["FaceMatches"]
    ]


def new_user(bulk: Bulk) -> str:
    bulk.call("CreateUser", CollectionId=PEOPLE, UserId="everybody")
    return "everybody"


def test_abort_leaves_everything_as_it_was(bare: Bulk, portraits: dict[str, bytes], pictures: PictureServer) -> None:
    bare.index(pictures.put("obama", portraits["obama"]), "obama")
    (without,) = bare.index(portraits["biden"], "biden")
    before = bare.search(portraits["obama"])
    bare.start("abort")
    bare.work()
    shown = bare.show()
    assert (shown["Status"], shown["Done"], shown["Error"]["Code"]) == ("FAILED", True, "NO_SOURCE")
    assert reasons(bare) == [(without, "NO_SOURCE")]
    assert bare.search(portraits["obama"]) == before
    bare.assert_clean(model="1.0", other=bare.second)
    bare.start("keep-out")  # and nothing is in the way of another try


def test_a_source_that_does_not_answer_is_tried_again(
    bare: Bulk, portraits: dict[str, bytes], pictures: PictureServer
) -> None:
    url = pictures.put("obama", portraits["obama"])
    bare.index(url, "obama")
    pictures.put("obama", 503)
    bare.start("abort")
    bare.work()
    assert bare.show()["Status"] == "IN_PROGRESS"
    pictures.put("obama", portraits["obama"])
    bare.elapse(SOURCE_PAUSES[0])
    bare.work()
    assert bare.show()["Status"] == "SUCCEEDED"


def test_a_source_that_never_answers_has_failed_in_the_end(
    kept: Bulk, portraits: dict[str, bytes], pictures: PictureServer
) -> None:
    (face_id,) = kept.index(pictures.put("obama", portraits["obama"]), "obama")
    pictures.put("obama", 503)
    kept.start()
    for pause in (timedelta(), *SOURCE_PAUSES):
        assert reasons(kept) == []
        kept.elapse(pause)
        kept.work()
    assert reasons(kept) == [(face_id, "SOURCE_UNAVAILABLE")]
    assert kept.show()["Status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        ("gone", "SOURCE_UNAVAILABLE"),
        ("stranger", "SOURCE_CHANGED"),
        ("text", "INVALID_IMAGE"),
        ("smaller", "NO_MATCHING_FACE"),
    ],
)
def test_a_source_that_is_another_one_by_now_is_told(
    bare: Bulk, portraits: dict[str, bytes], pictures: PictureServer, now: str, reason: str
) -> None:
    (face_id,) = bare.index(pictures.put("obama", portraits["obama"]), "obama")
    stranger = in_place_of(bare, portraits["biden"], portraits["obama"])
    smaller = side_by_side(portraits["obama"], portraits["biden"], heights=(200, 1100))
    pictures.put("obama", {"gone": 404, "stranger": stranger, "text": b"no picture", "smaller": smaller}[now])
    bare.start()
    bare.work()
    assert reasons(bare) == [(face_id, reason)]


def in_place_of(bulk: Bulk, image: bytes, other: bytes) -> bytes:
    """Move a picture so that its face is where another picture has its own."""
    engine = bulk.runtime.engines.of(VERSION_1)
    (face,), (place,) = engine.analyze(image), engine.analyze(other)
    pixels, target = decode(image), decode(other)
    (height, width), (tall, wide) = pixels.shape[:2], target.shape[:2]
    scale = place.box.width * wide / (face.box.width * width)
    x, y = place.box.left * wide - scale * face.box.left * width, place.box.top * tall - scale * face.box.top * height
    return jpeg(np.asarray(cv2.warpAffine(pixels, np.array([[scale, 0, x], [0, scale, y]]), (wide, tall)), np.uint8))


def decode(image: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def test_the_same_picture_in_another_file_is_taken(
    bare: Bulk, portraits: dict[str, bytes], pictures: PictureServer
) -> None:
    bare.index(pictures.put("obama", portraits["obama"]), "obama")
    pictures.put("obama", jpeg(decode(portraits["obama"]), cv2.IMWRITE_JPEG_QUALITY, 80))
    bare.start("abort")
    bare.work()
    assert bare.show()["Status"] == "SUCCEEDED"


def test_the_end_is_told_once(bulk: Bulk, portraits: dict[str, bytes], bells: redis.Redis) -> None:
    make_endpoint(bulk.desk.database, bulk.desk.account)
    bulk.desk.change(sa.delete(schema.events))
    bulk.index_four(portraits)
    bulk.start()
    bulk.work()
    shown = bulk.show()
    bulk.reprocesses.rollback(bulk.account_id, PEOPLE)
    (event,) = (event for event in bulk.desk.rows(schema.events) if event["type"] == "reprocess.completed")
    message = json.loads(bytes(event["body"]))
    changing = ("RatePerSecond",)
    assert {k: v for k, v in message["data"].items() if k not in changing} == {
        k: v for k, v in shown.items() if k not in changing
    }
    assert bells.llen("webhooks") >= 1


def test_a_canceled_reprocess_leaves_nothing(bulk: Bulk, portraits: dict[str, bytes]) -> None:
    bulk.index_four(portraits)
    before = bulk.search(portraits["obama"])
    bulk.start()
    page = bulk.runtime.reembedding.take()
    assert isinstance(page, Page)
    assert bulk.reprocesses.cancel(bulk.account_id, PEOPLE)["Status"] == "CANCELED"
    assert not bulk.runtime.reembedding.store(page, embed(page, bulk))
    bulk.work()
    assert bulk.search(portraits["obama"]) == before
    bulk.assert_clean(model="1.0", other=bulk.second)
    assert bulk.reprocesses.cancel(bulk.account_id, PEOPLE)["Status"] == "CANCELED"


def test_a_page_of_a_dead_worker_is_taken_by_another_and_its_ghost_stores_nothing(
    bulk: Bulk, portraits: dict[str, bytes]
) -> None:
    bulk.index_four(portraits)
    bulk.start()
    ghost = bulk.runtime.reembedding.take()
    assert isinstance(ghost, Page)
    assert bulk.runtime.reembedding.take() is None
    bulk.elapse(LEASE_OVER)
    bulk.work()
    assert not bulk.runtime.reembedding.store(ghost, embed(ghost, bulk))
    assert bulk.runtime.reembedding.renew([ghost]) == {ghost.key}
    shown = bulk.show()
    assert (shown["Status"], shown["Progress"]["Done"]) == ("SUCCEEDED", 4)
    assert len(bulk.rows(schema.face_embeddings)) == 4


def once(bulk: Bulk, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have something happen while the first face is embedded."""
    original = bulk.runtime.engines.of
    acts = [act]

    def of(version: FaceModelVersion) -> FaceEngine:
        if acts:
            acts.pop()()
        return original(version)

    monkeypatch.setattr(bulk.runtime.engines, "of", of)


def test_a_page_is_kept_however_long_its_worker_is_at_a_face(
    bulk: Bulk, portraits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk.index_four(portraits)
    bulk.start()
    taken: list[object] = []

    def wait() -> None:
        bulk.elapse(LEASE_OVER)
        time.sleep(1.5 * HEARTBEAT.total_seconds())
        taken.append(bulk.runtime.reembedding.take(Company.ALONE))

    once(bulk, monkeypatch, wait)
    assert bulk.step()
    assert taken == [None]
    bulk.work()
    assert (bulk.show()["Status"], bulk.show()["Progress"]["Done"]) == ("SUCCEEDED", 4)


def test_a_worker_that_lost_its_page_embeds_no_more_of_it(
    bulk: Bulk, portraits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk.index_four(portraits)
    bulk.start()
    heir: list[object] = []

    def freeze() -> None:  # meanwhile another one takes the page, and the next beat notices
        bulk.elapse(LEASE_OVER)
        heir.append(bulk.runtime.reembedding.take(Company.ALONE))
        heart = bulk.runtime.page_heartbeat
        heart._stopped = heart._renew(list(heart._held.values()))

    once(bulk, monkeypatch, freeze)
    assert bulk.step()
    assert isinstance(heir[0], Page)
    assert bulk.rows(schema.face_embeddings) == []


def test_a_reprocess_whose_pages_are_all_taken_holds_up_no_other(
    bulk: Bulk, portraits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.reembedding.PAGE_FACES", 1)
    bulk.index(portraits["obama"], "obama")
    bulk.call("CreateCollection", CollectionId="others", Tags={TAG: "true"})
    for name in ("obama", "biden"):
        bulk.index(portraits[name], name, "others")
    bulk.start()
    bulk.reprocesses.start(bulk.account_id, "others", bulk.second.version, "abort")
    taken = [bulk.runtime.reembedding.take() for _ in range(3)]
    names = [page.reprocess.collection_name for page in taken if isinstance(page, Page)]
    assert names == [PEOPLE, "others", "others"]
    assert bulk.runtime.reembedding.take() is None


def test_a_face_that_kills_its_workers_is_given_up_alone(bulk: Bulk, portraits: dict[str, bytes]) -> None:
    ids = bulk.index_four(portraits)
    bulk.start()
    assert isinstance(bulk.runtime.reembedding.take(), Page)  # and its worker dies
    for _ in range(MAX_CRASHES - 1):
        bulk.elapse(LEASE_OVER)
        assert bulk.runtime.reembedding.take() is Company.ALONE
        page = bulk.runtime.reembedding.take(Company.ALONE)
        assert isinstance(page, Page)
        assert [str(face.face_id) for face in page.faces] == [ids["obama"]]
    bulk.elapse(LEASE_OVER)
    bulk.work()
    assert reasons(bulk) == [(ids["obama"], "CRASHED")]
    assert bulk.show()["Progress"]["Done"] == 3


def test_a_worker_that_stops_gives_back_what_it_has_not_seen(bulk: Bulk, portraits: dict[str, bytes]) -> None:
    bulk.index_four(portraits)
    bulk.start()
    page = bulk.runtime.reembedding.take()
    assert isinstance(page, Page)
    bulk.runtime.stopping.set()
    outcome = embed(page, bulk)
    bulk.runtime.stopping.clear()
    assert bulk.runtime.reembedding.store(page, outcome)
    bulk.work()
    assert (bulk.show()["Status"], bulk.show()["Progress"]["Done"]) == ("SUCCEEDED", 4)


def test_faces_deleted_meanwhile_leave_no_embedding(bulk: Bulk, portraits: dict[str, bytes]) -> None:
    ids = bulk.index_four(portraits)
    bulk.start()
    page = bulk.runtime.reembedding.take()
    assert isinstance(page, Page)
    outcome = embed(page, bulk)
    bulk.call("DeleteFaces", CollectionId=PEOPLE, FaceIds=[ids["obama"]])
    assert bulk.runtime.reembedding.store(page, outcome)
    bulk.work()
    bulk.call("DeleteFaces", CollectionId=PEOPLE, FaceIds=[ids["obama2"]])
    for table in (schema.face_embeddings, schema.face_crops, search_tables.of_faces(bulk.second)):
        assert len(bulk.rows(table)) == 2
    assert len(bulk.rows(search_tables.of_faces(VERSION_1))) == 2


def test_a_deleted_collection_takes_everything_along(bulk: Bulk, portraits: dict[str, bytes]) -> None:
    bulk.index_four(portraits)
    bulk.call("AssociateFaces", CollectionId=PEOPLE, UserId=new_user(bulk), FaceIds=[])
    bulk.start()
    page = bulk.runtime.reembedding.take()
    assert isinstance(page, Page)
    number = bulk.collection().collection_id
    bulk.call("DeleteCollection", CollectionId=PEOPLE)
    assert not bulk.runtime.reembedding.store(page, Outcome({1: b""}))
    tables = (schema.faces, schema.face_embeddings, schema.user_embeddings, schema.face_crops, schema.reprocesses)
    searched = (search_tables.of_faces(bulk.second), search_tables.of_faces(VERSION_1))
    for table in (*tables, *searched, search_tables.of_users(bulk.second)):
        assert [row for row in bulk.desk.rows(table) if row["collection_id"] == number] == []
    assert bulk.desk.rows(schema.reprocess_pages) == []


def test_a_purge_of_crops_is_done_in_bounded_calls(
    bulk: Bulk, portraits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk.index_four(portraits)
    monkeypatch.setattr("app.services.crops._DELETED_AT_ONCE", 1)
    monkeypatch.setattr("app.services.crops._TRANSACTIONS", 3)
    crops = Crops(bulk.desk.database, default=False)
    calls = [crops.purge(bulk.account_id, PEOPLE) for _ in range(3)]
    assert calls == [{"Deleted": 3, "Left": 1}, {"Deleted": 1, "Left": 0}, {"Deleted": 0, "Left": 0}]


def test_what_cannot_be_begun_is_refused(bulk: Bulk) -> None:
    with pytest.raises(ReprocessNotFound):
        bulk.show()
    for version in ("1.0", "9.9"):
        with pytest.raises(InvalidParameter):
            bulk.reprocesses.start(bulk.account_id, PEOPLE, version, "abort")
    bulk.start()
    with pytest.raises(Conflict):
        bulk.start()
    with pytest.raises(Conflict):
        bulk.reprocesses.rollback(bulk.account_id, PEOPLE)


def test_an_empty_collection_switches_at_once(bulk: Bulk, portraits: dict[str, bytes]) -> None:
    bulk.start()
    bulk.work()
    assert bulk.show()["Status"] == "SUCCEEDED"
    bulk.index(portraits["obama"], str(uuid.uuid4()))
    assert len(bulk.search(portraits["obama2"], threshold=80.0)["FaceMatches"]) == 1


def missing(version: FaceModelVersion) -> None:
    raise AssetError(f"{version.embedder.name} is not on this machine.")


def test_a_worker_without_the_model_leaves_the_page_to_others(
    bulk: Bulk, portraits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk.index_four(portraits)
    bulk.start()
    monkeypatch.setattr(bulk.runtime.engines, "of", missing)
    assert not bulk.step()
    stalled = bulk.show()
    assert (stalled["Status"], stalled["Error"]["Code"]) == ("IN_PROGRESS", "MODEL_MISSING")
    assert stalled["Error"]["Retryable"]
    monkeypatch.undo()
    bulk.elapse(SOURCE_PAUSES[0])
    bulk.work()
    assert (bulk.show()["Status"], reasons(bulk)) == ("SUCCEEDED", [])
    assert "Error" not in bulk.show()


def test_a_model_that_no_worker_has_for_long_ends_the_reprocess(
    bulk: Bulk, portraits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk.index_four(portraits)
    before = bulk.search(portraits["obama"])
    bulk.start()
    monkeypatch.setattr(bulk.runtime.engines, "of", missing)
    for wait in (timedelta(), MODEL_PATIENCE - timedelta(minutes=1)):
        bulk.elapse(wait)
        assert not bulk.step()
        assert bulk.show()["Status"] == "IN_PROGRESS"
    bulk.elapse(timedelta(minutes=1))
    assert not bulk.step()
    bulk.work()
    shown = bulk.show()
    assert (shown["Status"], shown["Error"]["Code"], shown["Error"]["Retryable"]) == ("FAILED", "MODEL_MISSING", False)
    monkeypatch.undo()
    assert bulk.search(portraits["obama"]) == before
    bulk.assert_clean(model="1.0", other=bulk.second)
