"""Documents of the API for people: lists as tables, single things as lines."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

_WIDEST = 60
_GAP = "  "


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write rows in columns as wide as their widest cell; the last one may be as long as it is."""
    cells = [[*titles], *([_cell(value) for value in row] for row in rows)]
    widths = [min(_WIDEST, max(len(row[column]) for row in cells)) for column in range(len(titles) - 1)]
    return "\n".join(
        (_GAP.join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])).rstrip()
        for row in cells
    )


def lines(document: dict[str, Any]) -> str:
    """Write one thing a member a line; what is deeper than one level is indented as JSON."""
    width = max(map(len, document), default=0)
    return "\n".join(f"{name.ljust(width)}{_GAP}{_member(value, width)}" for name, value in document.items())


def moment(text: str | None) -> str:
    """Shorten a time of the API to the second, in UTC."""
    return "-" if text is None else text[:19].replace("T", " ")


def _member(value: object, width: int) -> str:
    if isinstance(value, dict) and value and not any(isinstance(inner, dict | list) for inner in value.values()):
        return ", ".join(f"{name} {_cell(inner)}" for name, inner in value.items())
    if isinstance(value, list) and value and not any(isinstance(inner, dict | list) for inner in value):
        return ", ".join(map(_cell, value))
    if isinstance(value, dict | list) and value:
        return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n" + " " * (width + len(_GAP)))
    return _cell(value)


def _cell(value: object) -> str:
    if value is None or value == "" or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    # What others wrote, as a receiver's answer, must not move the cursor of whoever reads it.
    return "".join(sign if sign.isprintable() else "�" for sign in str(value))
