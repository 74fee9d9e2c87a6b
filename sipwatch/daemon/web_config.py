"""The web configuration file of Prometheus exporters (exporter-toolkit, web-configuration.md).

YAML with `tls_server_config`, `http_server_config` and `basic_auth_users`. What this server cannot
do is refused by name, never passed over: a file that promises protection must give it.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import yaml

#: Values of client_auth_type that ask for a certificate that our own authorities vouch for.
_CLIENT_AUTH = {
    "": ssl.CERT_NONE,
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
#: They accept certificates of anybody, which proves nothing.
_UNVERIFIED = ("RequestClientCert", "RequireAnyClientCert")
_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
#: Go's names of the TLS 1.2 suites that are still good, to OpenSSL's.
_SUITES = {
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
}
_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1"}
#: The only response headers that the toolkit lets one set.
_HEADERS = (
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
)
_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_MOST_BYTES = 1 << 20


class WebConfigError(ValueError):
    """A web configuration that cannot be used; one line with file, key and what is expected."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Where certificates are and what clients must show."""

    cert_file: str
    key_file: str
    client_auth: ssl.VerifyMode = ssl.CERT_NONE
    client_ca_file: str = ""
    #: Subject alternative names of which a client certificate must have one; empty = any.
    client_allowed_sans: tuple[str, ...] = ()
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    max_version: ssl.TLSVersion | None = None
    cipher_suites: tuple[str, ...] = ()
    curve: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """All files that it names."""
        return tuple(path for path in (self.cert_file, self.key_file, self.client_ca_file) if path)


@dataclass(frozen=True, slots=True)
class WebConfig:
    """A whole file."""

    tls: TlsSettings | None = None
    #: User to bcrypt hash.
    users: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def asks_who(self) -> bool:
        """Whether nobody gets in without a password or a certificate of ours."""
        certified = self.tls is not None and self.tls.client_auth is ssl.CERT_REQUIRED
        return bool(self.users) or certified


def load_web_config(path: str) -> WebConfig:
    """Reads the file. Raises WebConfigError."""
    try:
        with open(path, "rb") as file:
            text = file.read(_MOST_BYTES).decode()
    except OSError as error:
        raise WebConfigError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise WebConfigError(f"{path}: not UTF-8 at byte {error.start}") from None
    return parse_web_config(text, path)


def parse_web_config(text: str, path: str) -> WebConfig:
    """Reads the text of a file at this path, to which its own paths are relative."""
    try:
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        raise WebConfigError(f"{path}{line}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        what = str(error).splitlines()[0] if str(error) else "too deep"
        raise WebConfigError(f"{path}: not YAML: {what}") from None
    return _Reader(path).whole({} if data is None else data)


class _Reader:
    """Reads the parsed YAML, with the place in every error."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._folder = os.path.dirname(path)

    def whole(self, data: Any) -> WebConfig:
        sections = self._table(data, "", _SECTIONS)
        tls = sections.get("tls_server_config")
        users = self._strings(sections.get("basic_auth_users"), "basic_auth_users")
        for user, digest in users.items():
            self._check_user(user, digest)
        return WebConfig(
            None if tls is None else self._tls(tls),
            users,
            self._http(sections.get("http_server_config"), has_tls=tls is not None),
        )

    def _check_user(self, user: str, digest: str) -> None:
        match = _HASH.fullmatch(digest)
        if match is None or not 4 <= int(match[1]) <= 31:
            raise self._wrong(
                f"basic_auth_users.{user}",
                "expected a bcrypt hash, as htpasswd -nBC 10 writes it after the name",
            )
        if ":" in user or not user:
            raise self._wrong("basic_auth_users", f"a user name cannot be {user!r}")

    def _http(self, data: Any, *, has_tls: bool) -> Mapping[str, str]:
        if data is None:
            return {}
        section = self._table(data, "http_server_config", ("http2", "headers"))
        # HTTP/1.1 is what is spoken either way; Prometheus is content with it.
        self._boolean(section, "http_server_config.http2")
        headers = self._strings(section.get("headers"), "http_server_config.headers")
        for name, value in headers.items():
            if name not in _HEADERS:
                known = ", ".join(_HEADERS)
                raise self._wrong(f"http_server_config.headers.{name}", f"expected one of {known}")
            if not value.isprintable():
                raise self._wrong(f"http_server_config.headers.{name}", "expected one line")
        return headers

    def _tls(self, data: Any) -> TlsSettings:
        section = self._table(data, "tls_server_config", _TLS_KEYS)
        prefix = "tls_server_config."
        for key in ("cert_file", "key_file"):
            if not section.get(key):
                raise self._wrong(prefix + key, "expected a path")
        for key in ("cert", "key", "client_ca"):
            if section.get(key):
                raise self._wrong(prefix + key, f"give the path of a file instead: {key}_file")
        self._boolean(section, prefix + "prefer_server_cipher_suites")
        return TlsSettings(
            cert_file=self._file(section, "cert_file"),
            key_file=self._file(section, "key_file"),
            client_auth=self._client_auth(section),
            client_ca_file=self._file(section, "client_ca_file"),
            client_allowed_sans=self._list(section, "client_allowed_sans"),
            min_version=self._version(section, "min_version") or ssl.TLSVersion.TLSv1_2,
            max_version=self._version(section, "max_version"),
            cipher_suites=self._named(section, "cipher_suites", _SUITES),
            curve=next(iter(self._named(section, "curve_preferences", _CURVES)), ""),
        )

    def _client_auth(self, section: Mapping[str, Any]) -> ssl.VerifyMode:
        key = "tls_server_config.client_auth_type"
        kind = self._string(section, "client_auth_type")
        if kind in _UNVERIFIED:
            raise self._wrong(
                key, f"{kind} proves nothing and is not offered; use RequireAndVerifyClientCert"
            )
        if kind not in _CLIENT_AUTH:
            raise self._wrong(key, f"expected one of {', '.join(filter(None, _CLIENT_AUTH))}")
        mode = _CLIENT_AUTH[kind]
        if mode is not ssl.CERT_NONE and not section.get("client_ca_file"):
            raise self._wrong("tls_server_config.client_ca_file", f"expected a path, for {kind}")
        if mode is ssl.CERT_NONE and section.get("client_ca_file"):
            raise self._wrong(key, "expected RequireAndVerifyClientCert beside client_ca_file")
        return mode

    def _version(self, section: Mapping[str, Any], key: str) -> ssl.TLSVersion | None:
        name = self._string(section, key)
        if name and name not in _VERSIONS:
            raise self._wrong(f"tls_server_config.{key}", f"expected one of {', '.join(_VERSIONS)}")
        return _VERSIONS.get(name)

    def _named(
        self, section: Mapping[str, Any], key: str, known: Mapping[str, str]
    ) -> tuple[str, ...]:
        """Names that OpenSSL spells otherwise."""
        found = []
        for name in self._list(section, key):
            # TLS 1.3 suites cannot be chosen, neither here nor in Go.
            if name.startswith("TLS_AES_") or name.startswith("TLS_CHACHA20_"):
                continue
            if name not in known:
                raise self._wrong(f"tls_server_config.{key}", f"{name} is not offered here")
            found.append(known[name])
        return tuple(found)

    def _table(self, data: Any, key: str, known: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise self._wrong(key, "expected keys with values")
        for name in data:
            if name not in known:
                nearest = get_close_matches(str(name), known, n=1, cutoff=0.0)[0]
                full = f"{key}.{name}" if key else str(name)
                raise self._wrong(full, f"unknown key; the nearest is {nearest}")
        return data

    def _strings(self, data: Any, key: str) -> dict[str, str]:
        if data is None:
            return {}
        if not isinstance(data, dict):
            raise self._wrong(key, "expected keys with values")
        for name, value in data.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise self._wrong(f"{key}.{name}", "expected a text")
        return data

    def _string(self, section: Mapping[str, Any], key: str) -> str:
        value = section.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(f"tls_server_config.{key}", "expected a text")
        return value

    def _list(self, section: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = section.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self._wrong(f"tls_server_config.{key}", "expected a list of texts")
        return tuple(value)

    def _boolean(self, section: Mapping[str, Any], key: str) -> None:
        value = section.get(key.rpartition(".")[2])
        if value is not None and not isinstance(value, bool):
            raise self._wrong(key, "expected true or false")

    def _file(self, section: Mapping[str, Any], key: str) -> str:
        path = self._string(section, key)
        return os.path.join(self._folder, path) if path else ""

    def _wrong(self, key: str, what: str) -> WebConfigError:
        return WebConfigError(f"{self._path}: {key}: {what}" if key else f"{self._path}: {what}")


_SECTIONS = ("tls_server_config", "http_server_config", "basic_auth_users")
_TLS_KEYS = (
    "cert_file",
    "key_file",
    "cert",
    "key",
    "client_ca",
    "client_auth_type",
    "client_ca_file",
    "client_allowed_sans",
    "cipher_suites",
    "prefer_server_cipher_suites",
    "min_version",
    "max_version",
    "curve_preferences",
)
