"""A process that decodes what it makes up until its time is over: `python -m tests.vision.fuzzing SECONDS SEED FILE`.

It keeps inputs that reach a step of our own code which none reached before, and changes those further; where a step is a pair
of lines run one after the other. The input that is being decoded stands in the file, so that it is known when the process dies.
"""

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import cv2
import numpy as np

from app.errors import ServiceError
from tests.vision.hostile import (
    animated_png,
    flat_png,
    grey_jpeg,
    progressive_jpeg,
    segment,
    with_chunks,
    with_segments,
)
from tests.vision.pictures import chunk, exif, jpeg, palette_png, png, with_exif
from workers.vision import decode, file_formats

_WATCHED = {decode.__file__, file_formats.__file__}

#: One input may take so long; pictures in here are small.
_MOST_SECONDS = 2.0

#: The corpus stays small enough that everything in it is changed often.
_MOST_KEPT = 400
_MOST_BYTES = 20_000

_WORDS = [
    b"\xff", b"\x00", b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\xff\xc0", b"\xff\xc2", b"\xff\xc4", b"\xff\xdb", b"\xff\xdd",
    b"\xff\xe1", b"\xff\xee", b"\xff\xd0", b"\xff\x01", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"IHDR",
    b"IDAT", b"IEND", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf", b"iCCP", b"gAMA", b"Exif\0\0", b"MM\0*", b"II*\0",
]  # fmt: skip


def seeds() -> list[bytes]:
    """Make a picture of every kind, small."""
    pixels = (np.arange(100 * 120 * 3, dtype=np.uint32).reshape(100, 120, 3) // 150).astype(np.uint8)
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    made = jpeg(pixels, cv2.IMWRITE_JPEG_QUALITY, 30)
    return [
        made, jpeg(grey), jpeg(pixels, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), jpeg(pixels, cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        with_exif(made, 6), with_segments(made, segment(0xEE, b"Adobe\0d\0\0\0\0\1")), grey_jpeg(104, 104, components=4),
        grey_jpeg(96, 96, marker=0xC9), progressive_jpeg(96, 96, scans=4), png(pixels), png(grey), palette_png(pixels),
        png(grey.astype(np.uint16) * 257), flat_png(90, 90, depth=16, colour=6, interlaced=True),
        flat_png(90, 90, depth=2, colour=0), animated_png(2), with_chunks(png(grey), chunk(b"eXIf", exif(3))),
    ]  # fmt: skip


def mutated(rng: random.Random, image: bytes, other: bytes) -> bytes:
    """Change a file in one to six places."""
    changed = bytearray(image)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        rng.choice(_CHANGES)(rng, changed, other)
    return repaired(bytes(changed)) if rng.random() < 0.7 else bytes(changed)


def _place(rng: random.Random, changed: bytearray) -> int:
    """Choose a place, mostly near the beginning, where the structure is."""
    return rng.randrange(min(len(changed), rng.choice((64, 700, 10**9))) + 1)


def _flip(rng: random.Random, changed: bytearray, other: bytes) -> None:
    if changed:
        changed[_place(rng, changed) - 1] ^= 1 << rng.randrange(8)


def _write(rng: random.Random, changed: bytearray, other: bytes) -> None:
    at, word = _place(rng, changed), rng.choice(_WORDS)
    changed[at : at + len(word) * rng.randrange(2)] = word


def _number(rng: random.Random, changed: bytearray, other: bytes) -> None:
    at, size = _place(rng, changed), rng.choice((1, 2, 4))
    changed[at : at + size] = rng.getrandbits(8 * size).to_bytes(size)


def _cut(rng: random.Random, changed: bytearray, other: bytes) -> None:
    at = _place(rng, changed)
    del changed[at : at + rng.choice((1, 4, 12, 100, 10**9))]


def _repeat(rng: random.Random, changed: bytearray, other: bytes) -> None:
    at = _place(rng, changed)
    changed[at:at] = changed[at : at + rng.choice((4, 12, 100))] * rng.choice((1, 2, 20))


def _splice(rng: random.Random, changed: bytearray, other: bytes) -> None:
    at, begin = _place(rng, changed), rng.randrange(len(other) + 1)
    changed[at:] = other[begin:]


_CHANGES: list[Callable[[random.Random, bytearray, bytes], None]] = [
    _flip,
    _flip,
    _write,
    _number,
    _cut,
    _repeat,
    _splice,
]


def repaired(image: bytes) -> bytes:
    """Give the chunks of a PNG the checksums that belong to them: otherwise nothing behind them is ever looked at."""
    if not image.startswith(b"\x89PNG\r\n\x1a\n"):
        return image
    good, at = image[:8], 8
    while at + 12 <= len(image):
        length = int.from_bytes(image[at : at + 4])
        if at + 12 + length > len(image):
            break
        good += chunk(image[at + 4 : at + 8], image[at + 8 : at + 8 + length])
        at += 12 + length
    return good + image[at:]


class Steps:
    """The steps of our own code that were ever taken."""

    def __init__(self) -> None:
        self.known: set[tuple[int, int, int]] = set()
        self._new = False

    def are_new(self, run: Callable[[], None]) -> bool:
        """Run and tell whether a step was taken for the first time."""
        self._new = False
        sys.settrace(self._enter)
        try:
            run()
        finally:
            sys.settrace(None)
        return self._new

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in _WATCHED:
            return None
        before = 0

        def note(inner: FrameType, event: str, argument: Any) -> Any:
            nonlocal before
            step = (id(inner.f_code), before, inner.f_lineno)
            before = inner.f_lineno
            if step not in self.known:
                self.known.add(step)
                self._new = True
            return note

        return note


def look(image: bytes, reduction: int) -> None:
    """Decode as the engine does; what is decoded is as large as it was said to be."""
    try:
        picture = decode.open_picture(image)
        shape = picture.decode(reduction).shape
    except ServiceError:
        return
    sides = sorted(-(-side // reduction) for side in (picture.header.width, picture.header.height))
    assert sorted(shape[:2]) == sides, f"{shape} decoded, {sides} announced"


def hush() -> None:
    """Drop what the libraries write about bad pictures: it would fill a disk. Our own last words are heard."""
    sys.stderr = os.fdopen(os.dup(2), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def main(seconds: float, seed: int, file: Path) -> None:
    """Fuzz, and say how it went."""
    rng, steps, corpus, made = random.Random(seed), Steps(), [], seeds()  # noqa: S311 - a run can be repeated
    written = os.open(file, os.O_RDWR | os.O_CREAT)
    deadline, runs = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        image = made.pop() if made else mutated(rng, rng.choice(corpus), rng.choice(corpus))[:_MOST_BYTES]
        os.ftruncate(written, 0)
        os.pwrite(written, image, 0)
        reduction, began = rng.choice((1, 2, 4, 8)), time.process_time()
        if steps.are_new(lambda image=image, reduction=reduction: look(image, reduction)) and len(corpus) < _MOST_KEPT:
            corpus.append(image)
        assert time.process_time() - began < _MOST_SECONDS, "it took too long"
        runs += 1
    sys.stdout.write(f"{runs} pictures, {len(corpus)} kept, {len(steps.known)} steps of our code\n")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    hush()
    main(float(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
