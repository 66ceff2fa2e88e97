"""`cellfleet comparability assays FILE`: do two laboratories or methods agree, before their sites are compared.

Belongs here: a file of results into the statistics of agreement, gauge studies and precision, in words. Does not belong
here: the statistics, and the plan's `bridging` entry that such a study is quoted in.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from pipelines.runner import as_json
from warehouse.statistics import means
from warehouse.statistics.agreement import bland_altman, concordance, intraclass_correlations
from warehouse.statistics.gauge import gauge
from warehouse.statistics.method_lines import deming, passing_bablok
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin, Scale, forward
from warehouse.statistics.varcomp import nested_anova

Design = Literal["agreement", "gauge", "precision"]
GAUGE = ("part", "operator")
Table = dict[str, list[str]]


class FileError(ValueError):
    """The file cannot be used; the message names file, row and column."""


def _table(path: Path) -> Table:
    """Columns of a CSV file with a header. Raises FileError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            rows = [row for row in csv.reader(handle) if row]
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    if len(rows) < 2:
        raise FileError(f"{path} has no results: a header and a row for each result are needed.")
    header, *body = rows
    for number, row in enumerate(body, 2):
        if len(row) != len(header):
            raise FileError(f"{path}, row {number}: {len(row)} cells, the header has {len(header)}.")
    return {name.strip(): [row[i].strip() for row in body] for i, name in enumerate(header)}


def _numbers(path: Path, table: Table, column: str) -> list[float]:
    found = []
    for number, text in enumerate(table[column], 2):
        try:
            found.append(float(text))
        except ValueError as error:
            raise FileError(
                f"{path}, row {number}, {column}: {text!r} is no number; leave the row out."
            ) from error
    return found


def assays_command(
    path: Annotated[Path, typer.Argument(help="CSV: see --design.")],
    design: Annotated[
        str,
        typer.Option(
            help="agreement: the last two columns are two methods or laboratories on the same samples. gauge: part, "
            "operator and a result. precision: factors from coarse to fine (site, day …) and a result."
        ),
    ] = "agreement",
    scale: Annotated[
        str, typer.Option(help="Scale of the plan: identity, log, logit (of per cent).")
    ] = "identity",
    margin: Annotated[
        float | None, typer.Option(help="agreement: largest difference of means on the scale that is none.")
    ] = None,
    tolerance: Annotated[float | None, typer.Option(help="gauge: width of the specification.")] = None,
    error_ratio: Annotated[
        float, typer.Option(help="agreement: error variance of the second over that of the first (Deming).")
    ] = 1.0,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")] = False,
) -> None:
    """Do two laboratories or methods measure the same? Agreement, gauge study or precision of the results in a file."""
    try:
        if design not in get_args(Design) or scale not in get_args(Scale):
            raise FileError(
                f"--design is one of {', '.join(get_args(Design))}, --scale {', '.join(get_args(Scale))}."
            )
        table = _table(path)
        made: Scale = scale  # type: ignore[assignment] # checked just above
        if design == "agreement":
            row = _agreement(path, table, made, margin, error_ratio)
        else:
            row = _gauge(path, table, made, tolerance) if design == "gauge" else _precision(path, table, made)
    except (FileError, StatisticsRefusal) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    if json_output:
        typer.echo(as_json(row))
        return
    for line in _words(row):
        typer.echo(line)


def _scaled(values: list[float], scale: Scale, column: str) -> list[float]:
    return [float(v) for v in forward(values, scale, top=100.0, what=column)]


def _agreement(path: Path, table: Table, scale: Scale, margin: float | None, ratio: float) -> dict[str, Any]:
    if len(table) < 2:
        raise FileError(f"{path}: two columns of results of the same samples are needed.")
    names = list(table)[-2:]
    first, second = (_scaled(_numbers(path, table, name), scale, name) for name in names)
    estimate = means.paired(first, second)
    row: dict[str, Any] = {
        "design": "agreement", "first": names[0], "second": names[1], "scale": scale, "n": len(first),
        "difference": {k: getattr(estimate, k) for k in ("estimate", "ci_low", "ci_high", "df", "interval")},
        "bland_altman": asdict(bland_altman(first, second)), "lin": asdict(concordance(first, second)),
        "deming": asdict(deming(first, second, error_variance_ratio=ratio)),
        "passing_bablok": asdict(passing_bablok(first, second)),
        "icc": {
            name: asdict(form)
            for name, form in intraclass_correlations(list(zip(first, second, strict=True))).items()
        },
    }  # fmt: skip
    if margin is not None:
        tested = means.tost(estimate, Margin(-margin, margin))
        row |= {"margin": margin, "p_tost": tested.p, "bridged": tested.equivalent}
    return row


def _gauge(path: Path, table: Table, scale: Scale, tolerance: float | None) -> dict[str, Any]:
    if not set(GAUGE) < set(table):
        raise FileError(
            f"{path}: a gauge study has the columns part, operator and a result; it has {', '.join(table)}."
        )
    column = next(name for name in reversed(table) if name not in GAUGE)
    values = _scaled(_numbers(path, table, column), scale, column)
    part, operator = (table[name] for name in GAUGE)
    of_part = {p: {o for q, o in zip(part, operator, strict=True) if q == p} for p in part}
    nested = all(len(who) == 1 for who in of_part.values())
    found = gauge(values, part, operator, design="nested" if nested else "crossed", tolerance=tolerance)
    return {"design": "gauge", "result": column, "scale": scale, "n": len(values), "gauge": asdict(found)}


def _precision(path: Path, table: Table, scale: Scale) -> dict[str, Any]:
    *factors, column = table
    if not factors:
        raise FileError(f"{path}: precision needs factors from coarse to fine before the column of results.")
    values = _scaled(_numbers(path, table, column), scale, column)
    found = nested_anova(values, {name: table[name] for name in factors})
    return {
        "design": "precision",
        "result": column,
        "scale": scale,
        "n": len(values),
        "precision": asdict(found),
    }


def _words(row: dict[str, Any]) -> Iterator[str]:
    on = "" if row["scale"] == "identity" else f" on the {row['scale']} scale"
    if row["design"] == "agreement":
        yield from _agreement_words(row, on)
    elif row["design"] == "gauge":
        g = row["gauge"]
        yield f"{row['n']} results of {row['result']}{on}, {g['design']} study, intervals at {100 * g['level']:g} %:"
        for name, c in g["components"].items():
            tolerance = (
                ""
                if c["percent_of_tolerance"] is None
                else f", {c['percent_of_tolerance']:.1f} % of tolerance"
            )
            yield (
                f"  {name}: SD {c['variance'] ** 0.5:.4g} ({c['low'] ** 0.5:.4g} to {c['high'] ** 0.5:.4g}), "
                f"{c['percent_of_sd']:.1f} % of the total SD{tolerance}"
            )
        yield f"  {g['distinct']} distinct categories."
    else:
        p = row["precision"]
        yield (
            f"{row['n']} results of {row['result']}{on}, mean {p['mean']:.4g}, "
            f"{'balanced' if p['balanced'] else 'unbalanced'}; intervals at {100 * p['level']:g} %:"
        )
        for name, c in p["components"].items():
            cv = "" if c["cv_percent"] is None else f", CV {c['cv_percent']:.2f} %"
            yield f"  {name}: SD {c['sd']:.4g} ({c['sd_low']:.4g} to {c['sd_high']:.4g}), {c['percent']:.1f} %{cv}"


def _agreement_words(row: dict[str, Any], on: str) -> Iterator[str]:
    d, b, lin = row["difference"], row["bland_altman"], row["lin"]
    yield f"{row['second']} against {row['first']}, {row['n']} samples{on}:"
    yield f"  Mean difference {d['estimate']:.4g} (90 % interval {d['ci_low']:.4g} to {d['ci_high']:.4g})."
    yield (
        f"  Limits of agreement {b['low']:.4g} to {b['high']:.4g} (95 % intervals {_ends(b['low_ci'])}; "
        f"{_ends(b['high_ci'])})."
    )
    yield f"  Lin's coefficient {lin['value']:.4f} ({lin['ci_low']:.4f} to {lin['ci_high']:.4f})."
    for name in ("deming", "passing_bablok"):
        line = row[name]
        yield (
            f"  {line['method'].capitalize()}: slope {line['slope']:.4g} ({_ends(line['slope_ci'])}), intercept "
            f"{line['intercept']:.4g} ({_ends(line['intercept_ci'])})."
        )
    one = row["icc"]["ICC2"]
    yield f"  ICC(2,1) {one['value']:.4f} ({one['ci_low']:.4f} to {one['ci_high']:.4f})."
    if "bridged" in row:
        yield (
            f"  The means {'agree' if row['bridged'] else 'are not shown to agree'} within {row['margin']:g}{on} "
            f"(p = {row['p_tost']:.2g}). Single results differ by the limits of agreement all the same."
        )


def _ends(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.4g} to {ends[1]:.4g}"
