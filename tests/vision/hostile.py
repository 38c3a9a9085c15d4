"""Pictures that were made to hurt: little to send, much to do or to keep."""

import struct
import zlib
from collections.abc import Callable

from tests.vision.pictures import chunk, png_header

#: A picture as large as may be: 50 million pixels.
WIDTH, HEIGHT = 10_000, 5_000

#: As many bytes as a worker ever fetches.
MOST_BYTES = 15 * 1024 * 1024


def segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def huffman_table(kind: int, *symbols: int) -> bytes:
    """Define a table whose codes are all as long as need be for so many symbols; a symbol's code is its place."""
    length = max(1, (len(symbols)).bit_length())
    counts = bytes(len(symbols) if bits == length else 0 for bits in range(1, 17))
    return segment(0xC4, bytes([kind]) + counts + bytes(symbols))


def frame(marker: int, width: int, height: int, components: int, precision: int = 8) -> bytes:
    parts = b"".join(bytes([number, 0x11, 0]) for number in range(1, components + 1))
    return segment(marker, struct.pack(">BHHB", precision, height, width, components) + parts)


def scan_header(*components: int, spectrum: tuple[int, int] = (0, 63), approximation: int = 0) -> bytes:
    parts = b"".join(bytes([number, 0]) for number in components)
    return segment(0xDA, bytes([len(components)]) + parts + bytes([*spectrum, approximation]))


def _tables() -> bytes:
    return segment(0xDB, b"\0" + bytes([1] * 64)) + huffman_table(0x00, 0) + huffman_table(0x10, 0)


def grey_jpeg(width: int, height: int, *, components: int = 3, marker: int = 0xC0, precision: int = 8) -> bytes:
    """Write a grey JPEG in two bits a block: both tables know one code, for nothing."""
    blocks = -(-width // 8) * -(-height // 8) * components
    head = b"\xff\xd8" + _tables() + frame(marker, width, height, components, precision)
    return head + scan_header(*range(1, components + 1)) + bytes(-(-blocks // 4)) + b"\xff\xd9"


def progressive_jpeg(width: int, height: int, *, scans: int) -> bytes:
    """Write a grey progressive JPEG; every scan but the first makes a pass over all blocks of one component, for nothing."""
    blocks = -(-width // 8) * -(-height // 8)
    first = scan_header(1, 2, 3, spectrum=(0, 0)) + bytes(-(-blocks * 3 // 8))
    # 0xE0 and fourteen zeros are a run of 16,384 blocks without coefficients.
    run = huffman_table(0x10, 0xE0)
    runs = bytes(-(-15 * -(-blocks // 16_384) // 8) + 8)
    later = [
        scan_header(1 + number % 3, spectrum=(1 + number % 63, 1 + number % 63)) + runs for number in range(scans - 1)
    ]
    return b"\xff\xd8" + _tables() + run + frame(0xC2, width, height, 3) + first + b"".join(later) + b"\xff\xd9"


def flat_png(
    width: int, height: int, *, depth: int = 8, colour: int = 2, interlaced: bool = False, filter_: int = 0
) -> bytes:
    """Write a PNG of one colour; what is zero is as small as it gets."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    packer = zlib.compressobj(9)
    packed: list[bytes] = []
    passes = _PASSES if interlaced else [(0, 0, 1, 1)]
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        row = bytes([filter_]) + bytes(-(-columns * samples * depth // 8))
        packed += [packer.compress(row) for _ in range(rows if columns > 0 else 0)]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    content = b"".join(packed) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


#: Adam7: where each pass begins and its steps.
_PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def with_chunks(image: bytes, *chunks: bytes) -> bytes:
    """Put chunks behind the header of a PNG."""
    return image[:33] + b"".join(chunks) + image[33:]


def with_segments(image: bytes, *segments: bytes) -> bytes:
    """Put segments behind the first marker of a JPEG."""
    return image[:2] + b"".join(segments) + image[2:]


def frame_control(number: int, width: int, height: int) -> bytes:
    """Announce a frame of an animated PNG."""
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, 0, 0, 1, 1, 0, 0))


def animated_png(frames: int, *, announced: int | None = None, size: tuple[int, int] = (100, 100)) -> bytes:
    """Write an animated PNG; how many frames it announces, and how large the first is, may be lies."""
    still = flat_png(100, 100)
    control = chunk(b"acTL", struct.pack(">II", frames if announced is None else announced, 0))
    pixels = zlib.compress(bytes(301 * 100))
    later = [
        frame_control(2 * number + 1, 100, 100) + chunk(b"fdAT", struct.pack(">I", 2 * number + 2) + pixels)
        for number in range(frames - 1)
    ]
    return with_chunks(still, control, frame_control(0, *size))[:-12] + b"".join(later) + chunk(b"IEND", b"")


def broken_animation() -> bytes:
    """Write an animated PNG whose second frame is no chunk at all: 179 bytes of which the reader of OpenCV 5.0 dies."""
    still = with_chunks(flat_png(100, 100), chunk(b"acTL", struct.pack(">II", 2, 0)))
    return still[:-12] + frame_control(1, 100, 100) + chunk(b"fdA\x14", b"") + still[-12:]


def _text(kind: bytes, head: bytes) -> bytes:
    return chunk(kind, head + zlib.compress(bytes(200_000_000)))


_FILL = MOST_BYTES - 2000
_SMALL = (104, 104)

#: Each is refused or looked at, within bounds; they are made when they are needed.
BOMBS: dict[str, Callable[[], bytes]] = {
    "50 megapixels in 600 kB of JPEG": lambda: grey_jpeg(WIDTH, HEIGHT),
    "CMYK": lambda: grey_jpeg(WIDTH, HEIGHT, components=4),
    "a hundred scans": lambda: progressive_jpeg(WIDTH, HEIGHT, scans=100),
    "a thousand scans": lambda: progressive_jpeg(WIDTH, HEIGHT, scans=1000),
    "arithmetic coding": lambda: grey_jpeg(WIDTH, HEIGHT, marker=0xC9),
    "lossless JPEG": lambda: grey_jpeg(WIDTH, HEIGHT, marker=0xC3),
    "12 bits": lambda: grey_jpeg(WIDTH, HEIGHT, marker=0xC1, precision=12),
    "a second frame header": lambda: grey_jpeg(*_SMALL).replace(b"\xff\xda", frame(0xC0, 60_000, 60_000, 3) + b"\xff\xda", 1),
    "millions of segments": lambda: with_segments(grey_jpeg(*_SMALL), segment(0xEF, b"") * (_FILL // 4)),
    "Exif, 64 kB, again and again": lambda: with_segments(
        grey_jpeg(*_SMALL), segment(0xE1, b"Exif\0\0MM\0*" + bytes(65_000)) * (_FILL // 65_020)
    ),
    "fill bytes": lambda: with_segments(grey_jpeg(*_SMALL), b"\xff" * _FILL),
    "restart markers": lambda: grey_jpeg(*_SMALL)[:-2] + b"\xff\xd0" * (_FILL // 2) + b"\xff\xd9",
    "50 megapixels, 16 bits, transparent, interlaced": lambda: flat_png(WIDTH, HEIGHT, depth=16, colour=6, interlaced=True),
    "50 megapixels of one bit": lambda: flat_png(WIDTH, HEIGHT, depth=1, colour=0, interlaced=True),
    "a million chunks": lambda: with_chunks(flat_png(*_SMALL), chunk(b"tEXt", b"") * (_FILL // 12)),
    "a million chunks of pixels": lambda: with_chunks(flat_png(*_SMALL), chunk(b"IDAT", b"") * (_FILL // 12)),
    "a text of 200 MB": lambda: with_chunks(flat_png(*_SMALL), _text(b"iTXt", b"k\0\1\0\0\0")),
    "a compressed text of 200 MB": lambda: with_chunks(flat_png(*_SMALL), _text(b"zTXt", b"k\0\0")),
    "a colour profile of 200 MB": lambda: with_chunks(flat_png(*_SMALL), _text(b"iCCP", b"k\0\0")),
    "Exif of 14 MB": lambda: with_chunks(flat_png(*_SMALL), chunk(b"eXIf", bytes(14_000_000))),
    "a second IHDR": lambda: with_chunks(flat_png(*_SMALL), png_header(60_000, 60_000)[8:]),
    "four thousand million frames": lambda: animated_png(2, announced=2**32 - 1),
    "a frame larger than its picture": lambda: animated_png(2, size=(60_000, 60_000)),
    "a frame that is no chunk": broken_animation,
    "twenty thousand frames": lambda: animated_png(20_000),
}  # fmt: skip

#: Whole pictures that are something else too, as another program reads them.
POLYGLOTS: dict[str, Callable[[], bytes]] = {
    "a JPEG and a PDF": lambda: with_segments(grey_jpeg(*_SMALL), segment(0xFE, b"%PDF-1.7\n1 0 obj<<>>endobj")),
    "a JPEG and a page": lambda: with_segments(grey_jpeg(*_SMALL), segment(0xFE, b"<script>alert(1)</script>")),
    "a JPEG and an archive": lambda: grey_jpeg(*_SMALL) + b"PK\x05\x06" + bytes(18),
    "a PNG and an archive": lambda: flat_png(*_SMALL) + b"PK\x05\x06" + bytes(18),
    "a PNG and a JPEG": lambda: flat_png(*_SMALL) + grey_jpeg(*_SMALL),
}
