"""The whole canonical model after a real run: each table filled, each from the sites that keep such a thing."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import duckdb

from warehouse.dictionary import dictionary
from warehouse.publish import newest


def test_every_table_of_the_model_is_filled(published_home: Path) -> None:
    path = newest(published_home / "published")
    with closing(duckdb.connect(str(path), read_only=True)) as con:
        core = [t for t in dictionary().tables.values() if t.layer == "core"]
        empty = [
            t.name for t in core if con.execute(f"SELECT 1 FROM core.{t.name} LIMIT 1").fetchone() is None
        ]
        assert empty == []
        # Nobody's care or money is set aside: what is planted lies elsewhere.
        refused = con.execute(
            "SELECT DISTINCT feed FROM quality.quarantine WHERE feed IN ('consent', 'screening', 'lymphodepletion', "
            "'adverse_event', 'shipment', 'logger_reading', 'cost_item', 'agreement', 'payment', 'master_data')"
        ).fetchall()
        assert refused == []


def test_what_belongs_together_is_found_together(published_home: Path) -> None:
    path = newest(published_home / "published")
    with closing(duckdb.connect(str(path), read_only=True)) as con:
        joined = {
            "shipment": "SELECT count(*) FROM core.logger_reading JOIN core.shipment USING (site_id, shipment_id)",
            "infusion": "SELECT count(*) FROM core.adverse_event JOIN core.infusion USING (site_id, infusion_id)",
            "order": "SELECT count(*) FROM core.lymphodepletion JOIN core.therapy_order USING (site_id, order_id)",
            "agreement": "SELECT count(*) FROM core.payment JOIN core.agreement USING (site_id, agreement_id)",
            "batch": "SELECT count(*) FROM core.cost_item JOIN core.batch USING (site_id, batch_id)",
            "patient": "SELECT count(*) FROM core.consent JOIN core.patient USING (site_id, patient_key)",
            "product": "SELECT count(*) FROM core.product JOIN core.program USING (site_id, program_id)",
        }
        alone = {name: con.execute(sql).fetchone() for name, sql in joined.items()}
        assert all(found and found[0] for found in alone.values()), alone
        before = con.execute(
            "SELECT count(*) FROM core.lymphodepletion l JOIN core.infusion i USING (site_id, order_id) "
            "WHERE l.course_ended_at > i.infused_at"
        ).fetchone()
        assert before == (0,)
