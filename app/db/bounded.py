"""Changes of a bounded number of rows."""

from typing import TypeVar

import sqlalchemy as sa

T = TypeVar("T")


def once(candidates: sa.Select[tuple[T]]) -> sa.Select[tuple[T]]:
    """Have a subquery run once: a nested loop asks a plain one again for each row, and its limit bounds nothing."""
    return sa.select(*candidates.cte("candidates").prefix_with("MATERIALIZED").c)
