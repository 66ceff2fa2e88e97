"""What the Sensors page asks: traces of a batch thinned for drawing, its site's usual course, gaps, excursions, files.

One batch is read from the readings, several from their hourly means; the browser never gets more than POINTS a trace.
What is told of single readings raises ReadingsAway where they were left in a lake that cannot be read.
Does not belong here: rules on readings (`pipelines/validation/rules`), the rest of a batch (`providers/batch.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from dashboards.facts.batch import Step
from dashboards.facts.runs import Channel, Envelope, Event, ReadingFile, Run, Trace
from dashboards.providers.snapshot import Snapshot
from dashboards.providers.thinning import GOOD, OTHER, Integers, Readings, by_channel
from dashboards.providers.usual_course import UsualCourse, usual_course
from dashboards.security.scope import Scope

POINTS = 2000
# Readings that the source does not call good, drawn of a channel.
BAD_SHOWN = 5000
# Hours outside the others' range count from this many in a row, and where so many other batches are known.
AWAY_HOURS, AWAY_BATCHES = 3, 10
SPAN = re.compile(r"from (\d{4}-\d\d-\d\d \d\d:\d\d) UTC to (\d{4}-\d\d-\d\d \d\d:\d\d) UTC")
ZERO = {
    "start": "SELECT site_id, batch_id, batch_started_at AS zero FROM mart.batch_wide",
    "step": "SELECT site_id, batch_id, min(operation_started_at) AS zero FROM core.unit_operation "
    "WHERE unit_procedure = $step GROUP BY ALL",
}
# Only the batches chosen, found by their place in the table, which lies in the order of sites and batches.
CHOSEN = (
    "SEMI JOIN (SELECT unnest($of_sites::VARCHAR[]) AS site_id, unnest($of_batches::VARCHAR[]) AS batch_id) "
    "USING (site_id, batch_id)"
)
# A batch's readings, with the times between which they lie: only what is stored with them is looked through.
OF_BATCH = (
    "FROM core.reading WHERE site_id = $site AND batch_id = $batch AND list_contains($sites, $site) "
    "AND read_at BETWEEN $first AND $last"
)


class SensorProvider:
    """Questions about readings, over one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def batches(self, scope: Scope) -> list[tuple[str, str]]:
        """Site and number of every batch that has readings, the newest first."""
        return self._snapshot.kept(
            scope,
            "batches with readings",
            lambda: [
                (row["site_id"], row["batch_id"])
                for row in self._snapshot.rows(
                    "SELECT site_id, batch_id FROM mart.sensor_hour WHERE site_id = ANY($sites) "
                    "GROUP BY ALL ORDER BY max(hour_at) DESC, site_id, batch_id",
                    scope,
                )
            ],
        )

    def runs(self, scope: Scope, chosen: Sequence[tuple[str, str]], step: str | None = None) -> list[Run]:
        """The chosen batches with their hour 0: the start of a step, or of the batch, else the first reading."""
        found = self._rows(
            f"WITH zero AS ({ZERO['step' if step else 'start']}), first AS (SELECT site_id, batch_id, "
            f"min(hour_at) AS zero FROM mart.sensor_hour {CHOSEN} GROUP BY ALL) "
            "SELECT f.site_id, f.batch_id, coalesce(z.zero, f.zero) AS zero FROM first f "
            "LEFT JOIN zero z USING (site_id, batch_id) WHERE f.site_id = ANY($sites)"
            + (" AND z.zero IS NOT NULL" if step else ""),
            scope,
            step=step,
            of_sites=[site for site, _ in chosen],
            of_batches=[batch for _, batch in chosen],
        )
        place = {key: n for n, key in enumerate(chosen)}
        runs = [Run(r["site_id"], r["batch_id"], r["zero"].astimezone(UTC)) for r in found]
        return sorted(runs, key=lambda run: place[run.site, run.batch_id])

    def steps(self, scope: Scope, run: Run) -> list[Step]:
        """Unit operations of a batch that have a beginning."""
        found = self._rows(
            "SELECT unit_procedure, operation, phase, operation_started_at, operation_ended_at, "
            "equipment_id, "
            "operator_role, automation_level, record_id, source_file, source_row FROM core.unit_operation "
            "WHERE site_id = $site AND batch_id = $batch AND site_id = ANY($sites) "
            "AND operation_started_at IS NOT NULL ORDER BY operation_started_at",
            scope,
            **_key(run),
        )
        return [Step(**row) for row in found]

    def traces(
        self, scope: Scope, run: Run, from_h: float | None = None, to_h: float | None = None
    ) -> list[Trace]:
        """Every channel of one batch between two hours: the smallest and largest good reading of each of POINTS / 2
        stretches, so that no spike is lost."""
        zero = run.zero.timestamp() * 1000
        readings = self._readings(scope, run)
        gaps = self._kept_gaps(scope, run, readings)
        traces = []
        for whole in readings:
            part = whole.between(
                -np.inf if from_h is None else zero + 3.6e6 * from_h,
                np.inf if to_h is None else zero + 3.6e6 * to_h,
            )
            at, values = part.thinned(POINTS)
            if not len(at):
                continue
            bad = part.at[part.status == OTHER][:BAD_SHOWN]
            trace = Trace(
                run,
                whole.channel,
                whole.quantity,
                tuple(_hours(at, zero)),
                tuple(values.tolist()),
                tuple(_hours(bad, zero)),
            )
            traces.append(_broken(trace, [gap.from_h for gap in gaps if gap.channel == whole.channel]))
        return traces

    def _readings(self, scope: Scope, run: Run) -> list[Readings]:
        """Every channel of a batch, by quantity and name."""
        names, within = self._channels_within(scope, run)
        found = self._snapshot.columns(
            "SELECT hash(channel, quantity_name) AS code, epoch_ms(read_at) AS at, reading, "
            f"CASE WHEN reading_status = 'good' THEN {GOOD} WHEN reading_status IS NULL THEN 0 ELSE {OTHER} END "
            f"::TINYINT AS status {OF_BATCH}",
            scope,
            readings=True,
            **within,
        )
        readings = by_channel(
            names,
            found["code"],
            found["at"],
            np.ma.filled(found["reading"], np.nan),
            found["status"],
        )
        return sorted(readings, key=lambda channel: (channel.quantity, channel.channel))

    def hourly(
        self, scope: Scope, runs: Sequence[Run], from_h: float | None = None, to_h: float | None = None
    ) -> list[Trace]:
        """Hourly means of several batches over the hours since their hour 0."""
        found = self._rows(
            "SELECT site_id || '/' || batch_id AS key, channel, quantity_name AS quantity, "
            "list(epoch_ms(hour_at) ORDER BY hour_at) AS at, list(mean ORDER BY hour_at) AS means "
            f"FROM mart.sensor_hour {CHOSEN} WHERE site_id = ANY($sites) AND mean IS NOT NULL GROUP BY ALL",
            scope,
            of_sites=[run.site for run in runs],
            of_batches=[run.batch_id for run in runs],
        )
        by_key = {run.key: run for run in runs}
        place = {run.key: n for n, run in enumerate(runs)}
        traces = []
        for row in sorted(found, key=lambda row: (row["quantity"], place[row["key"]], row["channel"])):
            run = by_key[row["key"]]
            # The mean of an hour stands in its middle.
            hours = [h + 0.5 for h in _hours(np.array(row["at"]), run.zero.timestamp() * 1000)]
            told = [
                (h, v)
                for h, v in zip(hours, row["means"], strict=True)
                if (from_h is None or h >= from_h) and (to_h is None or h <= to_h)
            ]
            told = told[:: -(-len(told) // POINTS) or 1]
            if told:
                traces.append(Trace(run, row["channel"], row["quantity"], *zip(*told, strict=True)))
        return traces

    def envelopes(
        self, scope: Scope, site: str, without: Sequence[str], step: str | None = None
    ) -> list[Envelope]:
        """The usual course at a site, over its other batches: hours known of at least five of them."""
        key = ("usual course", site, step)
        course = self._snapshot.kept(scope, key, lambda: self._usual_course(scope, site, step), large=True)
        return course.without(without)

    def _usual_course(self, scope: Scope, site: str, step: str | None) -> UsualCourse:
        # Batches by their number, not their name: of hundreds of batches that is most of it.
        zero = (
            f"zero AS ({ZERO['step' if step else 'start']}), b AS (SELECT site_id, batch_id, epoch_us(zero) AS zero, "
            "row_number() OVER (ORDER BY batch_id) - 1 AS row FROM zero "
            "WHERE site_id = $site AND list_contains($sites, $site) AND zero IS NOT NULL)"
        )
        batches = self._rows(f"WITH {zero} SELECT batch_id FROM b ORDER BY row", scope, site=site, step=step)
        quantities = self._rows(
            "SELECT DISTINCT hash(quantity_name) AS code, quantity_name FROM mart.sensor_hour "
            "WHERE site_id = $site AND list_contains($sites, $site)",
            scope,
            site=site,
        )
        told: dict[str, Any] = {"site": site} | ({"step": step} if step else {})
        found = self._snapshot.columns(
            f"WITH {zero} SELECT hash(s.quantity_name) AS code, b.row, "
            "floor((epoch_us(s.hour_at) - b.zero) / 3.6e9)::BIGINT AS hour, avg(s.mean) AS mean "
            "FROM mart.sensor_hour s JOIN b USING (site_id, batch_id) WHERE s.site_id = $site "
            "AND s.mean IS NOT NULL GROUP BY ALL",
            scope,
            **told,
        )
        return usual_course(
            [row["batch_id"] for row in batches],
            {row["code"]: row["quantity_name"] for row in quantities},
            found["code"],
            found["row"],
            found["hour"],
            found["mean"],
        )

    def channels(self, scope: Scope, run: Run) -> list[Channel]:
        """Channels of a batch in numbers."""
        return self._snapshot.kept(scope, ("channels", run.key), lambda: self._channels(scope, run))

    def _channels(self, scope: Scope, run: Run) -> list[Channel]:
        found = self._snapshot.rows(
            "SELECT channel, quantity_name AS quantity, count(*) AS n, count(*) FILTER (reading_status = "
            "'good') AS n_good, "
            "min(read_at) AS first_at, max(read_at) AS last_at, min(reading) FILTER (reading_status = "
            "'good') AS minimum, "
            "avg(reading) FILTER (reading_status = 'good') AS mean, "
            "max(reading) FILTER (reading_status = 'good') AS maximum, "
            "median(step) AS usual_step_s FROM (SELECT *, epoch(read_at) - lag(epoch(read_at)) OVER "
            f"(PARTITION BY channel ORDER BY read_at) AS step {OF_BATCH}) GROUP BY ALL ORDER BY quantity, channel",
            scope,
            readings=True,
            **self._channels_within(scope, run)[1],
        )
        return [Channel(**row) for row in found]

    def gaps(self, scope: Scope, run: Run) -> list[Event]:
        """Stretches without a reading of a channel, far longer than its usual step."""
        return self._kept_gaps(scope, run, None)

    def _kept_gaps(self, scope: Scope, run: Run, readings: list[Readings] | None) -> list[Event]:
        """`gaps`, of readings that are at hand or not."""

        def found() -> list[Event]:
            events = []
            for channel in self._readings(scope, run) if readings is None else readings:
                usual, gaps = channel.gaps()
                for start, end in gaps:
                    told = f"no reading for {(end - start) / 3.6e6:.3g} h; usually one every {usual / 60_000:.3g} min"
                    start_at, end_at = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (start, end))
                    events.append(
                        _event(run, "gap", channel.quantity, channel.channel, start_at, end_at, told)
                    )
            return sorted(events, key=lambda event: (event.from_at, event.channel))

        return self._snapshot.kept(scope, ("gaps", run.key, run.zero), found)

    def excursions(
        self, scope: Scope, run: Run, envelopes: Sequence[Envelope], hourly: Sequence[Trace]
    ) -> list[Event]:
        """Stretches in which the hourly mean lies beyond all that the site's other batches showed in the same hours."""
        found: list[Event] = []
        usual = {e.quantity: e for e in envelopes if e.n_batches >= AWAY_BATCHES}
        for trace in hourly:
            e = usual.get(trace.quantity)
            if e is None or trace.run != run:
                continue
            range_at = {
                int(h): (low, high) for h, low, high in zip(e.hours, e.lowest, e.highest, strict=True)
            }
            stretch: list[float] = []
            for hour, value in [*zip(trace.hours, trace.values, strict=True), (None, None)]:
                low, high = range_at.get(int(hour // 1), (None, None)) if hour is not None else (None, None)
                away = low is not None and high is not None and value is not None and not low <= value <= high
                if away and hour is not None:
                    stretch.append(hour)
                    continue
                if len(stretch) >= AWAY_HOURS:
                    # To the second: hours since hour 0 are rounded, and 03:00 must not read as 02:59.
                    start, end = (
                        run.zero + timedelta(seconds=round(3600 * h))
                        for h in (stretch[0] - 0.5, stretch[-1] + 0.5)
                    )
                    found.append(
                        _event(
                            run,
                            "unusual",
                            trace.quantity,
                            trace.channel,
                            start,
                            end,
                            f"{len(stretch)} hourly means beyond everything that the site's {e.n_batches} "
                            "other batches showed in these hours",
                        )
                    )
                stretch = []
        return sorted(found, key=lambda event: (event.from_h, event.quantity))

    def findings(self, scope: Scope, run: Run) -> list[Event]:
        """What the rules on readings found in a batch; one without times spans all of it."""
        found = self._rows(
            "SELECT f.reason_code, f.detail, f.subject, f.record_id, (SELECT any_value(h.quantity_name) "
            "FROM mart.sensor_hour h "
            "WHERE h.site_id = f.site_id AND h.batch_id = $batch AND h.channel = split_part(f.subject, "
            "'|', 2)) AS quantity, "
            "(SELECT max(hour_at) FROM mart.sensor_hour h WHERE h.site_id = f.site_id AND h.batch_id = "
            "$batch) AS last_at "
            "FROM quality.finding f WHERE f.table_name = 'reading' AND f.site_id = $site AND f.site_id = "
            "ANY($sites) "
            "AND split_part(f.subject, '|', 1) = $batch ORDER BY f.reason_code, f.subject, f.detail",
            scope,
            **_key(run),
        )
        events = []
        for row in found:
            span = SPAN.search(row["detail"])
            start, end = (
                (datetime.strptime(t, "%Y-%m-%d %H:%M").replace(tzinfo=UTC) for t in span.groups())
                if span
                else (run.zero, row["last_at"] or run.zero)
            )
            events.append(
                _event(
                    run,
                    row["reason_code"],
                    row["quantity"] or "",
                    row["subject"].split("|")[-1],
                    start,
                    end,
                    row["detail"],
                )
            )
        return events

    def files(self, scope: Scope, run: Run) -> list[ReadingFile]:
        """Files that a batch's readings came from."""
        return self._snapshot.kept(scope, ("files", run.key), lambda: self._files(scope, run))

    def _files(self, scope: Scope, run: Run) -> list[ReadingFile]:
        found = self._snapshot.rows(
            "SELECT r.*, f.feed, f.source_file FROM (SELECT source_file_sha256 AS sha256, "
            "min(source_row) AS first_row, "
            f"max(source_row) AS last_row, count(*) AS n, min(read_at) AS from_at, max(read_at) AS to_at {OF_BATCH} "
            "GROUP BY 1) r "
            "LEFT JOIN (SELECT source_file_sha256, any_value(feed) AS feed, any_value(source_file) AS "
            "source_file "
            "FROM raw.file WHERE site_id = $site GROUP BY 1) f ON f.source_file_sha256 = r.sha256 "
            "ORDER BY from_at, sha256",
            scope,
            readings=True,
            **self._channels_within(scope, run)[1],
        )
        return [ReadingFile(**row) for row in found]

    def _channels_within(self, scope: Scope, run: Run) -> tuple[dict[int, tuple[str, str]], dict[str, Any]]:
        """Channel and quantity of a batch by the hash of both, and parameters of `OF_BATCH`.

        Of the hours, which are few: a name for each reading would be as many Python objects.
        """

        def told() -> tuple[dict[int, tuple[str, str]], dict[str, Any]]:
            found = self._rows(
                "SELECT hash(channel, quantity_name) AS code, channel, quantity_name AS quantity, "
                "min(hour_at) AS first, max(hour_at) + INTERVAL 1 HOUR AS last FROM mart.sensor_hour "
                "WHERE site_id = $site AND batch_id = $batch AND site_id = ANY($sites) GROUP BY ALL",
                scope,
                **_key(run),
            )
            span = {
                "first": min((row["first"] for row in found), default=None),
                "last": max((row["last"] for row in found), default=None),
            }
            return {r["code"]: (r["channel"], r["quantity"]) for r in found}, _key(run) | span

        return self._snapshot.kept(scope, ("channels within", run.key), told)

    def _rows(self, sql: str, scope: Scope, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a query that is given only the parameters it names."""
        told = {name: value for name, value in parameters.items() if re.search(rf"\${name}\b", sql)}
        return self._snapshot.rows(sql, scope, **told)


def _key(run: Run) -> dict[str, str]:
    return {"site": run.site, "batch": run.batch_id}


def _hours(at: Integers, zero: float) -> list[float]:
    """Hours since a batch's hour 0 (ms since 1970), to a third of a second."""
    return np.round((at - zero) / 3.6e6, 4).tolist()  # type: ignore[no-any-return]


def _event(
    run: Run, kind: str, quantity: str, channel: str, start: datetime, end: datetime, what: str
) -> Event:
    hours = [round((m - run.zero).total_seconds() / 3600, 3) for m in (start, end)]
    return Event(
        kind, quantity, channel, start.astimezone(UTC), end.astimezone(UTC), hours[0], hours[1], what
    )


def _broken(trace: Trace, gaps: Sequence[float]) -> Trace:
    """The trace with a None after the last reading before each gap, so that no line is drawn over it."""
    if not gaps:
        return trace
    left = sorted(gaps)
    hours: list[float] = []
    values: list[float | None] = []
    for hour, value in zip(trace.hours, trace.values, strict=True):
        while left and hour > left[0] + 1e-3:
            if hours:
                hours.append(left[0])
                values.append(None)
            left.pop(0)
        hours.append(hour)
        values.append(value)
    return Trace(trace.run, trace.channel, trace.quantity, tuple(hours), tuple(values), trace.bad_hours)
