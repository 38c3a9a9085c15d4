"""The report: one HTML file that needs nothing else, no script, no other host, readable in light and in dark.

It names pictures by their paths and shows none of them, so that it can be passed on where the pictures must not be.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from workers.evaluation import charts
from workers.evaluation.evaluation import Evaluation
from workers.evaluation.plots import Chart
from workers.evaluation.scores import Example
from workers.evaluation.tables import Table, tables

_STYLE = """
:root { color-scheme: light dark; --page: #fcfcfb; --ink: #1c1c1a; --soft: #5f5e58; --rule: #dddbd4;
  --first: #2a6fc9; --second: #d2601a; --third: #15805c; }
@media (prefers-color-scheme: dark) { :root { --page: #191918; --ink: #ecebe6; --soft: #a9a79f; --rule: #3a3935;
  --first: #6aa5f0; --second: #f08c4a; --third: #41b98b; } }
body { background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; max-width: 46rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; } p, figcaption, li { color: var(--soft); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--rule); padding: .3rem .9rem .3rem 0; text-align: left; white-space: nowrap; }
th { font-weight: 600; } figure { margin: 0 0 1rem; } svg { width: 100%; height: auto; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; } .grid { stroke: var(--rule); }
line.mark { stroke: var(--soft); stroke-dasharray: 3 3; } text.mark { fill: var(--ink); }
.line { fill: none; stroke-width: 2; } .area { fill-opacity: .35; stroke-width: 1.5; }
.ours, .genuine { stroke: var(--first); } .peer, .impostor { stroke: var(--second); } .other-peer { stroke: var(--third); }
.genuine { fill: var(--first); } .impostor { fill: var(--second); }
.key { display: inline-block; width: 1.1em; height: .25em; margin: 0 .4em .2em 1em; vertical-align: middle; }
.key.ours, .key.genuine { background: var(--first); } .key.peer, .key.impostor { background: var(--second); }
.key.other-peer { background: var(--third); } code { color: var(--ink); overflow-wrap: anywhere; }
"""

_CAVEATS = (
    "A rate holds for pictures and people like these. Similar-looking groups have two to four times the false matches of a "
    "mixed crowd; relatives, children and twins far more.",
    "Failures to enrol count as misses, and never as false matches.",
    "False candidates are computed from the false match rate as if all comparisons were independent.",
    "&ldquo;Cannot tell&rdquo;: fewer than ten false matches make up the figure, so that another sample would show another.",
)


def write(evaluation: Evaluation, file: Path) -> None:
    """Write the report in one step; raise OSError."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(render(evaluation, datetime.now(UTC)), encoding="utf-8")
    os.replace(part, file)


def render(evaluation: Evaluation, now: datetime) -> str:
    """Give the page."""
    title = f"Evaluation of {escape(evaluation.ours.name)}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f"<p>{now:%Y-%m-%d %H:%M} UTC</p>{''.join(_sections(evaluation))}</body></html>\n"
    )


def _sections(evaluation: Evaluation) -> Iterator[str]:
    pairs, *others = tables(evaluation)
    scores = evaluation.ours.scores
    yield _table(pairs)
    if len(scores.genuine) and len(scores.impostor):
        names = [one.name for one in (evaluation.ours, *evaluation.peers)]
        yield _figure(charts.det(evaluation), list(zip(charts.KINDS, names, strict=False)))
    keys = [("genuine", "one person"), ("impostor", "two persons")]
    yield _figure(charts.histogram(evaluation), keys, "Dashed: the cosines of similarity 80, 95 and 99.")
    yield _figure(charts.similarity(evaluation), [])
    if len(scores.genuine):
        yield _figure(
            charts.reject(evaluation),
            [("ours", "at similarity 80"), ("peer", "at similarity 99")],
            "A line that falls says that the length of the raw embedding tells bad pictures from good ones.",
        )
    yield from (_table(table) for table in others)
    yield _examples("The most alike of two persons: look here for wrong labels", scores.alike, evaluation)
    yield _examples("The least alike of one person", scores.unlike, evaluation)
    yield _failures(evaluation)
    yield f"<h2>Read with care</h2><ul>{''.join(f'<li>{caveat}</li>' for caveat in _CAVEATS)}</ul>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in table.titles)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    return f"<h2>{escape(table.caption)}</h2><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _figure(chart: Chart, keys: list[tuple[str, str]], note: str = "") -> str:
    legend = "".join(f'<span class="key {kind}"></span>{escape(label)}' for kind, label in keys)
    return f"<h2>{escape(chart.title)}</h2><figure>{chart.svg()}<figcaption>{legend}<br>{escape(note)}</figcaption></figure>"


def _examples(title: str, examples: list[Example], evaluation: Evaluation) -> str:
    pictures = evaluation.dataset.pictures
    rows = [(f"{one.score:.3f}", _short(pictures[one.left]), _short(pictures[one.right])) for one in examples]
    return _table(Table(title, ("cosine", "picture", "picture"), rows)) if rows else ""


def _failures(evaluation: Evaluation) -> str:
    pictures = evaluation.dataset.pictures
    rows = [(_short(pictures[place]), reason) for place, reason in evaluation.ours.failures.items()]
    return _table(Table("Not enrolled", ("picture", "reason"), rows)) if rows else ""


def _short(picture: Path) -> str:
    return str(Path(*picture.parts[-2:]))
