"""Scores, enrolments and evaluations made for tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.domain.face_models import VERSION_1
from workers.evaluation.datasets import Dataset
from workers.evaluation.enrolment import Embedded, Enrolment, NoFace, assemble
from workers.evaluation.evaluation import Evaluation, evaluate
from workers.evaluation.scores import Scores

Embeddings = NDArray[np.float32]


def make_scores(genuine: Sequence[float], impostor: Sequence[float], norms: Sequence[float] | None = None) -> Scores:
    """Sort scores; norms belong to the genuine ones as they are given, and are all alike otherwise."""
    values = np.array(genuine, np.float32)
    order = np.argsort(values, kind="stable")
    lengths = np.full(len(values), 12.0) if norms is None else np.array(norms)
    return Scores(values[order], np.sort(np.array(impostor, np.float32)), lengths[order], [], [])


def make_people(seed: int, persons: int, pictures: int, dimension: int = 16) -> tuple[Embeddings, list[str]]:
    """Draw unit embeddings around a direction for each person."""
    random = np.random.default_rng(seed)
    directions = random.standard_normal((persons, dimension))
    vectors = np.repeat(directions, pictures, axis=0) + 0.6 * random.standard_normal((persons * pictures, dimension))
    names = [f"person-{number}" for number in range(persons) for _ in range(pictures)]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), names


def make_enrolment(embeddings: Embeddings, *failed: int, by_distance: bool = False) -> Enrolment:
    return assemble(
        ["no face" if place in failed else Embedded(one, 12.0) for place, one in enumerate(embeddings)],
        by_distance=by_distance,
    )


class Table:
    """A recognizer that knows the embedding of each picture's bytes."""

    by_distance = False

    def __init__(self, known: dict[bytes, Embedded], name: str = "known by heart") -> None:
        self.name = name
        self._known = known

    def embed(self, image: bytes) -> Embedded:
        if image not in self._known:
            raise NoFace
        return self._known[image]


def make_evaluation(
    folder: Path, *, fitted: bool = False, galleries: Sequence[int] = (), name: str = "known by heart"
) -> Evaluation:
    """Evaluate 60 persons with three pictures each, one of which shows no face."""
    embeddings, persons = make_people(1, 60, 3, dimension=128)
    pictures = []
    known = {}
    for place, person in enumerate(persons):
        path = folder / person / f"{place}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(str(place).encode())
        pictures.append(path)
        if place:
            known[str(place).encode()] = Embedded(embeddings[place], 10.0 + place % 5)
    return evaluate(
        Dataset(pictures, persons, None),
        Table(known, name),
        [Table(known, "a peer")],
        curve=VERSION_1.curve,
        fitted=fitted,
        galleries=galleries,
        threads=2,
        count=lambda name, done: None,
    )
