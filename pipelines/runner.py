"""Running the fleet: real Dagster runs in this process or on the queue, under a lock that says who holds it.

Great Expectations and Dagster are imported once for all runs. Does not belong here: what a run does (`definitions.py`).
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from pipelines.instance import dagster_home
from pipelines.real_files import link_real_files
from pipelines.validation.engine import warm
from warehouse import lake, logs
from warehouse.settings import Settings
from warehouse.trouble import in_words


class Locked(RuntimeError):  # noqa: N818 - it names a state, and is shown as a sentence
    """Another run is under way."""


# Runs of this command, so that a later one can tell which of them were killed.
MARK = {"cellfleet/launched_by": "cellfleet run"}
READINGS = "_readings"
FLEET_JOBS = ("fleet", "ledger_nightly", "maintenance", "compaction")
# Every event is in Dagster's own log; the terminal shows progress and what failed.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Ran:
    """One Dagster run."""

    job: str
    run_id: str
    success: bool
    problem: str = ""


@contextmanager
def locked(chosen: Settings, what: str, *, lock: str = "run") -> Iterator[None]:
    """Hold one of the home's locks; it is freed by the system also when the process is killed.

    `run` is held by what writes answers, `upkeep` by backup and maintenance, of which one at a time works beside runs.
    Raises Locked with the holder.
    """
    home = chosen.home_path
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"{lock}.lock").open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            holder = handle.read() or "another process"
            raise Locked(f"{holder} is running in {home}. Wait for it, or stop that process.") from error
        handle.seek(0)
        handle.truncate()
        handle.write(f"`cellfleet {what}` (process {os.getpid()})")
        handle.flush()
        yield


def run(
    chosen: Settings,
    sites: list[str] | None,
    progress: Callable[[str], None],
    before_fleet: Callable[[], None] | None = None,
) -> list[Ran]:
    """Run every site's jobs, then the fleet's. One site's failure stops no other's.

    `sites` limits to some; None runs all. `before_fleet` is called when all sites' records are in. Raises LakeError
    where the lake cannot be used, before anything starts.
    """
    dagster_home(chosen)
    with lake.opened(chosen):
        pass
    link_real_files(chosen)
    import dagster as dg

    from pipelines.definitions import build_defs

    defs = build_defs(chosen)
    done: list[Ran] = []
    with dg.DagsterInstance.get() as instance:
        if not chosen.queue:
            _end_dead_runs(instance)
        names = sorted(job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__"))
        broken = [k for k in defs.resolve_all_asset_keys() if k.path[0] == "contract"]
        for key in broken:
            done.append(
                _execute(chosen, defs, instance, f"contract {key.path[1]}", asset=key, progress=progress)
            )
        # The job `ledger_nightly` is the night's; the fleet's own ends with the same asset.
        wanted = [n for n in names if n not in FLEET_JOBS and (sites is None or n.rsplit("_", 1)[0] in sites)]
        wanted.sort(key=lambda n: (not n.endswith(READINGS), n))
        execute = _queued if chosen.queue else _executed
        done += execute(chosen, defs, instance, wanted, progress)
        if before_fleet is not None:
            before_fleet()
        done += execute(chosen, defs, instance, ["fleet"], progress)
    # Definitions hold each other in circles: a process that runs night after night would keep many nights' of them.
    del defs
    gc.collect()
    return done


def _executed(
    chosen: Settings, defs: Any, instance: Any, jobs: list[str], progress: Callable[[str], None]
) -> list[Ran]:
    """Jobs one after another, in this process."""
    # Readings are brought in first and take little Python: meanwhile the library of the audits is imported.
    threading.Thread(target=_warm, name="import of the audits", daemon=True).start()
    return [_execute(chosen, defs, instance, name, progress=progress) for name in jobs]


@cache
def _warm() -> None:
    warm()
    # What was imported stays for good: without it each full collection walks through a million objects again. Once in a
    # process: frozen again, what a run left behind would stay for good too.
    gc.freeze()


def _queued(
    chosen: Settings, defs: Any, instance: Any, jobs: list[str], progress: Callable[[str], None]
) -> list[Ran]:
    """Jobs side by side, by the workers of the queue."""
    from dagster import DagsterEventType

    from pipelines.workers import ended, launch

    def launched(name: str) -> Any:
        return launch(instance, defs, name, MARK | _whole_range(defs.resolve_job_def(name)), QUIET)

    log, done = logs.logger(chosen), []
    runs = [launched(name) for name in jobs]
    for run in ended(instance, runs, lambda lost: launched(lost.job_name)):
        failures = instance.all_logs(run.run_id, of_type=DagsterEventType.STEP_FAILURE)
        problem = "; ".join(_told(e.dagster_event) for e in failures) or (
            "" if run.is_success else "run lost"
        )
        log.info("run ended", run_id=run.run_id, job=run.job_name, success=run.is_success)
        done.append(_said(Ran(run.job_name, run.run_id, run.is_success, problem), progress))
    return done


def _execute(
    chosen: Settings,
    defs: Any,
    instance: Any,
    name: str,
    *,
    progress: Callable[[str], None],
    asset: Any = None,
) -> Ran:
    import dagster as dg

    tags, run_id, started = dict(MARK), str(uuid.uuid4()), time.perf_counter()
    log = logs.logger(chosen)
    if asset is not None:
        result = dg.materialize(
            [defs.resolve_assets_def(asset)], instance=instance, raise_on_error=False, tags=tags
        )
    else:
        job = defs.resolve_job_def(name)
        tags |= _whole_range(job)
        with logs.bound_contextvars(run_id=run_id), _terminable():
            log.info("run started", job=name)
            result = job.execute_in_process(
                instance=instance, raise_on_error=False, tags=tags, run_config=QUIET, run_id=run_id
            )
    problem = "; ".join(_told(e) for e in result.all_events if e.is_step_failure)
    ran = Ran(name, result.run_id, result.success, problem)
    seconds = round(time.perf_counter() - started, 2)
    log.info("run ended", run_id=ran.run_id, job=name, success=ran.success, seconds=seconds)
    _said(ran, progress)
    if any(e.event_type is dg.DagsterEventType.RUN_CANCELED for e in result.all_events):
        # Dagster ends the run that is under way; whoever stops the command means all of them.
        raise KeyboardInterrupt
    return ran


@contextmanager
def _terminable() -> Iterator[None]:
    """Leave what SIGTERM does as it was: after a run Dagster gives it what SIGINT does, in the background nothing."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


def _said(ran: Ran, progress: Callable[[str], None]) -> Ran:
    progress(f"{ran.job}: {'done' if ran.success else f'FAILED (run {ran.run_id[:8]}): {ran.problem}'}")
    return ran


def _whole_range(job: Any) -> dict[str, str]:
    """Tags of a run over every partition of a job; none of a job without partitions."""
    from pipelines.ingest.arrivals import RANGE

    months = job.partitions_def
    if months is None:
        return {}
    ends = months.get_first_partition_key(), months.get_last_partition_key()
    return dict(zip(RANGE, ends, strict=True))


def _end_dead_runs(instance: Any) -> None:
    """End runs of this command whose process was killed: they would hold their pool's slot for ever.

    The caller holds the home's lock, so a run with our mark that is still open has no process any more.
    """
    import dagster as dg

    open_states = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]
    for dead in instance.get_runs(dg.RunsFilter(statuses=open_states, tags=MARK)):
        instance.report_run_failed(
            dead, "The process of this run was killed; the next run went on from there."
        )
        instance.event_log_storage.free_concurrency_slots_for_run(dead.run_id)


def _told(event: Any) -> str:
    """Why a step failed, in its own words: the description of a Failure, else the first cause."""
    data = event.step_failure_data
    if data.user_failure_data is not None:
        return str(data.user_failure_data.description)
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return "no reason given"
    said = str(error.message).strip()
    return in_words(said) or said


def status(con: Any) -> list[dict[str, Any]]:
    """Accounting by site and feed, as the newest snapshot or the lake has it."""
    columns = [
        "site_id",
        "feed",
        "received",
        "promoted",
        "superseded",
        "duplicate",
        "quarantined",
        "fields_quarantined",
        "findings",
    ]
    rows = con.execute(
        f"SELECT {', '.join(columns)} FROM quality.accounting ORDER BY site_id, feed"
    ).fetchall()
    return [dict(zip(["site", *columns[1:]], row, strict=True)) for row in rows]


def as_json(value: Any) -> str:
    """JSON as other programs read it."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)
