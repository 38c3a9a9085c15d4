"""Opens the ONNX files of a face model version: verified once, prepared in memory, ready to be shared by all threads.

An onnxruntime session may be run by many threads at once. One thread inside a session is on purpose: a worker runs as
many jobs as it has cores, and splitting one small network over cores cost 1.3 to 1.5 times the CPU when the machine
was busy.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import onnxruntime as ort

from app.assets import require_model
from app.config import Settings
from app.domain.face_models import FaceModelVersion, ModelFile
from workers.vision.graphs import prepare_detector, prepare_embedder

CPU = "CPUExecutionProvider"

#: onnxruntime ships no type information; an `InferenceSession`.
Session = Any


class ModelError(Exception):
    """A model cannot be opened; the message says what to do about it."""


def open_detector(settings: Settings, version: FaceModelVersion) -> Session:
    """Open the detector on the provider of the settings; raise AssetError or ModelError."""
    return open_session(_prepared(settings, version.detector, prepare_detector), settings.execution_provider)


def open_embedder(settings: Settings, version: FaceModelVersion) -> Session:
    """Open the embedder on the provider of the settings; raise AssetError or ModelError."""
    embedder = open_session(_prepared(settings, version.embedder, prepare_embedder), settings.execution_provider)
    dimension = embedder.get_outputs()[0].shape[-1]
    if dimension != version.dimension:
        raise ModelError(
            f"{version.embedder.name} makes embeddings of {dimension} numbers, but face model version "
            f"{version.version} has {version.dimension}."
        )
    return embedder


def _prepared(settings: Settings, file: ModelFile, prepare: Callable[[bytes], bytes]) -> bytes:
    """Read a model file once, so that the bytes that were verified are the bytes that are used."""
    path = require_model(settings, file)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ModelError(
            f"{path} is not the pinned file (sha256 {file.sha256}). Remove it and run `rekollect models pull`."
        )
    return prepare(content)


def open_session(model: bytes, provider: str) -> Session:
    """Open a session on a provider or raise ModelError; onnxruntime alone would silently fall back to the CPU."""
    available = ort.get_available_providers()
    if provider not in available:
        raise ModelError(
            f"This onnxruntime has no {provider}; it has {', '.join(available)}. Install the onnxruntime package that "
            "brings it, or change REKOLLECT_EXECUTION_PROVIDER."
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only; warnings about unused initializers repeat at every start
    session = ort.InferenceSession(model, options, providers=list(dict.fromkeys((provider, CPU))))
    if session.get_providers()[0] != provider:
        raise ModelError(f"{provider} could not start on this machine; see onnxruntime's message above for the cause.")
    return session
