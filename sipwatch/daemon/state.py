"""What survives a restart: learned ring timers, and what was in progress.

One small JSON file beside the records, replaced as a whole, written by a thread of its own. A
file that cannot be read is said and set aside: a daemon that does not start helps nobody.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

_log = logging.getLogger(__name__)

FILE_NAME = "state.json"
_VERSION = 1
_LARGEST_FILE = 64 << 20
_ADDRESS, _NAME = "address", "name"

Timers = dict[Hashable, list[float]]


@dataclass(slots=True)
class State:
    """What a daemon leaves for the next one."""

    #: Epoch seconds; 0 when there was no run before.
    saved_at: float = 0.0
    #: Attempts and conversations that were in progress.
    attempts: int = 0
    dialogs: int = 0
    #: Whether it had finished them before it ended.
    finished: bool = True
    #: As `RingTimers.state` gives them.
    ring_timers: Timers = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps(
            {
                "version": _VERSION,
                "saved_at": self.saved_at,
                "in_progress": {"attempts": self.attempts, "dialogs": self.dialogs},
                "finished": self.finished,
                "ring_timers": [
                    [*_plain(sender), gaps]
                    for sender, gaps in self.ring_timers.items()
                    if isinstance(sender, tuple)
                ],
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> State:
        """Reads the text of the file. Raises ValueError for anything that is not one."""
        try:
            data = json.loads(text)
            if data["version"] != _VERSION:
                raise ValueError("written by another version")
            progress = data["in_progress"]
            return cls(
                float(data["saved_at"]),
                int(progress["attempts"]),
                int(progress["dialogs"]),
                bool(data["finished"]),
                dict(_timer(entry) for entry in data["ring_timers"]),
            )
        except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise ValueError(f"not a state file ({type(error).__name__})") from None


def _plain(sender: tuple[Any, ...]) -> tuple[str, str, str]:
    """Kind of timer, kind of sender, sender."""
    kind, who = sender
    return (kind, _ADDRESS, who.hex()) if isinstance(who, bytes) else (kind, _NAME, str(who))


def _timer(entry: list[Any]) -> tuple[Hashable, list[float]]:
    kind, what, who, gaps = entry
    sender = bytes.fromhex(who) if what == _ADDRESS else str(who)
    return (str(kind), sender), [float(gap) for gap in gaps]


def load_state(directory: str) -> State:
    """What the last run left; an empty state where there is nothing to be read."""
    path = os.path.join(directory, FILE_NAME)
    try:
        with open(path, encoding="utf-8") as file:
            return State.from_json(file.read(_LARGEST_FILE))
    except FileNotFoundError:
        return State()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        _log.warning("learned ring timers are not taken up: %s: %s", path, why)
        return State()


class StateKeeper:
    """Writes the newest state; a slow disk holds up only its own thread."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, FILE_NAME)
        self._newest: State | None = None
        self._wake = threading.Event()
        self._stopping = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="state", daemon=True)

    def start(self) -> None:
        """Begins to write what is given."""
        self._thread.start()

    def keep(self, state: State) -> None:
        """To be written soon; never waits."""
        self._newest = state
        self._wake.set()

    def stop(self, seconds: float) -> None:
        """Writes what was given last and ends, within so many seconds at most."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait()
            self._wake.clear()
            state, self._newest = self._newest, None
            if state is not None:
                self._write(state)

    def _write(self, state: State) -> None:
        temporary = self._path + ".new"
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o750, exist_ok=True)
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(state.to_json())
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
        except OSError as error:
            if not self._failing:
                self._failing = True
                _log.error(
                    "the state for the next start cannot be kept: %s: %s",
                    self._path,
                    error.strerror,
                )
        else:
            self._failing = False
