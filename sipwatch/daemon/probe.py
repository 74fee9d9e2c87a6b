"""Asks the daemon beside it whether it is well, for a container's HEALTHCHECK; exit status 0 or 1.

Run as ``python -m sipwatch.daemon.probe``; the configuration, from the file that SIPWATCH_CONFIG
names, says where it listens. A daemon that wants TLS, a certificate or a password of its readers
has none from here: that it asks is taken as the sign of life that can be had.
"""

from __future__ import annotations

import http.client
import ssl
import sys
from http import HTTPStatus
from ipaddress import ip_address

from sipwatch.config import ConfigError, load

_SECONDS = 4.0


def main() -> int:
    """Says what is wrong, in a line, or nothing."""
    try:
        host, port = load().web.listen
    except ConfigError as error:
        # The one that it started with is in force, and where that listens is not known here.
        print(error, file=sys.stderr)
        return 1
    wrong = ailment(_reachable(host), port)
    if wrong:
        print(wrong, file=sys.stderr)
    return int(bool(wrong))


def ailment(host: str, port: int) -> str:
    """What is wrong with the daemon that listens there; empty when nothing is."""
    try:
        return _answer(http.client.HTTPConnection(host, port, timeout=_SECONDS))
    except (http.client.HTTPException, ConnectionResetError):
        pass  # it speaks TLS
    except OSError as error:
        return f"{host} port {port}: {error.strerror or error}"
    # Whether the certificate is good for others is not the question.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        return _answer(http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=context))
    except ssl.SSLError:
        return ""  # it asks for a certificate
    except (OSError, http.client.HTTPException) as error:
        return f"{host} port {port}: {error}"


def _reachable(host: str) -> str:
    """Where one who listens on all addresses is reached."""
    address = ip_address(host)
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _answer(connection: http.client.HTTPConnection) -> str:
    try:
        connection.request("GET", "/-/healthy")
        answer = connection.getresponse()
        text = answer.read(1000).decode("utf-8", "replace").strip()
    finally:
        connection.close()
    refused = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    return "" if answer.status == HTTPStatus.OK or answer.status in refused else text


if __name__ == "__main__":
    sys.exit(main())
