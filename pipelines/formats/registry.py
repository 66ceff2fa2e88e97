"""Every format, and reading one file by its name or by what it looks like.

Here: the list, recognition and `read_file`. Knowledge of any one format belongs in its module.
"""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.formats.allotrope import Allotrope
from pipelines.formats.b2mml import B2mml
from pipelines.formats.cedex_bioht import CedexBioHt
from pipelines.formats.cedex_hires import CedexHiRes
from pipelines.formats.delimited import Delimited
from pipelines.formats.digital_pcr import AbsoluteQ, AbsoluteQCombinations, AbsoluteQSummary, Qiacuity
from pipelines.formats.epcis import Epcis
from pipelines.formats.excel import Excel
from pipelines.formats.facsdiva import FacsDiva
from pipelines.formats.fcs import Fcs
from pipelines.formats.fhir import Fhir, FhirExportLog
from pipelines.formats.flowjo import FlowJo
from pipelines.formats.gating_ml import GateMembership, GatingMl
from pipelines.formats.instruments import vendors_in, vendors_of
from pipelines.formats.jsonl import JsonLines
from pipelines.formats.luminex import Intelliflex, Xponent
from pipelines.formats.msd import MethodicalMind, MsdWorkbench
from pipelines.formats.nc_view import NcView
from pipelines.formats.nova_flex2 import NovaFlex2
from pipelines.formats.nucleoview import NcViewReport, NucleoView
from pipelines.formats.parquet import Parquet
from pipelines.formats.protocol import Format, Options, Reading, UnreadableFile
from pipelines.formats.quantstudio import QuantStudio
from pipelines.formats.softmax_pro import SoftMaxPro
from pipelines.formats.text import as_utf8, whole
from pipelines.formats.vendor_table import VendorTable
from pipelines.formats.vicell_blu import ViCellBlu
from pipelines.formats.vicell_xr import ViCellXr, ViCellXrResults
from pipelines.formats.workbook import Workbook, is_workbook

HEAD = 65536
# Most particular first: the first that recognises a file reads it.
FORMATS: tuple[Format, ...] = (
    Parquet(),
    Excel(),
    Fcs(),
    B2mml(),
    FacsDiva(),
    FlowJo(),
    GatingMl(),
    GateMembership(),
    Epcis(),
    Fhir(),
    FhirExportLog(),
    ViCellBlu(),
    ViCellXr(),
    ViCellXrResults(),
    NcView(),
    NcViewReport(),
    NucleoView(),
    CedexHiRes(),
    CedexBioHt(),
    NovaFlex2(),
    AbsoluteQ(),
    AbsoluteQSummary(),
    AbsoluteQCombinations(),
    Qiacuity(),
    QuantStudio(),
    MsdWorkbench(),
    MethodicalMind(),
    Intelliflex(),
    Xponent(),
    SoftMaxPro(),
    Allotrope(),
    JsonLines(),
    Delimited(),
)
NAMES: tuple[str, ...] = tuple(known.name for known in FORMATS)
_DEFAULT = Options()
_KNOWN_BUT_NOT_READ = (
    (rb"<[^>]*urn:epcglobal:epcis", "EPCIS in XML", "Export the events as EPCIS 2.0 in JSON."),
    (rb"<[^>]*http://hl7\.org/fhir\"", "FHIR in XML", "Export the resources as JSON or NDJSON."),
    (
        rb"\A\xd0\xcf\x11\xe0",
        "a file of Microsoft Office or of an instrument's own program, and no workbook",
        "Export it as text or as a workbook.",
    ),
    (rb"\A(?:PK|\x1f\x8b)", "an archive", "Unpack it and read what it holds."),
)


def format_named(name: str) -> Format:
    """The format of that name; KeyError lists the names there are."""
    for known in FORMATS:
        if known.name == name:
            return known
    raise KeyError(f"no format {name!r}; there are {', '.join(NAMES)}")


def recognise(path: Path) -> Format | None:
    """The format whose marks the file bears, or None."""
    try:
        with path.open("rb") as handle:
            head = handle.read(HEAD)
    except OSError as failed:
        raise UnreadableFile(path, "", f"cannot be opened: {failed.strerror}", "Check the path.") from failed
    if not head:
        raise UnreadableFile(
            path, "0 bytes", "the file is empty", "The file is kept as sent; ask the site to send it again."
        )
    if is_workbook(head, path.name):
        return _workbook_format(path)
    if path.suffix.lower() == ".zip" and vendors_of(path, head):
        return format_named(Allotrope.name)
    head = as_utf8(head)
    return next((known for known in FORMATS if known.recognises(head, path.name)), None)


def _workbook_format(path: Path) -> Format | None:
    """An instrument's table where the workbook holds nothing else, its export, or a sheet that a contract describes."""
    try:
        book = Workbook(path, whole(path))
        preview = book.preview()
    except UnreadableFile:
        # which says what is wrong with it; other programs than Excel write into the same kind of container
        return format_named(Excel.name) if path.suffix.lower().startswith(".xls") else None
    for known in FORMATS:
        if isinstance(known, VendorTable) and known.recognises(preview, path.name):
            if sum(bool(book.rows(name)) for name in book.names) == 1:
                return known
            break
    return format_named(Allotrope.name if vendors_in(preview, path.name) else Excel.name)


def read_file(path: Path, format: str | None = None, options: Options = _DEFAULT) -> Reading:  # noqa: A002
    """Read one file; without a format name the file is recognised by its content.

    Raises UnreadableFile when the file cannot be read, KeyError for a format name that does not exist.
    """
    if format is not None:
        return format_named(format).read(path, options)
    known = recognise(path)
    if known is None:
        raise _unrecognised(path)
    return known.read(path, options)


def _unrecognised(path: Path) -> UnreadableFile:
    """Why no format takes a file; of what is known but not read, in which other form it is."""
    with path.open("rb") as handle:
        head = as_utf8(handle.read(HEAD))
    if not head.strip():
        mend = "The file is kept as sent; ask the site to send it again."
        return UnreadableFile(path, "all of it", "nothing but blanks in it: the file is empty", mend)
    for mark, problem, mend in _KNOWN_BUT_NOT_READ:
        if re.search(mark, head):
            return UnreadableFile(path, "first bytes", problem, mend)
    tried = f"no format recognises it (tried {', '.join(NAMES)})"
    return UnreadableFile(path, "first bytes", tried, "Name one with --format.")
