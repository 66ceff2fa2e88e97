"""A contract to start from: commented, and sound once its own values are filled in."""

from __future__ import annotations

import re
from pathlib import Path

TEMPLATE = """\
# Contract of {site}. Prove it with `cellfleet site check`, try it with `cellfleet site preview {site} batch`.
type: pipelines.components.ManufacturingSite
attributes:
  site_id: {site}
  name: {title}
  country: XX                     # ISO 3166, two letters
  role: spoke                     # control | spoke | contract_manufacturer
  time_zone: UTC                  # IANA name, e.g. Europe/Madrid
  owner: team:{team}
  starts_on: "2026-01-01"         # first day with data
  deadline: "0 7 * * *"           # when last night's data must be in, local time
  decimal: "."                    # or ","
  time: {{format: iso, zone: UTC}}  # or a strptime pattern; zone applies to times printed without an offset
  systems:
    exports: {{kind: folder, path: {site}/exports}}   # relative to the sources folder
  units: {{"%": "%"}}               # unit as printed: UCUM
  codes:                          # words as printed: words of the dictionary
    batch_status: {{OPEN: in_process, DONE: complete, STOPPED: terminated}}
  feeds:
    batch:
      system: exports
      files: "batches_*.csv"
      format: {{name: delimited, delimiter: ","}}
      record: batch_id            # column that identifies a record
      version: last_updated       # column that says which version is newer
      tables:
        - table: batch
          columns:                # field of the dictionary: column of the file
            batch_id: batch_id
            order_id: order_id
            batch_status: {{from: status, codes: batch_status}}
            batch_started_at: started
"""


def scaffold(folder: Path, site: str) -> Path:
    """Write `<folder>/<site>/defs.yaml`. Raises ValueError for a bad name, FileExistsError where there is one."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", site):
        raise ValueError(f"{site!r} is no site id: lower-case letters, digits and _, starting with a letter")
    path = folder / site / "defs.yaml"
    if path.exists():
        raise FileExistsError(f"{path} exists; edit it, or choose another site id")
    path.parent.mkdir(parents=True)
    path.write_text(
        TEMPLATE.format(site=site, title=site.replace("_", " ").title(), team=site.replace("_", "-")),
        encoding="utf-8",
    )
    return path
