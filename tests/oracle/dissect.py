"""Prints the SIP messages of one capture as pyshark sees them, a JSON list a line.

    python dissect.py CAPTURE [--only FILTER] [--decode-as SELECTOR,PROTOCOL]...

A program of its own, because pyshark leaves its event loop's signal handlers to whoever runs it.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import astuple
from pathlib import Path

import pyshark
from pyshark.capture.capture import TSharkCrashException

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))
from peers.wireshark import LAYERS, PREFERENCES, narrowed, of_packet


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("capture")
    parser.add_argument("--only", default="")
    parser.add_argument("--decode-as", action="append", default=[])
    wanted = parser.parse_args()
    reader = pyshark.FileCapture(
        wanted.capture,
        use_ek=True,
        keep_packets=False,
        display_filter=narrowed(wanted.only),
        decode_as=dict(rule.split(",") for rule in wanted.decode_as),
        override_prefs=PREFERENCES,
        custom_parameters=["-n", "-J", LAYERS],
    )
    try:
        for packet in reader:
            # Where a layer occurs several times its fields are a list of tables, for which
            # pyshark has no public name.
            layers = {layer.layer_name: layer._fields_dict for layer in packet.layers}
            layers["frame"] = packet.frame_info._fields_dict
            for message in of_packet(layers):
                print(json.dumps(astuple(message)))
        reader.close()
    except TSharkCrashException as error:
        # What could be read has been printed.
        if "cut short" not in str(error):
            raise


if __name__ == "__main__":
    main()
