"""The calls of `tests/sinks/call_flows.py` are used here too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "sinks"))
