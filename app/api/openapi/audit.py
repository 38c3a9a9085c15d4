"""The audit log: its route, and what a line shows."""

from typing import Any

from app import errors
from app.api.openapi import members as m
from app.api.openapi import vocabulary as words
from app.api.openapi.route import Answer, Route
from app.service_model.json_schema import reference

TAG = "Audit"

ROUTES = [
    Route(
        "GET /v1/audit",
        "listAuditLines",
        TAG,
        "List who did what",
        {200: Answer("One page.", reference("AuditPage"))},
        "The key must be allowed ReadAuditLog on all collections. That the log was read becomes a line of it.",
        ("AuditedCollection", "AuditedOperation", "AuditedKey", "Since", "Until", "MaxResults", "NextToken"),
        errors=(errors.InvalidPaginationToken,),
    )
]


def schemas() -> dict[str, Any]:
    """Give the schemas of the audit log."""
    actor = m.answered(
        "Kind",
        Kind=m.one_of(words.ACTORS),
        Id=m.said(m.text(), "Of the access key or the schedule."),
    )
    return {
        "AuditLine": m.answered(
            "AuditId RecordedAt Operation Actor Result",
            "One act. It names things by their ids, and holds no picture, embedding, FaceId, metadata or secret.",
            AuditId=m.ID,
            RecordedAt=m.MOMENT,
            Operation=m.one_of(words.AUDITED),
            Actor=actor,
            SourceAddress=m.said(
                m.text(), "Of the connection: where a proxy stands before the API, that of the proxy."
            ),
            RequestId=m.said(m.text(), "As in the header `x-amzn-RequestId` of the answer."),
            CollectionId=words.COLLECTION_ID,
            Resources=m.said(
                {"type": "object", "additionalProperties": {"type": "string"}}, "Ids, by what they are of, as JobId."
            ),
            Result=m.said(m.text(1), "`OK`, `Canceled`, or the code of the error."),
            Count=m.said(m.whole(), "How many were touched or given away: faces, matches, users, rows."),
        ),
        "AuditPage": m.page_of("Lines", "AuditLine"),
    }
