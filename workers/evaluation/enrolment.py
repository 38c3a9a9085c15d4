"""Pictures to embeddings, each looked at once, through whatever recognizes faces: our engine or a peer.

A picture that gives no face is a failure to enrol. It stays in every count: no threshold lets it match, neither its own
person nor a stranger, so that a recognizer gains nothing by refusing what is difficult.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from app.errors import ServiceError
from workers.evaluation.pairs import Places
from workers.vision.arrays import Floats


class NoFace(Exception):
    """There is no face in the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """What a recognizer makes of a picture: the embedding, and the length that its raw form had."""

    embedding: Floats
    norm: float


class Recognizer(Protocol):
    """Looks at pictures; threads share one."""

    name: str
    #: Whether embeddings are compared by their distance rather than by their cosine.
    by_distance: bool

    def embed(self, image: bytes) -> Embedded:
        """Embed the face that counts; raise NoFace, or ServiceError for what is no picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    """n pictures as a recognizer sees them. A score is the product of two embeddings plus both offsets.

    With offsets of 0 that is the cosine, with minus half the squared length it is minus half the squared distance, and minus
    infinity marks a failure to enrol.
    """

    embeddings: Floats  # n x dimension
    offsets: Floats
    norms: Floats
    failures: dict[int, str]  # reason by index of the picture

    def scores(self, rows: Places, columns: Places) -> Floats:
        """Score each of some pictures against each of others, as rows x columns."""
        products = self.embeddings[rows] @ self.embeddings[columns].T
        products += self.offsets[rows][:, None]
        products += self.offsets[columns][None, :]
        return products

    def paired(self, left: Places, right: Places) -> Floats:
        """Score pictures one by one."""
        products = np.einsum("nd,nd->n", self.embeddings[left], self.embeddings[right])
        return np.asarray(products + self.offsets[left] + self.offsets[right])


def enrol(pictures: Sequence[Path], recognizer: Recognizer, *, threads: int, count: Callable[[int], None]) -> Enrolment:
    """Look at every picture; `count` is told how many are done."""
    found: list[Embedded | str] = []
    pool = ThreadPoolExecutor(threads)
    try:
        for result in pool.map(lambda picture: _look(recognizer, picture), pictures):
            found.append(result)
            count(len(found))
    finally:
        pool.shutdown(cancel_futures=True)
    return assemble(found, by_distance=recognizer.by_distance)


def assemble(found: Sequence[Embedded | str], *, by_distance: bool = False) -> Enrolment:
    """Put what was found of each picture, an embedding or the reason of a failure, into arrays."""
    dimension = next((len(one.embedding) for one in found if isinstance(one, Embedded)), 1)
    embeddings = np.zeros((len(found), dimension), np.float32)
    offsets, norms = np.zeros(len(found), np.float32), np.zeros(len(found), np.float32)
    failures = {}
    for place, one in enumerate(found):
        if isinstance(one, Embedded):
            embeddings[place], norms[place] = one.embedding, one.norm
            offsets[place] = -0.5 * np.sum(np.square(one.embedding)) if by_distance else 0.0
        else:
            failures[place], offsets[place] = one, -np.inf
    return Enrolment(embeddings, offsets, norms, failures)


def _look(recognizer: Recognizer, picture: Path) -> Embedded | str:
    try:
        return recognizer.embed(picture.read_bytes())
    except NoFace:
        return "no face"
    except ServiceError as error:
        return type(error).__name__
    except OSError as error:
        return error.strerror or "cannot be read"
