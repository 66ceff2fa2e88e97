"""Every setting of cellfleet: its environment variable, default and description. Nothing else reads the environment
(secrets excepted: a site's, which its contract names and its connector reads; those of PostgreSQL and S3, which
libpq and boto3 find for themselves).

One setting, `CELLFLEET_SETTINGS`, names a file that holds others, one `NAME=value` a line. Moving from one machine to
many is naming such a file (`deploy/hub.env`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


# Names the file of settings; it is the only one that such a file cannot hold.
FILE = "CELLFLEET_SETTINGS"


class SettingsError(RuntimeError):
    """The file of settings cannot be used; the sentence says why, and where."""


def _setting(variable: str, default: str, description: str) -> str:
    return field(default=default, metadata={"variable": variable, "description": description})


@dataclass(frozen=True)
class Settings:
    """Settings as read once from the environment; see `docs/settings.md`, which is rendered from here."""

    file: str = _setting(
        FILE,
        "",
        "File of settings, `NAME=value` a line, for those that the environment does not set (`deploy/hub.env`).",
    )
    home: str = _setting(
        "CELLFLEET_HOME", ".cellfleet", "Folder that holds all state; a copied home works elsewhere."
    )
    sites: str = _setting(
        "CELLFLEET_SITES",
        str(ROOT / "pipelines" / "defs" / "sites"),
        "Folder of the contracts (`<site>/defs.yaml`) and `fleet.yaml`; the demo's by default.",
    )
    sources: str = _setting(
        "CELLFLEET_SOURCES",
        "",
        "Folder under which contracts' relative paths lie; `<home>/sources` by default.",
    )
    catalog: str = _setting(
        "CELLFLEET_CATALOG",
        "",
        "DuckLake catalog, e.g. `postgres:dbname=…`; a SQLite file in the home by default.",
    )
    lake_data: str = _setting(
        "CELLFLEET_LAKE_DATA",
        "",
        "Folder or `s3://` prefix of the lake's Parquet files; in the home by default.",
    )
    s3_endpoint: str = _setting(
        "CELLFLEET_S3_ENDPOINT",
        "",
        "`http://` or `https://` address of the S3 server; Amazon's by default. Keys come as boto3 finds them.",
    )
    shared: str = _setting(
        "CELLFLEET_SHARED",
        "",
        "Folder of the sites' vaults and the audits' pages, reached by each machine that reads a site; the home by "
        "default.",
    )
    published: str = _setting(
        "CELLFLEET_PUBLISHED",
        "",
        "`s3://` prefix that snapshots are copied to, for dashboards on other machines (`cellfleet fetch`).",
    )
    dagster_storage: str = _setting(
        "CELLFLEET_DAGSTER_STORAGE",
        "",
        "Dagster's runs and events, `postgresql://…`; SQLite in the home by default.",
    )
    queue: str = _setting(
        "CELLFLEET_QUEUE",
        "",
        "Queue that runs wait in for workers, `redis://…`; by default runs are in the command's own process.",
    )
    edges: str = _setting(
        "CELLFLEET_EDGES",
        "",
        "Sites, separated by commas, whose runs only workers at their own edge take (`cellfleet worker SITE`).",
    )
    snapshots_kept: str = _setting("CELLFLEET_SNAPSHOTS_KEPT", "10", "How many published snapshots are kept.")
    readings_copied: str = _setting(
        "CELLFLEET_READINGS_COPIED",
        "500000000",
        "Up to so many readings a published snapshot holds them itself; more are read from the lake (`docs/scale.md`).",
    )
    lake_snapshots_days: str = _setting(
        "CELLFLEET_LAKE_SNAPSHOTS_DAYS",
        "30",
        "Days for which the lake's own snapshots are kept: how far back a restore to a moment reaches.",
    )
    history_days: str = _setting(
        "CELLFLEET_HISTORY_DAYS", "90", "Days for which Dagster's runs and the pages of audits are kept."
    )
    logs_days: str = _setting("CELLFLEET_LOGS_DAYS", "365", "Days for which logs are kept.")
    backups: str = _setting(
        "CELLFLEET_BACKUPS",
        "",
        "Folder of the backups, on another disk; where unset, each command names one.",
    )
    backups_days: str = _setting(
        "CELLFLEET_BACKUPS_DAYS", "31", "Days of which the last backup is kept, counting days that have one."
    )
    backups_months: str = _setting(
        "CELLFLEET_BACKUPS_MONTHS", "12", "Months of which the last backup is kept."
    )
    dashboards_host: str = _setting(
        "CELLFLEET_DASHBOARDS_HOST",
        "127.0.0.1",
        "Address that the dashboards listen on; one that other machines reach needs access control.",
    )
    access: str = _setting(
        "CELLFLEET_ACCESS",
        "open",
        "`open`: whoever uses this machine sees everything; `accounts`: readers sign in (`docs/access.md`).",
    )
    dashboards_url: str = _setting(
        "CELLFLEET_DASHBOARDS_URL",
        "",
        "Address that readers of other machines use, with `https`; other names are not answered.",
    )
    trusted_proxy: str = _setting(
        "CELLFLEET_TRUSTED_PROXY",
        "",
        "Address of the reverse proxy before the dashboards; its `X-Forwarded-For` alone is believed.",
    )
    oidc_issuer: str = _setting(
        "CELLFLEET_OIDC_ISSUER",
        "",
        "OpenID Connect provider that vouches for accounts' names; none by default.",
    )
    oidc_client: str = _setting("CELLFLEET_OIDC_CLIENT", "", "Client id at that provider.")
    oidc_secret: str = _setting("CELLFLEET_OIDC_SECRET", "", "Client secret at that provider.")
    oidc_claim: str = _setting(
        "CELLFLEET_OIDC_CLAIM", "email", "Claim of that provider which is the account's name here."
    )
    dashboards_port: str = _setting("CELLFLEET_DASHBOARDS_PORT", "8050", "Port of the dashboards.")
    dagster_port: str = _setting("CELLFLEET_DAGSTER_PORT", "3000", "Port of the Dagster UI.")
    real_files: str = _setting(
        "CELLFLEET_REAL_FILES",
        "",
        "Folder of real instrument files; where set, the demo runs a contract over them.",
    )
    power: str = _setting("CELLFLEET_POWER", "0.8", "Power that `lots_needed` aims at.")
    alpha: str = _setting(
        "CELLFLEET_ALPHA", "0.05", "Level of each one-sided test; 0.05 gives the 90 % interval."
    )

    alert_webhook: str = _setting(
        "CELLFLEET_ALERT_WEBHOOK", "", "URL that new signals are posted to as JSON; none by default."
    )
    alert_smtp: str = _setting(
        "CELLFLEET_ALERT_SMTP",
        "",
        "Mail server for new signals: `host:port`, or `smtp+starttls://` or `smtps://` with `user:password@`.",
    )
    alert_from: str = _setting("CELLFLEET_ALERT_FROM", "cellfleet@localhost", "Sender of those mails.")
    alert_to: str = _setting("CELLFLEET_ALERT_TO", "", "Their receivers, separated by commas.")
    alerts_per_hour: str = _setting(
        "CELLFLEET_ALERTS_PER_HOUR", "4", "Messages about signals in one hour; what is new meanwhile waits."
    )
    ledger_key: str = _setting(
        "CELLFLEET_LEDGER_KEY",
        "",
        "PEM file of the key that signs the ledger; `<home>/keys/ledger.pem` by default, drawn with the first head.",
    )
    time_stamp_url: str = _setting(
        "CELLFLEET_TIME_STAMP_URL",
        "",
        "Time stamp authority (RFC 3161, over HTTP) that stamps the ledger's heads; none by default.",
    )
    time_stamp_certificates: str = _setting(
        "CELLFLEET_TIME_STAMP_CERTIFICATES",
        "",
        "PEM file of that authority's certificates: the signing one first, then its issuers.",
    )
    kill_at: str = _setting(
        "CELLFLEET_KILL_AT", "", "For fault tests only: the named point at which the process kills itself."
    )

    @property
    def home_path(self) -> Path:
        return Path(self.home).resolve()

    @property
    def shared_path(self) -> Path:
        """Folder that each machine which reads a site reaches."""
        return Path(self.shared).resolve() if self.shared else self.home_path

    def vault_path(self, site: str) -> Path:
        """Folder of one site's vault."""
        return self.shared_path / "vault" / site

    @property
    def edge_sites(self) -> list[str]:
        """Sites with workers of their own."""
        return [name.strip() for name in self.edges.split(",") if name.strip()]

    @property
    def sites_path(self) -> Path:
        return Path(self.sites).resolve()

    @property
    def sources_path(self) -> Path:
        return Path(self.sources).resolve() if self.sources else self.home_path / "sources"

    @property
    def ledger_path(self) -> Path:
        """Folder of the ledger."""
        return self.home_path / "ledger"

    @property
    def ledger_key_path(self) -> Path:
        """The ledger's signing key, outside the ledger and the lake."""
        return Path(self.ledger_key).resolve() if self.ledger_key else self.home_path / "keys" / "ledger.pem"

    @property
    def access_path(self) -> Path:
        """Folder of accounts and of the log of what was looked at."""
        return self.home_path / "access"

    @property
    def data_docs_path(self) -> Path:
        """Folder of the pages of each audit, by site, feed and table."""
        return self.shared_path / "data_docs"

    @property
    def reports_path(self) -> Path:
        """Folder of the dossiers that readers asked for."""
        return self.home_path / "reports"

    @property
    def published_path(self) -> Path:
        """Folder of the published snapshots; `fleet.duckdb` in it always names the newest."""
        return self.home_path / "published"


def settings() -> Settings:
    """The settings in force, read anew at each call so that a test may change the environment.

    Raises SettingsError where the file of settings is missing, or holds something else.
    """
    told = os.environ.get(FILE)
    given = {**(read_file(Path(told)) if told else {}), **{k: v for k, v in os.environ.items() if v}}
    chosen = {f.name: given.get(f.metadata["variable"]) for f in fields(Settings)}
    return Settings(**{name: value for name, value in chosen.items() if value})


def read_file(path: Path) -> Mapping[str, str]:
    """Settings of a file: `NAME=value` lines and `#` remarks, as Docker and systemd read. Raises SettingsError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{FILE} names {path}, which cannot be read: {error}.") from error
    known = {f.metadata["variable"] for f in fields(Settings)} - {FILE}
    found: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        name, is_set, value = line.partition("=")
        if not is_set or name.strip() not in known:
            raise SettingsError(
                f"{path}:{number}: {name.strip()!r} is no setting; `docs/settings.md` lists them. "
                "Passwords and keys stay in the environment."
            )
        found[name.strip()] = value.strip()
    return found


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without its port, is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
