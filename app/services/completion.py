"""The writes that complete items of a batch, inside the transaction that ends them: those of many images together.

Where writes of one item fail, nothing of them is left and the others stand.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Connection

from app import service_model
from app.errors import ServiceError, ServiceUnavailable
from app.services.indexing import Indexing, index_all
from app.services.outcomes import Complete

#: What an operation stores and answers, or why it did not come to that.
Outcome = Complete | ServiceError


def complete_all(
    connection: Connection, operation: str, outcomes: Sequence[Outcome]
) -> list[dict[str, Any] | ServiceError]:
    """Do the writes of all outcomes; give the shaped answer of each, or its error."""
    together = _indexed(connection, outcomes)
    return [
        together[place] if place in together else _complete(connection, operation, outcome)
        for place, outcome in enumerate(outcomes)
    ]


def _complete(connection: Connection, operation: str, outcome: Outcome) -> dict[str, Any] | ServiceError:
    if isinstance(outcome, ServiceError):
        return outcome
    try:
        with connection.begin_nested():
            return service_model.shape_output(operation, outcome(connection))
    except ServiceUnavailable:
        raise
    except ServiceError as error:
        return error


def _indexed(connection: Connection, outcomes: Sequence[Outcome]) -> dict[int, dict[str, Any]]:
    """Index what goes into one collection together; give the answers, by place, where that went well."""
    groups: dict[tuple[int, str], dict[object, tuple[int, Indexing]]] = {}
    for place, outcome in enumerate(outcomes):
        if isinstance(outcome, Indexing):
            # The same image once more waits for its own turn, after these.
            group = groups.setdefault((outcome.account_id, outcome.collection_id), {})
            group.setdefault(outcome.image.key, (place, outcome))
    answers: dict[int, dict[str, Any]] = {}
    for (account_id, collection_id), group in sorted(groups.items()):  # whoever locks several does so in one order
        images = [write.image for _, write in group.values()]
        try:
            with connection.begin_nested():
                documents = index_all(connection, account_id, collection_id, images)
        except ServiceUnavailable:
            raise
        except ServiceError:  # of one of them, or of the collection: each is told by itself
            continue
        for (place, _), document in zip(group.values(), documents, strict=True):
            answers[place] = service_model.shape_output("IndexFaces", document)
    return answers
