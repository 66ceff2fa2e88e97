"""Error rates of the verdict's default methods by simulation: size, coverage and power at small numbers, with errors.

Belongs here: the simulations of what decides, the page they are rendered to (`docs/validation/error-rates.md`) and its
figures as JSON. What stands beside a verdict or watches it is drawn in `characteristics_beside`.
Does not belong here: published values (`run.py`), the methods (`warehouse.statistics`).

`python -m warehouse.verification.characteristics` writes both files again (some minutes); `--runs` sets how many
studies are drawn for each line, a quarter of them for models. Each line has a seed of its own from the one printed, so
that any line can be drawn alone.
Every study goes through the functions that the marts call. Size: share called comparable where the true difference lies
at the margin. Coverage: share of 90 % intervals that hold the true difference. Power: share called comparable where
there is no difference, beside what `warehouse.statistics` reckons. Proportions are not drawn: every possible table is
judged and weighed by its chance, so they have no Monte-Carlo error. `--only` draws some methods again and keeps the
other lines as they are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from math import log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from warehouse.settings import ROOT
from warehouse.statistics import means
from warehouse.statistics.covariates import compare_routine
from warehouse.statistics.lots import t_tost_power, welch_size, welch_tost_power
from warehouse.statistics.means import Estimate
from warehouse.statistics.mixed import DfMethod
from warehouse.statistics.mixed_core import Floats
from warehouse.statistics.power import SplitDesign, covariate_power, fieller_power, split_power
from warehouse.statistics.proportions import (
    Count,
    Difference,
    Pairs,
    chan_zhang,
    miettinen_nurminen,
    newcombe,
    tango,
)
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin, Scale
from warehouse.statistics.split_apheresis import known_rho_interval, mixed_comparison, unknown_rho_interval
from warehouse.statistics.variability import sd_ratio, sd_ratio_power
from warehouse.statistics.verdict import NoEstimate, estimate_lots
from warehouse.verification import (
    characteristics_beside,
    characteristics_families,
    characteristics_ranges,
    characteristics_tests,
)
from warehouse.verification.characteristics_line import (
    ALPHA,
    MARGIN,
    RATIO_SD,
    RUNS,
    SD_LIMIT,
    SEED,
    SIZES,
    SUCCESS,
    SUCCESS_MARGIN,
    Draw,
    Known,
    Line,
    ends,
    line_of,
)
from warehouse.verification.error_lines import DECIDING

FOLDER = ROOT / "docs" / "validation"


def _welch(n: int, m: int, sd: float) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[float, float]:
        return ends(means.welch(rng.normal(0, 1, n), rng.normal(0, sd, m), alpha=ALPHA))

    return draw


def _paired(n: int) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[float, float]:
        donor = rng.normal(0, sqrt(0.5), n)
        noise = rng.normal(0, sqrt(0.5), (2, n))
        return ends(means.paired(donor + noise[0], donor + noise[1], alpha=ALPHA))

    return draw


def _spread(n: int, m: int) -> Draw:
    """Interval of the logarithm of the ratio of SDs."""

    def draw(rng: np.random.Generator) -> tuple[float, float]:
        found = sd_ratio(
            means.summarise(rng.normal(0, 1, n)), means.summarise(rng.normal(0, 1, m)), alpha=ALPHA
        )
        return log(found.ci_low), log(found.ci_high)

    return draw


def _adjusted(n: int, m: int) -> Draw:
    """One covariate of the patient worth as much as all else, one SD further at the site."""
    site = ["reference"] * n + ["site"] * m
    patient = [str(i) for i in range(n + m)]

    def draw(rng: np.random.Generator) -> tuple[float, float]:
        sick = np.concatenate([rng.normal(0, 1, n), rng.normal(1, 1, m)])
        y = sick + rng.normal(0, 1, n + m)
        found = compare_routine(
            y, site, reference="reference", patient=patient, numeric={"sick": sick}, alpha=ALPHA
        )
        return ends(found.estimates["site"])

    return draw


def _mixed(n: int, history: int, df_method: DfMethod = "kenward-roger") -> Draw:
    donors = [f"D{i}" for i in range(n)] * 2 + [f"H{i}" for i in range(history)]
    sites = ["a"] * n + ["b"] * n + ["a"] * history

    def draw(rng: np.random.Generator) -> tuple[float, float]:
        donor = rng.normal(0, sqrt(0.5), n)
        y: Floats = np.concatenate([donor, donor, rng.normal(0, sqrt(0.5), history)])
        y = y + rng.normal(0, sqrt(0.5), y.size)
        found = mixed_comparison(y, donors, sites, reference="a", alpha=ALPHA, df_method=df_method)
        return ends(found.estimates["b"])

    return draw


def _logs(found: Estimate | NoEstimate) -> tuple[float, float]:
    """Ends of an interval of a ratio or odds ratio, as logarithms."""
    if isinstance(found, NoEstimate):
        raise StatisticsRefusal(found.why)
    if found.ci_low <= 0:
        return -np.inf, log(found.ci_high)
    return log(found.ci_low), log(found.ci_high)


def _ratio(n: int, m: int) -> Draw:
    """Lognormal lots with an SD of 0.2 on the logarithm, as the plan's log scale judges them."""

    def draw(rng: np.random.Generator) -> tuple[float, float]:
        lots = [np.exp(rng.normal(1, RATIO_SD, size)) for size in (n, m)]
        return _logs(estimate_lots(lots[0], lots[1], scale="log", alpha=ALPHA))

    return draw


def _fieller(n: int, m: int, shift: float) -> Draw:
    """Normal lots with an SD of a fifth of the reference's mean; the means' ratio by Fieller."""

    def draw(rng: np.random.Generator) -> tuple[float, float]:
        sides = [
            means.summarise(rng.normal(mean, RATIO_SD, size)) for size, mean in ((n, 1.0), (m, np.exp(shift)))
        ]
        return _logs(means.fieller(sides[0], sides[1], alpha=ALPHA))

    return draw


def _logit(n: int, m: int, shift: float) -> Draw:
    """Percentages about 90, written to 0.1 as assays do; SD 0.5 on the logit."""
    scale: Scale = "logit"

    def draw(rng: np.random.Generator) -> tuple[float, float]:
        centre, sd = log(9), 0.5
        lots = [
            np.round(100 / (1 + np.exp(-rng.normal(centre + by, sd, size))), 1)
            for size, by in ((n, 0.0), (m, shift))
        ]
        return _logs(estimate_lots(lots[0], lots[1], scale=scale, alpha=ALPHA, top=100.0))

    return draw


def _split(n: int, history: int, known: bool) -> Draw:
    """Donors half of the variance, Burdick's closed forms with historical lots."""

    def draw(rng: np.random.Generator) -> tuple[float, float]:
        donor = rng.normal(0, sqrt(0.5), n)
        pre, post = donor + rng.normal(0, sqrt(0.5), (2, n))
        past = rng.normal(0, 1, history)
        if known:
            return ends(known_rho_interval(pre, post, past, 0.5, alpha=ALPHA))
        return ends(unknown_rho_interval(pre, post, past, alpha=ALPHA))

    return draw


Table = tuple[Difference, float, float]


def _two_groups(n: int, m: int, interval: Callable[..., Difference]) -> Iterator[Table]:
    """Every table of successes with its chance at no difference and with the site worse by the margin."""
    reference = stats.binom.pmf(np.arange(n + 1), n, SUCCESS)
    same = stats.binom.pmf(np.arange(m + 1), m, SUCCESS)
    worse = stats.binom.pmf(np.arange(m + 1), m, SUCCESS - SUCCESS_MARGIN)
    for b in range(n + 1):
        for a in range(m + 1):
            if reference[b] * max(same[a], worse[a]) > 1e-9:
                found = interval(Count(a, m), Count(b, n), level=1 - 2 * ALPHA)
                yield found, float(reference[b] * same[a]), float(reference[b] * worse[a])


def _matched(n: int) -> Iterator[Table]:
    """As `_two_groups` for donors made at both sites: 8 % succeed at one alone, or 24 % and 4 %."""
    same = np.array([0.82, 0.08, 0.08, 0.02])
    worse = np.array([0.66, 0.04, 0.24, 0.06])
    for both in range(n + 1):
        for site in range(n + 1 - both):
            for reference in range(n + 1 - both - site):
                neither = n - both - site - reference
                table = [both, site, reference, neither]
                chances = [float(stats.multinomial.pmf(table, n, p)) for p in (same, worse)]
                if max(chances) > 1e-9:
                    found = tango(Pairs(both, site, reference, neither), level=1 - 2 * ALPHA)
                    yield found, chances[0], chances[1]


def _enumerated(method: str, setting: str, n: int, m: int, tables: Iterable[Table]) -> Line:
    """Size, coverage and power from every table: no Monte-Carlo error."""
    size = covered = power = 0.0
    for found, same, worse in tables:
        inside = found.ci_low > -SUCCESS_MARGIN and found.ci_high < SUCCESS_MARGIN
        size += worse * inside
        power += same * inside
        covered += same * (found.ci_low <= 0 <= found.ci_high)
    return Line(method, setting, n, m, 0, 0, size, 0.0, None, covered, 0.0, power, 0.0, None)


# Of so many studies one is drawn.
SLOWER = {"adjusted": 4, "mixed": 4, "below detection": 4}
PROPORTIONS = "{}, 90 % succeed, margin 20 points"


def _means(line: Callable[..., Line], sizes: tuple[int, ...]) -> Iterator[Line]:
    """Two groups and pairs, normal lots."""
    margin = Margin(-MARGIN, MARGIN)
    for n in sizes:
        yield line(
            "Welch", "as many reference lots", n, n, _welch(n, n, 1.0),
            computed_size=welch_size(1, n, 1, n), computed_power=welch_tost_power(margin, 1, n, 1, n),
        )  # fmt: skip
    for n in sizes:
        yield line(
            "Welch", "40 reference lots", 40, n, _welch(40, n, 1.0),
            computed_size=welch_size(1, 40, 1, n), computed_power=welch_tost_power(margin, 1, 40, 1, n),
        )  # fmt: skip
    for n in sizes:
        yield line(
            "Welch", "40 reference lots, site 1.5 times as noisy", 40, n, _welch(40, n, 1.5),
            computed_size=welch_size(1, 40, 1.5, n), computed_power=welch_tost_power(margin, 1, 40, 1.5, n),
        )  # fmt: skip
    for n in sizes:
        yield line(
            "ratio of SDs", "40 reference lots, limit 1.5", 40, n, _spread(40, n), margin=log(SD_LIMIT), floor=-1e9,
            computed_size=ALPHA, computed_power=sd_ratio_power(Margin(0, SD_LIMIT), 40, n),
        )  # fmt: skip
    for n in sizes:
        yield line(
            "paired", "donors half of the variance", n, n, _paired(n),
            computed_size=ALPHA, computed_power=t_tost_power(margin, sqrt(1 / n), n - 1),
        )  # fmt: skip


def _models(line: Callable[..., Line], sizes: tuple[int, ...]) -> Iterator[Line]:
    """Models and Burdick's closed forms."""
    margin = Margin(-MARGIN, MARGIN)
    for n in sizes:
        yield line(
            "adjusted", "40 reference lots, one covariate, patients 1 SD sicker", 40, n, _adjusted(40, n),
            computed_size=ALPHA, computed_power=covariate_power(margin, 1, 40, n, 1, apart=1),
        )  # fmt: skip
    for n in sizes:
        yield line("mixed, Kenward-Roger", "split donors, half of the variance", n, n, _mixed(n, 0))
    for n in sizes:
        yield line("mixed, Kenward-Roger", "split donors and 10 historical lots", n + 10, n, _mixed(n, 10))
    for n in sizes:
        yield line(
            "mixed, Satterthwaite",
            "split donors and 10 historical lots",
            n + 10,
            n,
            _mixed(n, 10, "satterthwaite"),
        )
    for known, name in ((True, "known"), (False, "unknown")):
        for n in sizes:
            planned = split_power(SplitDesign(n, sqrt(0.5), sqrt(0.5), history=10), margin)
            yield line(
                f"split study, share of donors {name}", "half of the variance, 10 historical lots", n + 10, n,
                _split(n, 10, known), computed_size=ALPHA if known else None, computed_power=None if known else planned,
            )  # fmt: skip


def _ratios(line: Callable[..., Line], sizes: tuple[int, ...]) -> Iterator[Line]:
    """Scales of the plan."""
    ratio = Margin(-log(1.25), log(1.25))
    for n in sizes:
        yield line(
            "ratio, log scale", "40 reference lots, SD of the logarithm 0.2, 0.8 to 1.25", 40, n, _ratio(40, n),
            margin=ratio.high, computed_size=welch_size(1, 40, 1, n),
            computed_power=welch_tost_power(ratio, RATIO_SD, 40, RATIO_SD, n),
        )  # fmt: skip
    for n in sizes:
        yield line(
            "ratio of arithmetic means, Fieller", "40 reference lots, coefficient of variation 20 %, 0.8 to 1.25",
            40, n, _fieller(40, n, 0.0), margin=ratio.high, at_margin=_fieller(40, n, ratio.high),
            computed_power=fieller_power(Margin(0.8, 1.25), RATIO_SD, 40, n),
        )  # fmt: skip
    for n in sizes:
        yield line(
            "odds ratio, logit scale", "40 reference lots about 90 %, read to 0.1, SD 0.5, margin 0.5", 40, n,
            _logit(40, n, 0.0), margin=0.5, at_margin=_logit(40, n, 0.5), computed_size=welch_size(1, 40, 1, n),
            computed_power=welch_tost_power(Margin(-0.5, 0.5), 0.5, 40, 0.5, n),
        )  # fmt: skip


def _proportions(known: Known, sizes: tuple[int, ...]) -> Iterator[Line]:
    """Shares of lots, every table."""
    shares = PROPORTIONS.format("40 reference lots")
    for label, interval in (("Miettinen-Nurminen", miettinen_nurminen), ("Newcombe", newcombe)):
        for n in sizes:
            name = f"proportions, {label}"
            yield known(name, shares, n) or _enumerated(name, shares, 40, n, _two_groups(40, n, interval))
    exact, alike = "proportions, exact (Chan-Zhang)", PROPORTIONS.format("as many reference lots")
    for n in sizes:
        yield known(exact, alike, n) or _enumerated(exact, alike, n, n, _two_groups(n, n, chan_zhang))
    pairs, matched = "proportions of pairs, Tango", "90 % succeed at the reference, margin 20 points"
    for n in sizes:
        yield known(pairs, matched, n) or _enumerated(pairs, matched, n, n, _matched(n))


def lines(
    runs: int = RUNS, seed: int = SEED, sizes: tuple[int, ...] = SIZES, *,
    kept: Mapping[tuple[str, str, int], Line] | None = None, only: tuple[str, ...] = (),
) -> Iterator[Line]:  # fmt: skip
    """Every line of the page, method by method; those in `kept` are not drawn unless their method is in `only`."""

    def known(method: str, setting: str, m: int) -> Line | None:
        return None if method in only else (kept or {}).get((method, setting, m))

    def line(method: str, setting: str, n: int, m: int, draw: Draw, **told: float | Draw | None) -> Line:
        if (old := known(method, setting, m)) is not None:
            return old
        # A model takes some milliseconds, one with results below detection a tenth of a second, an interval little.
        slower = next((k for start, k in SLOWER.items() if method.startswith(start)), 1)
        drawn = max(runs // slower, 1)
        given: dict[str, Any] = {"computed_size": None, "computed_power": None, "margin": MARGIN} | told
        return line_of(method, setting, n, m, draw, runs=drawn, seed=seed, **given)

    yield from _means(line, sizes)
    yield from _models(line, sizes)
    yield from _ratios(line, sizes)
    yield from _proportions(known, sizes)
    for part in (characteristics_beside, characteristics_tests, characteristics_ranges):
        yield from part.lines(line, known, runs, seed, sizes)
    yield from characteristics_families.lines(known, runs, seed, sizes)


def page(found: list[Line], seed: int) -> str:
    """`docs/validation/error-rates.md`."""
    runs = found[0].runs
    out = [
        "# Error rates of the default methods",
        "",
        f"Rendered by `make validation` from up to {runs:,} simulated studies a line (seed {seed}); the figures lie",
        "beside this page as `error-rates.json`, and a test draws some lines again.",
        "",
        "- Size: share called comparable where the true difference lies at the margin (nominal 5 %).",
        "- Coverage: share of 90 % intervals that hold the true difference.",
        "- Power: share called comparable at no true difference.",
        "",
        f"Where nothing else is said, margins are {MARGIN:g} SD of a reference lot each way; for the ratio of SDs the",
        f"limit is {SD_LIMIT:g}. ± is one Monte-Carlo standard error; in brackets stands what the planner reckons (for",
        "a size: with the other limit far away, so an upper bound). A size more than two standard errors above 5 % is",
        "marked ▲, a coverage as far below its level ▼; the size of a verdict at its own numbers is its `size`.",
        "Proportions are reckoned from every possible table and have no such error; they move in steps, and few lots",
        "can show nothing. So are rates. A watch looks at every new lot and stops at its first verdict: its size is",
        "over all looks, its coverage that of every look at once. Ranges and agreement judge nothing, so they have a",
        "coverage alone; Wellek's tests make no interval, so they have none. Rules on posterior probabilities and the",
        "quality range are no tests at 5 %: they decide nothing, and what they would accept is told beside them.",
    ]
    for title in dict.fromkeys((line.method, line.setting) for line in found):
        out += [
            "",
            f"## {title[0]}: {title[1]}",
            "",
            "| reference | site | size | coverage | power |",
            "|---|---|---|---|---|",
        ]
        for line in found:
            if (line.method, line.setting) == title:
                lots = f"| {line.n_reference or ''} | {line.n_site} |"
                if line.runs and line.refused == line.runs:
                    out.append(f"{lots} refused: too few | | |")
                    continue
                out.append(
                    f"{lots} {_told(line.size, line.size_error, line.computed_size)}{' ▲' if line.liberal else ''} | "
                    f"{_told(line.coverage, line.coverage_error, None)}{' ▼' if line.narrow else ''}{_refused(line)} | "
                    f"{_told(line.power, line.power_error, line.computed_power)} |"
                )
    deciding = [line for line in found if line.method in DECIDING]
    worst = max(deciding, key=lambda line: line.size or 0.0)
    out += [
        "",
        f"Of {len(found)} lines {sum(line.liberal for line in found)} are marked ▲; of the {len(deciding)} of methods "
        f"that may decide a verdict {sum(line.liberal for line in deciding)}. The largest size among these is "
        f"{100 * (worst.size or 0.0):.1f} % ({worst.method}, {worst.setting}, {worst.n_site} lots or donors).",
    ]
    return "\n".join(out) + "\n"


def _told(share: float | None, error: float, computed: float | None) -> str:
    if share is None:
        return ""
    exact = "" if computed is None else f" [{100 * computed:.1f}]"
    around = f" ± {100 * error:.1f}" if error else ""
    return f"{100 * share:.1f}{around}{exact}"


def _refused(line: Line) -> str:
    return f" ({100 * line.refused / line.runs:.1f} % refused)" if line.refused else ""


def stored(folder: Path = FOLDER) -> tuple[list[Line], int]:
    """The lines of the shipped page and their seed."""
    told = json.loads((folder / "error-rates.json").read_text("utf-8"))
    return [Line(**line) for line in told["lines"]], int(told["seed"])


def main() -> None:
    """Draw every line and write page and figures."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--runs", type=int, default=RUNS)
    words.add_argument("--seed", type=int, default=SEED)
    words.add_argument("--folder", type=Path, default=FOLDER)
    words.add_argument("--only", nargs="*", help="Methods to draw again; the others keep their stored lines.")
    chosen = words.parse_args()
    kept = (
        {(old.method, old.setting, old.n_site): old for old in stored(chosen.folder)[0]}
        if chosen.only is not None
        else {}
    )
    found = []
    for line in lines(chosen.runs, chosen.seed, kept=kept, only=tuple(chosen.only or ())):
        found.append(line)
        print(
            f"{line.method}, {line.setting}, {line.n_site}: size {line.size}, coverage {line.coverage}, power "
            f"{line.power}",
            flush=True,
        )
    chosen.folder.mkdir(parents=True, exist_ok=True)
    told = {"seed": chosen.seed, "lines": [asdict(line) for line in found]}
    (chosen.folder / "error-rates.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    (chosen.folder / "error-rates.md").write_text(page(found, chosen.seed), encoding="utf-8")


if __name__ == "__main__":
    main()
