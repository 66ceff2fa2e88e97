"""Data Docs: what Great Expectations itself says of each audit, as a page a run, kept in the home and served locally.

Belongs here: the page of one result, and where pages lie. The library's own template takes styles and scripts from
other hosts and shows values that were not expected; here the page stands alone, and values are left out, for
quarantine alone decides which may be shown. Does not belong here: the audit (`audit.py`).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.settings import Settings

if TYPE_CHECKING:
    from pipelines.validation.audit import Audit

KEPT = 60
# What Great Expectations adds of the values themselves.
VALUES = (
    "partial_unexpected_list", "partial_unexpected_index_list", "partial_unexpected_counts", "unexpected_list",
    "unexpected_rows", "unexpected_index_list", "unexpected_index_query", "unexpected_index_column_names",
)  # fmt: skip
FOREIGN = (
    re.compile(r"<script\b.*?</script>", re.DOTALL),
    re.compile(r"<style\b.*?</style>", re.DOTALL),
    re.compile(r"<link\b[^>]*>"),
    re.compile(r"<img\b[^>]*>", re.DOTALL),
    re.compile(r"\son\w+=\"[^\"]*\""),
    # The bar on top, its letter and the buttons need what was taken out.
    re.compile(r"<nav class=\"navbar navbar-expand-md.*?</nav>\s*</div>\s*</nav>", re.DOTALL),
    re.compile(r"<div class=\"btn-group.*?</div>", re.DOTALL),
    re.compile(r"<a\b[^>]*href=\"(?:https?:|\.\.)[^\"]*\"[^>]*>(?P<text>.*?)</a>", re.DOTALL),
)
STYLE = """<style>
body{font:14px/1.45 system-ui,sans-serif;color:#1d232b;margin:0 auto;max-width:76rem;padding:1rem}
h1,h4,h5,h6{margin:.4rem 0}.row{display:block}.ge-section{border-top:1px solid #d5dae1;padding:.6rem 0}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #e4e8ed;padding:.25rem .5rem;text-align:left;
vertical-align:top;overflow-wrap:anywhere}.badge{background:#eef1f5;border-radius:3px;padding:0 .3rem}
.fa-check-circle::before{content:"\\2713 holds";color:#1b6e3c}
.fa-times::before{content:"\\2717 does not hold";color:#a3231f}
.fa-exclamation-triangle::before{content:"! could not be computed";color:#8a5a00}.alert{font-weight:600}
.col-lg-2,.modal{display:none}.collapse{display:block;border:1px solid #e4e8ed;padding:.5rem}
@media(prefers-color-scheme:dark){body{background:#14181d;color:#e6e9ed}.badge{background:#2a3038}}
</style>"""


def page_of(audit: Audit, site: str, feed: str, run_id: str) -> str:
    """The page of one audit's result, whole by itself: no script, nothing from another host, no value."""
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer

    result = audit.result
    result.meta["run_id"] = RunIdentifier(run_name=f"{site}/{feed} run {run_id}")
    for each in result.results:
        for name in VALUES:
            each.result.pop(name, None)
            (each.result.get("details") or {}).pop(name, None)
    html = str(_view().render(ValidationResultsPageRenderer().render(result)))
    for pattern in FOREIGN:
        html = pattern.sub(r"\g<text>" if "text" in pattern.groupindex else "", html)
    return html.replace("</head>", f"{STYLE}</head>", 1)


def write(chosen: Settings, audits: list[Audit], site: str, feed: str, run_id: str) -> None:
    """Write a page an audit to `<home>/data_docs/<site>/<feed>/<table>/`; older ones than the newest 60 go."""
    for n, audit in enumerate(a for a in audits if a.result is not None):
        path = folder_of(chosen, site, feed, audit.table) / f"{run_id}{f'-{n + 1}' if n else ''}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page_of(audit, site, feed, run_id), "utf-8")
        kept = sorted(path.parent.glob("*.html"), key=lambda p: (p.stat().st_mtime_ns, p.name))
        for old in kept[:-KEPT]:
            old.unlink(missing_ok=True)


def folder_of(chosen: Settings, site: str, feed: str, table: str) -> Path:
    """Folder of a table's pages."""
    return chosen.data_docs_path / site / feed / table


def address_of(chosen: Settings, site: str, feed: str, table: str) -> str:
    """Where the dashboards serve a table's newest page and those before it."""
    base = chosen.dashboards_url.rstrip("/") or f"http://{chosen.dashboards_host}:{chosen.dashboards_port}"
    return f"{base}/data-docs/{site}/{feed}/{table}"


@cache
def _view() -> Any:
    from great_expectations.render.view.view import DefaultJinjaPageView

    # Compiled templates are kept with it: a page then costs milliseconds.
    return DefaultJinjaPageView()
