"""Opens the networks of a face model version, prepared and verified."""

from app.config import Settings
from app.domain.face_models import FaceModelVersion
from workers.vision.preparation import prepared_detector, prepared_embedder
from workers.vision.sessions import ModelError, Session, open_session


def open_detector(settings: Settings, version: FaceModelVersion) -> Session:
    """Open the detector on the provider of the settings; raise AssetError or ModelError."""
    return open_session(prepared_detector(settings, version.detector), settings.execution_provider)


def open_embedder(settings: Settings, version: FaceModelVersion) -> Session:
    """Open the embedder on the provider of the settings; raise AssetError or ModelError."""
    embedder = open_session(prepared_embedder(settings, version), settings.execution_provider)
    dimension = embedder.get_outputs()[0].shape[-1]
    if dimension != version.dimension:
        raise ModelError(
            f"{version.embedder.name} makes embeddings of {dimension} numbers, but face model version "
            f"{version.version} has {version.dimension}."
        )
    return embedder
