"""Every statistic against values that others published, one test per expected value.

Runs the shipped cases and, where CELLFLEET_REFERENCE_CASES names a folder of further ones, those too.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from warehouse.verification.run import SHIPPED, Check, verify

FOLDERS = [SHIPPED, *(Path(name) for name in [os.environ.get("CELLFLEET_REFERENCE_CASES")] if name)]
CHECKS = [(folder.name, check) for folder in FOLDERS for check in verify(folder)]


@pytest.mark.reference
@pytest.mark.parametrize(
    "check", [pytest.param(check, id=f"{folder}:{check.case}:{check.key}") for folder, check in CHECKS]
)
def test_agrees_with_the_published_value(check: Check) -> None:
    assert check.status == "ok", f"got {check.got!r}, want {check.want!r} within {check.tolerance:g}"
