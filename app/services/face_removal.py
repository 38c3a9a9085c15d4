"""Delete faces for a schedule, whoever they belong to: those of a user leave it first, through the operations of callers."""

import uuid
from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy.engine import Connection

from app.db.session import Row
from app.domain.audit import Actor, ActorKind, Line
from app.domain.caller import Caller
from app.services import audit, faces, users


def remove(
    connection: Connection, account_id: int, collection_id: str, found: Sequence[Row], *, schedule_id: uuid.UUID
) -> int:
    """Delete faces (face_id, user_id) of a collection whose row is locked, and remake their users' vectors; give how many."""
    if not found:
        return 0
    caller = Caller(account_id, region="", access_key_id="")
    owned: dict[str, list[str]] = defaultdict(list)
    for row in found:
        if row.user_id is not None:
            owned[row.user_id].append(str(row.face_id))
    for user_id, face_ids in owned.items():
        request = {"CollectionId": collection_id, "UserId": user_id, "FaceIds": face_ids}
        users.disassociate_faces(connection, caller, request)
    answer = faces.delete_faces(connection, caller, {"CollectionId": collection_id, "FaceIds": _ids(found)})
    deleted = len(answer["DeletedFaces"])
    actor = Actor(ActorKind.SCHEDULE, str(schedule_id))
    audit.note(connection, Line(account_id, actor, "DeleteFaces", collection_id, count=deleted))
    return deleted


def _ids(found: Sequence[Row]) -> list[str]:
    ids: list[uuid.UUID] = [row.face_id for row in found]
    return [str(face_id) for face_id in ids]
