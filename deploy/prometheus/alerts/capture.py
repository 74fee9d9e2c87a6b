"""Whether the numbers can be trusted: what the daemon hears, and what it misses."""

from __future__ import annotations

from collections.abc import Iterator

from alerts.model import HOST, Alert, increase, numbered
from sipwatch.daemon.watch import PROBLEMS


def capture() -> Iterator[Alert]:
    """What keeps the numbers from meaning what they should."""
    yield Alert(
        "SipwatchDown",
        'up{job="sipwatch"} == 0',
        "page",
        "sipwatch at {{ $labels.instance }} cannot be scraped",
        "Prometheus has had no answer from {{ $labels.instance }} for two minutes: whatever "
        "happens to calls there goes unseen.",
        numbered(
            "`systemctl status sipwatch` and `journalctl -u sipwatch -n 50` on the host: the last "
            "lines say what to do.",
            "Running, but unreachable: `curl http://127.0.0.1:9742/-/healthy` there; then the "
            "listen address, IPAddressAllow= of the unit, the firewall, the password.",
            "`sipwatch doctor` looks at everything that the daemon needs.",
        ),
        wait="2m",
    )
    yield Alert(
        "SipwatchAbsent",
        'absent(up{job="sipwatch"})',
        "ticket",
        "No sipwatch is scraped at all",
        'Prometheus has no target with job="sipwatch": alerts about calls cannot fire.',
        numbered("Look at the scrape configuration and at the page Targets of Prometheus."),
        wait="10m",
    )
    silent = 'sipwatch_problem{kind="no_traffic"} == 1\nand on (job, instance)\n'
    packets = "sum by (job, instance) (sipwatch_capture_packets_total)"
    yield _problem(
        "SipwatchNoTraffic",
        "no_traffic",
        "page",
        "Nothing passes any more at {{ $labels.instance }}",
        "Is the PBX itself running and reachable? Place a call.",
        "If it is: `sipwatch doctor --trial 10`; the interface, a changed port, or a mirror port "
        "that was switched off.",
        expr=f"{silent}{packets} > 0",
        wait="5m",
    )
    yield _problem(
        "SipwatchNeverTraffic",
        "no_traffic",
        "ticket",
        "Nothing was ever heard at {{ $labels.instance }}",
        "`sipwatch doctor --trial 10` on the host: it captures and says what it heard.",
        "Compare `interfaces` and `ports` in sipwatch.toml with `ss -lunp` and `ip -br link`; a "
        "container needs the host's network.",
        expr=f"{silent}{packets} == 0",
        wait="15m",
    )
    yield _problem(
        "SipwatchNoSip",
        "no_sip",
        "ticket",
        "Packets, but no SIP at {{ $labels.instance }}",
        "`sipwatch doctor --trial 10`: what is on these ports?",
        "A tunnel (VXLAN, GRE, HEP) must be named with `--tunnel`.",
        wait="10m",
    )
    yield _problem(
        "SipwatchOneDirection",
        "one_direction",
        "ticket",
        "Only one direction is seen at {{ $labels.instance }}",
        "Mirror both directions of the port (SPAN rx and tx).",
        "On the PBX itself: several interfaces carry the traffic; capture on `any`.",
        wait="5m",
    )
    yield _problem(
        "SipwatchEncryptedOnly",
        "encrypted_only",
        "ticket",
        "All SIP at {{ $labels.instance }} is encrypted",
        "Let the PBX send HEP: `res_hep` (Asterisk), `capture-server` (FreeSWITCH), siptrace "
        "(Kamailio), and listen for it: `hep.listen` in sipwatch.toml.",
        wait="10m",
    )
    yield Alert(
        "SipwatchDrops",
        _drop_share("5m") + "\n> 0.001",
        "ticket",
        "{{ $value | humanizePercentage }} of the packets are lost at {{ $labels.instance }}",
        "{{ $value | humanizePercentage }} of the packets of the last 5m were lost before they "
        "could be read (interface {{ $labels.interface }}): " + PROBLEMS["drops"] + ".",
        numbered(*_DROP_STEPS),
        wait="5m",
        linger="10m",
    )
    yield Alert(
        "SipwatchDropsMany",
        _drop_share("5m") + "\n> 0.05",
        "page",
        "{{ $value | humanizePercentage }} of the packets are lost at {{ $labels.instance }}",
        "So many packets are lost (interface {{ $labels.interface }}) that outcomes of "
        "{{ $labels.instance }} mean nothing.",
        numbered(*_DROP_STEPS),
        wait="5m",
        linger="10m",
    )
    yield _problem(
        "SipwatchInterfaceDown",
        "interface_down",
        "page",
        "An interface cannot be listened on at {{ $labels.instance }}",
        "`ip -br link` and `journalctl -u sipwatch`: down, gone, or renamed? It is taken up again "
        "by itself as soon as it is back.",
        wait="2m",
    )
    yield _problem(
        "SipwatchSnapped",
        "snapped",
        "ticket",
        "Packets are cut at {{ $labels.instance }}",
        "Raise the snap length of what sends them here (mirror, tunnel, HEP agent).",
        wait="10m",
    )
    yield Alert(
        "SipwatchLag",
        "sipwatch_processing_lag_seconds > 2",
        "ticket",
        "Packets are judged {{ $value | humanizeDuration }} late at {{ $labels.instance }}",
        PROBLEMS["lag"].capitalize() + ".",
        numbered(
            "`top` on the host: who takes the processor? The unit's CPUWeight= gives the PBX "
            "precedence over sipwatch.",
            "Narrow what is captured: only the interfaces and ports that carry SIP.",
        ),
        wait="5m",
        linger="5m",
    )
    yield Alert(
        "SipwatchIncomplete",
        increase('outcome="incomplete"', "30m", HOST)
        + "\n/\n"
        + increase('outcome!="in_progress"', "30m", HOST)
        + "\n>= 0.05\nand\n"
        + increase('outcome!="in_progress"', "30m", HOST)
        + "\n>= 40",
        "ticket",
        "{{ $value | humanizePercentage }} of the attempts cannot be judged",
        "Of {{ $value | humanizePercentage }} of the attempts of the last 30m too little was seen "
        "at {{ $labels.instance }} to say what became of them.",
        numbered(
            "Other alerts of this host say why: drops, one direction, snapped packets.",
            "None of them: part of the signalling takes another way (a second interface, an SBC).",
        ),
        wait="5m",
        linger="10m",
    )


_DROP_STEPS = (
    "where=ring: make the ring larger (`--ring 64`), and see whether the host has processor time "
    "to spare.",
    "where=interface: the network card or a mirror port that carries more than its line; "
    "`ethtool -S` and the switch's counters.",
)


def _drop_share(window: str) -> str:
    drops = f"sum by (job, instance, interface) (rate(sipwatch_capture_drops_total[{window}]))"
    packets = f"sum by (job, instance, interface) (rate(sipwatch_capture_packets_total[{window}]))"
    return f"{drops}\n/\n(\n  (\n    {drops}\n    + {packets}\n  ) > 0\n)"


def _problem(
    name: str, kind: str, severity: str, summary: str, *steps: str, wait: str, expr: str = ""
) -> Alert:
    """What the daemon itself has noticed."""
    return Alert(
        name,
        expr or f'sipwatch_problem{{kind="{kind}"}} == 1',
        severity,
        summary,
        f"{{{{ $labels.instance }}}} says: {PROBLEMS[kind]}.",
        numbered(*steps),
        wait=wait,
        linger="5m",
    )
