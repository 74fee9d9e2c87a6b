"""SIPp as carrier and as phones: scenarios as they are told here, run inside a namespace."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from network_namespace import Namespace

_INVITE = """<send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:+4930[call_number]@[local_ip]>;tag=[call_number]
To: <sip:[service]@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:sipp@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Length: 0

]]></send>"""

_OWN_VIA = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]"
_ACK = """<send><![CDATA[
ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:+4930[call_number]@[local_ip]>;tag=[call_number]
To: <sip:[service]@[remote_ip]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>"""

_BYE = """<pause milliseconds="300"/><send retrans="500"><![CDATA[
BYE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:+4930[call_number]@[local_ip]>;tag=[call_number]
To: <sip:[service]@[remote_ip]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

]]></send><recv response="200"/>"""

_HEAD = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<scenario name="{}">\n{}\n</scenario>\n'


def caller(ends_with: int) -> str:
    """Calls, and does what belongs to the answer: a conversation after 200, else only the ACK."""
    expected = f'<recv response="100" optional="true"/><recv response="180" optional="true"/>\
<recv response="{ends_with}"/>'
    # After a refusal it belongs to the INVITE's transaction (RFC 3261 17.1.1.3): the same Via.
    after = _ACK + _BYE if ends_with == 200 else _ACK.replace(_OWN_VIA, "[last_Via:]")
    return _HEAD.format("caller", _INVITE + expected + after)


def silent_caller() -> str:
    """Calls, and waits for an answer that does not come until its Timer B has run out."""
    return _HEAD.format("silent", _INVITE + '<recv response="200"/>')


def _reply(status: str, extra: str = "") -> str:
    return f"""<send><![CDATA[
SIP/2.0 {status}
[last_Via:]
[last_From:]
[last_To:];tag=[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port]>
Content-Length: 0

]]></send>{extra}"""


def phone(answers: str, *, rings: bool) -> str:
    """Answers each INVITE with this status line; after a 200 it waits for the BYE."""
    begin = '<recv request="INVITE"/>' + _reply("100 Trying")
    if rings:
        begin += _reply("180 Ringing", '<pause milliseconds="200"/>')
    begin += _reply(answers) + '<recv request="ACK"/>'
    if answers.startswith("200"):
        begin += '<recv request="BYE"/>' + _reply("200 OK")
    return _HEAD.format("phone", begin)


class Sipp:
    """One SIPp process with a scenario of its own."""

    def __init__(
        self, inside: Namespace, folder: Path, name: str, scenario: str, *arguments: str
    ) -> None:
        self.name = name
        file = folder / f"{name}.xml"
        file.write_text(scenario)
        command = ["sipp", "-sf", str(file), "-nostdin", *arguments]
        with inside.entered():
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )

    def finish(self, expected: tuple[int, ...] = (0,)) -> None:
        """Waits for its end; `expected` are exit statuses (1 says that a call failed)."""
        output, _ = self.process.communicate(timeout=60)
        if self.process.returncode not in expected:
            pytest.fail(
                f"SIPp {self.name} ended with {self.process.returncode}: {output[-1500:]!r}"
            )

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
