"""The study planner: chance of `comparable` by lots or donors, and how many it takes. `cellfleet comparability power`.

Belongs here: which designs and numbers are laid beside one another, and their words. Does not belong here: power
itself (`warehouse.statistics`), where margin and spread come from (`comparability_commands`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

from warehouse.statistics.lots import first_enough, welch_lots, welch_size, welch_tost_power
from warehouse.statistics.power import SplitDesign, assurance, donors_or_replicates, split_pairs, split_power
from warehouse.statistics.power_proportions import score_power
from warehouse.statistics.scales import Margin
from warehouse.statistics.variability import sd_ratio_power

LOTS = (3, 4, 5, 6, 8, 12, 20, 40)
DONORS = (3, 4, 5, 6, 8, 12)
#: Donors' share of the variance between lots of different donors.
SHARES = (0.0, 0.5, 0.8)
Row = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """What is planned for. Limits, SD of lots and true difference are on the analysis scale.

    `sd_df`: degrees of freedom the SD was estimated with, infinite where it is taken as known; `n_reference` the lots
    that the reference has; `history` the historical lots of a split study; `power` the chance wanted.
    """

    limits: Margin
    spread_limit: Margin | None
    sd: float
    sd_df: float
    n_reference: int
    history: int
    true: float
    alpha: float
    power: float

    def table(self) -> list[Row]:
        """Power, size, power of the spread and assurance by number of lots; split studies by donors and their share."""
        return [*self._routine(), *self._split(0), *(self._split(self.history) if self.history > 1 else ())]

    def _routine(self) -> Iterator[Row]:
        sd, alpha, limit = self.sd, self.alpha, self.spread_limit

        def power_of(ref: int, m: int, sd: float, true: float) -> float:
            return welch_tost_power(self.limits, sd, ref, sd, m, true=true, alpha=alpha)

        for m in LOTS:
            for ref in sorted({self.n_reference, m} - {0, 1}):
                yield {
                    "design": "routine lots", "n_reference": ref, "n_site": m, "donor_share": None,
                    "power": power_of(ref, m, sd, self.true),
                    "size": welch_size(sd, ref, sd, m, alpha=alpha),
                    "power_spread": sd_ratio_power(limit, ref, m, alpha=alpha) if limit else None,
                    "assurance": assurance(
                        partial(power_of, ref, m), sd=sd, sd_df=self.sd_df, true=self.true, nodes=8
                    ),
                }  # fmt: skip

    def _split(self, history: int) -> Iterator[Row]:
        for pairs in DONORS:
            for rho in SHARES:
                yield {
                    "design": _split_name(history), "n_reference": pairs + history, "n_site": pairs,
                    "donor_share": rho,
                    "power": split_power(
                        self._study(pairs, rho, history), self.limits, true=self.true, alpha=self.alpha
                    ),
                    "size": None if history else self.alpha,
                }  # fmt: skip

    def _study(self, pairs: int, rho: float, history: int) -> SplitDesign:
        donor, lot = self.sd * rho**0.5, self.sd * (1 - rho) ** 0.5
        return SplitDesign(pairs, sd_donor=donor, sd_lot=lot, history=history)

    def enough(self) -> list[Row]:
        """The fewest lots of the site, or donors, with the power wanted; `n_site` None where no number would do."""
        n, alpha, power = self.n_reference, self.alpha, self.power
        rows: list[Row] = []
        if n > 1:
            found = welch_lots(self.limits, self.sd, n, self.sd, 0, true=self.true, alpha=alpha, power=power)
            rows.append({"design": "routine lots", "n_reference": n, "donor_share": None, "n_site": found})
        limit = self.spread_limit
        if n > 1 and limit is not None:
            spread = first_enough(
                lambda m: sd_ratio_power(limit, n, m, alpha=alpha),
                start=2, limit=sd_ratio_power(limit, n, inf, alpha=alpha), power=power,
            )  # fmt: skip
            rows.append(
                {"design": "routine lots, spread", "n_reference": n, "donor_share": None, "n_site": spread}
            )
        for history in (0, self.history) if self.history > 1 else (0,):
            for rho in SHARES:
                pairs = split_pairs(
                    self._study(2, rho, history), self.limits, true=self.true, alpha=alpha, power=power
                )
                ref = None if pairs is None else pairs + history
                rows.append(
                    {
                        "design": _split_name(history),
                        "n_reference": ref,
                        "donor_share": rho,
                        "n_site": pairs,
                    }
                )
        return rows

    def trade_off(self, assay_sd: float) -> list[Row]:
        """Donors against assay replicates, donors half of the variance between lots."""
        half = self.sd * 0.5**0.5
        design = SplitDesign(3, sd_donor=half, sd_lot=half, sd_assay=assay_sd)
        grid = donors_or_replicates(
            design, self.limits, pairs=DONORS, replicates=(1, 2, 3, 6), true=self.true, alpha=self.alpha
        )
        return [
            {
                "design": f"split apheresis, {g.replicates} assays a lot ({g.assays} in all)", "n_reference": g.pairs,
                "n_site": g.pairs, "donor_share": design.rho, "power": g.power, "size": self.alpha,
            }
            for g in grid
        ]  # fmt: skip

    def of_shares(self, success: float, margin: float) -> list[Row]:
        """Share of lots that succeed, by Miettinen and Nurminen's interval; size: the site worse by the margin."""
        limits, reference = Margin(-margin, margin), (success, self.n_reference)
        worse = max(success - margin, 0.0)
        return [
            {
                "design": f"share that succeeds ({100 * success:g} %, margin {100 * margin:g} points)",
                "n_reference": self.n_reference, "n_site": m, "donor_share": None,
                "power": score_power(reference, (success, m), limits, alpha=self.alpha),
                "size": score_power(reference, (worse, m), limits, alpha=self.alpha),
            }
            for m in LOTS
        ]  # fmt: skip


def _split_name(history: int) -> str:
    return f"split apheresis, {history} historical lots" if history else "split apheresis, pairs alone"


def _share(row: Row) -> str:
    return "" if row["donor_share"] is None else f", donors {100 * row['donor_share']:.0f} % of the variance"


def planner_words(row: Row) -> str:
    """One row of the table."""
    told = (("size", "size", 1), ("power_spread", "of the spread", 0), ("assurance", "assurance", 0))
    return (
        f"{row['design']}: {row['n_reference']} reference, {row['n_site']} site{_share(row)}: "
        f"power {100 * row['power']:.0f} %"
        + (f" ± {100 * row['power_error']:.1f}" if row.get("power_error") else "")
        + "".join(
            f", {words} {100 * row[key]:.{digits}f} %"
            for key, words, digits in told
            if row.get(key) is not None
        )
    )


def enough_words(row: Row, power: float) -> str:
    """How many it takes, for one design."""
    what = "lots of the site" if row["donor_share"] is None else "donors"
    beside = f" beside {row['n_reference']} of the reference" if row["donor_share"] is None else _share(row)
    found = "no number would do" if row["n_site"] is None else f"{row['n_site']} {what}"
    return f"For {100 * power:g} %, {row['design']}{beside}: {found}."
