"""A lake of every format there was is migrated, answers what it answered, and goes on."""

from __future__ import annotations

import json
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.integration.small_site import RESULTS, Site, result
from tests.releases.keep import ASKED, FILES
from warehouse import lake
from warehouse.migrate import migrate

KEPT = sorted((ROOT / "tests" / "releases").glob("format-*.tar.xz"))


def test_a_lake_of_every_format_is_kept() -> None:
    wanted = [f"format-{n}.tar.xz" for n in range(1, lake.FORMAT_VERSION + 1)]
    assert [p.name for p in KEPT] == wanted, "keep one with tests/releases/keep.py before the format changes"
    assert all(p.stat().st_size < 1 << 20 for p in KEPT)


@pytest.mark.parametrize("kept", KEPT, ids=lambda p: p.name.split(".")[0])
def test_migrated_it_answers_the_same_and_goes_on(kept: Path, tmp_path: Path) -> None:
    site = Site(tmp_path / "fleet")
    with tarfile.open(kept) as packed:
        packed.extractall(site.settings.home_path, filter="data")
    told = json.loads((site.settings.home_path / "answers.json").read_text("utf-8"))
    version = int(kept.name.split("-")[1].split(".")[0])
    if version < lake.FORMAT_VERSION:
        with pytest.raises(lake.LakeError, match=f"format version {version}"):
            lake.attach(site.settings)
    list(migrate(site.settings, apply=True))
    with closing(lake.attach(site.settings)) as con:
        for name, sql in ASKED.items():
            now = json.loads(json.dumps([list(row) for row in con.execute(sql).fetchall()], default=str))
            assert now == told["answers"][name], name
    # The same files again are known; a new one is taken in beside them.
    for name, content in FILES.items():
        site.send(name, content)
    for feed, accounting in told["accounting"].items():
        now_accounted = site.run(feed).accounting
        assert {state: now_accounted[state] for state in accounting} == accounting
    site.send("results_3.csv", RESULTS + result(9), hours=3)
    assert site.run().accounting["received"] == told["accounting"]["assay"]["received"] + 1
