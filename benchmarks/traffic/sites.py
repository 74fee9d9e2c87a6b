"""The networks that the invented captures see: three sites, their PBXs, carriers and phones."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace

from traffic.frames import Endpoint
from traffic.leg import PROXY, Party
from traffic.styles import ASTERISK, FREESWITCH, PHONE, SWITCH

_PHONES = 250
_DEAD_PHONES = 60
_MODELS = (
    "Yealink SIP-T46U 108.86.0.90",
    "Grandstream GXP2170 1.0.11.57",
    "snomD785/10.1.152.12",
    "PolycomVVX-VVX_411-UA/6.4.3.5814",
    "Cisco/SPA525G-7.6.2f",
    "MicroSIP/3.21.3",
    "Fanvil X6U 2.12.1.4",
)


@dataclass(slots=True)
class Site:
    """One PBX or proxy with its carrier and its phones."""

    name: str
    pbx: Party
    trunk: Party
    phones: list[Party]
    #: Phones that are registered nowhere and answer nothing.
    dead: deque[Party]
    _idle: deque[tuple[float, Party]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._idle.extend((float("-inf"), phone) for phone in self.phones)

    def take_phone(self, now: float) -> Party:
        """The phone that was idle longest; the call that takes it gives it back."""
        free_from, phone = self._idle.popleft()
        if free_from > now:
            raise ValueError(f"{self.name}: all {len(self.phones)} phones are in calls")
        return phone

    def give_back(self, phone: Party, free_from: float) -> None:
        self._idle.append((free_from, phone))

    def take_dead_phone(self) -> Party:
        self.dead.rotate(1)
        return self.dead[0]


def sites() -> list[Site]:
    """Fresh sites: a B2BUA Asterisk, a B2BUA FreeSWITCH and a Kamailio proxy."""
    return [
        _site("asterisk", 9, Party(Endpoint("10.9.0.1", 5060), ASTERISK, "Asterisk PBX 22.4.1")),
        _site(
            "freeswitch",
            12,
            Party(
                Endpoint("10.12.0.1", 5060),
                FREESWITCH,
                "FreeSWITCH-mod_sofia/1.10.12-release~64bit",
            ),
        ),
        _site("kamailio", 14, replace(PROXY, endpoint=Endpoint("10.14.0.1", 5060))),
    ]


def edge_site() -> Site:
    """A site for the calls that the edges of a capture cut: its phones are in no other call."""
    return _site("asterisk", 16, Party(Endpoint("10.16.0.1", 5060), ASTERISK, "Asterisk PBX 18.9"))


class MediaPorts:
    """Gives out RTP endpoints: even ports, one after the other at each address."""

    _FIRST, _PAIRS = 10000, 25000

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()

    def take(self, party: Party) -> Endpoint:
        ip = party.endpoint.ip
        self._given[ip] += 1
        return Endpoint(ip, self._FIRST + 2 * (self._given[ip] % self._PAIRS))


def _site(name: str, network: int, pbx: Party) -> Site:
    trunk = Party(
        Endpoint(f"203.0.113.{network * 10}", 5060),
        SWITCH,
        "SBC-Core 9.3 (build 2217)",
        relay=True,
        behind=(f"198.51.100.{network}", f"192.0.2.{network}"),
    )
    phones = [_phone(network, number) for number in range(_PHONES + _DEAD_PHONES)]
    return Site(name, pbx, trunk, phones[:_PHONES], deque(phones[_PHONES:]))


def _phone(network: int, number: int) -> Party:
    host = number + 11
    return Party(
        Endpoint(f"10.{network}.{1 + host // 250}.{host % 250 + 1}", 5060),
        PHONE,
        _MODELS[number % len(_MODELS)],
        user=str(1000 + number),
    )
