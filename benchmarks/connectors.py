"""Speed of connectors over loopback, each as a ratio to its library's bare read of the same bytes: one JSON row each.

    python benchmarks/connectors.py [--rows 300000] [--megabytes 200] [--runs 3]

Needs PostgreSQL's programs and rclone (which the tests install). Each measurement is taken `runs` times, bare read and
connector in turn; the medians are shown. `ratio` is of wall times, `cpu_ratio` of this process's processor times, which
a busy machine disturbs less. A connector ends with a file ready for the vault; a bare read throws the bytes away.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "integration")]

import boto3  # noqa: E402
import httpx  # noqa: E402
import paramiko  # noqa: E402
import psycopg  # noqa: E402
from live_servers import free_port, postgres, program, running  # noqa: E402

from pipelines.connectors.fhir_bulk import FhirBulk  # noqa: E402
from pipelines.connectors.protocol import Connector, Seen  # noqa: E402
from pipelines.connectors.relational import Relational  # noqa: E402
from pipelines.connectors.s3 import S3  # noqa: E402
from pipelines.connectors.sftp import Sftp  # noqa: E402
from pipelines.harmonise.contract import Feed  # noqa: E402
from pipelines.harmonise.systems import FhirBulkSystem, RelationalSystem, S3System, SftpSystem  # noqa: E402

CHUNK = 1 << 18
SECRET = "benchmark-only"  # noqa: S105 - of a server that this program starts and ends
COLUMNS = 8


def feed(**changed: Any) -> Feed:
    """A feed of samples, with what its kind of system needs."""
    tables = [{"table": "sample", "columns": {"sample_id": "id"}}]
    return Feed.model_validate({"system": "s", "record": "id", "tables": tables, **changed})


def take(connector: Connector, system: Any, chosen: Feed, scratch: Path) -> int:
    """Bring all that a connector offers; returns the bytes."""
    size = 0
    for offer in connector.offers(system, chosen, Path(), Seen(), scratch):
        path = offer.file()
        assert path is not None
        size += path.stat().st_size
        path.unlink()
    return size


def measured(name: str, runs: int, bare: Callable[[], object], ours: Callable[[], int], **told: Any) -> None:
    """Print one row: medians of both in turn, their ratio, bytes and, where told, values a second."""
    walls: dict[str, list[float]] = {"bare": [], "ours": []}
    cpus: dict[str, list[float]] = {"bare": [], "ours": []}
    size = 0
    for _ in range(runs):
        for which, action in (("bare", bare), ("ours", ours)):
            wall, cpu = time.perf_counter(), time.process_time()
            done = action()
            walls[which].append(time.perf_counter() - wall)
            cpus[which].append(time.process_time() - cpu)
            size = int(done) if which == "ours" else size  # type: ignore[call-overload]
    bare_s, ours_s = (statistics.median(walls[w]) for w in ("bare", "ours"))
    values = told.pop("values", 0)
    row = {
        "connector": name, **told, "bytes": size, "bare_s": round(bare_s, 3), "connector_s": round(ours_s, 3),
        "ratio": round(ours_s / bare_s, 2),
        "cpu_ratio": round(statistics.median(cpus["ours"]) / max(statistics.median(cpus["bare"]), 1e-9), 2),
        "mb_per_s": round(size / ours_s / 1e6, 1),
    }  # fmt: skip
    if values:
        row["values_per_s"] = round(values / ours_s)
    print(json.dumps(row), flush=True)


def postgresql(rows: int, runs: int, scratch: Path) -> None:
    """A LIMS table: bare is psycopg's `COPY table TO STDOUT`, in the text format and in the extract's own."""
    with postgres() as server:
        os.environ["BENCH_URL"] = server.url
        with psycopg.connect(server.url) as con:
            con.execute(
                "CREATE TABLE result (id text, sample text, test text, result numeric, unit text, "
                "at timestamptz, changed timestamptz, note text)"
            )
            con.execute(
                "INSERT INTO result SELECT 'R' || n, 'S' || n / 7, 'viability', (n % 1000) / 10.0, '%', "
                "timestamptz '2025-01-01Z' + n * interval '1 minute', "
                "timestamptz '2025-01-02Z' + n * interval '1 minute', "
                f"'note of row ' || n FROM generate_series(1, {rows}) AS n"
            )
        with psycopg.connect(server.url, autocommit=True) as con:
            con.execute("VACUUM ANALYZE result")
        system = RelationalSystem(kind="relational", url_env="BENCH_URL")
        asked = {
            "text": "COPY result TO STDOUT",
            "delimited": "COPY result TO STDOUT (FORMAT csv)",
            "jsonl": "COPY (SELECT row_to_json(t) FROM result AS t) TO STDOUT",
        }

        def bare(query: str) -> int:
            with psycopg.connect(server.url) as con, con.cursor().copy(query) as copy:
                return sum(len(block) for block in copy)

        for layout in ("delimited", "jsonl"):
            chosen = feed(query_table="result", modified="changed", overlap="1 hour", format={"name": layout})
            for against in ("text", layout):
                measured(
                    "relational", runs, lambda q=asked[against]: bare(q),  # type: ignore[misc]
                    lambda c=chosen: take(Relational(), system, c, scratch),  # type: ignore[misc]
                    extract=layout, against=asked[against], rows=rows, values=rows * COLUMNS,
                )  # fmt: skip


def files(megabytes: int, runs: int, scratch: Path) -> None:
    """One large file over SFTP and over S3."""
    served = scratch / "served"
    (served / "drop").mkdir(parents=True)
    content = random.Random(7).randbytes(1 << 20)
    with (served / "drop" / "results_1.csv").open("wb") as out:
        for _ in range(megabytes):
            out.write(content)
    rsa = paramiko.RSAKey.generate(2048)
    rsa.write_private_key_file(str(scratch / "host"))
    os.environ["BENCH_USER"], os.environ["BENCH_SECRET"] = "bench", SECRET
    chosen = feed(files="results_*.csv")
    port = free_port()
    at = ["--addr", f"127.0.0.1:{port}", "--config", os.devnull]
    who = ["--user", "bench", "--pass", SECRET, "--key", str(scratch / "host")]
    with running(program("rclone"), "serve", "sftp", str(served), *at, *who, port=port):
        sftp = SftpSystem(
            kind="sftp", host="127.0.0.1", port=port, host_key=f"ssh-rsa {rsa.get_base64()}", path="drop",
            user="bench", password_env="BENCH_SECRET", settle_seconds=0,  # noqa: S106
        )  # fmt: skip

        def bare_sftp() -> int:
            client = paramiko.SSHClient()
            client.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # noqa: S507 - our own server
            client.connect("127.0.0.1", port, "bench", SECRET, look_for_keys=False, allow_agent=False)
            with client, client.open_sftp() as session, Path(os.devnull).open("wb") as nowhere:
                return session.getfo("drop/results_1.csv", nowhere)

        measured(
            "sftp", runs, bare_sftp, lambda: take(Sftp(), sftp, chosen, scratch), against="paramiko getfo"
        )
    port = free_port()
    at = ["--addr", f"127.0.0.1:{port}", "--config", os.devnull, "--auth-key", f"bench,{SECRET}"]
    with running(program("rclone"), "serve", "s3", str(served), *at, port=port):
        url = f"http://127.0.0.1:{port}"
        s3 = S3System(
            kind="s3",
            bucket="drop",
            endpoint=url,
            access_key_env="BENCH_USER",
            secret_key_env="BENCH_SECRET",  # noqa: S106
        )

        def bare_s3() -> int:
            client = boto3.client(
                "s3", endpoint_url=url, aws_access_key_id="bench", aws_secret_access_key=SECRET,
                region_name="us-east-1",
            )  # fmt: skip
            body = client.get_object(Bucket="drop", Key="results_1.csv")["Body"]
            return sum(len(chunk) for chunk in body.iter_chunks(1 << 20))

        measured("s3", runs, bare_s3, lambda: take(S3(), s3, chosen, scratch), against="boto3 get_object")


def fhir(resources: int, runs: int, scratch: Path) -> None:
    """One export of patients from the tests' server: bare is httpx streaming the file."""
    folder = scratch / "fhir"
    folder.mkdir()
    with (folder / "resources.jsonl").open("w") as out:
        for n in range(resources):
            told = {
                "resourceType": "Patient", "id": f"p{n}", "meta": {"lastUpdated": "2026-03-01T08:00:00Z"},
                "identifier": [{"value": f"MRN-{n:06}"}], "gender": "female", "birthDate": "1961-07-04",
            }  # fmt: skip
            out.write(json.dumps(told) + "\n")
    (folder / "how.json").write_text(json.dumps({"now": "2026-03-10T12:00:00Z", "bite": 1 << 20}))
    port = free_port()
    server = ROOT / "tests" / "integration" / "fhir_server.py"
    with running(sys.executable, str(server), str(port), str(folder), port=port):
        url = f"http://127.0.0.1:{port}"
        chosen = feed(resources=["Patient"], format={"name": "fhir"})
        system = FhirBulkSystem(kind="fhir_bulk", url=f"{url}/r4")

        def bare() -> int:
            started = httpx.get(f"{url}/r4/$export?_type=Patient", headers={"Prefer": "respond-async"})
            manifest = httpx.get(url + started.headers["Content-Location"], timeout=60).json()
            size = 0
            with httpx.stream("GET", manifest["output"][0]["url"]) as answer:
                for chunk in answer.iter_bytes(CHUNK):
                    size += len(chunk)
            return size

        measured(
            "fhir_bulk", runs, bare, lambda: take(FhirBulk(), system, chosen, scratch), against="httpx stream",
            resources=resources,
        )  # fmt: skip


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=300_000)
    asked.add_argument("--megabytes", type=int, default=200)
    asked.add_argument("--runs", type=int, default=3)
    chosen = asked.parse_args()
    with TemporaryDirectory() as scratch:
        postgresql(chosen.rows, chosen.runs, Path(scratch))
        files(chosen.megabytes, chosen.runs, Path(scratch))
        fhir(chosen.rows // 3, chosen.runs, Path(scratch))


if __name__ == "__main__":
    main()
