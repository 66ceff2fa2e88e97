"""SQL that maps readings quickly: what their words mean is found once a combination, not once a reading.

A reading is a time, a number and some words (batch, channel, unit, quality). The words of many million readings are
a few thousand combinations. These are compiled as any other column (`mapping.py`); the time and the number of each
reading are then read in one expression each. A reading that this cannot vouch for is left to the thorough way, which
says what is wrong with it.
Does not belong here: tables, files, the order of steps (`pipelines/ingest/readings.py`).
"""

from __future__ import annotations

from pipelines.harmonise.contract import Column, Contract, Feed, Time
from pipelines.harmonise.mapping import Compiler, columns_used
from pipelines.harmonise.moments import clock_changes
from pipelines.harmonise.quantities import Quantities
from pipelines.harmonise.sql import Expression, Steps, ident, text_of
from warehouse.dictionary import Dictionary, dictionary
from warehouse.dictionary.render import quoted

READ_AT, READING = "read_at", "reading"
MICROSECONDS_AN_HOUR = 3_600_000_000


class Words(Compiler):
    """What the words of a feed of readings mean, and how its times and numbers are read."""

    def __init__(self, d: Dictionary, contract: Contract, feed: Feed) -> None:
        super().__init__(d, contract, feed, feed.maps[0])
        columns = self.mapping.columns
        self.at_column, self.number_column = str(columns[READ_AT].source), str(columns[READING].source)
        meant = {c for c, fields in columns_used(feed).items() if fields or c in self.mapping.where}
        self.columns = sorted(meant - {self.at_column, self.number_column})
        # Fields that follow from the words; time and number are the reading's own.
        self.fields = [f for f in self.table.fields if f not in (READ_AT, READING)]
        self.time: Time = self._time(columns[READ_AT])

    def select(self) -> str:
        """SELECT over `staged AS s`, a row a combination: its columns and fields, `factor`, `shift`, `low`, `high`.

        `usable` tells whether no word of the combination is refused: only then the thorough way has nothing to say.
        """
        self.steps = Steps()
        self.quantities = Quantities(self.d, self.contract, self.feed, self.steps)
        fields: dict[str, Expression] = {"site_id": Expression(quoted(self.contract.site_id))}
        for name, column in self.ordered():
            if name not in (READ_AT, READING):
                fields[name] = self._column(name, column, fields)
        column = self.mapping.columns[READING]
        factor, shift, unit_problems = self.quantities.factor(self.d.fields[READING], column, READING, fields)
        low, high = self.quantities.limits(self.d.channels, fields["quantity_name"].sql)
        refused = [p.when for e in fields.values() for p in e.problems] + [p.when for p in unit_problems]
        refused += [
            f"{fields[name].sql} IS NULL"
            for name in self.table.required
            if name in fields and name in self.mapping.columns
        ]
        refused += [f"{text_of(c)} IS DISTINCT FROM {quoted(v)}" for c, v in self.mapping.where.items()]
        usable = " AND ".join(f"NOT coalesce({when}, false)" for when in refused) or "true"
        typed = ", ".join(
            f"{fields[f].sql if f in fields else self._nothing(f)} AS {ident(f'@{f}')}" for f in self.fields
        )
        told = ", ".join(f"s.{ident(c)}" for c in self.columns)
        return (
            f"SELECT {told}, {typed}, CAST({factor} AS DOUBLE) AS factor, CAST({shift} AS DOUBLE) AS shift, "
            f"CAST({low} AS DOUBLE) AS low, CAST({high} AS DOUBLE) AS high, {usable} AS usable "
            f"FROM {self.steps.source('SELECT * FROM staged')}"
        )

    def number(self, kind: str) -> str:
        """The number as printed (DOUBLE) over the source's own column of SQL type `kind`; NULL where it is none."""
        column, plain = ident(self.number_column), Quantities(self.d, self.contract, self.feed, Steps())
        if kind in ("DOUBLE", "TINYINT", "SMALLINT", "INTEGER") and plain.decimal != ",":
            return f"CAST({column} AS DOUBLE)"
        return plain.plain(column if kind == "VARCHAR" else f"CAST({column} AS VARCHAR)")

    def moment(self, kind: str) -> tuple[str, str]:
        """(instant or local time as printed, TIMESTAMP; whether it is local) over a column of SQL type `kind`."""
        column, form = ident(self.at_column), self.time.format
        if form == "iso" and kind == "TIMESTAMP WITH TIME ZONE":
            return f"make_timestamp(epoch_us({column}))", "false"
        text = column if kind == "VARCHAR" else f"CAST({column} AS VARCHAR)"
        if form == "epoch_ms":
            return f"make_timestamp(TRY_CAST({text} AS BIGINT) * 1000)", "false"
        if "%z" in form:
            return f"make_timestamp(epoch_us(try_strptime({text}, {quoted(form)})))", "false"
        if form != "iso":
            zoned = "true" if self.time.zone else "NULL"
            return f"try_strptime({text}, {quoted(form)})", zoned
        # The usual ends of a time, looked at without a regular expression; any other is left to the thorough way.
        offset = f"substring({text}, -3, 1) = ':' AND substring({text}, -6, 1) IN ('+', '-')"
        stamped = f"(suffix({text}, 'Z') OR (length({text}) > 19 AND {offset}))"
        seconds = f"length({text}) = 19 AND substring({text}, 17, 1) = ':'"
        local = f"CASE WHEN {stamped} THEN false WHEN {seconds} THEN true END"
        instant = f"make_timestamp(epoch_us(TRY_CAST({text} AS TIMESTAMPTZ)))"
        if self.time.zone is None:
            return instant, f"CASE WHEN {stamped} THEN false END"
        return f"CASE WHEN {stamped} THEN {instant} ELSE TRY_CAST({text} AS TIMESTAMP) END", local

    def value(self, number: str) -> str:
        """The number in the unit of its quantity, by the same arithmetic as `Quantities.number`."""
        quantities = Quantities(self.d, self.contract, self.feed, Steps())
        fields = {"quantity_name": Expression("''")}
        column = self.mapping.columns[READING]
        factor, shift, _ = quantities.factor(self.d.fields[READING], column, READING, fields)
        value = number if factor == "1.0" else f"{number} * factor"
        return value if shift == "0.0" else f"{value} + shift"


def words_of(contract: Contract, feed: Feed) -> Words | None:
    """How the feed's readings are mapped quickly; None where a time or number is made of more than one plain column."""
    columns = feed.maps[0].columns
    if feed.maps[0].each or not all(_plain(columns.get(name)) for name in (READ_AT, READING)):
        return None
    words = Words(dictionary(), contract, feed)
    return words if words.columns and words.at_column != words.number_column else None


def _plain(column: Column | None) -> bool:
    return (
        column is not None
        and isinstance(column.source, str)
        and column.part is None
        and column.codes is None
        and not column.decade
    )


def hours_sql(zone: str) -> str:
    """SELECT over `local_hours(hour)`, microseconds since 1970 by the hour: what to add for UTC, where no doubt is.

    Zones are asked once an hour of local time, at its start and its end; an hour in which clocks change is left out.
    """
    z = quoted(zone)
    start = f"make_timestamp(hour * {MICROSECONDS_AN_HOUR})"
    end = f"make_timestamp(hour * {MICROSECONDS_AN_HOUR} + {MICROSECONDS_AN_HOUR - 1})"
    exists = " AND ".join(f"timezone({z}, timezone({z}, {t})) = {t}" for t in (start, end))
    once = "".join(
        f" AND timezone({z}, timezone({z}, {t}) {sign} INTERVAL {n} MINUTE) <> {t}"
        for t in (start, end)
        for sign in "+-"
        for n in clock_changes(zone)[1]
    )
    added = f"epoch_us(timezone({z}, {start})) - hour * {MICROSECONDS_AN_HOUR}"
    at_end = f"epoch_us(timezone({z}, {end})) - hour * {MICROSECONDS_AN_HOUR} - {MICROSECONDS_AN_HOUR - 1}"
    return f"SELECT hour, {added} AS added FROM local_hours WHERE {exists}{once} AND {added} = {at_end}"
