"""What a patient's journey brings beside its batch: consent, screening, care, transport, costs, payments.

Belongs here: rows that follow from journeys already drawn (process.py), from a random stream of their own, so that
they change nothing of those. Does not belong here: what belongs to no patient (programme.py), formats.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from .people import draw_patient
from .programme import PROGRAM
from .world import Row, SiteWorld, key_of, minute

LOGGED_MINUTES = 60
_CATEGORIES = (
    ("labour", 46000.0),
    ("material", 61000.0),
    ("equipment", 9000.0),
    ("quality_control", 17000.0),
    ("facility", 14000.0),
    ("logistics", 4000.0),
)
_REASONS = ("not_eligible", "progression", "no_slot", "declined", "administrative")
_STREAM, _FAILED_STREAM, _FAILED_NUMBERS = 14, 15, 7000


def add_care(world: SiteWorld, seed: int) -> None:
    """Rows of every journey that the site's tables hold."""
    # A site's systems hold nothing of a patient before the order: a fleet that lives on keeps its past unchanged.
    orders = _last(world, "order")
    infusions = {row["order_id"]: row for row in _last(world, "infusion").values()}
    outcomes: dict[str, list[Row]] = {}
    for row in world.tables["outcome"]:
        outcomes.setdefault(row["infusion_id"], []).append(row)
    for order in orders.values():
        number = int(order["order_id"].rsplit("-", 1)[1])
        rng = np.random.default_rng((seed, world.site.index, _STREAM, number))
        infusion = infusions.get(order["order_id"])
        _screened(world, order, number)
        _consents(world, rng, order, infusion)
        if infusion is not None:
            events = outcomes.get(infusion["infusion_id"], [])
            _lymphodepletion(world, rng, infusion)
            _adverse_events(world, rng, infusion, events)
            _payments(world, rng, infusion, events)
        if number % 4 == 0:
            _screen_failure(world, seed, order, number)
    _costs(world, seed)
    _genealogy(world)
    if world.site.central:
        _shipments(world, seed, {o["coi"]: o["order_id"] for o in orders.values()})


def _last(world: SiteWorld, feed: str) -> dict[str, Row]:
    """The last version of each row, as it will stand in the end."""
    found: dict[str, Row] = {}
    for row in sorted(world.tables[feed], key=lambda r: r["_seen"]):
        found[key_of(feed, row)] = row
    return found


def _stage(
    world: SiteWorld, row: Row, number: int, n: int, stage: str, reason: str, at: datetime, seen: datetime
) -> None:
    at = minute(at)
    world.add(
        "screening", max(at, seen), screening_id=f"{world.site.prefix}-SC-{number:05d}-{n}", program_id=PROGRAM,
        mrn=row["mrn"], patient_key=row["patient_key"], stage=stage, reason=reason, at=at,
    )  # fmt: skip


def _screened(world: SiteWorld, order: Row, number: int) -> None:
    for n, (stage, days) in enumerate(
        (("referred", 24), ("screened", 15), ("eligible", 8), ("enrolled", 0)), 1
    ):
        at = order["ordered_at"] - timedelta(days=days)
        _stage(world, order, number, n, stage, "", at, order["ordered_at"])


def _screen_failure(world: SiteWorld, seed: int, order: Row, number: int) -> None:
    """Somebody who was referred about then and is never ordered for."""
    rng = np.random.default_rng((seed, world.site.index, _FAILED_STREAM, number))
    patient = draw_patient(rng, world.site, _FAILED_NUMBERS + number, order["ordered_at"].year)
    row = {"mrn": patient.record_number, "patient_key": patient.patient_key}
    number += 50000
    known = order["ordered_at"]
    referred = known - timedelta(days=int(rng.integers(5, 30)))
    _stage(world, row, number, 1, "referred", "", referred, known)
    _stage(world, row, number, 2, "screened", "", referred + timedelta(days=6), known)
    reason = str(rng.choice(_REASONS, p=(0.45, 0.2, 0.1, 0.15, 0.1)))
    _stage(world, row, number, 3, "failed", reason, referred + timedelta(days=11), known)


def _consents(world: SiteWorld, rng: np.random.Generator, order: Row, infusion: Row | None) -> None:
    given = order["ordered_at"] - timedelta(days=int(rng.integers(2, 8)))
    scopes = [("treatment", given)]
    if rng.random() < 0.7:
        scopes.append(("research", given))
    if infusion is not None:
        scopes.append(("follow-up", infusion["infused_at"] + timedelta(days=20)))
    for scope, at in scopes:
        fields = {
            "consent_id": f"{order['order_id'].replace('-O-', '-CN-')}-{scope[0]}", "mrn": order["mrn"],
            "patient_key": order["patient_key"], "order_id": order["order_id"], "scope": scope,
            "version": "3.0", "start": at.date(),
        }  # fmt: skip
        world.add("consent", max(at, order["ordered_at"]), **fields, end=None)
        if scope == "research" and rng.random() < 0.06:
            later = at + timedelta(days=int(rng.integers(20, 90)))
            world.add("consent", later, **fields, end=later.date())


def _lymphodepletion(world: SiteWorld, rng: np.random.Generator, infusion: Row) -> None:
    start = minute(infusion["infused_at"] - timedelta(days=5)).replace(minute=0)
    if rng.random() < 0.12:
        courses = [("bendamustine", 90.0, 2)]
    else:
        courses = [("fludarabine", 30.0, 3), ("cyclophosphamide", 300.0, 3)]
    for agent, dose, days in courses:
        end = start + timedelta(days=days - 1)
        identity = f"{infusion['infusion_id'].replace('-I-', '-LD-')}-{agent[0].upper()}"
        world.add(
            "lymphodepletion", end + timedelta(hours=1), course_id=identity, order_id=infusion["order_id"],
            agent=agent, dose=dose, start=start, end=end,
        )  # fmt: skip


def _adverse_events(world: SiteWorld, rng: np.random.Generator, infusion: Row, events: list[Row]) -> None:
    graded = [
        ("ASTCT", r["endpoint"], int(r["value"]), int(r["day"]))
        for r in events
        if r["endpoint"] in ("crs", "icans")
    ]
    if rng.random() < 0.6:
        graded.append(("CTCAE", "neutropenia", int(rng.integers(3, 5)), int(rng.integers(1, 8))))
    if rng.random() < 0.15:
        graded.append(("CTCAE", "infection", int(rng.integers(2, 4)), int(rng.integers(4, 40))))
    for n, (system, term, grade, day) in enumerate(graded, start=1):
        if grade == 0:
            continue
        treatment = {"crs": "tocilizumab" if grade > 1 else "none", "icans": "corticosteroid" if grade > 1 else "none",
                     "neutropenia": "growth_factor", "infection": "anti_infective"}[term]  # fmt: skip
        over = day + int(rng.integers(2, 9))
        fields = {
            "event_id": f"{infusion['infusion_id'].replace('-I-', '-AE-')}-{n}", "infusion_id": infusion["infusion_id"],
            "order_id": infusion["order_id"], "system": system, "term": term, "grade": grade, "onset": day,
            "treatment": treatment, "at": infusion["infused_at"] + timedelta(days=day),
        }  # fmt: skip
        world.add("adverse_event", fields["at"] + timedelta(hours=2), **fields, resolved=None)
        ended = infusion["infused_at"] + timedelta(days=over, hours=3)
        world.add("adverse_event", ended, **fields, resolved=over)


def _payments(world: SiteWorld, rng: np.random.Generator, infusion: Row, events: list[Row]) -> None:
    """Instalments as the agreement's schedule has them; the second only where the patient still responds."""
    agreements = world.tables["agreement"]
    agreement = agreements[int(rng.integers(0, len(agreements)))]
    responding = any(
        r["endpoint"] == "response" and r["day"] == 90 and r["value"] in ("CR", "PR") for r in events
    )
    for n, part in enumerate(agreement["schedule"].split(";"), start=1):
        day, share = part.split(":")
        if int(day) > 0 and not responding:
            continue
        due = infusion["infused_at"] + timedelta(days=int(day) + 30)
        paid = due + timedelta(days=int(rng.integers(-10, 25)))
        fields = {
            "payment_id": f"{infusion['infusion_id'].replace('-I-', '-PY-')}-{n}", "kind": "instalment",
            "agreement_id": agreement["agreement_id"], "infusion_id": infusion["infusion_id"],
            "amount": agreement["price"] * float(share), "currency": agreement["currency"], "due": due.date(),
        }  # fmt: skip
        world.add("payment", infusion["infused_at"] + timedelta(days=int(day), hours=5), **fields, paid=None)
        world.add("payment", paid, **fields, paid=paid.date())


def _costs(world: SiteWorld, seed: int) -> None:
    for batch in _last(world, "batch").values():
        number = int(batch["batch_id"].split("-")[2])
        rng = np.random.default_rng((seed, world.site.index, _STREAM, number, batch["attempt"]))
        at = batch["formulated"] or batch["started"] + timedelta(days=8)
        for category, usual in _CATEGORIES:
            booked = at + timedelta(days=int(rng.integers(1, 20)))
            amount = round(usual * float(np.exp(rng.normal(0, 0.18))), 2)
            identity = f"{batch['batch_id'].replace('-B-', '-K-')}-{category[:3].upper()}"
            world.add(
                "cost_item", booked, cost_id=identity, batch_id=batch["batch_id"], category=category,
                amount=amount, date=booked.date(),
            )  # fmt: skip


def _genealogy(world: SiteWorld) -> None:
    """What was made of what, as a system of batch records keeps it."""

    def add(seen: datetime, parent: str, child: str, kind: str) -> None:
        world.add("batch_genealogy", seen, parent=parent, child=child, kind=kind)

    collections: dict[str, list[Row]] = {}
    for row in world.tables["collection"]:
        collections.setdefault(row["order_id"], []).append(row)
    for batch in _last(world, "batch").values():
        before = [c for c in collections.get(batch["order_id"], []) if c["end"] <= batch["started"]]
        if before:
            source = max(before, key=lambda c: c["end"])
            add(batch["started"], source["collection_id"], batch["batch_id"], "collection")
    for use in world.tables["lot_use"]:
        add(use["_seen"], use["lot_id"], use["batch_id"], "lot")
    for infusion in world.tables["infusion"]:
        add(infusion["_seen"], infusion["batch_id"], infusion["infusion_id"], "infusion")


def _shipments(world: SiteWorld, seed: int, orders: dict[str, str]) -> None:
    """Each way by courier, with a logger in the box; a few boxes get warm for some hours."""
    legs: dict[tuple[str, str], Row] = {}
    number = 0
    for event in sorted(world.tables["custody"], key=lambda r: (r["happened_at"], r["event_id"])):
        way = (event["coi"], event["object"])
        if event["kind"] == "dispatch":
            legs[way] = event
            continue
        left = legs.pop(way, None) if event["kind"] in ("receive", "deliver") else None
        if left is None:
            continue
        number += 1
        rng = np.random.default_rng((seed, world.site.index, 16, int(left["event_id"].rsplit("-", 1)[1])))
        fields = {
            "shipment_id": f"{left['event_id'].replace('-E-', '-SH-')}", "order_id": orders.get(event["coi"]),
            "coi": event["coi"], "object": event["object"], "carrier": "Kestrel Medical Couriers",
            "giver": left["giver"], "taker": event["taker"] if event["kind"] == "receive" else "ward",
            "left": left["happened_at"], "low": 2.0, "high": 8.0,
        }  # fmt: skip
        world.add("shipment", left["_seen"], **fields, arrived=None)
        world.add("shipment", event["_seen"], **fields, arrived=event["happened_at"])
        _logged(world, rng, fields, event)


def _logged(world: SiteWorld, rng: np.random.Generator, shipment: Row, arrival: Row) -> None:
    begin, end = minute(shipment["left"]), arrival["happened_at"]
    steps = int((end - begin) / timedelta(minutes=LOGGED_MINUTES)) + 1
    warm = range(0)
    if rng.random() < 0.08:
        first = int(rng.integers(1, max(2, steps - 6)))
        warm = range(first, first + int(rng.integers(2, 6)))
    box = float(rng.normal(4.8, 0.4))
    for n in range(steps):
        reading = box + float(rng.normal(0, 0.25)) + (float(rng.uniform(4.5, 7)) if n in warm else 0.0)
        world.add(
            "logger_reading", arrival["_seen"], logger=f"KL{shipment['shipment_id'][-6:]}",
            shipment_id=shipment["shipment_id"], at=begin + timedelta(minutes=n * LOGGED_MINUTES),
            celsius=round(reading, 1),
        )  # fmt: skip
