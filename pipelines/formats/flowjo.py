"""FlowJo workspaces (.wsp, version 10): samples, their populations with gate path, and the counts FlowJo stored.

Here: the tree of populations as records. Applying the gates to an FCS file belongs in `gating_ml.gate_counts`;
which population is which attribute is the contract's to say, never without the gate's path.
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from pipelines.formats.collect import Collector, Record, plain, wrong_layout
from pipelines.formats.protocol import Options, Reading, UnreadableFile
from pipelines.formats.xml_records import Place, XmlRecords, local

_POPULATIONS = frozenset({"Population", "NotNode", "AndNode", "OrNode"})
_KEPT = ("$FIL", "$CYT", "$DATE", "$BTIM", "$ETIM", "$TOT", "TUBE NAME", "$SMNO")


class FlowJo(XmlRecords):
    """FlowJo 10."""

    name = "flowjo"
    records: ClassVar[frozenset[str]] = _POPULATIONS | {"Sample", "SampleNode", "GroupNode"}

    def recognises(self, head: bytes, filename: str) -> bool:
        """XML whose root is a workspace of FlowJo."""
        del filename
        root = re.search(rb"<(?![?!])[^>]*>", head)
        return (
            root is not None and re.match(rb"<Workspace\s[^>]*flowJoVersion=", root[0], re.DOTALL) is not None
        )

    def read(self, path: Path, options: Options) -> Reading:
        """Read every sample and population; a workspace without samples is refused."""
        found = super().read(path, options)
        if not found.records["record_kind"].is_in(["Sample"]).any():
            raise UnreadableFile(path, "SampleList", "no samples", "Save the workspace with its samples.")
        return found

    def header(self, path: Path, root: Any) -> dict[str, Any]:
        """Version of the workspace and of FlowJo; the matrices stay in the file."""
        if local(root) != "Workspace" or not root.get("flowJoVersion"):
            raise wrong_layout(path, self.name, f"root {local(root)}")
        self._version = str(root.get("flowJoVersion"))
        matrices = [
            e.get(k)
            for e in root.iter()
            for k in e.attrib
            if local(e) == "spilloverMatrix" and k.endswith("name")
        ]
        return {
            "root": "Workspace",
            "version": root.get("version"),
            "flowjo": self._version,
            "matrices": matrices,
        }

    def tree(self, element: Any, collector: Collector, *, nested: bool) -> dict[str, Any]:
        """An element's own values; of transformations, graphs and keywords only what names the sample."""
        own = {str(key).rpartition("}")[2]: value for key, value in element.attrib.items()}
        if nested or local(element) not in self.records:
            return {f"@{key}": value for key, value in own.items()}
        values: dict[str, Any] = {f"@{key}": value for key, value in own.items() if key != "owningGroup"}
        for child in element:
            kind = local(child) if isinstance(child.tag, str) else ""
            if kind == "DataSet":
                values["file"] = str(child.get("uri") or "").rpartition("/")[2]
            elif kind == "Keywords":
                words = {word.get("name"): word.get("value") for word in child}
                values |= {f"keyword {name}": words[name] for name in _KEPT if words.get(name)}
            elif kind == "spilloverMatrix":
                values["compensation"] = next(
                    (v for k, v in child.attrib.items() if k.endswith("name")), None
                )
            elif kind == "Gate":
                values["gate_type"] = next((local(g) for g in child if isinstance(g.tag, str)), None)
        return values

    def place(self, record: Record, kind: str, own: dict[str, Any], parent: Place | None) -> Place:
        """The path by names, as FlowJo shows it; all below a sample know the sample and its matrix."""
        inherited = dict(parent.inherited) if parent else {}
        identity = own.get("@name") or own.get("file") or kind
        if kind == "Sample":
            inherited |= {"sample_file": own.get("file"), "compensation": own.get("compensation")}
            return Place(record.row, identity, identity, 0, inherited)
        if kind in ("SampleNode", "GroupNode"):
            return Place(record.row, "", identity, (parent.depth if parent else 0) + 1, inherited)
        path = f"{parent.path}/{identity}" if parent and parent.path else identity
        return Place(record.row, path, identity, parent.depth + 1 if parent else 0, inherited)

    def finish(self, collector: Collector, record: Record, own: dict[str, Any], element: Any) -> None:
        """Events that FlowJo stored, and their share of the parent; without a count the gate is a reference."""
        if record.values["record_kind"] not in _POPULATIONS | {"SampleNode"}:
            return
        record.values["gate_path"] = record.values["path"]
        record.values["gating_method"] = f"FlowJo {self._version}, counts as stored"
        count = own.get("@count")
        known = count is not None and count != "-1" and "sample_file" in record.values
        record.values["is_reference"] = "false" if known else "true"
        if not known:
            return
        collector.number(record, "event_count", count)
        above = element.getparent()
        while above is not None and local(above) not in _POPULATIONS | {"SampleNode"}:
            above = above.getparent()
        whole = above.get("count") if above is not None else None
        if whole and whole.isdigit() and int(whole) and str(count).isdigit():
            record.values["parent_event_count"] = whole
            record.values["percent_of_parent"] = plain(round(Decimal(100) * int(str(count)) / int(whole), 4))
