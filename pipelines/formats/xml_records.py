"""XML files whose elements are records in a tree.

Here: reading XML safely, counting record elements on the bytes, and walking the tree so that every text and
attribute ends up in a record or in the header. Which elements are records, and what they mean, belongs in
each format's module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from lxml import etree

from pipelines.formats.collect import Collector, Record, wrong_layout
from pipelines.formats.jsonl import dump
from pipelines.formats.protocol import Options, Reading, UnreadableFile
from pipelines.formats.text import whole

_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
_SEND_AGAIN = "Ask the site to send the file again."


@dataclass
class Place:
    """Where a record stands: its row, path, identifier, depth, and what records below it inherit."""

    row: int
    path: str
    identity: str
    depth: int
    inherited: dict[str, str | None] = field(default_factory=dict)


def parse_xml(path: Path, data: bytes) -> Any:
    """Root of an XML file; entities are not resolved and nothing is fetched."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_pis=True)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as wrong:
        raise UnreadableFile(
            path, f"line {wrong.lineno}", f"not whole XML: {wrong.msg}", _SEND_AGAIN
        ) from wrong
    except (ValueError, LookupError) as wrong:
        raise UnreadableFile(path, "", f"not XML: {wrong}", _SEND_AGAIN) from wrong
    if root.getroottree().docinfo.doctype:
        raise UnreadableFile(path, "DOCTYPE", "a document type declaration", "Send the file without it.")
    return root


def local(element: Any) -> str:
    """The name of an element without its namespace."""
    return str(etree.QName(element).localname)


def first_text(value: Any) -> str | None:
    """The text of a value of `tree`: the first of several, the text of one with attributes."""
    if isinstance(value, list):
        value = value[0]
    if isinstance(value, dict):
        value = value.get("#text")
    return value if isinstance(value, str) else None


class XmlRecords:
    """A format whose records are the elements in `records`; `people` are those that name persons."""

    name: str
    records: ClassVar[frozenset[str]]
    people: ClassVar[frozenset[str]] = frozenset()

    def read(self, path: Path, options: Options) -> Reading:
        """Read every record of the tree, parents before children."""
        data = whole(path)
        root = parse_xml(path, data)
        collector = Collector(path, self.name, options)
        header = self.header(path, root)
        if local(root) in self.records:
            self._walk(root, None, collector)
        else:
            header["envelope"] = self.tree(root, collector, nested=False)
            for child in self._below(root):
                self._walk(child, None, collector)
        if not collector.records:
            raise wrong_layout(path, self.name, f"root {local(root)} with no element this reader takes")
        return collector.reading(self._count(data), header)

    def header(self, path: Path, root: Any) -> dict[str, Any]:
        """What the root says; refuses a root of another standard."""
        raise NotImplementedError

    def place(self, record: Record, kind: str, own: dict[str, Any], parent: Place | None) -> Place:
        """Identifier and path of a record; the identifier is its ID, id or name, else its kind."""
        candidates = (first_text(own.get(name)) for name in ("ID", "@id", "@fullname", "name", "@name"))
        identity = next((text for text in candidates if text), kind)
        inherited = dict(parent.inherited) if parent else {}
        path = f"{parent.path}/{identity}" if parent else identity
        return Place(record.row, path, identity, parent.depth + 1 if parent else 0, inherited)

    def finish(self, collector: Collector, record: Record, own: dict[str, Any], element: Any) -> None:
        """What a format adds to a record when all its fields are read."""

    def _count(self, data: bytes) -> int:
        """Start tags of record elements on the bytes, outside comments and CDATA."""
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            data = data.decode("utf-16").encode()
        bare = re.sub(rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>", b"", data, flags=re.DOTALL)
        tags = re.findall(rb"<(?:[\w.-]+:)?([A-Za-z][\w-]*)(?=[\s/>])", bare)
        return sum(tag.decode() in self.records for tag in tags)

    def _below(self, element: Any) -> list[Any]:
        """The nearest record elements below, in file order."""
        found: list[Any] = []
        for child in element.iterchildren(etree.Element):
            found.extend([child] if local(child) in self.records else self._below(child))
        return found

    def _walk(self, element: Any, parent: Place | None, collector: Collector) -> None:
        record = collector.record(len(collector.records) + 1)
        own = self.tree(element, collector, nested=False)
        place = self.place(record, local(element), own, parent)
        record.values.update(
            {
                "record_kind": local(element),
                "path": place.path,
                "parent_row": str(parent.row) if parent else None,
                "depth": str(place.depth),
                "line": str(element.sourceline),
                **place.inherited,
            }
        )
        for name, value in own.items():
            record.values[name] = value if isinstance(value, str) or value is None else dump(value)
        self.finish(collector, record, own, element)
        for child in self._below(element):
            self._walk(child, place, collector)

    def tree(self, element: Any, collector: Collector, *, nested: bool) -> dict[str, Any]:
        """An element's own attributes and children as JSON values, without the records below it."""
        result: dict[str, Any] = {}
        for key, value in element.attrib.items():
            if not key.startswith(_XSI) or key == f"{_XSI}nil":
                result[f"@{etree.QName(key).localname}"] = value
        texts = [element.text, *(child.tail for child in element)]
        if text := " ".join(t.strip() for t in texts if t and t.strip()):
            result["#text"] = text
        for child in element.iterchildren(etree.Element):
            name = local(child)
            if name in self.records:
                continue
            value = self._value(child, name, collector)
            if value is None and not nested:
                continue  # nothing but a container of records
            if name not in result:
                result[name] = value
            elif isinstance(result[name], list):
                result[name].append(value)
            else:
                result[name] = [result[name], value]
        return result

    def _value(self, element: Any, name: str, collector: Collector) -> Any:
        tree = self.tree(element, collector, nested=True)
        if name in self.people and "#text" in tree:
            tree["#text"] = collector.person(tree["#text"])
        if not tree:
            return None if self._below(element) else ""
        return tree["#text"] if tree.keys() == {"#text"} else tree
