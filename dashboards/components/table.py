"""Tables: the same columns, order and rounding on the page and in the CSV.

Belongs here: how a value is printed, an HTML table, an AG Grid for long ones. Does not belong here: the rows.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import dash_ag_grid as dag
from dash import html
from dash.development.base_component import Component

from dashboards.components.aria import aria

GRID_ROW, GRID_HEAD, GRID_SHOWN = 38, 44, 10
WIDEST_PX = 420
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PLAIN = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")


@dataclass(frozen=True)
class Column:
    """One column: key of the row, title with its unit, digits that count (`exact`: all), how a cell is shown.

    `width` in pixels: of a grid's column, in a short table the least.
    """

    key: str
    title: str
    digits: int = 3
    cell: Callable[[dict[str, Any]], Any] | None = None
    width: int | None = None
    link: Callable[[dict[str, Any]], str] | None = None
    exact: bool = False
    thousands: bool = False

    def text(self, row: dict[str, Any]) -> str:
        """The value as printed on the page and in the CSV."""
        value = row.get(self.key)
        return exact(value) if self.exact and isinstance(value, float) else printed(value, self.digits)


@dataclass(frozen=True)
class Table:
    """Rows to show and to download."""

    name: str
    columns: tuple[Column, ...]
    rows: Sequence[dict[str, Any]] = field(default_factory=tuple)

    def as_csv(self) -> str:
        """The table as CSV with the page's rounding; what a spreadsheet would run is quoted with an apostrophe."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerow([c.title for c in self.columns])
        for row in self.rows:
            writer.writerow([_harmless(c.text(row), row.get(c.key)) for c in self.columns])
        return out.getvalue()


def printed(value: Any, digits: int = 3) -> str:
    """A value as people read it: significant digits, UTC times to the minute, nothing for nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value, digits)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    if isinstance(value, date):
        return value.isoformat()
    return "" if value is None else str(value)


def exact(value: float) -> str:
    """A value as it was told: every digit that it has, and none that it has not."""
    told = f"{value:.12g}"
    return (number(value, 6) if "e" in told else told).replace("-", "−")


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, in plain notation where it is short, with a true minus sign."""
    if not math.isfinite(value):
        return ""
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if -4 <= size < 7:
        rounded = round(value, digits - 1 - size)
        return f"{rounded:.{max(digits - 1 - size, 0)}f}".replace("-", "−")
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}×10{str(int(power)).translate(SUPERSCRIPT)}".replace("-", "−")


def html_table(table: Table, said: str, *, long: bool = False) -> Component:
    """A table. `said` names it for those who cannot see it; a `long` one scrolls under its head."""
    head = html.Thead(
        html.Tr(
            [
                html.Th(
                    c.title,
                    scope="col",
                    className=_aligned(c, table),
                    style={"minWidth": f"{c.width}px"} if c.width else None,
                )
                for c in table.columns
            ]
        )
    )
    rows: list[Any] = [_written("Tr", [_cell(c, row) for c in table.columns]) for row in table.rows]
    return html.Div(
        html.Table([html.Caption(said, className="cf-hidden"), head, html.Tbody(rows)], className="cf-table"),
        className="cf-scroll cf-long" if long else "cf-scroll",
        tabIndex="0",
        role="region",
        **aria(label=said),
    )


def _aligned(column: Column, table: Table) -> str | None:
    """Numbers, and the title above them, stand at the right."""
    values = [row.get(column.key) for row in table.rows]
    numeric = any(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return "cf-number" if numeric and not column.cell else None


def _written(kind: str, children: Any, **properties: Any) -> dict[str, Any]:
    """An HTML element as Dash writes it: a component for each of thousands of cells takes most of a page's time."""
    return {
        "type": kind,
        "namespace": "dash_html_components",
        "props": {"children": children, **properties},
    }


def _cell(column: Column, row: dict[str, Any]) -> dict[str, Any]:
    value = row.get(column.key)
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    content: Any = column.cell(row) if column.cell else column.text(row)
    if column.thousands and isinstance(value, int):
        content = f"{value:,}"
    if isinstance(value, datetime) and not column.cell:
        # A time may stand under its date, but neither breaks in itself.
        content = [_written("Span", part, className="cf-nowrap") for part in content.split(" ")]
        content.insert(1, " ")
    if column.link and not column.cell:
        content = _written("A", content, href=column.link(row))
    return _written("Td", content, **({"className": "cf-number"} if numeric and not column.cell else {}))


def grid(table: Table, said: str, *, name: str) -> Component:
    """A long table that can be sorted, filtered and paged. Numbers sort as numbers and read as rounded."""
    rows = [
        {
            c.key: {"text": c.text(r), "href": c.link(r)} if c.link else _sortable(r.get(c.key), c)
            for c in table.columns
        }
        for r in table.rows
    ]
    columns = []
    for c in table.columns:
        told: dict[str, Any] = {"field": c.key, "headerName": c.title, "tooltipField": c.key}
        told |= {"width": c.width or _width(c, [row[c.key] for row in rows])}
        if c.link:
            told |= {"cellDataType": False, "cellRenderer": "CellLink", "tooltipField": None}
        columns.append(told)
    shown = min(max(len(rows), 1), GRID_SHOWN)
    paged = len(rows) > GRID_SHOWN
    return html.Div(
        dag.AgGrid(
            id={"type": "grid", "name": name},
            columnDefs=columns,
            rowData=rows,
            defaultColDef={
                "sortable": True,
                "filter": True,
                "resizable": True,
                "comparator": {"function": "cellfleetCompare"},
                "filterParams": {"buttons": ["reset"]},
            },
            dashGridOptions={
                "pagination": paged,
                "paginationPageSize": GRID_SHOWN,
                "paginationPageSizeSelector": [GRID_SHOWN, 50, 200],
                "rowHeight": GRID_ROW,
                "headerHeight": GRID_HEAD,
                "enableCellTextSelection": True,
                "animateRows": False,
                "suppressColumnVirtualisation": len(columns) < 12,
                "tooltipShowDelay": 400,
            },
            style={"height": f"{GRID_HEAD + GRID_ROW * shown + (52 if paged else 4) + 16}px"},
        ),
        role="region",
        **aria(label=said),
    )


def _width(column: Column, cells: Sequence[Any]) -> int:
    """Width in pixels that shows nine of ten cells whole: known before the browser draws, so nothing moves."""
    lengths = sorted(len(cell["text"] if column.link else str(cell)) for cell in cells)
    longest = lengths[int(0.9 * (len(lengths) - 1))] if lengths else 0
    return max(min(int(8 * longest) + 38, WIDEST_PX), 8 * len(column.title) + 64)


def _sortable(value: Any, column: Column) -> Any:
    """Numbers stay numbers, rounded as printed; the rest is text, which for times sorts as they follow."""
    if isinstance(value, float):
        return float(f"{value:.{column.digits}g}") if math.isfinite(value) else None
    return value if isinstance(value, int) else printed(value, column.digits)


def _harmless(text: str, value: Any) -> str:
    if isinstance(value, int | float):
        return text.replace("×10", "e").translate(PLAIN)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
