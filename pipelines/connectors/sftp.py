"""Files that arrive on an SFTP server, fetched with paramiko; a download that breaks off goes on where it stopped.

The server's host key is the contract's; a server with another key is refused. Which files are new: `arriving.py`.
"""

from __future__ import annotations

import os
import stat
from base64 import b64decode
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from errno import EACCES, ENOENT
from fnmatch import fnmatchcase
from pathlib import Path
from posixpath import join
from typing import Any

import paramiko

from pipelines.connectors.arriving import Listed, fresh, is_of
from pipelines.connectors.protocol import Offer, Seen, patiently
from pipelines.failures import PermanentFailure, TransientFailure
from pipelines.harmonise.contract import Feed
from pipelines.harmonise.systems import SftpSystem, System

CHUNK = 1 << 18
SECONDS = 20.0
# Requests of 32 KiB that are under way at once: bounds what waits in memory.
AHEAD = 1024


class Sftp:
    """An SFTP server. A file that changes while it is fetched is left for the next run."""

    def offers(
        self, system: System, feed: Feed, sources: Path, seen: Seen, scratch: Path
    ) -> Generator[Offer, None, None]:
        """Offer every file of the feed's glob that was not taken at this size and time; see the protocol."""
        del sources
        assert isinstance(system, SftpSystem)
        server = _Server(system)
        try:
            for f in fresh(lambda: server.listing(feed), seen, system.settle_seconds):
                yield Offer(f.name, bring=_fetching(server, f, scratch))
        finally:
            server.leave()

    def listings(self, system: System, feeds: list[Feed], sources: Path) -> list[list[Listed]]:
        """Every finished file of each feed."""
        del sources
        assert isinstance(system, SftpSystem)
        server = _Server(system)
        try:
            return [server.listing(feed) for feed in feeds]
        finally:
            server.leave()


class _Server:
    """One signed-in session, opened when it is first needed and again after it was lost."""

    def __init__(self, system: SftpSystem) -> None:
        self.system = system
        self._client: paramiko.SSHClient | None = None
        self._sftp: paramiko.SFTPClient | None = None

    def leave(self) -> None:
        """Close the session; the next use opens another."""
        if self._client is not None:
            self._client.close()
        self._client = self._sftp = None

    def listing(self, feed: Feed) -> list[Listed]:
        """Every finished file of the feed."""
        return patiently(lambda: self._listing(feed), self.leave)

    def fetch(self, f: Listed, target: Path) -> bool:
        """Bring a file to `target`; False where it is not the file that was listed any more."""
        return patiently(lambda: self._fetch(f, target), self.leave)

    def _listing(self, feed: Feed) -> list[Listed]:
        assert feed.files is not None
        *folders, _ = feed.files.split("/")
        with self._session() as sftp:
            below = [""]
            for pattern in folders:
                below = [
                    join(folder, entry.filename)
                    for folder in below
                    for entry in sftp.listdir_attr(join(self.system.path, folder))
                    if stat.S_ISDIR(entry.st_mode or 0) and fnmatchcase(entry.filename, pattern)
                ]
            found = []
            for folder in below:
                for entry in sftp.listdir_attr(join(self.system.path, folder)):
                    name = join(folder, entry.filename)
                    if stat.S_ISREG(entry.st_mode or 0) and is_of(feed, name):
                        found.append(_listed(name, entry))
            return found

    def _fetch(self, f: Listed, target: Path) -> bool:
        with self._session() as sftp:
            remote = join(self.system.path, f.name)
            try:
                if _listed(f.name, sftp.stat(remote)) != f:
                    return False
            except FileNotFoundError:  # taken away since it was listed
                return False
            with target.open("ab") as out, sftp.open(remote, "rb") as source:
                done = out.tell()
                source.seek(done)
                if done < f.size:
                    source.prefetch(f.size, AHEAD)
                while chunk := source.read(CHUNK):
                    out.write(chunk)
            return _listed(f.name, sftp.stat(remote)) == f and target.stat().st_size == f.size

    @contextmanager
    def _session(self) -> Iterator[paramiko.SFTPClient]:
        """The session, with paramiko's failures as ours."""
        s = self.system
        where = f"SFTP server {s.host}:{s.port}"
        try:
            if self._sftp is None:
                self._client = _connected(s)
                self._sftp = self._client.open_sftp()
                channel = self._sftp.get_channel()
                if channel is not None:
                    channel.settimeout(SECONDS)
            yield self._sftp
        except paramiko.BadHostKeyException as error:
            raise PermanentFailure(
                f"{where} shows another host key than the contract's.",
                "Ask the site whether its key was changed; only then change `host_key`.",
            ) from error
        except paramiko.AuthenticationException as error:
            raise PermanentFailure(
                f"{where} refuses {s.user}.",
                f"Check `user` and what {s.password_env or s.key_file_env} holds.",
            ) from error
        except OSError as error:
            if error.errno in (ENOENT, EACCES):
                raise PermanentFailure(
                    f"{where}: {s.path} cannot be read ({error.strerror}).",
                    "Check the contract's `path` and the account's rights.",
                ) from error
            raise TransientFailure(
                f"{where}: {error or type(error).__name__}.", "It is tried again."
            ) from error
        except (paramiko.SSHException, EOFError) as error:
            raise TransientFailure(
                f"{where}: {error or 'the connection was lost'}.", "It is tried again."
            ) from error


def _fetching(server: _Server, f: Listed, scratch: Path) -> Any:
    def bring() -> Path | None:
        target = scratch / "arriving"
        target.unlink(missing_ok=True)
        if not server.fetch(f, target):
            return None
        os.utime(target, (f.written.timestamp(), f.written.timestamp()))
        return target

    return bring


def _connected(s: SftpSystem) -> paramiko.SSHClient:
    kind, encoded = s.host_key.split()
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    known = s.host if s.port == 22 else f"[{s.host}]:{s.port}"
    try:
        client.get_host_keys().add(known, kind, paramiko.PKey.from_type_string(kind, b64decode(encoded)))
    except (paramiko.SSHException, ValueError) as error:
        raise PermanentFailure(
            f"`host_key` of {s.host} is no public key.", "Copy it from `ssh-keyscan`."
        ) from error
    secret = s.password_env or s.key_file_env
    assert secret is not None
    value = os.environ.get(secret)
    if not value:
        raise PermanentFailure(
            f"Environment variable {secret} is not set.", f"Set it before {s.host} is asked."
        )
    try:
        client.connect(
            s.host, s.port, s.user,
            password=value if s.password_env else None, key_filename=value if s.key_file_env else None,
            look_for_keys=False, allow_agent=False,
            timeout=SECONDS, banner_timeout=SECONDS, auth_timeout=SECONDS,
        )  # fmt: skip
    except BaseException:
        client.close()
        raise
    return client


def _listed(name: str, entry: paramiko.SFTPAttributes) -> Listed:
    return Listed(datetime.fromtimestamp(entry.st_mtime or 0, UTC), name, entry.st_size or 0)
