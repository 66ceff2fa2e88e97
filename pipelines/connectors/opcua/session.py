"""One session with an OPC UA server: signing in, browsing by path, units, one page of history; asyncua underneath.

asyncua's failures become ours here: transient where a retry may help, permanent with the mend where it cannot. Does not
belong here: which pages are asked for (`history.py`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from asyncua import Client, Node, ua
from asyncua.crypto import security_policies
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pipelines.connectors.opcua.values import EPOCH, Values, answer
from pipelines.failures import PermanentFailure, TransientFailure
from pipelines.harmonise.systems import OpcUaSystem

T = TypeVar("T")
TRY_AGAIN = {
    "BadTimeout", "BadRequestTimeout", "BadConnectionClosed", "BadConnectionRejected", "BadSecureChannelClosed",
    "BadSecureChannelIdInvalid", "BadSecureChannelTokenUnknown", "BadSessionIdInvalid", "BadSessionClosed",
    "BadSessionNotActivated", "BadServerHalted", "BadShutdown", "BadServerNotConnected", "BadNotConnected",
    "BadTooManySessions", "BadTooManyOperations", "BadTooManyPublishRequests", "BadTcpServerTooBusy",
    "BadTcpNotEnoughResources", "BadTcpSecureChannelUnknown", "BadResourceUnavailable", "BadOutOfMemory",
    "BadCommunicationError", "BadNoCommunication", "BadWaitingForInitialData", "BadInternalError",
    "BadUnexpectedError", "BadTcpInternalError", "BadDeviceFailure",
}  # fmt: skip
TOO_MUCH = {"BadResponseTooLarge", "BadEncodingLimitsExceeded", "BadTcpMessageTooLarge"}
POINT_GONE = {"BadContinuationPointInvalid", "BadNoContinuationPoints"}
SIGN_IN = ("BadUserAccessDenied", "BadIdentityTokenRejected", "BadIdentityTokenInvalid")
# Properties of a variable, not parts of a plant.
ENGINEERING_UNITS = "EngineeringUnits"


class PointGone(Exception):  # noqa: N818 - a state of the server, not an error of ours
    """The server no longer knows the continuation point, or the page was too large for it."""

    def __init__(self, *, smaller: bool) -> None:
        self.smaller = smaller
        super().__init__()


@dataclass(frozen=True)
class Variable:
    """A variable of the server: its browse path, its identity, its unit as printed and as UNECE code ('' for none)."""

    path: str
    node_id: ua.NodeId
    unit: str = ""
    unit_code: str = ""

    @property
    def parent(self) -> str:
        return self.path.rpartition("/")[0]


class Session:
    """A signed-in session, opened when it is first needed and again after it was lost.

    asyncua runs in a thread of its own, so that it answers the server's keep-alive while a page is written to disk.
    """

    def __init__(self, system: OpcUaSystem) -> None:
        self.system = system
        self._client: Client | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="opcua", daemon=True)
        self._thread.start()
        # asyncua tells of every lost connection on stderr; ours is told by the failure raised.
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)

    def close(self) -> None:
        """Leave the server and end the thread."""
        self.leave()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def leave(self) -> None:
        """Close the session; the next use opens another."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):
                self._run(asyncio.wait_for(client.disconnect(), 5))

    def now(self) -> datetime:
        """The server's own time (UTC)."""
        clock = ua.ObjectIds.Server_ServerStatus_CurrentTime
        read: datetime = self._ask(lambda c: c.get_node(ua.NodeId(clock)).read_value())
        return read if read.tzinfo else read.replace(tzinfo=UTC)

    def variables(self, patterns: list[str]) -> list[Variable]:
        """Every variable that a pattern names, by path; raises PermanentFailure where a pattern names none."""
        found: dict[str, Variable] = {}
        for pattern in patterns:
            matches, asked = self._ask(lambda c, p=pattern: _browsed(c, p))
            if not matches:
                raise PermanentFailure(f"{self.where}: `nodes` {pattern!r} names no variable.", asked)
            found |= {v.path: v for v in matches}
        return [found[p] for p in sorted(found)]

    def sibling(self, variable: Variable, name: str) -> Variable | None:
        """The variable of that browse name under the same parent."""
        path = f"{variable.parent}/{name}"
        matches, _ = self._ask(lambda c: _browsed(c, path))
        return matches[0] if matches else None

    def page(
        self, variable: Variable, start: int, end: int, count: int, point: bytes | None
    ) -> tuple[bytes | None, Values]:
        """Continuation point and values of one HistoryRead Raw from `start` to `end` (ticks, widened to 1 µs).

        Raises PointGone where the same must be asked again without the point, or for less.
        """
        read = ua.HistoryReadValueId()
        read.NodeId, read.ContinuationPoint = variable.node_id, point
        details = ua.ReadRawModifiedDetails()
        details.IsReadModified, details.ReturnBounds, details.NumValuesPerNode = False, False, count
        details.StartTime, details.EndTime = moment(start), moment(end + 9)
        request = ua.HistoryReadRequest()
        request.Parameters.HistoryReadDetails = details
        # asyncua's own default is to release the point instead of reading on.
        request.Parameters.ReleaseContinuationPoints = False
        request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
        request.Parameters.NodesToRead = [read]

        async def ask(client: Client) -> tuple[ua.StatusCode, bytes | None, Values]:
            assert client.uaclient.protocol is not None
            return answer(await client.uaclient.protocol.send_request(request))

        status, further, values = self._ask(ask, variable.path)
        if not status.is_bad():
            return further, values
        if status.name in TOO_MUCH or (status.name in POINT_GONE and point is not None):
            raise PointGone(smaller=status.name in TOO_MUCH)
        if status.name in TRY_AGAIN:
            raise TransientFailure(f"{self.where}: {variable.path}: {status.name}.", "It is tried again.")
        raise PermanentFailure(
            f"{self.where}: the history of {variable.path} cannot be read ({status.name}).",
            "Ask the site whether the server keeps its history and whether our account may read it.",
        )

    @property
    def where(self) -> str:
        return f"OPC UA server {self.system.url}"

    def _run(self, action: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(action, self._loop).result()

    def _ask(self, action: Any, subject: str = "") -> Any:
        with self._failures(subject):
            if self._client is None:
                self._client = self._run(self._connected())
            return self._run(action(self._client))

    async def _connected(self) -> Client:
        s = self.system
        client = Client(s.url, timeout=s.timeout_seconds)
        if s.security != "none":
            ours, key = _file(s.certificate_env), _file(s.key_env)
            theirs = _certificate(_file(s.server_certificate_env)).public_bytes(Encoding.DER)
            await self._recognise(theirs)
            # A server compares the name in the certificate with the one that the session gives.
            client.application_uri = _application(ours) or client.application_uri
            mode = (
                ua.MessageSecurityMode.Sign if s.security == "sign" else ua.MessageSecurityMode.SignAndEncrypt
            )
            await client.set_security(
                getattr(security_policies, f"SecurityPolicy{s.policy}"), str(ours), str(key),
                server_certificate=theirs, mode=mode,
            )  # fmt: skip
        if s.user is not None:
            client.set_user(s.user)
            client.set_password(_secret(s.password_env))
        try:
            await client.connect()
        except BaseException:
            with suppress(Exception):
                client.disconnect_socket()
            raise
        return client

    async def _recognise(self, theirs: bytes) -> None:
        """Refuse a server that shows another certificate; signed messages it would merely leave unanswered."""
        asking = Client(self.system.url, timeout=self.system.timeout_seconds)
        shown = {
            e.ServerCertificate
            for e in await asking.connect_and_get_server_endpoints()
            if e.ServerCertificate
        }
        # A certificate may be followed by those of its issuers.
        if shown and not any(c.startswith(theirs) for c in shown):
            raise PermanentFailure(
                f"{self.where} shows another certificate than {self.system.server_certificate_env} names.",
                "Ask the site whether its certificate was changed; only then take the new one.",
            )

    @contextmanager
    def _failures(self, subject: str) -> Iterator[None]:
        about = f"{self.where}: {subject}: " if subject else f"{self.where}: "
        try:
            yield
        except ua.UaStatusCodeError as error:
            name = ua.StatusCode(error.code).name
            if name in TOO_MUCH:
                raise PointGone(smaller=True) from error
            if name in TRY_AGAIN:
                raise TransientFailure(f"{about}{name}.", "It is tried again.") from error
            mend = (
                "Check the contract's `security`, `policy` and certificates, and that the server trusts ours."
            )
            if name in SIGN_IN:
                mend = f"Check `user` and what {self.system.password_env or 'password_env'} holds."
            raise PermanentFailure(f"{about}{name}.", mend) from error
        except (TimeoutError, OSError, asyncio.CancelledError) as error:
            told = str(error) or type(error).__name__
            raise TransientFailure(f"{about}{told}.", "It is tried again.") from error
        except (ua.UaError, ValueError) as error:
            raise PermanentFailure(
                f"{about}{error}.", "Ask the site what its server answers; nothing was taken of it."
            ) from error


def moment(ticks: int) -> datetime:
    """A time in ticks as datetime, cut to microseconds."""
    most = datetime(9999, 1, 1, tzinfo=UTC)
    micros = min((ticks - EPOCH) // 10, int(most.timestamp()) * 1_000_000)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


async def _browsed(client: Client, pattern: str) -> tuple[list[Variable], str]:
    """Variables that a pattern names, and for the failure: which part of it named nothing, and what there is."""
    parts = pattern.split("/")
    below: list[tuple[str, Node]] = [("", client.nodes.objects)]
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        there: list[str] = []
        matches: list[tuple[str, Node]] = []
        for path, node in below:
            for child in await node.get_children_descriptions():
                name = child.BrowseName.Name or ""
                if last and child.NodeClass != ua.NodeClass.Variable:
                    continue
                there.append(name)
                if fnmatchcase(name, part):
                    matches.append((f"{path}/{name}" if path else name, client.get_node(child.NodeId)))
        if not matches:
            known = ", ".join(sorted(set(there))[:20]) or "nothing"
            inside = "/".join(parts[:depth]) or "the Objects folder"
            return [], f"No {part!r} in {inside}; there is: {known}."
        below = matches
    return [await _described(path, node) for path, node in below], ""


async def _described(path: str, node: Node) -> Variable:
    unit, code = "", ""
    for child in await node.get_children_descriptions(refs=ua.ObjectIds.HasProperty):
        if child.BrowseName.Name == ENGINEERING_UNITS:
            told = await Node(node.session, child.NodeId).read_value()
            if isinstance(told, ua.EUInformation):
                unit = told.DisplayName.Text or ""
                code = unece(told.UnitId)
    return Variable(path, node.nodeid, unit, code)


def unece(number: int) -> str:
    """The UNECE common code that a UnitId stands for (OPC 10000-8, 5.6.3): its characters as bytes; '' for none."""
    octets = number.to_bytes(4, "big", signed=True).lstrip(b"\0") if number > 0 else b""
    return octets.decode("ascii", "replace") if octets.isalnum() else ""


def _secret(variable: str | None) -> str:
    value = os.environ.get(variable or "")
    if not value:
        raise PermanentFailure(
            f"Environment variable {variable} is not set.", "Set it before the server is asked."
        )
    return value


def _file(variable: str | None) -> Path:
    path = Path(_secret(variable))
    if not path.is_file():
        raise PermanentFailure(
            f"{variable} names no file ({path}).", "Set it to the path of a DER or PEM file."
        )
    return path


def _certificate(path: Path) -> x509.Certificate:
    content = path.read_bytes()
    try:
        if content.lstrip().startswith(b"-----"):
            return x509.load_pem_x509_certificate(content)
        return x509.load_der_x509_certificate(content)
    except ValueError as error:
        raise PermanentFailure(f"{path.name} is no certificate.", "Give a DER or PEM file.") from error


def _application(path: Path) -> str | None:
    """The application URI in a certificate."""
    with suppress(x509.ExtensionNotFound):
        names = _certificate(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return next(iter(names.get_values_for_type(x509.UniformResourceIdentifier)), None)
    return None
