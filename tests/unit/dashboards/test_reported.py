"""Which sites have reported: a rule on the rhythm of their feeds."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from dashboards.facts.feeds import Feed, reports

NEWEST = datetime(2026, 3, 13, tzinfo=UTC)


def feed(name: str, lag_h: float, usual_h: float | None, *, refused: bool = False) -> Feed:
    return Feed(
        site="south",
        feed=name,
        received=1,
        promoted=1,
        superseded=0,
        duplicate=0,
        quarantined=0,
        fields_quarantined=0,
        findings=0,
        files=9,
        files_refused=int(refused),
        last_file_at=NEWEST,
        newest_refused=refused,
        lag_h=lag_h,
        usual_h=usual_h,
    )


@given(st.lists(st.tuples(st.floats(0, 5000), st.none() | st.floats(1, 400), st.booleans()), max_size=8))
def test_a_site_has_reported_while_at_most_half_of_its_regular_feeds_are_missing(
    told: list[tuple[float, float | None, bool]],
) -> None:
    feeds = [feed(str(n), lag, usual, refused=refused) for n, (lag, usual, refused) in enumerate(told)]
    regular = [f for f in feeds if f.usual_h is not None]
    found = reports(feeds)
    assert len(found) == (1 if regular else 0)
    for report in found:
        assert report.regular == len(regular)
        assert report.missing == sum(f.missing for f in regular)
        assert report.reported is (report.missing <= len(regular) / 2)


def test_one_rare_feed_that_is_overdue_does_not_make_a_site_silent() -> None:
    [report] = reports([feed("sensor", 2, 24), feed("assay", 30, 168), feed("study", 6000, 168)])
    assert report.reported
    assert report.missing == 1


def test_refused_files_are_not_a_report() -> None:
    [report] = reports([feed("sensor", 0, 24, refused=True), feed("assay", 0, 168, refused=True)])
    assert not report.reported


def test_a_site_that_sends_now_and_then_is_never_missing() -> None:
    assert reports([feed("bench", 9000, None)]) == []
