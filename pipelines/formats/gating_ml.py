"""Gating-ML 2.0 documents, per-event gate membership, and the counts the gates give.

Here: gates and transformations as records; the 0/1 lists that compliance sets and other programs write; and
`gate_counts`, which applies a document to an FCS file with flowkit. Which gate is which attribute is the
contract's to say, never without the gate's path.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
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
    """Apply the gates of a Gating-ML document or a FlowJo workspace to an FCS file, with compensation.

    One row a gate: gate, gate_path, gate_type, events, percent_of_parent, percent_of_all, compensation (of its
    dimensions: a matrix by name, FCS for the file's own, or uncompensated) and method. By flowkit, which agrees
    with the compliance set's reference results. Raises UnreadableFile.
    """
    import flowkit  # costly

    workspace = gates.suffix.lower() == ".wsp"
    try:
        sample = flowkit.Sample(str(fcs))
        if workspace:
            opened = flowkit.Workspace(str(gates), fcs_samples=[sample])
            samples = opened.get_sample_ids()
            if len(samples) != 1:
                raise ValueError(f"{len(samples)} samples of the workspace are the file {fcs.name}")
            opened.analyze_samples(sample_id=samples[0], use_mp=False)
            report = opened.get_gating_results(samples[0]).report
            gate_of = functools.partial(opened.get_gate, samples[0])
        else:
            strategy = flowkit.parse_gating_xml(str(gates))
            report = strategy.gate_sample(sample).report
            gate_of = strategy.get_gate
        rows = [
            {
                "gate": str(row.gate_name),
                "gate_path": "/".join((*row.gate_path, row.gate_name)),
                "gate_type": str(row.gate_type),
                "events": int(row.events),
                "percent_of_parent": float(row.relative_percent),
                "percent_of_all": float(row.absolute_percent),
                "compensation": _compensation(gate_of, str(row.gate_name), tuple(row.gate_path)),
                "method": f"flowkit {flowkit.__version__}, {'FlowJo workspace' if workspace else 'Gating-ML 2.0'}",
            }
            for row in report.rename(columns={"count": "events"}).itertuples()
        ]
    except (ValueError, LookupError, TypeError, OSError, flowkit.exceptions.FlowKitException) as failed:
        raise UnreadableFile(
            fcs,
            f"gates of {gates.name}",
            f"cannot be gated: {failed}",
            "Check that the gates name its channels.",
        ) from failed
    return pl.DataFrame(rows)


def _compensation(gate_of: Callable[..., Any], name: str, path: tuple[str, ...]) -> str | None:
    """Names of the matrices that the gate's dimensions are compensated by; None for a gate of gates."""
    import flowkit  # costly

    try:
        dimensions = getattr(gate_of(name, path), "dimensions", None) or []
    except (KeyError, ValueError, flowkit.exceptions.FlowKitException):
        return None  # a quadrant is part of a gate
    named = {getattr(dimension, "compensation_ref", None) for dimension in dimensions} - {None}
    return ", ".join(sorted(str(ref) for ref in named)) or None
