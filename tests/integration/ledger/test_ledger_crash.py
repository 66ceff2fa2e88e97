"""Crashes: what was acknowledged is there, what was written whole is carried on, what is torn is set
aside."""

import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from warehouse.ledger import Entry, LedgerError, append, audit, prove, sign_head

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
START = datetime(2026, 3, 1, tzinfo=UTC)

CHILD = """
import sys
from pathlib import Path
from warehouse.ledger import Entry, append

folder, number = Path(sys.argv[1]), int(sys.argv[2])
while True:
    size = number % 7 * 300 + 1
    entries = [Entry(f"e{number}-{n}", "custody_event", {"n": n, "note": "x" * 200}) for n in range(size)]
    append(folder, entries)
    print(f"{number} {size}\\n", end="", flush=True)
    number += 1
"""


def entry(name):
    return Entry(name, "custody_event", {"name": name})


@pytest.mark.faults
def test_a_killed_append_loses_nothing_acknowledged(tmp_path):
    """SIGKILL at random moments, ten times over, on one growing ledger."""
    draw = random.Random(5)
    folder, number, acknowledged, beyond = tmp_path / "ledger", 0, {}, 0
    for _ in range(10):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder), str(number)], stdout=subprocess.PIPE, text=True
        )
        lines = []
        reader = threading.Thread(target=lambda out=child.stdout, into=lines: into.extend(out))
        reader.start()
        while not lines:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.25))
        child.send_signal(signal.SIGKILL)
        child.wait()
        reader.join()
        for line in lines:
            if not line.endswith("\n"):
                continue  # killed while it said so: nothing was acknowledged
            number, size = map(int, line.split())
            acknowledged[number] = size
        size_now = append(folder, []).size
        report = audit(folder)
        assert report.ok, report.findings
        assert report.size == size_now >= sum(acknowledged.values())
        beyond += size_now - sum(acknowledged.values())
        number += 1
        unfinished = [
            Entry(f"e{number}-{n}", "custody_event", {"n": n, "note": "x" * 200})
            for n in range(number % 7 * 300 + 1)
        ]
        beyond -= append(folder, unfinished).already
        assert beyond == 0  # what stands beyond the acknowledged is the batch that was under way, and whole
        acknowledged[number] = len(unfinished)
        number += 1
    sign_head(folder, KEY, datetime.now(UTC))
    for batch, size in acknowledged.items():
        assert prove(folder, f"e{batch}-{size - 1}")


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """A ledger before and after its last batch of three entries."""
    before, after = tmp_path_factory.mktemp("before") / "l", tmp_path_factory.mktemp("after") / "l"
    append(before, [entry(f"e{n}") for n in range(5)], at=START)
    shutil.copytree(before, after)
    append(after, [entry(f"late{n}") for n in range(3)], at=START)
    return before, after


FILES = ("private/entries.jsonl", "log/tree.bin", "log/batches.jsonl")


def states(before, after):
    """Every state in which a crash can leave the files: each file cut at any byte, the later ones as
    before."""
    for number, name in enumerate(FILES):
        old, new = (before / name).read_bytes(), (after / name).read_bytes()
        cuts = range(len(old), len(new) + 1)
        for cut in [*cuts[::9], cuts[-1]]:
            yield number, name, new[:cut]


def test_every_way_in_which_a_batch_can_be_cut_off_is_mended(batch, tmp_path):
    before, after = batch
    whole_lines = (after / FILES[0]).read_bytes()
    for number, name, content in states(before, after):
        folder = tmp_path / "l"
        shutil.copytree(before, folder)
        for earlier in FILES[:number]:
            shutil.copy(after / earlier, folder / earlier)
        (folder / name).write_bytes(content)
        written = (folder / FILES[0]).read_bytes()
        size = append(folder, []).size
        report = audit(folder)
        assert report.ok, (name, len(content), report.findings)
        assert size == written.count(b"\n")
        assert whole_lines.startswith((folder / FILES[0]).read_bytes())
        torn = {path.name.split("-")[0]: path.read_bytes() for path in folder.glob("torn/*")}
        kept = (folder / FILES[0]).read_bytes() + torn.get("entries.jsonl", b"")
        assert kept == written, "a byte that was written is in the ledger or set aside"
        again = append(folder, [entry(f"e{n}") for n in range(5)] + [entry(f"late{n}") for n in range(3)])
        assert (again.size, again.added) == (8, 8 - size)
        shutil.rmtree(folder)


def test_zeros_that_a_power_cut_left_are_set_aside(batch, tmp_path):
    before, _ = batch
    for name in FILES:
        folder = tmp_path / name.split("/")[1]
        shutil.copytree(before, folder)
        with (folder / name).open("ab") as file:
            file.write(bytes(4096))
        assert not audit(folder).ok
        assert append(folder, [entry("next")]).size == 6
        assert audit(folder).ok
        assert [path.read_bytes() for path in folder.glob("torn/*")] == [bytes(4096)]


def test_damage_to_what_was_acknowledged_is_never_mended_away(batch, tmp_path):
    _, after = batch
    for name in FILES:
        folder = tmp_path / name.split("/")[1]
        shutil.copytree(after, folder)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(LedgerError, match="cellfleet ledger audit"):
            append(folder, [entry("next")])
        assert not audit(folder).ok


@pytest.mark.parametrize("catalogue", [True, False])
def test_a_missing_file_is_not_made_anew(batch, tmp_path, catalogue):
    _, after = batch
    for name in FILES:
        for empty in (True, False):
            folder = tmp_path / f"{name.split('/')[1]}-{empty}"
            shutil.copytree(after, folder)
            sign_head(folder, KEY, START)
            (folder / name).unlink()
            if empty:
                (folder / name).touch()
            if not catalogue:
                (folder / "private/catalogue.sqlite").unlink()
            before = {path: path.read_bytes() for path in folder.glob("l*/*")}
            with pytest.raises(LedgerError, match="cellfleet ledger audit"):
                append(folder, [entry("next")])
            assert {path: path.read_bytes() for path in folder.glob("l*/*")} == before
            assert not audit(folder).ok


def test_two_appending_at_once_take_turns(tmp_path):
    folder = tmp_path / "ledger"
    program = (
        "import sys; from pathlib import Path; from warehouse.ledger import Entry, append\n"
        "for n in range(40): append(Path(sys.argv[1]), [Entry(f'{sys.argv[2]}-{n}', 'snapshot', {}),"
        " Entry(f'both-{n}', 'snapshot', {})])"
    )
    both = [subprocess.Popen([sys.executable, "-c", program, str(folder), name]) for name in ("a", "b")]
    assert [one.wait() for one in both] == [0, 0]
    report = audit(folder)
    assert report.ok, report.findings
    assert report.size == 120
