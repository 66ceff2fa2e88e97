"""`cellfleet listen`: the long-running listener of a site's Sparkplug system, until it is told to end.

Does not belong here: what it hears and keeps (`pipelines/connectors/sparkplug`), taking that into the lake (a run).
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from pipelines.failures import PermanentFailure
from pipelines.harmonise.contract import load_contract
from pipelines.harmonise.systems import SparkplugSystem
from warehouse.settings import Settings


def listen(chosen: Settings, site: str, system: str | None, progress: Callable[[str], None]) -> None:
    """Listen for one system of a site until SIGTERM or SIGINT, then close the segment and leave the broker.

    Raises ContractError, or PermanentFailure where there is no such system or the broker refuses us.
    """
    from pipelines.connectors.sparkplug.listener import (
        Listener,  # paho, protobuf: no other command needs them
    )

    path = Path(chosen.sites_path) / site / "defs.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.parent.name for p in Path(chosen.sites_path).glob("*/defs.yaml")))
        raise PermanentFailure(
            f"There is no site {site!r} in {chosen.sites_path}.", f"There is: {known or 'none'}."
        )
    found = {n: s for n, s in load_contract(path).systems.items() if isinstance(s, SparkplugSystem)}
    if not found:
        raise PermanentFailure(f"{site} has no system of `kind: sparkplug`.", "See docs/connectors/mqtt.md.")
    if system is None and len(found) > 1:
        raise PermanentFailure(
            f"{site} has several such systems.", f"Choose one with --system: {', '.join(found)}."
        )
    name = system or next(iter(found))
    if name not in found:
        raise PermanentFailure(
            f"{site} has no system {name!r} of that kind.", f"There is: {', '.join(found)}."
        )
    listener = Listener(f"{site}/{name}", found[name], chosen, progress)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: listener.stop.set())
    listener.run()
