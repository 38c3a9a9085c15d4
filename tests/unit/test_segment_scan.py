"""The scan of codes misses no row above the threshold, whatever the embeddings are like, and the theory of its margin holds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.factories import Embeddings, lookalikes, unit
from workers.segments import builder
from workers.segments.codebook import DEVIATIONS
from workers.segments.encoder import Encoder
from workers.segments.file import Mapped, Writer
from workers.segments.layout import Head, room_for

RNG = np.random.default_rng(50)


def spread(dimension: int, count: int) -> Embeddings:
    """Make embeddings that lie in every direction alike."""
    return unit(RNG.standard_normal((count, dimension)))


def crowded(dimension: int, count: int) -> Embeddings:
    """Make embeddings that have most in common, in a few directions of unequal width."""
    widths = np.exp(-np.arange(dimension) / (dimension / 8))
    return unit(widths * (RNG.standard_normal((count, dimension)) + 2 * RNG.standard_normal(dimension)))


def few_people(dimension: int, count: int) -> Embeddings:
    """Make hundreds of embeddings of each of a few people."""
    people = spread(dimension, 20)
    return np.concatenate([lookalikes(RNG, person, count // 20, 1.0 / np.sqrt(dimension)) for person in people])


def blocks(embeddings: Embeddings) -> Iterator[bytes]:
    """Give embeddings as Postgres does, in blocks of any length."""
    rows = np.zeros(len(embeddings), builder._row(embeddings.shape[1]))
    rows["number"], rows["embedding"] = np.arange(len(rows)) * 3 + 7, embeddings
    for start in range(0, len(rows), 9_999):
        yield rows[start : start + 9_999].tobytes()


def make_file(folder: Path, embeddings: Embeddings) -> Mapped:
    count, dimension = embeddings.shape
    head = Head("history", 1, "table", True, 5, dimension, room_for(count, dimension), 0.0)
    writer = Writer(folder / "one.new", head)
    writer.finish(builder._fill(writer, blocks(embeddings)), folder / "one.segment")
    writer.close()
    return Mapped(folder / "one.segment")


@pytest.mark.parametrize("make", [spread, crowded, few_people])
@pytest.mark.parametrize(("dimension", "count"), [(128, 70_000), (512, 2_500), (16, 5_000), (64, 2_040)])
def test_no_row_above_the_threshold_is_missed(tmp_path: Path, make: object, dimension: int, count: int) -> None:
    embeddings = make(dimension, count)  # type: ignore[operator]
    mapped = make_file(tmp_path, embeddings)
    scanner = mapped.scanner()
    halves = embeddings.astype("<f2").astype("<f4")
    assert mapped.head.count == len(embeddings)
    for noise in (0.0, 0.3, 0.8, 2.0):
        query = lookalikes(RNG, embeddings[RNG.integers(len(embeddings))], 1, noise / np.sqrt(dimension))[0]
        cosines = halves @ query
        for bar in (-1.0, 0.0, 0.1, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 0.99):
            found = scanner.find(query, bar)
            certain, possible = np.flatnonzero(cosines >= bar + 1e-5), np.flatnonzero(cosines >= bar - 1e-5)
            assert set(certain) <= set(found.places.tolist()) <= set(possible)
            np.testing.assert_allclose(found.cosines, cosines[found.places], atol=1e-5)
            assert len(set(found.places.tolist())) == len(found.places)
    np.testing.assert_array_equal(mapped.numbers, np.arange(count) * 3 + 7)


def test_few_rows_of_strangers_are_candidates(tmp_path: Path) -> None:
    embeddings = spread(128, 70_000)
    scanner = make_file(tmp_path, embeddings).scanner()
    question = scanner._codebook.ask(spread(128, 1)[0], 0.5)
    assert question is not None
    asked, bar = question
    _, _, places = scanner._codes.range_search(asked[None], bar)
    assert len(places) < 0.002 * len(embeddings)


def test_what_a_code_changes_lies_to_the_query_as_a_random_direction_does() -> None:
    """Rows that stand at the threshold itself exceed their margin as often as a normal deviation exceeds its own."""
    embeddings = np.concatenate([crowded(128, 30_000), few_people(128, 30_000)])
    encoder = Encoder(embeddings)
    rotated = embeddings @ encoder._rotation
    codes = encoder._quantizer.compute_codes(rotated)
    _, straying = encoder._errors(rotated, codes)
    coded = encoder._quantizer.decode(codes)
    deviations = []
    for step in range(1, 20):
        others = np.roll(rotated, 1009 * step, axis=0)
        across = others - np.einsum("rn,rn->r", others, rotated)[:, None] * rotated
        across = unit(across)
        off = -np.einsum("rn,rn->r", across, coded)
        deviations.append(off / (straying / np.sqrt(127)))
    found = np.concatenate(deviations)
    assert np.mean(found > 3) < 2 * 0.00135
    assert found.max() < DEVIATIONS + 0.7
