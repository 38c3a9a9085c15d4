"""Crops: kept without loss, and embedded as the picture that they come from."""

import numpy as np
import pytest

from app.domain.face_models import Preprocessing
from workers.vision import crops
from workers.vision.alignment import CROP_SIZE
from workers.vision.embedder import Embedder
from workers.vision.engine import FaceEngine


def test_a_kept_crop_is_the_crop() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), np.uint8).tobytes()
    assert crops.decode(crops.encode(noise)) == noise


@pytest.mark.models
def test_a_kept_crop_gives_the_embedding_of_its_picture(engine: FaceEngine, portraits: dict[str, bytes]) -> None:
    (face,) = engine.analyze(portraits["obama"])
    assert engine.embed([crops.decode(crops.encode(face.crop))]) == [face.embedding]
    assert engine.embed([]) == []


class Recorder:
    """A session that keeps what it is given."""

    def get_inputs(self) -> list["Recorder"]:
        return [self]

    name = "input"

    def run(self, _: object, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.planes = feeds["input"]
        return [np.ones((len(self.planes), 4), np.float32)]


@pytest.mark.parametrize(
    ("channels", "order"), [("RGB", (2, 1, 0)), ("BGR", (0, 1, 2))], ids=["red first", "blue first"]
)
def test_pixels_are_scaled_for_each_channel_in_the_models_order(channels: str, order: tuple[int, ...]) -> None:
    session = Recorder()
    pixels = np.random.default_rng(4).integers(0, 256, (2, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    Embedder(session, Preprocessing(channels, (10, 20, 30), (2, 4, 8))).embed(pixels)
    assert session.planes.dtype == np.float32
    for place, channel in enumerate(order):
        mean, deviation = (10, 20, 30)[place], (2, 4, 8)[place]
        assert np.allclose(session.planes[:, place], (pixels[..., channel] - np.float32(mean)) / deviation)
