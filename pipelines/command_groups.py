"""Groups of commands whose modules are imported when one of them is called: statistics and Dagster cost seconds.

Belongs here: which groups there are, and where. Does not belong here: a command.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from typer.core import TyperGroup
from typer.main import get_group

GROUPS = {
    "ledger": "pipelines.ledger_commands:app",
    "comparability": "pipelines.comparability_commands:app",
    "access": "pipelines.access_commands:app",
    "charts": "pipelines.watch_commands:charts_app",
    "signals": "pipelines.watch_commands:signals_app",
    "watch": "pipelines.watch_shown:app",
}


class Groups(TyperGroup):
    """The commands of `pipelines/cli.py` and those of `GROUPS`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all of them."""
        return [*super().list_commands(ctx), *GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One by its name; a group is imported now."""
        if cmd_name not in GROUPS:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = GROUPS[cmd_name].partition(":")
        group = get_group(getattr(import_module(module), attribute))
        group.name = cmd_name
        return group
