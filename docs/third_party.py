"""Writes THIRD_PARTY_NOTICES.md: every package that requirements.lock pins, with its version and its licence.

Run by hand after `make lock`: `.venv/bin/python docs/third_party.py`. Name and version come from the lock,
the licence from the installed package's own metadata, so the same lock and installation give the same page.
Does not belong here: what a licence means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINNED = re.compile(
    r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^ \\;]+)(?: *; *([^\\\n]*))?", re.MULTILINE
)
# Longest line that is still a licence's name and not its text.
NAME_LENGTH = 80
WEAK_COPYLEFT = re.compile(r"L?GPL|Lesser|MPL|Mozilla|EPL", re.IGNORECASE)

OPENING = """\
# Third-party notices

cellfleet is licensed under Apache-2.0 (`LICENSE`). It installs, and does not contain, the packages
below, each under its own licence; the texts come with the packages. This page is written by
`docs/third_party.py` from `requirements.lock` and the metadata of the installed packages.

## Acknowledgements and terms of standards

- The Business To Manufacturing Markup Language (B2MML) is used courtesy of MESA International.
- **UCUM.** Units are UCUM codes, read with `ucumvert`. This product includes all or a portion of the
  UCUM table, UCUM codes, and UCUM definitions or is derived from it, subject to a license from
  Regenstrief Institute, Inc. and The UCUM Organization. Your use of the UCUM table, UCUM codes, UCUM
  definitions also is subject to this license, a copy of which is available at unitsofmeasure.org.
- **LOINC.** No LOINC table or code is shipped. A site whose records carry LOINC codes translates them in
  its own contract, under its own LOINC licence (loinc.org).
- **ISBT 128.** ISBT 128 is not in the public domain: its use requires registration with ICCBBA and a
  licence. No table of facility or product codes is shipped; of its identifiers cellfleet knows the shape
  and the check character (ISO/IEC 7064 mod 37-2) alone.
- **EPCIS and CBV** are standards of GS1. Identifiers of their vocabularies are named where documents are
  checked; none of GS1's schema files is shipped.
- **HL7 and FHIR** are registered trademarks of Health Level Seven International. Resources are validated
  with `fhir.resources`.
- Reference values of statistics are cited where they are tested (`warehouse/verification/cases`).
"""


@dataclass(frozen=True)
class Package:
    """One pinned package. `note` says where it is installed, when not everywhere."""

    name: str
    version: str
    licence: str
    note: str


def packages(lock: str) -> list[Package]:
    """Packages of a lock, in its order."""
    return [
        Package(name, version, licence_of(name), marker.strip())
        for name, version, marker in PINNED.findall(lock)
    ]


def licence_of(name: str) -> str:
    """Licence as the installed package's metadata names it."""
    try:
        told = metadata(name)
    except PackageNotFoundError:
        return "see the package (not installed on this platform)"
    if told["License-Expression"]:
        return str(told["License-Expression"])
    classified = [
        c.split(" :: ")[-1] for c in told.get_all("Classifier") or [] if c.startswith("License :: ")
    ]
    if classified:
        return ", ".join(c for c in classified if c != "OSI Approved")
    stated = (told["License"] or "").strip()
    return stated if 0 < len(stated) <= NAME_LENGTH else "see the package"


def table(listed: list[Package]) -> list[str]:
    """Markdown rows."""
    rows = ["| package | version | licence | only where |", "|---|---|---|---|"]
    return rows + [f"| {p.name} | {p.version} | {p.licence} | {p.note} |" for p in listed]


def page(lock: str) -> str:
    """The whole page."""
    every = packages(lock)
    weak = [p for p in every if WEAK_COPYLEFT.search(p.licence)]
    lines = [
        OPENING,
        "## Packages under the LGPL, MPL or a similar licence",
        "",
        "They are used unchanged, as libraries of their own that can be replaced in the environment. Who",
        "redistributes an environment that contains them keeps their notices and offers their source.",
        "",
        *table(weak),
        "",
        "## All packages",
        "",
        *table(every),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    text = page((ROOT / "requirements.lock").read_text("utf-8"))
    (ROOT / "THIRD_PARTY_NOTICES.md").write_text(text, encoding="utf-8")
