"""Which part of the dashboards may import what: data only through providers, graphs only from one place."""

from __future__ import annotations

import ast
from pathlib import Path

import dashboards

ROOT = Path(dashboards.__file__).parent
FILES = sorted(p for p in ROOT.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level names of everything that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def within(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_only_providers_import_duckdb() -> None:
    found = {within(p).split("/")[0] for p in FILES if "duckdb" in tops(p)}
    assert found == {"providers"}


def test_only_one_module_makes_graphs() -> None:
    makers = {
        within(p)
        for p in FILES
        for node in ast.walk(ast.parse(p.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)
        if (node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id) == "Graph"
    }
    assert makers == {"components/graph.py"}


def test_figures_are_pure() -> None:
    figures = [p for p in FILES if within(p).startswith("figures/")]
    assert len(figures) >= 2
    for path in figures:
        assert not tops(path) & {"dash", "duckdb", "flask", "plotly", "dash_mantine_components"}, path


def test_the_dashboards_never_import_the_pipelines() -> None:
    assert [within(p) for p in FILES if "pipelines" in tops(p)] == []
