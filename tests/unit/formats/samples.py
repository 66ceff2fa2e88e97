"""Small files of every format, written here and by nobody's instrument, for the tests beside."""

from __future__ import annotations

import io
import json
import struct
from typing import NamedTuple

import openpyxl
import polars as pl


class Sample(NamedTuple):
    """A file: its name, its bytes, the format that must recognise it, and how many records it holds."""

    name: str
    data: bytes
    format: str
    records: int


def fcs(
    bits: list[int], events: list[list[int]], kind: str = "I", order: str = "4,3,2,1", **extra: str
) -> bytes:
    """A list-mode file; integers of any width are packed bit by bit, highest bit first."""
    keywords = {
        "$PAR": str(len(bits)),
        "$TOT": str(len(events)),
        "$DATATYPE": kind,
        "$BYTEORD": order,
        "$MODE": "L",
        "$CYT": "Testcytometer",
        "$DATE": "01-JAN-2026",
        "$NEXTDATA": "0",
    }
    for i, width in enumerate(bits, 1):
        keywords |= {f"$P{i}N": f"C{i}", f"$P{i}B": str(width), f"$P{i}R": str(1 << width), f"$P{i}S": ""}
    keywords |= {key.replace("P_", "$P"): value for key, value in extra.items()}
    keywords = {key: value for key, value in keywords.items() if value}
    text = ("|" + "".join(f"{key}|{value}|" for key, value in keywords.items())).encode("latin-1")
    if kind == "F":
        body = b"".join(struct.pack(">" + "f" * len(bits), *event) for event in events)
    else:
        stream = "".join(
            f"{value:0{width}b}" for event in events for value, width in zip(event, bits, strict=True)
        )
        stream += "0" * (-len(stream) % 8)
        body = int(stream, 2).to_bytes(len(stream) // 8, "big") if stream else b""
    begin = 58 + len(text)
    offsets = (58, begin - 1, begin, begin + len(body) - 1, 0, 0)
    return b"FCS3.0    " + b"".join(f"{n:>8}".encode() for n in offsets) + text + body


def workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Batch"
    for row in (["batch", "harvest"], ["", "viability"], ["B1", 91.5], ["B2", 90]):
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def parquet() -> bytes:
    out = io.BytesIO()
    pl.DataFrame({"tag": ["T1", "T2", "T1"], "value": [1.5, None, 3.25]}).write_parquet(out)
    return out.getvalue()


VICELL_BLU = (
    "Sample ID,Cell count,Viable cells,Total (x10^6) cells/mL,Viable (x10^6) cells/mL,Viability (%),"
    "Average diameter (μm),Analysis date/time,Analysis by\r\n"
    "S1,2000,1900,0.80,0.76,95.0,18.5,3/21/2026 16:56,Jo\r\n"
    "S2,ERROR,ERROR,0.70,0.60,85.7,17.1,3/29/2026 02:30,Jo\r\n"
)
NUCLEOVIEW = (
    "Viability and Cell Count Assay; ;\nImage;20260101-0001-a-S1;\nOperator;Jo;\nViability (%);68.2;\n"
    "Live (cells/ml);2.45E6;\nDead (cells/ml);1.14E6;\nTotal (cells/ml);3.58E3 (Out of optimal"
    " range);\n ; ;\n"
    "Estimated cell diameter (um);<8;\nInstrument type;NucleoView NC-200\nDate time;20260101 163016\n"
    "Time zone offset;2\nLogin ID;admin\nPC;DESKTOP-1\n\n//[ECEC5A41]"
)
NC_VIEW_REPORT = (
    "Source ID:\t1-1\nTime (UTC):\t1999-09-99 09:49:29\nSample ID:\tS1\nOperator:\tgih\nTotal"
    " (cells/ml):\t1.12E+06\n"
    "Live (cells/ml):\t9.28E+05\nDead (cells/ml):\t1.90E+05\nViability (%):\t83.0\nStatus:\tOK\n"
)
VICELL_XR = (
    "Vi-CELL XR 2.06.3\r\n\r\nSample ID : S1\r\nRunDate : 29 Sep 2026  5:21:32 AM\r\nUser :"
    " jo\r\n\r\nResults:\r\n"
    "Images : 50\r\nTotal cells : 4263\r\nViable cells : 4133\r\nViability (%) : 97.0\r\n"
    "Total cells / ml (x 10^6) : 90.2\r\nTotal viable cells / ml (x 10^6) : 87.4\r\nImageBaseName : S1\r\n"
)
NC_VIEW = (
    "NAME,SAMPLE ID,OPERATOR,STATUS,TOTAL (cells/ml),LIVE (cells/ml),DEAD (cells/ml),VIABILITY (%)\n"
    "1,S1,chb,OK,274\u00a0000,124\u00a0000,150\u00a0000,45.1\n"
    "2,S2,chb,Warning: Foreign object detected,1.07E+06,1.02E+06,54\u00a0400,94.9\n"
)
CEDEX_HIRES = (
    "Cedex ID,Sample identifer,Sample draw Time,Date finished,Username,Viability,Viable Cell Conc.\n"
    "37,F01,6-17-2026 8:34:01 AM,6-18-2026 7:46:47 AM,Jo,95.293,4529542.5\n"
)
CEDEX_6 = (
    "0\t2026-09-17 13:04:06\t#ARC-FILE#\t1.1a\t2026-05-01\t2026-09-17\tCEDEX BIO HT\t1\t6.0.0.1905"
    " (1905)\tADMIN\n"
    "40\t2026-09-15 16:55:51\tS1\t\tSAM\t        \tGLN2B\t        \tmmol/L\t \t  2.45\t  0.17138\tR\n"
    "40\t2026-09-15 16:57:19\tS1\t\tSAM\t        \tLDH2B\t        \tU/L\t< TEST RNG\t< 20.00\t  0.00060\tR\n"
    "40\t2026-09-15 16:57:20\tS1\t\tSAM\t1/4     \tODB\t        \tOD\t< TEST RNG \t  6.71\t  1.11766\tR\n"
)
CEDEX_5 = (
    "0\t2026-04-11 13:51:08\t#ARC-FILE#\t1.1a\t2026-04-11\t2026-04-11\tCEDEX BIO HT\t1\t5.0.0.1206"
    " (1206.0)\tADMIN\r\n"
    "40\t2026-04-11 08:48:23\tGLN2B\t\t\tS1\tSAM\tmmol/L\t \t  5.393\t  0.36446\tR\r\n"
)
NOVA = (
    '"Date & Time","Sample ID","Sample Type","Gluc","Lac","pH","Viable Density","Operator",\n'
    "2/18/2026  10:28:04 AM,S1,Default,0.78,0.00,7.340,0.50,Jo,\n"
    "2/18/2026  10:33:17 AM,S2,Default,0.79,0.00,7.262,10.00%,Jo,\n"
)
ABSOLUTE_Q = (
    "Run,Date,Instrument,Plate,Group,Name,Well,Total,Dye,Target,Conc. cp/uL,SD,Positives\r\n"
    "R1,5/19/2026,AQ 1,M1,Group 1 (2),,Average,20443.63,VIC,Gene A,53.71,69.96,460\r\n"
    "R1,5/19/2026,AQ 1,M1,Group 1,Lysate,A1,20413,VIC,Gene A,0,,0\r\n"
)
QIACUITY = (
    "sep=,,,,,,,\n,Sample/NTC/Control,Type,Reaction Mix,Target,Concentration (copies/µL),Partitions (valid),"
    "Partitions (positive)\nA1,1,Sample,5p,5p,86.32,25485,1778\n"
)
QUANTSTUDIO = (
    "* Block Type = 96-Well Block\n* Experiment Run End Time = 2026-10-20 02:23:34 AM EDT\n* User"
    " Name = Jo\n\n"
    "[Sample Setup]\nWell\tWell Position\tSample Name\n1\tA1\tS1\n\n"
    "[Results]\nWell\tWell Position\tSample Name\tTarget Name\tCT\tComments\n"
    "1\tA1\tS1\tVCN\t23.5\t\n2\tA2\tS9\tVCN\tUndetermined\t\n"
)
MSD = (
    "Plate_T1\nSample,Assay,Well,Spot,Detection Range,Dilution,Concentration,Signal,Calc. Concentration\n"
    "S1,IFN-g,A01,1,In Detection Range,2,,1000.0,102.0\nS2,IFN-g,A02,1,Above Detection Range,2,,2000.0,NaN\n"
)
METHODICAL = (
    "FileName :\tP1.txt\nBarcode1 :\t<2CM0>\nType     :\t96\nDet Param:\tStandard\n"
    "Read Time:\t08/15/2026\t17:23:13 EDT\nUser     :\tjo\nSerial # :\t111\n"
    "==========Data==========\n\t1\t2\nA\t892213\t886062\n\t305475\t271341\n"
    "==========Statistics====\nAverage  :\t5203\n"
)
INTELLIFLEX = (
    "INSTRUMENT TYPE,SERIAL NUMBER,PLATE NAME,PLATE START,WELL LOCATION,SAMPLE ID,R25: RP1 MEDIAN\n"
    "INTELLIFLEX,IF1,P1,11/18/2026 10:11:12 AM,A1,S1,4951.8\n"
)
XPONENT = (
    '"Program","xPONENT","","FlexMAP 3D"\n"SN","FM1"\n"Operator","waldo"\n"BatchStopTime","5/18'
    '/2026 11:36:34 AM"\n\n'
    '"Samples","2","Min Events","100"\n\n"Results"\n\n"DataType:","Median"\n"Location","Sample"'
    ',"alpha","Total Events"\n'
    '"1(1,A1)","U1","11510","664"\n"2(1,B1)","U2","8538","832"\n\n"DataType:","Count"\n"Locatio'
    'n","Sample","alpha"\n'
    '"1(1,A1)","U1","25"\n'
)
SOFTMAX = (
    "##BLOCKS= 2\r\nPlate:\tP1\t1.3\tPlateFormat\tEndpoint\tAbsorbance\tRaw\tFALSE\t1\r\n"
    "\tTemperature(¡C)\t1\t2\t\r\n\t25.0\t0.1\t0.2\t\r\n\t\t0.3\t0.4\t\r\n\r\n~End\r\n"
    "Group: Standards\r\nSample\tWells\tOD\r\n01\tA1\t0.1\r\n~End\r\nOriginal Filename: x\r\n"
)
CFX = (
    "Well,Fluor,Target,Content,Sample,Biological Set Name,Cq,Cq Mean,Cq Std. Dev,Starting Quantity (SQ),"
    "Log Starting Quantity,SQ Mean,SQ Std. Dev,Set Point,Well Note\n"
    "A01,FAM,VCN,Unkn-1,S1,,23.51,23.5,0.1,1.2E+03,3.07,1200,10,60,\n"
    "A02,FAM,VCN,Unkn-2,S2,,NaN,,,N/A,N/A,0,0,60,\n"
    "A03,HEX,ALB,NTC,,,21.0,21,0,5,0.7,5,0,60,\n"
)
QUBIT = (
    "Run ID,Assay Name,Test Name,Test Date,Qubit Tube Conc.,Units,Original Sample Conc.,Units,Sample Volume (uL),"
    "Dilution Factor,Std 1 RFU,Std 2 RFU,Std 3 RFU,Excitation,Emission,Green RFU,Far Red RFU\n"
    "R1,RNA HS,S1,03/29/2026 02:30:00 AM,,Out of range,,Out of range,1,200,42.1,890.5,,Red,Far Red,,20\n"
    "R1,RNA HS,S2,08/11/2026 10:46:00 AM,52.1,ng/mL,10.4,ng/uL,1,200,42.1,890.5,,Red,Far Red,,523.1\n"
)
FACSDIVA = (
    '<?xml version="1.0"?><bdfacs version="Version 6.2"><experiment name="E1"><owner_name>Jo</owner_name>'
    '<specimen name="Sp1"><tube name="T1"><date>2026-04-15T16:13:22</date><record_user>Jo</reco'
    "rd_user><gates>"
    '<gate fullname="All Events" type="E"><name>All Events</name><num_events>28095</num_events></gate>'
    '<gate fullname="All Events\\P1" type="R"><name>P1</name><num_events>22927</num_events></gate>'
    "</gates></tube></specimen></experiment></bdfacs>"
)
FLOWJO = (
    '<?xml version="1.0"?><Workspace version="20.0" flowJoVersion="10.8.1" '
    'xmlns:gating="http://www.isac-net.org/std/Gating-ML/v2.0/gating"><SampleList>'
    '<Sample><DataSet uri="file:/d/a.fcs"/><Keywords><Keyword name="$CYT" value="X"/>'
    '<Keyword name="$OP" value="Jo"/></Keywords>'
    '<SampleNode name="a.fcs" count="1000" sampleID="1"><Subpopulations><Population name="CD3+" count="400">'
    "<Gate><gating:RectangleGate/></Gate></Population></Subpopulations></SampleNode></Sample></SampleList></Workspace>"
)
GATING = (
    '<gating:Gating-ML xmlns:gating="http://www.isac-net.org/std/Gating-ML/v2.0/gating" '
    'xmlns:data-type="http://www.isac-net.org/std/Gating-ML/v2.0/datatypes">'
    '<gating:RectangleGate gating:id="R1"><gating:dimension gating:min="100"'
    ' gating:compensation-ref="uncompensated">'
    '<data-type:fcs-dimension data-type:name="FSC-H"/></gating:dimension></gating:RectangleGate'
    "></gating:Gating-ML>"
)
B2MML = (
    '<BatchProductionRecord xmlns="http://www.wbf.org/xml/B2MML-V0401"><ID>R1</ID><ExecutedControlRecipes>'
    "<ExecutedControlRecipe><ID>1</ID><BatchID>BX1</BatchID><RuntimeRecipeElement><ID>BX1|Make</ID>"
    "<RecipeElementType>Procedure</RecipeElementType><RuntimeRecipeElement><ID>BX1|Make|Expand</ID>"
    "<RecipeElementType>UnitProcedure</RecipeElementType><OtherInformation><ID>pH</ID><Value><ValueString>7.2"
    "</ValueString><UnitOfMeasure/></Value></OtherInformation><CompletionTime>2026-04-27T16:02:06.903+02:00"
    "</CompletionTime><Performer>jdoe</Performer></RuntimeRecipeElement></RuntimeRecipeElement>"
    "</ExecutedControlRecipe></ExecutedControlRecipes><Comments><Comment><ID>C1</ID><TimeStamp>"
    "2026-02-30T10:00:00Z"
    "</TimeStamp><PersonID>jdoe</PersonID><CommentText>Door open.</CommentText></Comment></Comments>"
    "</BatchProductionRecord>"
)
EVENT = {
    "type": "ObjectEvent",
    "eventID": "urn:uuid:1",
    "eventTime": "2026-04-03T20:33:31.116-06:00",
    "eventTimeZoneOffset": "-06:00",
    "action": "OBSERVE",
    "bizStep": "shipping",
    "disposition": "in_transit",
    "epcList": ["urn:epc:id:sgtin:0614141.107346.2017"],
}


def epcis(*events: object, **changes: object) -> bytes:
    document = {
        "@context": ["https://ref.gs1.org/standards/epcis/epcis-context.jsonld"],
        "type": "EPCISDocument",
        "schemaVersion": "2.0",
        "creationDate": "2026-07-11T11:30:47Z",
        "epcisBody": {"eventList": list(events)},
    }
    return json.dumps({k: v for k, v in {**document, **changes}.items() if v is not None}).encode()


PATIENT = {"resourceType": "Patient", "id": "p1", "gender": "female", "birthDate": "1970-01-02"}
OBSERVATION = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "code": {"text": "CRS grade"},
    "subject": {"reference": "Patient/p1"},
    "valueQuantity": {"value": 7.90, "unit": "mg/L"},
}


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


ABSOLUTE_Q_SUMMARY = """\
,,,,,FAM,,,,VIC,,,,
Run name,Group,Sample,Well,Total,Target,Conc.,Positives,Threshold,Target,Conc.,Positives,Threshold,QC
R1,,,Average,20407.6,T1,1905.18,4916,,T2,1200.85,6865,,
R1,,S1,A1,20419,T1,392.15,3182,13019,T2,399.55,3237,1372,PASS
"""
ABSOLUTE_Q_COMBINATIONS = """\
Run,Date,Instrument,Plate,Sample,Channels,Count,Copies per microliter,Total
R1,2026-05-24 19:45:43.758605+00:00,22,M1,S1,,12189,0.00,20419
R1,2026-05-24 19:45:43.758605+00:00,22,M1,S1,"FAM,VIC",2311,278.04,20419
"""
VICELL_XR_RESULTS = (
    ("Vi-CELL XR 2.06.3",),
    ("Unit S/N:  AW1",),
    (),
    ("Sample ID", "File name", "Dilution", "Sample date/time", "Viable", "Viability", "Viable cells"),
    ("", "", "factor", "", "cells", "(%)", "/ml (x10^6)"),
    ("0", "1", "2", "3", "4", "5", "6"),
    ("S1", "S1.smp", "2.00", "6 Apr 2026  10:25:31 AM", "6198", "93.6", "13.2"),
    ("S2", "S2.smp", "2.00", "6 Apr 2026  10:28:50 AM", "5471", "ERROR", "11.7"),
)


def sheet(rows: tuple[tuple[str, ...], ...], hidden: tuple[int, ...] = ()) -> bytes:
    """A workbook of one sheet as an instrument writes it, some rows hidden."""
    book = openpyxl.Workbook()
    for number, row in enumerate(rows, 1):
        for column, text in enumerate(row, 1):
            book.active.cell(number, column, text or None)
    for number in hidden:
        book.active.row_dimensions[number].hidden = True
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


SAMPLES = [
    Sample("table.csv", b'batch;value\nB1;1,5\nB2;"2,5"\n', "delimited", 2),
    Sample("tags.parquet", parquet(), "parquet", 3),
    Sample("log.jsonl", lines({"a": 1, "b": {"c": [1.50]}}, {"a": None}), "jsonl", 2),
    Sample("book.xlsx", workbook(), "excel", 3),
    Sample("blu.csv", VICELL_BLU.encode(), "vicell_blu", 2),
    Sample("xr.txt", VICELL_XR.encode(), "vicell_xr", 1),
    Sample("xr.xlsx", sheet(VICELL_XR_RESULTS, (6,)), "vicell_xr_results", 2),
    Sample("nucleoview.csv", NUCLEOVIEW.encode(), "nucleoview", 1),
    Sample("nc_report.csv", NC_VIEW_REPORT.encode(), "nc_view_report", 1),
    Sample("nc_view.csv", NC_VIEW.encode(), "nc_view", 2),
    Sample("hires.csv", CEDEX_HIRES.encode(), "cedex_hires", 1),
    Sample("cedex6.txt", CEDEX_6.encode(), "cedex_bioht", 3),
    Sample("cedex5.txt", CEDEX_5.encode(), "cedex_bioht", 1),
    Sample("nova.csv", NOVA.encode(), "nova_flex2", 2),
    Sample("aq.csv", ABSOLUTE_Q.encode(), "absolute_q", 2),
    Sample("aq_summary.csv", ABSOLUTE_Q_SUMMARY.encode(), "absolute_q_summary", 4),
    Sample("aq_channels.csv", ABSOLUTE_Q_COMBINATIONS.encode(), "absolute_q_combinations", 2),
    Sample("qiacuity.csv", QIACUITY.encode(), "qiacuity", 1),
    Sample("qs.txt", QUANTSTUDIO.encode(), "quantstudio", 3),
    Sample("msd.csv", MSD.encode(), "msd_workbench", 2),
    Sample("mm.txt", METHODICAL.encode(), "methodical_mind", 4),
    Sample("flex.csv", INTELLIFLEX.encode(), "luminex_intelliflex", 1),
    Sample("xponent.csv", XPONENT.encode(), "luminex_xponent", 3),
    Sample("smp.txt", SOFTMAX.encode("utf-16"), "softmax_pro", 11),
    Sample("cfx.csv", CFX.encode(), "allotrope", 6),
    Sample("qubit.csv", QUBIT.encode(), "allotrope", 3),
    Sample("diva.xml", FACSDIVA.encode(), "facsdiva", 4),
    Sample("study.wsp", FLOWJO.encode(), "flowjo", 3),
    Sample("gates.xml", GATING.encode(), "gating_ml", 1),
    Sample("Results_R1.txt", b"1\r\n0\r\n1\r\n", "gate_membership", 3),
    Sample("record.xml", B2MML.encode(), "b2mml", 5),
    Sample("custody.json", epcis(EVENT), "epcis", 1),
    Sample("patients.ndjson", lines(PATIENT, OBSERVATION), "fhir", 2),
    Sample(
        "log.ndjson",
        lines({"exportId": "1", "timestamp": "2026", "eventId": "kickoff"}),
        "fhir_export_log",
        1,
    ),
    Sample("tubes.fcs", fcs([16, 16], [[1, 2], [3, 4]]), "fcs", 2),
]
