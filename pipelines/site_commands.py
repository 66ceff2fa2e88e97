"""`cellfleet site …` and `listen`: a site's contract, and what its edge nodes say.

What they do is in `pipelines/harmonise/contract.py`, `preview.py`, `scaffold.py` and `listen.py`; here are the words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.harmonise.contract import ContractError, load_contract
from pipelines.real_files import contract_paths
from pipelines.runner import as_json
from pipelines.terminal import Json, err, fail, out, show
from warehouse.settings import settings

app = typer.Typer(no_args_is_help=True, help="Contracts: check, preview, scaffold.")


def register(root: typer.Typer) -> None:
    """Add the commands to the command line."""
    root.add_typer(app, name="site")
    root.command()(listen)


@app.command(name="check")
def site_check(
    contract: Annotated[
        Path | None, typer.Argument(help="A defs.yaml or its folder; all sites where left out.")
    ] = None,
) -> None:
    """Check contracts against the dictionary: file, line, what is wrong, the mend."""
    folder = settings().sites_path
    paths = (
        [contract / "defs.yaml" if contract.is_dir() else contract]
        if contract
        else contract_paths(settings())
    )
    if not paths:
        raise fail(2, f"No contract in {folder}. Start one with `cellfleet site new`.")
    bad = 0
    for path in paths:
        try:
            checked = load_contract(path)
        except FileNotFoundError as error:
            raise fail(2, f"{path} does not exist. Give a `defs.yaml` or the folder it lies in.") from error
        except ContractError as error:
            bad += 1
            for problem in error.problems:
                err.print(problem, style="red", markup=False, highlight=False)
        else:
            out.print(
                f"{path}: {checked.site_id} is sound ({len(checked.feeds)} feeds, version {checked.version_hash})"
            )
    if bad:
        raise fail(2, f"{bad} of {len(paths)} contracts are refused. Mend the lines above and check again.")


@app.command(name="preview")
def site_preview(
    site: Annotated[str, typer.Argument(help="Site, as its contract names it.")],
    feed: Annotated[str, typer.Argument(help="Feed of that contract.")],
    limit: Annotated[int, typer.Option(help="How many records to read.")] = 20,
    json_output: Json = False,
) -> None:
    """Read a sample of a feed and show field by field what would become of it. Changes nothing."""
    from pipelines.preview import preview

    told = preview(settings(), site, feed, limit)
    if json_output:
        typer.echo(as_json(told))
        return
    show(
        f"{site}/{feed}: {told['records']} records read, {told['would_promote']} would be promoted",
        told["fields"],
    )
    show("Would be quarantined", told["quarantined"])
    for refusal in told["refused_files"]:
        out.print(f"{told['file']} would be set aside: {refusal}")


@app.command(name="new")
def site_new(
    site: Annotated[str, typer.Argument(help="Name of the new site: small letters, digits, _.")],
) -> None:
    """Write a commented contract to start from."""
    from pipelines.scaffold import scaffold

    path = scaffold(settings().sites_path, site)
    out.print(f"Wrote {path}. Fill it in, then `cellfleet site check {path}`.")


def listen(
    site: Annotated[str, typer.Argument(help="The site, by the name of its folder.")],
    system: Annotated[str | None, typer.Option(help="Which, where the site has several.")] = None,
) -> None:
    """Hear a site's edge nodes (MQTT Sparkplug B) until stopped; `cellfleet run` takes in what was heard."""
    from pipelines.failures import PermanentFailure
    from pipelines.listen import listen as hear

    try:
        hear(settings(), site, system, lambda told: print(told, flush=True))
    except (PermanentFailure, ContractError) as error:
        raise fail(2 if isinstance(error, ContractError) else 1, str(error)) from error
