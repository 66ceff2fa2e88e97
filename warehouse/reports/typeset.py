"""A report as Markdown and as PDF (typst): cover, tables, pictures, room for signatures, page x of y.

Belongs here: layout. Does not belong here: what a report says (`dossier.py`). The same report gives the same bytes:
no clock, no random number, fonts that typst brings along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

SCOPE = (
    "Decision support on copies of the site's records; not the system of record. Disposition stays a person's act. "
    "Not validated until its user validates it."
)
FONT = "Libertinus Serif"
SIGNATURES = ("Prepared by", "Reviewed by", "Approved by")
# Columns beyond this many do not fit beside each other on an upright page.
UPRIGHT = 11


@dataclass(frozen=True)
class Part:
    """One part of a report: heading, a sentence, pictures as SVG, a table. `names` without rows say "None."."""

    heading: str
    names: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    told: str = ""
    pictures: Sequence[str] = ()
    level: int = 2


@dataclass(frozen=True)
class Report:
    """A report: its title, what snapshot it is of, and its parts."""

    title: str
    told: str
    parts: Sequence[Part]
    signed: bool = False


def word(value: Any) -> str:
    """A value as a report prints it: four significant digits, UTC times to the minute, nothing for nothing."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def markdown(report: Report) -> str:
    """The report in Markdown, without its pictures."""
    lines = [f"# {report.title}", "", report.told, "", SCOPE, ""]
    for part in report.parts:
        lines += [f"{'#' * part.level} {part.heading}", ""]
        if part.told:
            lines += [part.told, ""]
        if part.names and not part.rows:
            lines += ["None.", ""]
        elif part.names:
            lines += [f"| {' | '.join(part.names)} |", f"|{'---|' * len(part.names)}"]
            lines += [f"| {' | '.join(word(v).replace('|', '/') for v in row)} |" for row in part.rows]
            lines.append("")
    return "\n".join(lines)


def pdf(report: Report) -> bytes:
    """The report as PDF, A4, with its pictures."""
    import typst

    made: bytes = typst.compile("\n".join(_source(report)).encode(), ignore_system_fonts=True)
    return made


def _source(report: Report) -> list[str]:
    title = _text(report.title)
    lines = [
        f"#set document(title: {title}, date: none)",
        '#set page(paper: "a4", margin: 18mm, '
        f"header: text(8pt)[#{title} #h(1fr) #{_text(report.told)}], "
        "footer: context text(8pt)[#h(1fr) Page #counter(page).display() of #counter(page).final().first()])",
        f'#set text(font: "{FONT}", size: 9pt, lang: "en")',
        "#show heading: set block(above: 1.2em, below: 0.6em)",
        "#show table.cell: set text(size: 8pt)",
        f"= #{title}",
        f"#{_text(report.told)}\n",
        f"#emph({_text(SCOPE)})\n",
    ]
    if sum(part.level == 2 for part in report.parts) > 8:
        lines.append('#outline(depth: 2, title: "Contents")\n')
    for part in report.parts:
        lines += _part(part)
    if report.signed:
        lines.append(_signatures())
    return lines


def _part(part: Part) -> list[str]:
    lines = [f"{'=' * part.level} #{_text(part.heading)}"]
    if part.told:
        lines.append(f"#{_text(part.told)}\n")
    lines += [
        f'#image(bytes({_text(picture)}), format: "svg", width: 100%, alt: {_text(part.heading)})\n'
        for picture in part.pictures
    ]
    if part.names and not part.rows:
        lines.append("None.\n")
    elif part.names:
        cells = ", ".join(f"strong({_text(n)})" for n in part.names)
        body = ", ".join(_text(word(v)) for row in part.rows for v in row)
        look = "stroke: 0.4pt + luma(180), inset: 3pt"
        table = f"#table(columns: {len(part.names)}, {look}, table.header({cells}), {body})"
        lines.append((f"#page(flipped: true)[{table}]" if len(part.names) > UPRIGHT else table) + "\n")
    return lines


def _signatures() -> str:
    cells = ", ".join(f"{_text(who)}, [], [], []" for who in SIGNATURES)
    return (
        "== Signatures\n#block(breakable: false)[#table(columns: (1fr, 2fr, 1fr, 2fr), rows: (auto, 11mm, 11mm, 11mm), "
        "stroke: 0.4pt + luma(180), inset: 4pt, table.header(strong[], strong[Name and role], strong[Date], "
        f"strong[Signature]), {cells})]\n"
    )


def _text(value: str) -> str:
    """A string literal of typst."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'
