"""Re-sync: list a page of S3 objects while no transaction is open, and give the writes that take it over."""

from datetime import timedelta

from app.db.ticks import TickClaim
from app.errors import ServiceUnavailable
from app.services import resync
from app.services.ticks import Progress, Write
from workers.runtime import Runtime
from workers.store import StoreUnavailable

#: While the account has enough jobs queued.
_PAUSE = timedelta(seconds=5)


def step(held: TickClaim, runtime: Runtime) -> Write:
    """Look at what the next step needs."""
    cursor = held.cursor or {}
    if cursor.get("Listed"):
        return lambda connection: resync.drop_page(connection, held)
    if resync.is_crowded(runtime.database, held):
        waiting = Progress({"Token": cursor.get("Token")}, held.result or {}, pause=_PAUSE)
        return lambda connection: waiting
    place = held.settings
    try:
        objects, next_token = runtime.store.list_objects(
            place["Bucket"], place["Prefix"], token=cursor.get("Token"), limit=resync.PAGE
        )
    except StoreUnavailable as error:
        raise ServiceUnavailable("S3 does not answer, or not at present.") from error
    return lambda connection: resync.take_page(connection, held, objects, next_token)
