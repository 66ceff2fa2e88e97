"""Gating-ML 2.0 documents, per-event gate membership, and the counts the gates give.

Here: gates and transformations as records; the 0/1 lists that compliance sets and other programs write; and
`gate_counts`, which applies a document to an FCS file with flowkit. Which gate is which attribute is the
contract's to say, never without the gate's path.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from pipelines.formats.collect import wrong_layout
from pipelines.formats.protocol import Options, Reading, Refused, UnreadableFile, reading
from pipelines.formats.text import decode, whole
from pipelines.formats.xml_records import XmlRecords, local

GATES = frozenset({"RectangleGate", "PolygonGate", "EllipsoidGate", "QuadrantGate", "BooleanGate"})


class GatingMl(XmlRecords):
    """Gating-ML 2.0."""

    name = "gating_ml"
    records: ClassVar[frozenset[str]] = GATES | {"transformation", "spectrumMatrix"}

    def recognises(self, head: bytes, filename: str) -> bool:
        """XML whose root is Gating-ML."""
        del filename
        return re.search(rb"<(?:[\w.-]+:)?Gating-ML[\s>]", head) is not None

    def header(self, path: Path, root: Any) -> dict[str, Any]:
        """The root; another version than 2.0 is refused."""
        if local(root) != "Gating-ML" or "/Gating-ML/v2.0/" not in root.tag:
            raise wrong_layout(path, self.name, f"root {root.tag}")
        return {"root": "Gating-ML", "version": "2.0"}


class GateMembership:
    """One 0 or 1 a line: whether each event of an FCS file is in a gate."""

    name = "gate_membership"

    def recognises(self, head: bytes, filename: str) -> bool:
        """Nothing but lines of 0 and 1."""
        del filename
        lines = head.split()
        return len(lines) > 1 and re.fullmatch(rb"(?:[01]\r?\n)+[01]?\r?", head) is not None

    def read(self, path: Path, options: Options) -> Reading:
        """Read every line; anything but 0 or 1 is refused alone."""
        data = whole(path)
        text = decode(path, data, options)
        lines = [line.strip() for line in text.split("\n")]
        if lines and not lines[-1]:
            lines.pop()
        refused = [
            Refused(number, None, line, "bad_number", "A line is 0 or 1: write the list again.")
            for number, line in enumerate(lines, 1)
            if line not in ("0", "1")
        ]
        good = [(number, line) for number, line in enumerate(lines, 1) if line in ("0", "1")]
        records = pl.DataFrame(
            {"source_row": [n for n, _ in good], "member": [line for _, line in good]},
            schema={"source_row": pl.Int64, "member": pl.String},
        )
        received = text.count("\n") + (not text.endswith("\n"))
        header = {"gate": re.sub(r"^Results_|\.\w+$", "", path.name)}
        return reading(path, self.name, records, received, refused=refused, header=header)


def gate_counts(fcs: Path, gates: Path) -> pl.DataFrame:
    """Apply a Gating-ML document to an FCS file: gate, gate_path, parent, events, percent of parent.

    By flowkit, which agrees with the compliance set's reference results. Raises UnreadableFile.
    """
    import flowkit  # costly

    try:
        sample = flowkit.Sample(str(fcs))
        report = flowkit.parse_gating_xml(str(gates)).gate_sample(sample).report
    except (ValueError, KeyError, TypeError, OSError, flowkit.exceptions.FlowKitException) as failed:
        raise UnreadableFile(
            fcs,
            f"gates of {gates.name}",
            f"cannot be gated: {failed}",
            "Check that the gates name its channels.",
        ) from failed
    return pl.DataFrame(
        {
            "gate": [str(name) for name in report["gate_name"]],
            "gate_path": [
                "/".join((*path, name))
                for path, name in zip(report["gate_path"], report["gate_name"], strict=True)
            ],
            "gate_type": [str(kind) for kind in report["gate_type"]],
            "events": [int(count) for count in report["count"]],
            "percent_of_parent": [float(share) for share in report["relative_percent"]],
            "percent_of_all": [float(share) for share in report["absolute_percent"]],
        }
    )
