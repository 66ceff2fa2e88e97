"""Jobs that make reports, who may fetch them, and figures as SVG without a browser."""

from __future__ import annotations

import threading
import time
from datetime import UTC, date, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dashboards.facts.comparison import Look, Lot, Range, Share
from dashboards.facts.fleet import Need, moved
from dashboards.figures.looks import looks
from dashboards.figures.shares import shares
from dashboards.figures.steps import steps
from dashboards.figures.strip import strip
from dashboards.reports.jobs import UNDER_WAY, Job, Jobs, Progress, TooMany, identity
from dashboards.reports.svg import svg

SVG = "{http://www.w3.org/2000/svg}"


def job(number: int) -> Job:
    return Job(
        id=identity({"asked": number}), title=f"report {number}", search="", snapshot=1, sites=("a",), figures=("a",),
        asked_at=f"2026-01-{number:02}T00:00:00+00:00",
    )  # fmt: skip


def ended(jobs: Jobs, asked: Job) -> Job:
    for _ in range(500):
        found = jobs.find("maria", asked.id)
        if found is not None and not found.under_way:
            return found
        time.sleep(0.01)
    raise AssertionError("the job did not end")


def sentence(error: Exception) -> str:
    return f"told of {error}"


def test_a_job_tells_its_progress_and_gives_its_files_to_nobody_else(tmp_path: Path) -> None:
    jobs, go_on, seen = Jobs(tmp_path), threading.Event(), threading.Event()

    def make(progress: Progress) -> dict[str, bytes]:
        progress(1, 2, "draws")
        seen.set()
        assert go_on.wait(10)
        return {"report.pdf": b"bytes"}

    jobs.start("maria", job(1), make, sentence)
    assert seen.wait(10)
    under_way = jobs.find("maria", job(1).id)
    assert under_way is not None
    assert (under_way.state, under_way.step, under_way.doing) == ("running", 1, "draws")
    go_on.set()
    done = ended(jobs, job(1))
    assert jobs.content("maria", done, "report.pdf") == b"bytes"
    assert jobs.content("maria", done, "../job.json") is None
    assert jobs.find("otto", job(1).id) is None
    assert jobs.content("otto", done, "report.pdf") is None


def test_what_was_changed_on_disk_is_not_handed_out(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path)
    jobs.start("maria", job(1), lambda _: {"report.pdf": b"bytes"}, sentence)
    done = ended(jobs, job(1))
    [path] = tmp_path.rglob("report.pdf")
    path.write_bytes(b"other")
    assert jobs.content("maria", done, "report.pdf") is None


def test_a_failure_is_told_and_the_same_job_may_be_asked_for_again(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path)

    def broken(_: Progress) -> dict[str, bytes]:
        raise OSError("no room")

    jobs.start("maria", job(1), broken, sentence)
    assert ended(jobs, job(1)).problem == "told of no room"
    jobs.start("maria", job(1), lambda _: {"report.pdf": b""}, sentence)
    assert ended(jobs, job(1)).state == "done"


def test_a_job_whose_process_died_is_stopped_and_can_be_begun_again(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path)
    jobs.start("maria", job(1), lambda _: {"report.pdf": b""}, sentence)
    ended(jobs, job(1))
    # What a killed process leaves: a job that says it runs, and no lock.
    [path] = tmp_path.rglob("job.json")
    path.write_text(path.read_text("utf-8").replace('"state": "done"', '"state": "running"'), "utf-8")
    found = Jobs(tmp_path).find("maria", job(1).id)
    assert found is not None
    assert found.state == "stopped"
    Jobs(tmp_path).start("maria", job(1), lambda _: {"report.pdf": b""}, sentence)
    assert ended(jobs, job(1)).state == "done"


def test_a_reader_has_a_few_under_way_and_no_more(tmp_path: Path) -> None:
    jobs, go_on = Jobs(tmp_path), threading.Event()

    def make(_: Progress) -> dict[str, bytes]:
        go_on.wait(10)
        return {}

    for number in range(1, UNDER_WAY + 1):
        jobs.start("maria", job(number), make, sentence)
    with pytest.raises(TooMany):
        jobs.start("maria", job(9), make, sentence)
    jobs.start("otto", job(9), make, sentence)
    go_on.set()
    assert ended(jobs, job(UNDER_WAY)).state == "done"


def lot(value: float, *, used: bool = True) -> Lot:
    return Lot(
        attribute="vcn", measured_as="vcn_per_cell", site="a", batch_id=f"B{value}", unit="1", value=value, used=used,
        left_out_because=None if used else "censored", replicates=1, lot_at=None, disposition=None, labs="qc",
        record_id="r", source_file="f.csv", source_row=1,
    )  # fmt: skip


def test_paper_shows_each_lot_and_range_of_the_figure() -> None:
    lots = [lot(1.0), lot(2.0), lot(4.0), lot(3.0, used=False)]
    ranges = [
        Range("a", name, "a", "vcn_per_cell", 0.5, 8.0, None, 3, 3, 3, 0.9, True, None, None, None)
        for name in ("tolerance", "quality range")
    ]
    figure = strip(
        [("a", "vcn_per_cell", lots)], {}, {"a": "Site & sons"}, "VCN", log=True, sites=("a",), ranges=ranges
    )
    tree = ElementTree.fromstring(svg(figure))
    assert len(tree.findall(f"{SVG}circle")) == len(lots)
    assert len(tree.findall(f"{SVG}rect")) == 2  # the box and the quality range
    assert any("Site & sons" in "".join(text.itertext()) for text in tree.iter(f"{SVG}text"))
    assert svg(figure) == svg(figure)


def test_every_new_figure_can_be_put_on_paper() -> None:
    look = Look("a", date(2026, 1, 1), 0.5, 0.01, 9, 9, 0.1, -0.2, 0.4, "comparable")
    share = Share("vcn_per_cell", "patient", 9, 0.3, 0.2, 0.4, 0.9, 9, 9, "REML", None)
    for figure in (
        steps([("a", "vcn_per_cell", [lot(1.0), lot(2.0)])], {}, "VCN", log=False, sites=("a",)),
        shares([("VCN", [share])]),
    ):
        ElementTree.fromstring(svg(figure))
    drawn = looks([("a", [look])], {}, lambda v: v)
    [interval, mark] = drawn["data"]
    assert interval["y"] == pytest.approx([-0.036, 0.072])
    assert mark["marker"]["symbol"] == "circle"


def test_paper_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(ValueError, match="heatmap"):
        svg({"data": [{"type": "heatmap"}], "layout": {"height": 100}})


def need(kind: str, batch: str, state: str = "in_process") -> Need:
    seen = datetime(2026, 1, 1, tzinfo=UTC)
    return Need("a", kind, batch, "s", state, "what", "quality assurance", "info", seen, 1.0, "r", "f.csv", 1)


def test_what_came_and_went_says_why() -> None:
    before = [need("pending_result", "B1"), need("slow", "B2")]
    now = [need("blocked", "B3", "blocked"), need("slow", "B4")]
    told = moved(
        before,
        now,
        {
            ("a", "B1"): "awaiting_results",
            ("a", "B2"): "in_process",
            ("a", "B3"): "in_process",
            ("a", "B4"): "in_process",
        },
        {
            ("a", "B1"): "awaiting_results",
            ("a", "B2"): "infused",
            ("a", "B3"): "blocked",
            ("a", "B4"): "in_process",
        },
    )
    assert [(m.need.batch_id, m.came, m.why) for m in told] == [
        ("B3", True, "the batch was in process and is blocked"),
        ("B4", True, "time went by"),
        ("B1", False, "the result is there"),
        ("B2", False, "the batch is infused now"),
    ]
    assert moved(now, now, {}, {}) == []
