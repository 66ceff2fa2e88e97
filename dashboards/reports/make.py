"""Making a dossier: what was asked for, its charts, the PDF, the data and the manifest.

Belongs here: from a visit to the bytes of the files. Does not belong here: words and tables (`warehouse/reports`),
reading (`providers/`), jobs (`jobs.py`). The same snapshot, scope and question give the same bytes.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from dashboards.components.lots import lot_charts
from dashboards.components.results import limits_figure, with_limit
from dashboards.components.words import NoDayError, day
from dashboards.facts.batch import Batch
from dashboards.figures.forest import forest
from dashboards.providers.batch import BatchProvider
from dashboards.providers.comparison import ComparisonProvider
from dashboards.providers.fleet import FleetProvider
from dashboards.providers.report import ReportProvider
from dashboards.reports.jobs import Progress
from dashboards.reports.svg import svg
from dashboards.shell.visit import Visit
from warehouse.reports.archive import as_json, code_version, zipped
from warehouse.reports.dossier import Choice
from warehouse.reports.typeset import Report, pdf

FORMAT = "cellfleet report 1"
CODE = ("warehouse", "pipelines", "dashboards")
KINDS = {"comparability": "Comparability of sites", "batch": "One batch"}


class Unclear(ValueError):  # noqa: N818 - it names a state, and is shown as a sentence
    """What was asked for cannot be made; the sentence says what to change."""


@dataclass(frozen=True)
class Order:
    """What a dossier shall be of: a choice of the comparability plan, or a batch."""

    title: str
    choice: Choice | None = None
    batch: Batch | None = None

    @property
    def told(self) -> dict[str, Any]:
        """The order in plain values, for the manifest and the job's id."""
        if self.batch is not None:
            return {"kind": "batch", "site": self.batch.site, "batch": self.batch.batch_id}
        assert self.choice is not None
        return {
            "kind": "comparability",
            "sites": list(self.choice.sites),
            "attributes": list(self.choice.attributes),
            "from": str(self.choice.first or ""),
            "to": str(self.choice.last or ""),
        }


def order(visit: Visit) -> Order:
    """What the address asks for. Raises Unclear; another site's batch looks like one that does not exist."""
    if visit.get("of") == "batch":
        site, _, batch_id = visit.get("batch").partition("/")
        if not batch_id:
            raise Unclear("Choose a batch first.")
        batch = BatchProvider(visit.snapshot).find(visit.scope.whole(), site, batch_id)
        if batch is None:
            raise Unclear(f"There is no batch {site}/{batch_id} that can be shown to you.")
        return Order(f"Batch {batch.batch_id} of {batch.site}", batch=batch)
    plan = [p.attribute for p in FleetProvider(visit.snapshot).plan(visit.scope)]
    asked = [a for a in visit.get("attrs").split(",") if a]
    attributes = tuple(a for a in plan if a in asked) if asked else tuple(plan)
    if not attributes:
        raise Unclear(
            "None of these attributes is in the comparability plan. Choose others, or none for all of them."
        )
    try:
        first, last = day(visit.get("from")), day(visit.get("to"))
    except NoDayError as error:
        raise Unclear(str(error)) from error
    if first and last and first > last:
        raise Unclear(f"The first day, {first}, is after the last, {last}.")
    choice = Choice(visit.scope.figures, attributes, first, last)
    title = f"Comparability of {_count(attributes, plan)} at {len(choice.sites)} sites, {choice.days}"
    return Order(title, choice=choice)


def _count(attributes: tuple[str, ...], plan: list[str]) -> str:
    if len(attributes) == len(plan):
        return f"all {len(plan)} attributes"
    return ", ".join(attributes) if len(attributes) <= 3 else f"{len(attributes)} attributes"


def files(visit: Visit, asked: Order, progress: Progress) -> dict[str, bytes]:
    """The dossier's files: `report.pdf`, `manifest.json`, and `report.zip` with both and the data."""
    steps = 4
    progress(0, steps, "draws the charts")
    report, data = _batch(visit, asked, progress) if asked.batch else _comparability(visit, asked, progress)
    progress(3, steps, "typesets")
    content = {"report.pdf": pdf(report), **data}
    manifest = as_json(
        {
            "format": FORMAT,
            "about": asked.told,
            "scope": _scope(visit, asked),
            "snapshot": {"sha256": visit.snapshot.sha256, "facts": visit.snapshot.facts},
            "code": _code(),
            "files": {name: hashlib.sha256(b).hexdigest() for name, b in sorted(content.items())},
        }
    )
    archive = zipped(content | {"manifest.json": manifest})
    return {"report.pdf": content["report.pdf"], "manifest.json": manifest, "report.zip": archive}


def _comparability(visit: Visit, asked: Order, progress: Progress) -> tuple[Report, Mapping[str, bytes]]:
    assert asked.choice is not None
    choice, provider = asked.choice, FleetProvider(visit.snapshot)
    names = {s.id: s.name for s in visit.snapshot.sites}
    window = choice.values
    pictures: dict[tuple[str, str], list[str]] = {}
    for entry in provider.plan(visit.scope):
        if entry.attribute not in choice.attributes:
            continue
        verdicts = provider.verdicts(visit.scope, entry.attribute)
        if verdicts:
            pictures[entry.attribute, "difference"] = [svg(forest(verdicts, names))]
        lots = [
            lot
            for lot in provider.lots(visit.scope, entry.attribute)
            if lot.lot_at is None or window["since"] <= lot.lot_at < window["until"]
        ]
        limits_of = provider.limits(visit.scope, entry.attribute)
        ranges = ComparisonProvider(visit.snapshot).ranges(visit.scope, entry.attribute)
        charts = lot_charts(entry, lots, limits_of, ranges, names)
        pictures[entry.attribute, "lots"] = [svg(chart.figure) for chart in charts]
    progress(1, 4, "reads the tables")
    made = ReportProvider(visit.snapshot)
    report = made.comparability(visit.scope, choice, cover(visit, visit.scope.sites), pictures)
    progress(2, 4, "writes the data")
    return report, made.comparability_data(visit.scope, choice)


def _batch(visit: Visit, asked: Order, progress: Progress) -> tuple[Report, Mapping[str, bytes]]:
    assert asked.batch is not None
    scope = visit.scope.whole()
    drawn = with_limit(BatchProvider(visit.snapshot).measured(scope, asked.batch))
    pictures = [svg(limits_figure(drawn))] if drawn else []
    progress(1, 4, "reads the tables")
    made = ReportProvider(visit.snapshot)
    report = made.batch(scope, asked.batch, cover(visit, (asked.batch.site,)), pictures)
    progress(2, 4, "writes the data")
    return report, made.batch_data(scope, asked.batch)


def cover(visit: Visit, sites: Sequence[str]) -> list[tuple[str, Any]]:
    """Lines of the first page: which snapshot, whose rows, which software."""
    snapshot, code = visit.snapshot, _code()
    data = "synthetic: drawn by a simulator" if snapshot.synthetic else snapshot.facts.get("data", "")
    return [
        ("Snapshot", f"{snapshot.number}, SHA-256 {snapshot.sha256}"),
        ("Data as of, UTC", snapshot.as_of),
        ("Data are", data),
        ("Single lots and batches of", ", ".join(sites) or "no site: the reader sees figures only"),
        ("Times", "UTC"),
        ("Software", f"cellfleet {code['cellfleet']}, code SHA-256 {code['sha256']}"),
        ("with", f"Python {code['python']}, DuckDB {code['duckdb']}, typst {code['typst']}"),
    ]


def _scope(visit: Visit, asked: Order) -> dict[str, Any]:
    """Whose rows and whose figures are in it."""
    programs = None if visit.scope.programs is None else list(visit.scope.programs)
    if asked.batch is not None:
        return {"rows of": [asked.batch.site], "figures of": [], "programs": programs}
    return {"rows of": list(visit.scope.sites), "figures of": list(visit.scope.figures), "programs": programs}


def _code() -> dict[str, str]:
    return {
        "cellfleet": version("cellfleet"),
        "sha256": code_version(CODE),
        "python": platform.python_version(),
        "duckdb": version("duckdb"),
        "typst": version("typst"),
    }
