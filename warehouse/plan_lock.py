"""The lock of the comparability plan: which plan was fixed by whom and when, and what a verdict may say of it.

Belongs here: rows of `quality.plan_lock` (insert only), what changed from one plan to the next, the words about a
verdict's plan. Does not belong here: the plan itself (`warehouse.plan`), verdicts (`warehouse.marts`).

A plan is locked before a site's results are brought in: its margins then cannot have been chosen after the data.
Neither locking nor unlocking changes a verdict; every verdict says under which lock it was made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import duckdb
import polars as pl

from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.dictionary.render import polars_schema
from warehouse.plan import Fleet

State = Literal["locked before data", "locked after data", "changed after lock", "unlocked", "not locked"]
TABLE = "plan_lock"
# Keys of the plan that are words about it, and how much of a value is shown.
WORDS = ("rationale", "basis", "title", "reads_as", "dated", "version", "approved_by_role")
SHOWN = 60


class LockError(ValueError):
    """The plan cannot be locked or unlocked as asked; the sentence says what to do."""


@dataclass(frozen=True)
class Event:
    """One locking or unlocking. `plan` is the plan with its reference site, as hashed."""

    lock_action: str
    plan_id: str
    plan_version: str
    plan_hash: str
    plan: str
    locked_by: str
    lock_reason: str | None
    recorded_at: datetime


def history(con: duckdb.DuckDBPyConnection, catalog: str = "lake") -> tuple[Event, ...]:
    """Every locking and unlocking, oldest first; none in a lake that has no such table yet."""
    if not lake.columns_of(con, f"{catalog}.quality.{TABLE}"):
        return ()
    rows = con.execute(
        "SELECT lock_action, plan_id, plan_version, plan_hash, plan, locked_by, lock_reason, recorded_at "
        f"FROM {catalog}.quality.{TABLE} ORDER BY recorded_at"
    ).fetchall()
    return tuple(Event(*row) for row in rows)


def lock(con: duckdb.DuckDBPyConnection, fleet: Fleet, *, by: str, reason: str | None = None) -> Event | None:
    """Lock the plan as it stands; None where just this plan is locked already.

    Raises LockError where another plan is locked and no reason for the change is given, or where the changed plan
    has the version of the locked one.
    """
    past = history(con)
    last = past[-1] if past else None
    if last and last.lock_action == "locked" and last.plan_hash == fleet.plan_hash:
        return None
    if last and last.plan_hash != fleet.plan_hash:
        for event in past:
            if event.plan_version == fleet.plan.version and event.plan_hash != fleet.plan_hash:
                raise LockError(
                    f"Version {event.plan_version} was locked with other content "
                    f"({'; '.join(differences(event.plan, fleet.plan_text))}). "
                    "Give the changed plan a new `version` in fleet.yaml."
                )
    if last and not reason:
        raise LockError(
            f"Version {last.plan_version} was {last.lock_action} before. Say why it is locked anew with --reason."
        )
    return _record(con, "locked", fleet, by=by, reason=reason)


def unlock(con: duckdb.DuckDBPyConnection, fleet: Fleet, *, by: str, reason: str) -> Event:
    """Record that the locked plan no longer binds. Raises LockError where none is locked."""
    past = history(con)
    if not past or past[-1].lock_action != "locked":
        raise LockError("No plan is locked, so there is nothing to unlock.")
    return _record(con, "unlocked", fleet, by=by, reason=reason)


def _record(
    con: duckdb.DuckDBPyConnection, action: str, fleet: Fleet, *, by: str, reason: str | None
) -> Event:
    if not by.strip():
        raise LockError("Say who locks the plan with --by, e.g. a role: --by 'head of quality'.")
    table = dictionary().tables[TABLE]
    row = {
        "lock_action": action,
        "plan_id": fleet.plan.id,
        "plan_version": fleet.plan.version,
        "plan_hash": fleet.plan_hash,
        "plan": fleet.plan_text,
        "locked_by": by.strip(),
        "lock_reason": reason,
        "run_id": "command-line",
        "recorded_at": None,
    }
    schema = polars_schema(dictionary(), TABLE)
    con.register("lock_rows", pl.DataFrame([{n: row[n] for n in table.columns}], schema=schema, orient="row"))
    con.execute(
        "CREATE OR REPLACE TEMP TABLE new_lock AS "
        "SELECT * REPLACE (current_timestamp AS recorded_at) FROM lock_rows"
    )
    con.unregister("lock_rows")
    words = f"comparability plan {fleet.plan.id} {fleet.plan.version} {action}"

    def write() -> None:
        lake.insert(con, table, "new_lock")

    lake.commit(con, write, by.strip(), words)
    return history(con)[-1]


def state(past: Sequence[Event], plan_hash: str, first_result_at: datetime | None) -> State:
    """What a verdict under the plan `plan_hash` may say. `first_result_at`: when the site's first result came in."""
    if not past:
        return "not locked"
    last = past[-1]
    if last.lock_action == "unlocked":
        return "unlocked"
    if last.plan_hash != plan_hash:
        return "changed after lock"
    if first_result_at is not None and last.recorded_at >= first_result_at:
        return "locked after data"
    return "locked before data"


def remark(of: State, past: Sequence[Event], plan_text: str) -> str:
    """The sentence that a verdict under this state carries."""
    if of == "locked before data":
        return "The plan was locked before the site's first result came in."
    if of == "not locked":
        return "No plan is locked: the margins could have been chosen after the data."
    last = past[-1]
    if of == "locked after data":
        return f"Plan version {last.plan_version} was locked after the site's first result had come in."
    if of == "unlocked":
        return (
            f"The plan was unlocked ({last.lock_reason}): the margins could have been chosen after the data."
        )
    changed = differences(last.plan, plan_text)
    shown = "; ".join(changed[:3]) + (f"; and {len(changed) - 3} more" if len(changed) > 3 else "")
    return f"The plan is not the locked version {last.plan_version}: {shown}."


def differences(old: str, new: str) -> list[str]:
    """What differs between two plans, one line a value: `attributes.vcn.margin_high 0.22 → 0.3`."""
    before, after = _flat(json.loads(old)), _flat(json.loads(new))
    told = []
    # What a verdict rests on before what is said of it.
    for path in sorted({*before, *after}, key=lambda p: (p.endswith(WORDS), p)):
        a, b = before.get(path), after.get(path)
        if a != b:
            told.append(f"{path.removeprefix('plan.')} {_shown(a)} → {_shown(b)}")
    return told


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, part in value.items() for k, v in _flat(part, f"{path}.{key}").items()}
    return {path.removeprefix("."): value}


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
