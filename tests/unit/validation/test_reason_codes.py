"""Every reason code of the program is explained in docs/reason-codes.md, and none is explained that does not exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import pipelines
from pipelines.formats.protocol import Reason
from pipelines.ingest.stage import FileRead
from pipelines.validation.findings import RULES, rules
from warehouse.dictionary import dictionary

ROOT = Path(pipelines.__file__).parent
DOCUMENT = ROOT.parent / "docs" / "reason-codes.md"
HEADER = ("-- What:", "-- Why:", "-- Severity:", "-- Cannot be seen:")


def of_tree(tree: ast.Module) -> Iterator[str]:
    severities = dictionary().vocabularies["severity"]
    for node in ast.walk(tree):
        # Problem(when, reason, …) of a mapping; ("table", "reason", "severity", …) or _remark(reason, …) of a remark.
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem":
            second = node.args[1]
            assert isinstance(second, ast.Constant), ast.unparse(node)
            yield str(second.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_remark":
            first = node.args[0]
            assert isinstance(first, ast.Constant), ast.unparse(node)
            yield str(first.value)
        if isinstance(node, ast.Tuple) and len(node.elts) > 3:
            parts = [e.value if isinstance(e, ast.Constant) else None for e in node.elts]
            if parts[2] in severities and isinstance(parts[1], str):
                yield parts[1]
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"'([a-z_]+)' AS reason_code", node.value)


def in_the_program() -> set[str]:
    codes = set(get_args(Reason)) | set(rules()) | {str(FileRead.reason_code)}
    for path in ROOT.rglob("*.py"):
        if "simulator" not in path.parts:
            codes |= set(of_tree(ast.parse(path.read_text("utf-8"))))
    return codes


def in_the_document() -> set[str]:
    return set(re.findall(r"^\| `([a-z_]+)` \|", DOCUMENT.read_text("utf-8"), re.MULTILINE))


def test_every_code_is_explained_and_every_explained_code_exists() -> None:
    assert in_the_program() == in_the_document()


@pytest.mark.parametrize("path", sorted(RULES.glob("*.sql")), ids=lambda p: p.stem)
def test_a_rule_says_what_why_how_severe_and_what_it_cannot_see(path: Path) -> None:
    header = [line for line in path.read_text("utf-8").splitlines() if line.startswith("--")]
    assert header[0].startswith(f"-- {path.stem}: ")
    for word in HEADER:
        assert any(line.startswith(word) for line in header), word
