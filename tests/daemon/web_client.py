"""A browser for tests: one request, whole answer; certificates made with openssl."""

from __future__ import annotations

import base64
import http.client
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def get(
    port: int,
    path: str = "/metrics",
    *,
    host: str = "127.0.0.1",
    method: str = "GET",
    user: str = "",
    context: ssl.SSLContext | None = None,
    **headers: str,
) -> Answer:
    """Headers are given with underscores for dashes; `user` is name:password."""
    if context is None:
        connection = http.client.HTTPConnection(host, port, timeout=10)
    else:
        connection = http.client.HTTPSConnection(host, port, timeout=10, context=context)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if user:
        sent["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
    try:
        connection.request(method, path, headers=sent)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


def certificates(folder: Path, *names: str) -> None:
    """An authority `ca`, and a certificate and key by it for each name, valid for that name."""
    _openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "30",
             "-subj", "/CN=test authority")  # fmt: skip
    for name in names:
        extension = folder / f"{name}.ext"
        extension.write_text(f"subjectAltName=DNS:{name},IP:127.0.0.1\n")
        _openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", f"{name}.key", "-out", f"{name}.csr",
                 "-subj", f"/CN={name}")  # fmt: skip
        _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                 "-CAcreateserial", "-days", "30", "-out", f"{name}.crt",
                 "-extfile", extension.name)  # fmt: skip


def trusting(folder: Path, client: str = "") -> ssl.SSLContext:
    """A client's context that trusts the authority and shows a certificate if it has one."""
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    if client:
        context.load_cert_chain(str(folder / f"{client}.crt"), str(folder / f"{client}.key"))
    return context


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30)
