"""Prepared networks: made once from the pinned file, held against it on real faces before first use, then kept beside it.

The original stays the truth. A prepared file is known by what it was made from, by the code that made it and by its own
digest; where any of the three differs it is made again. `rekollect models pull` runs this module, and a worker that finds
nothing prepared does the same, one at a time. A folder that cannot be written costs each start half a second, no more.
Without the sample portraits on the machine networks are compared on noise, which the record beside the file tells.
"""

import contextlib
import fcntl
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx

from app.assets import SAMPLES, AssetError, is_intact, models_folder, require_model, samples_folder, write_in_one_step
from app.config import Settings
from app.domain.face_models import VERSIONS, YUNET, FaceModelVersion, ModelFile
from workers.vision import graphs
from workers.vision.alignment import CROP_SIZE, align
from workers.vision.arrays import Floats, Pixels
from workers.vision.detector import Detector
from workers.vision.embedder import Embedder
from workers.vision.sessions import CPU, ModelError, open_session

#: Of what the file's network makes of a picture: how long the difference may be to what the prepared one makes of it.
_TOLERANCE = 0.002
_ORIGINAL_SIDE = 640  # the only input that the detector's file takes

Prepare = Callable[[bytes], bytes]
Check = Callable[[bytes, bytes], int]


def prepared_detector(settings: Settings, file: ModelFile) -> bytes:
    """Give the detector's network, ready to be opened; raise AssetError or ModelError."""

    def check(original: bytes, model: bytes) -> int:
        squares = [*(_square(pixels) for pixels in _samples(settings)), _noise(1, _ORIGINAL_SIDE)[0]]
        reference, changed = (Detector(open_session(one, CPU)) for one in (original, model))
        for square in squares:
            _agree(reference.outputs(square), changed.outputs(square), file)
        return len(squares)

    return _once(settings, file, graphs.prepare_detector, check)


def prepared_embedder(settings: Settings, version: FaceModelVersion) -> bytes:
    """Give the embedder's network, ready to be opened; raise AssetError or ModelError."""

    def check(original: bytes, model: bytes) -> int:
        crops = _crops(settings)
        reference, changed = (Embedder(open_session(one, CPU), version.preprocessing) for one in (original, model))
        expected = np.concatenate([_raw(reference, crop[None]) for crop in crops])
        _agree(list(expected), list(_raw(changed, crops)), version.embedder)
        return len(crops)

    return _once(settings, version.embedder, graphs.prepare_embedder, check)


def _once(settings: Settings, file: ModelFile, prepare: Prepare, check: Check) -> bytes:
    """Verify the original, and read what is prepared already or make it while nobody else does."""
    path = require_model(settings, file)
    original = path.read_bytes()
    if hashlib.sha256(original).hexdigest() != file.sha256:
        raise ModelError(
            f"{path} is not the pinned file (sha256 {file.sha256}). Remove it and run `rekollect models pull`."
        )
    name = f"{Path(file.name).stem}-{_recipe(file)}"
    folders = [folder / "prepared" for folder in (settings.models_dir, models_folder(settings)) if folder is not None]
    for folder in folders:
        if (found := _read(folder / name)) is not None:
            return found
    target = folders[-1] / name
    with _alone(target):
        found = _read(target)
        return _make(original, file, target, prepare, check) if found is None else found


def _recipe(file: ModelFile) -> str:
    """Name the original and the code that changes it."""
    code = Path(graphs.__file__).read_bytes() + onnx.__version__.encode()
    return hashlib.sha256(file.sha256.encode() + code).hexdigest()[:12]


def _read(path: Path) -> bytes | None:
    try:
        record = json.loads(path.with_suffix(".json").read_text())
        model = path.with_suffix(".onnx").read_bytes()
    except (OSError, ValueError):
        return None
    return model if hashlib.sha256(model).hexdigest() == record.get("sha256") else None


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Hold the lock of a file; where none can be made, each process prepares for itself."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # not every file system has locks
            target.parent.mkdir(parents=True, exist_ok=True)
            stream = held.enter_context(target.with_suffix(".lock").open("w"))
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _make(original: bytes, file: ModelFile, target: Path, prepare: Prepare, check: Check) -> bytes:
    model = prepare(original)
    record = {
        "notice": f"{graphs.NOTICE} Made from {file.name}; its licence, {file.licence or 'unknown'}, holds for this file too.",
        "made_from": file.sha256,
        "sha256": hashlib.sha256(model).hexdigest(),
        "compared": check(original, model),
    }
    with contextlib.suppress(OSError):  # a folder that cannot be written is no reason not to work
        write_in_one_step(target.with_suffix(".onnx"), model)
        write_in_one_step(target.with_suffix(".json"), json.dumps(record, indent=2).encode())
    return model


def _agree(expected: list[Floats], found: list[Floats], file: ModelFile) -> None:
    """Raise ModelError where the two networks make something else of a picture."""
    if len(expected) != len(found):
        raise ModelError(f"{file.name} has {len(expected)} results, and {len(found)} once it is prepared.")
    for one, other in zip(expected, found, strict=True):
        apart = float(np.linalg.norm(one - other) / np.linalg.norm(one)) if one.shape == other.shape else np.inf
        if not apart <= _TOLERANCE:
            raise ModelError(f"{file.name} gives other numbers once it is prepared: they are {apart:.2g} apart.")


def _samples(settings: Settings) -> Iterator[Pixels]:
    """Give the sample portraits that are on this machine."""
    for sample in SAMPLES:
        path = samples_folder(settings) / sample.name
        if is_intact(path, sample.sha256):
            yield np.asarray(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR), np.uint8)


def _square(pixels: Pixels) -> Pixels:
    factor = _ORIGINAL_SIDE / max(pixels.shape[:2])
    small = cv2.resize(pixels, None, fx=factor, fy=factor)[:_ORIGINAL_SIDE, :_ORIGINAL_SIDE]
    square = np.zeros((_ORIGINAL_SIDE, _ORIGINAL_SIDE, 3), np.uint8)
    square[: small.shape[0], : small.shape[1]] = small
    return square


def _raw(embedder: Embedder, crops: Pixels) -> Floats:
    """Embed crops at the lengths that the network gave, for those are compared as well."""
    embeddings, norms = embedder.embed(crops)
    return np.asarray(embeddings * norms[:, None])


def _crops(settings: Settings) -> Pixels:
    """Cut the faces out of the samples; without samples noise must do, of which networks make something as well."""
    detector = Detector(open_session(prepared_detector(settings, YUNET), CPU))
    cut = [align(pixels, detector.detect(pixels, long_side=_ORIGINAL_SIDE).points) for pixels in _samples(settings)]
    return np.concatenate([*cut, _noise(2, CROP_SIZE)])


def _noise(number: int, side: int) -> Pixels:
    """Make squares of coloured blocks, the same ones each time."""
    blocks = np.random.default_rng(1).integers(0, 256, (number, side // 8, side // 8, 3), np.uint8)
    return blocks.repeat(8, 1).repeat(8, 2)


def main() -> int:
    """Prepare the built-in versions."""
    settings = Settings.from_environment()
    try:
        for version in VERSIONS.values():
            prepared_detector(settings, version.detector)
            prepared_embedder(settings, version)
    except (AssetError, ModelError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
