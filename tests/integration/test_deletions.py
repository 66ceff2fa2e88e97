"""Records deleted at the source: superseded by a version that says so, in whatever order it comes; nothing is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path

import duckdb
import pytest
from small_site import Site, attributes

from pipelines.publication import publish_fleet
from warehouse import lake
from warehouse.dictionary import dictionary

HEADER = "id,sample,test,result,unit,at,changed,state\n"
CURRENT = "SELECT result_id, value FROM current.assay_result ORDER BY result_id"


def row(number: int, value: str, changed: str, state: str = "") -> str:
    return f"R{number},S{number},viab,{value},%,2026-02-01T09:00:00Z,2026-02-{changed}T10:00:00Z,{state}\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    content = attributes()
    content["feeds"]["assay"] |= {"deleted": {"state": "gone"}, "ignore": ["state"]}
    content["feeds"] = {"assay": content["feeds"]["assay"]}
    return Site(tmp_path, content)


def test_a_deleted_record_is_superseded_and_stays_known(site: Site) -> None:
    site.send("results_1.csv", HEADER + row(1, "90", "01") + row(2, "80", "01"))
    site.run()
    site.send("results_2.csv", HEADER + row(1, "", "03", "gone"), 1)
    told = site.run()
    counts = told.accounting
    assert (counts["received"], counts["promoted"], counts["superseded"], counts["quarantined"]) == (
        3,
        2,
        1,
        0,
    )
    assert site.rows(CURRENT) == [("R2", 80.0)]
    versions = site.rows(
        "SELECT value, reason, supersedes IS NOT NULL FROM lake.core.assay_result WHERE result_id = 'R1' "
        "ORDER BY source_version"
    )
    assert versions == [(90.0, None, False), (None, lake.DELETED, True)]
    with lake.opened(site.settings) as con:
        table = dictionary().tables["assay_result"]
        at = con.execute("SELECT min(recorded_at) FROM lake.core.assay_result").fetchone()
        assert at is not None
        known = con.execute(f"SELECT result_id FROM ({lake.as_of_sql(table, at[0])}) ORDER BY 1").fetchall()
    assert known == [("R1",), ("R2",)]
    # The published snapshot agrees, and the deletion is in the audit trail.
    published = publish_fleet(site.settings, "run-p")
    with duckdb.connect(str(published.path), read_only=True) as con:
        assert con.execute("SELECT result_id FROM core.assay_result").fetchall() == [("R2",)]
        now = datetime(2100, 1, 1, tzinfo=UTC)
        assert con.execute("SELECT result_id FROM as_of_assay_result(?)", [now]).fetchall() == [("R2",)]
        trail = con.execute(
            "SELECT old_value, new_value, why FROM mart.audit_trail WHERE subject = 'R1' AND field_name = 'value'"
        ).fetchall()
    assert trail == [("90.0", None, lake.DELETED)]


def test_a_record_that_comes_back_is_in_force_again(site: Site) -> None:
    site.send("results_1.csv", HEADER + row(1, "90", "01"))
    site.send("results_2.csv", HEADER + row(1, "", "03", "gone"), 1)
    site.run()
    assert site.rows(CURRENT) == []
    site.send("results_3.csv", HEADER + row(1, "91", "05"), 2)
    counts = site.run().accounting
    assert (counts["promoted"], counts["superseded"]) == (1, 2)
    assert site.rows(CURRENT) == [("R1", 91.0)]
    site.send("results_2.csv", HEADER + row(1, "", "03", "gone"), 3)  # the old deletion, sent again
    site.run()
    assert site.rows(CURRENT) == [("R1", 91.0)]


FILES = {
    "results_1.csv": row(1, "90", "01") + row(2, "80", "01"),
    "results_2.csv": row(1, "", "03", "gone") + row(2, "81", "02"),
    "results_3.csv": row(2, "", "04", "gone") + row(1, "92", "02"),
}


def test_the_order_of_arrival_does_not_matter(tmp_path: Path) -> None:
    said = set()
    for n, order in enumerate(list(permutations(FILES))[::2]):
        content = attributes()
        content["feeds"]["assay"] |= {"deleted": {"state": "gone"}, "ignore": ["state"]}
        content["feeds"] = {"assay": content["feeds"]["assay"]}
        site = Site(tmp_path / str(n), content)
        for hours, name in enumerate(order):
            site.send(name, HEADER + FILES[name], hours)
            counts = site.run().accounting
        assert (counts["received"], counts["promoted"], counts["superseded"]) == (6, 2, 4)
        assert site.rows(CURRENT) == []
        said.add(tuple(site.rows(
            f"SELECT result_id, value, source_version, record_id, reason IS NOT DISTINCT FROM '{lake.DELETED}' "
            "FROM lake.core.assay_result ORDER BY ALL"
        )))  # fmt: skip
    (rows,) = said
    assert len(rows) == 6


def test_a_deletion_of_what_never_came_is_set_aside_until_it_comes(site: Site) -> None:
    site.send("results_1.csv", HEADER + row(1, "", "03", "gone") + row(2, "80", "01"))
    counts = site.run().accounting
    assert (counts["received"], counts["promoted"], counts["quarantined"]) == (2, 1, 1)
    assert site.rows("SELECT subject, reason_code FROM lake.quality.quarantine") == [
        ("R1", "deletion_of_unknown")
    ]
    site.send("results_2.csv", HEADER + row(1, "90", "01"), 1)
    counts = site.run().accounting
    assert (counts["received"], counts["promoted"], counts["superseded"], counts["quarantined"]) == (
        3,
        2,
        1,
        0,
    )
    assert site.rows(CURRENT) == [("R2", 80.0)]


def test_a_patient_named_by_two_orders_goes_with_the_last_of_them(tmp_path: Path) -> None:
    content = attributes()
    content["feeds"]["order"] |= {"deleted": {"state": "gone"}, "ignore": ["state"]}
    content["feeds"] = {"order": content["feeds"]["order"]}
    site = Site(tmp_path, content)
    header = "id,mrn,name,born,product,note,changed,state\n"

    def order(number: int, day: str, state: str = "") -> str:
        return f"O{number},M-100200,Ann Example,1961-07-04,P1,,2026-02-{day}T10:00:00Z,{state}\n"

    counted = "SELECT (SELECT count(*) FROM current.therapy_order), (SELECT count(*) FROM current.patient)"
    site.send("orders_1.csv", header + order(1, "01") + order(2, "01"))
    site.run("order")
    assert site.rows(counted) == [(2, 1)]
    site.send("orders_2.csv", header + order(1, "02", "gone"), 1)
    site.run("order")
    assert site.rows(counted) == [(1, 1)]
    site.send("orders_3.csv", header + order(2, "03", "gone"), 2)
    site.run("order")
    assert site.rows(counted) == [(0, 0)]
