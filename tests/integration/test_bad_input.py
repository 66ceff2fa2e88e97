"""Bad input: kept, set aside with its reason, the rest goes on, and every record is accounted for."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import pytest
import yaml
from small_site import ORDERS, RESULTS, STATES, Site, attributes, result

from pipelines.harmonise.contract import TYPE
from tests.conftest import cellfleet
from warehouse.vault import Vault

GOOD = RESULTS + "".join(result(n) for n in range(1, 5))
CURRENT = "SELECT result_id, value FROM current.assay_result ORDER BY result_id"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def counts(site: Site) -> dict[str, int]:
    return site.run().accounting


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "byte order mark"),
        (gzip.compress(GOOD.encode() * 50), ""),
        (GOOD.encode("utf-16"), ""),
    ],
    ids=["empty", "only a mark", "not text", "another encoding"],
)
def test_a_file_that_cannot_be_read_is_kept_and_the_rest_goes_on(site: Site, bad: bytes, says: str) -> None:
    sent = site.send("results_1.csv", bad)
    site.send("results_2.csv", GOOD, 1)
    outcome = site.run()
    assert outcome.accounting["promoted"] == 4
    assert outcome.accounting["quarantined"] >= 1
    told = site.rows("SELECT coalesce(refusal, '') FROM lake.raw.file WHERE source_file = 'results_1.csv'")
    reasons = site.rows(
        "SELECT value_wanted FROM lake.quality.quarantine WHERE source_file = 'results_1.csv'"
    )
    assert says in told[0][0]
    assert reasons
    kept = list((site.settings.home_path / "vault" / site.name).glob("??/*"))
    assert sent.read_bytes() in [p.read_bytes() for p in kept]


def test_a_file_in_another_encoding_is_set_aside_and_says_how_to_declare_it(site: Site) -> None:
    site.send("results_1.csv", GOOD.encode() + result(9).replace("S9", "Prüfung").encode("latin-1"))
    site.send("results_2.csv", GOOD, 1)
    told = counts(site)
    assert (told["received"], told["promoted"], told["quarantined"]) == (5, 4, 1)
    refusal = site.rows("SELECT refusal FROM lake.raw.file WHERE file_state = 'refused'")
    assert "encoding" in refusal[0][0]
    assert "Prüfung" not in refusal[0][0]


def test_of_a_truncated_file_the_whole_records_go_on(site: Site) -> None:
    site.send("results_1.csv", GOOD[:-40])
    told = counts(site)
    assert (told["received"], told["promoted"], told["quarantined"]) == (4, 3, 1)
    site.send("results_1.csv", GOOD, 1)
    told = counts(site)
    assert told["promoted"] == 4
    assert told["duplicate"] == 3


@pytest.mark.parametrize("name", ["results_1.csv.part", "results_1.csv.tmp", ".results_1.csv"])
def test_a_half_written_file_waits(site: Site, name: str) -> None:
    waiting = site.send(name, GOOD[:60])
    assert counts(site)["received"] == 0
    waiting.unlink()
    site.send("results_1.csv", GOOD)
    assert counts(site)["promoted"] == 4


def test_a_renamed_column_sets_the_file_aside_and_says_which(site: Site) -> None:
    site.send("results_1.csv", GOOD.replace("result,unit", "value,unit"))
    told = counts(site)
    assert (told["received"], told["promoted"], told["quarantined"]) == (4, 0, 4)
    reasons = site.rows("SELECT DISTINCT reason_code, field_name FROM lake.quality.quarantine")
    assert reasons == [("column_missing", "result")]
    assert ("column_added", "value") in site.rows("SELECT reason_code, subject FROM lake.quality.finding")
    site.send("results_2.csv", GOOD, 1)
    assert counts(site)["promoted"] == 4


def test_a_column_named_twice_sets_the_file_aside(site: Site) -> None:
    site.send("results_1.csv", GOOD.replace("unit,at", "result,at"))
    site.send("results_2.csv", GOOD, 1)
    assert counts(site)["promoted"] == 4
    told = site.rows("SELECT refusal FROM lake.raw.file WHERE source_file = 'results_1.csv'")
    assert "Column result stands twice" in told[0][0]


def test_a_code_and_a_number_that_cannot_be_read_set_aside_what_they_touch(site: Site) -> None:
    site.send(
        "results_1.csv",
        GOOD + result(5, "n/a?") + result(6).replace("viab", "viabb") + result(7, unit="furlong"),
    )
    told = counts(site)
    assert told["received"] == 7
    assert told["promoted"] >= 4
    subjects = {s for (s,) in site.rows("SELECT subject FROM lake.quality.quarantine")}
    assert subjects == {"R5", "R6", "R7"}
    assert site.rows(CURRENT)[:4] == [(f"R{n}", 91.5) for n in range(1, 5)]


def test_the_same_file_twice_says_nothing_new(site: Site) -> None:
    site.send("results_1.csv", GOOD)
    counts(site)
    before = site.rows(CURRENT)
    quiet = site.hashes()
    counts(site)
    assert site.hashes() == quiet
    site.send("results_1_again.csv", GOOD, 5)
    told = counts(site)
    assert (told["received"], told["promoted"], told["duplicate"]) == (8, 4, 4)
    assert site.rows(CURRENT) == before


def test_a_file_sent_again_with_one_changed_row_supersedes_that_row(site: Site) -> None:
    site.send("results_1.csv", GOOD)
    counts(site)
    site.send("results_1.csv", GOOD.replace(result(2), result(2, "88.0", changed="2026-02-03T08:00:00Z")), 24)
    told = counts(site)
    assert {s: told[s] for s in STATES} == {"promoted": 4, "superseded": 1, "duplicate": 3, "quarantined": 0}
    assert site.rows(CURRENT)[1] == ("R2", 88.0)
    history = site.rows(
        "SELECT value, supersedes IS NOT NULL, reason FROM lake.core.assay_result WHERE result_id = 'R2' ORDER BY value"
    )
    assert history == [(88.0, True, "newer version from the source"), (91.5, False, None)]


def test_a_row_changed_under_the_same_stamp_is_found(site: Site) -> None:
    site.send("results_1.csv", GOOD)
    counts(site)
    site.send("results_1.csv", GOOD.replace(result(2), result(2, "88.0")), 24)
    told = counts(site)
    assert told["superseded"] == 1
    assert site.rows("SELECT reason_code, subject FROM lake.quality.finding") == [
        ("changed_without_notice", "R2")
    ]


def test_the_order_of_arrival_does_not_matter(tmp_path: Path) -> None:
    """Three versions in every order, one run each: the newest stamp is in force, however late the others come."""
    files = [
        (f"results_{n}.csv", RESULTS + result(1, f"{90 + n}.0", changed=f"2026-02-0{n}T08:00:00Z"), n * 24.0)
        for n in (1, 2, 3)
    ]
    ended = []
    for number, order in enumerate(itertools.permutations(files)):
        site = Site(tmp_path / str(number))
        for name, text, hours in order:
            site.send(name, text, hours)
            told = counts(site)
        ended.append((site.rows(CURRENT), told))
    assert ended[0][0] == [("R1", 93.0)]
    assert all(e == ended[0] for e in ended)


PLANTED = ("MRN-4471123", "Friedhelmine Quastenflosser", "17.08.1951", "Quastenflosser")


def test_direct_identifiers_never_leave_the_edge(tmp_path: Path) -> None:
    """Names, record numbers and birth dates: in no byte of lake, catalogue, snapshot or Dagster's storage.

    A second site with a refused contract shows in the same run that it is one failing asset, and the others run.
    """
    content = attributes(dates="%d.%m.%Y")
    site = Site(tmp_path, content)
    mrn, name, born, surname = PLANTED
    rows = f"O1,{mrn},{name},{born},CAR-1,call Mrs {surname} at noon,2026-02-01T10:00:00Z\n"
    # One of the same person's records is set aside, one is a torn row: reasons must not quote them.
    rows += f"O2,{mrn},{name},{born},CAR-1,none,not a time\n,{mrn},{name},{born},CAR-1,none,2026-02-01T10:00:00Z\n"
    rows += f"O4,{mrn},{name},{born}\n"
    site.send("orders_1.csv", ORDERS + rows)
    site.send("results_1.csv", GOOD)
    wrong = tmp_path / "sites" / "wrong" / "defs.yaml"
    wrong.parent.mkdir()
    refused = attributes("wrong")
    refused["units"]["%"] = "furlong"
    wrong.write_text(yaml.safe_dump({"type": TYPE, "attributes": refused}), "utf-8")
    home = site.settings.home_path
    home.mkdir()
    done = cellfleet(home, "run", check=False, **site.environment)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "contract wrong" in done.stderr
    assert "1 of" in done.stderr
    assert "furlong" in done.stdout
    assert site.rows("SELECT count(*) FROM current.assay_result") == [(4,)]
    assert len(site.rows("SELECT * FROM current.therapy_order")) >= 1
    assert ("identifier_in_free_text",) in site.rows("SELECT reason_code FROM lake.quality.finding")
    assert Vault(home / "vault" / site.name).verify() == []
    looked = [
        p
        for part in ("lake", "published", "dagster", "logs")
        for p in (home / part).rglob("*")
        if p.is_file()
    ]
    assert len([p for p in looked if p.suffix == ".parquet"]) > 5
    held = {}
    for path in looked:
        data = path.read_bytes()
        texts = [w for w in PLANTED if w.encode() in data]
        if texts:
            held[path] = texts
    assert held == {}
    told = done.stdout + done.stderr
    assert [w for w in PLANTED if w in told] == []
    # Bytes of Parquet and DuckDB may be compressed: every text value is looked at, too.
    values = str([site.rows(f"FROM lake.{t}") for t in TEXT_TABLES])
    assert [w for w in PLANTED if w in values] == []


TEXT_TABLES = (
    "raw.file",
    "raw.record",
    "raw.cursor",
    "quality.quarantine",
    "quality.finding",
    "core.therapy_order",
    "core.patient",
)
