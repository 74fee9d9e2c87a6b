"""What is recorded: real programs over TCP, TLS, WebSocket and secure WebSocket."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from browser import BrowserPhone
from table import Expect, Recording, Table

# The callee's answer to an offer of a browser: encrypted media that never comes.
_ANSWER_TO_A_BROWSER = """v=0
o=- 1 1 IN IP4 [local_ip]
s=-
t=0 0
m=audio 9 UDP/TLS/RTP/SAVPF 8
c=IN IP4 0.0.0.0
a=rtcp-mux
a=mid:0
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuvwx
a=fingerprint:sha-256 FINGERPRINT
a=setup:active
a=sendonly
a=rtpmap:8 PCMA/8000""".replace("FINGERPRINT", ":".join(["5A"] * 32))

_BUSY = "> INVITE\n< 100\n< 486\n> ACK\n"
_ANSWERED = "> INVITE\n< 100\n< 180\nwait 1.5\n< 200\n> ACK\nwait 2\n> BYE\n< 200 BYE\n"
_REJECTED = "> INVITE\n< 100\n< 180\nwait 4\n< 486\n> ACK\n"
_LEFT = "> INVITE\n< 100\n< 180\nwait 7\n> CANCEL\n< 200 CANCEL\n< 487\n> ACK\n"


def _callee(table: Table) -> str:
    return f"101@{table['101'].address}:5060;transport=tcp"


def _over_tcp(ladder: str) -> Callable[[Table], None]:
    def play(table: Table) -> None:
        table.kamailio(callee=_callee(table))
        callee = table.answer("101", ladder)
        caller = table.dial("carrier", ladder)
        caller.wait(60)
        callee.wait(60)

    return play


def _over_tls(ladder: str, version: str) -> Callable[[Table], None]:
    """SIPp speaks plain TCP to a relay on its own host, the relay TLS to Kamailio."""

    def play(table: Table) -> None:
        table.kamailio(tls=True, callee=_callee(table))
        pbx = table["pbx"].address
        table.relay("carrier", "127.0.0.1:5061", f"{pbx}:5061", version=version)
        callee = table.answer("101", ladder)
        caller = table.dial("carrier", ladder, to="127.0.0.1:5061", via="TLS")
        caller.wait(60)
        callee.wait(60)

    return play


def _refused(transport: str, expected: str, why: str, confidence: str) -> tuple[Expect, Expect]:
    """The same where the callee refused: the caller's leg inherits what became of the other."""
    caller, callee = _both(transport, expected, why, confidence)
    return replace(caller, why=f"rule 3c: {why}", confidence="correlated"), callee


def _both(transport: str, expected: str, why: str, confidence: str) -> tuple[Expect, Expect]:
    """The caller's leg to the proxy, and the leg from there."""
    return (
        Expect("carrier", "pbx", transport, "101", expected, why, confidence),
        Expect("pbx", "101", "TCP", "101", expected, why, confidence),
    )


def _baresip_calls(table: Table, where: str, seconds: float) -> None:
    settings = {"sip_verify_server": "no"}
    phone = table.baresip("carrier", {"regint": "0", "outbound": f'"{where}"'}, settings)
    phone.command("dial", f"sip:101@{table['pbx'].address}")
    table.seen(b"SIP/2.0 180 Ringing")
    time.sleep(seconds)
    phone.command("hangup")


def _baresip_tcp(table: Table) -> None:
    table.kamailio(callee=_callee(table))
    callee = table.answer("101", _LEFT)
    _baresip_calls(table, f"sip:{table['pbx'].address}:5060;transport=tcp", 3.0)
    callee.wait(60)


def _baresip_tls(table: Table) -> None:
    """baresip's own TLS to a relay on the PBX's host, which hands on to Kamailio."""
    table.kamailio(callee=_callee(table))
    pbx = table["pbx"].address
    table.relay("pbx", f"{pbx}:5061", f"{pbx}:5060", version="1.3", tls_inward=True)
    callee = table.answer("101", _LEFT)
    _baresip_calls(table, f"sip:{pbx}:5061;transport=tls", 3.0)
    callee.wait(60)


def _baresip_tls_without_keys(table: Table) -> None:
    table.kamailio(tls=True, callee=_callee(table))
    callee = table.answer("101", _LEFT)
    _baresip_calls(table, f"sip:{table['pbx'].address}:5061;transport=tls", 3.0)
    callee.wait(60)


def _phone(table: Table, order: dict[str, str], secure: bool) -> BrowserPhone:
    words = {"domain": table["pbx"].address, **order}
    keylog = table.keylog if secure else None
    phone = BrowserPhone(table["carrier"], table.scratch, table.page, words, keylog)
    table.at_the_end(phone.stop)
    return phone


def _browser(act: str, after: int, ladder: str, *, secure: bool = False) -> Callable[[Table], None]:
    def play(table: Table) -> None:
        table.kamailio(tls=secure, callee=_callee(table))
        pbx = table["pbx"].address
        callee = table.answer("101", ladder, body=_ANSWER_TO_A_BROWSER)
        order = {
            "socket": f"wss://{pbx}:8443" if secure else f"ws://{pbx}:8080",
            "user": "200",
            "act": act,
            "after": str(after),
            "target": f"sip:101@{pbx}",
        }
        phone = _phone(table, order, secure)
        phone.says("over")
        callee.wait(60)

    return play


def _browser_is_called(secure: bool) -> Callable[[Table], None]:
    def play(table: Table) -> None:
        table.kamailio(tls=secure)
        pbx = table["pbx"].address
        order = {
            "socket": f"wss://{pbx}:8443" if secure else f"ws://{pbx}:8080",
            "user": "200",
            "act": "refuse",
            "after": "4000",
        }
        phone = _phone(table, order, secure)
        phone.says("registered")
        caller = table.dial("101", _REJECTED, user="200")
        phone.says("over")
        caller.wait(60)

    return play


_ANSWERED_WHY = "rule 1: 2xx and ACK"
_BUSY_WHY = "rule 8: 486, no 180"
_REJECTED_WHY = "rule 9: 486, 4 s after a 180"
_LEFT_WHY = "5.1: the caller cancelled"


def _browser_rejects(transport: str) -> tuple[Expect, Expect]:
    """The caller's leg, which inherits where the browser's can be read, and the browser's."""
    rejected = "declined/manual"
    caller = Expect(
        "101", "pbx", "TCP", "200", rejected, f"rule 3c: {_REJECTED_WHY}", "correlated",
        confidence_alone="inferred",
    )  # fmt: skip
    return caller, Expect("pbx", "carrier", transport, "200", rejected, _REJECTED_WHY, "inferred")


RECORDINGS = (
    Recording(
        "sipp-tcp-busy", "486 at once", _over_tcp(_BUSY),
        _refused("TCP", "agent_busy", _BUSY_WHY, "explicit"),
    ),
    Recording(
        "sipp-tcp-small-segments", "answered after 1.5 s, the caller hangs up",
        _over_tcp(_ANSWERED), _both("TCP", "answered", _ANSWERED_WHY, "explicit"), mtu=300,
    ),
    Recording(
        "sipp-tls12-answered", "answered after 1.5 s, the caller hangs up",
        _over_tls(_ANSWERED, "1.2"), _both("TLS", "answered", _ANSWERED_WHY, "explicit"),
        tls_connections=1, keylog=True,
    ),
    Recording(
        "sipp-tls13-rejected", "486 after 4 s of ringing", _over_tls(_REJECTED, "1.3"),
        _refused("TLS", "declined/manual", _REJECTED_WHY, "inferred"),
        tls_connections=1, keylog=True,
    ),
    Recording(
        "sipp-tls13-left", "the caller gives up after 7 s of ringing",
        _over_tls(_LEFT, "1.3"), _both("TLS", "abandoned", _LEFT_WHY, ""),
        tls_connections=1, keylog=True,
    ),
    Recording(
        "baresip-tcp-left", "baresip gives up after 3 s of ringing", _baresip_tcp,
        _both("TCP", "briefly_abandoned", _LEFT_WHY, ""), tools="baresip, SIPp, Kamailio",
    ),
    Recording(
        "baresip-tls-left", "baresip gives up after 3 s of ringing", _baresip_tls,
        _both("TLS", "briefly_abandoned", _LEFT_WHY, ""),
        tls_connections=1, keylog=True, tools="baresip, SIPp, Kamailio",
    ),
    Recording(
        "baresip-tls-no-keys", "baresip gives up after 3 s of ringing; nobody has the keys",
        _baresip_tls_without_keys,
        (Expect("pbx", "101", "TCP", "101", "briefly_abandoned", _LEFT_WHY, ""),),
        tls_connections=1, tools="baresip, SIPp, Kamailio",
    ),
    Recording(
        "browser-ws-answered", "a browser calls, is answered after 1.5 s and hangs up",
        _browser("talk", 2000, _ANSWERED), _both("WS", "answered", _ANSWERED_WHY, "explicit"),
        tools="Chromium, JsSIP, SIPp, Kamailio",
    ),
    Recording(
        "browser-ws-busy", "a browser calls, 486 at once",
        _browser("wait", 0, _BUSY), _refused("WS", "agent_busy", _BUSY_WHY, "explicit"),
        tools="Chromium, JsSIP, SIPp, Kamailio",
    ),
    Recording(
        "browser-ws-left", "a browser calls and gives up after 7 s of ringing",
        _browser("leave", 7000, _LEFT), _both("WS", "abandoned", _LEFT_WHY, ""),
        tools="Chromium, JsSIP, SIPp, Kamailio",
    ),
    Recording(
        "browser-ws-rejects", "a browser is called, and rejects after 4 s of ringing",
        _browser_is_called(False),
        _browser_rejects("WS"),
        tools="Chromium, JsSIP, SIPp, Kamailio",
    ),
    Recording(
        "browser-wss-answered", "a browser calls, is answered after 1.5 s and hangs up",
        _browser("talk", 2000, _ANSWERED, secure=True),
        _both("WSS", "answered", _ANSWERED_WHY, "explicit"),
        tls_connections=1, keylog=True, tools="Chromium, JsSIP, SIPp, Kamailio",
    ),
    Recording(
        "browser-wss-rejects", "a browser is called, and rejects after 4 s of ringing",
        _browser_is_called(True),
        _browser_rejects("WSS"),
        tls_connections=1, keylog=True, tools="Chromium, JsSIP, SIPp, Kamailio",
    ),
)  # fmt: skip
