"""The demo over real files: which contracts a fleet has, the demo's one over files that nobody here wrote included.

Where CELLFLEET_REAL_FILES names a folder, the demo fleet has one more site, `bench`, which makes no batches and is
never compared: its files go through vault, lake and accounting as any site's. Nothing of them lies in the project;
the sources hold a link. A fleet with contracts of its own (CELLFLEET_SITES) is left alone.
Does not belong here: reading a contract (`pipelines/harmonise`).
"""

from __future__ import annotations

from pathlib import Path

from warehouse.settings import ROOT, Settings

CONTRACTS = ROOT / "pipelines" / "defs" / "real_files"
# Where the contract's `path` lies below the sources.
LINK = Path("bench") / "files"


def contract_folders(chosen: Settings) -> list[Path]:
    """Folders of contracts (`<site>/defs.yaml`): the fleet's, and the demo's over real files where there are any."""
    demo = chosen.sites_path == Settings().sites_path
    return [chosen.sites_path, CONTRACTS] if chosen.real_files and demo else [chosen.sites_path]


def contract_paths(chosen: Settings) -> list[Path]:
    """Every contract of the fleet, folder by folder, by site."""
    return [path for folder in contract_folders(chosen) for path in sorted(folder.glob("*/defs.yaml"))]


def contract_path(chosen: Settings, site: str) -> Path:
    """The contract of a site, whether or not it is there."""
    named = (path for path in contract_paths(chosen) if path.parent.name == site)
    return next(named, chosen.sites_path / site / "defs.yaml")


def link_real_files(chosen: Settings) -> None:
    """Link the folder of real files below the sources, as the contract names it; anew where it moved."""
    if CONTRACTS not in contract_folders(chosen):
        return
    link, folder = chosen.sources_path / LINK, Path(chosen.real_files).resolve()
    if link.is_symlink() and link.readlink() == folder:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(folder)
