"""Systems of a site: one model for each kind that a connector speaks to, with the options its contract may give.

Belongs here: how a system is reached. Secrets are named (`..._env`: the environment variable that holds them), never
written into a contract. Does not belong here: what is taken from it (`Feed` in `contract.py`), speaking to it
(`pipelines/connectors`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(ge=0, le=3600)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Part(BaseModel):
    """A part of a contract: an unknown key is refused, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FolderSystem(Part):
    """Files in a folder of this machine, or of a share mounted on it."""

    kind: Literal["folder"]
    path: str = Field(description="Folder, relative to the sources folder.")
    settle_seconds: Seconds = Field(
        default=0,
        description="New files are looked at twice, this far apart; one that changed meanwhile waits. 0: once.",
    )


class RelationalSystem(Part):
    """A LIMS or MES database: SQLite by `path` or `url_env`; PostgreSQL, MySQL, MariaDB and SQL Server by `url_env`."""

    kind: Literal["relational"]
    path: str | None = Field(default=None, description="SQLite file, relative to the sources folder.")
    url_env: Variable | None = Field(
        default=None, description="Environment variable that holds the database URL."
    )

    @model_validator(mode="after")
    def _reachable(self) -> RelationalSystem:
        if (self.path is None) == (self.url_env is None):
            raise ValueError("give either `path` or `url_env` (the name of an environment variable)")
        return self


class SftpSystem(Part):
    """Files on an SFTP server. Its host key is pinned: an unknown server is never trusted."""

    kind: Literal["sftp"]
    host: str = Field(description="Name or address of the server.")
    port: Port = Field(default=22, description="Its port.")
    host_key: str = Field(
        pattern=r"^(ssh-|ecdsa-)\S+ [A-Za-z0-9+/=]+$",
        description="The server's public key, as `ssh-keyscan` prints it without the host: `ssh-ed25519 AAAA…`.",
    )
    path: str = Field(default=".", description="Folder on the server.")
    user: str = Field(description="Account to sign in with.")
    password_env: Variable | None = Field(
        default=None, description="Environment variable that holds the password."
    )
    key_file_env: Variable | None = Field(
        default=None, description="Environment variable that holds the path of the private key file."
    )
    settle_seconds: Seconds = Field(
        default=2,
        description="New files are looked at twice, this far apart; one that changed meanwhile waits. 0: once.",
    )

    @model_validator(mode="after")
    def _one_secret(self) -> SftpSystem:
        if (self.password_env is None) == (self.key_file_env is None):
            raise ValueError("give either `password_env` or `key_file_env` (names of environment variables)")
        return self


class S3System(Part):
    """Objects under a prefix of an S3 bucket, at Amazon or any server that speaks S3."""

    kind: Literal["s3"]
    bucket: str = Field(description="Name of the bucket.")
    prefix: str = Field(default="", description="What the keys start with, e.g. `exports/`.")
    endpoint: str | None = Field(
        default=None, pattern=r"^https?://", description="URL of the server; Amazon's where left out."
    )
    region: str = Field(default="us-east-1", description="Region that requests are signed for.")
    access_key_env: Variable | None = Field(
        default=None,
        description="Environment variable that holds the access key; the machine's own role where left out.",
    )
    secret_key_env: Variable | None = Field(
        default=None, description="Environment variable that holds the secret key."
    )

    @model_validator(mode="after")
    def _both_keys(self) -> S3System:
        if (self.access_key_env is None) != (self.secret_key_env is None):
            raise ValueError("give both `access_key_env` and `secret_key_env`, or neither")
        return self


class FhirBulkSystem(Part):
    """A FHIR R4 server with the bulk data export. Without a token or key nothing is shown at its door."""

    kind: Literal["fhir_bulk"]
    url: str = Field(
        pattern=r"^(https://|http://(localhost|127\.0\.0\.1)[:/])",
        description="Base URL, e.g. `https://fhir.example.org/r4`; http only on this machine.",
    )
    export: str = Field(
        default="Patient/$export",
        pattern=r"^(\$export|Patient/\$export|Group/[A-Za-z0-9.-]+/\$export)$",
        description="What is exported: `Patient/$export`, `Group/<id>/$export` or `$export`.",
    )
    token_env: Variable | None = Field(
        default=None, description="Environment variable that holds a bearer token."
    )
    token_url: str | None = Field(
        default=None,
        pattern=r"^(https://|http://(localhost|127\.0\.0\.1)[:/])",
        description="SMART Backend Services: where tokens are given.",
    )
    client_id: str | None = Field(default=None, description="SMART Backend Services: our name there.")
    key_file_env: Variable | None = Field(
        default=None,
        description="SMART Backend Services: environment variable that holds the path of the private key (PEM).",
    )
    key_id: str | None = Field(default=None, description="Name under which the key is registered (`kid`).")
    scope: str = Field(default="system/*.read", description="What we ask to be allowed.")
    wait_hours: Annotated[float, Field(gt=0, le=72)] = Field(
        default=4, description="How long an export may take before it is given up."
    )

    @model_validator(mode="after")
    def _one_door(self) -> FhirBulkSystem:
        smart = [self.token_url, self.client_id, self.key_file_env]
        if any(smart) and (not all(smart) or self.token_env):
            raise ValueError("give `token_env`, or all of `token_url`, `client_id` and `key_file_env`")
        return self


class OpcUaSystem(Part):
    """An OPC UA server with historical access. Its certificate is pinned: an unknown server is never trusted."""

    kind: Literal["opcua"]
    url: str = Field(
        pattern=r"^opc\.tcp://[^/@\s]+(/\S*)?$", description="Endpoint, e.g. `opc.tcp://historian:4840/ua`."
    )
    security: Literal["none", "sign", "sign_and_encrypt"] = Field(
        default="sign_and_encrypt",
        description="What is done to messages; `none` only where no other way is open.",
    )
    policy: Literal["Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"] = Field(
        default="Basic256Sha256", description="Security policy, where messages are signed."
    )
    certificate_env: Variable | None = Field(
        default=None, description="Environment variable that holds the path of our certificate (DER or PEM)."
    )
    key_env: Variable | None = Field(
        default=None, description="Environment variable that holds the path of our private key (DER or PEM)."
    )
    server_certificate_env: Variable | None = Field(
        default=None,
        description="Environment variable that holds the path of the server's certificate (DER or PEM).",
    )
    user: str | None = Field(default=None, description="Account to sign in with; anonymous where left out.")
    password_env: Variable | None = Field(
        default=None, description="Environment variable that holds the password."
    )
    timeout_seconds: Seconds = Field(default=30, gt=0, description="How long an answer may take.")
    page_values: int = Field(
        default=10_000, ge=2, le=1_000_000, description="Values asked for in one request."
    )

    @model_validator(mode="after")
    def _secured(self) -> OpcUaSystem:
        given = [n for n in ("certificate_env", "key_env", "server_certificate_env") if getattr(self, n)]
        if self.security != "none" and len(given) < 3:
            raise ValueError(
                f"`security: {self.security}` needs `certificate_env`, `key_env` and `server_certificate_env`"
            )
        if self.security == "none" and (given or self.password_env):
            raise ValueError(
                "with `security: none` a password would be readable on the network and certificates are not used: "
                "leave them out, or choose `sign_and_encrypt`"
            )
        if (self.user is None) != (self.password_env is None):
            raise ValueError("give both `user` and `password_env`, or neither")
        return self


class SparkplugSystem(Part):
    """Edge nodes that publish Sparkplug B through an MQTT broker; `cellfleet listen SITE` hears them."""

    kind: Literal["sparkplug"]
    path: str = Field(
        description="Folder of the listener's segments, relative to the sources folder; one for each system."
    )
    host: str = Field(description="Name or address of the broker.")
    port: Port = Field(default=8883, description="Its port.")
    tls: bool = Field(
        default=True, description="Whether the connection is encrypted and the broker proves itself."
    )
    ca_file_env: Variable | None = Field(
        default=None,
        description="Environment variable that holds the path of the authority's certificate; the machine's own "
        "authorities where left out.",
    )
    user: str | None = Field(default=None, description="Account to sign in with; anonymous where left out.")
    password_env: Variable | None = Field(
        default=None, description="Environment variable that holds the password."
    )
    client_id: str = Field(
        default="cellfleet", min_length=1, max_length=65,
        description="Name under which the broker keeps messages for the listener while it is away.",
    )  # fmt: skip
    groups: list[Annotated[str, Field(pattern=r"^(\+|[^+#/]+)$")]] = Field(
        default=["+"], min_length=1, description="Sparkplug groups to hear; `+` is every group."
    )
    metrics: list[str] = Field(
        default=["*"],
        min_length=1,
        description="Metrics to keep: group, node, device and metric joined by `/`; `*` stands for any part.",
    )
    batch_metric: str | None = Field(
        default=None,
        description="Metric of a device, or of its node, whose text says which batch is running: the column `batch`. "
        "A value told while it is empty is not taken in.",
    )
    host_id: str | None = Field(
        default=None,
        pattern=r"^[^+#/]+$",
        description="Name under which nodes that store and forward wait for us; our state is published under it.",
    )
    segment_seconds: Seconds = Field(default=60, gt=0, description="How long a segment is written to.")

    @model_validator(mode="after")
    def _secured(self) -> SparkplugSystem:
        if (self.user is None) != (self.password_env is None):
            raise ValueError("give both `user` and `password_env`, or neither")
        if self.user is not None and not self.tls and self.host not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("without `tls` the password would be readable on the network: leave `tls` on")
        return self


System = Annotated[
    FolderSystem | RelationalSystem | SftpSystem | S3System | FhirBulkSystem | OpcUaSystem | SparkplugSystem,
    Field(discriminator="kind"),
]
KINDS: dict[str, type[Part]] = {
    "folder": FolderSystem,
    "relational": RelationalSystem,
    "sftp": SftpSystem,
    "s3": S3System,
    "fhir_bulk": FhirBulkSystem,
    "opcua": OpcUaSystem,
    "sparkplug": SparkplugSystem,
}
# What a feed of each kind of system must name besides.
NEEDED: dict[str, tuple[str, str]] = {
    "folder": ("files", "`files`, e.g. `results_*.csv`"),
    "sftp": ("files", "`files`, e.g. `results_*.csv`"),
    "s3": ("files", "`files`, e.g. `results_*.csv`"),
    "relational": ("query_table", "`query_table`"),
    "fhir_bulk": ("resources", "`resources`, e.g. `[Patient, Observation]`"),
    "opcua": ("nodes", "`nodes`, e.g. `[Suite 1/*/Temperature]`"),
}
# Kinds whose connector writes the files itself, and in which format.
WRITTEN: dict[str, str] = {"opcua": "parquet", "sparkplug": "parquet", "fhir_bulk": "fhir"}


def secrets_of(system: Any) -> list[str]:
    """Names of the environment variables that a system needs."""
    return [v for n in type(system).model_fields if n.endswith("_env") and (v := getattr(system, n))]
