"""B2MML and BatchML: executed batch records, production schedules and performance, master recipes.

Here: elements into records with their place in the tree (procedure, unit procedure, operation, phase), with
performers, signatures, comments, events and other information. Every text and attribute of the file ends up in a
record or in the header. Names of people and computers are masked. The licence of the standard asks for this
sentence: The Business To Manufacturing Markup Language (B2MML) is used courtesy of MESA International.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxml import etree

from pipelines.formats.collect import Collector, Record, wrong_layout
from pipelines.formats.epcis import is_time
from pipelines.formats.jsonl import dump
from pipelines.formats.protocol import Options, Reading, UnreadableFile
from pipelines.formats.text import whole

_NAMESPACE = re.compile(
    r"https?://(?:www\.)?(?:wbf|mesa)\.org/xml/(B2MML|BatchML)(?:-V(\d+))?/?", re.IGNORECASE
)
_VERB = re.compile(
    r"(?:Sync|Process|Acknowledge|Change|Confirm|Cancel|Get|Show|Respond|Notify|Receive)(?=[A-Z])"
)
# Elements that are a record of their own; all others belong to the nearest of these around them.
RECORDS = frozenset(
    [
        "BatchProductionRecord",
        "ExecutedControlRecipe",
        "RuntimeRecipeElement",
        "Event",
        "Comment",
        "PersonnelIdentification",
        "ControlRecipe",
        "MasterRecipe",
        "RecipeElement",
        "BatchListEntry",
        "ProductionRequest",
        "ProductionResponse",
        "SegmentRequirement",
        "SegmentResponse",
        "MaterialRequirement",
        "MaterialActual",
        "MaterialProducedRequirement",
        "MaterialConsumedRequirement",
        "MaterialConsumableExpected",
        "MaterialProducedActual",
        "MaterialConsumedActual",
        "ConsumableActual",
        "PersonnelRequirement",
        "PersonnelActual",
        "EquipmentRequirement",
        "EquipmentActual",
        "ProductionParameter",
        "ProductionData",
        "OperationsRequest",
        "OperationsResponse",
        "OpMaterialRequirement",
        "OpMaterialActual",
        "OpPersonnelActual",
        "OpEquipmentActual",
        "OpPersonnelRequirement",
        "OpEquipmentRequirement",
        "SegmentParameter",
        "SegmentData",
        "WorkRequest",
        "WorkResponse",
        "JobOrder",
        "JobResponse",
        "MaterialDefinition",
        "MaterialLot",
        "MaterialSubLot",
        "MaterialSublot",
        "MaterialInformation",
        "Step",
        "Transition",
        "Link",
    ]
)
_PEOPLE = frozenset(
    [
        "Performer",
        "PersonID",
        "PersonName",
        "ComputerID",
        "UserID",
        "Author",
        "Approver",
        "ModifiedBy",
        "OperatorID",
        "LogicalID",
    ]
)
_TIMES = re.compile(r"(?:.*(?:Time|TimeStamp)|CreationDate|LastChangedDate|CreationDateTime)")
_LEVELS = {
    "Procedure": "procedure",
    "UnitProcedure": "unit_procedure",
    "Operation": "operation",
    "Phase": "phase",
}
_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"


@dataclass
class _Place:
    """Where a record stands in the tree."""

    row: int
    path: str
    identity: str
    depth: int
    inherited: dict[str, str | None]


class B2mml:
    """B2MML and BatchML, V02 to V0701."""

    name = "b2mml"

    def recognises(self, head: bytes, filename: str) -> bool:
        """XML whose root is in a namespace of the standard."""
        del filename
        root = re.search(rb"<(?![?!])[^>]*>", head)
        return (
            root is not None
            and re.search(rb"(?:wbf|mesa)\.org/xml/b(?:2mml|atchml)", root[0], re.I) is not None
        )

    def read(self, path: Path, options: Options) -> Reading:
        """Read every record of the tree, parents before children."""
        data = whole(path)
        root = parse_xml(path, data)
        namespace = etree.QName(root).namespace or ""
        known = _NAMESPACE.fullmatch(namespace)
        if not known:
            raise wrong_layout(path, self.name, f"namespace {namespace or 'none'}")
        collector = Collector(path, self.name, options)
        header: dict[str, Any] = {
            "root": _local(root),
            "message": _VERB.sub("", _local(root)),
            "standard": known[1],
            "version": known[2],
        }
        if _local(root) in RECORDS:
            _walk(root, None, collector)
        else:
            header["envelope"] = _tree(root, collector, nested=False)
            for child in _records_below(root):
                _walk(child, None, collector)
        if not collector.records:
            raise wrong_layout(path, self.name, f"root {_local(root)} with no element this reader takes")
        return collector.reading(_count(data), header)


def parse_xml(path: Path, data: bytes) -> Any:
    """Root of an XML file; entities are not resolved and nothing is fetched."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_pis=True)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as wrong:
        raise UnreadableFile(
            path,
            f"line {wrong.lineno}",
            f"not whole XML: {wrong.msg}",
            "Ask the site to send the file again.",
        ) from wrong
    except (ValueError, LookupError) as wrong:
        raise UnreadableFile(path, "", f"not XML: {wrong}", "Ask the site to send the file again.") from wrong
    if root.getroottree().docinfo.doctype:
        raise UnreadableFile(path, "DOCTYPE", "a document type declaration", "Send the file without it.")
    return root


def _local(element: Any) -> str:
    return str(etree.QName(element).localname)


def _count(data: bytes) -> int:
    """Start tags of record elements on the bytes, outside comments and CDATA."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16").encode()
    bare = re.sub(rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>", b"", data, flags=re.DOTALL)
    tags = re.findall(rb"<(?:[\w.-]+:)?([A-Za-z]\w*)(?=[\s/>])", bare)
    return sum(tag.decode() in RECORDS for tag in tags)


def _records_below(element: Any) -> list[Any]:
    """The nearest record elements below, in file order."""
    found: list[Any] = []
    for child in element.iterchildren(etree.Element):
        found.extend([child] if _local(child) in RECORDS else _records_below(child))
    return found


def _walk(element: Any, parent: _Place | None, collector: Collector) -> None:
    record = collector.record(len(collector.records) + 1)
    kind = _local(element)
    own = _tree(element, collector, nested=False)
    identity = _first(own.get("ID")) or _first(own.get("ProcessSegmentID")) or kind
    place = _place(record, kind, identity, own, parent)
    record.values.update(
        {
            "record_kind": kind,
            "path": place.path,
            "parent_row": str(parent.row) if parent else None,
            "depth": str(place.depth),
            "line": str(element.sourceline),
            **place.inherited,
        }
    )
    if isinstance(quantity := own.get("Quantity"), dict):
        record.values["quantity"] = _first(quantity.get("QuantityString"))
        record.values["quantity_unit"] = _first(quantity.get("UnitOfMeasure"))
    for name, value in own.items():
        record.values[name] = value if isinstance(value, str) or value is None else dump(value)
        _check_time(collector, record, name, value)
    for child in _records_below(element):
        _walk(child, place, collector)


def _place(record: Record, kind: str, identity: str, own: dict[str, Any], parent: _Place | None) -> _Place:
    """The path by identifiers; a phase's name is its identifier without its parent's before it."""
    inherited = dict(parent.inherited) if parent else {}
    if "BatchID" in own:
        inherited["batch_id_printed"] = _first(own["BatchID"])
    name = identity
    if parent and identity.startswith(f"{parent.identity}|"):
        name = identity[len(parent.identity) + 1 :]
    elif (
        parent
        and kind == "RuntimeRecipeElement"
        and identity.startswith(f"{inherited.get('batch_id_printed')}|")
    ):
        name = identity.split("|", 1)[1]
    if kind == "RuntimeRecipeElement" and (level := _LEVELS.get(_first(own.get("RecipeElementType")) or "")):
        inherited[level] = name
    path = f"{parent.path}/{name}" if parent else name
    return _Place(record.row, path, identity, parent.depth + 1 if parent else 0, inherited)


def _check_time(collector: Collector, record: Record, name: str, value: Any) -> None:
    """A time must exist; one without an offset is said to have none."""
    if not isinstance(value, str) or not value or not _TIMES.fullmatch(name):
        return
    if is_time(value) or re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return
    if is_time(f"{value}Z"):
        collector.flag(record, name, "no_time_zone")
    else:
        collector.refuse(record, name, value, "bad_time", "Not a time that exists: correct it in the source.")


def _tree(element: Any, collector: Collector, *, nested: bool) -> dict[str, Any]:
    """An element's own attributes and children as JSON values, without the records below it."""
    result: dict[str, Any] = {}
    for key, value in element.attrib.items():
        if not key.startswith(_XSI) or key == f"{_XSI}nil":
            result[f"@{etree.QName(key).localname}"] = value
    if text := (element.text or "").strip():
        result["#text"] = text
    for child in element.iterchildren(etree.Element):
        name = _local(child)
        if name in RECORDS:
            continue
        value = _value(child, name, collector)
        if value is None and not nested and _records_below(child):
            continue  # a container of records
        if name not in result:
            result[name] = value
        elif isinstance(result[name], list):
            result[name].append(value)
        else:
            result[name] = [result[name], value]
    return result


def _value(element: Any, name: str, collector: Collector) -> Any:
    tree = _tree(element, collector, nested=True)
    if name in _PEOPLE and "#text" in tree:
        tree["#text"] = collector.person(tree["#text"])
    if not tree:
        return None if _records_below(element) else ""
    return tree["#text"] if tree.keys() == {"#text"} else tree


def _first(value: Any) -> str | None:
    """The text of a value: the first of several, the text of one with attributes."""
    if isinstance(value, list):
        value = value[0]
    if isinstance(value, dict):
        value = value.get("#text")
    return value if isinstance(value, str) else None
