"""Batches: their routes, what a submission holds, and what a batch and a line of its results show."""

from app import errors
from app.api.openapi import members as m
from app.api.openapi import vocabulary as words
from app.api.openapi.problems import WITH_BODY
from app.api.openapi.route import JSON, Answer, Route
from app.service_model import service_model
from app.service_model.json_schema import Schema, reference

TAG = "Batches"
BATCH = reference("Batch")
LINES = "application/x-ndjson"

_SUBMITTED = ("Location", "Retry-After", "Idempotency-Replayed")
_SUBMIT_DETAILS = (
    "The batch is committed when the answer is sent. As JSON Lines the first line holds `Operation` and `Defaults`, unless the "
    "query does, and each line after it is an item; a wrong line refuses the whole upload. What is listed from S3 is checked "
    "later: there a wrong line is an item that failed."
)
_HALT_DETAILS = "May be repeated. Items that run end first."
_STREAMED = ("Next-After", "Batch-Status")
_NOT_FOUND = (errors.BatchNotFound,)


def _act(verb: str, text: str, answers: dict[int, Answer], details: str = _HALT_DETAILS, *may: type) -> Route:
    path = f"POST /v1/batches/{{BatchId}}/{verb}"
    return Route(path, f"{verb}Batch", TAG, text, answers, details, ("BatchId",), {}, (*_NOT_FOUND, *may, *WITH_BODY))


def _streamed(what: str, name: str, text: str, details: str) -> Route:
    return Route(
        f"GET /v1/batches/{{BatchId}}/{what}",
        name,
        TAG,
        text,
        {
            200: Answer(
                "One `BatchLine` a line, in the order in which items ended.", {"type": "string"}, _STREAMED, LINES
            )
        },
        details,
        ("BatchId", "after", "MaxLines"),
        errors=_NOT_FOUND,
    )


ROUTES = [
    Route(
        "POST /v1/batches",
        "submitBatch",
        TAG,
        "Submit a batch",
        {202: Answer("Committed; or that of the first time, under a known idempotency key.", BATCH, _SUBMITTED)},
        _SUBMIT_DETAILS,
        ("BatchOperation", "Defaults", "Token", "Idempotency-Key"),
        {JSON: reference("BatchSubmission"), LINES: {"type": "string"}},
        (errors.InvalidParameter, errors.EndpointNotFound, errors.IdempotentParameterMismatch, errors.Conflict),
    ),
    Route(
        "GET /v1/batches",
        "listBatches",
        TAG,
        "List batches",
        {200: Answer("One page.", reference("BatchPage"))},
        parameters=("MaxResults", "NextToken"),
        errors=(errors.InvalidPaginationToken,),
    ),
    Route(
        "GET /v1/batches/{BatchId}",
        "getBatch",
        TAG,
        "Show a batch",
        {200: Answer("How far it is.", BATCH, ("Retry-After",))},
        "Branch on `Done`: statuses may be added.",
        ("BatchId",),
        errors=_NOT_FOUND,
    ),
    _streamed(
        "results",
        "getBatchResults",
        "Read what has ended",
        "Also while the batch runs: go on from `Next-After`. Whoever has read up to a number has missed nothing.",
    ),
    _streamed("failures", "getBatchFailures", "Read what failed", "The same lines, only of items that failed."),
    _act(
        "cancel",
        "Cancel a batch",
        {200: Answer("It has ended, now or before.", BATCH), 202: Answer("Its rest is being canceled.", BATCH)},
        "What has ended is kept; items that run end first. May be repeated.",
        errors.Conflict,
    ),
    _act("pause", "Pause a batch", {200: Answer("No further item is started.", BATCH)}, _HALT_DETAILS, errors.Conflict),
    _act(
        "resume",
        "Resume a batch",
        {200: Answer("Items are started again.", BATCH)},
        "May be repeated.",
        errors.Conflict,
    ),
    Route(
        "POST /v1/batches/{BatchId}/retry-failed",
        "retryBatch",
        TAG,
        "Submit what failed of a batch once more",
        {202: Answer("A new batch, whose `RetryOf` names the old one.", BATCH, _SUBMITTED)},
        "Of a batch that has ended.",
        ("BatchId", "Idempotency-Key"),
        errors=(*_NOT_FOUND, errors.Conflict, errors.IdempotentParameterMismatch, *WITH_BODY),
    ),
]

_ANY: Schema = {"type": "object"}
_KEY = m.text(1, 1024)


def _submissions() -> dict[str, Schema]:
    place = m.taken("Bucket Name", Bucket=_KEY, Name=_KEY, Version=_KEY)
    keys = "Every object under it, with its key for a CustomId and, made legal, for an ExternalImageId."
    return {
        "BatchOfItems": _from("Items", m.list_of(reference("BatchItem"), minItems=1, maxItems=words.MAX_INLINE_ITEMS)),
        "BatchOfManifest": _from("Manifest", m.taken("S3Object", "JSON Lines in S3, an item a line.", S3Object=place)),
        "BatchOfPrefix": _from(
            "S3Prefix",
            m.taken(
                "Bucket",
                keys,
                Bucket=_KEY,
                Prefix=m.text(0, 1024),
                ExternalImageIdFrom=m.one_of(words.EXTERNAL_ID_FROM),
            ),
        ),
    }


def _from(source: str, schema: Schema) -> Schema:
    return m.taken(
        f"Operation {source}",
        "One operation over many items.",
        Operation=m.one_of(words.BATCH_OPERATIONS),
        Defaults=m.said(_ANY, "Input that all items share; an item's own goes before."),
        Webhook=reference("JobWebhook"),
        ClientRequestToken=m.said(
            m.text(pattern=f"^{words.IDEMPOTENCY_KEY}$"), "The same as the header Idempotency-Key."
        ),
        Metadata=reference("JobMetadata"),
        **{source: schema},
    )


def _batch() -> Schema:
    counts = "Total Queued InProgress Succeeded Failed Canceled"
    links = "Results Failures Cancel Pause Resume RetryFailed"
    return m.answered(
        "BatchId Operation Status Done Counts Progress Source CreatedAt Links",
        BatchId=m.ID,
        Operation=m.one_of(words.BATCH_OPERATIONS),
        Status=m.one_of(words.BATCH_STATUSES),
        Done=m.said(m.FLAG, "Whether the batch has ended; nothing of it changes after that."),
        Counts=m.answered(counts, **dict.fromkeys(counts.split(), m.whole())),
        Progress=m.answered("Done Total", Done=m.whole(), Total=m.whole()),
        RatePerSecond={"type": "number", "minimum": 0, "description": "Items that ended in a second, of late."},
        EtaSeconds=m.said(m.whole(), "An estimate for the items that are known by now."),
        Source=m.said(_ANY, "Where its items come from."),
        Defaults=_ANY,
        Error=reference("JobError"),
        Metadata=reference("JobMetadata"),
        RetryOf=m.ID,
        CreatedAt=m.MOMENT,
        StartedAt=m.MOMENT,
        PausedAt=m.MOMENT,
        CancelRequestedAt=m.MOMENT,
        FinishedAt=m.MOMENT,
        ExpiresAt=m.said(m.MOMENT, "The batch and its results are deleted then."),
        Links=m.answered("Self", Self=m.PATH, **dict.fromkeys(links.split(), m.PATH)),
    )


def _line() -> Schema:
    outputs = [service_model().operation_model(name).output_shape.name for name in words.BATCH_OPERATIONS]
    return m.answered(
        "Item Status Cursor",
        Item=m.said(m.whole(1), "Which one it is, from 1 on, in the order of the source."),
        CustomId=_KEY,
        Status=m.one_of(["SUCCEEDED", "FAILED", "CANCELED"]),
        Result={"description": "The output of the operation.", "anyOf": [reference(name) for name in outputs]},
        Error=reference("JobError"),
        Attempt=m.whole(1),
        Cursor=m.said(m.whole(1), "Asks for what ended later, as `after`."),
    )


def schemas() -> dict[str, Schema]:
    """Give the schemas of batches."""
    submissions = _submissions()
    return {
        "BatchSubmission": {"oneOf": [reference(name) for name in submissions]},
        **submissions,
        "BatchItem": m.taken("", "One item.", CustomId=m.said(_KEY, "Unique in the batch."), Input=_ANY),
        "Batch": _batch(),
        "BatchLine": _line(),
        "BatchPage": m.page_of("Batches", "Batch"),
    }
