"""A mended contract: what waited is promoted, what was read is read anew, history and sums are kept, twice is once."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_site import RESULTS, STATES, Site, result

from pipelines.harmonise.contract import TYPE
from pipelines.ingest.reprocess import Reread, reread

BEGIN = date(2026, 1, 1)
CURRENT = "SELECT result_id, round(value, 6), reason FROM current.assay_result ORDER BY result_id"
OPEN = "SELECT subject, reason_code FROM current.quarantine ORDER BY ALL"


def mend(site: Site, change: Any) -> None:
    """Change the contract as its author would, in the file."""
    content = yaml.safe_load(site.contract_file.read_text("utf-8"))["attributes"]
    change(content)
    site.contract_file.write_text(
        yaml.safe_dump({"type": TYPE, "attributes": content}, sort_keys=False), "utf-8"
    )


def again(site: Site, **how: Any) -> Reread:
    """Read the feed of results again; what is applied must add up."""
    site.runs += 1
    told = reread(site.settings, site.contract, "assay", f"run-{site.runs}", **how)
    if told.applied:
        assert told.accounting["received"] == sum(told.accounting[s] for s in STATES)
    return told


def columns(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = content["feeds"]["assay"]["tables"][0]["columns"]
    return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_replay_promotes_what_a_new_code_makes_readable_and_leaves_the_rest_waiting(site: Site) -> None:
    rows = [result(1), result(2).replace("viab", "viability"), result(3).replace("viab", "colour")]
    site.send("results_1.csv", RESULTS + "".join(rows))
    before = site.run().accounting
    assert (before["promoted"], before["quarantined"]) == (1, 2)
    assert len(site.rows(OPEN)) == 2
    assert again(site, only_open=True, apply=True).applied is False
    mend(site, lambda c: c["codes"]["attribute"].update(viability="viability_trypan_blue_pct"))
    frozen = site.hashes()
    dry = again(site, only_open=True)
    assert dry.rows == {"assay_result": {"added": 1, "changed": 0, "gone": 0}}
    assert site.hashes() == frozen
    told = again(site, only_open=True, apply=True)
    assert (told.rows, told.closed) == (dry.rows, {"promoted": 1})
    assert (told.accounting["promoted"], told.accounting["quarantined"]) == (2, 1)
    reason = f"contract v{site.contract.version_hash}"
    assert site.rows(CURRENT) == [("R1", 91.5, None), ("R2", 91.5, reason)]
    assert site.rows(OPEN) == [("R3", "code_unknown")]
    kept = site.hashes()
    assert again(site, only_open=True, apply=True).applied is False
    assert site.hashes() == kept


def test_reprocess_supersedes_with_the_contract_as_reason_and_keeps_what_was_known(site: Site) -> None:
    site.send("results_1.csv", RESULTS + result(1) + result(2, "80"))
    site.send("results_2.csv", RESULTS + result(2, "82", changed="2026-02-03T10:00:00Z"), 30)
    site.run()
    known = site.rows("SELECT max(recorded_at) FROM lake.core.assay_result")[0][0]

    def other_method(content: dict[str, Any]) -> None:
        content["codes"]["attribute"]["viab"] = "viability_flow_pct"

    mend(site, other_method)
    dry = again(site, since=BEGIN)
    assert dry.rows == {"assay_result": {"added": 0, "changed": 3, "gone": 0}}
    assert dry.opened == dry.closed == {}
    told = again(site, since=BEGIN, apply=True)
    assert told.applied
    assert (told.accounting["promoted"], told.accounting["superseded"]) == (2, 1)
    words = "SELECT result_id, attribute, value FROM {} ORDER BY ALL"
    now = [("R1", "viability_flow_pct", 91.5), ("R2", "viability_flow_pct", 82.0)]
    assert site.rows(words.format("current.assay_result")) == now
    from warehouse import lake
    from warehouse.dictionary import dictionary

    then = lake.as_of_sql(dictionary().tables["assay_result"], known)
    was = [("R1", "viability_trypan_blue_pct", 91.5), ("R2", "viability_trypan_blue_pct", 82.0)]
    assert site.rows(words.format(f"({then})")) == was
    assert site.rows("SELECT count(*), count(DISTINCT record_id) FROM lake.core.assay_result") == [(6, 3)]
    assert again(site, since=BEGIN, apply=True).applied is False


def test_a_record_that_the_contract_no_longer_reads_is_taken_back_and_waits(site: Site) -> None:
    site.send("results_1.csv", RESULTS + result(1) + result(2, unit="1", value="0.91"))
    assert site.run().accounting["promoted"] in (1, 2)
    mend(site, lambda c: c["units"].pop("1"))
    again(site, since=BEGIN, apply=True)
    assert [r[0] for r in site.rows(CURRENT)] == ["R1"]
    assert site.rows(OPEN) == [("R2", "unit_not_declared")]
    mend(site, lambda c: c["units"].update({"1": "1"}))
    again(site, since=BEGIN, apply=True)
    assert again(site, since=BEGIN, apply=True).applied is False


def test_the_same_record_sent_again_under_other_columns_is_a_duplicate_once_reprocessed(site: Site) -> None:
    site.send("results_1.csv", RESULTS + result(1) + result(2))
    site.run()

    def one_column_more(content: dict[str, Any]) -> None:
        columns(content)["batch_id"] = "sample"
        content["feeds"]["assay"]["tables"][0]["columns"]["analyst_role"] = "changed"

    mend(site, one_column_more)
    told = again(site, since=BEGIN, apply=True)
    assert told.rows["assay_result"]["changed"] == 2
    site.send("results_2.csv", RESULTS + result(1) + result(2), 5)
    counts = site.run().accounting
    assert (counts["promoted"], counts["superseded"], counts["duplicate"]) == (2, 0, 2)


def test_columns_that_change_the_content_do_not_change_the_identity(site: Site) -> None:
    extra = RESULTS.replace("\n", ",who\n")
    rows = "".join(result(n).replace("\n", ",analyst\n") for n in (1, 2))
    mend(site, lambda c: c["feeds"]["assay"].update(ignore=["who"]))
    site.send("results_1.csv", extra + rows)
    site.run()
    mend(site, lambda c: (c["feeds"]["assay"].update(ignore=[]), columns(c).update(analyst_role="who")))
    told = again(site, since=BEGIN, apply=True)
    assert (told.rows["assay_result"]["changed"], told.identities) == (2, 2)
    site.send("results_2.csv", extra + rows, 5)
    counts = site.run().accounting
    assert (counts["promoted"], counts["superseded"], counts["duplicate"]) == (2, 0, 2)
    assert site.rows("SELECT DISTINCT analyst_role FROM current.assay_result") == [("analyst",)]


def test_a_file_that_could_not_be_read_is_read_once_its_format_is_declared(site: Site) -> None:
    site.send("results_1.csv", (RESULTS + result(1) + result(2).replace("S2", "Prüfung")).encode("latin-1"))
    assert site.run().accounting["quarantined"] == 1
    mend(site, lambda c: c["feeds"]["assay"]["format"].update(encoding="cp1252"))
    told = again(site, only_open=True, apply=True)
    assert (told.accounting["received"], told.accounting["promoted"]) == (2, 2)
    assert site.rows(OPEN) == []
    assert site.rows("SELECT file_state, received FROM current.file") == [("read", 2)]


def test_a_contract_that_can_no_longer_read_a_file_changes_nothing(site: Site) -> None:
    site.send("results_1.csv", (RESULTS + result(1).replace("S1", "Prüfung")).encode())
    site.run()
    mend(site, lambda c: c["feeds"]["assay"]["format"].update(encoding="ascii"))
    frozen = site.hashes()
    with pytest.raises(Exception, match="was read before and cannot be read"):
        again(site, since=BEGIN, apply=True)
    assert site.hashes() == frozen


def test_an_entry_is_closed_when_the_source_sends_a_better_version(site: Site) -> None:
    site.send("results_1.csv", RESULTS + result(1, "lots"))
    site.run()
    assert site.rows(OPEN) == [("R1", "number_format")]
    site.send("results_2.csv", RESULTS + result(1, "91.5", changed="2026-02-02T10:00:00Z"), 24)
    counts = site.run().accounting
    assert (counts["promoted"], counts["quarantined"]) == (1, 1)
    assert site.rows(OPEN) == []
    assert site.rows("SELECT resolution FROM lake.quality.resolution") == [("replaced",)]
