"""The audit log's words: who acted, what a line says, and which acts there are beside the operations of the AWS wire.

A line names things by their ids and says how many an act touched. It holds nothing of what people look like: no picture, no
embedding, no FaceId, no metadata, no address and no secret.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.domain.jobs import Job, Status, iso

#: How an act ended that did what was asked; any other result is the code of an error.
OK = "OK"

#: The result of a job that its caller took back.
CANCELED = "Canceled"


class ActorKind(StrEnum):
    """What acted."""

    KEY = "KEY"  #: a caller of the API, with an access key
    SCHEDULE = "SCHEDULE"  #: a schedule that an account has set up
    OPERATOR = "OPERATOR"  #: a command on the database
    SYSTEM = "SYSTEM"  #: Rekollect itself, and callers of a version that kept no log


class Act(StrEnum):
    """What is written down beside the operations of the AWS wire; reads of settings are not."""

    GET_JOB = "GetJob"  #: read the result of a job
    CANCEL_JOB = "CancelJob"
    SUBMIT_BATCH = "SubmitBatch"
    GET_BATCH_RESULTS = "GetBatchResults"
    CANCEL_BATCH = "CancelBatch"
    PAUSE_BATCH = "PauseBatch"
    RESUME_BATCH = "ResumeBatch"
    START_REPROCESS = "StartReprocess"
    CANCEL_REPROCESS = "CancelReprocess"
    ROLL_BACK_REPROCESS = "RollBackReprocess"
    FINISH_REPROCESS = "FinishReprocess"
    END_REPROCESS = "EndReprocess"  #: the workers are done: switched, or not
    SET_SEARCH_MODE = "SetSearchMode"
    KEEP_CROPS = "KeepCrops"
    PURGE_CROPS = "PurgeCrops"
    CREATE_KEY = "CreateAccessKey"
    DISABLE_KEY = "DisableAccessKey"
    ENABLE_KEY = "EnableAccessKey"
    REVOKE_KEY = "RevokeAccessKey"
    SHOW_WEBHOOK_SECRET = "ShowWebhookSecret"  # noqa: S105 - the name of an act
    CREATE_ENDPOINT = "CreateWebhookEndpoint"
    UPDATE_ENDPOINT = "UpdateWebhookEndpoint"
    DELETE_ENDPOINT = "DeleteWebhookEndpoint"
    ENABLE_ENDPOINT = "EnableWebhookEndpoint"
    DISABLE_ENDPOINT = "DisableWebhookEndpoint"
    ROTATE_SECRET = "RotateWebhookSecret"  # noqa: S105 - the name of an act
    TEST_ENDPOINT = "TestWebhookEndpoint"
    REPLAY_DELIVERIES = "ReplayDeliveries"
    REDELIVER = "Redeliver"
    CREATE_SCHEDULE = "CreateSchedule"
    UPDATE_SCHEDULE = "UpdateSchedule"
    DELETE_SCHEDULE = "DeleteSchedule"
    RUN_SCHEDULE = "RunSchedule"
    READ_LOG = "ReadAuditLog"
    PURGE_JOBS = "PurgeJobs"  #: jobs past their retention are forgotten, of all accounts
    PURGE_BATCHES = "PurgeBatches"
    PURGE_LOG = "PurgeAuditLog"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acted, and by which request where there was one."""

    kind: ActorKind
    id: str | None = None  # of the access key or of the schedule
    source_address: str | None = None
    request_id: str | None = None

    def stored(self) -> dict[str, str]:
        """Give the form that a job or a batch keeps until it ends."""
        members = {"Kind": self.kind.value, "Id": self.id, "Address": self.source_address, "RequestId": self.request_id}
        return {name: value for name, value in members.items() if value is not None}


OPERATOR = Actor(ActorKind.OPERATOR)
SYSTEM = Actor(ActorKind.SYSTEM)


def read_actor(stored: Mapping[str, str] | None) -> Actor:
    """Read who submitted a job or a batch; older versions did not write it down."""
    if stored is None:
        return SYSTEM
    return Actor(ActorKind(stored["Kind"]), stored.get("Id"), stored.get("Address"), stored.get("RequestId"))


@dataclass(frozen=True, slots=True)
class Line:
    """What is to be written down of one act; without an account it concerns all of them."""

    account_id: int | None
    actor: Actor
    operation: str
    collection: str | None = None
    resources: Mapping[str, str] = field(default_factory=dict)
    result: str = OK
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which lines are wanted: from a moment on, and before another one."""

    collection: str | None = None
    operation: str | None = None
    access_key_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


#: The member of an operation's output that lists what it touched or gave away.
_TOUCHED = {
    "AssociateFaces": "AssociatedFaces",
    "CompareFaces": "FaceMatches",
    "DeleteFaces": "DeletedFaces",
    "DetectFaces": "FaceDetails",
    "DisassociateFaces": "DisassociatedFaces",
    "IndexFaces": "FaceRecords",
    "ListCollections": "CollectionIds",
    "ListFaces": "Faces",
    "ListUsers": "Users",
    "SearchFaces": "FaceMatches",
    "SearchFacesByImage": "FaceMatches",
    "SearchUsers": "UserMatches",
    "SearchUsersByImage": "UserMatches",
}


def touched(operation: str, output: Mapping[str, Any] | None) -> int | None:
    """Count what an operation touched or gave away; None where that is nothing to count."""
    member = _TOUCHED.get(operation)
    return None if member is None or output is None else len(output.get(member) or ())


def result_of(job: Job) -> str:
    """Say how a job ended."""
    if job.error is not None:
        return str(job.error["Code"])
    return OK if job.status is Status.SUCCEEDED else CANCELED


def least_id(moment: datetime) -> uuid.UUID:
    """Give the lowest id that a line of this moment can have: ids begin with their time, in milliseconds."""
    return uuid.UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def document(line: Mapping[str, Any]) -> dict[str, Any]:
    """Render a line as it is shown; absent members are left out."""
    members = {
        "AuditId": str(line["audit_id"]),
        "RecordedAt": iso(line["recorded_at"]),
        "Operation": line["operation"],
        "Actor": {"Kind": line["actor_kind"], **({} if line["actor"] is None else {"Id": line["actor"]})},
        "SourceAddress": line["source_address"],
        "RequestId": line["request_id"],
        "CollectionId": line["collection"],
        "Resources": line["resources"] or None,
        "Result": line["result"],
        "Count": line["count"],
    }
    return {name: value for name, value in members.items() if value is not None}
