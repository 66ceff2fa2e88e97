"""Keeps a tiny lake of the release whose code this runs with, as `tests/releases/format-N.tar.xz`.

`python tests/releases/keep.py TARGET`, in the top folder, before a lake's format changes. The lake is made by the
release's own steps from the files below, which the test that opens it sends again.
"""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path.cwd()))

from tests.integration.small_site import RESULTS, Site, result

FILES = {
    "results_1.csv": RESULTS + result(1) + result(2, "88.0") + result(3, "none", unit="furlong"),
    "results_2.csv": RESULTS + result(1, "90.5", changed="2026-02-03T10:00:00Z") + result(4),
    "orders_1.csv": "id,mrn,name,born,product,note,changed\nO1,M1,Ann Example,1960-01-01,p,,2026-02-01T10:00:00Z\n",
}
ASKED = {
    "results in force": "SELECT result_id, attribute, value, operator FROM current.assay_result ORDER BY ALL",
    "every version": "SELECT result_id, value, source_file, source_row FROM lake.core.assay_result ORDER BY ALL",
    "set aside": "SELECT feed, reason_code, field_name, source_file FROM lake.quality.quarantine ORDER BY ALL",
    "orders": "SELECT order_id, product_id FROM current.therapy_order ORDER BY ALL",
}


def keep(target: Path) -> None:
    """Make the lake and keep it with what it answers."""
    with TemporaryDirectory() as held:
        site = Site(Path(held) / "fleet")
        for name, content in FILES.items():
            site.send(name, content)
        told = {feed: site.run(feed).accounting for feed in ("assay", "order")}
        answers = {name: [list(row) for row in site.rows(sql)] for name, sql in ASKED.items()}
        home = Path(site.settings.home)
        for left in (home / "lake").glob("catalog.sqlite-*"):
            print(left, left.stat().st_size)
        (home / "answers.json").write_text(
            json.dumps({"accounting": told, "answers": answers}, indent=1, default=str), "utf-8"
        )
        with tarfile.open(target, "w:xz") as packed:
            for name in ("answers.json", "lake", "vault"):
                packed.add(home / name, name)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
