"""Signals: what rings, as rows with a life, one a cause, each with the data under it.

Belongs here: turning alarms into signals, raising the new ones, and marts `signal` and `signal_evidence`. Does not
belong here: what rings (`signal_alarm.sql`), acts of people (`warehouse.acts`), alerts (`pipelines/alerts.py`).

A signal is raised once and stays open until somebody closes it. While one of its cause is open, further alarms of that
cause are its evidence. Closing covers the alarms known then: a later one raises a new signal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb

from warehouse import acts
from warehouse.marts.rows import store
from warehouse.plan import Fleet

ALARMS = Path(__file__).parent / "signal_alarm.sql"
Alarm = dict[str, Any]


@dataclass
class Signal:
    """One signal: the acts on it, oldest first, and the alarms that are its evidence today."""

    signal_id: str
    kind: str
    site: str
    cause: str
    acts: list[dict[str, Any]] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)

    def last(self, act: str) -> dict[str, Any] | None:
        """The newest act of a kind."""
        return next((a for a in reversed(self.acts) if a["act"] == act), None)

    @property
    def covers_until(self) -> datetime | None:
        """Alarms up to here are covered by the closing; None while open."""
        closed = self.last("closed")
        return None if closed is None else closed["first_at"]

    @property
    def state(self) -> str:
        """raised, acknowledged or closed."""
        for act in ("closed", "acknowledged"):
            if self.last(act):
                return act
        return "raised"


def build(con: duckdb.DuckDBPyConnection, target: str, fleet: Fleet, run_id: str | None) -> None:
    """Create marts `signal` and `signal_evidence` from the chart and trajectory marts of `target`.

    With `run_id` new signals are raised first: their acts are committed to the lake. Without, they are not yet signals.
    """
    signals, new = matched(alarms(con, target, fleet), acts.of(con, "signal_act"))
    if run_id is not None and new:
        acts.add(
            con, "signal_act", [_raised(s) | {"run_id": run_id} for s in new], f"raise {len(new)} signals"
        )
        signals, _ = matched(alarms(con, target, fleet), acts.of(con, "signal_act"))
    store(con, target, "signal", [_row(s) for s in signals])
    store(con, target, "signal_evidence", [_evidence(s, a) for s in signals for a in s.alarms])


def alarms(con: duckdb.DuckDBPyConnection, target: str, fleet: Fleet) -> list[Alarm]:
    """Everything that rings now, by cause and time."""
    con.execute("CREATE OR REPLACE TEMP TABLE ringing (charts VARCHAR)")
    con.execute("INSERT INTO ringing VALUES (?)", [",".join(fleet.charts.rings) if fleet.charts else ""])
    return con.execute(ALARMS.read_text("utf-8").replace("{target}", target)).pl().to_dicts()


def matched(ringing: list[Alarm], told: list[dict[str, Any]]) -> tuple[list[Signal], list[Signal]]:
    """Signals that acts tell of, with their alarms; and signals that the remaining alarms would raise."""
    known: dict[str, Signal] = {}
    for act in told:
        signal = known.setdefault(
            act["signal_id"],
            Signal(act["signal_id"], act["signal_kind"], act["site_id"], act["alarm_cause"]),
        )
        signal.acts.append(act)
    by_cause: dict[str, list[Signal]] = {}
    for signal in known.values():
        by_cause.setdefault(signal.cause, []).append(signal)
    new: list[Signal] = []
    for cause, group in groupby(ringing, key=lambda a: str(a["alarm_cause"])):
        left = list(group)
        for signal in by_cause.get(cause, []):
            until = signal.covers_until
            signal.alarms = [a for a in left if until is None or a["from_at"] <= until]
            left = [] if until is None else [a for a in left if a["from_at"] > until]
        if left:
            first = left[0]
            identity = f"{cause}|{first['from_at'].isoformat()}"
            signal_id = hashlib.sha256(identity.encode()).hexdigest()[:12]
            new.append(Signal(signal_id, first["signal_kind"], first["site_id"], cause, [], left))
    return list(known.values()), new


def _raised(signal: Signal) -> dict[str, Any]:
    return {
        "signal_id": signal.signal_id,
        "act": "raised",
        "site_id": signal.site,
        "signal_kind": signal.kind,
        "alarm_cause": signal.cause,
        "subject": signal.alarms[0]["batch_id"],
        "detail": sentence(signal),
        "severity": signal.alarms[0]["severity"],
        "first_at": signal.alarms[0]["from_at"],
        "acted_by_role": "cellfleet",
    }


def sentence(signal: Signal) -> str:
    """What rang, in one sentence that names no patient."""
    first = signal.alarms[0]
    if signal.kind == "control_chart":
        side = "above" if first["side"] > 0 else "below"
        charts = ", ".join(sorted({a["chart"] for a in signal.alarms}))
        return (
            f"{first['about']} ({first['measured_as']}) at {signal.site} lies {side} its limits since batch "
            f"{first['batch_id']} (chart {charts})."
        )
    if signal.kind == "trajectory":
        names = ", ".join(sorted({a["quantity_name"] for a in signal.alarms}))
        return f"Batch {first['batch_id']} at {signal.site} left the path of the good batches: {names}."
    side = "above" if first["side"] > 0 else "below"
    hours = sum((a["until_at"] - a["from_at"]).total_seconds() for a in signal.alarms) / 3600
    return (
        f"{first['quantity_name']} of batch {first['batch_id']} at {signal.site} was {side} "
        f"{first['limit_value']:g} for {hours:.1f} h, at {first['value']:.4g} first."
    )


def _row(signal: Signal) -> dict[str, Any]:
    raised = signal.last("raised") or signal.acts[0]
    acknowledged, closed, alerted = (signal.last(a) for a in ("acknowledged", "closed", "alerted"))
    now = signal.alarms
    row: dict[str, Any] = {
        **{
            k: raised[k]
            for k in ("signal_id", "signal_kind", "site_id", "alarm_cause", "subject", "severity")
        },
        "state": signal.state,
        "detail": sentence(signal) if now else raised["detail"],
        "first_at": raised["first_at"],
        "last_at": max((a["until_at"] for a in now), default=None),
        "n_alarms": len(now),
        "raised_at": raised["recorded_at"],
        "alerted_at": alerted["recorded_at"] if alerted else None,
    }
    for name, act in (("acknowledged", acknowledged), ("closed", closed)):
        row |= {
            f"{name}_at": act["recorded_at"] if act else None,
            f"{name}_by_role": act["acted_by_role"] if act else None,
            f"{name}_because": act["acted_because"] if act else None,
        }
    return row


def _evidence(signal: Signal, alarm: Alarm) -> dict[str, Any]:
    return {
        "signal_id": signal.signal_id,
        "site_id": signal.site,
        "attribute": alarm["about"] if signal.kind == "control_chart" else None,
        **{
            k: alarm[k]
            for k in ("measured_as", "chart", "quantity_name", "batch_id", "from_at", "until_at", "value")
        },
        **{k: alarm[k] for k in ("limit_value", "side", "record_ids")},
    }


def acted(
    con: duckdb.DuckDBPyConnection,
    signal_id: str,
    act: str,
    *,
    role: str,
    because: str,
    covers_until: datetime | None = None,
) -> dict[str, Any]:
    """A new act of a role on one signal, ready to be added. Raises ValueError where it cannot be done now.

    `covers_until`: the newest alarm that whoever closes the signal could see.
    """
    told = [a for a in acts.of(con, "signal_act") if a["signal_id"].startswith(signal_id)]
    ids = {a["signal_id"] for a in told}
    if len(ids) != 1:
        found = "no signal" if not ids else f"{len(ids)} signals"
        raise ValueError(f"{found} called {signal_id!r}; see `cellfleet signals list`")
    raised = told[0]
    done = {a["act"] for a in told}
    if "closed" in done:
        raise ValueError(f"signal {raised['signal_id']} is closed; a new alarm of its cause raises another")
    if act == "acknowledged" and act in done:
        raise ValueError(
            f"signal {raised['signal_id']} is acknowledged already; close it when its cause is dealt with"
        )
    if not because.strip() or not role.strip():
        raise ValueError("an act needs a role and a reason")
    new = raised | {"act": act, "acted_by_role": role, "acted_because": because}
    if act == "closed" and covers_until is not None:
        new["first_at"] = max(raised["first_at"], covers_until)
    return new


def open_signals(told: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """`raised` acts of signals that nobody closed and no alert has told of."""
    done: dict[str, set[str]] = {}
    for act in told:
        done.setdefault(act["signal_id"], set()).add(act["act"])
    for act in told:
        if act["act"] == "raised" and not done[act["signal_id"]] & {"closed", "alerted"}:
            yield act
