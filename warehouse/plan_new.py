"""A first fleet.yaml from what the sites' results are: everything that can be read off, nothing that must be decided.

Belongs here: the document and its notes. Does not belong here: reading the results (the command), the plan's rules
(`warehouse.plan`). Margins, limits of spread and criticality are a risk assessment, so they are left null and named as
open: the plan can be read, locked and run at once, and says `no_margin` until a margin is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import yaml

from warehouse.dictionary import dictionary

OPEN = "Open: no risk assessment yet; give margins, sd_ratio_max and the reason for them."
HEAD = """\
# A comparability plan made from the results at hand; every `Open:` is a decision of yours. For each attribute:
#   margin_low, margin_high  largest differences site - reference that would not matter to the patient, on the scale
#                            (log: natural logarithm, 0.2231 is a ratio of 1.25; logit: log odds); never a
#                            release specification. While they are null the verdict is `inconclusive`, `no_margin`
#   sd_ratio_max             largest ratio of standard deviations that would not matter; while it is null the verdict
#                            is on means only
# Attributes that measure one thing by unlike methods belong together under one name, in `measured_by`.
# Then `cellfleet comparability plan lock`, before a new site's results are brought in.
"""


@dataclass(frozen=True)
class Seen:
    """Results of one attribute at one point of the process: methods and lots by site."""

    attribute: str
    sample_point: str
    methods: tuple[str, ...]
    lots: dict[str, int]


class NothingToPlanError(ValueError):
    """No plan can be made of these results; the sentence says why."""


def scaffold(
    seen: Sequence[Seen],
    *,
    name: str,
    plan_id: str,
    dated: date,
    reference: str | None = None,
    attributes: Sequence[str] = (),
) -> str:
    """The text of a fleet.yaml. `reference` defaults to the site with most lots, `attributes` to all that were seen.

    Each attribute is judged where most lots have it. Raises NothingToPlanError for an unknown attribute or site, and
    where no number was seen.
    """
    known = dictionary().attributes
    for wanted in attributes:
        if wanted not in known:
            raise NothingToPlanError(
                f"{wanted!r} is no attribute of the dictionary; it has {', '.join(known)}."
            )
    totals: dict[str, int] = {}
    for one in seen:
        for site, lots in one.lots.items():
            totals[site] = max(totals.get(site, 0), lots)
    if reference is not None and reference not in totals:
        listed = ", ".join(sorted(totals)) or "none"
        raise NothingToPlanError(f"No results of a site {reference!r}; there are results of {listed}.")
    planned: dict[str, Any] = {}
    limits = []
    for attribute, field in known.items():
        points = [s for s in seen if s.attribute == attribute]
        if not points or (attributes and attribute not in attributes):
            continue
        if field.type != "float" or field.detection_limited:
            limits.append(attribute)
            continue
        best = max(points, key=lambda s: (sum(s.lots.values()), s.sample_point))
        planned[attribute] = {
            "title": field.description.rstrip("."),
            "measured_by": [attribute],
            "methods": sorted(best.methods),
            "sample_point": best.sample_point,
            "scale": field.scale or "identity",
            "margin_low": None,
            "margin_high": None,
            "sd_ratio_max": None,
            "criticality": "Open: not assessed",
            "rationale": OPEN,
        }
    if not planned:
        raise NothingToPlanError(
            "No numbers of these attributes were found: there is nothing to compare yet."
        )
    document = {
        "name": name,
        "reference_site": reference or max(sorted(totals), key=lambda site: totals[site]),
        "plan": {
            "id": plan_id,
            "version": "0.1",
            "dated": dated,
            "approved_by_role": "Open: nobody yet",
            "basis": OPEN,
            "attributes": planned,
            "limits_only": limits,
        },
    }
    return HEAD + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
