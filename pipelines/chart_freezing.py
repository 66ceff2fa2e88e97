"""Freezing and approving limits of control charts: acts of a role, kept in the lake for ever.

Belongs here: reading the series as the lake stands, adding the acts. Does not belong here: what limits are
(`warehouse/marts/chart_kinds.py`), which role may see what (`dashboards/security`).
"""

from __future__ import annotations

from typing import Any

from warehouse import acts, lake
from warehouse.marts.build import assembled
from warehouse.marts.charts import read_series, to_freeze
from warehouse.plan import Fleet, load_plan
from warehouse.settings import Settings


class NotAllowed(ValueError):  # noqa: N818 - it is an answer, shown as a sentence
    """The act is not this role's, or there is nothing to act on."""


def freeze(
    chosen: Settings,
    *,
    role: str,
    because: str,
    site: str | None = None,
    attribute: str | None = None,
    again: bool = False,
    run_id: str = "command-line",
) -> list[dict[str, Any]]:
    """Freeze limits of every phase whose declared baseline is complete and that has none yet; returns the acts.

    `again` estimates them anew, as a further version beside the old one. Raises NotAllowed or PlanError.
    """
    plan = _charted(chosen)
    with lake.opened(chosen) as con, assembled(con, plan, rolled_up=False) as target:
        series = read_series(con, target, plan)
        told = acts.of(con, "chart_act")
        new = [
            act | {"acted_by_role": role, "acted_because": because, "run_id": run_id}
            for act in to_freeze(series, plan, told, again=again)
            if site in (None, act["site_id"]) and attribute in (None, act["charted"])
        ]
        acts.add(con, "chart_act", new, f"freeze limits of {len(new)} phases")
    return new


def approve(
    chosen: Settings,
    *,
    role: str,
    because: str,
    site: str | None = None,
    attribute: str | None = None,
    run_id: str = "command-line",
) -> list[dict[str, Any]]:
    """Approve every frozen version that waits, in the name of the role that the fleet declares; returns the acts.

    Raises NotAllowed where it is another role.
    """
    plan = _charted(chosen)
    assert plan.charts is not None
    if role != plan.charts.approved_by_role:
        raise NotAllowed(
            f"Limits are approved by the role {plan.charts.approved_by_role!r} (fleet.yaml: charts.approved_by_role), "
            f"not by {role!r}."
        )
    with lake.opened(chosen) as con:
        told = acts.of(con, "chart_act")
        identity = ("site_id", "charted", "measured_as", "phase_key", "limit_version")
        done = {tuple(a[k] for k in identity) for a in told if a["act"] == "approved"}
        new = [
            {k: a[k] for k in (*identity, "inputs_hash")}
            | {"act": "approved", "acted_by_role": role, "acted_because": because, "run_id": run_id}
            for a in told
            if a["act"] == "frozen"
            and tuple(a[k] for k in identity) not in done
            and site in (None, a["site_id"])
            and attribute in (None, a["charted"])
        ]
        acts.add(con, "chart_act", new, f"approve limits of {len(new)} phases")
    return new


def approver(chosen: Settings) -> str:
    """The role that approves limits, as the fleet declares it."""
    charts = _charted(chosen).charts
    assert charts is not None
    return charts.approved_by_role


def _charted(chosen: Settings) -> Fleet:
    plan = load_plan(chosen.sites_path / "fleet.yaml")
    if plan.charts is None:
        raise NotAllowed(
            f"{chosen.sites_path / 'fleet.yaml'} declares no `charts`; add the section, see the demo's fleet file."
        )
    return plan
