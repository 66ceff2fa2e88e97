"""A sample of the planted truth that `docs/validation/watch.md` is written from."""

from __future__ import annotations

from warehouse.verification.watching import excursions, false_alarms


def test_a_quiet_fleet_rings_as_often_as_its_budget_says() -> None:
    lines = list(false_alarms(range(4), years=2))
    assert [line.wanted for line in lines] == [2.0, 2.0, 4.0]
    assert all(line.agrees for line in lines), lines


def test_planted_excursions_are_found_and_faults_are_none() -> None:
    recall, precision = excursions(range(3))
    assert recall.seen >= 0.95
    assert precision.seen >= 0.95
