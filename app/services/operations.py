"""Which operations there are: those answered at once from Postgres, and those that need a worker's eyes.

A new operation costs a handler and a line here; its input and output are the service model's business. One that is answered at
once and its line of the audit log are one transaction.
"""

from collections.abc import Callable

from sqlalchemy.engine import Connection

from app.db.session import Database
from app.domain.caller import Caller
from app.errors import ServiceError, ServiceUnavailable
from app.services import audit, collections, faces, tags, users
from app.services.collections import Document

Handler = Callable[[Connection, Caller, Document], Document]

QUICK: dict[str, Handler] = {
    "CreateCollection": collections.create_collection,
    "DescribeCollection": collections.describe_collection,
    "ListCollections": collections.list_collections,
    "DeleteCollection": collections.delete_collection,
    "ListFaces": faces.list_faces,
    "DeleteFaces": faces.delete_faces,
    "SearchFaces": faces.search_faces,
    "CreateUser": users.create_user,
    "DeleteUser": users.delete_user,
    "ListUsers": users.list_users,
    "AssociateFaces": users.associate_faces,
    "DisassociateFaces": users.disassociate_faces,
    "SearchUsers": users.search_users,
    "TagResource": tags.tag_resource,
    "UntagResource": tags.untag_resource,
    "ListTagsForResource": tags.list_tags_for_resource,
}

#: Run by workers as jobs, whichever way they came in.
IMAGE = frozenset({"CompareFaces", "DetectFaces", "IndexFaces", "SearchFacesByImage", "SearchUsersByImage"})

#: Those of them that work on a collection.
ON_COLLECTION = frozenset({"IndexFaces", "SearchFacesByImage", "SearchUsersByImage"})

ALL = frozenset(QUICK) | IMAGE


def run(database: Database, caller: Caller, operation: str, input_: Document) -> Document:
    """Answer an operation that needs no worker; raises what is wrong, and writes that down too."""
    try:
        with database.transaction() as connection:
            output = QUICK[operation](connection, caller, input_)
            audit.note(connection, audit.of_call(caller, operation, input_, output))
            return output
    except ServiceUnavailable:  # there is nobody to write it down
        raise
    except ServiceError as error:
        with database.statement() as connection:
            audit.note(connection, audit.of_refusal(caller, operation, caller.collection_in(input_), error))
        raise
