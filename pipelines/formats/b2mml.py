"""B2MML and BatchML: executed batch records, production schedules and performance, master recipes.

Here: which elements are records, and their place in the tree (procedure, unit procedure, operation, phase),
with performers, signatures, comments, events and other information. Names of people and computers are masked.
The licence of the standard asks for this sentence: The Business To Manufacturing Markup Language (B2MML) is
used courtesy of MESA International.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from lxml import etree

from pipelines.formats.collect import Collector, Record, wrong_layout
from pipelines.formats.epcis import is_time
from pipelines.formats.xml_records import Place, XmlRecords, first_text, local

_NAMESPACE = re.compile(
    r"https?://(?:www\.)?(?:wbf|mesa)\.org/xml/(B2MML|BatchML)(?:-V(\d+))?/?", re.IGNORECASE
)
_VERB = re.compile(
    r"(?:Sync|Process|Acknowledge|Change|Confirm|Cancel|Get|Show|Respond|Notify|Receive)(?=[A-Z])"
)
# Elements that are a record of their own; all others belong to the nearest of these around them.
RECORDS = {
    "BatchProductionRecord", "ExecutedControlRecipe", "RuntimeRecipeElement", "Event", "Comment",
    "PersonnelIdentification", "ControlRecipe", "MasterRecipe", "RecipeElement", "BatchListEntry",
    "ProductionRequest", "ProductionResponse", "SegmentRequirement", "SegmentResponse",
    "MaterialRequirement", "MaterialActual", "MaterialProducedRequirement",
    "MaterialConsumedRequirement", "MaterialConsumableExpected", "MaterialProducedActual",
    "MaterialConsumedActual", "ConsumableActual", "PersonnelRequirement", "PersonnelActual",
    "EquipmentRequirement", "EquipmentActual", "ProductionParameter", "ProductionData",
    "OperationsRequest", "OperationsResponse", "OpMaterialRequirement", "OpMaterialActual",
    "OpPersonnelActual", "OpEquipmentActual", "OpPersonnelRequirement", "OpEquipmentRequirement",
    "SegmentParameter", "SegmentData", "WorkRequest", "WorkResponse", "JobOrder", "JobResponse",
    "MaterialDefinition", "MaterialLot", "MaterialSubLot", "MaterialSublot", "MaterialInformation",
    "Step", "Transition", "Link",
}  # fmt: skip
_PEOPLE = {
    "Performer", "PersonID", "PersonName", "ComputerID", "UserID", "Author", "Approver", "ModifiedBy",
    "OperatorID", "LogicalID",
}  # fmt: skip
_TIMES = re.compile(r".*(?:Time|TimeStamp)|CreationDate|LastChangedDate")
_LEVELS = {
    "Procedure": "procedure",
    "UnitProcedure": "unit_procedure",
    "Operation": "operation",
    "Phase": "phase",
}


class B2mml(XmlRecords):
    """B2MML and BatchML, V02 to V0701."""

    name = "b2mml"
    records: ClassVar[frozenset[str]] = frozenset(RECORDS)
    people: ClassVar[frozenset[str]] = frozenset(_PEOPLE)

    def recognises(self, head: bytes, filename: str) -> bool:
        """XML whose root is in a namespace of the standard."""
        del filename
        root = re.search(rb"<(?![?!])[^>]*>", head)
        standard = rb"(?:wbf|mesa)\.org/xml/b(?:2mml|atchml)"
        return root is not None and re.search(standard, root[0], re.IGNORECASE) is not None

    def header(self, path: Path, root: Any) -> dict[str, Any]:
        """The standard, its version and the message; another namespace is refused."""
        namespace = etree.QName(root).namespace or ""
        known = _NAMESPACE.fullmatch(namespace)
        if not known:
            raise wrong_layout(path, self.name, f"namespace {namespace or 'none'}")
        return {
            "root": local(root),
            "message": _VERB.sub("", local(root)),
            "standard": known[1],
            "version": known[2],
        }

    def place(self, record: Record, kind: str, own: dict[str, Any], parent: Place | None) -> Place:
        """The path by identifiers; a phase's name is its identifier without its parent's before it."""
        identity = first_text(own.get("ID")) or first_text(own.get("ProcessSegmentID")) or kind
        inherited = dict(parent.inherited) if parent else {}
        if "BatchID" in own:
            inherited["batch_id_printed"] = first_text(own["BatchID"])
        name = identity
        for before in (parent.identity if parent else None, inherited.get("batch_id_printed")):
            if before and identity.startswith(f"{before}|"):
                name = identity[len(before) + 1 :]
                break
        if kind == "RuntimeRecipeElement":
            level = _LEVELS.get(first_text(own.get("RecipeElementType")) or "")
            if level:
                inherited[level] = name
        path = f"{parent.path}/{name}" if parent else name
        return Place(record.row, path, identity, parent.depth + 1 if parent else 0, inherited)

    def finish(self, collector: Collector, record: Record, own: dict[str, Any], element: Any) -> None:
        """A quantity apart from its unit; a time must exist, and one without an offset is flagged."""
        del element
        if isinstance(quantity := own.get("Quantity"), dict):
            record.values["quantity"] = first_text(quantity.get("QuantityString"))
            record.values["quantity_unit"] = first_text(quantity.get("UnitOfMeasure"))
        for name, value in own.items():
            if not isinstance(value, str) or not value or not _TIMES.fullmatch(name):
                continue
            if is_time(value) or re.fullmatch(r"\d{4}-\d\d-\d\d", value):
                continue
            if is_time(f"{value}Z"):
                collector.flag(record, name, "no_time_zone")
            else:
                mend = "Not a time that exists: correct it in the source."
                collector.refuse(record, name, value, "bad_time", mend)
