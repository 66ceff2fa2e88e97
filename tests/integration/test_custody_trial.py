"""A drawn fleet with every kind of defect of identity and custody at each site: each is named, nothing else is."""

from __future__ import annotations

import sys

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from custody_trial import PLANTS, trial


def test_every_planted_defect_is_named_and_nothing_else() -> None:
    score = trial(101)
    assert score.missed == []
    assert score.false == []
    assert len(score.planted) == len(PLANTS) + 1
    assert min(score.planted.values()) >= 4
