"""The runner says of every expected value what became of it, and never leaves one out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from warehouse.verification.method_names import SAME
from warehouse.verification.run import (
    SHIPPED,
    Case,
    adapters_of,
    as_json,
    check_case,
    methods,
    plain,
    read_cases,
    verify,
)


def _folder(tmp_path: Path, **changes: Any) -> Path:
    case = {
        "id": "c1",
        "method": "tost_two_sample_welch",
        "parameters": {
            "m1": 10.0,
            "sd1": 1.0,
            "n1": 5,
            "m2": 10.5,
            "sd2": 1.0,
            "n2": 5,
            "lower": -2,
            "upper": 2,
        },
        "expected": {"diff": -0.5, "df": 8.0, "equivalent": True, "published": {"se": 0.63}},
        "tolerance": {"rel": 1e-9, "abs": 1e-9},
    }
    (tmp_path / "c1.json").write_text(json.dumps(case | changes))
    return tmp_path


def _status(folder: Path) -> dict[str, str]:
    return {check.key: check.status for check in verify(folder)}


def test_every_expected_value_has_a_row_of_the_agreed_form(tmp_path: Path) -> None:
    rows = json.loads(as_json(verify(_folder(tmp_path))))
    assert [row["key"] for row in rows] == ["diff", "df", "equivalent", "published.se"]
    assert {tuple(row) for row in rows} == {("case", "key", "got", "want", "tolerance", "ok", "status")}
    assert all(row["ok"] and row["status"] == "ok" for row in rows)


def test_a_wrong_value_is_a_mismatch(tmp_path: Path) -> None:
    changed = {"diff": -0.5001, "df": 8.0, "equivalent": False, "published": {"se": 0.65}}
    statuses = _status(_folder(tmp_path, expected=changed))
    assert statuses == {"diff": "mismatch", "df": "ok", "equivalent": "mismatch", "published.se": "mismatch"}


def test_an_unknown_method_and_an_unknown_key_are_not_implemented(tmp_path: Path) -> None:
    unknown = _status(_folder(tmp_path, method="tea_leaves"))
    assert set(unknown.values()) == {"not implemented"}
    assert len(unknown) == 4
    assert _status(_folder(tmp_path, expected={"diff": -0.5, "aura": 1.0}))["aura"] == "not implemented"


def test_a_case_of_several_methods_needs_them_all(tmp_path: Path) -> None:
    assert set(_status(_folder(tmp_path, method="tost_two_sample_welch, tea_leaves")).values()) == {
        "not implemented"
    }


def test_a_refusal_is_words_and_right_where_no_value_was_expected(tmp_path: Path) -> None:
    constant = {"m1": 10.0, "sd1": 0.0, "n1": 5, "m2": 10.5, "sd2": 0.0, "n2": 5, "lower": -2, "upper": 2}
    folder = _folder(tmp_path, parameters=constant, expected={"p_tost": None, "df": 8.0, "refused": True})
    checks = {check.key: check for check in verify(folder)}
    assert {key: check.status for key, check in checks.items()} == {
        "p_tost": "ok",
        "df": "error",
        "refused": "ok",
    }
    assert "no spread" in checks["df"].got


def test_an_adapter_that_breaks_or_gives_nan_hurts_its_own_rows_only() -> None:
    def broken(case: Case) -> dict[str, Any]:
        raise ZeroDivisionError(case.id)

    case = Case(id="x", method="m", parameters={}, expected={"a": 1.0})
    assert check_case(case, {"m": broken})[0].status == "error"
    nan = check_case(case, {"m": lambda _: {"a": float("nan")}})
    assert nan[0].status == "mismatch"
    assert json.loads(as_json(nan))[0]["got"] == "nan"


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No reference cases"):
        verify(tmp_path)
    for text in ("{", '{"id": "b", "method": "m", "expected": {}, "data_files": {"d": "no.csv"}}', "[]"):
        (tmp_path / "broken.json").write_text(text)
        with pytest.raises(ValueError, match=r"broken\.json"):
            read_cases(tmp_path)


def test_a_file_that_is_no_case_is_one_row_in_error_and_the_others_still_run(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / "broken.json").write_text("{")
    checks = verify(folder)
    assert [check.status for check in checks] == ["error", "ok", "ok", "ok", "ok"]
    assert (checks[0].case, checks[0].ok) == ("broken", False)
    assert "broken.json" in checks[0].got


def test_shipped_cases_all_have_a_method() -> None:
    known = methods()
    for case in read_cases(SHIPPED):
        assert adapters_of(case.method, known), case.id


def test_a_key_and_a_method_may_be_spelled_otherwise(tmp_path: Path) -> None:
    folder = _folder(tmp_path, method="TOST.two-sample.Welch", expected={"DIFF": -0.5, "welchDf": 8.0})
    assert set(_status(folder).values()) == {"ok"}


def test_infinite_values_are_compared_and_printed() -> None:
    case = Case(id="x", method="m", parameters={}, expected={"a": float("inf"), "b": "-Inf", "c": 1.0})
    checks = check_case(case, {"m": lambda _: {"a": float("inf"), "b": float("-inf"), "c": float("inf")}})
    assert [check.ok for check in checks] == [True, True, False]
    assert json.loads(as_json(checks))[0]["want"] == "inf"


def test_other_names_of_methods_lead_to_adapters() -> None:
    known = methods()
    assert all(name in known for name in SAME.values())
    assert not {plain(other) for other in SAME} & {plain(name) for name in known}
