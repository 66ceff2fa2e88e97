"""Sampled partial pooling against quadrature, and what it refuses. Its cost is NumPyro's import and compilation."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from warehouse.statistics import bayes_sampled
from warehouse.statistics.bayes import hierarchical
from warehouse.statistics.bayes_sampled import sampled_sites
from warehouse.statistics.refusal import StatisticsRefusal

SITES = [site for site in "ABCDE" for _ in range(4)]
LOTS = np.random.default_rng(3).normal([0.3 * (ord(s) - ord("C")) for s in SITES], 0.5)


def test_it_agrees_with_quadrature_where_quadrature_is_possible() -> None:
    """With the lots' SD known and no donors the site means are sufficient, and the model is that of `bayes`."""
    found = sampled_sites(LOTS, SITES, sd_lot=0.5, prior_sd=0.7, draws=600, warm_up=300, chains=1)
    means = [float(LOTS[[s == site for s in SITES]].mean()) for site in found.sites]
    exact = hierarchical(
        means, [0.25] * 5, tau_scale=0.7, tau_prior="half-t4", mu_sd=10.0 * float(np.std(LOTS, ddof=1))
    )
    errors = 4.0 / np.sqrt(found.effective)
    for j, theta in enumerate(exact.theta):
        assert found.mean[:, j].mean() == pytest.approx(theta.mean, abs=errors * theta.sd)
        assert found.mean[:, j].std() == pytest.approx(theta.sd, rel=errors)
    assert found.sd_sites.mean() == pytest.approx(exact.tau.mean, abs=errors * exact.tau.sd)
    wanted = exact.difference_within(0, 2, 0.5)
    assert found.difference_within("A", "C", 0.5) == pytest.approx(wanted, abs=errors * 0.5)
    assert found.all_within("C", 0.5) <= found.difference_within("A", "C", 0.5)
    assert 0.9 < found.next_lot_inside("C", -1.5, 1.5) <= 1.0


def test_it_is_imported_when_asked_for_and_not_before() -> None:
    program = "import sys, warehouse.statistics.bayes_sampled as _; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_the_extra_and_on_poor_data_it_refuses_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for sites, values, words in (
        (["A", "A", "B", "B"], LOTS[:4], "sites"),
        (list("ABCD"), [1.0] * 4, "same result"),
    ):
        with pytest.raises(StatisticsRefusal, match=words):
            sampled_sites(values, sites)
    monkeypatch.setattr(bayes_sampled, "find_spec", lambda _: None)
    with pytest.raises(StatisticsRefusal, match="extra 'bayes'"):
        sampled_sites(LOTS, SITES)
