"""IndexFaces: put the faces of an image into a collection.

The faces are stored by the transaction that ends the job: a worker whose lease was lost stores nothing. While the collection
has a second face model version they are embedded with both.
"""

from app.db import second_versions
from app.domain import crops
from app.domain.face_models import FaceModelVersion
from app.domain.faces import choose
from app.domain.jobs import Claim, Lane
from app.services import collections
from app.services.indexing import IndexedImage, Indexing
from app.services.outcomes import Complete
from workers.collection_cache import Known
from workers.jobs.image import look
from workers.runtime import Runtime
from workers.vision.crops import encode


def run(claim: Claim, runtime: Runtime) -> Complete:
    """Look at the image, choose its faces, and give the writes that store them."""
    request = claim.input
    collection, (version, *others) = _collection(claim, runtime)
    image = look(claim, "Image", runtime, version)
    chosen, rejected = choose(
        image.faces,
        level=request.get("QualityFilter", "AUTO"),
        max_faces=request.get("MaxFaces"),
        version=version,
    )
    cut = [face.crop for face in chosen]
    keeps = crops.wanted(collection.tags, default=runtime.settings.keep_crops)
    indexed = IndexedImage(
        image.image_id,
        request.get("ExternalImageId"),
        chosen,
        rejected,
        image.source,
        model=version.version,
        others=_embed(cut, others, claim, runtime) if collection.indexes_other else {},
        crops=[encode(crop) for crop in cut] if keeps else [],
    )
    return Indexing(claim.account_id, request["CollectionId"], indexed)


def _collection(claim: Claim, runtime: Runtime) -> Known:
    name = claim.input["CollectionId"]

    def read() -> Known:
        with runtime.database.statement() as connection:
            collection = collections.get(connection, claim.account_id, name)
            return Known(collection, second_versions.versions(connection, collection))

    if claim.lane == Lane.BULK:
        return runtime.collection_cache.get(claim.account_id, name, read)
    return read()


def _embed(
    crops: list[bytes], versions: list[FaceModelVersion], claim: Claim, runtime: Runtime
) -> dict[str, list[bytes]]:
    with runtime.cores.turn(claim.lane):
        return {version.version: runtime.engines.of(version).embed(crops) for version in versions}
