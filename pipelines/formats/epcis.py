"""EPCIS 2.0 in JSON: capture and query documents and single events, each event checked.

Here: what an event of each type must hold, and the vocabulary checks that the published JSON schema leaves
out. What an event means for the chain of custody belongs elsewhere. An event with an errorDeclaration is a
correction of an earlier one, and says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.formats import cbv
from pipelines.formats.jsonl import NotTakenError, Number, as_text, frame, object_of
from pipelines.formats.protocol import Flag, Options, Reading, Reason, Refused, UnreadableFile, reading
from pipelines.formats.text import decode, whole

_SEND = "Correct it in the source and capture the event again."
_ACTIONS = ("ADD", "OBSERVE", "DELETE")
_OFFSET = re.compile(r"[+-](?:0\d|1[0-4]):[0-5]\d")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
_COMMON = frozenset(
    [
        "type",
        "eventID",
        "eventTime",
        "recordTime",
        "eventTimeZoneOffset",
        "certificationInfo",
        "errorDeclaration",
        "bizStep",
        "disposition",
        "persistentDisposition",
        "readPoint",
        "bizLocation",
        "bizTransactionList",
        "sourceList",
        "destinationList",
        "sensorElementList",
        "@context",
    ]
)
_OWN = {
    "ObjectEvent": {"action", "epcList", "quantityList", "ilmd"},
    "AggregationEvent": {"action", "parentID", "childEPCs", "childQuantityList"},
    "AssociationEvent": {"action", "parentID", "childEPCs", "childQuantityList"},
    "TransactionEvent": {"action", "parentID", "epcList", "quantityList"},
    "TransformationEvent": {
        "transformationID", "inputEPCList", "inputQuantityList", "outputEPCList", "outputQuantityList",
        "ilmd",
    },
}  # fmt: skip
_EPC_LISTS = ("epcList", "childEPCs", "inputEPCList", "outputEPCList")
_QUANTITY_LISTS = ("quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList")
_ARRAYS = ("bizTransactionList", "sourceList", "destinationList", "sensorElementList")
_TYPED_LISTS = (
    ("bizTransactionList", "bizTransaction", cbv.TRANSACTION_TYPES),
    ("sourceList", "source", cbv.PARTY_TYPES),
    ("destinationList", "destination", cbv.PARTY_TYPES),
)
_Problem = tuple[Reason, str, str | None, str]  # reason, field, value, sentence


class Epcis:
    """EPCIS 2.0."""

    name = "epcis"

    def recognises(self, head: bytes, filename: str) -> bool:
        """A JSON object that calls itself an EPCIS document, or one event."""
        del filename
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        if not start.startswith(b"{"):
            return False
        marks = (
            rb'"type"\s*:\s*"(?:EPCIS(?:Query)?Document|(?:Object|Aggregation|Association|Trans\w+)Event)"'
        )
        return re.search(marks, start) is not None and b'"resourceType"' not in start

    def read(self, path: Path, options: Options) -> Reading:
        """Read and check every event."""
        text = decode(path, whole(path), options)
        try:
            document = object_of(text)
        except NotTakenError as wrong:
            at = wrong.mend.split(". ")[0]
            raise UnreadableFile(
                path, at, "not whole JSON", "Ask the site to send the file again."
            ) from wrong
        events, header = _events(path, document)
        context = header["context"]
        flags: list[Flag] = []
        refused: list[Refused] = []
        rows: list[tuple[int, dict[str, str | None]]] = []
        for number, event in enumerate(events, 1):
            problems = list(_problems(event, context or (isinstance(event, dict) and "@context" in event)))
            if problems:
                mend = " ".join(sentence for *_, sentence in problems) + " " + _SEND
                refused.append(Refused(number, None, problems[0][2], problems[0][0], mend))
                continue
            rows.append((number, _record(number, event, flags)))
        received = _count(json.loads(text))
        return reading(path, self.name, frame(rows), received, flags=flags, refused=refused, header=header)


def _events(path: Path, document: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Events of a document and what it says about all of them."""
    kind = document.get("type")
    if kind in _OWN:
        return [document], {"type": kind, "context": "@context" in document}
    if kind not in ("EPCISDocument", "EPCISQueryDocument"):
        raise UnreadableFile(path, f"type {kind}", "not an EPCIS document", "Name another format.")
    version = document.get("schemaVersion")
    if not isinstance(version, str) or not re.fullmatch(r"2\.\d+(?:\.\d+)?", version):
        raise UnreadableFile(
            path, f"schemaVersion {version}", "not EPCIS 2", "Export the events as EPCIS 2.0 in JSON."
        )
    body = document.get("epcisBody")
    if isinstance(body, dict) and "queryResults" in body:
        results = body["queryResults"]
        body = results.get("resultsBody") if isinstance(results, dict) else None
    events = (
        body.get("eventList", [body["event"]] if "event" in body else None)
        if isinstance(body, dict)
        else None
    )
    if not isinstance(events, list):
        raise UnreadableFile(path, "epcisBody", "holds no list of events", "Export the events again.")
    created = document.get("creationDate")
    if not (isinstance(created, str) and is_time(created)):
        raise UnreadableFile(
            path,
            f"creationDate {created}",
            "the document does not say when it was made",
            "Export the events again with creationDate, a time with its offset.",
        )
    header = {
        "type": kind,
        "schemaVersion": version,
        "creationDate": document.get("creationDate"),
        "context": "@context" in document,
        "id": document.get("id"),
    }
    return events, header


def _count(document: Any) -> int:
    """Events of a document as plain JSON sees it."""
    body = document.get("epcisBody", {})
    body = body.get("queryResults", {}).get("resultsBody", body)
    return len(body.get("eventList", [None]))


def _record(number: int, event: dict[str, Any], flags: list[Flag]) -> dict[str, str | None]:
    record = {key: as_text(value) for key, value in event.items()}
    declaration = event.get("errorDeclaration")
    record["is_correction"] = "true" if declaration is not None else "false"
    if isinstance(declaration, dict):
        reason = declaration.get("reason", "no reason given")
        flags.append(Flag(number, "errorDeclaration", f"corrects this event: {reason}"))
    return record


def _problems(event: Any, context: bool) -> Iterator[_Problem]:
    """Everything that is wrong with an event, worst first."""
    if not isinstance(event, dict):
        yield "not_an_object", "", None, "An event is a JSON object."
        return
    kind = event.get("type")
    if kind not in _OWN:
        yield "unknown_term", "type", as_text(kind), f"{kind} is not a type of EPCIS event."
        return
    if not context:
        yield "missing_field", "@context", None, "The document has no @context, so its words mean nothing."
    shapes = [f for f in (*_EPC_LISTS, *_QUANTITY_LISTS, *_ARRAYS) if not isinstance(event.get(f, []), list)]
    for field in shapes:
        yield "wrong_type", field, as_text(event[field]), f"{field} is a list."
    for field in ("readPoint", "bizLocation"):
        place = event.get(field, {"id": "urn:none"})
        if not isinstance(place, dict) or not isinstance(place.get("id"), str):
            yield "wrong_type", field, as_text(place), f"{field} is an object with an id."
    for field in ("persistentDisposition", "errorDeclaration"):
        if not isinstance(event.get(field, {}), dict):
            shapes.append(field)
            yield "wrong_type", field, as_text(event[field]), f"{field} is an object."
    if shapes:
        return
    yield from _when(event)
    yield from _what(kind, event)
    yield from _words(event)
    yield from _lists(event)
    for key in event:
        if key not in _COMMON and key not in _OWN[kind] and ":" not in key:
            yield "unknown_term", key, None, f"{key} is no field of an {kind} and has no namespace."


def _when(event: dict[str, Any]) -> Iterator[_Problem]:
    for field in ("eventTime", "eventTimeZoneOffset"):
        if field not in event:
            yield "missing_field", field, None, f"{field} is required."
    for field in ("eventTime", "recordTime"):
        if field in event and not is_time(event[field]):
            yield (
                "bad_time",
                field,
                as_text(event[field]),
                f"{field} {event[field]!r} is no time with an offset.",
            )
    offset = event.get("eventTimeZoneOffset")
    if offset is not None and not (isinstance(offset, str) and _OFFSET.fullmatch(offset)):
        yield (
            "bad_time",
            "eventTimeZoneOffset",
            as_text(offset),
            f"eventTimeZoneOffset {offset!r} is not ±hh:mm.",
        )
    declaration = event.get("errorDeclaration")
    if declaration is not None and not (
        isinstance(declaration, dict) and is_time(declaration.get("declarationTime"))
    ):
        yield "missing_field", "errorDeclaration", None, "An errorDeclaration has a declarationTime."


def _what(kind: str, event: dict[str, Any]) -> Iterator[_Problem]:
    if "action" in _OWN[kind]:
        action = event.get("action")
        if action is None:
            yield "missing_field", "action", None, f"action is required in an {kind}."
        elif action not in _ACTIONS:
            yield (
                "unknown_term",
                "action",
                as_text(action),
                f"action {action!r} is not ADD, OBSERVE or DELETE.",
            )
    if kind == "ObjectEvent":
        sensed = event.get("sensorElementList") and "readPoint" in event
        if not sensed and "epcList" not in event and not event.get("quantityList"):
            yield (
                "missing_field",
                "epcList",
                None,
                "An ObjectEvent says what it is about: epcList or quantityList.",
            )
    elif kind == "TransactionEvent" and not event.get("bizTransactionList"):
        yield "missing_field", "bizTransactionList", None, "A TransactionEvent has a bizTransactionList."
    elif kind == "TransformationEvent" and "transformationID" not in event:
        for side in ("input", "output"):
            if not event.get(f"{side}EPCList") and not event.get(f"{side}QuantityList"):
                yield "missing_field", f"{side}EPCList", None, f"A TransformationEvent has {side}s."
    elif kind in ("AggregationEvent", "AssociationEvent"):
        yield from _family(kind, event)
    yield from _master_data(kind, event)


def _family(kind: str, event: dict[str, Any]) -> Iterator[_Problem]:
    children = event.get("childEPCs") or event.get("childQuantityList")
    if not children and event.get("action") != "DELETE":
        yield "missing_field", "childEPCs", None, f"An {kind} has childEPCs or childQuantityList."
    if "parentID" not in event and (kind == "AssociationEvent" or event.get("action") != "OBSERVE"):
        yield "missing_field", "parentID", None, f"parentID is required in this {kind}."


def _master_data(kind: str, event: dict[str, Any]) -> Iterator[_Problem]:
    ilmd = event.get("ilmd")
    if ilmd is None:
        return
    if kind == "ObjectEvent" and event.get("action") in ("OBSERVE", "DELETE"):
        yield "conflicting_header", "ilmd", None, "ilmd belongs to an ADD only."
    if not isinstance(ilmd, dict) or any(":" not in key and key != "@context" for key in ilmd):
        yield "unknown_term", "ilmd", as_text(ilmd), "Fields of ilmd need a namespace."


def _words(event: dict[str, Any]) -> Iterator[_Problem]:
    for field, words in (("bizStep", cbv.BIZ_STEPS), ("disposition", cbv.DISPOSITIONS)):
        if field in event and not cbv.known(event[field], words):
            word = as_text(event[field])
            yield "unknown_term", field, word, f"{field} {word} is not in the Core Business Vocabulary."
    persistent = event.get("persistentDisposition", {})
    held = [persistent.get(side, []) for side in ("set", "unset")]
    for word in [w for side in held for w in (side if isinstance(side, list) else [side])]:
        if not cbv.known(word, cbv.DISPOSITIONS):
            yield "unknown_term", "persistentDisposition", as_text(word), f"disposition {word} is not known."
    for field, item, words in _TYPED_LISTS:
        for element in event.get(field, []):
            if not isinstance(element, dict) or item not in element:
                yield "missing_field", field, as_text(element), f"Each element of {field} has a {item}."
            elif "type" in element and not cbv.known(element["type"], words):
                yield (
                    "unknown_term",
                    field,
                    as_text(element["type"]),
                    f"{field}: type {element['type']} is not known.",
                )
    reason = (event.get("errorDeclaration") or {}).get("reason")
    if reason is not None and not cbv.known(reason, cbv.ERROR_REASONS):
        yield "unknown_term", "errorDeclaration", as_text(reason), f"error reason {reason} is not known."


def _lists(event: dict[str, Any]) -> Iterator[_Problem]:
    for field in (*_EPC_LISTS, "parentID"):
        held = event.get(field, [])
        for epc in held if isinstance(held, list) else [held]:
            if not (isinstance(epc, str) and _URI.fullmatch(epc)):
                yield "invalid_identifier", field, as_text(epc), f"{field}: {epc!r} is not a URI."
    for field in _QUANTITY_LISTS:
        for element in event.get(field, []):
            yield from _quantity(field, element)
    for sensed in event.get("sensorElementList", []):
        if not isinstance(sensed, dict) or not sensed.get("sensorReport"):
            yield "missing_field", "sensorElementList", None, "A sensor element has a sensorReport."
            continue
        reports = sensed["sensorReport"]
        for report in reports if isinstance(reports, list) else [reports]:
            yield from _sensor_report(report)
    certificates = event.get("certificationInfo", [])
    for certificate in certificates if isinstance(certificates, list) else [certificates]:
        if isinstance(certificate, dict):
            yield from _certificate_dates(certificate)
        elif not (isinstance(certificate, str) and _URI.fullmatch(certificate)):
            yield "wrong_type", "certificationInfo", as_text(certificate), "certificationInfo holds URIs."


def _sensor_report(report: Any) -> Iterator[_Problem]:
    if not isinstance(report, dict):
        yield "wrong_type", "sensorElementList", as_text(report), "A sensorReport is an object."
        return
    for field in ("value", "minValue", "maxValue", "meanValue", "sDev", "percRank", "percValue"):
        if field in report and not isinstance(report[field], Number):
            said = as_text(report[field])
            yield "wrong_type", "sensorElementList", said, f"sensorReport: {field} {said} is not a number."


def _quantity(field: str, element: Any) -> Iterator[_Problem]:
    if not isinstance(element, dict) or not isinstance(element.get("epcClass"), str):
        yield "missing_field", field, as_text(element), f"Each element of {field} has an epcClass."
        return
    if "quantity" in element and not isinstance(element["quantity"], Number):
        quantity = as_text(element["quantity"])
        yield "wrong_type", field, quantity, f"{field}: quantity {quantity} is not a number."
    for key in element.keys() - {"epcClass", "quantity", "uom"}:
        if ":" not in key:
            yield "unknown_term", field, key, f"{field}: unknown field {key}."


def _certificate_dates(certificate: dict[str, Any]) -> Iterator[_Problem]:
    for key, value in certificate.items():
        if isinstance(value, dict):
            yield from _certificate_dates(value)
        elif key.endswith("Date") and not is_date(value):
            yield "bad_time", "certificationInfo", as_text(value), f"certificationInfo: {value!r} is no date."


def is_date(value: object) -> bool:
    """A date that exists, as YYYY-MM-DD, perhaps with a time."""
    if not isinstance(value, str):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def is_time(value: object) -> bool:
    """A time that exists, with its offset from UTC, as xs:dateTime."""
    return isinstance(value, str) and _TIME.fullmatch(value) is not None and is_date(_microseconds(value))


def _microseconds(value: str) -> str:
    return re.sub(r"(\.\d{1,6})\d*", r"\1", value)
