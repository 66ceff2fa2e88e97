"""A patient's journey through one site: collection, manufacture, testing, release, infusion, outcome.

Belongs here: what happens, when, and the rows that a site's systems hold of it. Does not belong here:
files (writers/), planted defects (defects.py). Each patient is drawn from an own stream (seed, site,
number), so a fleet that lives on keeps its past unchanged.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from .outcomes import add_outcomes
from .people import Patient, collected_cd3, draw_patient
from .quality import Product, draw_product, measure, out_of_specification
from .supply import PRODUCT, SUITES, lot_id, reactor_id, spec_versions
from .unrest import drifted
from .world import Culture, Row, SiteWorld, hours, minute

TESTS = {
    "ipc_d5": ("VIAB", "CAR"),
    "harvest": ("VIAB", "TVC", "FOLD"),
    "release": ("VIAB", "CD3", "CAR", "CD4CD8", "IFNG", "KILL", "ENDO", "BEADS", "TVCAR"),
    "post_release": ("VCN", "STER", "MYCO", "RCL"),
}
_OPERATIONS = (
    ("cell_selection", "enrichment", "magnetic_selection", "SP", "semi"),
    ("cell_culture", "activation", "bead_activation", "BR", "closed"),
    ("cell_culture", "transduction", "vector_addition", "BR", "closed"),
    ("cell_culture", "expansion", "perfusion", "BR", "closed"),
    ("harvest", "harvest", "bead_removal", "BR", "closed"),
    ("harvest", "formulation", "fill", "SP", "manual"),
)
_USED_IN = {
    "enrichment": "medium",
    "activation": "activation_reagent",
    "transduction": "vector",
    "expansion": "cytokine",
    "formulation": "bag_set",
}
_CAUSES = ("poor_growth", "low_viability", "low_purity", "equipment_failure")


class Journey:
    """Draws one patient's rows into the site's world, with running numbers taken from `counter`."""

    def __init__(
        self, world: SiteWorld, counter: dict[str, int], *, seed: int, number: int, base_days: int
    ) -> None:
        self.world, self.site, self.counter = world, world.site, counter
        self.number, self.base_days, self.seed = number, base_days, seed
        self.rng = np.random.default_rng((seed, world.site.index, 1, number))

    def _id(self, kind: str, width: int) -> str:
        self.counter[kind] = self.counter.get(kind, 0) + 1
        return f"{self.site.prefix}-{kind}-{self.counter[kind]:0{width}d}"

    def _span(self, low: float, high: float) -> timedelta:
        return hours(float(self.rng.uniform(low, high)))

    def _custody(self, kind: str, obj: str, route: tuple[str, str, str], at: datetime) -> None:
        giver, taker, place = route
        cold = kind in ("dispatch", "deliver")
        temperature = self.rng.normal(5.0, 0.8) if cold else self.rng.normal(20.5, 0.7)
        self.world.add(
            "custody",
            at + self._span(0.02, 0.1),
            event_id=self._id("E", 6),
            coi=self.patient.coi,
            object=obj,
            kind=kind,
            giver=giver,
            taker=taker,
            place=place,
            happened_at=at,
            verified=bool(self.rng.random() < 0.985),
            temp_c=round(float(temperature), 1),
        )

    def run(self, ordered_at: datetime, certain: bool) -> None:
        """Draw the whole journey; `certain` excludes withdrawal and failure (a batch that must be there)."""
        rng = self.rng
        self.patient: Patient = draw_patient(rng, self.site, self.number, ordered_at.year)
        p = self.patient
        self.order_id = f"{self.site.prefix}-O-{self.number + 1:05d}"
        slot = minute(ordered_at + timedelta(days=int(rng.integers(9, 16))))
        self.order = {
            "order_id": self.order_id,
            "mrn": p.record_number,
            "name": p.name,
            "dob": p.birth,
            "patient_key": p.patient_key,
            "sex": p.sex,
            "dx": p.diagnosis,
            "prior_lines": p.prior_lines,
            "benda": p.bendamustine,
            "ecog": p.ecog,
            "ldh": p.ldh,
            "product": PRODUCT,
            "coi": p.coi,
            "slot": slot.date(),
            "ordered_at": ordered_at,
            "comment": str(
                rng.choice(("", "", "", "bridging planned", "port in situ", "second opinion done"))
            ),
        }
        self.world.add("order", ordered_at + hours(0.1), **self.order, status="open")
        lost, fails, remedy = rng.random(), rng.random(), rng.random()
        if lost < 0.06 and not certain:
            status = "withdrawn" if rng.random() < 0.7 else "died"
            self._close_order(status, ordered_at + timedelta(days=int(rng.integers(2, 8))))
            return
        failing = fails < p.failure_probability and not certain
        # Of failed first attempts about a third is infused out of specification, 29 % made again.
        out_of_spec = failing and remedy < 0.33
        end = self._attempt(slot, 1, "oos" if out_of_spec else "fails" if failing else "good")
        if failing and not out_of_spec:
            if remedy < 0.62:
                self._attempt(end + timedelta(days=8), 2, "good")
            else:
                self._close_order("died" if rng.random() < 0.4 else "withdrawn", end + timedelta(days=9))

    def _close_order(self, status: str, at: datetime) -> None:
        self.world.add("order", minute(at), **self.order, status=status)

    def _attempt(self, slot: datetime, attempt: int, fate: str) -> datetime:
        rng, w, p, s = self.rng, self.world, self.patient, self.site
        start = slot.replace(hour=0, minute=0) + hours(8 + 3 * rng.random() - s.hours_east)
        end = start + self._span(3, 5)
        cd3 = collected_cd3(rng, p.severity)
        share = float(np.clip(rng.normal(38, 12), 8, 80))
        w.add(
            "collection",
            end + hours(0.5),
            collection_id=self._id("C", 5),
            order_id=self.order_id,
            din=p.din,
            start=start,
            end=end,
            tnc=cd3 / share * 100,
            cd3=cd3,
            cd3_pct=share,
            volume_ml=float(rng.integers(120, 320)),
            tbv_l=float(np.clip(rng.normal(12.3, 3), 3, 19)),
            anticoagulant="ACD-A",
        )
        received = end + (self._span(26, 60) if s.central else self._span(1, 6))
        self._custody("collect", "apheresis", ("patient", "apheresis_unit", "apheresis_unit"), end)
        if s.central:
            self._custody(
                "dispatch", "apheresis", ("apheresis_unit", "courier", "apheresis_unit"), end + hours(2)
            )
            self._custody("receive", "apheresis", ("courier", "laboratory", "laboratory"), received)
        else:
            self._custody("receive", "apheresis", ("apheresis_unit", "laboratory", "laboratory"), received)
        started = received + self._span(1, 12)
        batch_id = f"{s.prefix}-B-{self.number + 1:05d}" + (f"-{attempt}" if attempt > 1 else "")
        suite = self.number % SUITES + 1
        batch: Row = {
            "batch_id": batch_id,
            "order_id": self.order_id,
            "product": PRODUCT,
            "suite": f"S{suite}",
            "protocol": "P-3.1" if started < spec_versions(self.base_days)[1][1] else "P-3.2",
            "attempt": attempt,
            "started": started,
            "harvested": None,
            "formulated": None,
            "cause": "",
        }
        w.add("batch", started + hours(0.2), **batch, status="in_process", disposition="pending")
        self._custody("start", "apheresis", ("laboratory", "suite", batch["suite"]), started)
        for n, (phase, material) in enumerate(_USED_IN.items()):
            w.add(
                "lot_use",
                started + hours(1 + n),
                batch_id=batch_id,
                lot_id=lot_id(s.prefix, started, material),
                qty=round(float(rng.uniform(0.5, 4)), 2),
                phase=phase,
            )
        product = draw_product(rng, s, p.severity, fate == "oos")
        moved = drifted(s.name, "vcn", started, self.base_days)
        product = replace(product, vcn=product.vcn * float(np.exp(moved)))
        culture_days = float(rng.uniform(8.3, 9.8))
        if fate == "fails":
            culture_days = float(rng.uniform(5.6, 8.0))
        harvested = started + hours(24 * culture_days)
        stream = (self.seed, s.index, 2, self.number, attempt)
        w.cultures.append(Culture(batch_id, suite, started, harvested, stream))
        formulated = self._operations(batch_id, suite, started, harvested, fate == "fails")
        self._deviations(batch_id, started, harvested)
        self._sample(batch_id, product, "ipc_d5", started + hours(120 + 4 * rng.random()), (0.7, 5))
        if fate == "fails":
            batch["cause"] = str(rng.choice(_CAUSES, p=(0.42, 0.28, 0.2, 0.1)))
            w.add("batch", harvested + hours(1), **batch, status="terminated", disposition="rejected")
            return harvested
        batch["harvested"], batch["formulated"] = harvested, formulated
        w.add("batch", formulated + hours(0.3), **batch, status="complete", disposition="pending")
        self._custody("harvest", "product", ("suite", "laboratory", batch["suite"]), formulated)
        self._sample(batch_id, product, "harvest", harvested, (0.7, 5))
        released = self._sample(batch_id, product, "release", formulated + hours(0.2), (2, 22))
        self._sample(batch_id, product, "post_release", formulated + hours(0.3), (24 * 7, 24 * 14))
        oos = out_of_specification(s, released)
        decision, signed = self._release(batch, formulated, oos, fate == "oos")
        if decision == "rejected":
            self._close_order("withdrawn", signed + timedelta(days=4))
        else:
            self._infuse(batch_id, product, formulated, signed, oos)
        return signed

    def _operations(
        self, batch_id: str, suite: int, started: datetime, harvested: datetime, fails: bool
    ) -> datetime:
        rng, w = self.rng, self.world
        enriched = started + self._span(2, 4)
        activated = enriched + self._span(22, 26)
        transduced = activated + self._span(20, 28)
        harvest = harvested - self._span(2, 4)
        formulated = harvested + self._span(2, 5)
        edges = (
            (started, enriched),
            (enriched, activated),
            (activated, transduced),
            (transduced, harvest),
            (harvest, harvested),
            (harvested, formulated),
        )
        for n, ((unit, operation, phase, kind, automation), (begin, end)) in enumerate(
            zip(_OPERATIONS, edges, strict=True)
        ):
            if fails and n > 3:
                break
            equipment = (
                reactor_id(self.site.prefix, suite) if kind == "BR" else f"{self.site.prefix}-SP{suite:02d}"
            )
            w.add(
                "unit_operation",
                minute(end + hours(0.1)),
                op_id=f"{batch_id}-{n + 1:02d}",
                batch_id=batch_id,
                unit_procedure=unit,
                operation=operation,
                phase=phase,
                start=minute(begin),
                end=minute(end),
                equipment_id=equipment,
                role=str(rng.choice(("operator", "senior operator"))),
                automation=automation,
            )
        return minute(formulated)

    def _deviations(self, batch_id: str, started: datetime, harvested: datetime) -> None:
        rng = self.rng
        for _ in range(int(rng.poisson(0.45))):
            opened = minute(started + (harvested - started) * float(rng.random()))
            fields = {
                "deviation_id": self._id("D", 4),
                "batch_id": batch_id,
                "opened": opened,
                "klass": str(rng.choice(("minor", "major", "critical"), p=(0.945, 0.05, 0.005))),
                "cause": str(
                    rng.choice(("alarm", "late sampling", "documentation", "material", "operator error"))
                ),
            }
            self.world.add("deviation", opened, **fields, closed=None)
            closed = opened + timedelta(days=int(rng.integers(3, 40)), hours=1)
            self.world.add("deviation", closed, **fields, closed=closed)

    def _sample(
        self, batch_id: str, product: Product, point: str, at: datetime, delay: tuple[float, float]
    ) -> list[dict[str, Any]]:
        rng, w = self.rng, self.world
        taken = minute(at)
        sample_id = self._id("S", 6)
        w.add(
            "sample",
            taken + self._span(0.1, 0.5),
            sample_id=sample_id,
            batch_id=batch_id,
            point=point,
            taken_at=taken,
        )
        rows = []
        for test in TESTS[point]:
            done = taken + self._span(*delay)
            for replicate in range(1, (self.site.replicates if test in ("CAR", "VCN") else 1) + 1):
                fields = {
                    "result_id": self._id("R", 7),
                    "sample_id": sample_id,
                    "batch_id": batch_id,
                    "test": test,
                    "point": point,
                    "lab": "external" if test in ("MYCO", "RCL") else "qc",
                    "replicate": replicate,
                    "role": str(rng.choice(("analyst", "senior analyst"))),
                    "result_at": done,
                    **measure(rng, self.site, product, test, point),
                }
                seen = done + self._span(0.2, 2.5)
                if rng.random() < 0.015 and fields["value"] is not None and point != "post_release":
                    # A transcription error, corrected with a reason before anyone decides on it.
                    wrong = {**fields, "value": fields["value"] * 1.01}
                    w.add("assay", seen, **wrong, reason="")
                    w.add("assay", seen + self._span(0.5, 3), **fields, reason="transcription corrected")
                else:
                    w.add("assay", seen, **fields, reason="")
                rows.append(fields)
        return rows

    def _release(self, batch: Row, formulated: datetime, oos: bool, forced: bool) -> tuple[str, datetime]:
        rng, w = self.rng, self.world
        signed = minute(formulated + self._span(31, 54))
        rejected = oos and not forced and rng.random() < 0.5
        decision = "rejected" if rejected else "released" if oos else "conditional"
        version = max(v for v, effective in spec_versions(self.base_days) if effective <= signed)
        w.add(
            "release",
            signed,
            release_id=self._id("Q", 5),
            batch_id=batch["batch_id"],
            decision=decision,
            spec_id=f"{self.site.prefix}-SPEC-01",
            spec_version=version,
            role="QP",
            signed_at=signed,
            condition="STER MYCO RCL VCN" if decision == "conditional" else "named patient" if oos else "",
        )
        disposition = "rejected" if rejected else "oos_released" if oos else "released"
        w.add("batch", signed + hours(0.2), **batch, status="complete", disposition=disposition)
        if not rejected:
            self._custody("release", "product", ("laboratory", "qa", "laboratory"), signed)
        return decision, signed

    def _infuse(
        self, batch_id: str, product: Product, formulated: datetime, signed: datetime, oos: bool
    ) -> None:
        rng = self.rng
        wait = self._span(24 * 9, 24 * 20) if self.site.central else self._span(30, 24 * 5)
        at = minute(signed + wait)
        if rng.random() < 0.05:
            self._close_order("died" if rng.random() < 0.6 else "withdrawn", at)
            return
        leaving = at - hours(60 if self.site.central else 5)
        self._custody(
            "dispatch", "product", ("qa", "courier" if self.site.central else "porter", "laboratory"), leaving
        )
        self._custody(
            "deliver",
            "product",
            ("courier" if self.site.central else "porter", "ward", "ward"),
            at - hours(2),
        )
        self._custody("infuse", "product", ("ward", "patient", "ward"), at)
        weight = float(np.clip(rng.normal(74, 14), 16, 130))
        dose = min(product.car_cells * float(rng.uniform(0.2, 0.5)), 6.0e8) / 1e6
        infusion_id = self._id("I", 5)
        self.world.add(
            "infusion",
            at + hours(1),
            infusion_id=infusion_id,
            order_id=self.order_id,
            batch_id=batch_id,
            infused_at=at,
            dose_e6=round(dose, 1),
            per_kg_e6=round(dose / weight, 2),
            bags=int(rng.integers(1, 4)),
            oos=oos,
        )
        self._close_order("done", at + hours(2))
        add_outcomes(
            self.world,
            rng,
            lambda: self._id("A", 5),
            patient=self.patient,
            infusion_id=infusion_id,
            infused=at,
        )
