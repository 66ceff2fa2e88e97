"""Evidence packs: what a batch or the verdicts of a plan rest on, in one archive that can be re-run.

Belongs here: which rows go into a pack, its bytes, checking and re-running it. Does not belong here: what the marts say
(`warehouse/marts`), the ledger (`warehouse/ledger`), the words of the command line (`cli.py`).

A pack is a ZIP of plain files, stored, sorted, without times of its own: the same snapshot, configuration and ledger
give the same bytes.

    manifest.json             what it is about, snapshot, code, versions, and SHA-256 of every other file
    data/<table>.csv          rows by key, columns as the dictionary orders them, times in UTC
    configuration/            fleet.yaml and the contracts as they were, settings that bear on results
    report/report.md          the same in words, readable without any software of ours
    report/report.pdf         for a batch: the dossier
    proofs/<entry>.json       the ledger's proofs of custody events, decisions, specification and snapshot
    proofs/verify.py          the verifier, standard library only

Data come from the published snapshot, or with a time from what the lake knew then. `verify` takes another way: it goes
back to the lake, to what was known when the snapshot was made, builds every mart and report again with the
configuration of the pack, and compares the bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import duckdb

from pipelines.real_files import contract_paths
from warehouse import lake, lake_readings, ledger
from warehouse.dictionary import dictionary
from warehouse.dictionary.render import quoted
from warehouse.ledger.files import Place
from warehouse.marts.build import build
from warehouse.plan import load_plan
from warehouse.publish import newest
from warehouse.reports.archive import as_json, code_version, zipped
from warehouse.reports.dossier import batch_report, study_report
from warehouse.reports.tables import OF_BATCH, OF_STUDY, data_files
from warehouse.reports.typeset import markdown, pdf
from warehouse.settings import ROOT, Settings

FORMAT = "cellfleet evidence 1"


class EvidenceError(ValueError):
    """No pack can be made, or the archive is none; the sentence says what to do."""


@dataclass
class Checked:
    """What a check of a pack saw: sentences on what holds, and on what does not."""

    holds: list[str] = field(default_factory=list)
    fails: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.fails


def pack(chosen: Settings, subject: str, known: datetime | None = None) -> bytes:
    """The pack about a batch (its id, or `site/batch`) or about the plan of the fleet (its id): the archive's bytes.

    With `known` (a time with its zone) everything is as the lake knew it then, computed anew, with the plan of today.
    Raises EvidenceError where nothing is published, the name is unknown or ambiguous, or the ledger refuses.
    """
    path = newest(chosen.published_path)
    if path is None:
        raise EvidenceError(f"Nothing is published in {chosen.published_path}: run `cellfleet run` first.")
    with duckdb.connect(str(path), read_only=True) as con:
        con.execute("SET TimeZone = 'UTC'")
        facts = dict(con.execute("SELECT fact, value FROM meta.snapshot ORDER BY fact").fetchall())
        if known is None:
            lake_readings.reach(con, chosen)
            known = _known_at(con)
            about, files, entries = _content(con, subject, facts)
            with path.open("rb") as file:
                digest: str | None = hashlib.file_digest(file, "sha256").hexdigest()
            entries = [*entries, f"snapshot:{facts['number']}:{str(digest)[:16]}"]
        else:
            known, digest = known.astimezone(UTC), None
            facts = {"number": "0", "as_of": known.isoformat(), "data": facts.get("data", "")}
            with _as_known(
                chosen,
                known,
                chosen.sites_path / "fleet.yaml",
                facts,
                float(chosen.alpha),
                float(chosen.power),
            ) as then:
                about, files, entries = _content(then, subject, facts)
    files |= _configuration(chosen)
    files |= _proofs(chosen, entries)
    manifest = {
        "format": FORMAT, "about": about, "known_at": known.isoformat(), "snapshot": {"sha256": digest, "facts": facts},
        "code": {
            "cellfleet": version("cellfleet"), "sha256": code_version(), "python": platform.python_version(),
            "duckdb": duckdb.__version__,
        },
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
    }  # fmt: skip
    return zipped(files | {"manifest.json": as_json(manifest)})


def _content(
    con: duckdb.DuckDBPyConnection, subject: str, facts: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, bytes], list[str]]:
    """What the subject is, its rows and report, and the ledger's entries that it rests on."""
    about = _about(con, subject)
    return about, _data(con, about) | _report(con, about, facts), _entries(con, about)


@contextmanager
def _as_known(
    chosen: Settings, known: datetime, plan: Path, facts: Mapping[str, str], alpha: float, power: float
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection whose tables are those that a snapshot would have had, from what the lake knew at `known`."""
    with tempfile.TemporaryDirectory() as folder:
        con = lake.as_known(chosen, known)
        try:
            con.execute(f"ATTACH {quoted(str(Path(folder) / 'again.duckdb'))} AS again")
            build(con, "again", load_plan(plan), int(facts["number"]), alpha=alpha, power=power)
            con.execute("CREATE SCHEMA again.core")
            for table in dictionary().tables.values():
                if f"core.{table.name}" in OF_BATCH:
                    con.execute(f"CREATE TABLE again.core.{table.name} AS SELECT * FROM current.{table.name}")
            con.execute("USE again")
            yield con
        finally:
            con.close()


def check(archive: bytes, chosen: Settings | None = None, key: str | None = None) -> Checked:
    """Check a pack; with `chosen` its results are computed again from that home's lake and compared byte by byte.

    `key` is the ledger's public key in hex, known from elsewhere. Raises EvidenceError where the archive is no pack.
    """
    files = _unzipped(archive)
    try:
        manifest = json.loads(files["manifest.json"])
        if manifest["format"] != FORMAT:
            raise EvidenceError(
                f"this is {manifest['format']!r}, not {FORMAT!r}: use the version that made it"
            )
        listed: dict[str, str] = manifest["files"]
        about, known = manifest["about"], datetime.fromisoformat(manifest["known_at"])
        facts = manifest["snapshot"]["facts"]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, EvidenceError):
            raise
        raise EvidenceError(
            f"this is no evidence pack (manifest: {error}): give the file that was written"
        ) from error
    told = Checked()
    _check_files(files, listed, told)
    _check_proofs(files, manifest["snapshot"]["sha256"], key, told)
    if chosen is None:
        return told
    same = manifest["code"]["sha256"] == code_version()
    (told.holds if same else told.fails).append(
        "code: the same version"
        if same
        else f"code: made by version {manifest['code']['sha256'][:16]}, this is {code_version()[:16]}"
    )
    _check_again(files, about, known, facts, chosen, told)
    return told


def _check_files(files: Mapping[str, bytes], listed: Mapping[str, str], told: Checked) -> None:
    found = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in files.items()
        if name != "manifest.json"
    }
    for name in sorted(found.keys() | listed.keys()):
        if name not in found:
            told.fails.append(f"manifest: {name} is missing")
        elif name not in listed:
            told.fails.append(f"manifest: {name} is not listed")
        elif found[name] != listed[name]:
            told.fails.append(f"manifest: {name} was changed")
    if told.ok:
        told.holds.append(f"manifest: {len(found)} files have their hashes")


def _check_proofs(files: Mapping[str, bytes], snapshot: str | None, key: str | None, told: Checked) -> None:
    good, shown = 0, set()
    for name, content in sorted(files.items()):
        if not (name.startswith("proofs/") and name.endswith(".json")):
            continue
        try:
            proof = json.loads(content)
            ledger.check_proof(proof, key)
            payload = json.loads(proof["entry"])["payload"] if "entry" in proof else {}
            shown.add(payload.get("file_sha256"))
            good += 1
        except (ledger.Refused, ValueError, KeyError) as error:
            told.fails.append(f"proof: {name} does not hold: {error}")
    if snapshot is None:
        told.holds.append("proof: of an earlier time, which no snapshot stands for")
    elif snapshot in shown:
        told.holds.append("proof: the snapshot's hash is in the ledger")
    else:
        told.fails.append("proof: no proof shows the snapshot's hash")
    told.holds.append(
        f"proof: {good} hold" + ("" if key else " (under the key they name; give --key to pin it)")
    )


def _check_again(
    files: Mapping[str, bytes],
    about: Mapping[str, str],
    known: datetime,
    facts: Mapping[str, str],
    chosen: Settings,
    told: Checked,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "fleet.yaml"
        plan.write_bytes(files["configuration/fleet.yaml"])
        numbers = json.loads(files["configuration/settings.json"])
        with _as_known(chosen, known, plan, facts, float(numbers["alpha"]), float(numbers["power"])) as con:
            again = _data(con, about) | _report(con, about, facts)
    differ = [name for name in sorted(again) if files.get(name) != again[name]]
    told.fails += [f"re-run: {name} comes out otherwise" for name in differ]
    if not differ:
        told.holds.append(
            f"re-run: {len(again)} tables and reports came out with the same bytes, from the lake as known "
            f"{known.isoformat()}"
        )


def _about(con: duckdb.DuckDBPyConnection, subject: str) -> dict[str, str]:
    """What a name stands for: a batch with its site and order, or the plan."""
    site, _, batch = subject.rpartition("/")
    found = con.execute(
        "SELECT site_id, batch_id, coalesce(order_id, '') FROM core.batch WHERE batch_id = ? "
        "AND (? = '' OR site_id = ?) ORDER BY site_id",
        [batch, site, site],
    ).fetchall()  # fmt: skip
    if len(found) > 1:
        raise EvidenceError(
            f"{subject} is a batch at {', '.join(r[0] for r in found)}: give it as SITE/{batch}."
        )
    if found:
        return {"kind": "batch", "site": found[0][0], "batch": found[0][1], "order": found[0][2]}
    plans = [row[0] for row in con.execute("SELECT DISTINCT plan_id FROM mart.plan ORDER BY 1").fetchall()]
    if subject in plans:
        return {"kind": "study", "plan": subject}
    raise EvidenceError(
        f"There is no batch and no plan called {subject!r}: plans are {', '.join(plans) or 'none'}."
    )


def _known_at(con: duckdb.DuckDBPyConnection) -> datetime:
    """When the snapshot's newest row entered the lake: all of them, and no later one, are what was known."""
    tables = [
        f"history.{t.name}" for t in dictionary().tables.values() if t.layer == "core" and t.volume == "small"
    ]
    tables += ["core.reading", "quality.finding", "quality.accounting", "quality.quarantine", "raw.file"]
    union = " UNION ALL ".join(f"SELECT max(recorded_at) AS moment FROM {name}" for name in tables)
    row = con.execute(f"SELECT max(moment) FROM ({union})").fetchone()
    moment: datetime = row[0] if row and row[0] else datetime.now(UTC)
    return moment.astimezone(UTC)


def _data(con: duckdb.DuckDBPyConnection, about: Mapping[str, str]) -> dict[str, bytes]:
    """Each table's rows about the subject as CSV."""
    return data_files(con, OF_BATCH if about["kind"] == "batch" else OF_STUDY, about)


def _configuration(chosen: Settings) -> dict[str, bytes]:
    told = {"configuration/fleet.yaml": (chosen.sites_path / "fleet.yaml").read_bytes()}
    for path in contract_paths(chosen):
        told[f"configuration/{path.parent.name}/{path.name}"] = path.read_bytes()
    told["configuration/settings.json"] = as_json({"alpha": chosen.alpha, "power": chosen.power})
    return told


def _entries(con: duckdb.DuckDBPyConnection, about: Mapping[str, str]) -> list[str]:
    """Ids in the ledger of what the pack rests on."""
    if about["kind"] != "batch":
        return []
    site, batch, order = about["site"], about["batch"], about["order"]
    rows = con.execute(
        "SELECT 'custody_event', site_id, record_id FROM mart.custody_step "
        "WHERE order_site_id = $site AND order_id = $order "
        "UNION ALL SELECT 'release_decision', site_id, record_id FROM core.release_decision "
        "WHERE site_id = $site AND batch_id = $batch "
        "UNION ALL SELECT 'specification', s.site_id, s.record_id "
        "FROM core.specification s JOIN mart.release_readiness r "
        "USING (site_id, spec_id, spec_version) WHERE r.site_id = $site AND r.batch_id = $batch ORDER BY ALL",
        {"site": site, "batch": batch, "order": order},
    ).fetchall()
    return [f"{table}:{name}:{record}" for table, name, record in rows]


def _proofs(chosen: Settings, entries: list[str]) -> dict[str, bytes]:
    """Proofs up to the first head that covers each entry, so that later heads do not change them."""
    folder = chosen.ledger_path
    if not Place(folder).heads.exists():
        raise EvidenceError(f"{folder} has no signed head: run `cellfleet ledger append` first.")
    told = {"proofs/verify.py": (ROOT / "warehouse" / "ledger" / "verify.py").read_bytes()}
    for entry in entries:
        try:
            proof = ledger.prove(folder, entry)
        except ledger.LedgerError as error:
            raise EvidenceError(f"{error}. `cellfleet ledger append` logs what is published.") from error
        proof["heads"] = [{**proof["heads"][0], "cosignatures": [], "stamps": []}]
        told[f"proofs/{entry.replace(':', '-')}.json"] = as_json(proof)
    return told


def _report(
    con: duckdb.DuckDBPyConnection, about: Mapping[str, str], facts: Mapping[str, str]
) -> dict[str, bytes]:
    if about["kind"] == "study":
        return {"report/report.md": markdown(study_report(con, facts)).encode()}
    report = batch_report(con, about, facts)
    return {"report/report.md": markdown(report).encode(), "report/report.pdf": pdf(report)}


def _unzipped(archive: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            names = opened.namelist()
            if len(set(names)) != len(names):
                raise EvidenceError("a file is in the archive twice: ask for the pack again")
            return {name: opened.read(name) for name in names}
    except (zipfile.BadZipFile, OSError, RuntimeError) as error:
        raise EvidenceError(f"this is no whole archive ({error}): ask for the pack again") from error
