"""The engine on real portraits: who is who, where they are, and agreement with OpenCV's own use of the two networks."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.assets import AssetError, require_model
from app.config import Settings
from app.domain.face_models import NEWEST, SFACE, YUNET, Preprocessing
from app.domain.faces import DetectedFace, iou, quality_reasons
from workers.vision.alignment import CROP_SIZE
from workers.vision.arrays import Floats, Pixels
from workers.vision.decode import open_picture
from workers.vision.detector import MOST_FOUND, OVERLAP_THRESHOLD, SCORE_THRESHOLD
from workers.vision.embedder import Embedder
from workers.vision.engine import FaceEngine
from workers.vision.graphs import prepare_embedder
from workers.vision.roll import LEVEL_DEGREES
from workers.vision.search import LONG_SIDE
from workers.vision.sessions import CPU, ModelError, open_session

pytestmark = pytest.mark.models


def embedding(face: DetectedFace) -> Floats:
    return np.frombuffer(face.embedding, "<f4")


def similarity(one: DetectedFace, other: DetectedFace) -> float:
    return NEWEST.curve.similarity(float(embedding(one) @ embedding(other)))


@pytest.fixture(scope="module")
def known(engine: FaceEngine, portraits: dict[str, bytes]) -> dict[str, DetectedFace]:
    """The one face of each sample portrait."""
    found = {name: engine.analyze(image) for name, image in portraits.items()}
    assert [len(faces) for faces in found.values()] == [1] * len(portraits)
    return {name: faces[0] for name, faces in found.items()}


def test_one_person_is_recognised_and_another_is_not(known: dict[str, DetectedFace]) -> None:
    assert similarity(known["obama"], known["obama2"]) > 99
    assert similarity(known["obama"], known["obama3"]) > 99
    assert similarity(known["obama"], known["obama_partial_face"]) > 90
    assert all(similarity(known["biden"], known[name]) < 20 for name in ("obama", "obama2", "obama3"))


def test_a_good_portrait_reads_like_one(known: dict[str, DetectedFace]) -> None:
    face = known["obama"]
    assert quality_reasons(face, "HIGH", NEWEST) == ()
    assert face.confidence > 99
    assert face.measures.width_pixels == pytest.approx(face.box.width * 910, rel=0.01)
    assert max(abs(angle) for angle in dataclasses.astuple(face.pose)) < 15
    assert 20 < face.measures.brightness < 90
    assert face.measures.sharpness > 50


def test_landmarks_are_named_as_seen_in_the_image(known: dict[str, DetectedFace]) -> None:
    marks = known["obama"].landmarks
    assert marks.eye_left[0] < marks.nose[0] < marks.eye_right[0]
    assert marks.mouth_left[0] < marks.mouth_right[0]
    assert marks.eye_left[1] < marks.nose[1] < marks.mouth_left[1]


def test_an_embedding_is_float32_of_unit_length(known: dict[str, DetectedFace]) -> None:
    for face in known.values():
        assert len(face.embedding) == 4 * NEWEST.dimension
        assert np.linalg.norm(embedding(face)) == pytest.approx(1.0, abs=1e-6)


def mosaic(image: bytes, columns: int, rows: int, side: int = 120) -> bytes:
    """Repeat a portrait's head, each one a little larger than the one before."""
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)[60:760, 120:820]
    sheet = np.full((rows * side, columns * side, 3), 128, np.uint8)
    for index in range(columns * rows):
        size = side * 3 // 4 + index * side // 4 // (columns * rows)
        top, left = index // columns * side, index % columns * side
        sheet[top : top + size, left : left + size] = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".png", sheet)[1])


def test_faces_come_largest_first_and_each_is_embedded_as_itself(
    engine: FaceEngine, portraits: dict[str, bytes], known: dict[str, DetectedFace]
) -> None:
    faces = engine.analyze(mosaic(portraits["obama"], 4, 3, side=240))  # more than one chunk
    areas = [face.box.area for face in faces]
    assert len(faces) == 12
    assert areas == sorted(areas, reverse=True)
    assert all(similarity(face, known["obama"]) > 95 for face in faces)


def test_at_most_a_hundred_faces_are_given(engine: FaceEngine, portraits: dict[str, bytes]) -> None:
    assert len(engine.analyze(mosaic(portraits["obama"], 12, 10))) == 100


def test_one_engine_serves_many_threads(
    engine: FaceEngine, portraits: dict[str, bytes], known: dict[str, DetectedFace]
) -> None:
    names = [name for name in known for _ in range(3)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda name: engine.analyze(portraits[name]), names))
    assert results == [[known[name]] for name in names]


def test_a_picture_without_a_face_is_an_empty_list(engine: FaceEngine) -> None:
    gradient = np.tile(np.arange(256, dtype=np.uint8), (300, 2))[:, :, None].repeat(3, 2)
    assert engine.analyze(bytes(cv2.imencode(".png", gradient)[1])) == []


def reference(settings: Settings, pixels: Pixels) -> tuple[Floats, Floats, float]:
    """Largest box, unit embedding and roll as OpenCV's own classes give them, detecting at the same size as the engine."""
    height, width = pixels.shape[:2]
    factor = min(max(max(height, width), 320), LONG_SIDE) / max(height, width)
    interpolation = cv2.INTER_AREA if factor < 0.5 else cv2.INTER_LINEAR
    small = cv2.resize(pixels, (round(width * factor), round(height * factor)), interpolation=interpolation)
    size = small.shape[1], small.shape[0]
    paths = [str(require_model(settings, file)) for file in (YUNET, SFACE)]
    detector = cv2.FaceDetectorYN.create(paths[0], "", size, SCORE_THRESHOLD, OVERLAP_THRESHOLD)
    recognizer = cv2.FaceRecognizerSF.create(paths[1], "")
    rows = np.asarray(detector.detect(small)[1])
    row = rows[np.argmax(rows[:, 2] * rows[:, 3])]
    row[:14:2] *= width / size[0]
    row[1:14:2] *= height / size[1]
    raw = np.asarray(recognizer.feature(recognizer.alignCrop(pixels, row))).ravel()
    roll = np.degrees(np.arctan2(row[7] - row[5], row[6] - row[4]))
    return row[:4] / [width, height, width, height], raw / np.linalg.norm(raw), float(roll)


def assert_agreement(settings: Settings, engine: FaceEngine, image: bytes) -> None:
    """Where eyes are not level there is none, for the engine looks at such a face again."""
    picture = open_picture(image)
    box, expected, roll = reference(settings, picture.decode(picture.reduction(LONG_SIDE)))
    if abs(roll) > LEVEL_DEGREES:
        return
    face = engine.analyze(image)[0]
    assert dataclasses.astuple(face.box) == pytest.approx(tuple(box), abs=1e-6)
    assert float(embedding(face) @ expected) > 0.9999


def test_the_engine_agrees_with_opencv_on_samples(
    settings: Settings, engine: FaceEngine, portraits: dict[str, bytes]
) -> None:
    for image in portraits.values():
        assert_agreement(settings, engine, image)


@pytest.mark.faces
def test_the_engine_agrees_with_opencv_on_portraits(settings: Settings, engine: FaceEngine, faces_dir: Path) -> None:
    for path in sorted((faces_dir / "portraits").glob("*.jpg"))[::12]:
        assert_agreement(settings, engine, path.read_bytes())


def test_the_prepared_network_gives_the_numbers_of_the_file(settings: Settings) -> None:
    model = require_model(settings, SFACE).read_bytes()
    shipped = open_session(model, CPU)
    prepared = Embedder(open_session(prepare_embedder(model), CPU), Preprocessing())
    noise = np.random.default_rng(3).integers(0, 256, (9, 14, 14, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    assert noise.shape[1] == CROP_SIZE
    batch, norms = prepared.embed(noise)
    for crop, unit, norm in zip(noise, batch, norms, strict=True):
        planes = crop[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32)
        raw = shipped.run(None, {"data": planes})[0][0]
        assert float(raw @ unit) / np.linalg.norm(raw) == pytest.approx(1.0, abs=1e-5)
        assert norm == pytest.approx(np.linalg.norm(raw), rel=1e-5)
        assert prepared.embed(crop[None])[0][0] == pytest.approx(unit, abs=1e-5)


def test_boxes_do_not_overlap(engine: FaceEngine, portraits: dict[str, bytes]) -> None:
    faces = engine.analyze(mosaic(portraits["biden"], 3, 2, side=200))
    pairs = [(one, other) for one in faces for other in faces if one is not other]
    assert all(iou(one.box, other.box) <= OVERLAP_THRESHOLD for one, other in pairs)


def test_a_missing_provider_is_an_error_and_no_silent_cpu(settings: Settings) -> None:
    with pytest.raises(ModelError, match="has no NoSuchExecutionProvider"):
        FaceEngine.load(dataclasses.replace(settings, execution_provider="NoSuchExecutionProvider"), NEWEST)


def test_a_model_with_other_bytes_is_not_opened(settings: Settings, tmp_path: Path) -> None:
    content = bytearray(require_model(settings, YUNET).read_bytes())
    content[-1] ^= 1
    (tmp_path / YUNET.name).write_bytes(content)
    with pytest.raises(ModelError, match="is not the pinned file"):
        FaceEngine.load(dataclasses.replace(settings, models_dir=tmp_path), NEWEST)


def test_a_missing_model_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="rekollect models pull"):
        FaceEngine.load(Settings(cache_dir=tmp_path), NEWEST)


def test_a_network_of_another_dimension_is_refused(settings: Settings) -> None:
    with pytest.raises(ModelError, match="embeddings of 128 numbers"):
        FaceEngine.load(settings, dataclasses.replace(NEWEST, dimension=512))


@pytest.fixture
def half_covered(portraits: dict[str, bytes], known: dict[str, DetectedFace]) -> bytes:
    """A face that no turned look shows again, and whose embedding is short, but not below the lowest bar."""
    pixels = cv2.imdecode(np.frombuffer(portraits["obama_partial_face"], np.uint8), cv2.IMREAD_COLOR)
    box, factor = known["obama_partial_face"].box, 100 / known["obama_partial_face"].measures.width_pixels
    small = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    small[:, int((box.left + box.width / 2) * small.shape[1]) :] = 90
    return bytes(cv2.imencode(".png", small)[1])


def test_a_face_that_is_hard_to_know_is_given_as_it_was_found(engine: FaceEngine, half_covered: bytes) -> None:
    (face,) = engine.analyze(half_covered)
    assert face.measures.detector_score > SCORE_THRESHOLD
    assert 8 <= face.measures.embedding_norm < 10


def test_a_face_that_no_look_has_moved_is_embedded_once(
    engine: FaceEngine, half_covered: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[int] = []
    embed = Embedder.embed

    def counting(embedder: Embedder, crops: Pixels) -> tuple[Floats, Floats]:
        embedded.append(len(crops))
        return embed(embedder, crops)

    monkeypatch.setattr(Embedder, "embed", counting)
    assert len(engine.analyze(half_covered)) == 1
    assert embedded == [1]


def test_a_picture_gives_a_bounded_number_of_boxes_the_best_ones(engine: FaceEngine) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (640, 640, 3), np.uint8)
    scores = engine._detector.detect(noise, long_side=640, score=0.0).scores
    assert len(scores) == MOST_FOUND
    assert np.all(np.diff(scores) <= 0)
