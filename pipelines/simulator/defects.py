"""Which defects a fleet holds: every class, at the sites whose formats allow it, kept apart.

Belongs here: the list of classes with sites and numbers, and the order of planting. Does not belong
here: how a defect looks (spoil_records.py, spoil_files.py). Nothing here is read by what detects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import numpy as np

from . import spoil_custody as custody
from . import spoil_files as files
from . import spoil_records as records
from .plan import Chooser, Plan
from .sites import FLEET_START, day_start
from .unrest import plant_excursions
from .world import World
from .writers.common import Notes

_ALL = ("northgate", "rhein", "prairie", "meridian")
_DOTS = ("northgate", "prairie", "meridian")
_EXPORTS = ("rhein", "prairie", "meridian")
_HASHED = ("northgate", "prairie")

# How to plant, at which sites, how many in a tiny, demo and large fleet. Whole files come first: they keep
# their rows clean.
_PLANTS: tuple[tuple[Callable[[Chooser], bool], tuple[str, ...], tuple[int, int, int]], ...] = (
    (files.renamed_column, _EXPORTS, (2, 5, 12)),
    (files.resent, _EXPORTS, (2, 5, 15)),
    (files.wrong_hour, ("prairie",), (1, 1, 1)),
    (files.flat_line, _ALL, (2, 8, 40)),
    (files.drift, _ALL, (2, 8, 40)),
    (files.late_file, _ALL, (2, 6, 24)),
    (records.skewed_sample, _ALL, (1, 5, 20)),
    (records.skewed_event, _ALL, (1, 4, 16)),
    (records.percent_swap, _ALL, (2, 6, 24)),
    (records.per_kilogram, _ALL, (1, 4, 12)),
    (records.decimal_comma, _DOTS, (1, 6, 24)),
    (records.lod_as_zero, _ALL, (1, 6, 24)),
    (records.retired_code, _ALL, (1, 4, 16)),
    (records.swapped_sample, _ALL, (1, 4, 12)),
    (records.edited_after_release, _ALL, (2, 8, 30)),
    (records.missing_lot, _ALL, (1, 5, 20)),
    (records.spec_not_effective, _ALL, (1, 5, 20)),
    (records.duplicate_event, _ALL, (1, 6, 24)),
    (records.ledger_fork, _HASHED, (1, 4, 12)),
    (records.phi_in_free_text, _ALL, (1, 5, 20)),
)
# Chains of custody come after all others, drawn apart: what they take leaves the others where they were.
_CHAINS: tuple[tuple[Callable[[Chooser], bool], tuple[str, ...], tuple[int, int, int]], ...] = (
    (custody.lost_end, _ALL, (1, 4, 16)),
    (custody.lost_disposal, _ALL, (0, 2, 8)),
    (custody.exchanged_labels, _ALL, (1, 4, 12)),
    (custody.two_hands, _ALL, (1, 4, 16)),
    (custody.lost_hand_over, _ALL, (1, 4, 16)),
    (custody.after_the_end, _ALL, (1, 4, 16)),
    (custody.too_warm, _ALL, (1, 4, 16)),
    (custody.left_alone, _ALL, (1, 4, 16)),
)
# A day of a living fleet brings at most one of these, so that a check fails on some days and not on others.
_DAILY = (
    records.percent_swap,
    records.lod_as_zero,
    records.decimal_comma,
    records.edited_after_release,
    records.duplicate_event,
    records.missing_lot,
)
_SIZE = {"tiny": 0, "demo": 1, "large": 2}


def plant(world: World) -> Plan:
    """Spoil the world in place; returns what was planted. A living fleet's past stays as it was."""
    plan = Plan()
    window = (FLEET_START - timedelta(days=900), day_start(world.base_days))
    for plants, stream in ((_PLANTS, 999), (_CHAINS, 997)):
        _plant(world, plan, plants, np.random.default_rng((world.seed, stream)), window)
    plan.excursions = plant_excursions(world)
    for day in range(world.base_days, world.lived):
        daily = np.random.default_rng((world.seed, 998, day))
        how_today = _DAILY[int(daily.integers(0, len(_DAILY)))]
        for place in daily.permutation(len(_ALL)):
            if how_today is records.decimal_comma and _ALL[place] == "rhein":
                continue
            today = (day_start(day), day_start(day + 1))
            if how_today(Chooser(world, _ALL[place], plan, daily, today)):
                break
    for site in world.sites.values():
        site.sort()
        custody.consequences(site, plan)
    return plan


def _plant(
    world: World,
    plan: Plan,
    plants: tuple[tuple[Callable[[Chooser], bool], tuple[str, ...], tuple[int, int, int]], ...],
    rng: np.random.Generator,
    window: tuple[datetime, datetime],
) -> None:
    for how, sites, numbers in plants:
        wanted = numbers[_SIZE[world.scale_name]]
        order = [sites[i] for i in rng.permutation(len(sites))]
        planted = tries = 0
        while planted < wanted and tries < wanted + 2 * len(order):
            chooser = Chooser(world, order[tries % len(order)], plan, rng, window)
            planted += how(chooser)
            tries += 1


def natural_consequences(world: World, plan: Plan, notes: Mapping[str, Notes]) -> list[dict[str, str]]:
    """What a detector may name though no one planted it: repeated hours, neighbours of planted defects.

    A record in a repeated hour cannot be read: the chain of custody that it belongs to has a gap.
    """
    made: list[dict[str, str]] = [dict(n) for n in plan.natural]
    for site, noted in notes.items():
        made += [
            {"class": "dst", "site": site, "feed": feed, "subject": subject, "file": file}
            for (feed, subject), file in sorted(noted.ambiguous.items())
        ]
        chains = custody.chains_of(world.sites[site])
        for coi in sorted({chains[place] for place in noted.ambiguous if place in chains}):
            made += custody.chain_follows(world.sites[site], coi)
    return made
