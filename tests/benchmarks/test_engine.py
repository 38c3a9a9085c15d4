"""The engine, from the bytes of a picture to embeddings, against OpenCV's own classes for the two networks and against dlib.

One thread each, CPU time, the same pictures in turn; each picture counts with its best time. Peers get what they are made
for: OpenCV the whole picture, dlib its default detector. The last tests look at memory, in processes of their own.
"""

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from app.assets import require_model
from app.config import Settings
from app.domain.face_models import NEWEST, SFACE, YUNET
from tests.vision.pictures import decoded, jpeg
from workers.vision import search
from workers.vision.alignment import align
from workers.vision.arrays import Pixels
from workers.vision.decode import open_picture
from workers.vision.engine import FaceEngine

pytestmark = [pytest.mark.bench, pytest.mark.models]

LARGE_PIXELS, PHONE_PIXELS = 4.9e6, 12.2e6
OPENCV_640, OPENCV_640_STRETCH, OPENCV_LARGE, DLIB = 1.2, 1.6, 8.0, 4.5
SUM_OF_STAGES = 0.95
PICTURES = 10_000
LEAK_MIB = 8.0  # over all pictures but the first tenth; the allocators are never quite still
JOB_MB = 40.0
LOAD_SECONDS = 0.5

Way = Callable[[bytes], int]


@pytest.fixture(scope="module")
def engine(settings: Settings) -> FaceEngine:
    return FaceEngine.load(settings, NEWEST)


@pytest.fixture(scope="module")
def small(faces_dir: Path) -> list[bytes]:
    """Portraits with a long side of 640."""
    images = [path.read_bytes() for path in sorted((faces_dir / "portraits").glob("*.jpg"))]
    return [image for image in images if max(decoded(image).shape) == 640][::4][:15]


@pytest.fixture(scope="module")
def large(small: list[bytes]) -> list[bytes]:
    """The same people in five megapixels."""
    return [jpeg(enlarged(image, LARGE_PIXELS), cv2.IMWRITE_JPEG_QUALITY, 90) for image in small[::2]]


def enlarged(image: bytes, pixels: float) -> Pixels:
    original = decoded(image)
    factor = (pixels / (original.shape[0] * original.shape[1])) ** 0.5
    return np.asarray(cv2.resize(original, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8)


def phone_pictures(small: list[bytes], folder: Path) -> dict[str, list[Path]]:
    """Portraits in twelve megapixels, and with a person far behind, whose face is cut from all of them."""
    written: dict[str, list[Path]] = {"alone": [], "with a person far behind": []}
    for number, image in enumerate(small[:4]):
        pixels = enlarged(image, PHONE_PIXELS)
        far = cv2.resize(decoded(small[-1 - number]), (240, 320), interpolation=cv2.INTER_AREA)
        for name, paths in written.items():
            paths.append(folder / f"{name} {number}.jpg")
            paths[-1].write_bytes(jpeg(pixels, cv2.IMWRITE_JPEG_QUALITY, 90))
            pixels[:320, :240] = far
    return written


def opencv(settings: Settings) -> Way:
    """FaceDetectorYN and FaceRecognizerSF, as OpenCV's own sample uses them."""
    paths = [str(require_model(settings, file)) for file in (YUNET, SFACE)]
    detector = cv2.FaceDetectorYN.create(paths[0], "", (320, 320))
    recognizer = cv2.FaceRecognizerSF.create(paths[1], "")

    def look(image: bytes) -> int:
        pixels = decoded(image)
        detector.setInputSize((pixels.shape[1], pixels.shape[0]))
        rows = detector.detect(pixels)[1]
        for row in rows if rows is not None else ():
            recognizer.feature(recognizer.alignCrop(pixels, row))
        return 0 if rows is None else len(rows)

    return look


def best_milliseconds(ways: list[Way], images: list[bytes], rounds: int) -> np.ndarray[Any, Any]:
    """Give a row for each way: the mean over the pictures of the best CPU times."""
    times = np.full((len(ways), len(images), rounds), np.inf)
    for turn in range(rounds):
        for place, image in enumerate(images):
            for number, way in enumerate(ways):
                began = time.process_time()
                way(image)
                times[number, place, turn] = time.process_time() - began
    return np.asarray(times.min(axis=2).mean(axis=1) * 1000)


@pytest.mark.parametrize(("size", "bar", "rounds"), [("small", OPENCV_640, 7), ("large", OPENCV_LARGE, 4)])
def test_the_engine_is_faster_than_opencv(
    engine: FaceEngine,
    settings: Settings,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    size: str,
    bar: float,
    rounds: int,
) -> None:
    images: list[bytes] = request.getfixturevalue(size)
    ours, theirs = best_milliseconds([lambda image: len(engine.analyze(image)), opencv(settings)], images, rounds)
    with capsys.disabled():
        stretch = f", stretch {OPENCV_640_STRETCH:g}" if size == "small" else ""
        pixels = decoded(images[0]).shape
        print(f"\n{len(images)} portraits as {pixels[1]} x {pixels[0]}, milliseconds of CPU, best of {rounds}")
        print(f"  engine {ours:.1f}, OpenCV {theirs:.1f}: {theirs / ours:.2f} times as fast (bar {bar:g}{stretch})")
    assert theirs >= bar * ours


@pytest.mark.skipif(
    importlib.util.find_spec("face_recognition") is None, reason="dlib's face_recognition is not installed"
)
def test_the_engine_is_faster_than_dlib(
    engine: FaceEngine, small: list[bytes], large: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    import face_recognition

    def look(image: bytes) -> int:
        return len(face_recognition.face_encodings(cv2.cvtColor(decoded(image), cv2.COLOR_BGR2RGB)))

    for images in (small[:8], large[:4]):
        ours, theirs = best_milliseconds([lambda image: len(engine.analyze(image)), look], images, 2)
        with capsys.disabled():
            print(f"\n  engine {ours:.1f}, dlib {theirs:.1f}: {theirs / ours:.1f} times as fast (bar {DLIB:g})")
        assert theirs >= DLIB * ours


def test_the_engine_costs_hardly_more_than_its_stages(
    engine: FaceEngine, small: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each stage is given what it needs and nothing else happens: decoding, one look, one crop, one embedding."""
    upright = [image for image in small if abs(engine.analyze(image)[0].pose.roll) < 4]
    stages: dict[str, Way] = {}
    prepared = {image: prepare(engine, image) for image in upright}
    stages["decode"] = lambda image: len(open_picture(image).decode())
    stages["detect"] = lambda image: len(
        engine._detector.detect(prepared[image][0], long_side=640, score=search.TRACE_SCORE)
    )
    stages["align"] = lambda image: len(align(prepared[image][0], prepared[image][1]))
    stages["embed"] = lambda image: len(engine._embedder.embed(prepared[image][2])[0])
    whole, *parts = best_milliseconds([lambda image: len(engine.analyze(image)), *stages.values()], upright, rounds=15)
    with capsys.disabled():
        shown = ", ".join(f"{name} {part:.2f}" for name, part in zip(stages, parts, strict=True))
        print(f"\n  whole {whole:.2f}, {shown}: {sum(parts) / whole:.1%} of it (bar {SUM_OF_STAGES:.0%})")
    assert sum(parts) >= SUM_OF_STAGES * whole


def prepare(engine: FaceEngine, image: bytes) -> tuple[Any, Any, Any]:
    """Give the pixels, the landmarks and the crop of a portrait."""
    seen = search.find(engine._detector, open_picture(image))
    return seen.pixels, seen.found.points, align(seen.pixels, seen.found.points)


#: Prints resident and peak mebibytes; the engine is open and warm before the first figure.
_MEMORY = """
import sys, threading
from pathlib import Path
from app.config import Settings
from app.domain.face_models import NEWEST
from workers.vision.engine import FaceEngine

def mebibytes(key):
    line = next(line for line in open("/proc/self/status") if line.startswith(key))
    return int(line.split()[1]) / 1024

engine = FaceEngine.load(Settings.from_environment(), NEWEST)
images = [Path(name).read_bytes() for name in sys.argv[3:]]
count, threads = int(sys.argv[1]), int(sys.argv[2])

def work(number):
    for turn in range(number, count, threads):
        engine.analyze(images[turn % len(images)])
        if number == 0 and turn % (count // 10) == 0:
            print(mebibytes("VmRSS"), flush=True)

workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
print(mebibytes("VmHWM"))
"""


def memory(pictures: list[Path], *, count: int, threads: int) -> list[float]:
    """Look at pictures in turn in a process of its own; give resident MiB at each tenth, and the peak."""
    arguments = [sys.executable, "-c", _MEMORY, str(count), str(threads), *map(str, pictures)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.split()]


def test_memory_stays_flat(small: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Small pictures of many sizes, one in twelve with a face, and one in fifty of twelve megapixels."""
    pictures = []
    for number in range(12):
        pixels = cv2.resize(
            decoded(small[0]) if number == 0 else np.full((100, 100, 3), 20 * number, np.uint8), (80 + 12 * number, 100)
        )
        pictures.append(tmp_path / f"{number}.jpg")
        pictures[-1].write_bytes(jpeg(np.asarray(pixels, np.uint8)))
    phone = phone_pictures(small, tmp_path)
    pictures = [one for paths in phone.values() for path in paths[:2] for one in (*pictures * 4, path, pictures[0])]
    *resident, peak = memory(pictures, count=PICTURES, threads=1)
    with capsys.disabled():
        print(
            f"\n  resident MiB over {PICTURES:,} pictures: {' '.join(f'{one:.0f}' for one in resident)}, peak {peak:.0f}"
        )
    assert max(resident[1:]) - resident[1] < LEAK_MIB


def test_one_more_job_at_once_costs_little_memory(
    small: list[bytes], large: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    five = [tmp_path / f"{number}.jpg" for number in range(4)]
    for path, image in zip(five, large, strict=False):
        path.write_bytes(image)
    phone = {f"twelve megapixels, {name}": paths for name, paths in phone_pictures(small, tmp_path).items()}
    costs = {}
    for name, paths in {"five megapixels": five, **phone}.items():
        peaks = {threads: memory(paths, count=40 * threads, threads=threads)[-1] for threads in (1, 4)}
        costs[name] = (peaks[4] - peaks[1]) / 3 * 2**20 / 1e6
        with capsys.disabled():
            shown = ", ".join(f"{peak:.0f} MiB with {threads}" for threads, peak in peaks.items())
            print(f"\n  {name}: peak {shown} at once; one more job {costs[name]:.1f} MB (bar {JOB_MB:g})", end="")
    # All twelve megapixels are 37 MB by themselves; what a far face costs is shown and held to no bar.
    assert max(costs["five megapixels"], costs["twelve megapixels, alone"]) < JOB_MB


def test_models_load_soon(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.perf_counter()
    FaceEngine.load(settings, NEWEST)
    seconds = time.perf_counter() - began
    with capsys.disabled():
        print(f"\n  models loaded in {seconds:.2f} s (bar {LOAD_SECONDS:g})")
    assert seconds < LOAD_SECONDS
