"""Every statistic against values that others published, one test per case, every value of it compared.

Runs the shipped cases and, where CELLFLEET_REFERENCE_CASES names a folder of further ones, those too.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from warehouse.verification.run import SHIPPED, Case, check_case, methods, read_cases

FURTHER = os.environ.get("CELLFLEET_REFERENCE_CASES")
FOLDERS = [("shipped", SHIPPED), *([("further", Path(FURTHER))] if FURTHER else [])]
CASES = [pytest.param(case, id=f"{name}:{case.id}") for name, path in FOLDERS for case in read_cases(path)]


@pytest.mark.reference
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_published_values(case: Case) -> None:
    checks = check_case(case, methods())
    assert checks, "the case expects nothing"
    failed = [f"{c.key}: {c.status}, got {c.got!r}, want {c.want!r}" for c in checks if c.status != "ok"]
    assert not failed, "\n".join(failed)
