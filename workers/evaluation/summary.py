"""What an evaluation found, for a terminal."""

from collections.abc import Iterator

from workers.evaluation.evaluation import Evaluation
from workers.evaluation.tables import Table, tables


def summary(evaluation: Evaluation) -> str:
    """Write all tables, then what failed to enrol."""
    return "\n".join([*(_table(table) for table in tables(evaluation)), *_failures(evaluation)])


def _table(table: Table) -> str:
    cells = [table.titles, *table.rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.titles))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([table.caption, *(f"  {line}" for line in lines), ""])


def _failures(evaluation: Evaluation) -> Iterator[str]:
    failures = evaluation.ours.failures
    if failures:
        yield "Not enrolled"
        yield from (f"  {evaluation.dataset.pictures[place]}: {reason}" for place, reason in failures.items())
