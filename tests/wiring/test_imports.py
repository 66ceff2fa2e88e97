"""Imports run one way, and the library names no site: read off the source, so nothing has to be imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("pipelines", "warehouse", "dashboards")
MODULES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
# The command line alone may start both pipelines and dashboards.
STARTER = "pipelines.cli"
DEMO_SITES = ROOT / "pipelines" / "defs" / "sites"


def dotted(path: Path) -> str:
    """Name of the module or package in a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import of ours in a file, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{base(path, node)}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] in PACKAGES:
                yield node.lineno, name


def base(path: Path, node: ast.ImportFrom) -> str:
    """Module that a `from … import` takes from, a relative one spelt out."""
    if not node.level:
        return str(node.module)
    package = dotted(path.parent / "__init__.py").split(".")
    kept = package[: len(package) - node.level + 1]
    return ".".join([*kept, node.module] if node.module else kept)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def broken(importer: str, forbidden: tuple[str, ...], allowed: tuple[str, ...] = ()) -> list[str]:
    """Imports in modules of `importer` that lead into `forbidden` but not into `allowed`."""
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in MODULES
        if within(dotted(path), importer) and dotted(path) != STARTER
        for line, name in imports(path)
        if any(within(name, f) for f in forbidden) and not any(within(name, a) for a in allowed)
    ]


def test_something_is_read() -> None:
    assert {dotted(p).split(".")[0] for p in MODULES} == set(PACKAGES)
    assert sum(1 for p in MODULES for _ in imports(p)) > 100


@pytest.mark.parametrize(
    ("importer", "forbidden", "allowed"),
    [
        ("warehouse", ("pipelines", "dashboards"), ()),
        ("dashboards", ("pipelines",), ()),
        ("pipelines", ("dashboards",), ()),
        ("warehouse.statistics", PACKAGES, ("warehouse.statistics",)),
        # What is scored must not share code with what finds it.
        ("pipelines.simulator", PACKAGES, ("pipelines.simulator",)),
        ("pipelines.formats", ("pipelines",), ("pipelines.formats", "pipelines.failures")),
        ("pipelines.connectors", ("pipelines.ingest", "pipelines.validation", "pipelines.formats"), ()),
    ],
)
def test_imports_run_one_way(importer: str, forbidden: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    assert broken(importer, forbidden, allowed) == []


def test_only_the_command_line_knows_the_simulator() -> None:
    outside = [p for p in MODULES if not within(dotted(p), "pipelines.simulator")]
    knowing = {dotted(p) for p in outside for _, name in imports(p) if within(name, "pipelines.simulator")}
    assert knowing <= {"pipelines.cli", "pipelines.demo"}


def test_the_verifier_of_the_ledger_stands_alone() -> None:
    """It is handed to others as one file, so it may import the standard library only."""
    import sys

    tree = ast.parse((ROOT / "warehouse" / "ledger" / "verify.py").read_text("utf-8"))
    named = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    named |= {str(n.module).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert named <= sys.stdlib_module_names


def test_the_library_names_no_demo_site() -> None:
    """A site is data: its name stands in its contract, and in the simulator that plays it."""
    sites = [p.parent.name for p in DEMO_SITES.glob("*/defs.yaml")]
    assert sites
    named = re.compile(r"(?<![a-z])(" + "|".join(sites) + r")(?![a-z])", re.IGNORECASE)
    files = [
        p
        for package in PACKAGES
        for suffix in ("py", "sql", "yaml", "js", "css")
        for p in (ROOT / package).rglob(f"*.{suffix}")
        if not p.is_relative_to(DEMO_SITES) and not p.is_relative_to(ROOT / "pipelines" / "simulator")
    ]
    found = [
        f"{p.relative_to(ROOT)}:{n}: {line.strip()}"
        for p in files
        for n, line in enumerate(p.read_text("utf-8").splitlines(), 1)
        if named.search(line)
    ]
    assert found == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(p.relative_to(ROOT))
        for p in MODULES
        if p.stat().st_size and not ast.get_docstring(ast.parse(p.read_text("utf-8")))
    ]
    assert silent == []
