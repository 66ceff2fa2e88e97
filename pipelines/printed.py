"""Pages of `docs/` that are rendered from the code: `make docs` writes them, a test fails when they drift."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

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


def pages() -> dict[Path, str]:
    """Rendered pages by path."""
    docs = ROOT / "docs"
    return {
        docs / "data-dictionary.md": markdown(dictionary()),
        docs / "settings.md": settings_page(),
        docs / "contract.md": contract_page(),
    }


def main() -> None:
    """Write the pages."""
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
