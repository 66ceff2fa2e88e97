"""Contracts: a wrong one is refused with file, line and a plain sentence; the demo's are all good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from mapping_harness import attributes, feed_of, written

from pipelines.harmonise.contract import Contract, ContractError, load_contract
from pipelines.harmonise.mapping import Compiler, columns_used, optional_columns, split_path
from warehouse.dictionary import dictionary
from warehouse.settings import ROOT

DEMO = sorted((ROOT / "pipelines" / "defs" / "sites").glob("*/defs.yaml"))


def refused(folder: Path, change: Callable[[dict[str, Any]], object]) -> tuple[str, str]:
    """The first sentence for a contract with one change, and the line of the file that it names."""
    content = attributes()
    change(content)
    path = written(folder, content)
    with pytest.raises(ContractError) as caught:
        load_contract(path)
    file, line, sentence = caught.value.problems[0].split(":", 2)
    assert file == str(path)
    return sentence, path.read_text("utf-8").splitlines()[int(line) - 1]


def columns(content: dict[str, Any]) -> dict[str, Any]:
    """Columns of the contract's only table."""
    found: dict[str, Any] = content["feeds"]["assay"]["tables"][0]["columns"]
    return found


@pytest.mark.parametrize(
    ("change", "said", "line"),
    [
        (lambda c: c.update(tme_zone="UTC"), "unknown key 'tme_zone'", "tme_zone"),
        (lambda c: c.pop("owner"), "`owner` is missing", "attributes"),
        (lambda c: c.update(time_zone="Berlin"), "IANA name", "time_zone"),
        (lambda c: c["time"].pop("zone"), "declare their `zone`", "time:"),
        (lambda c: c["units"].update({"mcg": "mcgram"}), "not a UCUM unit", "mcg"),
        (lambda c: c["codes"]["attribute"].update({"X|Y": "viability"}), "not in vocabulary", "attribute"),
        (lambda c: c["retired"].update({"methods": []}), "no code map 'methods'", "methods"),
        (lambda c: columns(c)["attribute"].update(codes="tests"), "no code map 'tests'", "attribute"),
        (lambda c: columns(c).pop("sample_id"), "field sample_id", "columns"),
        (lambda c: columns(c).update(colour="x"), "has no field colour", "colour"),
        (lambda c: columns(c).update(replicate={"from": "a", "value": 1}), "exactly one of", "replicate"),
        (lambda c: columns(c)["result"].update(unit="%"), "give the unit once", "result"),
        (lambda c: c["feeds"]["assay"].update(system="lims"), "no system 'lims'", "system"),
        (lambda c: c["feeds"]["assay"].update(compare_keys=True), "in a relational table only", "compare_keys"),
        (lambda c: c["feeds"]["assay"].update(late_after="soon"), "like `36 hours`", "assay"),
        (lambda c: c["feeds"]["assay"].update(day="2026"), "exactly one group", "assay"),
        (lambda c: c["feeds"]["assay"]["format"].update(name="word"), "unknown format 'word'", "format"),
        (
            lambda c: c["systems"]["export"].update(kind="relational", url_env="URL"),
            "either `path` or `url_env`",
            "export",
        ),
        (lambda c: c["systems"]["export"].update(kind="ftp"), "`kind` is one of folder, relational", "export"),
        (lambda c: c["systems"]["export"].update(pth="x"), "unknown key 'pth'", "pth"),
        (lambda c: c["feeds"]["assay"].pop("files"), "a feed of a folder system needs `files`", "assay"),
    ],
)  # fmt: skip
def test_a_wrong_contract_is_refused_with_its_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str, line: str
) -> None:
    sentence, text = refused(tmp_path, change)
    assert said in sentence
    assert line in text


def test_a_unit_that_cannot_become_the_fields_is_refused(tmp_path: Path) -> None:
    table = {"collection_id": "id", "order_id": "order", "volume_ml": {"from": "volume", "unit": "g"}}
    sentence, text = refused(tmp_path, lambda c: c.update(feeds={"c": feed_of("collection", table)}))
    assert "'g' cannot be converted to 'mL'" in sentence
    assert "volume_ml" in text


def test_a_number_without_its_unit_is_refused(tmp_path: Path) -> None:
    table = {"collection_id": "id", "order_id": "order", "volume_ml": "volume"}
    sentence, _ = refused(tmp_path, lambda c: c.update(feeds={"c": feed_of("collection", table)}))
    assert "declare the unit the source prints" in sentence


def test_all_contradictions_are_told_at_once(tmp_path: Path) -> None:
    content = attributes()
    content["units"]["mcg"] = "mcgram"
    columns(content).update(colour="x")
    with pytest.raises(ContractError) as caught:
        load_contract(written(tmp_path, content))
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("text", ["a: [", "type: other\nattributes: {}\n", "", "- 1\n"])
def test_a_file_that_is_no_contract_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "defs.yaml"
    path.write_text(text)
    with pytest.raises(ContractError, match=r"defs\.yaml:\d+: "):
        load_contract(path)


@pytest.mark.parametrize("path", DEMO, ids=lambda p: p.parent.name)
def test_the_demos_contracts_load_and_every_mapping_compiles(path: Path) -> None:
    contract = load_contract(path)
    assert contract.site_id == path.parent.name
    for feed in contract.feeds.values():
        for mapping in feed.maps:
            assert all("problems" in s for s in Compiler(dictionary(), contract, feed, mapping).selects())


def test_every_attribute_of_the_plan_is_measured_at_every_site() -> None:
    """A plan that asks for what no site prints would be inconclusive for ever, and nobody would know why."""
    plan = yaml.safe_load((ROOT / "pipelines" / "defs" / "sites" / "fleet.yaml").read_text("utf-8"))
    for path in DEMO:
        codes = load_contract(path).codes
        for name, attribute in plan["plan"]["attributes"].items():
            assert set(attribute["measured_by"]) & set(map(str, codes["attribute"].values())), (path, name)
            assert set(attribute["methods"]) & set(map(str, codes["method"].values())), (path, name)


def test_columns_used_name_every_source_and_no_field() -> None:
    content = attributes()
    content["feeds"]["assay"]["version"] = "changed"
    content["feeds"]["assay"]["only"] = {"kind": "R"}
    columns(content)["lab_site"] = {"template": "{lab}/{sample_id}"}
    columns(content)["method_id"] = {"first": ["code$.coding[0].code", "method"]}
    feed = Contract.model_validate(content).feeds["assay"]
    assert set(columns_used(feed)) == {
        "id", "sample", "test", "method", "result", "unit", "at", "changed", "kind", "lab",
        "code$.coding[0].code",
    }  # fmt: skip
    assert optional_columns(feed) == {"code$.coding[0].code", "method"}
    assert split_path("code$.coding[0].code") == ("code", "$.coding[0].code")
    assert split_path("US$ paid") == ("US$ paid", None)
