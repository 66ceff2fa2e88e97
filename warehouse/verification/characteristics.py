"""Error rates of the verdict's default methods by simulation: size, coverage and power at small numbers, with errors.

Belongs here: the simulations, the page they are rendered to (`docs/validation/error-rates.md`) and its figures as JSON.
Does not belong here: published values (`run.py`), the methods (`warehouse.statistics`).

`python -m warehouse.verification.characteristics` writes both files again (some minutes); `--runs` sets how many
studies are drawn for each line, a quarter of them for models. Each line has a seed of its own from the one printed, so
that any line can be drawn alone.
Every study goes through the functions that the marts call. Size: share called comparable where the true difference lies
at the margin. Coverage: share of 90 % intervals that hold the true difference. Power: share called comparable where
there is no difference, beside what `warehouse.statistics` reckons.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from math import log, sqrt
from pathlib import Path

import numpy as np

from warehouse.settings import ROOT
from warehouse.statistics import means
from warehouse.statistics.covariates import compare_routine
from warehouse.statistics.lots import t_tost_power, welch_size, welch_tost_power
from warehouse.statistics.means import Estimate
from warehouse.statistics.mixed_core import Floats
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin
from warehouse.statistics.split_apheresis import mixed_comparison
from warehouse.statistics.variability import sd_ratio, sd_ratio_power

SEED = 20240101
RUNS = 4000
SIZES = (3, 4, 5, 6, 8, 12, 20)
ALPHA = 0.05
# Margins in SDs of a reference lot; the limit of the ratio of SDs is the demo plan's.
MARGIN = 1.0
SD_LIMIT = 1.5
FOLDER = ROOT / "docs" / "validation"


@dataclass(frozen=True)
class Line:
    """One method at one number of lots. `computed_*` are the exact values where there is a formula."""

    method: str
    setting: str
    n_reference: int
    n_site: int
    runs: int
    refused: int
    size: float
    size_error: float
    computed_size: float | None
    coverage: float
    coverage_error: float
    power: float
    power_error: float
    computed_power: float | None

    @property
    def liberal(self) -> bool:
        """Whether the size lies above 0.05 by more than 2 Monte-Carlo standard errors."""
        return self.size > ALPHA + 2 * self.size_error


Draw = Callable[[np.random.Generator], tuple[float, float]]


def _rate(hits: int, runs: int) -> tuple[float, float]:
    share = hits / runs
    return share, sqrt(max(share * (1 - share), 1 / runs) / runs)


def _line(
    method: str, setting: str, n: int, m: int, draw: Draw, *, runs: int, seed: int, margin: float,
    computed_size: float | None, computed_power: float | None, floor: float | None = None,
) -> Line:  # fmt: skip
    """Intervals of studies without a true difference; one at the margin is the same interval moved there.

    `floor` is the low end of a margin that has one side only.
    """
    rng = np.random.default_rng([seed, zlib.crc32(f"{method}|{setting}".encode()), n, m])
    low_end = -margin if floor is None else floor
    size = covered = power = refused = 0
    for _ in range(runs):
        try:
            low, high = draw(rng)
        except StatisticsRefusal:
            refused += 1
            continue
        size += low + margin > low_end and high < 0
        covered += low <= 0 <= high
        power += low > low_end and high < margin
    kept = max(runs - refused, 1)
    return Line(
        method, setting, n, m, runs, refused, *_rate(size, runs), computed_size,
        *_rate(covered, kept), *_rate(power, runs), computed_power,
    )  # fmt: skip


def _ends(estimate: Estimate) -> tuple[float, float]:
    return estimate.ci_low, estimate.ci_high


def _welch(n: int, m: int, sd: float) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[float, float]:
        return _ends(means.welch(rng.normal(0, 1, n), rng.normal(0, sd, m), alpha=ALPHA))

    return draw


def _paired(n: int) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[float, float]:
        donor = rng.normal(0, sqrt(0.5), n)
        noise = rng.normal(0, sqrt(0.5), (2, n))
        return _ends(means.paired(donor + noise[0], donor + noise[1], alpha=ALPHA))

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
        return _ends(found.estimates["site"])

    return draw


def _mixed(n: int, history: int) -> Draw:
    donors = [f"D{i}" for i in range(n)] * 2 + [f"H{i}" for i in range(history)]
    sites = ["a"] * n + ["b"] * n + ["a"] * history

    def draw(rng: np.random.Generator) -> tuple[float, float]:
        donor = rng.normal(0, sqrt(0.5), n)
        y: Floats = np.concatenate([donor, donor, rng.normal(0, sqrt(0.5), history)])
        y = y + rng.normal(0, sqrt(0.5), y.size)
        return _ends(mixed_comparison(y, donors, sites, reference="a", alpha=ALPHA).estimates["b"])

    return draw


def lines(runs: int = RUNS, seed: int = SEED, sizes: tuple[int, ...] = SIZES) -> Iterator[Line]:
    """Every line of the page, method by method."""
    margin = Margin(-MARGIN, MARGIN)

    def line(method: str, setting: str, n: int, m: int, draw: Draw, **told: float | None) -> Line:
        # A model takes some milliseconds, an interval a tenth of one.
        drawn = max(runs // 4, 1) if method.startswith(("adjusted", "mixed")) else runs
        told = {"computed_size": None, "computed_power": None, "margin": MARGIN, "floor": None} | told
        return _line(method, setting, n, m, draw, runs=drawn, seed=seed, **told)  # type: ignore[arg-type]

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
    for n in sizes:
        yield line(
            "adjusted", "40 reference lots, one covariate, patients 1 SD sicker", 40, n, _adjusted(40, n)
        )
    for n in sizes:
        yield line("mixed, Kenward-Roger", "split donors, half of the variance", n, n, _mixed(n, 0))
    for n in sizes:
        yield line("mixed, Kenward-Roger", "split donors and 10 historical lots", n + 10, n, _mixed(n, 10))


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
        f"Margins are {MARGIN:g} SD of a reference lot each way; for the ratio of SDs the limit is {SD_LIMIT:g}. ± is",
        "one Monte-Carlo standard error; beside it, in brackets, what the planner reckons (for a size: with the other",
        "limit far away, so an upper bound). A size more than two standard errors above 5 % is marked ▲; the exact one",
        "is `size` on each verdict by Welch.",
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
                out.append(
                    f"| {line.n_reference} | {line.n_site} | "
                    f"{_told(line.size, line.size_error, line.computed_size)}{' ▲' if line.liberal else ''} | "
                    f"{_told(line.coverage, line.coverage_error, None)} | "
                    f"{_told(line.power, line.power_error, line.computed_power)} |"
                )
    worst = max(found, key=lambda line: line.size)
    marked = sum(line.liberal for line in found)
    out += [
        "",
        f"Of {len(found)} lines {marked} are marked. The largest size is {100 * worst.size:.1f} % "
        f"({worst.method}, {worst.setting}, {worst.n_site} lots or donors).",
    ]
    return "\n".join(out) + "\n"


def _told(share: float, error: float, computed: float | None) -> str:
    exact = "" if computed is None else f" [{100 * computed:.1f}]"
    return f"{100 * share:.1f} ± {100 * error:.1f}{exact}"


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
    chosen = words.parse_args()
    found = []
    for line in lines(chosen.runs, chosen.seed):
        found.append(line)
        print(
            f"{line.method}, {line.setting}, {line.n_site}: size {line.size:.4f}, power {line.power:.4f}",
            flush=True,
        )
    chosen.folder.mkdir(parents=True, exist_ok=True)
    told = {"seed": chosen.seed, "lines": [asdict(line) for line in found]}
    (chosen.folder / "error-rates.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    (chosen.folder / "error-rates.md").write_text(page(found, chosen.seed), encoding="utf-8")


if __name__ == "__main__":
    main()
