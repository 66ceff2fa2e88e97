"""Control charts of one series under each other, over the same batches: points, centre, limits, phases, signals.

Belongs here: placing and labelling. Does not belong here: limits and rules (`warehouse/marts/charts.py`).
Limits are lines with their numbers at the right, zones are shaded; the specification has another dash and colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dashboards.facts.charts import ChartPoint
from dashboards.theme.tokens import token

ROW_PX, FRAME_PX, SHARE = 190, 90, 0.84
RIGHT_PX = 66
# Charts of the attribute itself; sums, steps and spreads have no value in its unit.
IN_UNIT = ("I", "EWMA", "Xbar")
TITLES = {
    "I": "I: each batch",
    "MR": "MR: step from the batch before",
    "EWMA": "EWMA: weighted mean so far",
    "CUSUM+": "CUSUM+: sum above the centre",
    "CUSUM-": "CUSUM−: sum below the centre",
    "Xbar": "X̄: mean of five batches",
    "S": "S: spread within five batches",
    "p": "p: share of batches",
    "p'": "p′: share of batches",
    "u": "u: events a batch",
    "u'": "u′: events a batch",
    "T2": "T²: all attributes together",
    "MEWMA": "MEWMA: all attributes together, so far",
}


def read_as(scale: str | None, unit: str) -> Callable[[float], float]:
    """From the scale of the limits to the attribute's unit: what a place on the axis is called."""
    if scale == "log":
        return math.exp
    if scale == "logit":
        whole = 100.0 if unit == "%" else 1.0
        return lambda v: whole / (1 + math.exp(-v))
    return lambda v: v


def on_scale(scale: str | None, unit: str) -> Callable[[float], float | None]:
    """The other way: a value in the attribute's unit on the scale of the limits; None where it has no place there."""
    if scale == "log":
        return lambda v: math.log(v) if v > 0 else None
    if scale == "logit":
        whole = 100.0 if unit == "%" else 1.0
        return lambda v: math.log(v / (whole - v)) if 0 < v < whole else None
    return lambda v: v


@dataclass(frozen=True)
class Drawn:
    """What is drawn with the points of a series.

    `scale`: of the limits; I, EWMA and means of batches are labelled in `unit`. `phases`: what each is called.
    `sigmas`: of single batches, on the scale, by phase. `specification`: low and high limit, in the unit.
    """

    scale: str | None
    unit: str
    site: str
    phases: Mapping[int, str]
    sigmas: Mapping[int, float] = field(default_factory=dict)
    specification: tuple[float | None, float | None] = (None, None)


def control(
    charts: Sequence[str],
    points: Sequence[ChartPoint],
    rules: Mapping[tuple[str, str], str],
    drawn: Drawn,
) -> dict[str, Any]:
    """`charts`: those shown, top to bottom. `rules`: numbers written at a point, by chart and batch."""
    scale, unit, site, phases = drawn.scale, drawn.unit, drawn.site, drawn.phases
    count = max(len(charts), 1)
    batches = list(
        dict.fromkeys(
            p.batch_id
            for p in sorted(
                points, key=lambda p: (p.phase, str(p.batch_started_at or ""), p.batch_id)
            )
        )
    )  # fmt: skip
    at = {b: n + 1 for n, b in enumerate(batches)}
    dates = {p.batch_id: p.batch_started_at for p in points}
    data: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "height": FRAME_PX + ROW_PX * count,
        "margin": {"l": 62, "r": RIGHT_PX, "t": 26, "b": 58},
        "hovermode": "closest",
        "showlegend": False,
        "shapes": _phase_lines(points, at),
        "xaxis": {
            "title": {"text": "Batches in the order of their start (dates UTC)"},
            "range": [0.3, len(batches) + 0.7],
            "anchor": "y" if count == 1 else f"y{count}",
            "zeroline": False,
            **_ticks(batches, dates),
        },
    }
    for n, chart in enumerate(charts):
        mine = [p for p in points if p.chart == chart]
        axis = "y" if n == 0 else f"y{n + 1}"
        turned = read_as(scale, unit) if chart in IN_UNIT else None
        spec = _specified(drawn) if chart == "I" else []
        if chart == "I":
            layout["shapes"] += _zones(mine, at, axis, drawn.sigmas)
            data += _specification(spec, mine, at, axis)
        data += _lines(mine, at, axis)
        data += _marks(mine, at, axis, rules, turned, unit, site, chart)
        notes += _limit_words(mine, axis, turned, len(batches))
        notes += _specification_words(spec, mine, at, axis)
        top, bottom = 1 - n / count - (1 - SHARE) / count, 1 - (n + 1) / count
        name = TITLES.get(chart, chart) + (f", {unit}" if turned and unit else "")
        notes.append(
            {
                "xref": "paper", "yref": "paper", "x": 0, "xanchor": "left", "y": top, "yanchor": "bottom", "yshift": 2,
                "showarrow": False, "text": f"<b>{name}</b>", "font": {"size": 12, "color": token("text")},
            }
        )  # fmt: skip
        layout["yaxis" if n == 0 else f"yaxis{n + 1}"] = {
            "domain": [bottom, top],
            "anchor": "x",
            "zeroline": False,
            "automargin": False,
            **(_unit_ticks(mine, turned, [level for level, _ in spec]) if turned else {"nticks": 5}),
        }
    for phase, words in phases.items():
        first = next((at[p.batch_id] for p in points if p.phase == phase), None)
        if first is not None and len(phases) > 1:
            notes.append(
                {
                    "xref": "x", "yref": "paper", "x": first - 0.5, "xanchor": "left", "y": 1, "yanchor": "bottom",
                    "yshift": 4, "showarrow": False, "text": words, "font": {"size": 11, "color": token("muted")},
                }
            )  # fmt: skip
    layout["annotations"] = notes
    return {"data": data, "layout": layout}


def _ticks(batches: Sequence[str], dates: Mapping[str, Any]) -> dict[str, Any]:
    step = max(-(-len(batches) // 7), 1)
    shown = range(0, len(batches), step)
    return {
        "tickangle": 0,
        "tickvals": [n + 1 for n in shown],
        "ticktext": [f"{dates[batches[n]]:%b<br>%Y}" if dates[batches[n]] else batches[n] for n in shown],
    }


def _unit_ticks(
    points: Sequence[ChartPoint], turned: Callable[[float], float], more: Sequence[float]
) -> dict[str, Any]:
    """Ticks in the unit, placed on the scale of the limits. `more`: what is drawn besides the points."""
    seen = [*more, *(v for p in points for v in (p.value, p.lower, p.upper) if v is not None)]
    if not seen:
        return {}
    low, high = min(seen), max(seen)
    ticks = [low + (high - low) * n / 4 for n in range(5)]
    return {"tickvals": ticks, "ticktext": [short(turned(v)) for v in ticks]}


def _specified(drawn: Drawn) -> list[tuple[float, str]]:
    """Specification limits on the scale, with their words."""
    turned = on_scale(drawn.scale, drawn.unit)
    found = [(turned(v), f"specification {short(v)}") for v in drawn.specification if v is not None]
    return [(level, told) for level, told in found if level is not None]


def _newest(points: Sequence[ChartPoint], at: Mapping[str, int]) -> tuple[float, float]:
    """Ends of the newest phase: the specification in force need not be that of an earlier one."""
    last = max((p.phase for p in points), default=0)
    places = [at[p.batch_id] for p in points if p.phase == last] or [1]
    return min(places) - 0.5, max(places) + 0.5


def _specification(
    spec: Sequence[tuple[float, str]], points: Sequence[ChartPoint], at: Mapping[str, int], axis: str
) -> list[dict[str, Any]]:
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": list(_newest(points, at)),
            "y": [level, level],
            "yaxis": axis,
            "hoverinfo": "skip",
            "line": {"color": token("bad"), "width": 1.6, "dash": "longdash"},
        }
        for level, _ in spec
    ]


def _specification_words(
    spec: Sequence[tuple[float, str]], points: Sequence[ChartPoint], at: Mapping[str, int], axis: str
) -> list[dict[str, Any]]:
    return [
        {
            "xref": "x", "yref": axis, "x": _newest(points, at)[0], "xanchor": "left", "y": level, "yanchor": "bottom",
            "xshift": 4, "showarrow": False, "text": told, "font": {"size": 10.5, "color": token("bad")},
        }
        for level, told in spec
    ]  # fmt: skip


def _zones(
    points: Sequence[ChartPoint], at: Mapping[str, int], axis: str, sigmas: Mapping[int, float]
) -> list[dict[str, Any]]:
    """One, two and three sigma about the centre of each phase, each over the one before, so the middle is darkest."""
    shapes = []
    for phase, sigma in sigmas.items():
        mine = [p for p in points if p.phase == phase]
        centre = next((p.centre for p in mine if p.centre is not None), None)
        if centre is None:
            continue
        places = [at[p.batch_id] for p in mine]
        shapes += [
            {
                "type": "rect", "xref": "x", "yref": axis, "x0": min(places) - 0.5, "x1": max(places) + 0.5,
                "y0": centre - wide * sigma, "y1": centre + wide * sigma, "fillcolor": token("band"),
                "line": {"width": 0}, "layer": "below",
            }
            for wide in (1, 2, 3)
        ]  # fmt: skip
    return shapes


def short(value: float) -> str:
    """A number in three digits, large ones as a power of ten."""
    if abs(value) < 1e5:
        return f"{value:.3g}"
    mantissa, power = f"{value:.2e}".split("e")
    return f"{mantissa}·10<sup>{int(power)}</sup>"


def _lines(points: Sequence[ChartPoint], at: Mapping[str, int], axis: str) -> list[dict[str, Any]]:
    """Centre and limits as steps, broken where a phase ends or there are none."""
    found = []
    for name, dash, colour in (
        ("centre", "solid", "axis"),
        ("lower", "dash", "unsure"),
        ("upper", "dash", "unsure"),
    ):
        xs: list[float | None] = []
        ys: list[float | None] = []
        before: int | None = None
        for p in points:
            level = getattr(p, name)
            if before is not None and p.phase != before:
                xs.append(None)
                ys.append(None)
            before = p.phase
            xs += [at[p.batch_id] - 0.5, at[p.batch_id] + 0.5]
            ys += [level, level]
        found.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": xs,
                "y": ys,
                "yaxis": axis,
                "hoverinfo": "skip",
                "connectgaps": False,
                "line": {"color": token(colour), "width": 1.2, "dash": dash},
            }
        )
    return found


def _marks(
    points: Sequence[ChartPoint],
    at: Mapping[str, int],
    axis: str,
    rules: Mapping[tuple[str, str], str],
    turned: Callable[[float], float] | None,
    unit: str,
    site: str,
    chart: str,
) -> list[dict[str, Any]]:
    shown = [p for p in points if p.value is not None]
    line: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "x": [],
        "y": [],
        "yaxis": axis,
        "hoverinfo": "skip",
        "line": {"color": token("accent"), "width": 1},
        "connectgaps": False,
    }
    before: int | None = None
    for p in shown:
        if before is not None and before != p.phase:
            line["x"].append(None)
            line["y"].append(None)
        before = p.phase
        line["x"].append(at[p.batch_id])
        line["y"].append(p.value)
    numbers = [rules.get((chart, p.batch_id), "") for p in shown]
    marks = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [at[p.batch_id] for p in shown],
        "y": [p.value for p in shown],
        "yaxis": axis,
        "texttemplate": [f"<b>{n}</b>" if n else "" for n in numbers],
        "textposition": "top center",
        "textfont": {"size": 11, "color": token("bad")},
        "cliponaxis": False,
        "customdata": [["batch", site, p.batch_id] for p in shown],
        "marker": {
            "symbol": [
                "x" if p.outside else "diamond" if n else "circle-open" if p.in_baseline else "circle"
                for p, n in zip(shown, numbers, strict=True)
            ],
            "size": [10 if p.outside or n else 7 for p, n in zip(shown, numbers, strict=True)],
            "color": [
                token("bad" if p.outside or n else "accent") for p, n in zip(shown, numbers, strict=True)
            ],
        },
        "text": [_hover(p, n, turned, unit) for p, n in zip(shown, numbers, strict=True)],
        "hovertemplate": "%{text}<extra></extra>",
    }
    return [line, marks]


def _hover(p: ChartPoint, rule: str, turned: Callable[[float], float] | None, unit: str) -> str:
    value = p.value if p.value is not None else 0.0
    told = f"{short(turned(value))} {unit}".strip() if turned else f"{value:.3g}"
    day = f"{p.batch_started_at:%Y-%m-%d}" if p.batch_started_at else "no date"
    limit = "outside the limits" if p.outside else "inside" if p.outside is False else "no limits"
    base = ", in the baseline" if p.in_baseline else ""
    rules = f"<br>rules {rule}" if rule else ""
    many = f" (with {p.n_batches - 1} before it)" if p.n_batches > 1 else ""
    return f"<b>{p.batch_id}</b>{many}, {day}<br>{told}, {limit}{base}{rules}<br>Click: the batch"


def _limit_words(
    points: Sequence[ChartPoint], axis: str, turned: Callable[[float], float] | None, count: int
) -> list[dict[str, Any]]:
    """Numbers of the newest limits at the right edge, in the unit where the axis has it."""
    last = next((p for p in reversed(points) if p.centre is not None or p.upper is not None), None)
    if last is None:
        return []
    levels = [(last.upper, "upper "), (last.centre, "centre "), (last.lower, "lower ")]
    notes = []
    for level, word in levels:
        if level is None or (word == "lower " and level == 0 and turned is None):
            continue
        value = turned(level) if turned else level
        notes.append(
            {
                "xref": "x", "yref": axis, "x": count + 0.7, "xanchor": "left", "y": level, "showarrow": False,
                "xshift": 3, "align": "left", "text": f"{word}<br>{short(value)}",
                "font": {"size": 10.5, "color": token("muted")},
            }
        )  # fmt: skip
    return notes


def _phase_lines(points: Sequence[ChartPoint], at: Mapping[str, int]) -> list[dict[str, Any]]:
    firsts: dict[int, int] = {}
    for p in points:
        firsts[p.phase] = min(firsts.get(p.phase, at[p.batch_id]), at[p.batch_id])
    return [
        {
            "type": "line", "xref": "x", "yref": "paper", "x0": x - 0.5, "x1": x - 0.5, "y0": 0, "y1": 1,
            "line": {"color": token("axis"), "width": 1, "dash": "dot"}, "layer": "below",
        }
        for phase, x in firsts.items() if phase > min(firsts)
    ]  # fmt: skip
