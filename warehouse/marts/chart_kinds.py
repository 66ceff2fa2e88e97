"""The control charts of one phase: its limits estimated from a baseline, and its points laid against them.

Belongs here: which charts a kind of series has, the parameters that are frozen, and the rows of `mart.chart_point`.
Does not belong here: which batches make a phase (`charts.py`), limits and rules (`warehouse.statistics`).

Kinds: `measured` (I, MR, EWMA, CUSUM+, CUSUM-, Xbar, S), `proportion` (p, or Laney's p' where the baseline varies more
than chance), `rate` (u, or u'), `together` (T2, MEWMA over correlated attributes). Parameters are plain JSON, so that
frozen ones draw the same chart for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from warehouse.plan import Charts
from warehouse.statistics.chart_rules import NELSON, WESTERN_ELECTRIC, PointSignal, signals_of
from warehouse.statistics.charts import (
    Baseline,
    Chart,
    individuals_baseline,
    individuals_chart,
    moving_range_chart,
    sd_chart,
    subgroup_baseline,
    subgroups_of,
    xbar_chart,
)
from warehouse.statistics.charts_adjusted import Adjustment, adjustment
from warehouse.statistics.charts_attributes import (
    CountBaseline,
    p_chart,
    proportion_baseline,
    rate_baseline,
    u_chart,
)
from warehouse.statistics.charts_memory import cusum_chart, ewma_chart
from warehouse.statistics.charts_multivariate import (
    MultivariateBaseline,
    hotelling_chart,
    mewma_chart,
    multivariate_baseline,
)
from warehouse.statistics.checked import BoolArray, FloatArray
from warehouse.statistics.estimated_limits import ewma_width, individuals_width
from warehouse.statistics.mspc import t2_limit

Parameters = dict[str, Any]
SHEWHART = 0.0027  # chance of a point outside 3 sigma
OVERDISPERSED = 0.05  # level of the test that turns p into p' and u into u'


@dataclass(frozen=True, eq=False)
class Phase:
    """One phase of one series, in order of start. values: (batches,), or (batches, attributes) of kind `together`.

    covariates: (batches, names), None where none is declared. names: those covariates, or the attributes together.
    """

    kind: str
    batches: pl.Series
    at: pl.Series
    values: FloatArray
    records: pl.Series
    covariates: FloatArray | None = None
    names: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Batches of the phase."""
        return len(self.batches)

    def first(self, n: int) -> Phase:
        """The phase's first n batches."""
        covariates = None if self.covariates is None else self.covariates[:n]
        return Phase(
            self.kind,
            self.batches[:n],
            self.at[:n],
            self.values[:n],
            self.records[:n],
            covariates,
            self.names,
        )


def estimate(basis: Phase, charts: Charts, rate: float | None) -> Parameters:
    """Parameters of a phase's charts from its baseline. Raises StatisticsRefusal where it can carry none.

    rate: false alarms per point that each ringing chart may give, allowing for the baseline's own error; None leaves
    the usual limits (3 sigma).
    """
    if basis.kind == "together":
        return _estimate_together(basis, charts, rate)
    if basis.kind in ("proportion", "rate"):
        return _estimate_counts(basis, charts)
    values, told = basis.values, {}
    fitted = 0
    if basis.covariates is not None:
        fit = adjustment(values, basis.covariates, basis.names)
        values, fitted = fit.applied(values, basis.covariates), len(fit.names)
        told = {
            "covariates": list(fit.names),
            "slopes": fit.slopes.tolist(),
            "reference": fit.reference.tolist(),
            "explained": fit.explained,
        }
    baseline = individuals_baseline(values)
    # Slopes fitted on these values have taken part of their spread away.
    sigma = baseline.sigma * float(np.sqrt((baseline.n - 1) / (baseline.n - 1 - fitted)))
    groups = _subgroups(values, charts.subgroup_batches)
    within = subgroup_baseline(groups, "pooled sd").sigma if groups is not None else None
    return told | {
        "centre": baseline.centre,
        "sigma": sigma,
        "n": baseline.n,
        "spread": baseline.spread,
        "subgroup_sigma": within,
        "subgroup_size": charts.subgroup_batches,
        "width": 3.0 if rate is None else individuals_width(rate, baseline.n, fitted),
        "ewma_weight": charts.ewma_weight,
        "ewma_width": 3.0 if rate is None else ewma_width(rate, charts.ewma_weight, baseline.n, fitted),
        "cusum_allowance": charts.cusum_allowance,
        "cusum_decision": charts.cusum_decision,
        "rate": rate,
    }


def _estimate_counts(basis: Phase, charts: Charts) -> Parameters:
    events, units = _counted(basis, charts.subgroup_batches)
    of = proportion_baseline if basis.kind == "proportion" else rate_baseline
    plain = of(events, units)
    variance = plain.rate * ((1.0 - plain.rate) if basis.kind == "proportion" else 1.0)
    dispersion = float(((events / units - plain.rate) ** 2 * units / variance).sum())
    laney = events.size > 2 and float(stats.chi2.sf(dispersion, events.size - 1)) < OVERDISPERSED
    chosen = of(events, units, laney=True) if laney else plain
    # Less spread than chance is no reason for narrower limits.
    return {
        "centre": chosen.rate,
        "sigma_z": max(chosen.sigma_z, 1.0),
        "events": chosen.events,
        "units": chosen.units,
        "n": basis.size,
        "subgroup_size": charts.subgroup_batches,
        "width": 3.0,
        "rate": None,
    }


def _estimate_together(basis: Phase, charts: Charts, rate: float | None) -> Parameters:
    found = multivariate_baseline(basis.values)
    alpha = SHEWHART if rate is None else rate
    return {
        "attributes": list(basis.names),
        "mean": found.mean.tolist(),
        "covariance": found.covariance.tolist(),
        "n": found.n,
        "alpha": alpha,
        "limit": t2_limit(found.n, found.mean.size, "phase II F", alpha),
        "mewma_weight": charts.mewma_weight,
        "mewma_arl": 1.0 / SHEWHART,
        "rate": rate,
    }


def points(phase: Phase, told: Parameters | None) -> list[pl.DataFrame]:
    """Rows of `mart.chart_point` of a phase, but for the columns that are the same for all of them.

    Without parameters only the values are shown.
    """
    if told is None:
        if phase.kind != "measured":
            return []
        return [_frame(phase, "I", np.arange(phase.size), phase.values)]
    if phase.kind == "together":
        return _together(phase, told)
    if phase.kind in ("proportion", "rate"):
        return _counts(phase, told)
    values = adjusted(phase, told)
    base = Baseline(told["centre"], told["sigma"], told.get("spread", "moving range"), told["n"])
    every = np.arange(phase.size)
    individuals = individuals_chart(values, base, told["width"])
    made = [
        _charted(phase, individuals, every, rules=True),
        _charted(
            phase, ewma_chart(values, base, told["ewma_weight"], told["ewma_width"], restart=True), every
        ),
    ]
    if phase.size > 1:
        made.append(_charted(phase, moving_range_chart(values, base), every[1:]))
    sums = cusum_chart(
        values, base.centre, told["cusum_allowance"] * base.sigma, told["cusum_decision"] * base.sigma
    )
    for name, sum_, side in (("CUSUM+", sums.high, 1), ("CUSUM-", sums.low, -1)):
        upper = np.full(phase.size, sums.decision)
        outside = sum_ > upper
        made.append(
            _frame(
                phase, name, every, sum_, centre=np.zeros(phase.size), upper=upper,
                outside=outside, side=np.where(outside, side, 0),
            )
        )  # fmt: skip
    size, within = int(told["subgroup_size"]), told.get("subgroup_sigma")
    groups = _subgroups(values, size)
    if groups is not None and within:
        inner = Baseline(base.centre, within, "pooled sd", base.n)
        last = np.arange(groups.means.size) * size + size - 1
        made.append(_charted(phase, xbar_chart(groups, inner), last, n=size))
        made.append(_charted(phase, sd_chart(groups, inner), last, n=size))
    return made


def adjusted(phase: Phase, told: Parameters) -> FloatArray:
    """The phase's values with the declared covariates taken out, as the frozen slopes say."""
    if not told.get("covariates") or phase.covariates is None:
        return phase.values
    fit = Adjustment(
        tuple(told["covariates"]),
        np.array(told["slopes"]),
        np.array(told["reference"]),
        told["explained"],
        told["n"],
    )
    return fit.applied(phase.values, phase.covariates)


def _subgroups(values: FloatArray, size: int) -> Any:
    """Complete subgroups of successive batches; None where there is none."""
    whole = values.size // size * size
    if not whole:
        return None
    return subgroups_of(values[:whole], [f"{i // size:06d}" for i in range(whole)])


def _counted(phase: Phase, size: int) -> tuple[FloatArray, FloatArray]:
    """Events and batches of each complete subgroup of successive batches."""
    whole = phase.size // size
    events = phase.values[: whole * size].reshape(whole, size).sum(axis=1)
    return events, np.full(whole, float(size))


def _counts(phase: Phase, told: Parameters) -> list[pl.DataFrame]:
    size = int(told["subgroup_size"])
    events, units = _counted(phase, size)
    if not events.size:
        return []
    base = CountBaseline(told["centre"], told["sigma_z"], int(told["events"]), told["units"], events.size)
    chart = (p_chart if phase.kind == "proportion" else u_chart)(events, units, base, told["width"])
    return [_charted(phase, chart, np.arange(events.size) * size + size - 1, rules=True, n=size)]


def _together(phase: Phase, told: Parameters) -> list[pl.DataFrame]:
    base = MultivariateBaseline(np.array(told["mean"]), np.array(told["covariance"]), told["n"], "all rows")
    t2 = hotelling_chart(phase.values, base, told["alpha"])
    mewma = mewma_chart(phase.values, base, told["mewma_weight"], told["mewma_arl"])
    made = []
    every = np.arange(phase.size)
    names = np.array(told["attributes"])
    for name, chart in (("T2", t2), ("MEWMA", mewma)):
        upper = np.full(phase.size, chart.limit)
        outside = chart.t2 > upper
        driver = names[np.argmax(chart.contributions, axis=1)]
        made.append(
            _frame(
                phase, name, every, chart.t2, centre=np.zeros(phase.size), upper=upper, outside=outside,
                side=outside.astype(np.int64), driver=driver,
            )
        )  # fmt: skip
    return made


def _charted(phase: Phase, chart: Chart, place: Any, *, rules: bool = False, n: int = 1) -> pl.DataFrame:
    z = chart.z
    outside = (chart.values > chart.upper) | (chart.values < chart.lower)
    nelson = western = None
    if rules:
        # The rules' own limits lie at 3 sigma, wherever the ringing ones are drawn.
        nelson = _numbers(signals_of(z, NELSON), z.size)
        western = _numbers(signals_of(z, WESTERN_ELECTRIC), z.size)
    return _frame(
        phase,
        chart.statistic,
        place,
        chart.values,
        centre=chart.centre,
        lower=chart.lower,
        upper=chart.upper,
        z=z,
        outside=outside,
        side=np.where(outside, np.sign(chart.values - chart.centre), 0).astype(np.int64),
        nelson=nelson,
        western=western,
        n=n,
    )


def _numbers(signals: tuple[PointSignal, ...], size: int) -> list[str | None]:
    told: list[str | None] = [None] * size
    for signal in signals:
        told[signal.index] = ",".join(str(number) for number in signal.rules)
    return told


def _frame(
    phase: Phase,
    chart: str,
    place: Any,
    values: FloatArray,
    *,
    centre: FloatArray | None = None,
    lower: FloatArray | None = None,
    upper: FloatArray | None = None,
    z: FloatArray | None = None,
    outside: BoolArray | None = None,
    side: Any = None,
    driver: Any = None,
    nelson: list[str | None] | None = None,
    western: list[str | None] | None = None,
    n: int = 1,
) -> pl.DataFrame:
    size = len(place)
    one = n == 1 and size == phase.size

    def column(name: str, array: Any, kind: Any) -> pl.Series:
        return pl.Series(name, [None] * size if array is None else array, dtype=kind)

    def of(name: str, told: pl.Series) -> pl.Series:
        return (told if one else told.gather(place)).alias(name)

    return pl.DataFrame(
        [
            pl.Series("chart", [chart], dtype=pl.String).new_from_index(0, size),
            pl.Series("n_batches", [n], dtype=pl.Int64).new_from_index(0, size),
            of("batch_id", phase.batches),
            of("batch_started_at", phase.at),
            of("record_ids", phase.records),
            column("value", values, pl.Float64),
            column("centre", centre, pl.Float64),
            column("lower", lower, pl.Float64),
            column("upper", upper, pl.Float64),
            column("z", z, pl.Float64),
            column("outside", outside, pl.Boolean),
            column("side", side, pl.Int64),
            column("driver", driver, pl.String),
            column("nelson_rules", nelson, pl.String),
            column("western_electric_rules", western, pl.String),
        ]
    )
