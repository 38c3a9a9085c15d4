"""A reprocess: the move of a collection to another face model version, with the way back.

While it is IN_PROGRESS the former version is searched and new faces get both. At its end one transaction switches; from then on
the new version is searched, and for a while the former one is kept, so that the collection can go back at once.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.domain.face_models import VERSION_NAME
from app.domain.jobs import LEASE, iso
from app.errors import InvalidParameter, ValidationError


class Status(StrEnum):
    """Where a reprocess stands."""

    IN_PROGRESS = "IN_PROGRESS"  #: faces are being embedded
    SUCCEEDED = "SUCCEEDED"  #: the collection has the new version
    FAILED = "FAILED"  #: a face could not be embedded and the caller wanted all or nothing; or none could be
    CANCELED = "CANCELED"  #: the caller took it back
    ROLLED_BACK = "ROLLED_BACK"  #: the collection had the new version and went back


class Reason(StrEnum):
    """Why a face could not be embedded."""

    NO_SOURCE = "NO_SOURCE"  #: its picture came inline, and no crop was kept
    SOURCE_UNAVAILABLE = "SOURCE_UNAVAILABLE"  #: the S3 object or URL is not to be had
    SOURCE_CHANGED = "SOURCE_CHANGED"  #: it is another picture by now, with somebody else in that place
    INVALID_IMAGE = "INVALID_IMAGE"  #: it is no picture any more
    NO_MATCHING_FACE = "NO_MATCHING_FACE"  #: it shows no face where this one was
    CRASHED = "CRASHED"  #: three workers died of it


#: What happens when a face cannot be embedded: the whole reprocess is given up, or the face stays behind and is listed. The
#: first is the default, because it takes nothing from anybody.
ON_FAILURE = ("abort", "keep-out")

MEMBERS = frozenset({"FaceModelVersion", "OnFailure"})

#: Faces that a worker takes at once; a page takes it about a second, so interactive work waits for no longer.
PAGE_FACES = 16

#: A page that was not renewed for this long belongs to a dead worker. A heartbeat beside the work renews it, however long a
#: source takes to answer, so no more patience is needed than with a job.
PAGE_LEASE = LEASE

#: After these pauses a face whose source did not answer is tried again; then it has failed.
SOURCE_PAUSES = (timedelta(seconds=2), timedelta(seconds=10), timedelta(seconds=60))

#: A reprocess that no worker had the model for in so long has failed: meanwhile nothing can be indexed into its collection.
MODEL_PATIENCE = timedelta(minutes=5)

#: A face whose workers died this often is poison. Its page is taken face by face since the first death.
MAX_CRASHES = 3

#: The version that is searched no more is left alone for so long, because a search that began with it may still be at work.
GRACE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Failure:
    """A face that could not be embedded, and why."""

    face_no: int
    face_id: uuid.UUID
    reason: Reason
    message: str


def read_request(members: dict[str, Any]) -> tuple[str, str]:
    """Read the version to move to and what to do on failure; raises ValidationError."""
    version, on_failure = members.get("FaceModelVersion"), members.get("OnFailure", ON_FAILURE[0])
    if not isinstance(version, str) or not VERSION_NAME.fullmatch(version):
        raise ValidationError('FaceModelVersion must name a registered face model version, as "2.0".')
    if on_failure not in ON_FAILURE:
        raise ValidationError(f"OnFailure must be one of {', '.join(ON_FAILURE)}.")
    return version, on_failure


def check_target(version: str, present: str, *, known: bool) -> None:
    """Raise InvalidParameter unless a collection can move to a version."""
    if not known:
        raise InvalidParameter(f"The face model version {version} is not registered.")
    if version == present:
        raise InvalidParameter(f"The collection has face model version {version} already.")


@dataclass(frozen=True, slots=True)
class Reprocess:
    """A reprocess as stored, and when it was looked at."""

    reprocess_id: uuid.UUID
    account_id: int
    collection_id: int
    collection_name: str
    from_model: str
    to_model: str
    on_failure: str
    status: Status
    total: int
    done: int
    failed: int
    face_cursor: int
    user_cursor: int
    error: dict[str, Any] | None
    created_at: datetime
    stalled_at: datetime | None
    finished_at: datetime | None
    rolled_back_at: datetime | None
    keep_until: datetime | None
    cleaned_at: datetime | None
    seen_at: datetime

    @property
    def is_fruitless(self) -> bool:
        """Whether faces were to be embedded and not one could be: a switch would leave nothing that a search finds."""
        return self.failed > 0 and self.done == 0

    @property
    def is_stuck(self) -> bool:
        """Whether its model is missing for so long that nobody is about to bring it."""
        return self.stalled_at is not None and self.seen_at - self.stalled_at > MODEL_PATIENCE

    @property
    def can_roll_back(self) -> bool:
        """Whether the former version is still there."""
        return self.status is Status.SUCCEEDED and self.keep_until is not None and self.keep_until > self.seen_at

    @property
    def rate(self) -> float | None:
        """Faces per second so far."""
        seconds = ((self.finished_at or self.seen_at) - self.created_at).total_seconds()
        return (self.done + self.failed) / seconds if seconds > 0 else None


def document(reprocess: Reprocess) -> dict[str, Any]:
    """Render a reprocess as its GET and its event show it; absent members are left out."""
    running = reprocess.status is Status.IN_PROGRESS
    rate = reprocess.rate
    left = max(0, reprocess.total - reprocess.done - reprocess.failed)
    members = {
        "ReprocessId": str(reprocess.reprocess_id),
        "CollectionId": reprocess.collection_name,
        "Status": reprocess.status.value,
        "Done": not running,
        "FromFaceModelVersion": reprocess.from_model,
        "FaceModelVersion": reprocess.to_model,
        "OnFailure": reprocess.on_failure,
        "Progress": {"Done": reprocess.done, "Total": reprocess.total},
        "Failed": reprocess.failed,
        "RatePerSecond": None if rate is None else round(rate, 2),
        "EtaSeconds": round(left / rate) if running and rate else None,
        "Error": reprocess.error,
        "CreatedAt": iso(reprocess.created_at),
        "FinishedAt": iso(reprocess.finished_at),
        "RollbackUntil": iso(reprocess.keep_until) if reprocess.can_roll_back else None,
        "RolledBackAt": iso(reprocess.rolled_back_at),
        "Links": _links(reprocess),
    }
    return {name: value for name, value in members.items() if value is not None}


def _links(reprocess: Reprocess) -> dict[str, str]:
    here = f"/v1/collections/{reprocess.collection_name}/reprocess"
    links = {"Self": here, "Failures": f"{here}/failures"}
    if reprocess.status is Status.IN_PROGRESS:
        links["Cancel"] = f"{here}/cancel"
    if reprocess.can_roll_back:
        links |= {"Rollback": f"{here}/rollback", "Finish": f"{here}/finish"}
    return links
