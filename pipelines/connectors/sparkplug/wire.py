"""Sparkplug B payloads: `sparkplug_b.proto` as protobuf classes, and what a metric's value is.

The classes are made from the .proto beside this module when it is imported, so no generated code has to match a
protobuf release. Does not belong here: what a message means for its node (`nodes.py`).
"""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "uint32": _FIELD.TYPE_UINT32, "uint64": _FIELD.TYPE_UINT64, "float": _FIELD.TYPE_FLOAT,
    "double": _FIELD.TYPE_DOUBLE, "bool": _FIELD.TYPE_BOOL, "string": _FIELD.TYPE_STRING, "bytes": _FIELD.TYPE_BYTES,
}  # fmt: skip
_LINE = re.compile(
    r"^\s*(?:message (?P<message>\w+) \{|oneof (?P<oneof>\w+) \{|(?P<end>\})|"
    r"(?:(?P<label>optional|repeated) )?(?P<type>\w+) (?P<name>\w+) = (?P<number>\d+);)\s*$"
)
# Datatypes (specification 6.4.16) whose two's complement lies in an unsigned field, with their bits.
SIGNED = {1: 8, 2: 16, 3: 32, 4: 64}
# Integers, floats and booleans; what follows is text, a time, or made of several values.
NUMERIC = frozenset(range(1, 12))
WHOLE = frozenset({"int_value", "long_value", "boolean_value"})
STALE = 500


def _classes() -> dict[str, Any]:
    package = "cellfleet.sparkplug"
    file = descriptor_pb2.FileDescriptorProto(
        name="cellfleet/sparkplug_b.proto", package=package, syntax="proto2"
    )
    message: Any = None
    inside_oneof = False
    for line in (Path(__file__).parent / "sparkplug_b.proto").read_text("utf-8").splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        if found["message"]:
            message = file.message_type.add(name=found["message"])
        elif found["oneof"]:
            message.oneof_decl.add(name=found["oneof"])
            inside_oneof = True
        elif found["end"]:
            inside_oneof, message = False, message if inside_oneof else None
        elif message is not None and found["name"]:
            label = _FIELD.LABEL_REPEATED if found["label"] == "repeated" else _FIELD.LABEL_OPTIONAL
            field = message.field.add(name=found["name"], number=int(found["number"]), label=label)
            if found["type"] in _TYPES:
                field.type = _TYPES[found["type"]]
            else:
                field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{package}.{found['type']}"
            if inside_oneof:
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [m.name for m in file.message_type]
    return {n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{n}")) for n in names}


_MADE = _classes()
Payload: Any = _MADE["Payload"]
Metric: Any = _MADE["Metric"]


def number_of(metric: Any, kind: str, datatype: int) -> float:
    """The number in the field `kind`, one of WHOLE, as its datatype means it."""
    whole = int(getattr(metric, kind))
    bits = SIGNED.get(datatype)
    if bits is not None:
        whole &= (1 << bits) - 1
        if whole >> (bits - 1):
            whole -= 1 << bits
    return float(whole)


def text_of(metric: Any, kind: str) -> str:
    """What a metric carries that is no number: text as it is, bytes in base 64."""
    found = getattr(metric, kind)
    return found if isinstance(found, str) else b64encode(found).decode("ascii")


def property_of(metric: Any, name: str) -> str | int | float | None:
    """A property of a metric, such as `engUnit` or `Quality`."""
    for key, value in zip(metric.properties.keys, metric.properties.values, strict=False):
        if key == name and not value.is_null and (kind := value.WhichOneof("value")):
            found: str | int | float = getattr(value, kind)
            return found
    return None


def quality_of(code: str | int | float | None) -> str:
    """A `Quality` property in cellfleet's words: 192 good, 500 stale, else the two bits of classic OPC."""
    if code is None:
        return "good"
    if not isinstance(code, int):
        return "uncertain"
    if code == STALE:
        return "uncertain"
    return {0xC0: "good", 0x40: "uncertain"}.get(code & 0xC0, "bad")
