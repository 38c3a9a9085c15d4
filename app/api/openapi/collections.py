"""A collection and how it is searched: routes, and what is taken and shown."""

from app import errors
from app.api.openapi import members as m
from app.api.openapi import vocabulary as words
from app.api.openapi.route import JSON, Answer, Route
from app.service_model.json_schema import Schema, reference

TAG = "Collections"

_COLLECTION = reference("Collection")
_HERE = "/v1/collections/{CollectionId}"
_OF = ("OfCollection",)
_NOT_FOUND = (errors.ResourceNotFound,)

ROUTES = [
    Route(
        f"GET {_HERE}",
        "getCollection",
        TAG,
        "Show a collection and how it is searched",
        {200: Answer("The collection as it is now.", _COLLECTION)},
        parameters=_OF,
        errors=_NOT_FOUND,
    ),
    Route(
        f"PATCH {_HERE}",
        "changeCollection",
        TAG,
        "Say how a collection is to be searched",
        {200: Answer("The collection; its index is built by and by.", _COLLECTION)},
        "`approximate` is remembered, and takes effect once the collection has search partitions of its own and they have "
        "their index; until then every search is exact.",
        _OF,
        {JSON: reference("CollectionChange")},
        _NOT_FOUND,
    ),
]


def schemas() -> dict[str, Schema]:
    """Give the schemas of collections."""
    mode = m.said(m.one_of(words.SEARCH_MODES), "exact: every match is found; approximate: cheaper, some are missed.")
    share: Schema = {"type": "number", "minimum": 0, "maximum": 1}
    return {
        "CollectionChange": m.taken("SearchMode", SearchMode=mode),
        "Collection": m.answered(
            "CollectionId FaceModelVersion FaceCount UserCount CreatedAt SearchMode Links",
            CollectionId=m.text(),
            FaceModelVersion=m.text(),
            FaceCount=m.whole(),
            UserCount=m.whole(),
            CreatedAt=m.MOMENT,
            SearchMode=mode,
            Index=m.said(reference("SearchIndex"), "Where approximate search was asked for."),
            Links=m.answered("Self", Self=m.PATH),
        ),
        "SearchIndex": m.answered(
            "Status Buckets Built",
            Status=m.said(m.one_of(words.INDEX_STATUSES), "Until it is READY every search is exact."),
            Buckets=m.said(m.whole(), "Search partitions of the collection's own."),
            Built=m.said(m.whole(), "Those that have their index."),
            Message=m.said(m.text(), "What it waits for, or what went wrong."),
            Measured=m.answered(
                "Threshold Sample Matches MeasuredAt",
                "Stored faces that were searched exactly and approximately, and what came of it.",
                Recall=m.said(share, "Which share of the matches was found; absent where there were none."),
                Threshold=m.said(
                    {"type": "number"}, "The similarity that was searched for; above it recall is higher."
                ),
                Sample=m.whole(),
                Matches=m.said(m.whole(), "What the exact searches found, the searched faces themselves left out."),
                MeasuredAt=m.MOMENT,
            ),
        ),
    }
