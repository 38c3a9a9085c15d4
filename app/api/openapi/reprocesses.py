"""Moving a collection to another face model version, and its kept crops: routes, and what is taken and shown."""

from app import errors
from app.api.openapi import members as m
from app.api.openapi import vocabulary as words
from app.api.openapi.problems import WITH_BODY
from app.api.openapi.route import JSON, Answer, Route
from app.service_model.json_schema import Schema, reference

TAG = "Face models"

_REPROCESS, _CROPS = reference("Reprocess"), reference("Crops")
_NOT_FOUND = (errors.ResourceNotFound,)
_HERE = "/v1/collections/{CollectionId}"
_OF = ("OfCollection",)
_IDENTITY = "ReprocessId CollectionId FromFaceModelVersion FaceModelVersion"

ROUTES = [
    Route(
        f"POST {_HERE}/reprocess",
        "startReprocess",
        TAG,
        "Move a collection to another face model version",
        {202: Answer("It has begun.", _REPROCESS, ("Location",))},
        "The collection is searched with its present version until all faces have their embedding in the other one.",
        _OF,
        {JSON: reference("ReprocessStart")},
        (*_NOT_FOUND, errors.InvalidParameter, errors.Conflict),
    ),
    Route(
        f"GET {_HERE}/reprocess",
        "getReprocess",
        TAG,
        "Show the newest reprocess",
        {200: Answer("The reprocess as it stands, or as it ended.", _REPROCESS)},
        parameters=_OF,
        errors=_NOT_FOUND,
    ),
    Route(
        f"GET {_HERE}/reprocess/failures",
        "listReprocessFailures",
        TAG,
        "List faces that could not be embedded",
        {200: Answer("One page, in the order in which the faces were indexed.", reference("ReprocessFailurePage"))},
        parameters=(*_OF, "MaxResults", "NextToken"),
        errors=(*_NOT_FOUND, errors.InvalidPaginationToken),
    ),
    Route(
        f"POST {_HERE}/reprocess/cancel",
        "cancelReprocess",
        TAG,
        "Give a running reprocess up",
        {200: Answer("The collection is as it was; one that had ended is shown as it is.", _REPROCESS)},
        parameters=_OF,
        errors=(*_NOT_FOUND, *WITH_BODY),
    ),
    Route(
        f"POST {_HERE}/reprocess/rollback",
        "rollBackReprocess",
        TAG,
        "Go back to the former version",
        {200: Answer("Searches use the former version again.", _REPROCESS)},
        "At once, until `RollbackUntil`. Faces that were indexed meanwhile are there too.",
        _OF,
        errors=(*_NOT_FOUND, *WITH_BODY, errors.Conflict),
    ),
    Route(
        f"POST {_HERE}/reprocess/finish",
        "finishReprocess",
        TAG,
        "Keep the former version no longer",
        {200: Answer("It is removed within minutes.", _REPROCESS)},
        parameters=_OF,
        errors=(*_NOT_FOUND, *WITH_BODY, errors.Conflict),
    ),
    Route(
        f"GET {_HERE}/crops",
        "getCrops",
        TAG,
        "Tell whether crops are kept",
        {200: Answer("Whether those of new faces are, and how many are there.", _CROPS)},
        parameters=_OF,
        errors=_NOT_FOUND,
    ),
    Route(
        f"PUT {_HERE}/crops",
        "keepCrops",
        TAG,
        "Say whether crops of new faces are kept",
        {200: Answer("As it is now; those that are there stay.", _CROPS)},
        "Sets the tag `rekollect:keep-crops`.",
        _OF,
        {JSON: reference("CropsChange")},
        _NOT_FOUND,
    ),
    Route(
        f"DELETE {_HERE}/crops",
        "deleteCrops",
        TAG,
        "Delete crops of a collection",
        {200: Answer("How many were deleted, and how many are left.", reference("CropsDeleted"))},
        "A call deletes up to 10,000; repeat it until none is left.",
        parameters=_OF,
        errors=_NOT_FOUND,
    ),
]


def schemas() -> dict[str, Schema]:
    """Give the schemas of reprocesses and crops."""
    version = m.said(m.text(), "The name of a face model version.")
    keep = m.said(m.FLAG, "Whether crops of new faces are kept.")
    return {
        "ReprocessStart": m.taken(
            "FaceModelVersion",
            FaceModelVersion=m.said(m.text(pattern=f"^{words.VERSION_NAME}$"), "A registered face model version."),
            OnFailure=m.said(
                m.one_of(words.ON_FAILURE),
                "Where a face cannot be embedded: abort (the default): nothing changes; keep-out: it stays, and is found no "
                "more, unless that is all of them: then nothing changes either.",
            ),
        ),
        "Reprocess": m.answered(
            f"{_IDENTITY} Status Done OnFailure Progress Failed CreatedAt Links",
            ReprocessId=m.ID,
            CollectionId=m.text(),
            Status=m.one_of(words.REPROCESS_STATUSES),
            Done=m.said(m.FLAG, "Whether it has ended."),
            FromFaceModelVersion=version,
            FaceModelVersion=version,
            OnFailure=m.one_of(words.ON_FAILURE),
            Progress=m.answered("Done Total", Done=m.whole(), Total=m.whole()),
            Failed=m.whole(),
            RatePerSecond={"type": "number", "minimum": 0},
            EtaSeconds=m.whole(),
            Error=m.answered("Code Message Retryable", Code=m.text(), Message=m.text(), Retryable=m.FLAG),
            CreatedAt=m.MOMENT,
            FinishedAt=m.MOMENT,
            RollbackUntil=m.said(m.MOMENT, "Until then the former version is kept, and new faces get both."),
            RolledBackAt=m.MOMENT,
            Links=m.answered(
                "Self Failures", Self=m.PATH, Failures=m.PATH, Cancel=m.PATH, Rollback=m.PATH, Finish=m.PATH
            ),
        ),
        "ReprocessFailure": m.answered(
            "FaceId Reason Message FailedAt",
            FaceId=m.ID,
            Reason=m.one_of(words.FAILURE_REASONS),
            Message=m.text(),
            FailedAt=m.MOMENT,
        ),
        "ReprocessFailurePage": m.answered(
            "Failures",
            Failures=m.list_of(reference("ReprocessFailure")),
            NextToken=m.said(m.text(), "Asks for the next page; absent on the last one."),
        ),
        "Crops": m.answered("CollectionId KeepCrops Crops", CollectionId=m.text(), KeepCrops=keep, Crops=m.whole()),
        "CropsChange": m.taken("KeepCrops", KeepCrops=keep),
        "CropsDeleted": m.answered("Deleted Left", Deleted=m.whole(), Left=m.whole()),
    }
