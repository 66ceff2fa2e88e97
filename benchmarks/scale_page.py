"""Makes `docs/scale.md` of what `scale_measure.py` and `many_machines.py` measured: costs, extrapolated, what breaks.

Run as `python benchmarks/scale_page.py`. Unit costs come from homes that ran, with their uncertainty where there is
more than one point; the load is what one assumes of a network, with ranges, stated on the page. Both are drawn 20,000
times: figures are medians and the middle 90 % of the draws.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from warehouse.settings import ROOT, Settings

FOLDER = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "scale.md"
TEXT = ROOT / "benchmarks" / "scale_text.md"
DRAWS = 20_000
SITES, YEARS, NIGHTS = 500, 5, 365
GB = 1e9
Array = np.ndarray[Any, np.dtype[np.float64]]

# What is assumed of a network, each with its middle 90 %: log-normal between these ends.
LOAD = {
    "batches a site and year": (50.0, 200.0),
    "readings a batch (channels × minutes; 5 channels a minute for 9 days are 65,000)": (20_000.0, 500_000.0),
    "feeds of a site that bring something, a night": (5.0, 20.0),
}
# List prices of a large cloud, in US dollars, rounded: an assumption, not a measurement.
PRICES = {
    "S3, a GB and month": 0.023,
    "PostgreSQL with a standby (2 cores, 16 GB), a month": 350.0,
    "hub (8 cores, 64 GB), a month": 300.0,
    "Redis and web servers, a month": 150.0,
    "a worker's core-hour": 0.05,
}
# What is not to be exceeded: seconds, bytes, files, core-hours of a night.
HOUR = 3600.0
SNAPSHOT_BYTES, FILES, NIGHT_HOURS = 64 * GB, 10_000.0, 64.0


@dataclass(frozen=True)
class Cost:
    """A cost with its standard error, and how many points it rests on."""

    value: float
    error: float
    points: int

    def draws(self, rng: np.random.Generator) -> Array:
        """Draws of the cost, from Student's t where the points are few; never below nothing."""
        t = rng.standard_t(max(self.points - 2, 1), DRAWS)
        return np.maximum(self.value + self.error * np.clip(t, -6, 6), 0.0)

    def told(self, scale: float, unit: str) -> str:
        """Value and 90 % interval, where there is one."""
        if self.points == 1:
            return f"{figure(self.value * scale)} {unit}"
        half = float(stats.t.ppf(0.95, max(self.points - 2, 1))) * self.error
        low, high = max(self.value - half, 0.0), self.value + half
        return f"{figure(self.value * scale)} ({figure(low * scale)} to {figure(high * scale)}) {unit}"


def figure(value: float) -> str:
    """Three digits, with thousands told apart."""
    if value == 0:
        return "0"
    if np.isinf(value):
        return "never"
    digits = max(2 - int(np.floor(np.log10(abs(value)))), 0)
    return f"{round(value, digits):,.{digits}f}" if abs(value) < 1000 else f"{float(f'{value:.3g}'):,.0f}"


def line(points: Sequence[dict[str, Any]], y: str, x: str) -> tuple[Cost, Cost]:
    """What a point costs by itself, and each `x` of it: least squares."""
    fit = stats.linregress([p[x] for p in points], [p[y] for p in points])
    fixed = Cost(float(fit.intercept), float(fit.intercept_stderr), len(points))
    return fixed, Cost(float(fit.slope), float(fit.stderr), len(points))


def ratio(points: Sequence[dict[str, Any]], y: str, x: str) -> Cost:
    """Mean of `y` by `x`; without an error where there is one point only."""
    each = [p[y] / p[x] for p in points if p.get(x)]
    error = float(np.std(each, ddof=1) / np.sqrt(len(each))) if len(each) > 1 else 0.0
    return Cost(float(np.mean(each)), error, len(each))


def costs(seen: dict[str, Any]) -> dict[str, Cost]:
    """Unit costs from the measured homes."""
    homes = [
        h | {"grown": h["catalog_bytes"] - h["empty_catalog_bytes"],
             "rest_cpu_s": max(h["publish_cpu_s"] - h["readings_copy_cpu_s"], 0.0),
             "rest_bytes": h["snapshot_bytes"] - h["readings_copy_bytes"]}
        for h in seen["homes"]
    ]  # fmt: skip
    feeds, runs = [f for h in homes for f in h["feeds"]], [r for h in homes for r in h["runs"]]
    feed, record = line([f for f in feeds if not f["large"]], "seconds", "received")
    return {
        "reading, taking in": ratio([f for f in feeds if f["large"]], "seconds", "received"),
        "reading, vault": ratio(homes, "readings_vault_bytes", "readings"),
        "reading, lake": ratio(homes, "readings_lake_bytes", "readings"),
        "reading, snapshot": ratio(homes, "readings_copy_bytes", "readings"),
        "reading, publishing": ratio(homes, "readings_copy_cpu_s", "readings"),
        "record, taking in": record,
        "batch, records": ratio(homes, "records", "batches"),
        "batch, vault": ratio(homes, "records_vault_bytes", "batches"),
        "batch, lake": ratio(homes, "records_lake_bytes", "batches"),
        "batch, snapshot": ratio(homes, "rest_bytes", "batches"),
        "batch, publishing": ratio(homes, "rest_cpu_s", "batches"),
        "feed that brought something, taking in": feed,
        "feed, Dagster": ratio(runs, "besides_s", "feeds"),
        "file, catalog": ratio(homes, "grown", "files"),
        "commit, files": ratio(homes, "files", "commits"),
    }


UNITS: dict[str, tuple[float, str]] = {
    "reading, taking in": (1e6, "µs"), "reading, vault": (1, "bytes"), "reading, lake": (1, "bytes"),
    "reading, snapshot": (1, "bytes"), "reading, publishing": (1e6, "CPU µs"), "record, taking in": (1e3, "ms"),
    "batch, records": (1, "records"), "batch, vault": (1e-3, "kB"), "batch, lake": (1e-3, "kB"),
    "batch, snapshot": (1e-3, "kB"), "batch, publishing": (1e3, "CPU ms"),
    "feed that brought something, taking in": (1, "s"), "feed, Dagster": (1, "s"),
    "file, catalog": (1e-3, "kB"), "commit, files": (1, "files"),
}  # fmt: skip


@dataclass(frozen=True)
class Network:
    """Draws of a network's load and of what each part costs."""

    cost: dict[str, Array]
    batches: Array
    readings: Array
    feeds: Array

    def at(self, sites: int, years: float) -> dict[str, Array]:
        """What a network has after so many years of so many sites."""
        c, lots = self.cost, self.batches * sites * years
        points = lots * self.readings
        commits = self.feeds * sites * NIGHTS * years
        files = commits * c["commit, files"]
        return {
            "batches": lots,
            "readings": points,
            "vaults, GB": (points * c["reading, vault"] + lots * c["batch, vault"]) / GB,
            "lake, GB": (points * c["reading, lake"] + lots * c["batch, lake"]) / GB,
            "lake files, not compacted": files,
            "catalog, GB, not compacted": files * c["file, catalog"] / GB,
            "snapshot with every reading, GB": (points * c["reading, snapshot"] + lots * c["batch, snapshot"]) / GB,
            "snapshot without readings, GB": lots * c["batch, snapshot"] / GB,
            "publishing every reading, hours of one core": (
                points * c["reading, publishing"] + lots * c["batch, publishing"]) / HOUR,
            "publishing without readings, hours of one core": lots * c["batch, publishing"] / HOUR,
            "a night's taking in, core-hours": (
                self.batches * sites / NIGHTS
                * (c["batch, records"] * c["record, taking in"] + self.readings * c["reading, taking in"])
                + self.feeds * sites * (c["feed that brought something, taking in"] + c["feed, Dagster"])) / HOUR,
        }  # fmt: skip


def network(unit: dict[str, Cost], rng: np.random.Generator) -> Network:
    """Draws of unit costs and load."""
    load = [
        np.exp(rng.normal(np.log(low * high) / 2, np.log(high / low) / (2 * 1.6449), DRAWS))
        for low, high in LOAD.values()
    ]
    return Network({name: c.draws(rng) for name, c in unit.items()}, *load)


def spread(values: Array) -> str:
    """Median and middle 90 %."""
    # Never is among the draws where a cost may be nothing: between it and a number nothing lies.
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95], method="inverted_cdf")
    return f"{figure(float(middle))} ({figure(float(low))} to {figure(float(high))})"


def money(drawn: Network) -> Array:
    """US dollars a month at the end of the last year, by `PRICES`."""
    s3, postgres, hub, others, core = PRICES.values()
    end = drawn.at(SITES, YEARS)
    stored = (end["vaults, GB"] + end["lake, GB"] + 10 * end["snapshot without readings, GB"]) * s3
    return stored + postgres + hub + others + end["a night's taking in, core-hours"] * 30 * core


def breaks(drawn: Network) -> list[tuple[str, Array, str]]:
    """What is reached after how many site-years, the earliest first: name, draws, what then."""
    year = drawn.at(1, 1)
    every, without = (
        "publishing every reading, hours of one core",
        "publishing without readings, hours of one core",
    )
    # What costs nothing is never reached.
    with np.errstate(divide="ignore"):
        found = [
            ("10,000 files in the lake", FILES / year["lake files, not compacted"],
             "Compact to site × month: over 16,000 small files a trace takes a tenth of a second, not milliseconds."),
            ("64 GB of snapshot with every reading", SNAPSHOT_BYTES / GB / year["snapshot with every reading, GB"],
             "Above `CELLFLEET_READINGS_COPIED` readings it does not come to that: they are served from the lake."),
            ("an hour to publish every reading", 1 / year[every],
             "Only the first publication takes it, and one after an update; the others take what came in."),
            ("an hour to publish the rest", 1 / year[without],
             "Build anew only the marts of what changed, by site where a mart allows it."),
            ("64 GB of snapshot without readings", SNAPSHOT_BYTES / GB / year["snapshot without readings, GB"],
             "Keep history in the lake, the rows in force in the file."),
        ]  # fmt: skip
    return sorted(found, key=lambda f: float(np.median(f[1])))


def rows(header: Sequence[str], body: Iterator[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in body])


def served_table(told: Sequence[dict[str, Any]]) -> str:
    """What readings in the snapshot and readings left in the lake cost, by how many there are."""
    columns = {
        "trace from the snapshot, ms": "batch trace",
        "trace from the lake, ms": "batch trace, readings left in the lake",
        "snapshot with readings, MB": "bytes of that snapshot",
        "its copy each night, s": "a night's copy of that snapshot",
        "copying readings the first time, s": "copying readings into a snapshot",
        "leaving them the first time, s": "leaving readings in the lake",
    }
    asked = {(t["name"].removeprefix("question: "), t["size"]): t["value"] for t in told}
    sizes = [size for name, size in asked if name == "bytes of that snapshot"]
    return rows(
        ("readings", *columns),
        ((size.split(",")[0].removesuffix(" readings"), *(figure(asked[name, size]) for name in columns.values()))
         for size in sizes),
    )  # fmt: skip


def tables(
    seen: dict[str, Any], workers: dict[str, Any] | None, told: Sequence[dict[str, Any]]
) -> dict[str, str]:
    """Every table of the page by its name in the text."""
    unit = costs(seen)
    drawn = network(unit, np.random.default_rng(1))
    first, end = drawn.at(20, 1), drawn.at(SITES, YEARS)
    reached = breaks(drawn)
    asked: dict[str, Callable[[], str]] = {
        "costs": lambda: rows(
            ("of one", "costs", "points"),
            ((n, c.told(*UNITS[n]), str(c.points)) for n, c in unit.items()),
        ),
        "load": lambda: rows(
            ("assumed", "middle 90 %"), ((n, f"{figure(a)} to {figure(b)}") for n, (a, b) in LOAD.items())
        ),
        "prices": lambda: rows(("assumed price", "US$"), ((n, f"{p:g}") for n, p in PRICES.items())),
        "network": lambda: rows(
            ("", "20 sites, 1 year", f"{SITES} sites, {YEARS} years"),
            ((n, spread(first[n]), spread(end[n])) for n in end),
        ),
        "money": lambda: f"{spread(money(drawn))} US$ a month at the end of year {YEARS}",
        "breaks": lambda: rows(
            ("what is reached", "after site-years", f"with {SITES} sites, years", "what then"),
            ((n, spread(v), spread(v / SITES), then) for n, v, then in reached),
        ),
        "first": lambda: f"{reached[0][0]}, after {spread(reached[0][1])} site-years",
        "machine": lambda: measured_on(seen),
        "workers_needed": lambda: spread(end["a night's taking in, core-hours"] / 8),
        "workers": lambda: worker_table(workers),
        "served": lambda: served_table(told),
        "copied": lambda: f"{int(Settings().readings_copied):,}",
    }
    return {name: make() for name, make in asked.items()}


def measured_on(seen: dict[str, Any]) -> str:
    """The machine, its load, and the homes, in one line."""
    machine = seen["machine"]
    homes = "; ".join(
        f"{h['sites']} sites, {h['batches']} batches, {h['readings']:,} readings" for h in seen["homes"]
    )
    return (
        f"{machine['cores']} cores, {machine['system']}, Python {machine['python']}, DuckDB {seen['duckdb']}, "
        f"load {machine['load']} when it was published again; {homes}"
    )


def worker_table(told: dict[str, Any] | None) -> str:
    """Scaling by workers; a sentence where it was not measured."""
    if told is None:
        return "Not measured yet: `python benchmarks/many_machines.py`."
    base = told["runs"][0]["seconds"]
    body = (
        (
            str(r["workers"]),
            f"{r['seconds']:.0f}",
            f"{base / r['seconds']:.2f}",
            f"{r['cpu_s']:.0f}",
            str(r["jobs"]),
        )
        for r in told["runs"]
    )
    table = rows(("workers", "seconds", "times as fast", "CPU s of workers", "runs"), body)
    return f"{table}\n\nOn {told['cores']} cores, shared with all servers; load before: {told['load']}."


def main() -> None:
    """Write the page."""
    seen = json.loads((FOLDER / "scale.json").read_text("utf-8"))
    path = FOLDER / "workers.json"
    workers = json.loads(path.read_text("utf-8")) if path.exists() else None
    told = json.loads((FOLDER / "latest.json").read_text("utf-8"))
    text = TEXT.read_text("utf-8")
    for name, table in tables(seen, workers, told).items():
        text = text.replace(f"{{{{{name}}}}}", table)
    if "{{" in text:
        raise SystemExit(f"{TEXT.name} names a table that is not made: {text[text.index('{{') :][:40]}")
    PAGE.write_text(text, encoding="utf-8")
    print(f"Wrote {PAGE}.")


if __name__ == "__main__":
    main()
