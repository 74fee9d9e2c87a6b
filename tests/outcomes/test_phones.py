"""Which User-Agents are phones (rule 11c): a phone that says 480 at once is alive and refuses."""

from __future__ import annotations

import re
import tomllib
from importlib import resources

import pytest

from sipwatch.outcomes.phones import is_phone

PHONES = [
    "Yealink SIP-T46S 66.86.0.15", "Yealink W60B 77.85.0.25", "Grandstream GXP2170 1.0.11.79",
    "Grandstream HT802 1.0.31.1", "snom320/8.7.5.35", "snomD785/10.1.64.14",
    "PolycomVVX-VVX_410-UA/5.9.5.0614", "Poly-VVX_450-UA/6.4.0", "Cisco-CP8861/12.5.1",
    "Cisco/SPA504G-7.6.2", "Fanvil X4 2.12.1", "Gigaset N510 IP PRO/42.250", "Mitel 6867i/5.1.0",
    "Aastra 6731i/3.3.1", "Linphone/5.2.5 (belle-sip/5.3.0)", "LinphoneAndroid/5.1",
    "Zoiper rv2.10.20.4", "Z 5.6.1 v2.10.20.4", "MicroSIP/3.21.3", "Bria 5 release 5.5.1",
    "X-Lite release 5.8", "Jitsi2.10.5550", "Twinkle/1.10.2", "baresip v1.0.0 (x86_64/linux)",
    "Blink 5.1.7 (Linux)", "PhonerLite 2.92", "3CXPhone 6.0.26523.0", "Telephone 1.6",
    "PJSUA v2.13 Linux", "JsSIP 3.10.0", "SIP.js/0.21.2", "AVM FRITZ!Fon", "Obihai/OBi200-3.2.2",
    "Acrobits/5.8", "Groundwire/6.6", "Htek UC926 V2.0.4", "Panasonic_KX-HDV230/01.203",
]  # fmt: skip
NO_PHONES = [
    "", "Asterisk PBX 22.4.1", "FPBX-16.0.40", "FreeSWITCH-mod_sofia/1.10.12",
    "3CXPhoneSystem 18.0",
    "3CXPhoneSystem 20.0.2", "kamailio (5.6.3 (x86_64/linux))", "OpenSIPS (3.4.2)",
    "Oracle SBC/9.1", "Sonus SBC", "AudioCodes-Mediant/7.20A", "Cisco-SIPGateway/IOS-16.9",
    "Cisco-CUCM12.5", "YATE/6.4.0", "SIPp", "sipsak 0.9.7", "friendly-scanner", "Twilio Gateway",
    "Ribbon SBC", "Patton SN4171", "AVM FRITZ!Box 7590", "Genesys SIP Server 8.1",
    "Avaya SIP Enablement Services", "Mitel-3300-ICP", "RTPengine",
]  # fmt: skip


@pytest.mark.parametrize("agent", PHONES)
def test_a_phone(agent: str) -> None:
    assert is_phone(agent)


@pytest.mark.parametrize("agent", NO_PHONES)
def test_no_phone(agent: str) -> None:
    assert not is_phone(agent)


def test_every_pattern_compiles_and_stands_once() -> None:
    text = (resources.files("sipwatch.outcomes") / "phones.toml").read_text(encoding="utf-8")
    patterns = [p for group in tomllib.loads(text).values() for p in group]
    assert len(patterns) == len(set(patterns)) > 40
    for pattern in patterns:
        assert re.compile(pattern, re.IGNORECASE).search("") is None
