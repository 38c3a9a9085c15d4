"""Face model versions: which networks made an embedding, and what its numbers mean.

A collection belongs to one version, every embedding row carries its version, and two versions never meet in one search.
A version is data: files pinned by SHA-256, dimension, similarity curve, quality bars, and the search table that holds it.
Version 1.0 is built in; others are registered in Postgres (`app.db.face_models`) and never change after that.
"""

import math
import re
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One ONNX file, known by the digest of its bytes; where the bytes come from does not matter."""

    name: str
    sha256: str
    size: int
    licence: str
    url: str


# 100 itself is out of a logistic's reach. Answers are in single precision, which calls this and all above it 100.
_FULL_SHARE = (100.0 - 2.0**-18) / 100.0


@dataclass(frozen=True, slots=True)
class SimilarityCurve:
    """Similarity 0..100 = 100 / (1 + exp(-(slope * cosine - offset))), strictly rising in the cosine."""

    slope: float
    offset: float

    def similarity(self, cosine: float) -> float:
        """Map a cosine in -1..1 to a similarity in 0..100."""
        return 100.0 / (1.0 + math.exp(-(self.slope * cosine - self.offset)))

    def cosine(self, similarity: float) -> float:
        """Give the smallest cosine that reaches a similarity; 0 asks for every face, 100 for the same picture."""
        if similarity <= 0.0:
            return -1.0
        share = min(similarity / 100.0, _FULL_SHARE)
        return max(-1.0, min(1.0, (math.log(share / (1.0 - share)) + self.offset) / self.slope))


@dataclass(frozen=True, slots=True)
class QualityBar:
    """The least a face must offer to pass one level of the quality filter; the names are Rekognition's reasons."""

    embedding_norm: float
    width_pixels: float
    detector_score: float
    yaw_degrees: float
    sharpness: float
    luma_low: float
    luma_high: float


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What an embedder wants of a 112 x 112 crop: (pixel - mean) / deviation for each channel, in this order of channels."""

    channels: str = "RGB"  # or BGR
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class FaceModelVersion:
    """One set of networks that make comparable embeddings."""

    version: str
    detector: ModelFile
    embedder: ModelFile
    dimension: int
    search_table: str
    user_search_table: str
    curve: SimilarityCurve
    quality_bars: dict[str, QualityBar]
    preprocessing: Preprocessing = Preprocessing()
    upright_norm: float | None = None  # a face whose raw embedding is shorter may be turned; None: lengths tell nothing


YUNET = ModelFile(
    name="face_detection_yunet_2023mar.onnx",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    size=232_589,
    licence="MIT",
    url="https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/"
    "face_detection_yunet/face_detection_yunet_2023mar.onnx",
)
SFACE = ModelFile(
    name="face_recognition_sface_2021dec.onnx",
    sha256="0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
    size=38_696_353,
    licence="Apache-2.0",
    url="https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/"
    "face_recognition_sface/face_recognition_sface_2021dec.onnx",
)

# The curve was fitted on all pairs of LFW (87 million impostor pairs, 242 thousand genuine ones): similarity 80 stands for a
# false match rate of 1e-4, 99 for 1e-6. The quality bars come from error-versus-reject curves on the same data.
VERSION_1 = FaceModelVersion(
    version="1.0",
    detector=YUNET,
    embedder=SFACE,
    dimension=128,
    search_table="fv_sface128",
    user_search_table="uv_sface128",
    curve=SimilarityCurve(slope=36.054, offset=13.684),
    quality_bars={
        "LOW": QualityBar(8.0, 16, 0.6, 65, 0.004, 8, 245),
        "MEDIUM": QualityBar(9.5, 24, 0.7, 55, 0.007, 15, 235),
        "HIGH": QualityBar(11.0, 40, 0.8, 45, 0.02, 30, 225),
    },
    upright_norm=10.0,
)

VERSIONS: dict[str, FaceModelVersion] = {VERSION_1.version: VERSION_1}
NEWEST = VERSION_1

#: How a registered version is called.
VERSION_NAME = re.compile(r"[1-9][0-9]{0,3}\.[0-9]{1,4}")

#: Places of eyes, nose and mouth in a crop; there is one template so far.
TEMPLATE = "arcface112"


def registered(
    version: str, embedder: ModelFile, dimension: int, curve: SimilarityCurve, preprocessing: Preprocessing
) -> FaceModelVersion:
    """Make a version of another embedder behind our detector; the length of its raw embeddings is no measure of quality."""
    name = version.replace(".", "_")
    return FaceModelVersion(
        version=version,
        detector=YUNET,
        embedder=embedder,
        dimension=dimension,
        search_table=f"fv_{name}_d{dimension}",
        user_search_table=f"uv_{name}_d{dimension}",
        curve=curve,
        quality_bars={level: replace(bar, embedding_norm=0.0) for level, bar in VERSION_1.quality_bars.items()},
        preprocessing=preprocessing,
    )
