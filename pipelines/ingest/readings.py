"""Readings of some files as sorted rows, ready to be audited: quickly where all is well, thoroughly where not.

Files are read once as numbers, times and small integers for their words; what the words mean is found once a
combination (`harmonise/readings.py`), zones are asked once an hour. Rows that this cannot vouch for are read again as
text and mapped as records of a small feed are, so that both ways say the same and only the thorough one refuses.
Does not belong here: which files, duplicates, the commit (`large.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import duckdb
import polars as pl

from pipelines.formats.delimited import FILES, Scan
from pipelines.harmonise.contract import Contract, Feed
from pipelines.harmonise.mapping import Compiler, columns_used, ident, text_of
from pipelines.harmonise.readings import MICROSECONDS_AN_HOUR, READ_AT, READING, Words, hours_sql, words_of
from pipelines.ingest.memory import MEMORY, MEMORY_OF_TEXTS, bounded
from warehouse.dictionary import Table, dictionary
from warehouse.dictionary.render import quoted
from warehouse.vault import Arrival

# More combinations than that are no words of readings: the feed is then mapped the thorough way.
MOST_COMBINATIONS = 200_000
# Of a row with what its words mean: nothing of it is refused, its words (`usable`), its time or its number.
VOUCHED_FOR = """usable AND instant IS NOT NULL AND local IS NOT NULL AND isfinite(number) AND isfinite(value)
    AND NOT coalesce(value < low OR value > high, false)"""
NO_PROBLEMS = """
    CREATE OR REPLACE TABLE problems (
      record_id VARCHAR, subject VARCHAR, source_file VARCHAR, source_file_sha256 VARCHAR, source_row BIGINT,
      reason_code VARCHAR, field_name VARCHAR, value_seen VARCHAR, value_wanted VARCHAR, whole_record BOOLEAN)"""


@dataclass
class Batch:
    """Files that are promoted together, in the order in which their rows are numbered."""

    scans: list[tuple[Arrival, Scan]] = field(default_factory=list)

    def in_one_go(self, *, sampled: bool = False) -> list[tuple[int, str]]:
        """(number of the first file, SQL that reads these files) of files next to each other that are alike.

        With `sampled` the SQL reads the samples of files that have one.
        """
        alike: dict[str, list[int]] = {}
        for n, (_, scan) in enumerate(self.scans):
            alike.setdefault(scan.together, []).append(n)
        self.scans = [self.scans[n] for numbers in alike.values() for n in numbers]
        calls, first = [], 0
        for together, numbers in alike.items():
            scans = [scan for _, scan in self.scans[first : first + len(numbers)]]
            files = ", ".join(quoted(str((sampled and scan.sample) or scan.file)) for scan in scans)
            calls.append((first, together.replace(FILES, f"[{files}]")))
            first += len(numbers)
        return calls


def map_readings(
    con: duckdb.DuckDBPyConnection, contract: Contract, feed: Feed, table: Table, batch: Batch
) -> None:
    """`sorted_reading` (typed rows with `file_no`, `source_row`, by batch, channel and time) and `problems`.

    Raises duckdb.Error where a file is not as its scan says.
    """
    calls = batch.in_one_go()
    _number_files(con, batch)
    con.execute("DROP TABLE IF EXISTS sorted_reading")
    words = words_of(contract, feed) if batch.scans else None
    if words is None or not _read(con, words, batch, calls):
        with bounded(con, MEMORY_OF_TEXTS, then=MEMORY):
            _map_thoroughly(con, contract, feed, table, batch, list(range(len(batch.scans))))
        _sort(con, table, None, thorough=True)
        return
    _understand(con, words)
    received, instant = _one(con, "SELECT count(*) FROM quick"), _placed(con)
    con.execute(NO_PROBLEMS)
    _sort(con, table, (words, instant), thorough=False)
    if _one(con, "SELECT count(*) FROM sorted_reading") < received:
        # It is made anew: to hold it meanwhile costs as much as all else.
        con.execute("DROP TABLE sorted_reading")
        with bounded(con, MEMORY_OF_TEXTS, then=MEMORY):
            con.execute(
                "CREATE OR REPLACE TABLE odd AS SELECT file_no, source_row "
                f"FROM {_valued(words, instant, 'LEFT JOIN meant')} WHERE ({VOUCHED_FOR}) IS NOT TRUE"
            )
            files = [int(row[0]) for row in con.execute("SELECT DISTINCT file_no FROM odd").fetchall()]
            chosen = "SEMI JOIN odd USING (file_no, source_row)"
            _map_thoroughly(con, contract, feed, table, batch, files, chosen)
        _sort(con, table, (words, instant), thorough=True)
    con.execute("DROP VIEW placed")
    con.execute("DROP TABLE quick")


def _one(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = con.execute(sql).fetchone()
    assert row is not None
    return int(row[0] or 0)


def _number_files(con: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    """`group_files`: what a row's number of its file stands for; and `file_gaps`, rows refused by the reader."""
    files = pl.DataFrame(
        [(n, a.name, a.sha256, a.sent_at) for n, (a, _) in enumerate(batch.scans)],
        schema={"file_no": pl.Int32, "source_file": pl.String, "source_file_sha256": pl.String,
                "sent_at": pl.Datetime("us", "UTC")},
        orient="row",
    )  # fmt: skip
    gaps = pl.DataFrame(
        [(n, k, skipped) for n, (_, scan) in enumerate(batch.scans) for k, skipped in scan.gaps],
        schema={"file_no": pl.Int32, "first": pl.Int64, "skipped": pl.Int64},
        orient="row",
    )
    for name, frame in (("group_files", files), ("file_gaps", gaps)):
        con.register("frame", frame)
        con.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM frame")
        con.unregister("frame")


def _read(con: duckdb.DuckDBPyConnection, words: Words, batch: Batch, calls: list[tuple[int, str]]) -> bool:
    """`staged`, each combination of words, and `quick`: words, time and number of each row, in file order.

    False where combinations are too many. Long files are not read through for their words first: those of a sample are
    mostly all, and where one is not, that is seen.
    """
    if any(scan.sample for _, scan in batch.scans):
        _stage_words(con, words, batch.in_one_go(sampled=True))
        if _one(con, "SELECT count(*) FROM staged") <= MOST_COMBINATIONS:
            _code(con, words, calls)
            names = ", ".join(f"CAST({ident(c)} AS VARCHAR) AS {ident(c)}" for c in words.columns)
            found = f"SELECT DISTINCT {names} FROM quick LIMIT {MOST_COMBINATIONS + 1}"
            con.execute(f"CREATE OR REPLACE TABLE staged AS {found}")
            unknown = " OR ".join(f"{ident(c)} IS NULL" for c in words.columns)
            if not _one(con, f"SELECT count(*) FROM staged WHERE {unknown}"):
                return _one(con, "SELECT count(*) FROM staged") <= MOST_COMBINATIONS
    _stage_words(con, words, calls)
    if _one(con, "SELECT count(*) FROM staged") > MOST_COMBINATIONS:
        return False
    _code(con, words, calls)
    return True


def _stage_words(con: duckdb.DuckDBPyConnection, words: Words, calls: list[tuple[int, str]]) -> None:
    """`staged`: each combination of words in what is read, no more than one too many."""
    names = ", ".join(f"coalesce(CAST({ident(c)} AS VARCHAR), '') AS {ident(c)}" for c in words.columns)
    read = " UNION ".join(f"SELECT DISTINCT {names} FROM {sql}" for _, sql in calls)
    con.execute(f"CREATE OR REPLACE TABLE staged AS SELECT * FROM ({read}) LIMIT {MOST_COMBINATIONS + 1}")


def _code(con: duckdb.DuckDBPyConnection, words: Words, calls: list[tuple[int, str]]) -> None:
    """`quick`, with small integers for the words of `staged` and NULL for any other."""
    con.execute("DROP TABLE IF EXISTS quick")
    con.execute("DROP TABLE IF EXISTS sorted_reading")
    for n, column in enumerate(words.columns):
        enum(con, f"word_{n}", f"SELECT {ident(column)} FROM staged")
    coded = ", ".join(
        f"TRY_CAST(coalesce(CAST({ident(c)} AS VARCHAR), '') AS word_{n}) AS {ident(c)}"
        for n, c in enumerate(words.columns)
    )
    for i, (first, sql) in enumerate(calls):
        kinds = {row[0]: row[1] for row in con.execute(f"DESCRIBE SELECT * FROM {sql}").fetchall()}
        at, local = words.moment(kinds[words.at_column])
        number = words.number(kinds[words.number_column])
        con.execute(
            f"{'INSERT INTO quick' if i else 'CREATE TABLE quick AS'} "
            f"SELECT CAST({first} + file_index AS INTEGER) AS file_no, {coded}, {at} AS printed_at, "
            f"CAST({local} AS BOOLEAN) AS local, {number} AS number FROM {sql}"
        )


def enum(con: duckdb.DuckDBPyConnection, name: str, values: str) -> None:
    """A type whose values are those of the query, in their order: small integers where texts would be."""
    con.execute(f"DROP TYPE IF EXISTS {name}")
    said = f"SELECT DISTINCT v FROM ({values}) AS t(v) WHERE v IS NOT NULL ORDER BY v"
    # No table can have an ENUM of no values: so it is where no file of a group can be read.
    some = _one(con, f"SELECT count(*) FROM ({said})")
    con.execute(f"CREATE TYPE {name} AS {f'ENUM ({said})' if some else 'VARCHAR'}")


def _understand(con: duckdb.DuckDBPyConnection, words: Words) -> None:
    """`meant`: each combination of words with its fields; `added`: what makes UTC of a local hour."""
    con.execute("DROP TABLE IF EXISTS meant")
    told = ", ".join(f"CAST({ident(c)} AS word_{n}) AS {ident(c)}" for n, c in enumerate(words.columns))
    con.execute(f"CREATE TABLE meant AS SELECT * REPLACE ({told}) FROM ({words.select()})")
    con.execute(
        f"CREATE OR REPLACE TABLE local_hours AS "
        f"SELECT DISTINCT epoch_us(printed_at) // {MICROSECONDS_AN_HOUR} AS hour FROM quick WHERE local"
    )
    con.execute(f"CREATE OR REPLACE TABLE added AS {hours_sql(words.time.zone or 'UTC')}")


def _placed(con: duckdb.DuckDBPyConnection) -> str:
    """View `placed`: rows of `quick` with their row in the file; returns SQL of the instant in microseconds."""
    con.execute(
        "CREATE OR REPLACE TABLE file_start AS SELECT file_no, min(rowid) AS start FROM quick GROUP BY file_no"
    )
    rows = "SELECT q.*, q.rowid - start + 1 AS source_row FROM quick AS q JOIN file_start USING (file_no)"
    if _one(con, "SELECT count(*) FROM file_gaps"):
        rows = (
            f"SELECT r.* REPLACE (source_row + coalesce(skipped, 0) AS source_row) FROM ({rows}) AS r "
            "ASOF LEFT JOIN file_gaps AS g ON g.file_no = r.file_no AND r.source_row >= g.first"
        )
    if _one(con, "SELECT count(*) FROM local_hours"):
        # Of times that are no local ones the hour is NULL and joins nothing.
        hour = f"CASE WHEN r.local THEN epoch_us(r.printed_at) // {MICROSECONDS_AN_HOUR} END"
        rows = f"SELECT r.*, a.added FROM ({rows}) AS r LEFT JOIN added AS a ON a.hour = {hour}"
        instant = "epoch_us(printed_at) + CASE WHEN local THEN added ELSE 0 END"
    else:
        instant = "epoch_us(printed_at)"
    con.execute(f"CREATE OR REPLACE VIEW placed AS {rows}")
    return instant


def _valued(words: Words, instant: str, meaning: str) -> str:
    """SQL of the rows of `placed`, each with what its words mean, its `instant` and its `value`."""
    using = ", ".join(map(ident, words.columns))
    return f"(SELECT *, {instant} AS instant, {words.value('number')} AS value FROM placed {meaning} USING ({using}))"


def _sort(
    con: duckdb.DuckDBPyConnection,
    table: Table,
    quick: tuple[Words, str] | None,
    *,
    thorough: bool,
) -> None:
    """`sorted_reading` from the rows that were mapped the quick way, the thorough way (`good`), or both."""
    con.execute("DROP TABLE IF EXISTS sorted_reading")
    con.execute("DROP TABLE IF EXISTS vouched")
    texts = [f for f in table.fields if dictionary().fields[f].type == "string"]
    for f in texts:
        said = [f"SELECT {ident(f'@{f}')} FROM meant"] if quick else []
        said += [f"SELECT {ident(f)} FROM good"] if thorough else []
        enum(con, f"field_{f}", " UNION ".join(said))
    sources = []
    if quick:
        words, instant = quick
        typed = ", ".join(f"CAST({ident(f'@{f}')} AS field_{f}) AS {ident(f'@{f}')}" for f in texts)
        con.execute(f"CREATE TABLE vouched AS SELECT * REPLACE ({typed}) FROM meant WHERE usable")
        fields = {f: ident(f"@{f}") for f in words.fields} | {
            READ_AT: "make_timestamptz(instant)",
            READING: "value",
        }
        sources.append(f"""
            SELECT {", ".join(f"{fields[f]} AS {ident(f)}" for f in table.fields)}, file_no, source_row
            FROM {_valued(words, instant, "JOIN vouched")} WHERE {VOUCHED_FOR}""")
    if thorough:
        typed_row = ", ".join(
            f"CAST({ident(f)} AS field_{f}) AS {ident(f)}" if f in texts else ident(f) for f in table.fields
        )
        sources.append(f"SELECT {typed_row}, file_no, source_row FROM good")
    # Also where the files are in order: what was laid beside one another by several cores has lost it.
    order = "ORDER BY batch_id, channel, read_at, file_no, source_row"
    con.execute(f"CREATE TABLE sorted_reading AS {' UNION ALL '.join(sources)} {order}")
    if quick:
        con.execute("DROP TABLE vouched")


def _map_thoroughly(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed: Feed,
    table: Table,
    batch: Batch,
    files: list[int],
    chosen: str = "",
) -> None:
    """`good` and `problems` of the rows of these files that the join `chosen` leaves, mapped from their texts."""
    used = sorted(columns_used(feed))
    texts = ", ".join(f"CAST({ident(c)} AS VARCHAR) AS {ident(c)}" for c in used)
    rows = [f"SELECT {n} AS file_no, source_row, {texts} FROM {batch.scans[n][1].sql}" for n in files]
    if not rows:
        nothing = ", ".join(f"CAST(NULL AS VARCHAR) AS {ident(c)}" for c in used)
        rows = [f"SELECT 0 AS file_no, CAST(0 AS BIGINT) AS source_row, {nothing} WHERE false"]
    con.execute(f"CREATE OR REPLACE TABLE staged AS SELECT * FROM ({' UNION ALL '.join(rows)}) {chosen}")
    compiler = Compiler(dictionary(), contract, feed, feed.maps[0])
    fields = ", ".join(ident(f) for f in table.fields)
    typed = " UNION ALL ".join(
        f"SELECT {fields}, file_no, source_row, problems FROM ({select})" for select in compiler.selects()
    )
    con.execute(f"CREATE OR REPLACE TABLE mapped AS {typed}")
    record = [feed.record] if isinstance(feed.record, str) else feed.record
    subject = ", ".join(f"coalesce({text_of(c)}, '')" for c in record)
    con.execute(f"""
        CREATE OR REPLACE TABLE problems AS
        SELECT left(f.source_file_sha256, 24) || ':' || s.source_row AS record_id, concat_ws('|', {subject}) AS subject,
               f.source_file, f.source_file_sha256, s.source_row,
               p.reason_code, p.field_name, p.value_seen, p.value_wanted, p.whole_record
        FROM (SELECT file_no, source_row, unnest(problems) AS p FROM mapped WHERE len(problems) > 0)
        JOIN staged AS s USING (file_no, source_row)
        JOIN group_files AS f USING (file_no)""")
    con.execute(f"""
        CREATE OR REPLACE TABLE good AS SELECT {fields}, file_no, source_row FROM mapped
        WHERE len(problems) = 0 OR len(list_filter(problems, lambda p: p.whole_record)) = 0""")
    con.execute("DROP TABLE staged")
    con.execute("DROP TABLE mapped")
