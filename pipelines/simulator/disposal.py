"""What becomes of cells that nobody is given: the custody event that ends their chain.

Belongs here: disposals of batches that failed, were rejected, or whose patient was lost, drawn from a random stream of
their own so that they change nothing of the journeys. Does not belong here: other custody events (process.py).
"""

from __future__ import annotations

from datetime import datetime

import numpy as np

from .world import Row, SiteWorld, hours, key_of, minute

KIND = "dispose"
_STREAM = 17
_LOST = ("withdrawn", "died")


def add_disposals(world: SiteWorld, seed: int) -> None:
    """One event for each batch that ended without infusion: from whoever holds it to the waste contractor."""
    orders, releases = _last(world, "order"), {r["batch_id"]: r for r in world.tables["release"]}
    given = {row["batch_id"] for row in world.tables["infusion"]}
    for number, batch in enumerate(_last(world, "batch").values(), 1):
        batch_id, order = batch["batch_id"], orders[batch["order_id"]]
        release = releases.get(batch_id)
        ended: tuple[str, str, datetime] | None = None
        if batch["status"] == "terminated":
            ended = "suite", batch["suite"], batch["_seen"]
        elif release is not None and release["decision"] == "rejected":
            ended = "laboratory", "laboratory", release["signed_at"]
        elif release is not None and batch_id not in given and order["status"] in _LOST:
            ended = "qa", "laboratory", order["_seen"]
        if ended is None:
            continue
        giver, place, since = ended
        drawn = (seed, world.site.index, _STREAM, int(batch["order_id"].rsplit("-", 1)[1]), batch["attempt"])
        rng = np.random.default_rng(drawn)
        at = minute(since + hours(float(rng.uniform(12, 72))))
        world.add(
            "custody", at + hours(0.1), event_id=f"{world.site.prefix}-E-{600000 + number:06d}", coi=order["coi"],
            object="product", kind=KIND, giver=giver, taker="waste_contractor", place=place, happened_at=at,
            verified=True, temp_c=round(float(rng.normal(20.5, 0.7)), 1),
        )  # fmt: skip


def _last(world: SiteWorld, feed: str) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in sorted(world.tables[feed], key=lambda r: r["_seen"]):
        found[key_of(feed, row)] = row
    return found
