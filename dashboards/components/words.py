"""Values in the words of a page: durations, counts, states, quantities with units.

Belongs here: wording that more than one page uses. Does not belong here: verdicts (`verdict.py`), numbers (`table.py`).
"""

from __future__ import annotations

import re
from datetime import date

from dash import html

from dashboards.components.aria import aria
from warehouse.dictionary import dictionary

UNITS = {
    "1": "",
    "{cells}": "cells",
    "{copies}/{cell}": "copies/cell",
    "[EU]/mL": "EU/mL",
    "Cel": "°C",
    "[pH]": "",
    "um": "µm",
    "/min": "1/min",
    "10*6.{cells}/mL": "10⁶ cells/mL",
    "10*6.{cells}": "10⁶ cells",
    "10*6.{cells}/kg": "10⁶ cells/kg",
    "{cells}/mL": "cells/mL",
    "{beads}": "beads",
    "{TU}/mL": "TU/mL",
}


def unit(ucum: str | None) -> str:
    """A UCUM unit as people write it."""
    return UNITS.get(ucum, ucum) if ucum else ""


STATES = {
    "in_process": ("◔", "muted"),
    "awaiting_results": ("◑", "muted"),
    "ready_for_decision": ("◆", "unsure"),
    "blocked": ("✕", "bad"),
    "released": ("●", "ok"),
    "infused": ("●", "ok"),
    "rejected": ("✕", "bad"),
    "terminated": ("✕", "bad"),
}


def state(code: str) -> html.Span:
    """Where a batch stands: symbol, word and colour."""
    symbol, kind = STATES.get(code, ("◆", "muted"))
    return html.Span(
        [html.Span(symbol, className="cf-symbol", **aria(hidden="true")), plain(code)],
        className=f"cf-verdict cf-{kind}",
    )


def age(hours: float | None) -> str:
    """How long something has lasted: hours up to two days, then days."""
    if hours is None:
        return ""
    # No line breaks between a number and its unit.
    return f"{hours:.0f}\u00a0h" if abs(hours) < 48 else f"{hours / 24:.1f}\u00a0d"


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def plain(code: str | None) -> str:
    """A code of the dictionary in words."""
    return code.replace("_", " ") if code else ""


def attribute_words(name: str) -> str:
    """What an attribute of the dictionary measures: its description up to the first comma, without brackets."""
    field = dictionary().attributes.get(name)
    if field is None:
        return plain(name)
    return re.split(r"[,:;]", re.sub(r" \([^)]*\)", "", field.description.rstrip(".")))[0]


def in_words(sentence: str) -> str:
    """A sentence of a mart with what it measures in words: codes of attributes and of sensors' quantities."""

    def told(found: re.Match[str]) -> str:
        code = found.group()
        if code in dictionary().attributes:
            return attribute_words(code)
        field = dictionary().fields.get(code)
        return field.description.rstrip(".").split(",")[0] if field is not None and field.channel else code

    # "vcn (vcn_per_cell)": the plan's name for it, and what it was measured as.
    words = re.sub(r"\b\w+\b", told, re.sub(r"\b(\w+) \((\w+)\)", r"\2", sentence))
    return words[:1].upper() + words[1:]


class NoDayError(ValueError):
    """What was written is no day; the sentence says how to write one."""


def day(told: str) -> date | None:
    """A day of a control, None where it is empty. Raises NoDayError."""
    try:
        return date.fromisoformat(told) if told else None
    except ValueError:
        raise NoDayError(f"{told} is no day. Write it as 2026-01-31.") from None
