"""DetectFaces: tell what faces an image shows; nothing is stored."""

from app.domain.face_documents import face_detail
from app.domain.jobs import Claim
from app.services.outcomes import Complete
from workers.jobs.image import look
from workers.runtime import Runtime


def run(claim: Claim, runtime: Runtime) -> Complete:
    """Look at the image; no face is a normal answer."""
    output = {"FaceDetails": [face_detail(face) for face in look(claim, "Image", runtime).faces]}
    return lambda connection: output
