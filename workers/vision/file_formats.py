"""The structure of JPEG and PNG files, as far as it shows without decoding: size, and whether the end is there.

JPEG: ITU-T T.81 annex B (segments of a marker and a length, compressed data in between, EOI at the end). PNG: ISO/IEC
15948 section 5 (chunks of length, type, data and CRC, IEND last). Bytes after the end are allowed: cameras and phones
append previews and videos.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.errors import InvalidImageFormat

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"

#: A marker in JPEG data: 0xFF and a code; 0x00 is a stuffed 0xFF, 0xD0..0xD7 are restarts, 0x01 is for arithmetic
#: coding.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9

#: Progressive files of common encoders have about ten scans, and each costs a pass over the whole picture.
_MAX_SCANS = 100

#: Segments and chunks may be empty, so that a million of them fit into a file, and each costs time here and in the decoders.
#: Encoders write pixels in pieces of some kilobytes, and colour profiles in 255 segments at most.
_MAX_PARTS = 20_000

#: What pixels are decoded from. Everything else stays away from the decoder: texts and profiles may unpack to anything, and of
#: some chunks of animations the reader of OpenCV 5.0 dies.
_PNG_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_ANCILLARY = 0x20  # of the first letter of a chunk's name


@dataclass(frozen=True, slots=True)
class Header:
    """Format and stored dimensions, before any Exif orientation.

    `essentials` gives what a decoder needs of the file, or raises InvalidImageFormat where that is not all there.
    """

    format: str
    width: int
    height: int
    essentials: Callable[[bytes], bytes]


def read_header(image: bytes) -> Header:
    """Tell JPEG and PNG by their content and read the dimensions; raise InvalidImageFormat for anything else."""
    try:
        if image.startswith(_PNG_SIGNATURE):
            return _png_header(image)
        if image.startswith(_JPEG_SIGNATURE):
            return _jpeg_header(image)
    except struct.error as error:
        raise InvalidImageFormat from error
    raise InvalidImageFormat


def _png_header(image: bytes) -> Header:
    length, kind, width, height = struct.unpack_from(">I4sII", image, len(_PNG_SIGNATURE))
    if length != 13 or kind != b"IHDR" or width == 0 or height == 0:
        raise InvalidImageFormat
    return Header("PNG", width, height, _png_essentials)


def _png_essentials(image: bytes) -> bytes:
    """Every chunk lies inside the file, they are not too many, the pixel data are undamaged, and IEND is there."""
    parts, position, has_pixels = [_PNG_SIGNATURE], len(_PNG_SIGNATURE), False
    for _ in range(_MAX_PARTS):
        if position + 12 > len(image):
            break
        length, kind = struct.unpack_from(">I4s", image, position)
        end = position + 12 + length
        if kind in _PNG_CRITICAL:
            parts.append(image[position:end])
        elif not kind[0] & _ANCILLARY:  # whoever does not know a critical chunk cannot read the picture
            break
        if kind == b"IDAT":
            has_pixels = True
            if image[end - 4 : end] != zlib.crc32(image[position + 4 : end - 4]).to_bytes(4):
                break
        if kind == b"IEND" and has_pixels:
            return b"".join(parts)
        position = end
    raise InvalidImageFormat


def _jpeg_header(image: bytes) -> Header:
    for marker, position in _jpeg_segments(image):
        if marker in _START_OF_FRAME:
            _, _, height, width = struct.unpack_from(">HBHH", image, position)
            if width == 0 or height == 0:  # a height of 0 stands for "see later", which no decoder in use supports
                break
            return Header("JPEG", width, height, _whole_jpeg)
        if marker == _START_OF_SCAN:
            break
    raise InvalidImageFormat


def _whole_jpeg(image: bytes) -> bytes:
    """There are scans, but not so many that decoding would be an attack, and the end of the image comes after them."""
    scans = 0
    for marker, _ in _jpeg_segments(image):
        scans += marker == _START_OF_SCAN
        if scans > _MAX_SCANS or (marker == _END_OF_IMAGE and scans == 0):
            break
        if marker == _END_OF_IMAGE:
            return image
    raise InvalidImageFormat


def _jpeg_segments(image: bytes) -> Iterator[tuple[int, int]]:
    """Walk the markers and give each with the position behind it; segments are stepped over, compressed data are not.

    A preview inside an Exif segment is a JPEG of its own; stepping over segments is what keeps its markers out. The walk ends
    where there are too many, or where the file is cut.
    """
    position = 2
    for _ in range(_MAX_PARTS):
        found = _MARKER.search(image, position)
        if found is None:
            return
        marker, position = found[1][0], found.end()
        yield marker, position
        if marker != _END_OF_IMAGE:
            length = int.from_bytes(image[position : position + 2])
            position += max(length, 2)
