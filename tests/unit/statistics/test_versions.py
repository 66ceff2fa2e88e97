"""Each method's figures stand beside its version: where they move and the version does not, this fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.statistics.method_figures import FIGURES
from warehouse.statistics.means import summarise
from warehouse.statistics.proportions import Count, newcombe
from warehouse.statistics.scales import Margin
from warehouse.statistics.tolerance import quality_range
from warehouse.statistics.verdict import Facts, estimate_lots, judge
from warehouse.statistics.versions import VERSIONS, version_of, with_versions

KEPT = Path(__file__).with_name("method_figures.json")
FIGURES_KEPT: dict[str, dict[str, list[float]]] = json.loads(KEPT.read_text("utf-8"))


def test_every_method_has_a_version_and_figures() -> None:
    assert set(FIGURES) == set(VERSIONS) == set(FIGURES_KEPT)
    assert (
        with_versions("welch-t", "sd-ratio-f", "welch-t") == f"welch-t {version_of('welch-t')}; sd-ratio-f 1"
    )
    with pytest.raises(KeyError):
        version_of("no method of ours")


def test_results_carry_the_version_of_their_method() -> None:
    lots, few = [1.0, 1.2, 0.9, 1.1], [1.0]
    made = estimate_lots(lots, lots[::-1] + few)
    facts = Facts("routine lots", like_methods=True, lab_confounded=False, stable=True)
    for result in (
        made, estimate_lots(lots, few), judge(made, Margin(-1, 1), facts), quality_range(summarise(lots)),
        newcombe(Count(3, 4), Count(2, 4)),
    ):  # fmt: skip
        assert result.version == VERSIONS[result.method]


@pytest.mark.parametrize("method", list(VERSIONS))
def test_figures_are_those_of_the_version(method: str) -> None:
    """A change of numbers: raise the version in `warehouse/statistics/versions.py` and keep the new figures here."""
    kept = FIGURES_KEPT[method]
    assert str(version_of(method)) in kept, f"keep the figures of version {version_of(method)} of {method}"
    assert FIGURES[method]() == pytest.approx(kept[str(version_of(method))], rel=1e-5, abs=1e-8), method
