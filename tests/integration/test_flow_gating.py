"""Gates applied to a real T-cell file: by a Gating-ML document, by a FlowJo workspace, and by the command."""

from __future__ import annotations

import copy
import io
import json
import os
from pathlib import Path

import pytest
from lxml import etree
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.formats.fcs import Fcs
from pipelines.formats.gating_ml import gate_counts
from pipelines.formats.protocol import Options, UnreadableFile
from pipelines.formats.registry import read_file

FCS = Path(os.environ.get("CELLFLEET_REAL_FILES", "")) / "100715.fcs"
pytestmark = pytest.mark.skipif(not FCS.is_file(), reason="CELLFLEET_REAL_FILES is not set")
# Channel, lowest, highest of each gate, on compensated values; the thresholds stand beside the file.
GATES = {
    "Live": (None, {"V450-A": (None, 2392.4), "G710-A": (None, 681.6)}),
    "CD3pos": ("Live", {"R780-A": (127.5, None)}),
    "CD4pos": ("CD3pos", {"V655-A": (759.2, None), "V800-A": (None, 790.6)}),
    "CD8pos": ("CD3pos", {"V800-A": (790.6, None), "V655-A": (None, 759.2)}),
}
EVENTS = {
    "root/Live": 15813,
    "root/Live/CD3pos": 6895,
    "root/Live/CD3pos/CD4pos": 1040,
    "root/Live/CD3pos/CD8pos": 560,
}
NAMESPACES = " ".join(
    f'xmlns:{short}="http://www.isac-net.org/std/Gating-ML/v2.0/{name}"'
    for short, name in (("gating", "gating"), ("data-type", "datatypes"), ("transforms", "transformations"))
)


def gating_ml(folder: Path, compensation: str = "FCS") -> Path:
    gates = ""
    for name, (parent, dimensions) in GATES.items():
        above = f' gating:parent_id="{parent}"' if parent else ""
        gates += f'<gating:RectangleGate gating:id="{name}"{above}>'
        for channel, (low, high) in dimensions.items():
            bounds = "".join(f' gating:{k}="{v}"' for k, v in (("min", low), ("max", high)) if v is not None)
            gates += (
                f'<gating:dimension gating:compensation-ref="{compensation}"{bounds}>'
                f'<data-type:fcs-dimension data-type:name="{channel}"/></gating:dimension>'
            )
        gates += "</gating:RectangleGate>"
    path = folder / "gates.xml"
    path.write_text(f"<gating:Gating-ML {NAMESPACES}>{gates}</gating:Gating-ML>", encoding="utf-8")
    return path


def workspace(folder: Path) -> Path:
    """A workspace as FlowJo lays it out: the matrix in the sample, counts at the populations."""
    import flowkit
    import numpy as np

    sample = flowkit.Sample(str(FCS))
    spill = Fcs().read(FCS, Options()).header["spillover"]
    session = flowkit.Session(fcs_samples=[sample])
    session.add_comp_matrix(
        "SPILL", flowkit.Matrix(np.array(spill["matrix"]), spill["channels"], spill["channels"])
    )
    for name, (parent, dimensions) in GATES.items():
        sides = [
            flowkit.Dimension(channel, compensation_ref="SPILL", range_min=low, range_max=high)
            for channel, (low, high) in dimensions.items()
        ]
        path = {None: ("root",), "Live": ("root", "Live"), "CD3pos": ("root", "Live", "CD3pos")}[parent]
        session.add_gate(flowkit.gates.RectangleGate(name, sides), path)
    written = io.BytesIO()
    session.export_wsp(written, "All Samples")
    root = etree.fromstring(written.getvalue())
    matrix = next(element for element in root.iter() if str(element.tag).endswith("}spilloverMatrix"))
    for found in root.iter("Sample"):
        found.insert(1, copy.deepcopy(matrix))
        for node in found.iter("SampleNode"):
            node.set("count", "65016")
        for population in found.iter("Population"):
            count = next(n for path, n in EVENTS.items() if path.endswith(f"/{population.get('name')}"))
            population.set("count", str(count))
    path = folder / "study.wsp"
    path.write_bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))
    return path


def test_gates_of_a_document_give_the_ratio_with_path_and_method(tmp_path: Path) -> None:
    counts = gate_counts(FCS, gating_ml(tmp_path))
    assert dict(zip(counts["gate_path"], counts["events"], strict=True)) == EVENTS
    assert set(counts["compensation"]) == {"FCS"}
    assert all(method.startswith("flowkit ") for method in counts["method"])
    asked = ["gates", str(FCS), str(tmp_path / "gates.xml"), "--ratio", "CD4pos:CD8pos", "--json"]
    told = json.loads(CliRunner().invoke(app, asked, catch_exceptions=False).stdout)
    assert told["ratio"] == {"of": "CD4pos:CD8pos", "value": 1.8571}


def test_without_compensation_the_ratio_is_another(tmp_path: Path) -> None:
    counts = gate_counts(FCS, gating_ml(tmp_path, "uncompensated"))
    events = dict(zip(counts["gate"], counts["events"], strict=True))
    assert events["CD4pos"] != 1040
    assert set(counts["compensation"]) == {"uncompensated"}


def test_a_workspace_is_read_and_its_gates_give_what_it_stored(tmp_path: Path) -> None:
    path = workspace(tmp_path)
    stored = read_file(path)
    assert stored.format == "flowjo"
    populations = stored.records.filter(stored.records["record_kind"] == "Population")
    assert {f"root/{p}": int(n) for p, n in populations.select("gate_path", "event_count").rows()} == EVENTS
    assert populations["compensation"].to_list() == ["SPILL"] * 4
    assert populations["percent_of_parent"].to_list() == ["24.3217", "43.6034", "15.0834", "8.1218"]
    assert populations["gating_method"][0].startswith("FlowJo ")
    counts = gate_counts(FCS, path)
    assert dict(zip(counts["gate_path"], counts["events"], strict=True)) == EVENTS


def test_gates_of_other_channels_are_refused(tmp_path: Path) -> None:
    path = gating_ml(tmp_path)
    path.write_text(path.read_text("utf-8").replace("R780-A", "BV999-A"), encoding="utf-8")
    with pytest.raises(UnreadableFile, match="cannot be gated"):
        gate_counts(FCS, path)
    asked = ["gates", str(FCS), str(gating_ml(tmp_path)), "--ratio", "CD4pos:CD9pos"]
    told = CliRunner().invoke(app, asked)
    assert told.exit_code == 2
