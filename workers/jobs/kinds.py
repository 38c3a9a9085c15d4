"""Which code runs which operation, for a job as for an item of a batch."""

from app.domain.jobs import Claim
from app.services.outcomes import Complete
from workers.jobs import compare_faces, detect_faces, index_faces, quick, search_faces, search_users
from workers.runtime import Runtime

#: What needs a look at pixels; every other operation is answered from Postgres, as on POST /.
_KINDS = {
    "CompareFaces": compare_faces.run,
    "DetectFaces": detect_faces.run,
    "IndexFaces": index_faces.run,
    "SearchFacesByImage": search_faces.run,
    "SearchUsersByImage": search_users.run,
}


def run(claim: Claim, runtime: Runtime) -> Complete:
    """Do the work of a claim and give the writes that complete it; no transaction is open when it returns."""
    return _KINDS.get(claim.operation, quick.run)(claim, runtime)
