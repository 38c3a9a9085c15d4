"""Re-sync: list a page of S3 objects while no transaction is open, and give the writes that take it over."""

from datetime import timedelta

from app.db.ticks import TickClaim
from app.services import resync
from app.services.ticks import Progress, Write
from workers.runtime import Runtime

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
    page = runtime.listing.page(place["Bucket"], place["Prefix"], token=cursor.get("Token"), size=resync.PAGE)
    return lambda connection: resync.take_page(connection, held, page.objects, page.next_token)
