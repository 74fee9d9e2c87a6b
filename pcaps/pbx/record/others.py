"""Recordings in which SIPp and baresip are the phones and callers, so that the stacks differ."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from behaviours import answers, busy, disturbed, rejects, rings
from lab import CARRIERS, PBX
from observe import Observed
from settings import ADDRESS, PASSWORD

SIPP_PORT = 5066  # next to party.py's carrier on the same address


@dataclass(slots=True)
class Program:
    """A program that plays a party, with the files that it needs."""

    party: Observed
    command: list[str]
    files: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0  # seconds after the parties
    control: list[tuple[float, str]] = field(default_factory=list)  # baresip's commands

    def write(self, folder: Path) -> list[str]:
        """Writes the files; gives the command with their folder in place of `FOLDER`."""
        own = folder / f"{self.party.user}-{self.party.role}"
        own.mkdir(parents=True, exist_ok=True)
        for name, text in self.files.items():
            (own / name).write_text(text)
        return [part.replace("FOLDER", str(own)) for part in self.command]


# SIPp

SDP = (
    "v=0\no=user1 53655765 2353687637 IN IP[local_ip_type] [local_ip]\ns=-\n"
    "c=IN IP[media_ip_type] [media_ip]\nt=0 0\nm=audio [media_port] RTP/AVP 0\n"
    "a=rtpmap:0 PCMU/8000"
)
SAME = "[last_Via:]\n[last_From:]\n[last_To:]TAG\n[last_Call-ID:]\n[last_CSeq:]\n"
CONTACT = "Contact: <sip:[local_ip]:[local_port];transport=[transport]>\n"
SDP_HEADERS = "Content-Type: application/sdp\nContent-Length: [len]\n\n" + SDP


def _response(status: str, tag: str = ";tag=[pid]SIPpTag01[call_number]", sdp: bool = False) -> str:
    body = SDP_HEADERS if sdp else "Content-Length: 0\n"
    text = f"SIP/2.0 {status}\n{SAME.replace('TAG', tag)}{CONTACT}{body}"
    # Only a final response to an INVITE is repeated; a CANCEL's or BYE's would wait for an ACK.
    repeat = ' retrans="500"' if sdp or status[0] in "3456" else ""
    return f"<send{repeat}><![CDATA[\n{text}\n]]></send>"


def _pause(seconds: float) -> str:
    return f'<pause milliseconds="{round(seconds * 1000)}"/>'


def _scenario(*steps: str) -> str:
    return (
        '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="party">\n'
        + "\n".join(steps)
        + "\n</scenario>\n"
    )


RECEIVE_INVITE = '<recv request="INVITE" crlf="true"/>'
# The CSeq of the last request is the CANCEL's; the 487 answers the INVITE.
CANCELLED = (
    '<recv request="CANCEL" timeout="60000"/>',
    _response("200 OK"),
    _response("487 Request Terminated").replace("[last_CSeq:]", "CSeq: [last_cseq_number] INVITE"),
    '<recv request="ACK"/>',
)


def uas_answers(after: float) -> str:
    return _scenario(
        RECEIVE_INVITE,
        _response("180 Ringing"),
        _pause(after),
        _response("200 OK", sdp=True),
        '<recv request="ACK"/>',
        '<recv request="BYE" timeout="120000"/>',
        _response("200 OK", tag=""),
    )


def uas_refuses(status: str, after: float, ring: bool = True) -> str:
    ringing = [_response("180 Ringing")] if ring else []
    return _scenario(
        RECEIVE_INVITE, *ringing, _pause(after), _response(status), '<recv request="ACK"/>'
    )


def uas_rings() -> str:
    return _scenario(RECEIVE_INVITE, _response("180 Ringing"), *CANCELLED)


INVITE = f"""<send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:USER@[local_ip]>;tag=[pid]SIPpTag00[call_number]
To: <sip:[service]@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 INVITE
{CONTACT}Max-Forwards: 70
User-Agent: SIPp carrier
{SDP_HEADERS}
]]></send>"""


def _later(method: str, number: int, back: int = 0, tag: bool = True) -> str:
    """A request after the INVITE, with the branch of `back` steps before (0: one of its own)."""
    repeat = "" if method == "ACK" else ' retrans="500"'
    uri = "sip:[service]@[remote_ip]" if back else "[next_url]"
    return f"""<send{repeat}><![CDATA[
{method} {uri} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch{f"-{back}" if back else ""}]
From: <sip:USER@[local_ip]>;tag=[pid]SIPpTag00[call_number]
To: <sip:[service]@[remote_ip]>{"[peer_tag_param]" if tag else ""}
Call-ID: [call_id]
CSeq: {number} {method}
Max-Forwards: 70
Content-Length: 0
]]></send>"""


PROVISIONAL = "".join(
    f'<recv response="{status}" optional="true"/>\n' for status in (100, 180, 183)
)


def uac_talks(seconds: float) -> str:
    return _scenario(
        INVITE,
        PROVISIONAL,
        '<recv response="200" rrs="true" timeout="60000"/>',
        _later("ACK", 1),
        _pause(seconds),
        _later("BYE", 2),
        '<recv response="200"/>',
    )


def uac_refused(status: int) -> str:
    return _scenario(
        INVITE,
        PROVISIONAL,
        f'<recv response="{status}" timeout="60000"/>',
        _later("ACK", 1, back=5),
    )


def uac_gives_up(after: float) -> str:
    return _scenario(
        INVITE,
        '<recv response="100" optional="true"/>',
        '<recv response="180"/>',
        _pause(after),
        _later("CANCEL", 1, back=4, tag=False),
        '<recv response="200"/>',
        '<recv response="487"/>',
        _later("ACK", 1, back=7),
    )


def sipp_phone(user: str, script: str, behaviour: dict[str, Any], calls: int = 1) -> Program:
    address = ADDRESS[user]
    command = [
        "sipp",
        "-sf",
        "FOLDER/party.xml",
        "-i",
        address,
        "-p",
        "5060",
        "-mp",
        "21000",
        "-m",
        str(calls),
        "-nostdin",
        "-timeout",
        "70",
    ]
    party = Observed(user, address, "called", behaviour)
    return Program(party, command, {"party.xml": script})


def sipp_caller(
    to: str, script: str, user: str = "+493022200", calls: int = 1, rate: float = 1.0
) -> Program:
    command = [
        "sipp",
        "-sf",
        "FOLDER/party.xml",
        "-i",
        CARRIERS[0],
        "-p",
        str(SIPP_PORT),
        "-mp",
        "21100",
        "-s",
        to,
        "-m",
        str(calls),
        "-r",
        str(rate),
        "-nostdin",
        "-timeout",
        "70",
        f"{PBX}:5060",
    ]
    party = Observed("carrier1", CARRIERS[0], "calling", {}, SIPP_PORT)
    return Program(party, command, {"party.xml": script.replace("USER", user)}, delay=1.0)


# baresip

BARESIP = """poll_method epoll
sip_listen {address}:5060
call_max_calls 4
audio_source aubridge,nil
audio_player aubridge,nil
audio_alert aubridge,nil
audio_srate 8000
audio_channels 1
rtp_ports 23000-23100
module_path /usr/lib/baresip/modules
module stdio.so
module g711.so
module aubridge.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen {address}:4444
"""


def baresip(
    user: str,
    behaviour: dict[str, Any],
    answermode: str = "manual",
    transport: str = "udp",
    role: str = "called",
    control: list[tuple[float, str]] | None = None,
    seconds: int = 40,
) -> Program:
    """A softphone that registers, with commands given to it at moments."""
    address = ADDRESS[user]
    account = (
        f"<sip:{user}@{PBX};transport={transport}>;regint=60;auth_user={user};"
        f"auth_pass={PASSWORD};answermode={answermode};medianat=;audio_codecs=pcmu/8000/1\n"
    )
    command = ["baresip", "-f", "FOLDER", "-t", str(seconds)]
    files = {"config": BARESIP.format(address=address), "accounts": account, "contacts": ""}
    party = Observed(user, address, role, behaviour)
    return Program(party, command, files, control=control or [])


def control_message(command: str) -> str:
    """A command of baresip's as ctrl_tcp wants it: a netstring of JSON."""
    name, _, parameters = command.partition(" ")
    text = json.dumps({"command": name, "params": parameters})
    return f"{len(text)}:{text},"


def programs() -> Iterable[tuple[str, str, list[Program], float, tuple[str, ...]]]:
    """Name, fact, programs, seconds, phones that register."""
    yield (
        "sipp-answered",
        "SIPp calls, SIPp answers",
        [sipp_phone("101", uas_answers(3), answers(3)), sipp_caller("32001", uac_talks(4))],
        14,
        (),
    )
    yield (
        "sipp-ring-timeout-12",
        "SIPp rings to the PBX's timer",
        [sipp_phone("101", uas_rings(), rings()), sipp_caller("31201", uac_refused(603))],
        18,
        (),
    )
    yield (
        "sipp-rejects",
        "SIPp rings, then 486",
        [
            sipp_phone("101", uas_refuses("486 Busy Here", 3), rejects(3)),
            sipp_caller("32001", uac_refused(486)),
        ],
        9,
        (),
    )
    yield (
        "sipp-busy",
        "SIPp is busy at once",
        [
            sipp_phone("101", uas_refuses("486 Busy Here", 0.01, ring=False), busy()),
            sipp_caller("32001", uac_refused(486)),
        ],
        6,
        (),
    )
    yield (
        "sipp-disturbed",
        "SIPp declines at once",
        [
            sipp_phone("101", uas_refuses("603 Decline", 0.01, ring=False), disturbed()),
            sipp_caller("32001", uac_refused(403)),
        ],
        6,
        (),
    )
    yield (
        "sipp-gives-up-7s",
        "SIPp calls and gives up",
        [sipp_phone("101", uas_rings(), rings()), sipp_caller("32001", uac_gives_up(7))],
        13,
        (),
    )
    yield (
        "sipp-group",
        "a ring group of SIPp phones",
        [
            sipp_phone("101", uas_rings(), rings()),
            sipp_phone("102", uas_answers(4), answers(4)),
            sipp_phone("103", uas_refuses("486 Busy Here", 2), rejects(2)),
            sipp_caller("2201", uac_talks(3)),
        ],
        14,
        (),
    )
    yield (
        "sipp-same-number-30-calls",
        "30 calls of one number to one agent, three a second",
        [
            sipp_phone("101", uas_answers(2), answers(2), 30),
            sipp_caller("32001", uac_talks(3), calls=30, rate=3),
        ],
        24,
        (),
    )
    yield (
        "sipp-same-number-30-left",
        "30 callers of one number give up, four a second",
        [
            sipp_phone("101", uas_rings(), rings(), 30),
            sipp_caller("32001", uac_gives_up(7), calls=30, rate=4),
        ],
        24,
        (),
    )
    yield (
        "baresip-answers",
        "baresip registers, rings, answers",
        [
            baresip("101", answers(3), control=[(6.5, "accept")]),
            sipp_caller("32001", uac_talks(4)),
        ],
        18,
        ("101",),
    )
    yield (
        "baresip-rejects",
        "baresip registers, rings, its user rejects",
        [
            baresip("101", rejects(3), control=[(6.5, "hangup")]),
            sipp_caller("32001", uac_refused(486)),
        ],
        14,
        ("101",),
    )
    yield (
        "baresip-rings",
        "baresip rings to the PBX's timer",
        [baresip("101", rings()), sipp_caller("31001", uac_refused(603))],
        20,
        ("101",),
    )
    yield (
        "baresip-tcp-answers",
        "baresip over TCP answers",
        [
            baresip("101", answers(3), transport="tcp", control=[(6.5, "accept")]),
            sipp_caller("32001", uac_talks(4)),
        ],
        18,
        ("101",),
    )
    yield (
        "baresip-tcp-rings",
        "baresip over TCP rings to the PBX's timer",
        [baresip("101", rings(), transport="tcp"), sipp_caller("31001", uac_refused(603))],
        20,
        ("101",),
    )
    yield (
        "baresip-tcp-caller-leaves",
        "baresip over TCP rings, the caller leaves",
        [baresip("101", rings(), transport="tcp"), sipp_caller("33001", uac_gives_up(7))],
        18,
        ("101",),
    )
    yield (
        "baresip-calls",
        "baresip calls 102 (baresip), who answers, and hangs up",
        [
            baresip(
                "101", {}, role="calling", control=[(4, "dial sip:102@10.30.0.1"), (12, "hangup")]
            ),
            baresip("102", answers(3), control=[(7, "accept")]),
        ],
        18,
        ("101", "102"),
    )
    yield (
        "baresip-calls-and-gives-up",
        "baresip calls 102 (baresip) and gives up",
        [
            baresip(
                "101", {}, role="calling", control=[(4, "dial sip:102@10.30.0.1"), (12, "hangup")]
            ),
            baresip("102", rings()),
        ],
        18,
        ("101", "102"),
    )
