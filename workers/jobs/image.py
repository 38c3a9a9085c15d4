"""An image of a job: fetched, identified by its content, and looked at."""

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

from app.db import jobs as rows
from app.domain import images
from app.domain.face_models import NEWEST, FaceModelVersion
from app.domain.faces import DetectedFace
from app.domain.jobs import Claim
from app.failpoints import failpoint
from workers.runtime import Runtime

#: ImageIds are name-based: the same bytes have the same id in every call, as at AWS.
_IMAGE_NAMESPACE = uuid.UUID("5f0c7c0e-8d0f-5c7e-9b57-3a1d1f6f2b11")


@dataclass(frozen=True, slots=True)
class SeenImage:
    """What is known of an image after a look: its id, its faces largest first, and where it can be had again."""

    image_id: uuid.UUID
    faces: list[DetectedFace]
    source: dict[str, Any] | None


def identify(content: bytes) -> uuid.UUID:
    """Give the ImageId of an image's bytes."""
    return uuid.uuid5(_IMAGE_NAMESPACE, hashlib.sha256(content).hexdigest())


def look(claim: Claim, member: str, runtime: Runtime, version: FaceModelVersion = NEWEST) -> SeenImage:
    """Fetch the image under a member of the job's input and find its faces. No transaction is open meanwhile."""
    described = claim.input[member]
    content = runtime.fetcher.fetch(images.reference(described), read_blob=lambda name: _blob(claim, name, runtime))
    runtime.heartbeat.check(claim)
    failpoint("mid_work")
    source = None if "Blob" in described else described
    with runtime.cores.turn(claim.lane):
        faces = runtime.engines.of(version).analyze(content)
    runtime.heartbeat.check(claim)
    return SeenImage(identify(content), faces, source)


def _blob(claim: Claim, name: str, runtime: Runtime) -> bytes:
    with runtime.database.statement() as connection:
        return rows.get_blob(connection, claim.job_id, name)
