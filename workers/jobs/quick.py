"""Operations that need no picture, submitted as jobs: the same handlers that answer POST / at once, but the worker's scan.

The handler runs in the transaction that ends the job, so it is done once, however often the job was attempted.
"""

from functools import partial

from app.domain.caller import Caller
from app.domain.jobs import Claim
from app.services import faces, operations, users
from app.services.outcomes import Complete
from workers.runtime import Runtime

_SEARCHES = {"SearchFaces": faces.search_faces, "SearchUsers": users.search_users}


def run(claim: Claim, runtime: Runtime) -> Complete:
    """Give the handler's work; whether the caller may do this was asked when the job was submitted."""
    caller = Caller(claim.account_id, claim.region or runtime.settings.region[0], access_key_id="")
    search = _SEARCHES.get(claim.operation)
    handler = operations.QUICK[claim.operation] if search is None else partial(search, scan=runtime.scan)
    return lambda connection: handler(connection, caller, claim.input)
