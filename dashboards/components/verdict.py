"""A verdict as everywhere: symbol, word and colour, never colour alone; reasons in words."""

from __future__ import annotations

from dash import html

from dashboards.components.aria import aria

SYMBOL = {"comparable": "●", "inconclusive": "◇", "not comparable": "✕"}
CLASS = {"comparable": "ok", "inconclusive": "unsure", "not comparable": "bad"}
REASON = {
    "too_few_lots": "too few lots",
    "no_margin": "no margin in the plan",
    "unlike_methods": "unlike methods",
    "lab_confounded": "laboratory and product mixed up",
    "means_only": "means only",
    "unstable": "process not stable",
    "no_number_would_do": "no number of lots would do",
}
SEVERITY = {
    "critical": ("▲", "bad"),
    "error": ("✕", "bad"),
    "warning": ("◆", "unsure"),
    "info": ("●", "muted"),
}


def verdict(word: str, reason: str | None = None) -> html.Span:
    """The verdict's mark, with its reason where it has one."""
    return html.Span(
        [
            html.Span(SYMBOL.get(word, "◇"), className="cf-symbol", **aria(hidden="true")),
            html.Span([word, html.Small(f" {reason_words(reason)}")] if reason else word),
        ],
        className=f"cf-verdict cf-{CLASS.get(word, 'unsure')}",
    )


def reason_words(reason: str | None) -> str:
    """A reason code in words; an unknown one is shown as it is."""
    return REASON.get(reason, reason.replace("_", " ")) if reason else ""


def severity(word: str) -> html.Span:
    """How much something matters."""
    symbol, kind = SEVERITY.get(word, ("●", "muted"))
    return html.Span(
        [html.Span(symbol, className="cf-symbol", **aria(hidden="true")), word],
        className=f"cf-verdict cf-{kind}",
    )
