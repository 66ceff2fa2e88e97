"""Which instrument wrote an export that no reader of our own knows: by what stands in its first lines.

Here: the list, by the names that allotropy gives. Workbooks are looked at as the text of their first rows below the
name of each sheet in brackets (`Workbook.preview`). What the export says belongs in `allotrope`.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from pipelines.formats.text import as_utf8
from pipelines.formats.workbook import Workbook, is_workbook

HEAD = 1 << 16
_BOOK = "xlsx xlsm xls"
# Of several marks that fit, the parsers are tried in this order until one reads the file.
_MARKS: tuple[tuple[str, frozenset[str], re.Pattern[bytes]], ...] = tuple(
    (vendor, frozenset(endings.split()), re.compile(mark))
    for vendor, endings, mark in (
        # text
        ("CFXMAESTRO", "csv", rb"\A[^\n]*\bWell\b[^\n]*\bFluor\b[^\n]*\bCq\b"),
        ("REVVITY_MATRIX", "csv", rb"\APlate Name,|\A[^\n]*Well Name[^\n]*Live (?:Count|Cells/mL|Concentration)"),
        ("THERMO_FISHER_QUBIT_FLEX", "csv", rb"\A(?:sep=[^\n]*\n)?[^\n]*Test Date[^\n]*(?:Sample RFU|Run ID)"),
        ("THERMO_FISHER_QUBIT4", "csv", rb"\A[^\n]*Test Date[^\n]*RFU"),
        ("THERMO_FISHER_NANODROP_EIGHT", "txt tsv", rb"(?m)^(?:Application|Serial Number|User name):\t"),
        ("THERMO_FISHER_NANODROP_8000", "txt", rb"(?i)\A(?:[^\n]*\n){0,4}[^\n]*(?<!\w)Plate ID\t[^\n]*Sample ID"),
        ("THERMO_FISHER_NANODROP_ONE", "csv", rb"\A[^\n]*Nucleic Acid[^\n]*A260/A280"),
        ("AGILENT_GEN5", "txt", rb"\A(?:[^\n]*\n){0,4}Software Version\t"),
        ("AGILENT_GEN5_IMAGE", "txt", rb"\A(?:[^\n]*\n){0,4}Software Version\t"),
        ("CTL_IMMUNOSPOT", "txt", rb"\A(?:[^\n]*\n){0,19}[^\n]*ImmunoSpot"),
        ("PERKIN_ELMER_ENVISION", "csv", rb"(?m)\A(?:[^\n]*\n){0,19}Plate information"),
        ("BMG_MARS", "csv", rb"\AUser: (?s:.*)Raw Data"),
        ("UNCHAINED_LABS_LUNATIC", "csv", rb"(?is)\A(?=.{0,4096}\bPlate ID\b).{0,4096}\bSample name\b"),
        ("REVVITY_KALEIDO", "csv", rb"\A\s*(?:Results for |EnSight Results from)"),
        ("THERMO_FISHER_GENESYS30", "csv tsv", rb"\AScan[,\t][^\n]*\n[^\n]*\bMode[,\t]"),
        ("BECKMAN_ECHO_CHERRY_PICK", "csv", rb"\ARun ID,(?:[^\n]*\n){2}Application Name,Echo Cherry Pick"),
        ("BECKMAN_ECHO_PLATE_REFORMAT", "csv", rb"\ARun ID,(?:[^\n]*\n){2}Application Name,Labcyte Echo"),
        ("BECKMAN_COULTER_BIOMEK", "csv log", rb"\AMethod = |\A[^\n]*\bWell Index\b"),
        # XML
        ("BIORAD_BIOPLEX", "xml", rb"<PlateDimensions[\s>]|<BioPlex[\w]*[\s>]"),
        ("AGILENT_TAPESTATION_ANALYSIS", "xml", rb"(?s)<FileInformation[\s>].*<ScreenTapes[\s>]"),
        # workbooks
        ("BECKMAN_VI_CELL_XR", _BOOK, rb"\A\[[^\n]*\]\nVi-CELL XR(?s:.*)Viability"),
        ("MABTECH_APEX", _BOOK, rb"(?sm)\A(?=.*^\[Plate Database\]).*^\[Plate Info(?:rmation)?\]"),
        ("THERMO_SKANIT", _BOOK, rb"(?m)^\[Session information\]|\A\[[^\n]*\]\nMeasurement results"),
        ("CYTIVA_BIACORE_INSIGHT", _BOOK, rb"(?m)^\[Report point table\]"),
        ("BMG_LABTECH_SMART_CONTROL", _BOOK, rb"(?im)^\[microplate end point\]"),
        (
            "APPBIO_QUANTSTUDIO_DESIGNANDANALYSIS", _BOOK,
            rb"(?m)^\[(?:Results|Primary_result|Replicate Group Result)\](?s:.*)Well Position",
        ),
        ("THERMO_FISHER_DIOMNI", _BOOK, rb"(?m)^\[(?:Results|Primary_result)\](?s:.*)Well Position"),
        ("REVVITY_MATRIX", _BOOK, rb"(?m)Well Name[^\n]*Live (?:Count|Conc)|^Row\tColumn\t[^\n]*Viab"),
        ("THERMO_FISHER_QUBIT_FLEX", _BOOK, rb"\A[^\n]*\n[^\n]*Test Date[^\n]*Sample RFU"),
        ("THERMO_FISHER_QUBIT4", _BOOK, rb"\A[^\n]*\n[^\n]*Test Date[^\n]*RFU"),
        ("THERMO_FISHER_NANODROP_ONE", _BOOK, rb"\A[^\n]*\n[^\n]*Nucleic Acid[^\n]*A260/A280"),
        ("MSD_WORKBENCH", _BOOK, rb"(?m)^\[Workbench data\]"),
        ("ROCHE_CEDEX_HIRES", _BOOK, rb"\A\[[^\n]*\]\nCedex ID\t"),
        ("LUMINEX_XPONENT", _BOOK, rb"(?m)INSTRUMENT TYPE\t[^\n]*WELL LOCATION"),
        ("CTL_IMMUNOSPOT", _BOOK, rb"ImmunoSpot"),
        ("TECAN_MAGELLAN", _BOOK, rb"Well positions|Date of measurement"),
        ("UNCHAINED_LABS_LUNATIC", _BOOK, rb"(?i)\bPlate (?:ID|type)\b(?s:.*)\bSample name\b"),
        ("BECKMAN_PHARMSPEC", _BOOK, rb"(?i)Particle\s*Size|Run Counter Test"),
    )
)  # fmt: skip


def vendors_in(text: bytes, name: str) -> tuple[str, ...]:
    """The instruments whose marks stand in a text export's first bytes or a workbook's preview."""
    ending = name.rpartition(".")[2].lower()
    text = text.replace(b"\r\n", b"\n")
    return tuple(vendor for vendor, endings, mark in _MARKS if ending in endings and mark.search(text))


def vendors_of(path: Path, data: bytes) -> tuple[str, ...]:
    """The same for a whole file; archives by what they hold. Raises UnreadableFile for half a workbook."""
    if path.suffix.lower() == ".zip":
        return _archive(path)
    if is_workbook(data[:HEAD], path.name):
        return vendors_in(Workbook(path, data).preview(), path.name)
    return vendors_in(as_utf8(data[:HEAD]), path.name)


def _archive(path: Path) -> tuple[str, ...]:
    """UNICORN exports an archive of chromatograms."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return ()
    return ("CYTIVA_UNICORN",) if any(re.search(r"\bChrom\.\d", name) for name in names) else ()
