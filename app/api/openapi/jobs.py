"""Jobs: their routes, what a submission holds, and what a job shows."""

from typing import Any

from app import errors
from app.api.openapi import members as m
from app.api.openapi import vocabulary as words
from app.api.openapi.route import JSON, Answer, Route
from app.domain.images import IMAGE_MEMBERS
from app.service_model import service_model
from app.service_model.json_schema import Schema, reference

TAG = "Jobs"
JOB = reference("Job")

_WAITED = ("Location", "Retry-After", "ETag", "Idempotency-Replayed", "Preference-Applied")
_SUBMIT_DETAILS = (
    "The job is committed when the answer is sent. As multipart/form-data a picture is a file named like the member of the "
    "input, beside the fields `Operation` and `Input` (JSON)."
)

ROUTES = [
    Route(
        "POST /v1/jobs",
        "submitJob",
        TAG,
        "Submit a job",
        {
            202: Answer("Committed; it runs, or waits for a worker.", JOB, _WAITED),
            200: Answer("Done: within the wait that was preferred, or under a known idempotency key.", JOB, _WAITED),
        },
        _SUBMIT_DETAILS,
        ("Idempotency-Key", "Prefer"),
        {JSON: reference("JobSubmission"), "multipart/form-data": reference("JobForm")},
        (errors.InvalidParameter, errors.EndpointNotFound, errors.IdempotentParameterMismatch),
    ),
    Route(
        "GET /v1/jobs",
        "listJobs",
        TAG,
        "List jobs",
        {200: Answer("One page; results are left out.", reference("JobPage"))},
        parameters=("Status", "Operation", "CollectionId", "MaxResults", "NextToken"),
        errors=(errors.InvalidPaginationToken,),
    ),
    Route(
        "GET /v1/jobs/{JobId}",
        "getJob",
        TAG,
        "Show a job",
        {
            200: Answer("The job as it stands, or as it ended.", JOB, ("ETag", "Retry-After")),
            304: Answer("Nothing has changed since the answer with this ETag.", None, ("ETag",)),
        },
        "Poll it, or wait for its end. Branch on `Done`: statuses may be added.",
        ("JobId", "wait", "If-None-Match"),
        errors=(errors.JobNotFound, errors.JobGone),
    ),
    Route(
        "POST /v1/jobs/{JobId}/cancel",
        "cancelJob",
        TAG,
        "Cancel a job",
        {
            200: Answer("It has ended: canceled now, or before in whatever way.", JOB, ("ETag",)),
            202: Answer("It runs; its worker was asked to stop.", JOB, ("ETag", "Retry-After")),
        },
        "May be repeated; the answer is always the truth about the job.",
        ("JobId",),
        errors=(errors.JobNotFound, errors.JobGone),
    ),
    Route(
        "POST /v1/jobs/{JobId}/retry",
        "retryJob",
        TAG,
        "Submit a job again that did not succeed",
        {
            202: Answer("A new job, whose `RetryOf` names the old one.", JOB, _WAITED),
            200: Answer("The new job is done already.", JOB, _WAITED),
        },
        "A job whose picture came with the request cannot be tried again: the picture was deleted when the job ended.",
        ("JobId", "Idempotency-Key", "Prefer"),
        errors=(errors.JobNotFound, errors.JobGone, errors.Conflict, errors.IdempotentParameterMismatch),
    ),
]

_METADATA: Schema = {
    "type": "object",
    "description": "The caller's own notes, echoed in the job and its webhook.",
    "maxProperties": words.MAX_METADATA,
    "propertyNames": m.text(longest=words.LONGEST_METADATA_KEY),
    "additionalProperties": m.text(longest=words.LONGEST_METADATA_VALUE),
}
_DEADLINE: Schema = {
    "description": "When it must have been started, or it expires: seconds from now, or a time.",
    "oneOf": [m.whole(1, words.LONGEST_DEADLINE_SECONDS), m.MOMENT],
}
_URL = m.text(1, words.MAX_URL, format="uri")
_WEBHOOK: Schema = {
    "description": "Who is told of the end: an address, or one endpoint. Absent: every endpoint that wants the event.",
    "oneOf": [m.taken("Url", Url=_URL), m.taken("EndpointId", EndpointId=m.ID)],
}
_OPTIONS: dict[str, Schema] = {
    "Webhook": reference("JobWebhook"),
    "ClientRequestToken": m.said(
        m.text(pattern=f"^{words.IDEMPOTENCY_KEY}$"), "The same as the header Idempotency-Key."
    ),
    "Priority": m.said(m.one_of(words.PRIORITIES), "LOW is served last, and refused first under load."),
    "Deadline": _DEADLINE,
    "Metadata": reference("JobMetadata"),
}


def _submission(operation: str) -> Schema:
    shape = service_model(extensions=True).operation_model(operation).input_shape
    required = "Operation Input" if shape.required_members else "Operation"
    named: Schema = {"type": "string", "const": operation}
    return m.taken(required, Operation=named, Input=reference(shape.name), **_OPTIONS)


def _form() -> Schema:
    file: Schema = {"type": "string", "contentMediaType": "application/octet-stream", "format": "binary"}
    pictures = dict.fromkeys(IMAGE_MEMBERS, file)
    texts = {"Operation": m.one_of(words.OPERATIONS), "Input": {"type": "object"}}
    return m.taken(
        "Operation", "A submission in parts; Input, Webhook and Metadata are JSON.", **texts, **pictures, **_OPTIONS
    )


def _job() -> Schema:
    outputs = [service_model().operation_model(name).output_shape.name for name in words.OPERATIONS]
    return m.answered(
        "JobId Operation Status Done Attempt Priority Progress CreatedAt DeadlineAt Links",
        JobId=m.ID,
        Operation=m.one_of(words.OPERATIONS),
        Status=m.one_of(words.STATUSES),
        Done=m.said(m.FLAG, "Whether the job has ended; nothing of it changes after that."),
        Attempt=m.said(m.whole(), "How often a worker has taken it up."),
        Priority=m.one_of(words.PRIORITIES),
        Progress=m.answered("Done Total", Done=m.whole(), Total=m.whole()),
        QueuePosition=m.said(
            m.whole(1, words.LAST_POSITION),
            "Among the account's own; an estimate, not counted further.",
        ),
        Result={
            "description": "The output of the operation, as boto3 gets it.",
            "anyOf": [reference(n) for n in outputs],
        },
        Error=reference("JobError"),
        Metadata=reference("JobMetadata"),
        RetryOf=m.ID,
        CancelRequestedAt=m.MOMENT,
        CreatedAt=m.MOMENT,
        DeadlineAt=m.said(m.MOMENT, "It expires if no worker has started it by then."),
        StartedAt=m.MOMENT,
        FinishedAt=m.MOMENT,
        ExpiresAt=m.said(m.MOMENT, "The job and its result are deleted then."),
        Links=m.answered("Self", Self=m.PATH, Cancel=m.PATH, Retry=m.PATH, Deliveries=m.PATH),
    )


def schemas() -> dict[str, Any]:
    """Give the schemas of jobs; a submission is told apart by its operation."""
    submissions = {f"{name}Job": _submission(name) for name in words.OPERATIONS}
    error = m.answered("Code Message Retryable", Code=m.text(), Message=m.text(), Retryable=m.FLAG)
    mapping = {name: reference(f"{name}Job")["$ref"] for name in words.OPERATIONS}
    return {
        "JobSubmission": {
            "oneOf": [reference(name) for name in submissions],
            "discriminator": {"propertyName": "Operation", "mapping": mapping},
        },
        **submissions,
        "JobForm": _form(),
        "Job": _job(),
        "JobError": m.said(error, "Why it failed, in AWS's words."),
        "JobMetadata": _METADATA,
        "JobWebhook": _WEBHOOK,
        "JobPage": m.page_of("Jobs", "Job"),
    }
