"""Operations that need no picture, submitted as jobs: the same handlers that answer POST / at once.

The handler runs in the transaction that ends the job, so it is done once, however often the job was attempted.
"""

from app.domain.caller import Caller
from app.domain.jobs import Claim
from app.services import operations
from app.services.outcomes import Complete
from workers.runtime import Runtime


def run(claim: Claim, runtime: Runtime) -> Complete:
    """Give the handler's work; whether the caller may do this was asked when the job was submitted."""
    caller = Caller(claim.account_id, claim.region or runtime.settings.region[0], access_key_id="")
    return lambda connection: operations.QUICK[claim.operation](connection, caller, claim.input)
