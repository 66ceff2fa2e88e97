"""FHIR R4: bulk NDJSON, single resources and Bundles, validated as R4B.

Here: resources into records, one a resource, nested values as JSON text. R4 resources are R4B but for a few
types; a field R4B does not know is kept and flagged. What a resource means for an outcome, and which patient
it belongs to here, is mapped elsewhere; the record still holds direct identifiers (DIRECT_IDENTIFIERS).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.formats.jsonl import NotTakenError, as_text, frame, object_of, objects
from pipelines.formats.protocol import Flag, Options, Reading, Refused, UnreadableFile, reading
from pipelines.formats.text import decode, whole

# Fields of Patient, RelatedPerson, Practitioner and any resource's narrative that name or locate a person.
DIRECT_IDENTIFIERS = frozenset({"name", "telecom", "address", "photo", "contact", "identifier", "text"})
_LOG_KEYS = {"exportId", "timestamp", "eventId"}
_MOST_NAMED = 3


class Fhir:
    """Resources of FHIR R4."""

    name = "fhir"

    def recognises(self, head: bytes, filename: str) -> bool:
        """The first object says its resourceType."""
        del filename
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        return start.startswith(b"{") and b'"resourceType"' in start

    def read(self, path: Path, options: Options) -> Reading:
        """Read and validate every resource."""
        resources, refused, received, kind = _resources(path, options)
        flags: list[Flag] = []
        rows: list[tuple[int, dict[str, str | None]]] = []
        for number, resource, plain in resources:
            if (refusal := _check(number, plain, flags)) is not None:
                refused.append(refusal)
                continue
            rows.append((number, {key: as_text(value) for key, value in resource.items()}))
        refused.sort(key=lambda r: r.source_row or 0)
        return reading(
            path, self.name, frame(rows), received, flags=flags, refused=refused, header={"kind": kind}
        )


class FhirExportLog:
    """The log a bulk export writes beside its files: one event a line."""

    name = "fhir_export_log"

    def recognises(self, head: bytes, filename: str) -> bool:
        """The first line has the keys of an export event."""
        del filename
        try:
            return object_of(head.split(b"\n", 1)[0].decode()).keys() >= _LOG_KEYS
        except (NotTakenError, UnicodeDecodeError):
            return False

    def read(self, path: Path, options: Options) -> Reading:
        """Read every line; one without the keys of an event is refused."""
        good, refused, received = objects(path, options)
        rows = []
        for number, line in good:
            if missing := sorted(_LOG_KEYS - line.keys()):
                mend = f"An export event has {', '.join(missing)}: ask for the log again."
                refused.append(Refused(number, None, None, "missing_field", mend))
            else:
                rows.append((number, {key: as_text(value) for key, value in line.items()}))
        refused.sort(key=lambda r: r.source_row or 0)
        return reading(path, self.name, frame(rows), received, refused=refused)


_Resource = tuple[int, dict[str, Any], dict[str, Any]]  # number, with printed numbers, with plain numbers


def _resources(path: Path, options: Options) -> tuple[list[_Resource], list[Refused], int, str]:
    """Resources of a file, however it holds them."""
    text = decode(path, whole(path), options)
    try:
        one = object_of(text)
    except NotTakenError as wrong:
        if wrong.reason == "bad_json" and _is_lines(text):
            return _lines(path, options)
        at = wrong.mend.split(". ")[0]
        raise UnreadableFile(path, at, "not whole JSON", "Ask the site to send the file again.") from wrong
    plain = json.loads(text)
    if one.get("resourceType") != "Bundle":
        return [(1, one, plain)], [], 1, "resource"
    good, refused = _entries(1, one, plain)
    return good, refused, len(plain.get("entry", [])), "bundle"


def _is_lines(text: str) -> bool:
    """The first line stands for itself: an object, or at least the whole of one on a line."""
    first = text.split("\n", 1)[0].strip()
    return first.startswith("{") and first.endswith("}") and len(first) > 2


def _lines(path: Path, options: Options) -> tuple[list[_Resource], list[Refused], int, str]:
    good, refused, received = objects(path, options)
    if all(line.get("resourceType") != "Bundle" for _, line in good):
        return [(number, line, _plain(line)) for number, line in good], refused, received, "ndjson"
    found: list[_Resource] = []
    number = 0  # Bundles (deletions of a bulk export) give several records a line: number those
    renumbered: list[Refused] = []
    lines = dict(good)
    bad = {r.source_row: r for r in refused}
    for line in range(1, received + 1):
        if line in bad:
            number += 1
            renumbered.append(Refused(number, None, None, bad[line].reason, bad[line].mend))
            continue
        resource, plain = lines[line], _plain(lines[line])
        if resource.get("resourceType") != "Bundle":
            number += 1
            found.append((number, resource, plain))
            continue
        entries, wrong = _entries(number + 1, resource, plain)
        found.extend(entries)
        renumbered.extend(wrong)
        number += len(plain.get("entry", []))
    return found, renumbered, number, "ndjson"


def _plain(resource: dict[str, Any]) -> dict[str, Any]:
    """The same resource with ordinary numbers, for validation."""
    from pipelines.formats.jsonl import dump  # only here

    plain: dict[str, Any] = json.loads(dump(resource))
    return plain


def _entries(
    first: int, bundle: dict[str, Any], plain: dict[str, Any]
) -> tuple[list[_Resource], list[Refused]]:
    """Resources of a Bundle; an entry that deletes gives a record that says so."""
    good: list[_Resource] = []
    refused: list[Refused] = []
    pairs = zip(bundle.get("entry", []), plain.get("entry", []), strict=True)
    for number, (entry, same) in enumerate(pairs, first):
        request = entry.get("request", {}) if isinstance(entry, dict) else {}
        if isinstance(entry, dict) and isinstance(entry.get("resource"), dict):
            good.append((number, entry["resource"], same["resource"]))
        elif request.get("method") == "DELETE" and "/" in str(request.get("url", "")):
            kind, _, identity = str(request["url"]).rpartition("/")
            deleted: dict[str, Any] = {
                "resourceType": kind.rpartition("/")[2],
                "id": identity,
                "deleted": "true",
            }
            if isinstance(bundle.get("meta"), dict) and bundle["meta"].get("lastUpdated"):
                deleted["meta"] = {"lastUpdated": str(bundle["meta"]["lastUpdated"])}
            good.append((number, dict(deleted), deleted))
        else:
            mend = "An entry of a Bundle holds a resource or deletes one: correct it in the source."
            refused.append(Refused(number, None, None, "missing_field", mend))
    return good, refused


def _check(number: int, resource: dict[str, Any], flags: list[Flag]) -> Refused | None:
    """Validate under R4B; a field R4B does not know is flagged, anything else refuses the resource."""
    from fhir.resources.R4B import get_fhir_model_class  # costly
    from pydantic import ValidationError

    kind = resource.get("resourceType")
    if not isinstance(kind, str) or not kind:
        return Refused(number, None, None, "missing_field", "A FHIR resource says its resourceType.")
    if resource.get("deleted") == "true" and resource.keys() <= {"resourceType", "id", "deleted", "meta"}:
        flags.append(Flag(number, "deleted", "deleted at the source"))
        return None
    try:
        model = get_fhir_model_class(kind)
    except (LookupError, AttributeError, ValueError):
        return Refused(number, None, kind, "unknown_term", f"{kind} is not a resource type of FHIR R4.")
    try:
        model.model_validate(resource)
    except ValidationError as failed:
        wrong = []
        for error in failed.errors():
            place = ".".join(str(part) for part in error["loc"])
            if error["type"] == "extra_forbidden":
                flags.append(Flag(number, place, "unknown_field"))
            else:
                wrong.append(f"{place or kind}: {error['msg']}")
        if wrong:
            more = f" and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
            said = "; ".join(wrong[:_MOST_NAMED])
            return Refused(number, None, None, "invalid_resource", f"Not valid {kind}: {said}{more}.")
    except LookupError as unknown:  # the validator knows no such type among those inside the resource
        inner = str(unknown).strip("'").removeprefix("R4.").removesuffix("Type")
        mend = f"{inner} inside this {kind} is not a resource type of FHIR R4."
        return Refused(number, None, inner, "unknown_term", mend)
    return None
