"""What Dagster loads: every asset says who and what it is, wrong contracts load as one failing asset.

Beta and preview warnings are errors here (`filterwarnings` in pyproject.toml).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
import yaml

from pipelines.definitions import build_defs
from pipelines.harmonise.contract import load_contract
from warehouse.dictionary import dictionary
from warehouse.marts.columns import mart_columns
from warehouse.settings import ROOT, Settings

SITES = ROOT / "pipelines" / "defs" / "sites"
CONTRACTS = {path.parent.name: load_contract(path) for path in sorted(SITES.glob("*/defs.yaml"))}
FEEDS = [(site, feed) for site, contract in CONTRACTS.items() for feed in contract.feeds]
LAYERS = {"raw", "core", "quality", "mart", "published", "ledger", "ops"}
BROKEN = sorted(CONTRACTS)[0]


@cache
def demo() -> dg.Definitions:
    """Definitions of the demo's contracts."""
    return build_defs(Settings())


def specs(defs: dg.Definitions) -> dict[tuple[str, ...], dg.AssetSpec]:
    """Asset specs by key."""
    return {tuple(s.key.path): s for s in defs.resolve_all_asset_specs()}


def test_every_feed_of_every_contract_is_a_raw_and_a_core_asset() -> None:
    keys = {key for key in specs(demo()) if len(key) == 3}
    assert keys == {(layer, site, feed) for site, feed in FEEDS for layer in ("raw", "core")}


def test_fleet_assets_are_layer_and_table() -> None:
    others = {key for key in specs(demo()) if len(key) != 3}
    assert {len(key) for key in others} == {2}
    assert {layer for layer, _ in others} <= LAYERS
    assert {("core", "site"), ("quality", "finding"), ("published", "fleet"), ("ledger", "log")} <= others
    assert {name for layer, name in others if layer == "mart"} >= set(mart_columns())


def test_every_asset_says_who_and_what_it_is() -> None:
    told = specs(demo())
    assert len(told) > 2 * len(FEEDS)
    for key, spec in told.items():
        name = "/".join(key)
        assert spec.group_name, f"{name} has no group"
        assert spec.owners, f"{name} has no owner"
        assert spec.kinds, f"{name} has no kind"
        assert spec.description, f"{name} has no description"
        schema = spec.metadata.get("dagster/column_schema")
        assert isinstance(schema, dg.TableSchema), f"{name} has no column schema"
        assert schema.columns, f"{name} has no columns"
        silent = [c.name for c in schema.columns if not c.description]
        assert silent == [], f"{name}: columns without a description"


@pytest.mark.parametrize(("site", "feed"), FEEDS)
def test_a_feed_s_assets_follow_its_contract(site: str, feed: str) -> None:
    contract, told = CONTRACTS[site], specs(demo())
    core, raw = told["core", site, feed], told["raw", site, feed]
    assert core.owners == raw.owners == [contract.owner]
    assert core.group_name == raw.group_name == site
    assert [d.asset_key for d in core.deps] == [raw.key]
    table = contract.feeds[feed].maps[0].table
    schema = core.metadata["dagster/column_schema"]
    assert [c.name for c in schema.columns] == list(dictionary().tables[table].columns)
    policy = core.freshness_policy
    assert policy is not None
    assert ZoneInfo(policy.timezone) == ZoneInfo(contract.time_zone)
    assert policy.deadline_cron == contract.deadline


def test_each_core_asset_is_audited_and_added_up() -> None:
    checks: dict[tuple[str, ...], dict[str, bool]] = {}
    for definition in demo().resolve_asset_graph().asset_check_keys:
        spec = demo().resolve_asset_graph().get_check_spec(definition)
        checks.setdefault(tuple(definition.asset_key.path), {})[definition.name] = spec.blocking
    for site, feed in FEEDS:
        wanted = {f"audit_{m.table}" for m in CONTRACTS[site].feeds[feed].maps} | {"adds_up"}
        found = checks["core", site, feed]
        assert wanted <= set(found)
        assert all(found[name] for name in wanted), f"{site}/{feed}: a check that does not block"
        assert found["nothing_waits"] is False
        assert "files_readable" in checks["raw", site, feed]
    assert checks["quality", "finding"] == {"no_critical": False, "no_error": False, "no_warning": False}


def test_large_feeds_are_partitioned_by_utc_months() -> None:
    for site, feed in FEEDS:
        large = any(dictionary().tables[m.table].volume == "large" for m in CONTRACTS[site].feeds[feed].maps)
        partitions = specs(demo())["core", site, feed].partitions_def
        assert isinstance(partitions, dg.MonthlyPartitionsDefinition) == large
        if isinstance(partitions, dg.MonthlyPartitionsDefinition):
            assert partitions.timezone == "UTC"
            assert partitions.get_first_partition_key() == f"{CONTRACTS[site].starts_on[:7]}-01"


def test_jobs_are_named_by_what_they_bring() -> None:
    names = {job.name for job in demo().resolve_all_job_defs() if not job.name.startswith("__")}
    assert {"fleet"} | {f"{site}_records" for site in CONTRACTS} <= names


@pytest.fixture
def broken_sites(tmp_path: Path) -> Path:
    """The demo's contracts, one of them with a unit that is none."""
    folder = tmp_path / "sites"
    shutil.copytree(SITES, folder)
    path = folder / BROKEN / "defs.yaml"
    document = yaml.safe_load(path.read_text("utf-8"))
    document["attributes"]["units"]["odd"] = "furlong per fortnight"
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return folder


def line_of(path: Path, text: str) -> int:
    """Line (from 1) on which a text stands."""
    return next(n for n, line in enumerate(path.read_text("utf-8").splitlines(), 1) if text in line)


def test_a_broken_contract_is_one_failing_asset_and_the_others_load(broken_sites: Path) -> None:
    defs = build_defs(Settings(sites=str(broken_sites)))
    told = specs(defs)
    assert {key for key in told if key[0] == "contract"} == {("contract", BROKEN)}
    assert not any(key[:2] in (("raw", BROKEN), ("core", BROKEN)) for key in told)
    for site in set(CONTRACTS) - {BROKEN}:
        assert ("core", site, "batch") in told
    path = broken_sites / BROKEN / "defs.yaml"
    sentence = f"{path}:{line_of(path, 'furlong')}: "
    refused = told["contract", BROKEN]
    assert sentence in (refused.description or "")
    asset = defs.resolve_assets_def(refused.key)
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([asset], instance=instance, raise_on_error=False)
    assert not result.success
    (failure,) = [e for e in result.all_events if e.is_step_failure]
    assert failure.step_failure_data.user_failure_data is not None
    assert sentence in str(failure.step_failure_data.user_failure_data.description)


def dagster(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command of Dagster's, as a data engineer runs it, in an environment of its own."""
    with tempfile.TemporaryDirectory() as home:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("CELLFLEET_", "DAGSTER_"))}
        environment |= {"DAGSTER_HOME": home, "CELLFLEET_HOME": home, "PYTHONPATH": str(folder)}
        program = str(Path(sys.executable).parent / command[0])
        return subprocess.run(
            [program, *command[1:]],
            cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=280,
        )  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        ("dg", "check", "toml"),
        ("dg", "check", "defs", "--no-check-yaml"),
        ("dagster", "definitions", "validate", "-m", "pipelines.definitions"),
    ],
)
def test_dagster_s_own_checkers_agree(command: tuple[str, ...]) -> None:
    done = dagster(ROOT, *command)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("site", sorted(CONTRACTS))
def test_dg_checks_each_contract(site: str) -> None:
    """One site a call: of several components of one type `dg check yaml` looks at the last only."""
    done = dagster(ROOT, "dg", "check", "yaml", str(SITES / site))
    assert done.returncode == 0, done.stdout + done.stderr


def test_dg_refuses_a_wrong_key_with_file_and_line(tmp_path: Path) -> None:
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "pipelines" / "defs" / "sites" / BROKEN / "defs.yaml"
    text = path.read_text("utf-8")
    path.write_text(text.replace("  country:", "  cuntry:", 1), encoding="utf-8")
    done = dagster(tmp_path, "dg", "check", "yaml", str(path.parent))
    assert done.returncode == 1
    told = "".join((done.stdout + done.stderr).split())
    assert f"{BROKEN}/defs.yaml:" in told
    assert "cuntry" in told
