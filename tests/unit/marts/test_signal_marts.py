"""The life of a signal: raised once a cause, acknowledged, closed, raised anew by what comes later; alerts."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest

from pipelines.alerts import AlertError, alert_definitions, send
from tests.unit.marts.test_chart_marts import CHARTED, VALUES, approve, batches, freeze
from warehouse import acts
from warehouse.marts import charts, signals, trajectories
from warehouse.marts.build import assembled
from warehouse.marts.memory import Memory
from warehouse.settings import Settings


def watched(small: Any, run_id: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Signals and their evidence after what a nightly run does."""
    with assembled(small.con, CHARTED) as target:
        memory = Memory(small.con, None)
        charts.build(small.con, target, CHARTED, memory)
        trajectories.build(small.con, target, CHARTED, memory)
        signals.build(small.con, target, CHARTED, run_id)
        return (
            small.all(f"SELECT * FROM {target}.mart.signal ORDER BY first_at"),
            small.all(f"SELECT * FROM {target}.mart.signal_evidence ORDER BY batch_id, chart"),
        )


def decide(con: Any, act: str, evidence: list[dict[str, Any]]) -> None:
    last = max(e["from_at"] for e in evidence)
    new = signals.acted(
        con, evidence[0]["signal_id"], act, role="quality", because="investigated", covers_until=last
    )
    acts.add(con, "signal_act", [new | {"run_id": "test"}], act)


def test_one_cause_rings_once_and_after_closing_anew(small_lake: Any) -> None:
    con = small_lake.con
    batches(small_lake, [*VALUES[:9], 20.0, 15.0], "P-1")
    freeze(con, role="engineer")
    assert watched(small_lake, "r1") == ([], [])  # nobody approved the limits
    approve(con, "quality")
    (signal,), evidence = watched(small_lake, "r2")
    assert (signal["state"], signal["subject"], signal["site_id"]) == ("raised", "B09", "a")
    assert "below its limits since batch B09" in signal["detail"]
    assert {(e["batch_id"], e["chart"]) for e in evidence} >= {("B09", "I"), ("B10", "I")}
    assert all(e["record_ids"] for e in evidence)
    assert evidence[0]["value"] < evidence[0]["limit_value"]
    decide(con, "acknowledged", evidence)
    batches(small_lake, [18.0], "P-1", first=11)
    (still,), more = watched(small_lake, "r3")
    assert (still["signal_id"], still["state"]) == (signal["signal_id"], "acknowledged")
    assert (still["acknowledged_by_role"], still["acknowledged_because"]) == ("quality", "investigated")
    assert still["n_alarms"] > signal["n_alarms"]
    decide(con, "closed", more)
    batches(small_lake, [90.0, 17.0], "P-1", first=12)
    (first, second), _ = watched(small_lake, "r4")
    assert (first["state"], first["closed_by_role"], second["state"]) == ("closed", "quality", "raised")
    assert second["subject"] == "B13"
    with pytest.raises(ValueError, match="is closed"):
        signals.acted(con, signal["signal_id"], "acknowledged", role="quality", because="late")
    with pytest.raises(ValueError, match="no signal called"):
        signals.acted(con, "zzz", "closed", role="quality", because="none")
    assert len([a for a in acts.of(con, "signal_act") if a["act"] == "raised"]) == 2


@contextmanager
def web(status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A real web server on a free port, and the JSON that it was posted."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", got
        server.shutdown()


@contextmanager
def mail() -> Iterator[tuple[str, list[str]]]:
    """A real SMTP server on a free port, and the mails that it took."""
    got: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 test\r\n")
            for line in self.rfile:
                verb = line[:4].upper()
                if verb == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    body = b"".join(iter(self.rfile.readline, b".\r\n"))
                    got.append(body.decode())
                self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
                if verb == b"QUIT":
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", got
        server.shutdown()


def raise_some(con: Any, *names: str) -> None:
    acts.add(con, "signal_act", [
        {"signal_id": name, "act": "raised", "site_id": name[0], "signal_kind": "control_chart", "alarm_cause": name,
         "subject": "B1", "detail": f"{name} rings.", "severity": "warning",
         "first_at": acts.datetime(2026, 3, 1, tzinfo=acts.UTC), "acted_by_role": "cellfleet", "run_id": "r"}
        for name in names
    ], "raise")  # fmt: skip


def test_alerts_are_grouped_limited_and_told_once(
    small_lake: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    con = small_lake.con
    raise_some(con, "a1", "a2", "b1")
    quiet = Settings(home=str(tmp_path), alerts_per_hour="2")
    assert "No channel" in send(quiet)
    with web() as (url, posted), mail() as (server, mails):
        both = replace(quiet, alert_webhook=url, alert_smtp=server, alert_to="watch@example.org")
        assert send(both) == "Told of 3 signals in one message."
        (message,) = posted
        assert message["subject"] == "cellfleet: 3 new signals at a, b"
        assert {s["signal_id"] for s in message["signals"]} == {"a1", "a2", "b1"}
        (letter,) = mails
        assert "To: watch@example.org" in letter
        assert "a1 rings." in letter
        assert send(both) == "No new signal."
        raise_some(con, "a3")
        # The sensor sends too: what it says is in its tick.
        monkeypatch.setenv("CELLFLEET_HOME", str(tmp_path))
        monkeypatch.setenv("CELLFLEET_ALERT_WEBHOOK", url)
        (sensor,) = alert_definitions().sensors
        tick = sensor.evaluate_tick(dg.build_sensor_context())
        assert tick.skip_message == "Told of 1 signals in one message."
        raise_some(con, "a4")
        assert "which is the limit" in send(both)
        assert len(posted) == 2


def test_an_alert_that_cannot_leave_is_tried_again(small_lake: Any, tmp_path: Any) -> None:
    raise_some(small_lake.con, "a1")
    with web(status=500) as (url, posted):
        with pytest.raises(AlertError, match="did not take the alert"):
            send(Settings(home=str(tmp_path), alert_webhook=url))
        assert len(posted) == 1
    with web() as (url, posted):
        assert "Told of 1" in send(Settings(home=str(tmp_path), alert_webhook=url))
        assert len(posted) == 1
