"""Planted defects of identity and custody, and how many of them the chains' verdicts name.

Belongs here: spoiling the custody of a drawn fleet, loading it into a lake of its own, and counting. Does not belong
here: how a defect is found (`warehouse/marts/custody.sql`), the defects of the demo's own files (the simulator's).

A fleet is drawn by seed and goes through the real writer of the lake; its files are left out, which
the simulator's own defects and score look after. Every kind is planted once at each site, in an order of its own; a
lost disposal where a batch failed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import polars as pl

from pipelines.simulator.build import build, chain_custody
from pipelines.simulator.sites import SCALES
from pipelines.simulator.world import Row, SiteWorld, World
from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.dictionary.render import polars_schema
from warehouse.marts.build import prepare
from warehouse.plan import Fleet, load_plan
from warehouse.settings import Settings

KINDS = {
    "collect": "collected",
    "dispatch": "shipped",
    "receive": "received",
    "start": "processed",
    "harvest": "processed",
    "release": "released",
    "deliver": "handed_over",
    "infuse": "infused",
    "dispose": "disposed",
}
# Defects that no record shows, whatever is computed.
UNSEEN = {
    "labels exchanged before the collection was labelled": "every record then agrees",
    "labels exchanged at one place within the hour": "either order's records fit either event",
    "custody events and every other record exchanged together": "the two stories are both whole",
    "a hand-over that neither side recorded, given and taken by one party": "giver and receiver still fit",
    "a check of two identifiers that is recorded and was not done": "the record says that it was",
    "cells warm between two readings": "there is no reading",
}


@dataclass
class Planted:
    """What one defect must be named as, by order, and what may rightly be named beside it."""

    kind: str
    wanted: dict[str, str]
    also: frozenset[str] = frozenset()


@dataclass
class Score:
    """Counts over trials: planted and found by kind, all that was named, and what of it was not planted."""

    planted: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    named: int = 0
    false: list[tuple[int, str, str, str]] = field(default_factory=list)
    orders: int = 0
    missed: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, other: Score) -> None:
        """Take in the counts of another trial."""
        for mine, theirs in ((self.planted, other.planted), (self.found, other.found)):
            for kind, n in theirs.items():
                mine[kind] = mine.get(kind, 0) + n
        self.named += other.named
        self.orders += other.orders
        self.false += other.false
        self.missed += other.missed

    @property
    def recall(self) -> float:
        """Share of the planted that was named."""
        return sum(self.found.values()) / sum(self.planted.values())

    @property
    def precision(self) -> float:
        """Share of the named that was planted or follows from it."""
        return 1 - len(self.false) / self.named if self.named else 1.0


class _Site:
    """One site's custody by chain of identity; picks orders that no defect has touched."""

    def __init__(self, world: SiteWorld, rng: np.random.Generator) -> None:
        self.world, self.rng = world, rng
        self.orders = {row["coi"]: row["order_id"] for row in world.tables["order"]}
        self.chains: dict[str, list[Row]] = {}
        for row in world.tables["custody"]:
            self.chains.setdefault(row["coi"], []).append(row)
        whole = [
            coi
            for coi, chain in self.chains.items()
            if chain[0]["kind"] == "collect"
            and chain[-1]["kind"] == "infuse"
            and sum(r["kind"] == "collect" for r in chain) == 1
            and all(r["verified"] for r in chain)
        ]
        # Failed and rejected batches whose disposal is overdue at the fleet's end (30 days in its file); more than one
        # attempt, or a patient lost later, is another story.
        until = world.tables["custody"][-1]["happened_at"] - timedelta(days=60)
        ended = [
            coi
            for coi, chain in self.chains.items()
            if chain[-1]["kind"] == "dispose"
            and chain[-1]["giver"] != "qa"
            and chain[-1]["happened_at"] < until
            and sum(r["kind"] == "collect" for r in chain) == 1
            and all(r["verified"] for r in chain)
        ]
        self.thrown = [(self.orders[coi], self.chains[coi]) for coi in rng.permutation(sorted(ended))]
        self.free = [whole[i] for i in rng.permutation(len(whole))]

    def take(self) -> tuple[str, list[Row]]:
        coi = self.free.pop()
        return self.orders[coi], self.chains[coi]

    def event(self, chain: list[Row], kind: str) -> Row:
        return next(row for row in chain if row["kind"] == kind)

    def drop(self, row: Row) -> None:
        self.world.tables["custody"].remove(row)

    def insert(self, like: Row, after: timedelta, **fields: Any) -> None:
        """One more event, told `after` the one it is like."""
        custody = self.world.tables["custody"]
        number = sum(row["event_id"].endswith("X") for row in custody)
        seen = like["_seen"] + after
        row = {
            **like,
            "event_id": f"{self.world.site.prefix}-{number}X",
            "happened_at": like["happened_at"] + after,
            "_seen": seen,
            "modified": seen,
            **fields,
        }
        custody.append(row)
        self.world.sort()

    def move(self, row: Row, by: timedelta) -> None:
        row["happened_at"] += by
        row["_seen"] += by
        self.world.sort()


Plant = Callable[[_Site], Planted]
_AFTER_A_LOSS = frozenset({"custody_break", "time_out_of_control"})
_AFTER_A_SWAP = frozenset(
    {
        "time_order",
        "impossible_order",
        "missing_hand_over",
        "custody_overlap",
        "custody_contradiction",
        "custody_break",
        "time_out_of_control",
        "swap_suspicion",
    }
)


def lost_hand_over(s: _Site) -> Planted:
    """One event in the middle of a chain was never recorded."""
    order, chain = s.take()
    s.drop(chain[int(s.rng.integers(1, len(chain) - 1))])
    return Planted("hand-over not recorded", {order: "missing_hand_over"}, _AFTER_A_LOSS)


def lost_collection(s: _Site) -> Planted:
    """The chain begins without its collection."""
    order, chain = s.take()
    s.drop(chain[0])
    return Planted("collection not recorded", {order: "custody_break"})


def lost_infusion(s: _Site) -> Planted:
    """The chain ends before the infusion that another record tells of."""
    order, chain = s.take()
    s.drop(chain[-1])
    return Planted("infusion not recorded", {order: "custody_break"})


def lost_disposal(s: _Site) -> Planted:
    """A batch failed or was rejected, and nobody says what became of it; a site may have had none."""
    if not s.thrown:
        return Planted("disposal not recorded", {})
    order, chain = s.thrown.pop()
    s.drop(chain[-1])
    return Planted("disposal not recorded", {order: "custody_break"})


def no_receiver(s: _Site) -> Planted:
    """An event that does not say who took over."""
    order, chain = s.take()
    chain[int(s.rng.integers(1, len(chain) - 1))]["taker"] = ""
    return Planted("no receiver on record", {order: "custody_break"})


def two_hands(s: _Site) -> Planted:
    """The laboratory gives the product to quality assurance, and again to somebody else."""
    order, chain = s.take()
    s.insert(s.event(chain, "release"), timedelta(minutes=40), taker="night_desk", place="corridor")
    return Planted("two hands at once", {order: "custody_overlap"}, frozenset({"missing_hand_over"}))


def _exchange(s: _Site, kind: str, apart: Callable[[Row, Row], bool]) -> dict[str, str]:
    """Two orders' events of a kind change their labels."""
    order, chain = s.take()
    one = s.event(chain, kind)
    for place in range(len(s.free) - 1, -1, -1):
        other = s.event(s.chains[s.free[place]], kind)
        if apart(one, other):
            second = s.orders[s.free.pop(place)]
            one["coi"], other["coi"] = other["coi"], one["coi"]
            return {order: "swap_suspicion", second: "swap_suspicion"}
    raise ValueError(f"no two {kind} events of {s.world.site.name} are apart enough to exchange")


def _hours_apart(one: Row, other: Row) -> bool:
    return bool(abs(one["happened_at"] - other["happened_at"]) > timedelta(hours=2))


def swapped_at_infusion(s: _Site) -> Planted:
    """The labels of two products exchanged at the bedside."""
    return Planted("labels exchanged at infusion", _exchange(s, "infuse", _hours_apart), _AFTER_A_SWAP)


def swapped_at_start(s: _Site) -> Planted:
    """The labels of two collections exchanged when they went into the suites."""
    return Planted("labels exchanged at start", _exchange(s, "start", _hours_apart), _AFTER_A_SWAP)


def wrong_cells(s: _Site) -> Planted:
    """Each of two patients was given the other's batch."""
    (first, _), (second, _) = s.take(), s.take()
    one, other = (next(r for r in s.world.tables["infusion"] if r["order_id"] == o) for o in (first, second))
    one["batch_id"], other["batch_id"] = other["batch_id"], one["batch_id"]
    return Planted("batch given to another patient", dict.fromkeys((first, second), "identity_conflict"))


def shared_donation(s: _Site) -> Planted:
    """One donation number on two patients' collections."""
    (first, _), (second, _) = s.take(), s.take()
    one, other = (
        next(r for r in s.world.tables["collection"] if r["order_id"] == o) for o in (first, second)
    )
    one["din"] = other["din"]
    return Planted("donation number of two patients", dict.fromkeys((first, second), "identity_conflict"))


def shared_identity(s: _Site) -> Planted:
    """One chain of identity given to two patients: the second order's own chain has no order any more."""
    (first, chain), (second, _) = s.take(), s.take()
    for row in s.world.tables["order"]:
        if row["order_id"] == second:
            row["coi"] = chain[0]["coi"]
    return Planted(
        "chain of identity of two patients",
        dict.fromkeys((first, second), "identity_conflict"),
        _AFTER_A_SWAP,
    )


def after_the_end(s: _Site) -> Planted:
    """Something happens to a product that had been infused."""
    order, chain = s.take()
    last = chain[-1]
    s.insert(last, timedelta(hours=3), kind="deliver", giver="patient", taker="ward", temp_c=5.0)
    return Planted("event after infusion", {order: "impossible_order"})


def too_warm(s: _Site) -> Planted:
    """A temperature outside the limits."""
    order, chain = s.take()
    chain[int(s.rng.integers(0, len(chain)))]["temp_c"] = round(float(s.rng.uniform(26, 34)), 1)
    return Planted("too warm", {order: "excursion"})


def left_alone(s: _Site) -> Planted:
    """The product reached the ward hours before anybody infused it."""
    order, chain = s.take()
    by = timedelta(minutes=-int(s.rng.integers(5 * 60, 18 * 60)))
    for kind in ("dispatch", "deliver"):
        s.move(next(r for r in chain if r["kind"] == kind and r["object"] == "product"), by)
    return Planted("left at the ward too long", {order: "time_out_of_control"})


def wrong_clock(s: _Site) -> Planted:
    """The start of manufacture is told hours off what the batch record says."""
    order, chain = s.take()
    s.move(s.event(chain, "start"), timedelta(minutes=int(s.rng.integers(90, 600))))
    return Planted("clock of one event wrong", {order: "custody_contradiction"})


def wrong_suite(s: _Site) -> Planted:
    """The start of manufacture is told of another suite than the batch record's."""
    order, chain = s.take()
    row = s.event(chain, "start")
    row["place"] = f"S{int(row['place'][1:]) % 4 + 1}"
    return Planted("another suite", {order: "custody_contradiction"})


PLANTS: tuple[Plant, ...] = (
    lost_hand_over,
    lost_collection,
    lost_infusion,
    lost_disposal,
    no_receiver,
    two_hands,
    swapped_at_infusion,
    swapped_at_start,
    wrong_cells,
    shared_donation,
    shared_identity,
    after_the_end,
    too_warm,
    left_alone,
    wrong_clock,
    wrong_suite,
)
BROKEN = frozenset(
    {
        "missing_hand_over",
        "custody_break",
        "custody_overlap",
        "swap_suspicion",
        "identity_conflict",
        "impossible_order",
    }
)


def _plant(site: SiteWorld, rng: np.random.Generator) -> list[Planted]:
    picker = _Site(site, rng)
    planted = [plant(picker) for plant in PLANTS]
    # What the simulator draws of itself: a check that was not done.
    unchecked = {picker.orders.get(r["coi"]) for r in site.tables["custody"] if not r["verified"]}
    planted += [Planted("check of two not done", {o: "identity_check_missing"}) for o in unchecked if o]
    return planted


def trial(seed: int, scale: str = "demo") -> Score:
    """Draw a fleet, plant every kind at each site, and count what the chains name. Takes seconds."""
    world = build(seed, scale, SCALES[scale].days)
    planted: dict[str, list[Planted]] = {}
    for name, site in world.sites.items():
        planted[name] = _plant(site, np.random.default_rng((seed, 77, site.site.index)))
        chain_custody(site)
    fleet = load_plan(Settings().sites_path / "fleet.yaml")
    with tempfile.TemporaryDirectory() as home:
        con = lake.attach(Settings(home=home))
        try:
            _load(con, world)
            faults = _faults(con, fleet)
        finally:
            con.close()
    score = Score(orders=sum(len({r["order_id"] for r in s.tables["order"]}) for s in world.sites.values()))
    expected: set[tuple[str, str, str]] = set()
    allowed: set[tuple[str, str, str]] = set()
    for name, some in planted.items():
        for one in some:
            for order, reason in one.wanted.items():
                score.planted[one.kind] = score.planted.get(one.kind, 0) + 1
                good = (name, order, reason) in faults
                score.found[one.kind] = score.found.get(one.kind, 0) + good
                if not good:
                    score.missed.append((seed, one.kind, order))
                expected.add((name, order, reason))
                allowed |= {(name, order, code) for code in one.also}
    score.named = len(faults)
    score.false = [(seed, *fault) for fault in sorted(faults - expected - allowed)]
    return score


def _faults(con: duckdb.DuckDBPyConnection, fleet: Fleet) -> set[tuple[str, str, str]]:
    prepare(con, fleet)
    found = con.execute(
        "SELECT DISTINCT order_site_id, order_id, reason FROM custody_fault WHERE order_id IS NOT NULL"
    )
    return {(site, order, reason) for site, order, reason in found.fetchall()}


def _load(con: duckdb.DuckDBPyConnection, world: World) -> None:
    """The newest version of each row, as the sites' files would bring it, into the lake."""
    far = datetime.max.replace(
        tzinfo=next(iter(world.sites.values())).tables["order"][0]["ordered_at"].tzinfo
    )
    rows: dict[str, list[Row]] = {}
    for name, site in world.sites.items():
        site.sort()
        for feed, table, told in _TOLD:
            rows.setdefault(table, []).extend({"site_id": name, **told(r)} for r in site.state(feed, far))

    def write() -> None:
        for table, some in rows.items():
            _insert(con, table, some)

    lake.commit(con, write, "trial", f"seed {world.seed}")


def _order(r: Row) -> Row:
    return {
        "order_id": r["order_id"],
        "patient_key": r["patient_key"],
        "product_id": r["product"],
        "coi_id": r["coi"],
        "ordered_at": r["ordered_at"],
        "order_status": r["status"],
    }


def _collection(r: Row) -> Row:
    return {
        "collection_id": r["collection_id"],
        "order_id": r["order_id"],
        "din": r["din"],
        "collection_started_at": r["start"],
        "collection_ended_at": r["end"],
    }


def _batch(r: Row) -> Row:
    return {
        "batch_id": r["batch_id"],
        "order_id": r["order_id"],
        "product_id": r["product"],
        "suite_id": r["suite"],
        "attempt_no": r["attempt"],
        "batch_started_at": r["started"],
        "harvested_at": r["harvested"],
        "formulated_at": r["formulated"],
        "batch_status": r["status"],
    }


def _decision(r: Row) -> Row:
    return {
        "release_id": r["release_id"],
        "batch_id": r["batch_id"],
        "decision": r["decision"],
        "signed_at": r["signed_at"],
    }


def _infusion(r: Row) -> Row:
    return {
        "infusion_id": r["infusion_id"],
        "order_id": r["order_id"],
        "batch_id": r["batch_id"],
        "infused_at": r["infused_at"],
    }


def _event(r: Row) -> Row:
    return {
        "event_id": r["event_id"],
        "coi_id": r["coi"],
        "custody_object": r["object"],
        "custody_kind": KINDS[r["kind"]],
        "from_party": r["giver"],
        "to_party": r["taker"] or None,
        "place": r["place"],
        "happened_at": r["happened_at"],
        "verified_by_two": r["verified"],
        "custody_temperature_c": r["temp_c"],
        "sequence_no": r["seq"],
        "previous_hash": None if r["seq"] == 1 else r["prev_hash"],
        "leaf_hash": r["leaf_hash"],
    }


_TOLD: tuple[tuple[str, str, Callable[[Row], Row]], ...] = (
    ("order", "therapy_order", _order),
    ("collection", "collection", _collection),
    ("batch", "batch", _batch),
    ("release", "release_decision", _decision),
    ("infusion", "infusion", _infusion),
    ("custody", "custody_event", _event),
)


def _insert(con: duckdb.DuckDBPyConnection, table: str, rows: Iterable[Row]) -> None:
    d = dictionary()
    far = datetime(2100, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    filled = []
    for n, row in enumerate(rows, 1):
        technical: Row = {
            "record_id": f"{table}-{n}",
            "source_system": "simulator",
            "source_file": table,
            "source_file_sha256": "0" * 64,
            "source_row": n,
            "sent_at": far,
            "recorded_at": far,
            "recorded_by": "trial",
            "run_id": "trial",
        }
        told = technical | {
            k: v.replace(tzinfo=None) if isinstance(v, datetime) else v for k, v in row.items()
        }
        filled.append({name: told.get(name) for name in d.tables[table].columns})
    schema = polars_schema(d, table)
    naive = {n: (pl.Datetime("us") if isinstance(t, pl.Datetime) else t) for n, t in schema.items()}
    con.register("trial_rows", pl.DataFrame(filled, schema=naive, orient="row"))
    zoned = ", ".join(
        f'timezone(\'UTC\', "{n}") AS "{n}"' for n, t in schema.items() if isinstance(t, pl.Datetime)
    )
    lake.insert(con, d.tables[table], f"(SELECT * REPLACE ({zoned}) FROM trial_rows)")
    con.unregister("trial_rows")
