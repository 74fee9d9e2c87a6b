"""Phones, carriers and callers of the recordings: they play what the plan says and log it.

    party.py PLAN LOG

The plan (JSON) names the hosts (addresses on which phones and carriers wait, each with the
behaviours it plays for one INVITE after the other, or by the number called) and the calls that
are made from them. The log (JSON) holds one entry for each INVITE received or sent, with the
behaviour and the moments at which something happened, in epoch seconds.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

from host import MEDIA_PORT, Host
from legs import Fields


class World:
    """All hosts of a plan, its calls in time, and the log."""

    def __init__(self, plan: Fields):
        self.plan, self.pbx, self.seed = plan, plan["pbx"], str(plan.get("seed", ""))
        self.legs: list[Fields] = []
        self.hosts: dict[tuple[str, str, int], Host] = {}
        self.media: list[asyncio.BaseTransport] = []

    def entry(self, role: str, host: Host, behaviour: Fields) -> Fields:
        entry = {
            "role": role,
            "user": host.user,
            "address": host.address,
            "port": host.port,
            "behaviour": behaviour,
            "number": len(self.legs),
        }
        self.legs.append(entry)
        return entry

    def behaviour(self, host: Host, called: str) -> Fields:
        """What a host does with its next INVITE."""
        by_number = self.plan.get("numbers", {}).get(called)
        if by_number is not None and not host.plan.get("own"):
            return dict(by_number)
        script = host.plan.get("behaviours", [])
        number, host.count = host.count, host.count + 1
        if number < len(script):
            return dict(script[number])
        if "mix" in host.plan:
            return self.draw(host, host.plan["mix"])
        return dict(host.plan.get("default") or (script[-1] if script else {"ring": 0.05}))

    @staticmethod
    def draw(host: Host, mix: list[list[Any]]) -> Fields:
        """A behaviour by weight; a pair of numbers for a moment is drawn between them."""
        weights = [weight for weight, _ in mix]
        chosen = host.rng.choices([behaviour for _, behaviour in mix], weights)[0]
        return {key: _between(host.rng, value) for key, value in chosen.items()}

    async def play(self) -> None:
        loop = asyncio.get_running_loop()
        for plan in self.plan["hosts"]:
            host = Host(self, plan)
            await host.open()
            self.hosts[host.user, host.address, host.port] = host
        for address in sorted({host.address for host in self.hosts.values()}):
            made = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, local_addr=(address, MEDIA_PORT)
            )
            self.media.append(made[0])
        start = loop.time() + 0.1
        for plan in self.plan.get("events", []):
            loop.call_at(start + plan["at"], self.happen, plan)
        for plan in self.plan["calls"]:
            loop.call_at(start + plan["at"], self.call, plan)
        await asyncio.sleep(self.plan["length"])

    def find(self, plan: Fields) -> Host:
        for host in self.hosts.values():
            same = host.user == plan.get("host", host.user) and host.address == plan.get(
                "address", host.address
            )
            if same and host.port == plan.get("port", host.port):
                return host
        raise SystemExit(f"no such host: {plan}")

    def call(self, plan: Fields) -> None:
        self.find(plan).call(plan)

    def happen(self, plan: Fields) -> None:
        """Something that is no call: a registration, a phone that dies or comes back."""
        host = self.find(plan)
        match plan["what"]:
            case "register":
                host.register(plan["expires"], plan.get("again", True))
            case "dies":
                host.silent = True
            case "revives":
                host.silent = False
            case "closes":
                host.silent = True
                if host.transport:
                    host.transport.close()


def _between(rng: random.Random, value: Any) -> Any:
    match value:
        case {"from": low, "to": high}:
            return round(rng.uniform(low, high), 3)
        case list():
            return [_between(rng, part) for part in value]
    return value


def main(plan: str, log: str) -> None:
    world = World(json.loads(Path(plan).read_text()))
    try:
        asyncio.run(world.play())
    finally:
        Path(log).write_text(json.dumps(world.legs))


if __name__ == "__main__":
    main(*sys.argv[1:])
