"""Patients and their orders: who is treated, how ill, with which identifiers.

Belongs here: the draws of names, record numbers, diagnoses and covariates (invented people, drawn by
seed). Does not belong here: what happens to their cells (process.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from math import exp

import numpy as np
from stdnum.iso7064 import mod_37_2

from .sites import FLEET_START, Site

_NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "northgate": (
        (
            "Amelia",
            "Harry",
            "Isla",
            "George",
            "Freya",
            "Arthur",
            "Poppy",
            "Noah",
            "Ivy",
            "Leo",
            "Grace",
            "Oscar",
        ),
        (
            "Ashworth",
            "Bramley",
            "Cartwright",
            "Dunmore",
            "Entwistle",
            "Fairbairn",
            "Garside",
            "Hollins",
            "Ibbotson",
            "Kershaw",
            "Lockwood",
            "Marsden",
            "Oldroyd",
            "Pemberton",
            "Ramsbottom",
            "Sutcliffe",
        ),
    ),
    "rhein": (
        ("Jürgen", "Anneliese", "Björn", "Käthe", "Matthias", "Sabine", "Günther", "Heike", "Lukas", "Mia"),
        (
            "Müller",
            "Schäfer",
            "Königsberger",
            "Weißenborn",
            "Brückner",
            "Vögele",
            "Hofstätter",
            "Lindner",
            "Grünewald",
            "Zöllner",
            "Oberländer",
            "Pfeiffer",
            "Rössler",
            "Steinbrück",
        ),
    ),
    "prairie": (
        (
            "Emma",
            "Liam",
            "Olivia",
            "Mason",
            "Harper",
            "Wyatt",
            "Hannah",
            "Caleb",
            "Ruth",
            "Dale",
            "Wanda",
            "Earl",
        ),
        (
            "Abernathy",
            "Buchanan",
            "Crockett",
            "Dunleavy",
            "Eastwood",
            "Fitzgerald",
            "Gunderson",
            "Hendricks",
            "Ingebretsen",
            "Jorgenson",
            "Kowalczyk",
            "Lindqvist",
            "McAllister",
            "Nordstrom",
            "Petersen",
        ),
    ),
    "meridian": (
        ("Wei Ling", "Arjun", "Siti", "Kenji", "Mei Xin", "Rajesh", "Nurul", "Hiroshi", "Priya", "Jun Jie"),
        (
            "Tan",
            "Ramasamy",
            "Ibrahim",
            "Watanabe",
            "Ong",
            "Krishnan",
            "Abdullah",
            "Chua",
            "Yeo",
            "Natarajan",
            "Sundaram",
            "Lim",
            "Takahashi",
            "Wijaya",
        ),
    ),
}
_DIAGNOSES = ("ALL", "LBCL", "MCL", "FL", "MM")
_ALNUM = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_BANDS = ("N", "H", "VH")
_PER_LINE, _BENDAMUSTINE, _LDH = 0.15, 0.25, 0.12  # effects on log fold expansion, all of them downwards


@dataclass(frozen=True)
class Mix:
    """A patient population: mean prior lines beyond two, bendamustine share, ECOG and LDH shares."""

    extra_lines: float
    bendamustine: float
    ecog: tuple[float, float, float]
    ldh: tuple[float, float, float]

    @property
    def mean_severity(self) -> float:
        """Expected covariate effect on log fold expansion."""
        ldh = self.ldh[1] + 2 * self.ldh[2]
        return _PER_LINE * self.extra_lines + _BENDAMUSTINE * self.bendamustine + _LDH * ldh


USUAL = Mix(0.8, 0.06, (0.45, 0.45, 0.10), (0.60, 0.30, 0.10))
SICKER = Mix(2.0, 0.22, (0.20, 0.50, 0.30), (0.25, 0.45, 0.30))
# Effects are centred on the usual population, so that the reference site keeps its median.
SEVERITY_CENTRE = USUAL.mean_severity


@dataclass(frozen=True)
class Patient:
    """One invented patient with the covariates that bear on the product."""

    record_number: str
    patient_key: str
    name: str
    birth: date
    sex: str
    diagnosis: str
    prior_lines: int
    bendamustine: bool
    ecog: int
    ldh: str
    coi: str
    din: str

    @property
    def severity(self) -> float:
        """Covariate effect on log fold expansion (lower growth in sicker patients)."""
        return (
            _PER_LINE * (self.prior_lines - 2)
            + _BENDAMUSTINE * self.bendamustine
            + _LDH * _BANDS.index(self.ldh)
        )

    @property
    def failure_probability(self) -> float:
        """Chance that the first attempt fails: 4 % base, three times in MCL, odds x6 after bendamustine."""
        base = 0.035 * (3.2 if self.diagnosis == "MCL" else 1.0)
        odds = base / (1 - base) * (6.0 if self.bendamustine else 1.0)
        return odds / (1 + odds)


def _text(rng: np.random.Generator, alphabet: str, n: int) -> str:
    return "".join(alphabet[i] for i in rng.integers(0, len(alphabet), n))


def _record_number(rng: np.random.Generator, site: Site, i: int) -> str:
    digits = f"{int(rng.integers(0, 10**5)):05d}"
    return {
        "northgate": f"H{i % 100:02d}{digits}",
        "rhein": f"40{i % 1000:03d}{digits}",
        "prairie": f"MRN{i % 1000:03d}{digits}",
        "meridian": f"S{i % 1000:03d}{digits}{_ALNUM[10 + i % 20]}",
    }[site.name]


def _covariates(rng: np.random.Generator, mix: Mix) -> tuple[str, int, bool, int, str]:
    diagnosis = str(rng.choice(_DIAGNOSES, p=(0.22, 0.52, 0.10, 0.12, 0.04)))
    lines = int(min(9, 2 + rng.poisson(mix.extra_lines)))
    bendamustine = bool(rng.random() < mix.bendamustine)
    return diagnosis, lines, bendamustine, int(rng.choice(3, p=mix.ecog)), str(rng.choice(_BANDS, p=mix.ldh))


def draw_patient(rng: np.random.Generator, site: Site, i: int, year: int) -> Patient:
    """Patient number `i` of a site, whose therapy begins in `year`."""
    first, last = _NAMES[site.name]
    diagnosis, lines, bendamustine, ecog, ldh = _covariates(rng, SICKER if site.sicker else USUAL)
    child = diagnosis == "ALL" and rng.random() < 0.6
    age = rng.uniform(4, 24) if child else float(np.clip(rng.normal(61, 11), 22, 84))
    coi = f"CH{site.facility}{year % 100:02d}{_base36(i, rng)}"
    return Patient(
        record_number=_record_number(rng, site, i),
        patient_key="P" + _text(rng, _BASE32, 12),
        name=f"{rng.choice(last)}, {rng.choice(first)}",
        birth=(FLEET_START - timedelta(days=int(age * 365.25))).date(),
        sex="M" if rng.random() < 0.58 else "F",
        diagnosis=diagnosis,
        prior_lines=lines,
        bendamustine=bendamustine,
        ecog=ecog,
        ldh=ldh,
        coi=coi + mod_37_2.calc_check_digit(coi),
        din=f"{site.facility}{year % 100:02d}{(100000 + 7 * i) % 1000000:06d}",
    )


def _base36(i: int, rng: np.random.Generator) -> str:
    """Six characters: two drawn, then the patient's number, so that no two are alike."""
    digits = ""
    for _ in range(4):
        i, rest = divmod(i, len(_ALNUM))
        digits = _ALNUM[rest] + digits
    return _text(rng, _ALNUM, 2) + digits


def collected_cd3(rng: np.random.Generator, severity: float) -> float:
    """CD3+ cells of a collection in 10^9: log-normal, median 2.6, sigma 0.8, fewer in sicker patients."""
    return float(
        np.clip(2.6 * exp(0.8 * rng.standard_normal() - 0.5 * (severity - SEVERITY_CENTRE)), 0.25, 40.0)
    )
