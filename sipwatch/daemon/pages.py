"""The landing page: what runs, whether it is well, and where the rest is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

from sipwatch import __version__


@dataclass(frozen=True, slots=True)
class Condition:
    """How the daemon is doing, as of the last second; replaced as a whole."""

    #: Why it is not ready yet or any more; empty when it is.
    not_ready: str = "starting"
    #: Monotonic seconds of the last turn of the capture loop.
    alive_at: float = 0.0
    interfaces: Mapping[str, str] = field(default_factory=dict)
    in_progress: int = 0
    dialogs: int = 0
    #: Problems that hold now, each with what to do.
    problems: Mapping[str, str] = field(default_factory=dict)


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>sipwatch</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 44rem;
  padding: 0 1rem; color: #1c1c1c; background: #fff; }}
dt {{ font-weight: 600; }} dd {{ margin: 0 0 .6rem 0; }}
.problem {{ border-left: .3rem solid #b3261e; padding-left: .8rem; }}
@media (prefers-color-scheme: dark) {{ body {{ color: #e6e6e6; background: #161616; }}
  a {{ color: #8ab4f8; }} }}
</style>
</head>
<body>
<h1>sipwatch</h1>
<p>Version {version}. {summary}</p>
{problems}
<dl>
<dt>Interfaces</dt><dd>{interfaces}</dd>
<dt>In progress</dt><dd>{in_progress} call attempts, {dialogs} conversations</dd>
</dl>
<ul>
<li><a href="metrics">Metrics</a></li>
<li><a href="-/healthy">Healthy</a></li>
<li><a href="-/ready">Ready</a></li>
</ul>
</body>
</html>
"""


def landing_page(condition: Condition) -> str:
    """The page as HTML."""
    problems = "".join(
        f'<p class="problem"><strong>{escape(kind.replace("_", " "))}</strong>: {escape(text)}.</p>'
        for kind, text in condition.problems.items()
    )
    interfaces = ", ".join(
        f"{escape(name)} ({escape(state)})" for name, state in condition.interfaces.items()
    )
    return _PAGE.format(
        version=escape(__version__),
        summary=escape(f"Not ready: {condition.not_ready}." if condition.not_ready else "Running."),
        problems=problems,
        interfaces=interfaces or "none yet",
        in_progress=condition.in_progress,
        dialogs=condition.dialogs,
    )
