"""The scenarios and the namespaces of the tests beside this folder."""

from __future__ import annotations

import sys
from pathlib import Path

for _folder in ("scenarios", "capture"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / _folder))
