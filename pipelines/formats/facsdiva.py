"""BD FACSDiva experiment exports (XML): specimens, tubes and gates with their event counts.

Here: which elements are records. A gate inside a tube has counts; a gate inside a worksheet only says what a
plot draws, and is marked so.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from pipelines.formats.collect import Collector, Record, wrong_layout
from pipelines.formats.xml_records import XmlRecords, first_text, local


class FacsDiva(XmlRecords):
    """FACSDiva 6 and later."""

    name = "facsdiva"
    records: ClassVar[frozenset[str]] = frozenset({"specimen", "tube", "gate"})
    people: ClassVar[frozenset[str]] = frozenset({"owner_name", "record_user", "user_name"})

    def recognises(self, head: bytes, filename: str) -> bool:
        """XML whose root is bdfacs."""
        del filename
        return re.search(rb"<bdfacs[\s>]", head) is not None

    def header(self, path: Path, root: Any) -> dict[str, Any]:
        """Software version and experiments."""
        if local(root) != "bdfacs":
            raise wrong_layout(path, self.name, f"root {local(root)}")
        experiments = [e.get("name") for e in root.iter("experiment")]
        return {"root": "bdfacs", "version": root.get("version"), "experiments": experiments}

    def finish(self, collector: Collector, record: Record, own: dict[str, Any], element: Any) -> None:
        """Events of a gate; the tube's time has no offset."""
        kind = record.values["record_kind"]
        if kind == "gate":
            counted = "num_events" in own
            record.values["is_reference"] = "false" if counted else "true"
            if counted:
                collector.number(record, "event_count", first_text(own["num_events"]))
            record.values["gate_path"] = element.get("fullname") or element.get("name")
        if kind == "tube":
            collector.time(record, "result_at", first_text(own.get("date")), ("%Y-%m-%dT%H:%M:%S",))
