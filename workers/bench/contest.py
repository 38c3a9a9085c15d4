"""A contest of ways to search the same faces: each query goes to all of them in turn, so that what else the machine does falls
on all, and every answer is held against float32 brute force.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from workers.bench.made_faces import Embeddings

#: Sums of float32 products depend on their order; nobody can tell faces this close to the threshold apart.
_ROUNDING = 1e-6

#: Searches before those that count.
_WARMING = 3


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way: gives the places of all faces at a cosine of the threshold or more."""

    name: str
    search: Callable[[Embeddings], set[int]]
    bytes_per_face: float
    backend: int | None = None  #: the process of Postgres that does the work


@dataclass(slots=True)
class Figures:
    """What came of a contestant's searches."""

    contestant: Contestant
    cpu: list[float] = field(default_factory=list)  #: milliseconds, of the client and of its backend
    wall: list[float] = field(default_factory=list)
    wanted: int = 0
    found: int = 0

    @property
    def recall(self) -> float:
        """Which share of all matches was found."""
        return self.found / self.wanted if self.wanted else 1.0


def hold(
    contestants: Sequence[Contestant],
    embeddings: Embeddings,
    queries: Embeddings,
    *,
    min_cosine: float,
    count: Callable[[int], None],
) -> list[Figures]:
    """Search with every query in every way; `count` is told how many queries are done."""
    figures = [Figures(contestant) for contestant in contestants]
    for contestant in contestants:
        for query in queries[:_WARMING]:
            contestant.search(query)
    for done, query in enumerate(queries, start=1):
        wanted = set(np.flatnonzero(embeddings @ query >= min_cosine + _ROUNDING).tolist())
        for one in figures:
            _measure(one, query, wanted)
        count(done)
    return figures


def _measure(one: Figures, query: Embeddings, wanted: set[int]) -> None:
    backend = one.contestant.backend
    began = time.perf_counter(), time.thread_time() + _cpu_of(backend)
    found = one.contestant.search(query)
    one.cpu.append((time.thread_time() + _cpu_of(backend) - began[1]) * 1000)
    one.wall.append((time.perf_counter() - began[0]) * 1000)
    one.wanted += len(wanted)
    one.found += len(wanted & found)


def _cpu_of(backend: int | None) -> float:
    """Give the seconds that a process has run, to the nanosecond."""
    return 0.0 if backend is None else int(Path(f"/proc/{backend}/schedstat").read_text().split()[0]) / 1e9
