"""Who registers where: the part of the devices' history that the rules ask for (11c, 404)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from sipwatch.sip import grammar
from sipwatch.sip.message import Message
from sipwatch.sip.uri import parse_uri

_MOST = 100_000
_Key = TypeVar("_Key")


class Registrations:
    """Addresses that sent REGISTERs, and which registrar answered which user; bounded."""

    def __init__(self) -> None:
        self._registering: OrderedDict[bytes, None] = OrderedDict()
        self._served: OrderedDict[tuple[bytes, str], None] = OrderedDict()

    def request(self, source: bytes) -> None:
        """A REGISTER came from this address."""
        _remember(self._registering, source)

    def accepted(self, registrar: bytes, message: Message) -> None:
        """The registrar at this address sent this 2xx to a REGISTER."""
        value = message.header("to")
        if value is not None:
            user = parse_uri(grammar.parse_name_addr(value).uri).user
            _remember(self._served, (registrar, user))

    def registers(self, address: bytes) -> bool:
        """Whether REGISTERs came from this address."""
        return address in self._registering

    def registrar_of(self, address: bytes, user: str) -> bool:
        """Whether the host at this address answered this user's REGISTERs."""
        return (address, user) in self._served


def _remember(table: OrderedDict[_Key, None], key: _Key) -> None:
    if key in table:
        table.move_to_end(key)
        return
    if len(table) >= _MOST:
        table.popitem(last=False)
    table[key] = None
