"""A worker's piece of a reprocess: one page of faces, or the next step of what needs no pictures.

A face's pixels come from its kept crop; else its source is fetched again, and the face is the one at the stored box. A source
that is not the same file any more must show the same person there, as the former version tells.
"""

import json
import logging
import time
import uuid
from typing import Any

from app.assets import AssetError
from app.db.session import Row
from app.domain import embeddings, images
from app.domain.face_models import FaceModelVersion
from app.domain.faces import BoundingBox, DetectedFace, iou
from app.domain.jobs import Company, Lane
from app.domain.reprocesses import Failure, Reason
from app.errors import ServiceError
from app.failpoints import failpoint
from app.services import reembedding
from app.services.reembedding import Outcome, Page
from workers.fetch import may_come_back
from workers.jobs.image import identify
from workers.runtime import Runtime
from workers.vision.crops import decode
from workers.vision.sessions import ModelError

log = logging.getLogger(__name__)

#: Two boxes that overlap more than this are the same face.
_SAME_FACE_IOU = 0.5

#: The least similarity, in the former version, of a face whose source has changed. Strangers reach it once in 30,000 pairs.
_SAME_PERSON_SIMILARITY = 90.0


class Lost(Exception):
    """The page belongs to another worker by now."""


class Unusable(Exception):
    """A face cannot be embedded; `passes` says whether it may be possible later."""

    def __init__(self, reason: Reason, message: str, *, passes: bool = False) -> None:
        super().__init__(message)
        self.reason, self.message, self.passes = reason, message, passes


def step(runtime: Runtime, *, ring: bool = False) -> bool:
    """Do the next piece of a reprocess; False where there was nothing to do.

    `ring` has another thread look for work, where there was some.
    """
    return runtime.places.run(lambda company: _step(runtime, company, ring=ring))


def _step(runtime: Runtime, company: Company, *, ring: bool) -> bool | Company:
    work = runtime.reembedding.take(company)
    if isinstance(work, Company):
        return work
    if work is not None and ring:
        runtime.doorbell.ring(Lane.BULK)
    if isinstance(work, Page):
        failpoint("after_page_take")
        with runtime.page_heartbeat.hold(work):
            return _embed_and_store(work, runtime)
    if work is not None:
        runtime.reembedding.advance(work)
    return work is not None


def _embed_and_store(page: Page, runtime: Runtime) -> bool:
    began = time.monotonic()
    try:
        outcome = embed(page, runtime)
    except (AssetError, ModelError) as error:
        log.error("face_model_missing", extra={"version": page.version.version, "reason": str(error)})
        runtime.reembedding.release(page)
        return False
    except Lost:
        return True
    stored = runtime.reembedding.store(page, outcome)
    milliseconds = round((time.monotonic() - began) * 1000)
    fields = {"reprocess_id": str(page.reprocess.reprocess_id), "milliseconds": milliseconds, "stored": stored}
    counts = {"embedded": len(outcome.embedded), "failed": len(outcome.failures), "postponed": len(outcome.postponed)}
    log.info("faces_reembedded", extra={**fields, **counts})
    return True


def embed(page: Page, runtime: Runtime) -> Outcome:
    """Embed the faces of a page that is held; raises Lost."""
    outcome, heartbeat = Outcome(), runtime.page_heartbeat
    looks = _Looks(page, runtime)
    if page.faces and reembedding.is_poison(page):
        outcome.failures.append(_failure(page.faces[0], Unusable(Reason.CRASHED, "Three workers died of this face.")))
        return outcome
    for face in page.faces:
        heartbeat.advance(page)
        if heartbeat.is_stopped(page):
            raise Lost
        if runtime.stopping.is_set() or runtime.places.are_awaited:
            outcome.cut_short = True
            break
        try:
            outcome.embedded[face.face_no] = _embedding(face, page, looks, runtime)
        except Unusable as error:
            (outcome.postponed if error.passes else outcome.failures).append(_failure(face, error))
    return outcome


def _failure(face: Row, error: Unusable) -> Failure:
    return Failure(face.face_no, face.face_id, error.reason, error.message)


def _embedding(face: Row, page: Page, looks: "_Looks", runtime: Runtime) -> bytes:
    if face.model == page.version.version:  # it stayed behind when the collection left this version
        return bytes(face.emb32)
    crop = page.crops.get(face.face_no)
    if crop is not None:
        return _embed(decode(crop), page.version, runtime)
    if face.source is None:
        raise Unusable(Reason.NO_SOURCE, "The picture came inline, and no crop of the face was kept.")
    return looks.find(face).embedding


def _embed(crop: bytes, version: FaceModelVersion, runtime: Runtime) -> bytes:
    with runtime.cores.turn(Lane.BULK):
        return runtime.engines.of(version).embed([crop])[0]


class _Looks:
    """The sources that were looked at for one page: a group photo is fetched once for all of its faces in the page."""

    def __init__(self, page: Page, runtime: Runtime) -> None:
        self._page, self._runtime = page, runtime
        self._seen: dict[str, tuple[uuid.UUID, list[DetectedFace]] | Unusable] = {}

    def find(self, face: Row) -> DetectedFace:
        """Find a face in its source again, or raise Unusable."""
        seen = self._look(face.source)
        if isinstance(seen, Unusable):
            raise seen
        image_id, detected = seen
        stored = BoundingBox(*face.bbox)
        best = max(detected, key=lambda one: iou(one.box, stored), default=None)
        if best is None or iou(best.box, stored) <= _SAME_FACE_IOU:
            raise Unusable(Reason.NO_MATCHING_FACE, "The source shows no face where this one was.")
        if image_id != face.image_id and not self._is_same_person(face, best):
            raise Unusable(
                Reason.SOURCE_CHANGED, "The source is another picture by now, with another face in this place."
            )
        return best

    def _is_same_person(self, face: Row, found: DetectedFace) -> bool:
        former = self._page.former
        if face.model != former.version:  # nothing to compare with
            return False
        embedding = _embed(found.crop, former, self._runtime)
        cosine = embeddings.cosine(embedding, bytes(face.emb32))
        return cosine >= former.curve.cosine(_SAME_PERSON_SIMILARITY)

    def _look(self, source: dict[str, Any]) -> tuple[uuid.UUID, list[DetectedFace]] | Unusable:
        key = json.dumps(source, sort_keys=True)
        if key not in self._seen:
            self._seen[key] = self._look_once(source)
        return self._seen[key]

    def _look_once(self, source: dict[str, Any]) -> tuple[uuid.UUID, list[DetectedFace]] | Unusable:
        try:
            content = self._runtime.fetcher.fetch(images.reference(source), read_blob=_no_blob)
        except ServiceError as error:
            return Unusable(Reason.SOURCE_UNAVAILABLE, error.message, passes=may_come_back(error))
        try:
            with self._runtime.cores.turn(Lane.BULK):
                return identify(content), self._runtime.engines.of(self._page.version).analyze(content)
        except ServiceError as error:
            return Unusable(Reason.INVALID_IMAGE, error.message)


def _no_blob(name: str) -> bytes:
    raise LookupError(f"a stored source is never inline, but this one is: {name}")
