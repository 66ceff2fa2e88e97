"""Source: the file, row and hash that one record came from, and what was read there.

Belongs here: the last of the three clicks from a number on a page. Does not belong here: the file, which stays in
its site's vault.
"""

from __future__ import annotations

from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, exact, html_table, printed
from dashboards.components.words import plain, unit
from dashboards.facts.feeds import Source
from dashboards.providers.sources import SourceProvider
from dashboards.shell.visit import NotHere, Page, Visit, source_href
from warehouse.dictionary import dictionary


def layout(visit: Visit) -> Component:
    """Where the record of the address comes from. Raises NotHere for one that the reader may not see."""
    source = _source(visit)
    names = {s.id: s.name for s in visit.snapshot.sites}
    where = (
        f"Row {source.source_row} of {source.source_file}"
        if source.source_row is not None
        else source.source_file
    )
    return html.Div(
        [
            html.P([html.A("Fleet", href=visit.href("/")), " / Source"], className="cf-crumbs"),
            html.H1(where),
            html.P(
                f"{_article(source.table)} {plain(source.table)} of {names.get(source.site, source.site)}; "
                f"{_standing(source)}.",
                className="cf-lede",
            ),
            html.Div([_file(visit, source, names), _fields(visit, source)], className="cf-panels"),
        ]
    )


def _article(noun: str) -> str:
    return "An" if noun[:1] in "aeio" else "A"


def _source(visit: Visit) -> Source:
    found = SourceProvider(visit.snapshot).find(
        visit.scope.whole(), visit.args.get("record_id") or visit.get("record_id")
    )
    if found is None:
        raise NotHere(visit.args.get("record_id", ""))
    return found


def _standing(source: Source) -> str:
    if source.in_force:
        return "in force" + (
            f", since it replaced an earlier version ({source.reason})" if source.supersedes else ""
        )
    return "no longer in force: a later version replaced it"


def _file(visit: Visit, source: Source, names: dict[str, str]) -> Component:
    facts: list[tuple[str, Any]] = [
        ("Site", names.get(source.site, source.site)),
        ("Feed", plain(source.feed)),
        ("System", source.source_system),
        ("File", html.Code(source.source_file)),
        ("Row", printed(source.source_row)),
        ("SHA-256 of the file", html.Code(source.sha256 or "not a file: the site's contract")),
        ("Record", html.Code(source.record_id)),
        ("Version, by the source", _moment(source.source_version)),
        ("File written", _moment(source.sent_at)),
        ("Taken in", _moment(source.recorded_at)),
    ]
    if source.supersedes:
        facts.append(("Replaced", html.A(source.supersedes, href=source_href(visit, source.supersedes))))
    if source.superseded_by:
        facts.append(
            ("Replaced by", html.A(source.superseded_by, href=source_href(visit, source.superseded_by)))
        )
    rows = [html.Div([html.Dt(name), html.Dd(value)]) for name, value in facts if value]
    return panel(
        "file",
        "Where it comes from",
        "The file lies byte for byte in the site's vault under this hash.",
        html.Dl(rows, className="cf-facts-list"),
        computed="The reader counts rows from 1 in the file as sent and gives each record a stable identity. "
        f"Table history.{source.table}, snapshot {visit.snapshot.number}.",
    )


def _moment(moment: Any) -> str:
    return f"{printed(moment)} UTC" if moment else ""


def _fields(visit: Visit, source: Source) -> Component:
    hidden = f" {source.hidden} fields about the patient are not shown." if source.hidden else ""
    return panel(
        "fields",
        "What was read there",
        f"In the fleet's terms and units.{hidden}",
        html_table(field_table(source, short=True), "Fields of the record"),
        csv=visit.csv("source", "fields", record_id=source.record_id),
        computed="Values after the site's contract turned its words, units and times into the dictionary's; nothing "
        f"was guessed. Table history.{source.table}, snapshot {visit.snapshot.number}.",
    )


def field_table(source: Source, *, short: bool = False) -> Table:
    """Fields of the record with their units; `short` puts the meaning under the name, for narrow screens."""
    known = dictionary().fields
    rows = [
        {
            "field": name,
            "value": value,
            "unit": "UTC" if known[name].type == "timestamp" else unit(known[name].unit),
            "told": known[name].description,
        }
        for name, value in source.fields
        if value is not None
    ]
    columns: tuple[Column, ...] = (
        Column("field", "Field", cell=_named if short else None),
        Column("value", "Value", exact=True, cell=_valued if short else None),
    )
    if not short:
        columns += (Column("unit", "Unit"), Column("told", "Meaning"))
    return Table("source", columns, rows)


def _named(row: dict[str, Any]) -> list[Any]:
    return [html.Code(row["field"]), html.Br(), html.Small(row["told"], className="cf-muted")]


def _valued(row: dict[str, Any]) -> str:
    value = row["value"]
    return f"{exact(value) if isinstance(value, float) else printed(value)} {row['unit']}".strip()


PAGE = Page(
    name="source",
    path="/source/<record_id>",
    title="Source",
    layout=layout,
    tables={"fields": lambda visit: field_table(_source(visit))},
    in_navigation=False,
)
