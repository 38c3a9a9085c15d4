"""The process that `rekollect bench search` becomes: faces are made and stored, every way is asked, a table is printed."""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.domain.face_models import NEWEST
from app.local.errors import LocalError
from workers.bench import contest, in_memory, in_postgres, made_faces
from workers.bench.contest import Contestant, Figures
from workers.bench.in_postgres import Gallery
from workers.bench.made_faces import Embeddings
from workers.bench.stages import Stages

_BUILD_MEGABYTES = 1024

#: Copies of the embeddings that are in memory at a time: made, in FAISS twice, and on their way into Postgres.
_COPIES = 5

_TITLES = ("", "CPU ms", "x Flat", "wall p50", "recall", "bytes/face")
_FLAT = "FAISS Flat, exact"


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for, as the command hands it over: one JSON object, this process's only argument."""

    faces: int
    dimensions: int
    threshold: float  #: a similarity
    queries: int


def main() -> int:
    """Run the benchmark; 1 for what the user can mend, said in a line."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that being ended cleans up as Ctrl-C does
    options = Options(**json.loads(sys.argv[1]))
    try:
        _check_memory(options)
        with tempfile.TemporaryDirectory(prefix="rekollect-bench-") as folder:
            Path(folder).chmod(0o755)  # Postgres may run as another account
            sys.stdout.write(_run(options, Path(folder)) + "\n")
    except (LocalError, OSError) as error:
        sys.stderr.write(f"rekollect: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing is left\n")
        return 130
    return 0


def _check_memory(options: Options) -> None:
    needed = options.faces * options.dimensions * 4 * _COPIES
    lines = Path("/proc/meminfo").read_text().splitlines()
    there = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    if needed > there:
        raise LocalError(f"that takes about {needed / 2**30:.1f} GiB of memory, and {there / 2**30:.1f} GiB are free")


def _run(options: Options, folder: Path) -> str:
    stages, rng = Stages(), np.random.default_rng(options.faces)
    with stages.stage(f"making {options.faces:,} faces"):
        embeddings = made_faces.make(rng, options.faces, options.dimensions)
        queries = made_faces.more_pictures(rng, embeddings, options.queries)
    min_cosine = NEWEST.curve.cosine(options.threshold)
    with ExitStack() as opened:
        gallery = opened.enter_context(in_postgres.open_gallery(folder))
        contestants = list(_contestants(gallery, embeddings, min_cosine, stages, opened))
        figures = contest.hold(
            contestants,
            embeddings,
            queries,
            min_cosine=min_cosine,
            count=lambda done: stages.count("searching", done, len(queries)),
        )
    return _report(options, figures)


def _contestants(
    gallery: Gallery, embeddings: Embeddings, min_cosine: float, stages: Stages, opened: ExitStack
) -> Iterator[Contestant]:
    """Give every way there is on this machine, in the order of the table."""
    yield from in_postgres.contestants(gallery, embeddings, min_cosine, stages, opened, megabytes=_BUILD_MEGABYTES)
    yield from in_memory.contestants(embeddings, min_cosine, stages)


def _report(options: Options, figures: list[Figures]) -> str:
    matches = figures[0].wanted / options.queries
    flat = next((float(np.median(one.cpu)) for one in figures if one.contestant.name == _FLAT), None)
    cells = [_TITLES, *(_row(one, flat) for one in figures)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_TITLES))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in cells
    ]
    head = (
        f"{options.faces:,} faces x {options.dimensions}, similarity {options.threshold:g}, {matches:.1f} matches a query; "
        f"load {os.getloadavg()[0]:.1f}"
    )
    return "\n".join([head, *lines])


def _row(one: Figures, flat: float | None) -> tuple[str, ...]:
    cpu = float(np.median(one.cpu))
    return (
        one.contestant.name,
        f"{cpu:.2f}",
        "-" if flat is None else f"{cpu / flat:.2f}",
        f"{np.median(one.wall):.2f}",
        f"{one.recall:.4f}",
        f"{one.contestant.bytes_per_face:,.0f}",
    )


if __name__ == "__main__":
    sys.exit(main())
