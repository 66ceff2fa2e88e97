"""Defects of the chain of identity and custody: whole chains, each spoiled in one way.

Belongs here: how each class spoils a chain, and what else a detector may rightly name in a chain that any defect
touched. Each function tries to plant one instance at the chooser's site and tells whether it did. Does not belong here:
copies, forks and clocks of single events (spoil_records.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from .disposal import KIND as DISPOSED
from .plan import Chooser, Plan, Planted
from .spoil_records import injected_id, therapy
from .world import Row, SiteWorld, key_of

CLASSES = (
    "custody_break",
    "custody_swap",
    "custody_overlap",
    "missing_hand_over",
    "impossible_order",
    "temperature_excursion",
    "time_out_of_control",
)
Chain = list[Row]


def _chains(site: SiteWorld) -> dict[str, Chain]:
    chains: dict[str, Chain] = {}
    for row in site.tables["custody"]:
        chains.setdefault(row["coi"], []).append(row)
    return chains


def _whole(c: Chooser) -> list[Chain]:
    """Chains from one collection to infusion, told within the window, that no defect has touched."""
    touched = _touched(c.site, c.plan)
    return [
        chain
        for coi, chain in _chains(c.site).items()
        if coi not in touched
        and chain[0]["kind"] == "collect"
        and chain[-1]["kind"] == "infuse"
        and sum(r["kind"] == "collect" for r in chain) == 1
        and all(c.after < r["_seen"] <= c.until and c.free("custody", r) for r in chain)
    ]


def chains_of(site: SiteWorld) -> dict[tuple[str, str], str]:
    """Chain of identity by feed and key of every record that a chain is held against."""
    orders = {r["order_id"]: r["coi"] for r in site.tables["order"]}
    found = {("custody", r["event_id"]): r["coi"] for r in site.tables["custody"]}
    for feed in ("collection", "batch", "infusion"):
        found |= {(feed, key_of(feed, r)): orders.get(r["order_id"], "") for r in site.tables[feed]}
    return found


def _touched(site: SiteWorld, plan: Plan) -> set[str]:
    """Chains with a record that a planted defect touched."""
    chains = chains_of(site)
    return {
        chains[feed, key] for name, feed, key in plan.used if name == site.site.name and (feed, key) in chains
    }


def consequences(site: SiteWorld, plan: Plan) -> None:
    """What may rightly be named in chains that a defect touched: a lost event leaves a gap, and so on."""
    for coi in sorted(_touched(site, plan)):
        plan.natural += chain_follows(site, coi)


def chain_follows(site: SiteWorld, coi: str) -> list[dict[str, str]]:
    """Every class of this module, at every event of a chain and its order."""
    subjects = {r["order_id"] for r in site.tables["order"] if r["coi"] == coi}
    subjects |= {r["event_id"] for r in site.tables["custody"] if r["coi"] == coi}
    name = site.site.name
    return [
        {"class": kind, "site": name, "feed": "custody", "subject": s}
        for kind in CLASSES
        for s in sorted(subjects)
    ]


def _pick(c: Chooser) -> Chain | None:
    whole = _whole(c)
    return whole[int(c.rng.integers(0, len(whole)))] if whole else None


def _event(chain: Chain, kind: str, what: str = "product") -> Row:
    return next(
        r for r in chain if r["kind"] == kind and (r["object"] == what or kind in ("collect", "start"))
    )


def _order(c: Chooser, chain: Chain) -> str:
    found: str = next(r["order_id"] for r in c.site.tables["order"] if r["coi"] == chain[0]["coi"])
    return found


def _spoiled(
    c: Chooser,
    chain: Chain,
    kind: str,
    row: Row,
    note: str,
    *,
    also: Iterable[str] = (),
    size: float | None = None,
) -> bool:
    """Record the defect, named by `row`, and keep others off its chain."""
    c.reserve("custody", chain)
    if any(r is row for r in c.site.tables["custody"]):
        c.take("custody", row)
    c.plan.add(Planted(kind, c.name, "custody", row["event_id"], size, note, tuple(also)))
    c.site.sort()
    return True


def _insert(c: Chooser, like: Row, after: timedelta, **fields: Any) -> Row:
    seen = like["_seen"] + after
    row = {
        **like, "event_id": injected_id(c), "happened_at": like["happened_at"] + after, "_seen": seen,
        "modified": seen, **fields,
    }  # fmt: skip
    c.site.tables["custody"].append(row)
    return row


def _lost(c: Chooser, chain: Chain, gone: Row, kind: str, note: str) -> bool:
    """One event is never told; whatever then shows it is right: the order, the event after it."""
    at = chain.index(gone)
    named = chain[at + 1] if at + 1 < len(chain) else chain[at - 1]
    c.site.tables["custody"].remove(gone)
    return _spoiled(
        c, chain, kind, named, f"{gone['event_id']} {note}", also=(gone["event_id"], _order(c, chain))
    )


def lost_hand_over(c: Chooser) -> bool:
    """One event in the middle of a chain was never recorded."""
    chain = _pick(c)
    if chain is None:
        return False
    gone = chain[int(c.rng.integers(1, len(chain) - 1))]
    return _lost(c, chain, gone, "missing_hand_over", f"({gone['kind']}) not recorded")


def lost_end(c: Chooser) -> bool:
    """The chain begins without its collection, or ends before the infusion that another record tells of."""
    chain = _pick(c)
    if chain is None:
        return False
    gone = chain[0 if c.rng.random() < 0.5 else -1]
    return _lost(c, chain, gone, "custody_break", f"({gone['kind']}) not recorded")


def lost_disposal(c: Chooser) -> bool:
    """A batch failed or was rejected, and nobody says what became of it."""
    touched = _touched(c.site, c.plan)
    ended = [
        chain
        for coi, chain in _chains(c.site).items()
        if coi not in touched
        and len(chain) > 1
        and chain[-1]["kind"] == DISPOSED
        and chain[-1]["giver"] != "qa"
        and c.after < chain[0]["_seen"]
        and chain[-1]["_seen"] <= c.until - timedelta(days=60)
    ]
    if not ended:
        return False
    chain = ended[int(c.rng.integers(0, len(ended)))]
    return _lost(c, chain, chain[-1], "custody_break", "(disposal) not recorded")


def exchanged_labels(c: Chooser) -> bool:
    """Two patients' labels exchanged at the bedside, or when their cells went into the suites."""
    whole = _whole(c)
    kind = "infuse" if c.rng.random() < 0.5 else "start"
    order = c.rng.permutation(len(whole))
    pairs = (
        (whole[i], whole[j])
        for at, i in enumerate(order)
        for j in order[at + 1 :]
        if abs(_event(whole[i], kind)["happened_at"] - _event(whole[j], kind)["happened_at"])
        > timedelta(hours=3)
    )
    chosen = next(pairs, None)
    if chosen is None:
        return False
    cois = [chain[0]["coi"] for chain in chosen]
    events = [_event(chain, kind) for chain in chosen]
    for chain in chosen:
        c.reserve("custody", chain)
    for row, coi in zip(events, reversed(cois), strict=True):
        c.take("custody", row)["coi"] = coi
    for row, other in (events, events[::-1]):
        note = f"{kind} with {other['event_id']}"
        c.plan.add(Planted("custody_swap", c.name, "custody", row["event_id"], None, note))
    for coi in cois:
        around = [r["event_id"] for r in c.site.tables["custody"] if r["coi"] == coi] + therapy(c, coi)
        c.plan.follows("clock_skew", c.name, "custody", around)
    c.site.sort()
    return True


def two_hands(c: Chooser) -> bool:
    """The laboratory gives the product to quality assurance, and again to somebody else."""
    chain = _pick(c)
    if chain is None:
        return False
    row = _insert(c, _event(chain, "release"), timedelta(minutes=40), taker="night_desk", place="corridor")
    return _spoiled(c, chain, "custody_overlap", row, f"beside {_event(chain, 'release')['event_id']}")


def after_the_end(c: Chooser) -> bool:
    """Something happens to a product that had been infused."""
    chain = _pick(c)
    if chain is None:
        return False
    row = _insert(c, chain[-1], timedelta(hours=3), kind="deliver", giver="patient", taker="ward", temp_c=5.0)
    return _spoiled(c, chain, "impossible_order", row, f"after {chain[-1]['event_id']}")


def too_warm(c: Chooser) -> bool:
    """A temperature outside any that the process knows."""
    chain = _pick(c)
    if chain is None:
        return False
    row = chain[int(c.rng.integers(0, len(chain)))]
    row["temp_c"] = round(float(c.rng.uniform(27, 36)), 1)
    return _spoiled(c, chain, "temperature_excursion", row, "Cel", size=row["temp_c"])


def left_alone(c: Chooser) -> bool:
    """The product reached the ward hours before anybody infused it."""
    chain = _pick(c)
    if chain is None:
        return False
    by = timedelta(minutes=int(c.rng.integers(5 * 60, 18 * 60)))
    for kind in ("dispatch", "deliver"):
        row = _event(chain, kind)
        for moment in ("happened_at", "_seen", "modified"):
            row[moment] -= by
    size = round(by / timedelta(hours=1), 1)
    return _spoiled(c, chain, "time_out_of_control", chain[-1], "hours earlier at the ward", size=size)
