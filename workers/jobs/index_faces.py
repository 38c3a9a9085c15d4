"""IndexFaces: put the faces of an image into a collection.

The faces are stored by the transaction that ends the job: a worker whose lease was lost stores nothing.
"""

from app.domain.face_models import VERSIONS
from app.domain.faces import choose
from app.domain.jobs import Claim
from app.services import collections, faces
from app.services.faces import IndexedImage
from app.services.outcomes import Complete
from workers.jobs.image import look
from workers.runtime import Runtime


def run(claim: Claim, runtime: Runtime) -> Complete:
    """Look at the image, choose its faces, and give the writes that store them."""
    request = claim.input
    name = request["CollectionId"]
    with runtime.database.statement() as connection:
        collection = collections.get(connection, claim.account_id, name)
    image = look(claim, "Image", runtime)
    chosen, rejected = choose(
        image.faces,
        level=request.get("QualityFilter", "AUTO"),
        max_faces=request.get("MaxFaces"),
        version=VERSIONS[collection.model],
    )
    indexed = IndexedImage(image.image_id, request.get("ExternalImageId"), chosen, rejected, image.source)
    return lambda connection: faces.index(connection, claim.account_id, name, indexed)
