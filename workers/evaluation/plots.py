"""Line charts as SVG, without any library: axes, lines, filled steps and marked values, coloured by the page's style sheet.

A chart is drawn in a box of fixed size that the page may scale; classes name what a thing is, never how it looks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH = 640
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 28, 22, 44


@dataclass(frozen=True, slots=True)
class Axis:
    """A range with its title and ticks; logarithmic if need be."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Give the place of a value along the axis, 0..1; what is beyond an end is at the end."""
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log10(max(value, low)), math.log10(low), math.log10(high)
        return min(max((value - low) / (high - low), 0.0), 1.0)


def decades(low: int, high: int) -> list[tuple[float, str]]:
    """Give ticks at powers of ten, small ones as 1e-4 and percents as such."""
    return [
        (10.0**power, f"{100 * 10.0**power:g} %" if power >= -4 else f"1e{power}") for power in range(low, high + 1)
    ]


@dataclass(slots=True)
class Chart:
    """One chart; what is added later lies above."""

    title: str
    x: Axis
    y: Axis
    height: int = 320
    _parts: list[str] = field(default_factory=list)

    def line(self, points: Sequence[tuple[float, float]], kind: str, label: str) -> None:
        """Add a line."""
        path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in points)
        self._parts.append(f'<polyline class="line {kind}" points="{path}"><title>{escape(label)}</title></polyline>')

    def steps(self, edges: Sequence[float], heights: Sequence[float], kind: str, label: str) -> None:
        """Add a histogram's filled outline: n + 1 edges, n heights."""
        corners = [(edges[0], self.y.low)]
        for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True):
            corners += [(left, height), (right, height)]
        corners.append((edges[-1], self.y.low))
        path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in corners)
        self._parts.append(f'<polygon class="area {kind}" points="{path}"><title>{escape(label)}</title></polygon>')

    def mark(self, x: float, label: str) -> None:
        """Add an upright line at a value of x."""
        place = self._x(x)
        self._parts.append(
            f'<line class="mark" x1="{place:.1f}" x2="{place:.1f}" y1="{_TOP}" y2="{self._floor}"/>'
            f'<text class="mark" x="{place:.1f}" y="{_TOP - 6}" text-anchor="middle">{escape(label)}</text>'
        )

    def svg(self) -> str:
        """Draw it."""
        body = "".join([*self._x_axis(), *self._y_axis(), *self._parts])
        name = escape(self.title, quote=True)
        return f'<svg viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{name}">{body}</svg>'

    @property
    def _floor(self) -> int:
        return self.height - _BOTTOM

    def _x(self, value: float) -> float:
        return _LEFT + self.x.share(value) * (WIDTH - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        return self._floor - self.y.share(value) * (self._floor - _TOP)

    def _x_axis(self) -> list[str]:
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        found = [
            f'<text class="title" x="{middle}" y="{self.height - 6}" text-anchor="middle">{escape(self.x.title)}</text>'
        ]
        for value, label in self.x.ticks:
            place = f"{self._x(value):.1f}"
            found.append(f'<line class="grid" x1="{place}" x2="{place}" y1="{_TOP}" y2="{self._floor}"/>')
            found.append(f'<text x="{place}" y="{self._floor + 16}" text-anchor="middle">{escape(label)}</text>')
        return found

    def _y_axis(self) -> list[str]:
        middle = (_TOP + self._floor) / 2
        found = [
            f'<text class="title" transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">'
            f"{escape(self.y.title)}</text>"
        ]
        for value, label in self.y.ticks:
            place = self._y(value)
            found.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{place:.1f}" y2="{place:.1f}"/>')
            found.append(f'<text x="{_LEFT - 8}" y="{place + 4:.1f}" text-anchor="end">{escape(label)}</text>')
        return found
