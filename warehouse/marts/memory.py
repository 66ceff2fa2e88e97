"""What the last snapshot knows and is still so: parts of a mart made from the same inputs are taken from it.

Belongs here: telling whether a part's inputs are the same, and the earlier rows. Does not belong here: which parts a
mart has and what goes into one (each builder).

A part is what a builder makes by itself: a chart series, a model, a batch. Its digest covers all that goes in, the code
that makes it, and the versions of what computes, so that a part taken over is what would have been made anew; a test
holds both against each other. The digests are kept in `meta.mart_part` of the snapshot, and with them the few numbers
that take seconds to compute and hang on their key alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import polars as pl

from warehouse import lake, made_by
from warehouse.marts.rows import schema_of

TABLE = "mart_part"
Key = tuple[Any, ...]
Numbers = tuple[float, ...]


def digest(*inputs: object) -> str:
    """A hash of tables, arrays and values. A table must be flat; a value is told by its `repr`."""
    told = hashlib.sha256()
    for one in inputs:
        if isinstance(one, pl.DataFrame):
            told.update(one.write_csv(null_value="\x00").encode())
        elif isinstance(one, np.ndarray):
            told.update(repr(one.shape).encode() + np.ascontiguousarray(one).tobytes())
        else:
            told.update(repr(one).encode())
        told.update(b"\x1e")
    return told.hexdigest()


class Memory:
    """Earlier parts, and the digests of today's.

    `earlier` is the attached snapshot to take parts from, or None.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, earlier: str | None) -> None:
        self.con, self.earlier = con, earlier
        self.taken = 0
        self._now: dict[tuple[str, Key], str] = {}
        self._values: dict[tuple[str, Key], Numbers] = {}
        self._tables: dict[tuple[str, tuple[str, ...]], dict[Key, pl.DataFrame]] = {}

    @cached_property
    def _known(self) -> dict[tuple[str, str], tuple[str, str | None]]:
        if self.earlier is None:
            return {}
        # A release before this one kept no numbers; what other code made is not taken over anyway.
        if "numbers" not in lake.columns_of(self.con, f"{self.earlier}.meta.{TABLE}"):
            return {}
        rows = self.con.execute(
            f"SELECT part_of, part, digest, numbers FROM {self.earlier}.meta.{TABLE}"
        ).fetchall()
        return {(of, part): (told, numbers) for of, part, told, numbers in rows}

    def same(self, of: str, part: Key, *inputs: object) -> bool:
        """Note what goes into a part today; whether it is what went in when the earlier snapshot was made."""
        told = digest(made_by.code(), *inputs)
        self._now[of, part] = told
        same = self._known.get((of, repr(part)), (None, None))[0] == told
        self.taken += same
        return same

    def numbers(self, of: str, part: Key, make: Callable[[], Numbers]) -> Numbers:
        """What `make` gives, which hangs on `part` alone; asked only where the earlier snapshot does not know it."""
        same = self.same(of, part)
        known = self._known[of, repr(part)][1] if same else None
        found = make() if known is None else tuple(json.loads(known))
        self._values[of, part] = found
        return found

    def rows(self, mart: str, columns: tuple[str, ...], part: Key) -> pl.DataFrame:
        """Earlier rows of a mart whose `columns` have these values, in their order; none is an empty table."""
        schema = schema_of(mart)
        if (mart, columns) not in self._tables:
            whole = self.con.execute(f"SELECT * FROM {self.earlier}.mart.{mart}").pl()
            whole = whole.select([pl.col(name).cast(kind) for name, kind in schema.items()])
            self._tables[mart, columns] = whole.partition_by(list(columns), as_dict=True, maintain_order=True)
        return self._tables[mart, columns].get(part, pl.DataFrame(schema=schema))

    def write(self, target: str) -> None:
        """Keep today's digests in `meta.mart_part` of the database `target`."""
        rows: Iterable[Mapping[str, str | None]] = [
            {
                "part_of": of,
                "part": repr(part),
                "digest": told,
                "numbers": json.dumps(self._values[of, part]) if (of, part) in self._values else None,
            }
            for (of, part), told in self._now.items()
        ]
        schema = pl.Schema(dict.fromkeys(("part_of", "part", "digest", "numbers"), pl.String()))
        self.con.register("mart_parts", pl.DataFrame(rows, schema=schema))
        self.con.execute(f"CREATE SCHEMA IF NOT EXISTS {target}.meta")
        self.con.execute(f"CREATE OR REPLACE TABLE {target}.meta.{TABLE} AS SELECT * FROM mart_parts")
        self.con.unregister("mart_parts")
        self.con.execute(
            f"COMMENT ON TABLE {target}.meta.{TABLE} IS 'Digest of all that went into each separately made part of a "
            "mart, and numbers that hang on the part alone; the next publication takes over what rests on the same.'"
        )
