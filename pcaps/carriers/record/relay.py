"""Carries SIP between a plain and a TLS connection, and logs the keys of the TLS side.

    python relay.py --listen ADDRESS:PORT --connect ADDRESS:PORT --keylog FILE
                    [--certificate FILE] [--version 1.2|1.3]

With a certificate it speaks TLS to who connects and plain TCP onwards; without one it takes plain
TCP and speaks TLS onwards. So a program whose TLS library logs no keys is one side of a connection
that can be read.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys
from contextlib import suppress

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


async def serve(options: argparse.Namespace) -> None:
    inward = outward = None
    if options.certificate:
        inward = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        inward.load_cert_chain(options.certificate)
        context = inward
    else:
        outward = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        outward.check_hostname = False
        outward.verify_mode = ssl.CERT_NONE
        context = outward
    context.minimum_version = context.maximum_version = _VERSIONS[options.version]
    context.keylog_filename = options.keylog
    host, port = _address(options.connect)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward = await asyncio.open_connection(host, port, ssl=outward)
        await asyncio.gather(_pump(reader, onward[1]), _pump(onward[0], writer))

    server = await asyncio.start_server(carry, *_address(options.listen), ssl=inward)
    print("listening", flush=True)
    await server.serve_forever()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--listen", required=True)
    parser.add_argument("--connect", required=True)
    parser.add_argument("--keylog", required=True)
    parser.add_argument("--certificate")
    parser.add_argument("--version", choices=sorted(_VERSIONS), default="1.3")
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
