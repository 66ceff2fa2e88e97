"""Pages of `docs/` that are rendered from the code: `make docs` writes them, a test fails when they drift."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from pipelines.cli import EXIT_CODES, app
from pipelines.harmonise.contract import Contract
from warehouse.dictionary import dictionary
from warehouse.dictionary.render import markdown
from warehouse.settings import ROOT, Settings


def settings_page() -> str:
    """`docs/settings.md`."""
    lines = [
        "# Settings",
        "",
        "Rendered from `warehouse/settings.py` by `make docs`.",
        "",
        "| variable | default | what it does |",
        "|---|---|---|",
    ]
    for f in fields(Settings):
        default = str(f.default).replace(str(ROOT) + "/", "")
        lines.append(
            f"| `{f.metadata['variable']}` | {f'`{default}`' if default else ''} | {f.metadata['description']} |"
        )
    return "\n".join(lines) + "\n"


def contract_page() -> str:
    """`docs/contract.md`: every key of a contract, from its JSON schema."""
    schema = Contract.model_json_schema(by_alias=True)
    parts = {"Contract": schema, **schema.get("$defs", {})}
    lines = [
        "# The contract of a site",
        "",
        "Rendered from `pipelines/harmonise/contract.py` by `make docs`; `cellfleet site new` writes one.",
        "",
    ]
    for name, part in parts.items():
        if "properties" not in part:
            continue
        lines += [
            f"## {name}",
            "",
            (part.get("description") or "").strip(),
            "",
            "| key | required | what it is |",
            "|---|---|---|",
        ]
        required = part.get("required", [])
        lines += [
            f"| `{key}` | {'yes' if key in required else ''} | {(told.get('description') or '').replace('|', '/')} |"
            for key, told in part["properties"].items()
        ]
        lines.append("")
    return "\n".join(lines)


def commands_page() -> str:
    """`docs/commands.md`: every command, argument and option, from the parser itself, and the exit codes."""
    lines = [
        "# Commands",
        "",
        "Rendered from `pipelines/cli.py` by `make docs`. After `make install` it lies in `.venv/bin`.",
        "Every command reads the settings of [the environment](settings.md) and works on one home, `CELLFLEET_HOME`.",
        "",
        "## Exit codes",
        "",
        "| code | means |",
        "|---|---|",
        *(f"| {code} | {told} |" for code, told in EXIT_CODES.items()),
        "",
        "A refusal is one sentence on the error stream; what `--json` prints goes to the output stream alone.",
    ]
    for words, command in sorted(_commands((), get_command(app))):
        lines += ["", f"## `cellfleet {' '.join(words)}`", "", inspect.cleandoc(command.help or "")]
        told = [_parameter(p) for p in command.params if p.name != "help"]
        if told:
            lines += ["", "| argument or option | default | what it does |", "|---|---|---|", *told]
    return "\n".join(lines) + "\n"


def _commands(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Commands below a group, each with its words."""
    if not isinstance(command, TyperGroup):
        yield words, command
        return
    context = typer.Context(command)
    for name in command.list_commands(context):
        yield from _commands((*words, name), command.get_command(context, name))


def _parameter(p: Any) -> str:
    if p.param_type_name == "argument":
        name = f"`{p.name.upper()}`" + ("" if p.required else " (may be left out)")
    else:
        value = "" if p.is_flag else f" {(p.metavar or p.name).upper()}"
        name = f"`{' / '.join([*p.opts, *p.secondary_opts])}{value}`"
    said = p.default is not None and p.default is not False
    default = f"`{p.opts[0] if p.default is True else p.default}`" if said else ""
    return f"| {name} | {default} | {(getattr(p, 'help', None) or '').replace('|', '/')} |"


def pages() -> dict[Path, str]:
    """Rendered pages by path."""
    docs = ROOT / "docs"
    return {
        docs / "data-dictionary.md": markdown(dictionary()),
        docs / "settings.md": settings_page(),
        docs / "contract.md": contract_page(),
        docs / "commands.md": commands_page(),
    }


def main() -> None:
    """Write the pages."""
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
