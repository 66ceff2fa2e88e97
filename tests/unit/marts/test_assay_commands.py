"""`cellfleet comparability assays`: agreement, gauge study and precision of results in a file; unusable files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pipelines.comparability_commands import app

RUN = CliRunner()


def asked(*words: str, code: int = 0) -> Any:
    done = RUN.invoke(app, ["assays", *words])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if "--json" in words and code == 0 else done.output


def written(path: Path, columns: dict[str, Any]) -> str:
    rows = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def both(tmp_path: Path) -> str:
    """Twenty samples, the second laboratory a tenth higher and noisy."""
    rng = np.random.default_rng(4)
    first = rng.lognormal(1.0, 0.5, 20)
    second = first * 1.1 * np.exp(rng.normal(0, 0.03, 20))
    return written(
        tmp_path / "both.csv", {"sample": range(20), "here": first.round(4), "there": second.round(4)}
    )


def test_two_laboratories_on_the_same_samples(both: str) -> None:
    row = asked(both, "--scale", "log", "--margin", "0.2", "--json")
    assert (row["first"], row["second"], row["n"]) == ("here", "there", 20)
    assert row["difference"]["estimate"] == pytest.approx(np.log(1.1), abs=0.02)
    assert row["bland_altman"]["bias"] == pytest.approx(row["difference"]["estimate"])
    assert row["bridged"] is True
    assert row["deming"]["slope_ci"][0] < 1 < row["deming"]["slope_ci"][1]
    assert "agree within 0.2 on the log scale" in asked(both, "--scale", "log", "--margin", "0.2")
    assert "not shown to agree" in asked(both, "--scale", "log", "--margin", "0.09")


def test_a_gauge_study_and_precision(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    cells = [(p, o) for p in range(8) for o in "ABC" for _ in range(3)]
    parts, operators = rng.normal(0, 2, 8), dict(zip("ABC", rng.normal(0, 0.3, 3), strict=True))
    value = [10 + parts[p] + operators[o] + rng.normal(0, 0.2) for p, o in cells]
    crossed = {"part": [p for p, _ in cells], "operator": [o for _, o in cells], "result": value}
    found = asked(written(tmp_path / "g.csv", crossed), "--design", "gauge", "--json")["gauge"]
    assert found["design"] == "crossed"
    assert found["components"]["repeatability"]["variance"] == pytest.approx(0.04, rel=0.5)
    once = {"part": range(12), "operator": ["A"] * 6 + ["B"] * 6, "result": rng.normal(0, 1, 12)}
    twice = {k: [v for v in once[k] for _ in range(2)] for k in ("part", "operator")}
    nested = twice | {"result": rng.normal(0, 1, 24)}
    assert (
        asked(written(tmp_path / "n.csv", nested), "--design", "gauge", "--json")["gauge"]["design"]
        == "nested"
    )

    days = {
        "site": np.repeat([1, 2, 3], 10),
        "day": np.tile(np.repeat(range(5), 2), 3),
        "y": rng.normal(5, 1, 30),
    }
    told = asked(written(tmp_path / "p.csv", days), "--design", "precision", "--json")["precision"]
    assert list(told["components"]) == ["site", "site:day", "error", "total"]
    assert told["balanced"] is True


def test_a_file_that_cannot_be_used_is_told_by_row_and_column(both: str, tmp_path: Path) -> None:
    assert "row 3, there: 'n/a' is no number" in asked(
        written(tmp_path / "x.csv", {"here": [1, 2, 3], "there": [1, "n/a", 3]}), code=2
    )
    assert "cannot be read" in asked(str(tmp_path / "none.csv"), code=2)
    assert "part, operator and a result" in asked(both, "--design", "gauge", code=2)
    assert "--design is one of" in asked(both, "--design", "shape", code=2)
    (tmp_path / "short.csv").write_text("a,b\n1,2\n3\n", encoding="utf-8")
    assert "row 3: 1 cells" in asked(str(tmp_path / "short.csv"), code=2)
