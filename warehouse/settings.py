"""Every setting of cellfleet: its environment variable, default and description. Nothing else reads the environment
(a site's secrets excepted, which its contract names and its connector reads)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def _setting(variable: str, default: str, description: str) -> str:
    return field(default=default, metadata={"variable": variable, "description": description})


@dataclass(frozen=True)
class Settings:
    """Settings as read once from the environment; see `docs/settings.md`, which is rendered from here."""

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
    snapshots_kept: str = _setting("CELLFLEET_SNAPSHOTS_KEPT", "10", "How many published snapshots are kept.")
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
        return self.home_path / "data_docs"

    @property
    def published_path(self) -> Path:
        """Folder of the published snapshots; `fleet.duckdb` in it always names the newest."""
        return self.home_path / "published"


def settings() -> Settings:
    """The settings in force, read anew at each call so that a test may change the environment."""
    chosen = {f.name: os.environ.get(f.metadata["variable"]) for f in fields(Settings)}
    return Settings(**{name: value for name, value in chosen.items() if value})


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without its port, is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
