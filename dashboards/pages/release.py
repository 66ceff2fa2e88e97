"""Release: which batches can be decided, what blocks the others, and what is followed after release.

Belongs here: layout and its callback. Does not belong here: judging a batch (`mart.release_readiness`); deciding is
nobody's here, it stays a person's act in the site's own system.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.aria import aria
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, grid, html_table
from dashboards.components.words import attribute_words, in_words, plain, plural
from dashboards.facts.release import Blocker, Followed, Readiness
from dashboards.providers.release import ReleaseProvider
from dashboards.shell.guard import guarded
from dashboards.shell.visit import Desk, Page, Visit, batch_href, source_href

SITES = {"type": "control", "page": "all", "name": "sites"}
OF = {"type": "control", "page": "release", "name": "of"}
WHICH = {"open": "Not decided", "despite": "Let go despite", "all": "All"}
OPEN_OUTCOMES = ("pending", "failed", "unclear")


def layout(visit: Visit) -> Component:
    """The whole page for one address."""
    provider = ReleaseProvider(visit.snapshot)
    batches = provider.readiness(visit.scope)
    head = html.H1("Which batches can be decided, and what blocks the others?")
    if not batches:
        return html.Div([head, states.empty("These sites have no batch yet.", "Choose other sites above.")])
    blockers, followed = provider.blockers(visit.scope), provider.followed(visit.scope)
    return html.Div(
        [
            head,
            html.P(_answer(batches, followed), className="cf-lede"),
            html.Div(
                [
                    _waiting(visit, batches),
                    _blocking(visit, blockers),
                    _following(visit, followed),
                    _every(visit, batches),
                ],
                className="cf-panels",
            ),
        ]
    )


def _answer(batches: Sequence[Readiness], followed: Sequence[Followed]) -> str:
    waiting = [b for b in batches if b.undecided]
    ready = sum(b.readiness == "ready" for b in waiting)
    overdue = sum(bool(f.overdue) for f in followed)
    failed = sum(f.outcome == "failed" for f in followed)
    return (
        f"{plural(len(waiting), 'batch', 'batches')} not decided: {ready} with nothing on record against it, "
        f"{len(waiting) - ready} blocked. After release: "
        f"{sum(f.outcome == 'pending' for f in followed)} tests pending ({overdue} overdue), {failed} failed. "
        "Evidence for whoever decides, never a decision."
    )


def _names(visit: Visit) -> dict[str, str]:
    return {s.id: s.name for s in visit.snapshot.sites}


def _batch(visit: Visit) -> Column:
    return Column("batch_id", "Batch", link=lambda r: batch_href(visit, r["site"], r["batch_id"]))


def _source(visit: Visit) -> Column:
    return Column(
        "source", "From", link=lambda r: source_href(visit, r["record_id"]) if r["record_id"] else ""
    )


def _told(visit: Visit, facts: Sequence[Readiness | Blocker | Followed]) -> list[dict[str, Any]]:
    """Rows with the site's name and the way to the row that shows them."""
    names = _names(visit)
    return [
        {
            **vars(f),
            "name": names.get(f.site, f.site),
            "source": f"{f.source_file}, row {f.source_row}" if f.source_file else "no single row",
        }
        for f in facts
    ]


def _standing(row: dict[str, Any]) -> Component:
    symbol, kind = {"ready": ("●", "ok"), "blocked": ("✕", "bad")}.get(row["readiness"], ("◆", "muted"))
    word = f"blocked by {row['n_blockers']}" if row["readiness"] == "blocked" else plain(row["readiness"])
    return html.Span([f"{symbol} ", word], className=f"cf-verdict cf-nowrap cf-{kind}")


def _waiting(visit: Visit, batches: Sequence[Readiness]) -> Component:
    waiting = [b for b in batches if b.undecided]
    table = Table(
        "not-decided",
        (
            _batch(visit),
            Column("name", "Site"),
            Column("readiness", "Stands", cell=_standing),
            Column("blockers", "Blocked by", cell=lambda r: plain(in_words(r["blockers"] or ""))),
            Column("tests_done", "Tests done"),
            Column("tests_wanted", "of"),
            Column("spec_version", "Specification", cell=_specification),
            _source(visit),
        ),
        _told(visit, waiting),
    )
    return panel(
        "waiting",
        "Not decided yet",
        "A batch without a blocker has everything on record that the specification and the fleet's rule ask for.",
        html_table(table, "Batches that are not decided yet", long=True)
        if waiting
        else states.empty("Every batch of these sites is decided."),
        csv=visit.csv("release", "readiness"),
        computed=_computed(
            visit,
            "Judged at the newest event that the site has told of, under the version of the specification and of "
            "the fleet's release rule in force then, with what was on record then.",
            "mart.release_readiness",
        ),
        wide=True,
    )


def _specification(row: dict[str, Any]) -> str:
    return f"{row['spec_id']} version {row['spec_version']}" if row["spec_id"] else "none in force"


def _computed(visit: Visit, words: str, table: str) -> str:
    return f"{words} Times are UTC. Table {table}, snapshot {visit.snapshot.number}."


def _which(asked: str) -> str:
    return asked if asked in WHICH else "open"


def _of(blockers: Sequence[Blocker], which: str) -> list[Blocker]:
    if which == "all":
        return list(blockers)
    if which == "despite":
        return [b for b in blockers if b.decision not in (None, "rejected")]
    return [b for b in blockers if b.decision is None]


def _blocking(visit: Visit, blockers: Sequence[Blocker]) -> Component:
    which = _which(visit.get("of"))
    return panel(
        "blocking",
        "What blocks, and the row that shows it",
        "Of batches that were let go: what was on record against them when they were.",
        html.Div(_blockers(visit, blockers, which), id="release-blockers"),
        tools=dmc.SegmentedControl(
            id=OF,
            data=[{"value": key, "label": words} for key, words in WHICH.items()],
            value=which,
            size="sm",
            **aria(label="Batches"),
        ),
        csv=visit.csv("release", "blockers"),
        computed=_computed(
            visit,
            "One row for each thing: a result that is missing, fails, contradicts another or cannot be judged; an "
            "open deviation; a chain of identity or custody in doubt; a lot not acceptable at use; a result changed "
            "without a reason.",
            "mart.release_blocker",
        ),
        wide=True,
    )


def _blockers(visit: Visit, blockers: Sequence[Blocker], which: str) -> Component:
    shown = _of(blockers, which)
    if not shown:
        words = {
            "open": "Nothing blocks an undecided batch.",
            "despite": "No batch was let go despite a blocker.",
        }
        return states.empty(
            words.get(which, "Nothing blocks any batch."), "Choose other batches or other sites."
        )
    return grid(blocker_table(visit, shown), "Blockers", name="blockers")


def blocker_table(visit: Visit, blockers: Sequence[Blocker]) -> Table:
    """Blockers with the way to their batch and row."""
    return Table(
        "blockers",
        (
            _batch(visit),
            Column("name", "Site"),
            Column("what", "What"),
            Column("detail", "On record", width=460),
            Column("since", "Since, UTC"),
            Column("decision", "Decision"),
            _source(visit),
        ),
        [
            {
                **r,
                "what": plain(r["code"]),
                "detail": in_words(r["detail"] or ""),
                "decision": r["decision"] or "none yet",
            }
            for r in _told(visit, blockers)
        ],
    )


def _outcome(row: dict[str, Any]) -> Component:
    symbol, word, kind = (
        ("◆", "overdue", "unsure")
        if row["outcome"] == "pending" and row["overdue"]
        else {
            "pending": ("◔", "pending", "muted"),
            "passed": ("●", "passed", "ok"),
            "failed": ("✕", "failed", "bad"),
        }.get(row["outcome"], ("◆", plain(row["outcome"]), "unsure"))
    )
    return html.Span([f"{symbol} ", word], className=f"cf-verdict cf-nowrap cf-{kind}")


def _following(visit: Visit, followed: Sequence[Followed]) -> Component:
    still = [f for f in followed if f.outcome in OPEN_OUTCOMES]
    done = len(followed) - len(still)
    shown = Table(
        "after-release",
        (
            Column("outcome", "Outcome", cell=_outcome),
            _batch(visit),
            Column("name", "Site"),
            Column("attribute", "Test", cell=lambda r: attribute_words(r["attribute"])),
            Column("signed_at", "Let go, UTC"),
            Column("due_at", "Due, UTC"),
            Column("given_before", "Given before the result"),
            _source(visit),
        ),
        _told(visit, still),
    )
    return panel(
        "following",
        "After release, to the end",
        f"{plural(len(still), 'test')} not passed yet, {done} done.",
        html_table(shown, "Tests after release that have not passed", long=True)
        if still
        else states.empty("No test is open after release."),
        csv=visit.csv("release", "followed"),
        computed=_computed(
            visit,
            "Tests that the fleet's rule lets follow the release (sterility, mycoplasma, replication competence) and "
            "those with a limit after release, due within the rule's days.",
            "mart.release_pending",
        ),
        wide=True,
    )


def followed_table(visit: Visit, followed: Sequence[Followed]) -> Table:
    """Every test after release."""
    keys = (
        "site",
        "batch_id",
        "attribute",
        "signed_at",
        "due_at",
        "result_at",
        "outcome",
        "overdue",
        "given_before",
    )
    return Table(
        "after-release", tuple(Column(k, plain(k)) for k in (*keys, "source")), _told(visit, followed)
    )


def readiness_table(visit: Visit, batches: Sequence[Readiness]) -> Table:
    """Every batch, decided ones as they stood when they were decided."""
    rows = [
        {
            **r,
            "readiness": plain(r["readiness"]),
            "blockers": plain(in_words(r["blockers"] or "")),
            "oos": plain(r["oos_path"]),
            "specification": _specification(r),
            "decision": r["decision"] or ("none" if r["readiness"] == "terminated" else "none yet"),
        }
        for r in _told(visit, batches)
    ]
    return Table(
        "readiness",
        (
            _batch(visit),
            Column("name", "Site"),
            Column("readiness", "Stood", width=110),
            Column("blockers", "Blocked by"),
            Column("decision", "Decision", width=120),
            Column("signed_at", "Decided, UTC"),
            Column("evaluated_at", "Judged at, UTC"),
            Column("specification", "Specification"),
            Column("rule_version", "Rule", width=90),
            Column("oos", "Out-of-specification path"),
            Column("changes", "Changes of results"),
            Column("changes_unexplained", "Without a reason"),
            Column("after_release", "After release"),
            _source(visit),
        ),
        rows,
    )


def _every(visit: Visit, batches: Sequence[Readiness]) -> Component:
    let_go = [b for b in batches if b.decision not in (None, "rejected")]
    despite = sum(b.n_blockers > 0 for b in let_go)
    return panel(
        "every",
        "Every batch as it stood",
        f"{plural(len(let_go), 'batch', 'batches')} let go, {despite} of them with something on record against it.",
        grid(readiness_table(visit, batches), "Every batch as it stood", name="readiness"),
        csv=visit.csv("release", "readiness"),
        computed=_computed(
            visit,
            "A decided batch is judged at its first decision, with what was on record then and under the versions in "
            "force then. Changes of results are those before that moment: the audit-trail review.",
            "mart.release_readiness",
        ),
        wide=True,
    )


def callbacks(app: Dash, desk: Desk) -> None:
    """Other batches redraw the blockers."""

    @app.callback(
        Output("release-blockers", "children"),
        Input(OF, "value"),
        State(SITES, "value"),
        prevent_initial_call=True,
    )
    @guarded
    def redraw(which: str | None, sites: list[str] | None) -> Any:
        visit = desk.visit(f"sites={','.join(sites or [])}")
        return _blockers(visit, ReleaseProvider(visit.snapshot).blockers(visit.scope), _which(which or ""))


PAGE = Page(
    name="release",
    path="/release",
    title="Release",
    layout=layout,
    callbacks=callbacks,
    tables={
        "readiness": lambda v: readiness_table(v, ReleaseProvider(v.snapshot).readiness(v.scope)),
        "blockers": lambda v: blocker_table(v, ReleaseProvider(v.snapshot).blockers(v.scope)),
        "followed": lambda v: followed_table(v, ReleaseProvider(v.snapshot).followed(v.scope)),
    },
    key="r",
)
