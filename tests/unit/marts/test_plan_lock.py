"""The plan's lock: inserted once, refused where it would hide a change, and said on every verdict."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from tests.unit.marts.test_comparability import FLEET, PLAN, drawn, lots
from warehouse import lake, plan_lock
from warehouse.marts import comparability
from warehouse.marts.build import build
from warehouse.plan import Fleet
from warehouse.settings import Settings


def changed(version: str = "3", **values: Any) -> Fleet:
    told = yaml.safe_load(yaml.safe_dump(PLAN))
    told["plan"]["version"] = version
    told["plan"]["attributes"]["vcn"] |= values
    return Fleet.model_validate(told)


def verdict(small_lake: Any, fleet: Fleet = FLEET, site: str = "b") -> dict[str, Any]:
    """The verdict over marts that were built before."""
    read = comparability.read_lots(small_lake.con, "snap", fleet, alpha=0.05, power=0.8)
    return comparability.verdict(read, "vcn", site)


def test_a_verdict_says_under_which_lock_it_was_made(small_lake: Any) -> None:
    lots(small_lake, "a", drawn(1, 6))
    lots(small_lake, "b", drawn(2, 6))
    build(small_lake.con, "snap", FLEET, 7)
    row = verdict(small_lake)
    assert row["plan_lock"] == "not locked"
    assert "No plan is locked" in row["sentence"]
    # These results came in on New Year's Day, so a lock made now is too late for them.
    assert plan_lock.lock(small_lake.con, FLEET, by="quality") is not None
    assert verdict(small_lake)["plan_lock"] == "locked after data"
    wider = changed(margin_high=0.5)
    row = verdict(small_lake, wider)
    assert row["plan_lock"] == "changed after lock"
    assert "attributes.vcn.margin_high 0.223144 → 0.5" in row["sentence"]
    plan_lock.unlock(small_lake.con, FLEET, by="quality", reason="margins under review")
    row = verdict(small_lake)
    assert row["plan_lock"] == "unlocked"
    assert "margins under review" in row["sentence"]


def test_a_lock_before_the_first_result_holds_for_that_site_alone(small_lake: Any) -> None:
    lots(small_lake, "a", drawn(1, 6))
    lots(small_lake, "c", drawn(3, 6))
    event = plan_lock.lock(small_lake.con, FLEET, by="quality")
    assert event is not None
    later = (event.recorded_at + timedelta(days=1)).isoformat()
    add = small_lake.add
    small_lake.add = lambda table, *rows: add(table, *(r | {"recorded_at": later} for r in rows))
    lots(small_lake, "b", drawn(2, 6))
    build(small_lake.con, "snap", FLEET, 7)
    told = small_lake.all("SELECT site, plan_lock FROM snap.mart.comparability WHERE attribute = 'vcn'")
    assert {r["site"]: r["plan_lock"] for r in told} == {"b": "locked before data", "c": "locked after data"}


def test_locking_the_same_plan_again_changes_nothing(small_lake: Any) -> None:
    first = plan_lock.lock(small_lake.con, FLEET, by="quality")
    assert plan_lock.lock(small_lake.con, FLEET, by="somebody else") is None
    assert plan_lock.history(small_lake.con) == (first,)
    assert json.loads(first.plan)["reference_site"] == "a"


def test_a_changed_plan_needs_a_new_version_and_a_reason(small_lake: Any) -> None:
    plan_lock.lock(small_lake.con, FLEET, by="quality")
    with pytest.raises(plan_lock.LockError, match=r"Version 2 was locked with other content.*new `version`"):
        plan_lock.lock(small_lake.con, changed("2", margin_high=0.5), by="quality", reason="wider")
    with pytest.raises(plan_lock.LockError, match="--reason"):
        plan_lock.lock(small_lake.con, changed(margin_high=0.5), by="quality")
    event = plan_lock.lock(small_lake.con, changed(margin_high=0.5), by="quality", reason="new assay")
    assert event is not None
    assert (event.plan_version, event.lock_reason) == ("3", "new assay")
    old, new = plan_lock.history(small_lake.con)
    assert plan_lock.differences(old.plan, new.plan) == [
        "attributes.vcn.margin_high 0.223144 → 0.5",
        "version 2 → 3",
    ]
    with pytest.raises(plan_lock.LockError, match="Say who"):
        plan_lock.unlock(small_lake.con, FLEET, by=" ", reason="x")


def test_the_hash_is_of_what_the_plan_says_not_of_how_it_is_written() -> None:
    assert changed("2").plan_hash == FLEET.plan_hash
    assert changed("2", reads_as=None).plan_hash == FLEET.plan_hash
    assert changed("2", margin_high=0.5).plan_hash != FLEET.plan_hash


def test_states_in_order_of_time() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    event = plan_lock.Event("locked", "P", "2", "h", "{}", "quality", None, at)
    assert plan_lock.state((), "h", at) == "not locked"
    assert plan_lock.state((event,), "h", None) == "locked before data"
    assert plan_lock.state((event,), "h", at) == "locked after data"
    assert plan_lock.state((event,), "h", at + timedelta(seconds=1)) == "locked before data"
    assert plan_lock.state((event,), "other", None) == "changed after lock"


def test_an_older_lake_gets_the_table_when_it_is_opened(small_lake: Any, tmp_path: Any) -> None:
    small_lake.con.execute("DROP TABLE lake.quality.plan_lock")
    assert plan_lock.history(small_lake.con) == ()
    with lake.attach(Settings(home=str(tmp_path))) as con:
        assert plan_lock.lock(con, FLEET, by="quality") is not None
