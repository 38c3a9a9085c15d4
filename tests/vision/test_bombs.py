"""Pictures that were made to hurt are refused or looked at within bounds of time and memory; none ends the process.

They are looked at in a process of their own, which also shows what the libraries write about them.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from app.config import Settings
from app.errors import InvalidImageFormat, ServiceError
from tests.vision.hostile import BOMBS, POLYGLOTS, flat_png, grey_jpeg, progressive_jpeg
from tests.vision.pictures import jpeg, png
from workers.vision.decode import open_picture
from workers.vision.engine import FaceEngine

pytestmark = pytest.mark.models

#: Of CPU. The dearest takes three seconds, to read fifty megapixels three times.
MOST_SECONDS = 8.0

#: A picture of fifty megapixels, and what it is read from or made into.
MOST_MEGABYTES = 400

#: What libraries write into the log about one picture.
MOST_LOG_BYTES = 100_000


@pytest.fixture(scope="module")
def looks(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a look at each bomb came to."""
    log: Path = tmp_path_factory.mktemp("bombs") / "log"
    with log.open("wb") as written:
        command = [sys.executable, "-m", "tests.vision.looking"]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=written, timeout=300, check=False)
    found = {one["name"]: one for one in map(json.loads, ended.stdout.splitlines())}
    assert ended.returncode == 0, f"it ended with {ended.returncode} after {list(found)[-1:]}"
    assert log.stat().st_size < MOST_LOG_BYTES * len(BOMBS)
    return found


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_does_no_harm(looks: dict[str, Any], name: str) -> None:
    look = looks[name]
    assert look["outcome"] in {"0 faces", "InvalidImageFormatException", "ImageTooLargeException"}, look
    assert look["seconds"] < MOST_SECONDS, look
    assert look["megabytes"] < MOST_MEGABYTES, look


@pytest.mark.parametrize(
    "name", ["a thousand scans", "millions of segments", "a million chunks", "a million chunks of pixels"]
)
def test_what_no_encoder_writes_is_not_even_decoded(looks: dict[str, Any], name: str) -> None:
    assert looks[name]["outcome"] == "InvalidImageFormatException"
    assert looks[name]["seconds"] < 0.5


@pytest.mark.parametrize("name", POLYGLOTS)
def test_a_picture_that_is_something_else_too_is_a_picture(engine: FaceEngine, name: str) -> None:
    image = POLYGLOTS[name]()
    assert open_picture(image).header.format == name.split()[1]
    assert engine.analyze(image) == []


PIXELS = np.arange(100 * 120 * 3, dtype=np.uint32).reshape(100, 120, 3) // 150
WHOLE = {
    "JPEG": jpeg(PIXELS.astype(np.uint8)),
    "progressive JPEG": jpeg(PIXELS.astype(np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "JPEG with restarts": jpeg(PIXELS.astype(np.uint8), cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    "JPEG made by hand": grey_jpeg(104, 104),
    "progressive JPEG made by hand": progressive_jpeg(104, 104, scans=5),
    "PNG": png(PIXELS.astype(np.uint8)),
    "16 bit interlaced PNG": flat_png(104, 104, depth=16, colour=6, interlaced=True),
}


def boundaries(image: bytes) -> list[int]:
    """List where a part of a file begins: a marker of a JPEG; a chunk of a PNG, its content and its CRC."""
    if image.startswith(b"\xff\xd8"):
        return [at for at in range(len(image) - 1) if image[at] == 0xFF and image[at + 1] not in (0x00, 0xFF)]
    found, at = [0], 8
    while at < len(image):
        length = int.from_bytes(image[at : at + 4])
        found += [at, at + 4, at + 8, at + 8 + length]
        at += length + 12
    return found


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_is_cut_between_two_of_its_parts_is_refused(name: str) -> None:
    image = WHOLE[name]
    for at in boundaries(image):
        for cut in range(max(at - 1, 0), min(at + 5, len(image) - 4 if name.endswith("PNG") else len(image) - 1)):
            with pytest.raises(InvalidImageFormat):
                open_picture(image[:cut])


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_is_damaged_where_a_part_begins_is_refused_or_read_as_large_as_it_says(name: str) -> None:
    image = WHOLE[name]
    for at in boundaries(image):
        for offset in range(5):
            for value in (
                b"\x00",
                b"\xff",
                b"\x01",
                b"\x00\x00",
                b"\xff\xff",
                b"\x7f\xff\xff\xff",
                b"\xff\xda",
                b"\xff\xc2",
            ):
                damaged = image[: at + offset] + value + image[at + offset + len(value) :]
                try:
                    picture = open_picture(damaged)
                    decoded = picture.decode()
                except ServiceError:
                    continue
                assert sorted(decoded.shape[:2]) == sorted((picture.header.height, picture.header.width))
