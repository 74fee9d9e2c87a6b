"""Who may read: passwords, certificates, and the file that says so, read again when it changes."""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import os
import secrets
import ssl
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

import bcrypt

from sipwatch.daemon.web_config import TlsSettings, WebConfig, WebConfigError, load_web_config

_log = logging.getLogger(__name__)

#: Right passwords that are remembered, so that a scrape does not cost a bcrypt each time.
_MOST_REMEMBERED = 64
#: What an unknown user is compared with, so that his absence cannot be measured.
_NOBODY = b"$2b$10$abcdefghijklmnopqrstuuxSmtbaf9KY1QJpdJMpeAJ2dAsYsUN8e"
#: bcrypt reads no more of a password.
_PASSWORD_BYTES = 72


class Passwords:
    """Checks Basic authentication (RFC 7617) against bcrypt hashes."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = {user.encode(): digest.encode() for user, digest in users.items()}
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def wanted(self) -> bool:
        """Whether there is anybody who must say who he is."""
        return bool(self._users)

    def accept(self, header: str) -> bool:
        """Whether the value of an Authorization header is that of a user."""
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        return bool(colon) and self._is_right(user, password)

    def _is_right(self, user: bytes, password: bytes) -> bool:
        digest = self._users.get(user)
        mark = blake2b(user + b"\0" + password, key=self._key, digest_size=32).digest()
        with self._lock:
            if digest is not None and mark in self._right:
                return True
        if len(password) > _PASSWORD_BYTES or b"\0" in password:
            return False
        try:
            right = bcrypt.checkpw(password, digest or _NOBODY)
        except ValueError:
            return False
        if not right or digest is None:
            return False
        with self._lock:
            if len(self._right) >= _MOST_REMEMBERED:
                self._right.popitem(last=False)
            self._right[mark] = None
        return True


class Access:
    """One reading of the web configuration, ready for use."""

    def __init__(self, config: WebConfig) -> None:
        """Raises WebConfigError when certificates cannot be used."""
        self.config = config
        self.passwords = Passwords(config.users)
        self.tls = None if config.tls is None else _context(config.tls)

    def accepts_certificate(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a verified client certificate has one of the names that are asked for."""
        names = () if self.config.tls is None else self.config.tls.client_allowed_sans
        if not names:
            return True
        shown = [str(value) for _, value in (certificate or {}).get("subjectAltName", ())]
        return any(hmac.compare_digest(a.encode(), b.encode()) for a in names for b in shown)


OPEN = Access(WebConfig())


def _context(tls: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = tls.cert_file
    try:
        context.minimum_version = tls.min_version
        if tls.max_version is not None:
            context.maximum_version = tls.max_version
        # A key with a passphrase must not ask for it on the terminal.
        context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
        if tls.client_ca_file:
            path = tls.client_ca_file
            context.load_verify_locations(path)
        context.verify_mode = tls.client_auth
        if tls.cipher_suites:
            context.set_ciphers(":".join(tls.cipher_suites))
        if tls.curve:
            context.set_ecdh_curve(tls.curve)
    except ssl.SSLError as error:
        raise WebConfigError(f"{path}: no certificate and key that fit: {error.reason}") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        where = f"{tls.cert_file} or {tls.key_file}" if path == tls.cert_file else path
        raise WebConfigError(f"{where}: {why}") from None
    return context


class Guard:
    """The access that holds now; a changed file is taken up, a bad one leaves the old in force."""

    def __init__(
        self, path: str | None, *, refuses: Callable[[WebConfig], str | None] = lambda _: None
    ) -> None:
        """`refuses` says why a configuration must not be used. Raises WebConfigError."""
        self._path = path
        self._refuses = refuses
        self._lock = threading.Lock()
        self.is_current = True
        self._marks: tuple[Any, ...] = ()
        self._access = OPEN
        if path is not None:
            self._access = self._read(path)
            self._marks = self._signs()
        else:
            self._check(OPEN.config)

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS is spoken now."""
        return self._access.tls is not None

    def access(self) -> Access:
        """What holds for a connection made now."""
        if self._path is None:
            return self._access
        with self._lock:
            marks = self._signs()
            if marks != self._marks:
                self._marks = marks
                self._take_up(self._path)
                # The new file may name other certificates.
                self._marks = self._signs()
            return self._access

    def _take_up(self, path: str) -> None:
        try:
            self._access = self._read(path)
        except WebConfigError as error:
            self.is_current = False
            _log.error("the web configuration stays as it was: %s", error)
        else:
            self.is_current = True
            _log.info("the web configuration was read again: %s", path)

    def _read(self, path: str) -> Access:
        config = load_web_config(path)
        self._check(config)
        return Access(config)

    def _check(self, config: WebConfig) -> None:
        refusal = self._refuses(config)
        if refusal is not None:
            raise WebConfigError(refusal)

    def _signs(self) -> tuple[Any, ...]:
        """What changes when one of the files does."""
        tls = self._access.config.tls
        files = (self._path or "", *(() if tls is None else tls.files))
        return tuple(_sign(path) for path in files)


def _sign(path: str) -> tuple[str, int, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return path, 0, 0, 0
    return path, found.st_ino, found.st_size, found.st_mtime_ns
