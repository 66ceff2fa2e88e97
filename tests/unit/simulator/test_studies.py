"""The split study: the same donors at both sites, historical lots at the reference alone, and its truth."""

from __future__ import annotations

from collections import defaultdict
from math import log
from typing import Any

import numpy as np

from pipelines.simulator.build import build
from pipelines.simulator.studies import DONORS, HISTORY, REFERENCE, REPLICATES, TEST, TESTS


def test_donors_are_shared_and_history_is_the_references_own(truth: dict[str, Any]) -> None:
    world = build(1, "tiny", 130)
    arms: dict[tuple[str, str], set[str]] = defaultdict(set)
    for site in world.sites.values():
        for row in site.tables["study"]:
            arms[site.site.name, row["arm"]].add(row["donor"])
    assert set(arms) == {(REFERENCE, "split"), (TEST, "split"), (REFERENCE, "historical")}
    assert arms[REFERENCE, "split"] == arms[TEST, "split"]
    assert len(arms[TEST, "split"]) == DONORS
    assert len(arms[REFERENCE, "historical"] - arms[TEST, "split"]) == HISTORY
    assert truth["received"][TEST]["study"] == DONORS * len(TESTS) * REPLICATES
    assert truth["received"][REFERENCE]["study"] == (DONORS + HISTORY) * len(TESTS) * REPLICATES
    (told,) = truth["studies"]
    assert told["true_difference"]["car_pct"] == 0.2
    assert told["true_difference"]["ifn_gamma"] == 0.0


def test_a_donors_lots_are_alike() -> None:
    world = build(3, "tiny", 130)
    by_donor: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for site in (REFERENCE, TEST):
        for row in world.sites[site].tables["study"]:
            if row["test"] == "IFNG" and row["arm"] == "split":
                by_donor[row["donor"]][site].append(log(row["value"]))
    pairs = np.array([[np.mean(v[REFERENCE]), np.mean(v[TEST])] for v in by_donor.values()])
    assert np.corrcoef(pairs.T)[0, 1] > 0.5
