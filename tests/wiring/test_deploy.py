"""`deploy/` can be read, its settings exist, its commands exist, and its one setting moves everything."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import DagsterInstance
from typer.main import get_command

from pipelines.cli import app
from pipelines.instance import OPEN_POOL, dagster_home
from pipelines.workers import HUB, SITES, queue_of
from warehouse.settings import ROOT, Settings, SettingsError, read_file, settings

DEPLOY = ROOT / "deploy"
KNOWN = {f.metadata["variable"] for f in fields(Settings)}
TEXTS = [p for p in sorted(DEPLOY.rglob("*")) if p.is_file()]
COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8")))


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(DEPLOY)))
def test_every_setting_named_is_one(path: Path) -> None:
    assert set(re.findall(r"CELLFLEET_[A-Z0-9_]+", path.read_text("utf-8"))) <= KNOWN


@pytest.mark.parametrize("path", [p for p in TEXTS if p.suffix == ".yaml"], ids=lambda p: p.name)
def test_yaml_is_read(path: Path) -> None:
    assert [d for d in yaml.safe_load_all(path.read_text("utf-8")) if d]


def test_services_run_commands_that_exist() -> None:
    ours = [s for s in compose()["services"].values() if s["image"] == "cellfleet" and "entrypoint" not in s]
    assert len(ours) == 3
    assert {s["command"][0] for s in ours} <= set(COMMANDS)
    told = " ".join(p.read_text("utf-8") for p in TEXTS)
    named = set(re.findall(r"`(?:[^`]*\()?cellfleet ([a-z-]+)", told))
    assert named
    assert named <= set(COMMANDS)


def test_services_depend_on_services_and_volumes_that_exist() -> None:
    told = compose()
    for name, service in told["services"].items():
        assert set(service.get("depends_on", ())) <= set(told["services"]), name
        mounted = {v.split(":")[0] for v in service.get("volumes", ())}
        assert {v for v in mounted if re.fullmatch(r"[a-z]+", v)} <= set(told["volumes"]), name
    for path in re.findall(r"^\s*(?:COPY) (.+) \S+$", (DEPLOY / "Containerfile").read_text("utf-8"), re.M):
        assert all((ROOT / word).exists() for word in path.split()), path


def test_nothing_published_to_other_machines_is_without_a_sign_in() -> None:
    for name, service in compose()["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name


def test_one_setting_moves_all_four(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CELLFLEET_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))  # set by what is tried; put back afterwards
    monkeypatch.delenv("CELLFLEET_REAL_FILES", raising=False)
    assert settings() == Settings(home=str(tmp_path))
    monkeypatch.setenv("CELLFLEET_SETTINGS", str(DEPLOY / "hub.env"))
    chosen = settings()
    assert chosen.catalog.startswith("postgres:")
    assert chosen.lake_data.startswith("s3://")
    assert chosen.dagster_storage.startswith("postgresql://")
    assert chosen.queue.startswith("redis://")
    told = yaml.safe_load((dagster_home(chosen) / "dagster.yaml").read_text("utf-8"))
    assert "event_log_storage" not in told
    assert told["storage"]["postgres"]["postgres_url"].startswith("postgresql+psycopg2://")
    assert told["concurrency"]["pools"]["default_limit"] == OPEN_POOL
    assert told["run_launcher"]["class"] == "QueueLauncher"
    assert told["retention"]


def test_on_one_machine_dagster_yaml_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    folder = dagster_home(Settings(home=str(tmp_path)))
    assert (folder / "dagster.yaml").read_bytes() == (ROOT / "dagster.yaml").read_bytes()


def test_dagster_takes_the_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("CELLFLEET_QUEUE", "redis://127.0.0.1:1/0")
    dagster_home(Settings(home=str(tmp_path), queue="redis://127.0.0.1:1/0"))
    with DagsterInstance.get() as instance:
        assert type(instance.run_launcher).__name__ == "QueueLauncher"
        assert instance.run_launcher.supports_check_run_worker_health
        assert instance.run_retries_enabled


def test_runs_go_where_their_files_and_keys_are() -> None:
    chosen = Settings(edges="a, b")
    assert queue_of({"site": "a"}, chosen) == "a"
    assert queue_of({"site": "c"}, chosen) == SITES
    assert queue_of({"dagster/partition": "2026-01-01"}, chosen) == HUB


@pytest.mark.parametrize(
    "line", ["CELLFLEET_QEUE=redis://x", "PGPASSWORD=secret", "CELLFLEET_SETTINGS=other.env", "x"]
)
def test_a_file_that_says_anything_else_is_refused_with_its_line(line: str, tmp_path: Path) -> None:
    path = tmp_path / "hub.env"
    path.write_text(f"# a remark\nCELLFLEET_ALPHA=0.05\n{line}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"hub\.env:3: .* is no setting"):
        read_file(path)
