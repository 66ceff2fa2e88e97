"""`cellfleet ledger …`: the ledger's commands. What they do is in `warehouse/ledger` and `pipelines/logbook.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.logbook import head_of_today, heads_of, log_fleet, stamp_newest
from warehouse.ledger import (
    LedgerError,
    Refused,
    accept,
    audit,
    check_proof,
    consistency,
    cosign,
    erase,
    last_seen,
    new_key,
    prove,
    read_key,
)
from warehouse.ledger.exchange import cosign_offer, offer, read_answer, read_file
from warehouse.settings import settings

app = typer.Typer(no_args_is_help=True, help="The append-only log of custody, release and snapshots.")


@contextmanager
def told() -> Iterator[None]:
    """A refusal of the ledger as one sentence and exit code 1."""
    try:
        yield
    except (LedgerError, Refused) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


@app.command(name="append")
def append_command() -> None:
    """Log what the newest snapshot holds and the ledger does not, and sign a head over it."""
    with told():
        done = log_fleet(settings())
    typer.echo(
        f"{done.added} entries added, {done.size} in the ledger, head {done.head.root} of {done.head.at}."
    )


@app.command(name="prove")
def prove_command(
    entry_id: Annotated[str, typer.Argument(help="Entry, as `ledger append` names it.")],
    out: Annotated[Path | None, typer.Option(help="Write the proof here instead of printing it.")] = None,
    hide: Annotated[bool, typer.Option("--hide", help="Leave out salt and text.")] = False,
) -> None:
    """The proof of one entry, for `verify.py` or `cellfleet ledger verify`."""
    with told():
        proof = json.dumps(prove(settings().ledger_path, entry_id, show=not hide), indent=1)
    if out is None:
        typer.echo(proof)
        return
    out.write_text(proof + "\n", encoding="utf-8")
    typer.echo(f"Wrote {out}. Check it with `cellfleet ledger verify {out}` or `python verify.py {out}`.")


@app.command(name="verify")
def verify_command(
    proof: Annotated[Path, typer.Argument(help="Proof file, as `ledger prove` writes it.")],
    key: Annotated[str | None, typer.Option(help="The ledger's public key in hex, known from elsewhere.")] = None,
    witness: Annotated[list[str] | None, typer.Option(help="Public key of a site that must have cosigned.")] = None,
) -> None:  # fmt: skip
    """Check a proof as an outsider would."""
    try:
        content = json.loads(proof.read_bytes())
    except (OSError, ValueError) as error:
        typer.echo(f"{proof} cannot be read as a proof ({error}): give the file that `prove` wrote", err=True)
        raise typer.Exit(2) from error
    with told():
        shown = check_proof(content, key, witness or ())
    for sentence in shown:
        typer.echo(sentence)
    typer.echo("PROVED" if key else "PROVED (under the key named in the proof; give --key to pin it)")


@app.command(name="audit")
def audit_command(
    witness: Annotated[list[Path] | None, typer.Option(help="Folder of a site's witness.")] = None,
    key: Annotated[str | None, typer.Option(help="The ledger's public key in hex, known from elsewhere.")] = None,
) -> None:  # fmt: skip
    """Check every byte of the ledger against every other; the first bad entry is named."""
    with told():
        report = audit(settings().ledger_path, witness or (), key=key)
    for finding in report.findings:
        typer.echo(f"{finding.check}: {finding.sentence}", err=True)
    typer.echo(
        f"{report.size} entries, {report.heads} heads, {report.cosignatures} cosignatures, "
        f"{len(report.findings)} findings"
    )
    if not report.ok:
        raise typer.Exit(1)


@app.command(name="erase")
def erase_command(
    entry_id: Annotated[str, typer.Argument(help="Entry, as `ledger append` names it.")],
    reason: Annotated[str, typer.Option(help="Why; it is logged and stays, so it must name no person.")],
) -> None:
    """Erase salt and text of an entry: nothing leads from the log to it any more, and the log stays as it is."""
    with told():
        erase(settings().ledger_path, entry_id, reason)
    typer.echo(
        f"{entry_id} is erased, and that is logged. Erase backups of the ledger's private/ and proofs given out too."
    )


@app.command(name="head")
def head_command() -> None:
    """The newest signed head as JSON; one is signed where none of today covers the log."""
    chosen = settings()
    with told():
        report = audit(chosen.ledger_path)
        if not report.ok:
            raise LedgerError("the ledger has findings, so nothing is signed: run `cellfleet ledger audit`")
        head = head_of_today(chosen.ledger_path, chosen.ledger_key_path, report.size)
    typer.echo(json.dumps(head.content))


@app.command(name="witness")
def witness_command(
    folder: Annotated[Path, typer.Argument(help="The site's own folder, kept at the site.")],
    site: Annotated[str, typer.Option(help="The site that cosigns.")],
    key: Annotated[Path, typer.Option(help="The site's signing key; drawn where missing.")],
    keeper: Annotated[str, typer.Option(help="The ledger's public key in hex, as the site knows it.")],
) -> None:
    """A site checks that the log still begins with what it saw, keeps the newest head and cosigns it."""
    ledger = settings().ledger_path
    with told():
        heads = heads_of(ledger)
        if not heads:
            raise LedgerError(f"{ledger} has no signed head: run `cellfleet ledger append` first")
        if not key.exists():
            new_key(key)
        last = last_seen(folder)
        way = (
            []
            if last is None or last.size > heads[-1].size
            else consistency(ledger, last.size, heads[-1].size)
        )
        seen = cosign(
            folder, heads[-1], way, site=site, key=read_key(key), keeper=keeper, seen_at=datetime.now(UTC)
        )
        accept(ledger, seen)
    typer.echo(
        f"{site} cosigned the head of {seen.head.at} ({seen.head.size} entries) with key {seen.site_key}."
    )


@app.command(name="offer")
def offer_command(
    out: Annotated[Path, typer.Argument(help="Where to write what the site is sent.")],
    site: Annotated[str, typer.Option(help="The site that is asked to cosign.")],
) -> None:
    """For a site that sees no folder of ours: the newest head, and the proof that it continues what the site saw."""
    ledger = settings().ledger_path
    with told():
        heads = heads_of(ledger)
        if not heads:
            raise LedgerError(f"{ledger} has no signed head: run `cellfleet ledger append` first")
        content = offer(ledger, site)
    out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    typer.echo(f"Wrote {out} for {site}: it answers with `cellfleet ledger cosign {out.name} FOLDER ...`.")


@app.command(name="cosign")
def cosign_command(
    file: Annotated[Path, typer.Argument(help="The file that the keeper sent.")],
    folder: Annotated[Path, typer.Argument(help="The site's own folder, kept at the site.")],
    site: Annotated[str, typer.Option(help="The site that cosigns.")],
    key: Annotated[Path, typer.Option(help="The site's signing key; drawn where missing.")],
    keeper: Annotated[str, typer.Option(help="The ledger's public key in hex, as the site knows it.")],
    out: Annotated[Path, typer.Option(help="Where to write the answer.")],
) -> None:
    """At a site, with no access to the ledger: check a head that was sent, keep it, and answer with a cosignature."""
    with told():
        if not key.exists():
            new_key(key)
        seen = cosign_offer(
            folder, read_file(file), site=site, key=read_key(key), keeper=keeper, seen_at=datetime.now(UTC)
        )
    out.write_text(json.dumps(seen.content, indent=1) + "\n", encoding="utf-8")
    typer.echo(
        f"{site} cosigned the head of {seen.head.at} ({seen.head.size} entries): send {out} to the keeper."
    )


@app.command(name="accept")
def accept_command(
    file: Annotated[Path, typer.Argument(help="The file that the site answered with.")],
) -> None:
    """For the keeper: keep the cosignature that a site answered with."""
    with told():
        seen = read_answer(read_file(file))
        accept(settings().ledger_path, seen)
    typer.echo(f"Kept: {seen.site} saw the head of {seen.head.at} at {seen.seen_at}.")


@app.command(name="stamp")
def stamp_command() -> None:
    """Have the newest head stamped by the time stamp authority that the settings name (RFC 3161)."""
    chosen = settings()
    try:
        with told():
            if not chosen.time_stamp_url:
                raise LedgerError("no authority is set: give CELLFLEET_TIME_STAMP_URL and _CERTIFICATES")
            at = stamp_newest(chosen)
    except OSError as error:
        typer.echo(f"{chosen.time_stamp_url} did not answer ({error}): try again later", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"The authority says that the head existed at {at.isoformat()}.")
