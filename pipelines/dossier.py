"""The dossier of a batch, in Markdown and as PDF (typst), and the report on a plan's verdicts.

Belongs here: words and layout. Does not belong here: what is computed (`warehouse/marts`), the pack (`evidence.py`).
The same rows give the same bytes: no clock, no random number, fonts that typst brings along.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import duckdb

SCOPE = (
    "Decision support on copies of the site's records; not the system of record. Disposition stays a person's act. "
    "Not validated until its user validates it."
)
OF_BATCH = "WHERE site_id = $site AND batch_id = $batch"
SECTIONS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "Blockers",
        ("code", "subject", "what", "since"),
        f"SELECT code, subject, detail, since FROM mart.release_blocker {OF_BATCH} ORDER BY code, subject",
    ),
    (
        "Results",
        ("attribute", "point", "result", "unit", "low", "high", "passes", "at"),
        "SELECT attribute, sample_point, coalesce(value_as_given, result_code), unit_as_given, low, high, passes, "
        f"result_at FROM mart.assay_long {OF_BATCH} ORDER BY sample_point, attribute, replicate, result_id",
    ),
    (
        "Pending after release",
        ("attribute", "outcome", "due", "result at", "given before"),
        "SELECT attribute, outcome, due_at, result_at, given_before FROM mart.release_pending "
        f"{OF_BATCH} ORDER BY attribute",
    ),
    (
        "Custody",
        ("at", "what", "giver", "receiver", "place", "Cel", "checked by two", "wrong"),
        "SELECT happened_at, custody_kind, from_party, to_party, place, custody_temperature_c, verified_by_two, "
        "reasons FROM mart.custody_step WHERE order_site_id = $site AND order_id = $order ORDER BY place_in_chain",
    ),
    (
        "Made from and given as",
        ("kind", "from", "to"),
        "SELECT genealogy_kind, parent_id, child_id FROM mart.genealogy WHERE site_id = $site "
        "AND $batch IN (parent_id, child_id) ORDER BY ALL",
    ),
    (
        "Deviations",
        ("id", "class", "cause", "opened", "closed"),
        "SELECT deviation_id, deviation_class, cause, opened_at, closed_at FROM core.deviation "
        f"{OF_BATCH} ORDER BY deviation_id",
    ),
)
VERDICTS = (
    "SELECT attribute, site, verdict, reason, estimate, ci_low, ci_high, margin_low, margin_high, n_site "
    "FROM mart.comparability ORDER BY attribute, site"
)
Row = dict[str, Any]
Part = tuple[str, Sequence[str], list[Sequence[Any]]]


def _rows(con: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, str] | None = None) -> list[Row]:
    cursor = con.execute(sql, {k: v for k, v in (values or {}).items() if f"${k}" in sql})
    names = [d[0] for d in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _word(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def batch_report(
    con: duckdb.DuckDBPyConnection, about: Mapping[str, str], facts: Mapping[str, str]
) -> tuple[str, bytes]:
    """The dossier of one batch of the snapshot open as `con`: Markdown, and the same as PDF."""
    ready = _rows(
        con, "SELECT * FROM mart.release_readiness WHERE site_id = $site AND batch_id = $batch", about
    )[0]
    chain = next(
        iter(
            _rows(con, "SELECT * FROM mart.custody_chain WHERE site_id = $site AND order_id = $order", about)
        ),
        {},
    )
    title = f"Batch {about['batch']} of {about['site']}"
    verdict = {
        "ready": "Ready for a decision: nothing on record blocks it.",
        "terminated": "Terminated.",
    }.get(ready["readiness"], f"Blocked by {ready['n_blockers']}.")
    specification = f"{_word(ready['spec_id'])} version {_word(ready['spec_version'])}"
    said: list[Sequence[Any]] = [
        ("Readiness", verdict),
        ("Judged at", ready["evaluated_at"]),
        ("Specification", specification),
        ("Fleet's release rule", ready["rule_version"]),
        ("Decision on record", ready["decision"]),
        ("Signed", ready["signed_at"]),
        ("Let go despite", ready["let_go_despite"]),
        ("Out-of-specification path", ready["oos_path"]),
        ("After release", ready["after_release"]),
        ("Chain of identity and custody", chain.get("verdict")),
        ("Condition", chain.get("condition")),
        ("Later changes of results", ready["changes"]),
        ("of these without a reason", ready["changes_unexplained"]),
    ]
    parts: list[Part] = [("Facts", ("what", "is"), said)]
    parts += [(heading, names, _values(con, sql, about)) for heading, names, sql in SECTIONS]
    told = f"Snapshot {facts['number']}, known at {facts.get('as_of', '')}, {facts.get('data', '')} data."
    return _markdown(title, told, parts), _pdf(title, told, parts)


def study_report(con: duckdb.DuckDBPyConnection, facts: Mapping[str, str]) -> str:
    """The verdicts of the plan, in Markdown."""
    names = (
        "attribute",
        "site",
        "verdict",
        "reason",
        "estimate",
        "low",
        "high",
        "margin low",
        "margin high",
        "lots",
    )
    parts: list[Part] = [("Verdicts", names, _values(con, VERDICTS))]
    plan = _rows(con, "SELECT DISTINCT plan_id, plan_version FROM mart.plan")[0]
    told = f"Snapshot {facts['number']}, known at {facts.get('as_of', '')}, {facts.get('data', '')} data."
    return _markdown(f"Comparability by plan {plan['plan_id']} version {plan['plan_version']}", told, parts)


def _values(
    con: duckdb.DuckDBPyConnection, sql: str, about: Mapping[str, str] | None = None
) -> list[Sequence[Any]]:
    return [list(row.values()) for row in _rows(con, sql, about)]


def _markdown(title: str, told: str, parts: Iterable[Part]) -> str:
    lines = [f"# {title}", "", told, "", SCOPE, ""]
    for heading, names, rows in parts:
        lines += [f"## {heading}", ""]
        if not rows:
            lines += ["None.", ""]
            continue
        lines += [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
        lines += [f"| {' | '.join(_word(v).replace('|', '/') for v in row)} |" for row in rows]
        lines.append("")
    return "\n".join(lines)


def _pdf(title: str, told: str, parts: Iterable[Part]) -> bytes:
    import typst

    lines = [
        "#set document(title: " + _text(title) + ", date: none)",
        '#set page(paper: "a4", margin: 18mm, numbering: "1 / 1", header: text(8pt)[#' + _text(title) + "])",
        '#set text(font: "Libertinus Serif", size: 9pt)',
        "#show heading: set block(above: 1.2em, below: 0.6em)",
        "= #" + _text(title),
        "#" + _text(told) + "\n",
        "#emph(" + _text(SCOPE) + ")\n",
    ]
    for heading, names, rows in parts:
        lines.append("== #" + _text(heading))
        if not rows:
            lines.append("None.\n")
            continue
        cells = ", ".join(f"strong({_text(n)})" for n in names)
        body = ", ".join(_text(_word(v)) for row in rows for v in row)
        lines.append(
            f"#table(columns: {len(names)}, stroke: 0.4pt + luma(180), inset: 3pt, table.header({cells}), {body})\n"
        )
    made: bytes = typst.compile("\n".join(lines).encode())
    return made


def _text(value: str) -> str:
    """A string literal of typst."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'
