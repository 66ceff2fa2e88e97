"""Runs on many machines: launched onto a Celery queue, taken by whichever worker is free.

A run is one message and is done whole by one worker, whose process stays warm. Which queue: the fleet's own runs go to
`hub`, where the ledger and its key are; a site's runs go to `sites`, which any worker takes, or to the site's own where
the settings name it as an edge. Does not belong here: what a run does, Dagster's other parts (`instance.py`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import redis
from celery import Celery
from dagster import DagsterInstance, DagsterRun
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, ResumeRunContext, WorkerStatus
from dagster._serdes import ConfigurableClassData
from dagster_celery.config import TASK_EXECUTE_JOB_NAME, TASK_RESUME_JOB_NAME
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

from warehouse.settings import ROOT, Settings, settings

HUB, SITES = "hub", "sites"
# A worker takes a run when it is free, never one ahead: a short run would wait behind a long one.
CELERY = {
    "worker_disable_prefetch": True,
    "worker_prefetch_multiplier": 1,
    # KiB: a process that ever held more makes room, after its run, for a new one, which is as warm.
    "worker_max_memory_per_child": 2 << 20,
    "broker_connection_retry_on_startup": True,
    "worker_hijack_root_logger": False,
    "task_ignore_result": False,
}
LOOK_SECONDS, HEALTH_SECONDS, PING_SECONDS, ANSWER_SECONDS = 0.5, 20.0, 10.0, 5.0
# How often a run is launched again whose worker was lost, and the tag that says so.
RELAUNCHES = 2
LOST = "cellfleet/worker_lost"
# What a worker's log need not hold.
TALKATIVE = ("great_expectations", "alembic", "botocore")


class QueueLauncher(CeleryRunLauncher):
    """Launches runs onto the queue of the settings; `dagster.yaml` names it as `run_launcher`."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        address = settings().queue
        super().__init__(
            default_queue=HUB, broker=address, backend=address, config_source=CELERY, inst_data=inst_data
        )
        self._unseen: set[str] = set()

    @classmethod
    def config_type(cls) -> Any:
        """Nothing: the settings say where the queue is."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> QueueLauncher:
        """Made by Dagster from its `dagster.yaml`."""
        del config_value
        return cls(inst_data=inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Put a run onto its queue."""
        # Registered anew with each launch, which Celery would warn of.
        self.celery.tasks.pop(TASK_EXECUTE_JOB_NAME, None)
        super().launch_run(LaunchRunContext(_routed(context.dagster_run), context.workspace))

    def resume_run(self, context: ResumeRunContext) -> None:
        """Put a run that was begun onto its queue again."""
        self.celery.tasks.pop(TASK_RESUME_JOB_NAME, None)
        super().resume_run(context._replace(dagster_run=_routed(context.dagster_run)))

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """As Celery knows it; a run has failed whose worker does not answer, or that no worker and no queue has."""
        told, task = super().check_run_worker_health(run), run.tags["dagster-celery/task_id"]
        if told.status is WorkerStatus.UNKNOWN:
            # Between queue and worker nobody has it for a moment: only the second look in a row counts.
            nobody, before = self._nobody_has(run, task), task in self._unseen
            (self._unseen.add if nobody else self._unseen.discard)(task)
            if nobody and before:
                return CheckRunHealthResult(WorkerStatus.FAILED, "The worker that took it was lost.")
        if told.status is not WorkerStatus.RUNNING:
            return told
        result = self.celery.AsyncResult(task)
        worker = result.info.get("hostname") if isinstance(result.info, dict) else None
        if worker is None:
            return told
        answer = self.celery.control.ping(destination=[worker], timeout=PING_SECONDS, limit=1)
        if answer or result.state != "STARTED":
            return told
        return CheckRunHealthResult(WorkerStatus.FAILED, f"Worker {worker} does not answer.")

    def _nobody_has(self, run: DagsterRun, task: str) -> bool:
        """Whether a task neither waits in its queue nor is known to any worker that answers."""
        chosen = settings()
        with redis.Redis.from_url(chosen.queue) as server:
            waiting = server.lrange(queue_of(run.tags, chosen), 0, -1)
        if any(task.encode() in message for message in waiting):
            return False
        known = self.celery.control.inspect(timeout=ANSWER_SECONDS).query_task(task) or {}
        return not any(known.values())


def _routed(run: DagsterRun) -> DagsterRun:
    return run.with_tags({**run.tags, DAGSTER_CELERY_QUEUE_TAG: queue_of(run.tags, settings())})


def queue_of(tags: Mapping[str, str], chosen: Settings) -> str:
    """The queue of a run, from its tags: its site's where that is an edge, `sites`, or `hub` for the fleet's runs."""
    site = tags.get("site")
    if site is None:
        return HUB
    return site if site in chosen.edge_sites else SITES


def celery_app() -> Celery:
    """The application that workers run: both of Dagster's tasks, on the queue of the settings."""
    app = QueueLauncher().celery
    create_execute_job_task(app)
    create_resume_job_task(app)
    return app


def work(queues: list[str], name: str, processes: int) -> None:
    """Take runs from the queues until SIGTERM, which lets a run under way end."""
    # Imported before the processes part, so that each is warm and they share the memory.
    import pipelines.definitions  # noqa: F401 - for what it brings into memory

    for talkative in TALKATIVE:
        logging.getLogger(talkative).setLevel(logging.WARNING)
    celery_app().worker_main(
        [
            "worker", "--pool", "prefork", "--concurrency", str(processes), "--queues", ",".join(queues),
            "--hostname", f"{name}@%h", "--loglevel", "INFO", "--without-gossip", "--without-mingle",
        ]
    )  # fmt: skip


def launch(
    instance: DagsterInstance, defs: Any, job: str, tags: Mapping[str, str], run_config: Mapping[str, Any]
) -> DagsterRun:
    """Create a run of a job of ours and put it onto its queue."""
    repository = ReconstructableRepository.for_module("pipelines.definitions", "defs", str(ROOT))
    definition = defs.resolve_job_def(job)
    run = instance.create_run_for_job(
        definition, run_config=run_config, tags={**definition.tags, **tags},
        job_code_origin=repository.get_reconstructable_job(job).get_python_origin(),
    )  # fmt: skip
    # A workspace is what other launchers start a code server from; a worker has the code.
    nowhere: Any = None
    return instance.launch_run(run.run_id, nowhere)


def ended(
    instance: DagsterInstance, runs: list[DagsterRun], again: Callable[[DagsterRun], DagsterRun]
) -> Iterator[DagsterRun]:
    """Each run when it has ended, in that order; one whose worker was lost is launched `again` first."""
    waiting = {run.run_id: 0 for run in runs}
    looked = time.monotonic()
    while waiting:
        time.sleep(LOOK_SECONDS)
        check = time.monotonic() - looked > HEALTH_SECONDS
        looked = time.monotonic() if check else looked
        for run_id, tries in list(waiting.items()):
            run = instance.get_run_by_id(run_id)
            assert run is not None
            if not run.is_finished and check:
                run = _examined(instance, run)
            if not run.is_finished:
                continue
            del waiting[run_id]
            if run.tags.get(LOST) and tries < RELAUNCHES:
                waiting[again(run).run_id] = tries + 1
            else:
                yield run


def _examined(instance: DagsterInstance, run: DagsterRun) -> DagsterRun:
    """The run, ended where its worker is lost: nobody else would."""
    health = instance.run_launcher.check_run_worker_health(run)
    now = instance.get_run_by_id(run.run_id)
    assert now is not None
    if health.status is not WorkerStatus.FAILED or now.is_finished:
        return now
    instance.add_run_tags(run.run_id, {LOST: "true"})
    instance.report_run_failed(now, f"{health.msg} What it had not committed is done again.")
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    after = instance.get_run_by_id(run.run_id)
    assert after is not None
    return after
