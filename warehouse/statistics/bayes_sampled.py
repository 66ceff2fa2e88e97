"""Partial pooling of several sites whose donors and lots vary too: a model that has no closed form.

Belongs here: the model, its sampling by NUTS with a given seed, and what is asked of the draws. Does not
belong here: anything that quadrature or a closed form answers (`bayes`), and any verdict: it stands beside one.

    y = mu + a_site + b_donor + e,  a ~ N(0, tau^2),  b ~ N(0, donor^2),  e ~ N(0, lot^2)

on the analysis scale, with half-t (4 degrees of freedom) priors of `prior_sd` on the three SDs and a flat-wide
normal one on mu. Needs the extra `bayes` (NumPyro), which is imported when asked for and not before. Sources:
Gelman (2006) Bayesian Anal 1:515 for the priors; Hoffman & Gelman (2014) for NUTS; Vehtari et al. (2021) for
the split R-hat that decides whether an answer is given at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from warehouse.statistics.checked import labels_of, same_length
from warehouse.statistics.refusal import Floats, StatisticsRefusal, spread, vector

HIGHEST_R_HAT = 1.05


@dataclass(frozen=True)
class SampledSites:
    """Draws of the posterior: `mean` (draws, sites) on the analysis scale, and the SDs (draws,).

    `sd_donor` is None where no donor was named. `r_hat` and `effective` are the worst of all parameters.
    """

    sites: tuple[str, ...]
    mean: Floats
    sd_sites: Floats
    sd_donor: Floats | None
    sd_lot: Floats
    r_hat: float
    effective: float
    seed: int

    def difference_within(self, test: str, reference: str, margin: float) -> float:
        """Posterior P(|site mean - reference mean| < margin)."""
        gap = self.mean[:, self._at(test)] - self.mean[:, self._at(reference)]
        return float(np.mean(np.abs(gap) < margin))

    def all_within(self, reference: str, margin: float) -> float:
        """Posterior probability that every site lies within `margin` of the reference at once."""
        gaps = np.abs(self.mean - self.mean[:, [self._at(reference)]])
        return float(np.mean((gaps < margin).all(axis=1)))

    def next_lot_inside(self, site: str, low: float, high: float) -> float:
        """Posterior predictive P(low < next lot of `site` < high), of a donor not seen before."""
        donor = 0.0 if self.sd_donor is None else self.sd_donor**2
        sd = np.sqrt(self.sd_lot**2 + donor)
        centre = self.mean[:, self._at(site)]
        return float(np.mean(ndtr((high - centre) / sd) - ndtr((low - centre) / sd)))

    def _at(self, site: str) -> int:
        if site not in self.sites:
            raise StatisticsRefusal(f"The site {site!r} has no lots; there are {', '.join(self.sites)}.")
        return self.sites.index(site)


def sampled_sites(
    y: ArrayLike,
    site: Sequence[str],
    *,
    donor: Sequence[str] | None = None,
    prior_sd: float | None = None,
    sd_lot: float | None = None,
    draws: int = 1000,
    warm_up: int = 1000,
    chains: int = 4,
    seed: int = 20240101,
) -> SampledSites:
    """The posterior of every site's mean, one result per lot; shared donors make it a split design.

    `prior_sd` scales the priors of the SDs (default: the results' own SD, so that units do not matter);
    `sd_lot` holds that SD at a known value. The same seed gives the same draws on the same machine. Raises
    StatisticsRefusal without the extra `bayes`, with fewer than 3 sites, and where the chains disagree.
    """
    if find_spec("numpyro") is None:
        raise StatisticsRefusal("This model is sampled by NumPyro: install the extra 'bayes'.")
    values = vector(y, "results", at_least=4)
    same_length(results=values, sites=site)
    names, site_of = labels_of(site, "sites", 3)
    scale = spread(values)
    if scale <= 0.0:
        raise StatisticsRefusal("Every lot has the same result: there is no spread to judge by.")
    donor_of = None
    if donor is not None:
        same_length(results=values, donors=donor)
        donor_of = labels_of(donor, "donors", 2)[1]
    centre = float(values.mean())
    prior = 1.0 if prior_sd is None else prior_sd / scale
    known = None if sd_lot is None else sd_lot / scale
    found, r_hat, effective = _sampled(
        (values - centre) / scale,
        (site_of, donor_of),
        (prior, known),
        run=(draws, warm_up, chains, seed),
    )
    if not r_hat < HIGHEST_R_HAT:
        raise StatisticsRefusal(f"The chains disagree (R-hat {r_hat:.3f}): ask for more draws.")
    means = found["mu"][:, None] + found["tau"][:, None] * found["site"]
    return SampledSites(
        sites=tuple(names),
        mean=centre + scale * means,
        sd_sites=scale * found["tau"],
        sd_donor=scale * found["sd_donor"] if donor_of is not None else None,
        sd_lot=scale * found["sd_lot"] if known is None else np.full(len(means), float(sd_lot or 0.0)),
        r_hat=r_hat,
        effective=effective,
        seed=seed,
    )


def _sampled(
    values: Floats,
    factors: tuple[Any, Any],
    priors: tuple[float, float | None],
    *,
    run: tuple[int, int, int, int],
) -> tuple[dict[str, Floats], float, float]:
    """Draws of the standardised model by name, the worst split R-hat and the fewest effective draws."""
    import jax
    import numpyro
    from numpyro import distributions as dist
    from numpyro.diagnostics import summary
    from numpyro.infer import MCMC, NUTS

    (site_of, donor_of), (prior, known) = factors, priors

    def half(name: str) -> Any:
        return numpyro.sample(name, dist.FoldedDistribution(dist.StudentT(4.0, 0.0, prior)))

    def effects(name: str, codes: Any) -> Any:
        # Not centred: SDs near 0 would otherwise make a funnel that no step size fits.
        return numpyro.sample(name, dist.Normal(0.0, 1.0).expand([int(codes.max()) + 1]))

    def model() -> None:
        at = numpyro.sample("mu", dist.Normal(0.0, 10.0)) + half("tau") * effects("site", site_of)[site_of]
        if donor_of is not None:
            at = at + half("sd_donor") * effects("donor", donor_of)[donor_of]
        lot = half("sd_lot") if known is None else known
        numpyro.sample("y", dist.Normal(at, lot), obs=values)

    draws, warm_up, chains, seed = run
    kernel = NUTS(model, target_accept_prob=0.95)
    chain = MCMC(
        kernel,
        num_warmup=warm_up,
        num_samples=draws,
        num_chains=chains,
        chain_method="vectorized",
        progress_bar=False,
    )
    chain.run(jax.random.PRNGKey(seed))
    grouped = chain.get_samples(group_by_chain=True)
    told = summary(grouped, group_by_chain=True)
    r_hat = max(float(np.max(part["r_hat"])) for part in told.values())
    effective = min(float(np.min(part["n_eff"])) for part in told.values())
    merged = {name: np.asarray(array, dtype=np.float64) for name, array in chain.get_samples().items()}
    return merged, r_hat, effective
