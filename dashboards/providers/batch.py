"""What the Batch pages ask: the list of batches, and everything about one.

Does not belong here: its sensors (`providers/sensors.py`), a record's file and hash (`providers/sources.py`).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from dashboards.facts.batch import (
    Batch,
    Custody,
    Decision,
    Deviation,
    Edit,
    Finding,
    Material,
    Measured,
    Outcome,
    Result,
    Step,
)
from dashboards.facts.fleet import Need
from dashboards.providers.snapshot import Snapshot
from dashboards.providers.sources import SHOWN
from dashboards.security.scope import Scope
from warehouse.dictionary import dictionary

# Tables whose rows name a batch, and those that name the order it was made for.
OF_BATCH = (
    "batch", "sample", "assay_result", "unit_operation", "lot_use", "deviation", "release_decision", "infusion",
)  # fmt: skip
OF_ORDER = ("therapy_order", "collection")
BATCH_COLUMNS = (
    "SELECT s.site_id AS site, s.*, w.* EXCLUDE (site_id, batch_id, attempt_no, order_id, product_id, "
    "suite_id, "
    "disposition, decision, record_id, source_file, source_row) "
    "FROM mart.batch_status s JOIN mart.batch_wide w USING (site_id, batch_id)"
)


def _names(cls: type, alias: str = "") -> str:
    return ", ".join(f"{alias}{f.name}" for f in fields(cls))


def _records() -> str:
    """SQL of the identities of every stored version of every record about a batch and its order."""
    own = [f"SELECT record_id FROM history.{t} WHERE site_id = $site AND batch_id = $batch" for t in OF_BATCH]
    own += [
        f"SELECT record_id FROM history.{t} WHERE site_id = $site AND order_id = $order" for t in OF_ORDER
    ]
    own += [
        "SELECT record_id FROM mart.assay_long WHERE site_id = $site AND batch_id = $batch",
        "SELECT record_id FROM mart.custody_step WHERE order_site_id = $site AND order_id = $order",
    ]
    return " UNION ".join(own)


class BatchProvider:
    """Questions about batches, over one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def all(self, scope: Scope) -> list[Batch]:
        """Every batch of the sites of the scope, the newest first."""
        found = self._snapshot.rows(
            f"SELECT {_names(Batch)} FROM ({BATCH_COLUMNS}) WHERE site = ANY($sites) "
            "ORDER BY batch_started_at DESC NULLS LAST, site, batch_id",
            scope,
        )
        return [Batch(**row) for row in found]

    def find(self, scope: Scope, site: str, batch_id: str) -> Batch | None:
        """One batch; None where there is none of that name at a site of the scope."""
        found = self._rows(
            f"SELECT {_names(Batch)} FROM ({BATCH_COLUMNS}) WHERE site = $site AND batch_id = $batch "
            "AND site = ANY($sites)",
            scope,
            site=site,
            batch=batch_id,
        )
        return Batch(**found[0]) if found else None

    def attempts(self, scope: Scope, batch: Batch) -> list[Batch]:
        """Every attempt for the order of a batch, itself among them, in their order."""
        found = self._rows(
            f"SELECT {_names(Batch)} FROM ({BATCH_COLUMNS}) WHERE site = $site AND site = ANY($sites) "
            "AND (order_id = $order OR batch_id = $batch) ORDER BY attempt_no, batch_id",
            scope,
            **self._key(batch),
        )
        return [Batch(**row) for row in found]

    def measured(self, scope: Scope, batch: Batch) -> list[Measured]:
        """All results by point, attribute and method, failing ones first, with the other lots measured alike."""
        results = [
            Result(**row)
            for row in self._rows(
                "SELECT "
                + _names(Result, "a.").replace("a.approved_by_role, a.eff", "s.approved_by_role, s.eff")
                + " FROM mart.assay_long a LEFT JOIN core.specification s USING (site_id, spec_id, spec_version) "
                "WHERE a.site_id = $site AND a.batch_id = $batch AND a.site_id = ANY($sites) "
                "ORDER BY coalesce(a.passes, true), list_position(['release', 'harvest', 'post_release', "
                "'ipc_day_5'], a.sample_point) NULLS LAST, a.attribute, a.method_id, a.lab_site, "
                "a.replicate, a.result_id",
                scope,
                **self._key(batch),
            )
        ]  # fmt: skip
        others: dict[Any, list[float]] = {}
        for row in self._rows(
            "SELECT attribute, sample_point, method_id, value FROM mart.assay_long WHERE site_id = $site "
            "AND site_id = ANY($sites) AND batch_id <> $batch AND value IS NOT NULL ORDER BY ALL",
            scope,
            **self._key(batch),
        ):
            key = (row["attribute"], row["sample_point"], row["method_id"])
            others.setdefault(key, []).append(row["value"])
        groups: dict[Any, list[Result]] = {}
        for r in results:
            groups.setdefault((r.attribute, r.sample_point, r.method_id, r.lab_site), []).append(r)
        return [Measured(tuple(rs), tuple(others.get(key[:3], ()))) for key, rs in groups.items()]

    def steps(self, scope: Scope, batch: Batch) -> list[Step]:
        """Unit operations in the order of time."""
        return [
            Step(**row)
            for row in self._rows(
                f"SELECT {_names(Step)} FROM core.unit_operation WHERE site_id = $site AND batch_id = $batch "
                "AND site_id = ANY($sites) ORDER BY operation_started_at, operation_id",
                scope,
                **self._key(batch),
            )
        ]

    def custody(self, scope: Scope, batch: Batch) -> list[Custody]:
        """The chain of custody of the order, whichever site told of an event."""
        return [
            Custody(**row)
            for row in self._rows(
                f"SELECT {_names(Custody)} FROM mart.custody_step WHERE order_site_id = $site "
                "AND order_id = $order AND site_id = ANY($sites) ORDER BY site_id, coi_id, place_in_chain",
                scope,
                **self._key(batch),
            )
        ]

    def materials(self, scope: Scope, batch: Batch) -> list[Material]:
        """Collection and lots that the batch was made of, with the other batches made of them."""
        return [
            Material(**{**row, "used_by": tuple(row["used_by"] or ())})
            for row in self._rows(
                "SELECT g.genealogy_kind AS kind, g.parent_id AS material_id, l.material, l.supplier, "
                "l.lot_status, "
                "l.expires_on, (SELECT list(o.child_id ORDER BY o.child_id) FROM mart.genealogy o "
                "WHERE o.site_id = g.site_id AND o.parent_id = g.parent_id AND o.genealogy_kind = "
                "g.genealogy_kind "
                "AND o.child_id <> g.child_id) AS used_by, "
                # The row about the lot itself where it is known, else the one that says it was used.
                "coalesce(l.record_id, c.record_id, g.record_id) AS record_id, "
                "coalesce(l.source_file, c.source_file, g.source_file) AS source_file, "
                "coalesce(l.source_row, c.source_row, g.source_row) AS source_row FROM mart.genealogy g "
                "LEFT JOIN core.reagent_lot l ON l.site_id = g.site_id AND l.lot_id = g.parent_id "
                "AND g.genealogy_kind = 'lot_to_batch' "
                "LEFT JOIN core.collection c ON c.site_id = g.site_id AND c.collection_id = g.parent_id "
                "AND g.genealogy_kind = 'collection_to_batch' "
                "WHERE g.site_id = $site AND g.child_id = $batch AND g.site_id = ANY($sites) "
                "AND g.genealogy_kind IN ('lot_to_batch', 'collection_to_batch') "
                "ORDER BY g.genealogy_kind, l.material NULLS LAST, g.parent_id",
                scope,
                **self._key(batch),
            )
        ]

    def decisions(self, scope: Scope, batch: Batch) -> list[Decision]:
        """Release decisions, in the order of their signatures."""
        return [
            Decision(**row)
            for row in self._rows(
                f"SELECT {_names(Decision)} FROM core.release_decision WHERE site_id = $site AND batch_id "
                f"= $batch "
                "AND site_id = ANY($sites) ORDER BY signed_at, release_id",
                scope,
                **self._key(batch),
            )
        ]

    def deviations(self, scope: Scope, batch: Batch) -> list[Deviation]:
        """Deviations, open ones first."""
        return [
            Deviation(**row)
            for row in self._rows(
                f"SELECT {_names(Deviation)} FROM core.deviation WHERE site_id = $site AND batch_id = $batch "
                "AND site_id = ANY($sites) ORDER BY closed_at IS NOT NULL, opened_at, deviation_id",
                scope,
                **self._key(batch),
            )
        ]

    def needs(self, scope: Scope, batch: Batch) -> list[Need]:
        """What is open about the batch, the worst first."""
        return [
            Need(**row)
            for row in self._rows(
                "SELECT site_id AS site, exception_kind AS kind, batch_id, subject, state, what, "
                "owner_role, severity, "
                "since, age_h, record_id, source_file, source_row FROM mart.exceptions "
                "WHERE site_id = $site AND batch_id = $batch AND site_id = ANY($sites) "
                "ORDER BY list_position(['critical', 'error', 'warning', 'info'], severity), since, subject",
                scope,
                **self._key(batch),
            )
        ]

    def findings(self, scope: Scope, batch: Batch) -> list[Finding]:
        """Findings on any stored version of any record about the batch, its order or its readings, worst first."""
        return [
            Finding(**row)
            for row in self._rows(
                f"SELECT f.site_id AS site, {_names(Finding, 'f.').split(', ', 1)[1]} FROM quality.finding f "
                f"WHERE f.site_id = ANY($sites) AND (f.record_id IN ({_records()}) OR (f.table_name = "
                f"'reading' "
                "AND f.site_id = $site AND split_part(f.subject, '|', 1) = $batch)) "
                "ORDER BY list_position(['critical', 'error', 'warning', 'info'], f.severity), "
                "f.reason_code, f.subject",
                scope,
                **self._key(batch),
            )
        ]

    def edits(self, scope: Scope, batch: Batch) -> list[Edit]:
        """What later versions of records about the batch say otherwise, the newest change first."""
        return [
            Edit(**row)
            for row in self._rows(
                f"SELECT {_names(Edit)} FROM mart.audit_trail WHERE site_id = ANY($sites) "
                f"AND record_id IN ({_records()}) AND table_name = ANY($tables) AND field_name = ANY($shown) "
                "ORDER BY changed_at DESC, table_name, subject, field_name",
                scope,
                tables=[*OF_BATCH, *OF_ORDER, "custody_event"],
                shown=[name for name, f in dictionary().fields.items() if f.privacy in SHOWN],
                **self._key(batch),
            )
        ]

    def outcomes(self, scope: Scope, batch: Batch) -> list[Outcome]:
        """What was told of the patient after the infusion."""
        return [
            Outcome(**row)
            for row in self._rows(
                f"SELECT {_names(Outcome, 'o.')} FROM core.outcome o JOIN core.infusion i USING (site_id, "
                f"infusion_id) "
                "WHERE i.site_id = $site AND i.batch_id = $batch AND i.site_id = ANY($sites) "
                "ORDER BY o.outcome_day, o.endpoint",
                scope,
                **self._key(batch),
            )
        ]

    def _key(self, batch: Batch) -> dict[str, Any]:
        return {"site": batch.site, "batch": batch.batch_id, "order": batch.order_id}

    def _rows(self, sql: str, scope: Scope, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a query that is given only the parameters it names."""
        told = {name: value for name, value in parameters.items() if f"${name}" in sql}
        return self._snapshot.rows(sql, scope, **told)
