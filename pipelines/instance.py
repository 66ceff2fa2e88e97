"""Dagster's instance of a home: `dagster.yaml` as the repository has it, and what the settings move elsewhere.

Belongs here: what Dagster is told of storage, pools, launcher and monitoring. Does not belong here: running
(`runner.py`), the queue and its workers (`workers.py`).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from warehouse.alone import POSTGRES
from warehouse.settings import ROOT, Settings

TEMPLATE = ROOT / "dagster.yaml"
# With PostgreSQL as the lake's catalog writers do not wait for one another; this is Dagster's own upper bound.
OPEN_POOL = 1000
# A run may wait this long in the queue before it counts as lost: a night's backlog.
QUEUED_SECONDS = 12 * 3600
LOST_WORKER_RETRIES = 2


def dagster_home(chosen: Settings) -> Path:
    """Folder of Dagster's instance inside the home, with `dagster.yaml` in it; sets DAGSTER_HOME."""
    folder = chosen.home_path / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    moved = moved_config(chosen)
    if moved:
        told = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
        text = yaml.safe_dump(_merged(told, moved), sort_keys=False)
        part = folder / f"dagster.yaml.{os.getpid()}.part"
        part.write_text(text, encoding="utf-8")
        part.chmod(0o600)  # an address may hold a password, though PGPASSWORD is the better place
        part.replace(folder / "dagster.yaml")
    else:
        shutil.copyfile(TEMPLATE, folder / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(folder)
    return folder


def moved_config(chosen: Settings) -> dict[str, Any]:
    """What the settings change in `dagster.yaml`, key by key; None takes a key out. Empty on one machine."""
    moved: dict[str, Any] = {}
    if chosen.dagster_storage:
        # Dagster's queries are psycopg2's, which SQLAlchemy no longer takes where an address names no driver.
        address = chosen.dagster_storage.replace("postgresql://", "postgresql+psycopg2://", 1)
        moved |= {"event_log_storage": None, "storage": {"postgres": {"postgres_url": address}}}
    if chosen.catalog.startswith(POSTGRES):
        moved["concurrency"] = {"pools": {"default_limit": OPEN_POOL}}
    if chosen.queue:
        moved["run_launcher"] = {"module": "pipelines.workers", "class": "QueueLauncher"}
        moved["run_monitoring"] = {"start_timeout_seconds": QUEUED_SECONDS}
        # A run whose worker was lost is run again; one whose step failed is not: its steps have tried by themselves.
        moved["run_retries"] = {"max_retries": LOST_WORKER_RETRIES, "retry_on_asset_or_op_failure": False}
    return moved


def _merged(told: dict[str, Any], moved: dict[str, Any]) -> dict[str, Any]:
    merged = dict(told)
    for key, value in moved.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merged(merged[key], value)
        else:
            merged[key] = value
    return merged
