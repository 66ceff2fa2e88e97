"""The same figures that the pages draw, as SVG for paper: no browser, no clock, the same bytes each time.

Belongs here: drawing the parts of Plotly's language that our figures use (points, lines, boxes, bands, words, linear
and logarithmic axes). Does not belong here: what is drawn (`dashboards/figures`). What it does not know it refuses,
so that a figure never loses something silently.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any
from xml.sax.saxutils import escape

from dashboards.theme.tokens import resolve

WIDTH = 640
FONT = "Libertinus Serif"
DASHES = {"solid": "", "dash": "7,4", "dot": "2,3", "dashdot": "7,3,2,3"}
CLEAR = "rgba(0,0,0,0)"
RGBA = re.compile(r"rgba\((\d+), ?(\d+), ?(\d+), ?([\d.]+)\)")
ANCHOR = {"left": "start", "center": "middle", "right": "end", "auto": "middle"}


class Axis:
    """One axis: from a value to a place in pixels, and its ticks."""

    def __init__(self, told: dict[str, Any], values: Sequence[float], start: float, end: float) -> None:
        self.told, self.start, self.end = told, start, end
        self.log = told.get("type") == "log"
        if "range" in told:
            low, high = told["range"]
        else:
            seen = [math.log10(v) if self.log else v for v in values if not self.log or v > 0] or [0.0, 1.0]
            pad = 0.05 * ((max(seen) - min(seen)) or 1.0)
            low, high = min(seen) - pad, max(seen) + pad
        self.low, self.high = float(low), float(high)

    def at(self, value: float) -> float:
        """Place of a value."""
        v = math.log10(value) if self.log else value
        return self.start + (v - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Values and their words."""
        if "tickvals" in self.told:
            words = self.told.get("ticktext") or [f"{v:g}" for v in self.told["tickvals"]]
            return list(zip(self.told["tickvals"], words, strict=True))
        if self.log:
            tens = range(math.floor(self.low), math.ceil(self.high) + 1)
            steps = (1, 2, 5) if self.high - self.low < 2 else (1,)
            found = [s * 10.0**t for t in tens for s in steps]
            return [(v, f"{v:g}") for v in found if self.low <= math.log10(v) <= self.high]
        rough = (self.high - self.low) / 6
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(s * size for s in (1, 2, 5, 10) if s * size >= rough)
        first = math.ceil(self.low / step)
        return [
            (n * step, f"{n * step:g}".replace("-", "−"))
            for n in range(first, math.floor(self.high / step) + 1)
        ]


def svg(figure: dict[str, Any], width: int = WIDTH) -> str:
    """A figure of `dashboards/figures` in the light theme. Raises ValueError for a trace or shape unknown here."""
    filled = resolve(figure, "light")
    layout, height = filled["layout"], int(filled["layout"]["height"])
    margin = layout.get("margin", {})
    left, right = margin.get("l", 60), width - margin.get("r", 20)
    top, bottom = margin.get("t", 20), height - margin.get("b", 40)
    xs, ys = (_values(filled["data"], key) for key in ("x", "y"))
    x = Axis(layout.get("xaxis", {}), xs, left, right)
    y = Axis(layout.get("yaxis", {}), ys, bottom, top)
    shapes = layout.get("shapes", [])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="{FONT}" font-size="13">',
        *_axes(x, y, height),
        *(_shape(s, x, y) for s in shapes if s.get("layer") == "below"),
        *(part for trace in filled["data"] for part in _trace(trace, x, y)),
        *(_shape(s, x, y) for s in shapes if s.get("layer") != "below"),
        *(_note(n, x, y) for n in layout.get("annotations", [])),
        "</svg>",
    ]
    return "".join(parts)


def _values(traces: Sequence[dict[str, Any]], key: str) -> list[float]:
    return [float(v) for trace in traces for v in trace.get(key, []) if isinstance(v, int | float)]


def _axes(x: Axis, y: Axis, height: int) -> list[str]:
    parts: list[str] = []
    if x.told.get("visible", True):
        for value, words in x.ticks():
            place = x.at(value)
            if x.told.get("showgrid", True):
                parts.append(_line(place, y.end, place, y.start, "#e4e9ee"))
            parts.append(_words(words, place, y.start + 15, "middle", "#4d5a6b", 11))
        title = x.told.get("title", {}).get("text", "")
        lines = title.split("<br>") if title else []
        parts.append(
            _words(title, (x.start + x.end) / 2, height - 8 - 14 * (len(lines) - 1), "middle", "#17212e", 12)
        )
    if y.told.get("visible", True):
        for value, words in y.ticks():
            place = y.at(value)
            if y.told.get("showgrid", True):
                parts.append(_line(x.start, place, x.end, place, "#e4e9ee"))
            parts.append(_words(words, x.start - 5, place + 4, "end", "#4d5a6b", 11))
    return parts


def _line(x0: float, y0: float, x1: float, y1: float, colour: str, width: float = 1, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x0:.2f}" y1="{y0:.2f}" x2="{x1:.2f}" y2="{y1:.2f}" stroke="{_solid(colour)}" '
        f'stroke-opacity="{_opacity(colour)}" stroke-width="{width}"{dashed}/>'
    )


def _words(text: str, x: float, y: float, anchor: str, colour: str, size: float) -> str:
    """Words with `<b>` and `<br>` as Plotly has them."""
    if not text:
        return ""
    lines = []
    for place, line in enumerate(text.split("<br>")):
        spans = "".join(
            f'<tspan font-weight="{"bold" if bold else "normal"}">{escape(part)}</tspan>'
            for part, bold in _bold(line)
            if part
        )
        lines.append(
            f'<text x="{x:.2f}" y="{y + place * 1.25 * size:.2f}" text-anchor="{anchor}" fill="{colour}" '
            f'font-size="{size}" xml:space="preserve">{spans}</text>'
        )
    return "".join(lines)


def _bold(line: str) -> list[tuple[str, bool]]:
    # The cross of our pages is in no font that goes with the paper.
    parts = re.split(r"</?b>", line.replace("✕", "×"))
    return [(part, place % 2 == 1) for place, part in enumerate(parts)]


def _shape(shape: dict[str, Any], x: Axis, y: Axis) -> str:
    def across(value: float) -> float:
        return x.start + value * (x.end - x.start) if shape.get("xref") == "paper" else x.at(value)

    def up(value: float) -> float:
        return y.start + value * (y.end - y.start) if shape.get("yref") == "paper" else y.at(value)

    x0, x1, y0, y1 = across(shape["x0"]), across(shape["x1"]), up(shape["y0"]), up(shape["y1"])
    line = shape.get("line", {})
    if shape["type"] == "rect":
        fill = shape.get("fillcolor", CLEAR)
        made = (
            f'<rect x="{min(x0, x1):.2f}" y="{min(y0, y1):.2f}" width="{abs(x1 - x0):.2f}" '
            f'height="{abs(y1 - y0):.2f}" fill="{_solid(fill)}" fill-opacity="{_opacity(fill)}"/>'
        )
    elif shape["type"] == "line":
        made = _line(x0, y0, x1, y1, line["color"], line.get("width", 1), DASHES[line.get("dash", "solid")])
    else:
        raise ValueError(f"a shape of type {shape['type']!r} cannot be drawn on paper")
    label = shape.get("label")
    if label:
        font = label.get("font", {})
        anchor = ANCHOR[label.get("xanchor", "left")]
        shift = {"start": 3, "end": -3}.get(anchor, 0)
        made += _words(
            label["text"],
            x1 + shift,
            y1 + font.get("size", 11),
            anchor,
            font.get("color", "#17212e"),
            font.get("size", 11),
        )
    return made


def _note(note: dict[str, Any], x: Axis, y: Axis) -> str:
    if note.get("showarrow", True):
        raise ValueError("an annotation with an arrow cannot be drawn on paper")
    across = x.start + note["x"] * (x.end - x.start) if note.get("xref") == "paper" else x.at(note["x"])
    up = y.start + note["y"] * (y.end - y.start) if note.get("yref") == "paper" else y.at(note["y"])
    font = note.get("font", {})
    size = font.get("size", 12)
    lines = note["text"].count("<br>")
    centre = up - note.get("yshift", 0) - 0.625 * size * lines + 0.35 * size
    anchor = ANCHOR[note.get("xanchor", "center")]
    return _words(
        note["text"], across + note.get("xshift", 0), centre, anchor, font.get("color", "#17212e"), size
    )


def _trace(trace: dict[str, Any], x: Axis, y: Axis) -> list[str]:
    if trace["type"] == "box":
        return _box(trace, x, y)
    if trace["type"] != "scatter":
        raise ValueError(f"a trace of type {trace['type']!r} cannot be drawn on paper")
    parts: list[str] = []
    mode = trace.get("mode", "lines")
    points = [
        None if a is None or b is None else (x.at(a), y.at(b))
        for a, b in zip(trace["x"], trace["y"], strict=True)
    ]
    if "lines" in mode:
        parts += _path(points, trace.get("line", {}))
    if "markers" in mode:
        marker = trace.get("marker", {})
        for place, point in enumerate(points):
            if point is not None:
                symbol, size, colour = (_nth(marker.get(key, usual), place) for key, usual in MARKER)
                parts.append(_mark(point[0], point[1], symbol, size, colour, marker))
    return parts


MARKER = (("symbol", "circle"), ("size", 6), ("color", "#0a5a9c"))


def _nth(value: Any, place: int) -> Any:
    return value[place] if isinstance(value, list | tuple) else value


def _path(points: Sequence[tuple[float, float] | None], line: dict[str, Any]) -> list[str]:
    steps: list[str] = []
    pen = "M"
    before: tuple[float, float] | None = None
    for point in points:
        if point is None:
            pen, before = "M", None
            continue
        if line.get("shape") == "hv" and before is not None:
            steps.append(f"L{point[0]:.2f} {before[1]:.2f}")
        steps.append(f"{pen}{point[0]:.2f} {point[1]:.2f}")
        pen, before = "L", point
    colour = line.get("color", "#0a5a9c")
    dash = DASHES[line.get("dash", "solid")]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return [
        f'<path d="{"".join(steps)}" fill="none" stroke="{_solid(colour)}" stroke-opacity="{_opacity(colour)}" '
        f'stroke-width="{line.get("width", 2)}"{dashed}/>'
    ]


def _mark(x: float, y: float, symbol: str, size: float, colour: str, marker: dict[str, Any]) -> str:
    r = size / 2
    hollow = symbol.endswith("-open")
    name = symbol.removesuffix("-open")
    edge = marker.get("line", {})
    if name == "line-ns":
        return _line(x, y - r, x, y + r, colour, edge.get("width", 1))
    fill, stroke = ("none", colour) if hollow else (colour, edge.get("color", colour))
    look = (
        f'fill="{fill}" fill-opacity="{marker.get("opacity", 1)}" stroke="{stroke}" '
        f'stroke-width="{edge.get("width", 1.5 if hollow else 0)}"'
    )
    if name == "circle":
        return f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{r:.2f}" {look}/>'
    corners = " ".join(f"{x + r * a:.2f},{y - r * b:.2f}" for a, b in _corners(name))
    return f'<polygon points="{corners}" {look}/>'


def _around(count: int, first: float = math.tau / 4) -> list[tuple[float, float]]:
    return [
        (math.cos(first + math.tau * n / count), math.sin(first + math.tau * n / count)) for n in range(count)
    ]


CORNERS: dict[str, Callable[[], list[tuple[float, float]]]] = {
    "square": lambda: [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    "diamond": lambda: [(0, 1.25), (1.25, 0), (0, -1.25), (-1.25, 0)],
    "triangle-up": lambda: [(0, 1), (1, -0.8), (-1, -0.8)],
    "triangle-down": lambda: [(0, -1), (1, 0.8), (-1, 0.8)],
    "triangle-left": lambda: [(-1, 0), (0.8, 1), (0.8, -1)],
    "triangle-right": lambda: [(1, 0), (-0.8, 1), (-0.8, -1)],
    "pentagon": lambda: _around(5),
    "star": lambda: [
        (a * (1.2 if n % 2 == 0 else 0.5), b * (1.2 if n % 2 == 0 else 0.5)) for n, (a, b) in enumerate(_around(10))
    ],
    "x": lambda: [
        (1, 0.6), (0.6, 1), (0, 0.4), (-0.6, 1), (-1, 0.6), (-0.4, 0), (-1, -0.6), (-0.6, -1), (0, -0.4),
        (0.6, -1), (1, -0.6), (0.4, 0),
    ],
}  # fmt: skip


def _corners(name: str) -> list[tuple[float, float]]:
    if name not in CORNERS:
        raise ValueError(f"a mark of shape {name!r} cannot be drawn on paper")
    return CORNERS[name]()


def _box(trace: dict[str, Any], x: Axis, y: Axis) -> list[str]:
    """Box of quartiles with whiskers to the ends, as Plotly draws one without points."""
    seen = sorted(trace["x"])
    low, first, middle, third, high = (x.at(_quantile(seen, q)) for q in (0, 0.25, 0.5, 0.75, 1))
    centre, half = y.at(trace["y"][0]), abs(y.at(trace["y"][0] + trace["width"] / 2) - y.at(trace["y"][0]))
    line = trace["line"]
    colour, width = line["color"], line.get("width", 1)
    return [
        _line(low, centre, first, centre, colour, width),
        _line(third, centre, high, centre, colour, width),
        *(_line(end, centre - half / 2, end, centre + half / 2, colour, width) for end in (low, high)),
        f'<rect x="{first:.2f}" y="{centre - half:.2f}" width="{third - first:.2f}" height="{2 * half:.2f}" '
        f'fill="none" stroke="{_solid(colour)}" stroke-width="{width}"/>',
        _line(middle, centre - half, middle, centre + half, colour, width),
    ]


def _quantile(seen: Sequence[float], share: float) -> float:
    place = share * (len(seen) - 1)
    below = math.floor(place)
    above = min(below + 1, len(seen) - 1)
    return float(seen[below] + (place - below) * (seen[above] - seen[below]))


def _solid(colour: str) -> str:
    found = RGBA.fullmatch(colour)
    return f"rgb({found[1]},{found[2]},{found[3]})" if found else colour


def _opacity(colour: str) -> str:
    found = RGBA.fullmatch(colour)
    return found[4] if found else "1"
