# SPDX-License-Identifier: Apache-2.0
"""Tokens of our own: who has one may act in a project, as far as its role goes. A file keeps their hashes.

A token is 32 random bytes, so that nobody finds one by trying: a plain SHA-256 of it may be stored. (A slow hash is for
passwords, which people choose; here it would only make each request slow.)
"""

import fcntl
import hashlib
import hmac
import logging
import os
import pathlib
import secrets
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec

from fastlb.errors import ConfigError, Conflict, FastLBError, NotFound

ROLES = ("member", "observer", "admin")
PREFIX = "fastlb_"
"""So that people, and programs that look for secrets that lie about, know what it is."""
SECRET_BYTES = 32
OTHERS_MAY_WRITE = 0o022

log = logging.getLogger("fastlb.api")


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a token."""

    id: str
    """By which it is named when it is revoked; no secret."""
    name: str = ""
    project_id: str
    role: str
    sha256: str
    """Of the whole token as it was printed, in hex."""
    created_at: str


class Content(msgspec.Struct, kw_only=True):
    version: int = 1
    tokens: list[Token]


class TokensError(FastLBError):
    """The tokens file cannot be used."""


class Tokens:
    """The tokens of a file, which is read again whenever it has changed. Calls may come from any thread.

    path: need not be there yet; it is made for its owner alone.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = pathlib.Path(path)
        # Who finds the file changed reads it, and who comes meanwhile waits: what it had before counts no more.
        self._reading = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._tokens: tuple[tuple[bytes, Token], ...] = ()
        self._refresh()

    def all(self) -> list[Token]:
        """In the order of creation."""
        return [token for _, token in self._refresh()]

    def find(self, secret: str) -> Token | None:
        """Whose token is it?"""
        given = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
        found = None
        for digest, token in self._current():
            # Every one, and each in constant time: how long it takes says nothing about what would fit.
            if hmac.compare_digest(given, digest):
                found = token
        return found

    def create(self, *, project_id: str, role: str, name: str = "") -> tuple[Token, str]:
        """Make a token: what is kept of it, and the secret, which is not kept.

        role: member (reads and writes what is the project's), observer (reads it), admin (everything, of all
        projects). name: to know it by in the list; unique, unless empty. Raises ConfigError, Conflict, TokensError.
        """
        if role not in ROLES:
            raise ConfigError("role", role, f"must be one of {', '.join(ROLES)}")
        if not 1 <= len(project_id) <= 36 or not project_id.isprintable():
            raise ConfigError("project", project_id, "must have 1 to 36 printable characters")
        if len(name) > 255 or not (name.isprintable() or not name):
            raise ConfigError("name", name, "must have at most 255 printable characters")
        secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        with self._writing() as tokens:
            if name and any(token.name == name for token in tokens):
                raise Conflict(f"token {name!r}: there is one already; revoke it first, or give another name")
            taken = {token.id for token in tokens}
            token = Token(
                id=next(one for one in iter(lambda: secrets.token_hex(4), "") if one not in taken),
                name=name,
                project_id=project_id,
                role=role,
                sha256=hashlib.sha256(secret.encode()).hexdigest(),
                created_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            )
            tokens.append(token)
        return token, secret

    def revoke(self, key: str) -> Token:
        """Forget the token with this id or name: a running server refuses it from its next request on. Raises
        NotFound."""
        with self._writing() as tokens:
            for token in tokens:
                if key and key in (token.id, token.name):
                    tokens.remove(token)
                    return token
            there = ", ".join(token.name or token.id for token in tokens) or "none"
            raise NotFound(f"token {key!r}: not found; there: {there}")

    def _current(self) -> tuple[tuple[bytes, Token], ...]:
        """As `_refresh`, and where the file has become unreadable what it held last."""
        try:
            return self._refresh()
        except TokensError as error:
            log.error("%s; the tokens that it held before still count", error)
            return self._tokens

    def _refresh(self) -> tuple[tuple[bytes, Token], ...]:
        with self._reading:
            return self._read_again()

    def _read_again(self) -> tuple[tuple[bytes, Token], ...]:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._seen, self._tokens = None, ()
            return ()
        except OSError as error:
            raise TokensError(f"{self.path}: cannot be read: {error.strerror}") from None
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        if seen != self._seen:
            self._seen = seen  # first: a file that is broken is complained of once
            self._tokens = tuple((bytes.fromhex(token.sha256), token) for token in self._read())
        return self._tokens

    def _read(self) -> list[Token]:
        try:
            with open(self.path, "rb") as file:
                if os.fstat(file.fileno()).st_mode & OTHERS_MAY_WRITE:
                    raise TokensError(f"{self.path}: others may write to it; chmod go-w it")
                content = msgspec.json.decode(file.read(), type=Content)
            for token in content.tokens:
                if (
                    token.role not in ROLES
                    or len(bytes.fromhex(token.sha256)) != hashlib.sha256().digest_size
                ):
                    raise ValueError(f"token {token.id}: role or sha256 is none")
        except OSError as error:
            raise TokensError(f"{self.path}: cannot be read: {error.strerror}") from None
        except (msgspec.DecodeError, ValueError) as error:
            raise TokensError(f"{self.path}: is no tokens file: {error}") from None
        if content.version != 1:
            raise TokensError(f"{self.path}: was written by a newer fastlb (version {content.version})")
        return content.tokens

    @contextmanager
    def _writing(self) -> Iterator[list[Token]]:
        """Change the list: written as a whole when the block ends without an error, by one process at a time."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise TokensError(f"{self.path}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tokens = self._read() if self.path.exists() else []
            yield tokens
            self._write(Content(tokens=tokens))
        except OSError as error:
            raise TokensError(f"{self.path}: cannot be written: {error.strerror}") from None
        finally:
            os.close(lock)

    def _write(self, content: Content) -> None:
        text = msgspec.json.format(msgspec.json.encode(content), indent=2)
        # mkstemp makes it for its owner alone. Renamed into place: who reads sees the old file or the new one.
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with open(descriptor, "wb") as file:
                if os.geteuid() == 0:
                    # The server may run as another user, whose folder this is, and must be able to read it.
                    owner = self.path.parent.stat()
                    os.fchown(descriptor, owner.st_uid, owner.st_gid)
                file.write(text + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.rename(name, self.path)
        except BaseException:
            os.unlink(name)
            raise
