"""A capture that is still being written, as a source that never stands still.

Another program (tcpdump -w) writes the file or the pipe. It is read in a thread of its own, so
that who follows can let time pass while nothing comes.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator

from sipwatch.capture.files import CaptureFiles
from sipwatch.capture.stats import CaptureError, CaptureStats
from sipwatch.net.types import Batch

#: How long nothing may come before time passes without it.
IDLE_SECONDS = 0.25
#: Batches read ahead of who follows.
_AHEAD = 16


class FollowedFile:
    """One growing file, or standard input with `-`.

    Raises `CaptureError` when it cannot be opened or is no capture.
    """

    def __init__(self, path: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stopped = threading.Event()
        self._files = CaptureFiles([path], grows=self._stopped)
        self._queue: queue.Queue[Batch | CaptureError | None] = queue.Queue(_AHEAD)
        self._clock = clock
        self._arrived = clock()
        self._last = 0.0

    def stop(self) -> None:
        """End the reading; what was read is still given out."""
        self._stopped.set()

    def stats(self) -> CaptureStats:
        """What was read so far and what was lost."""
        return self._files.stats()

    def now(self) -> float:
        """Time of the capture: that of the last packet, and what has passed since it came."""
        if not self._last:
            return 0.0
        return self._last + (self._clock() - self._arrived)

    def batches(self) -> Iterator[Batch]:
        """Batches as they come, and an empty one whenever nothing came for a quarter second."""
        threading.Thread(target=self._read, name="follow", daemon=True).start()
        while True:
            try:
                batch = self._queue.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                yield []
                continue
            if batch is None:
                return
            if isinstance(batch, CaptureError):
                raise batch
            last = self._files.stats().last_time
            if last is not None and last > self._last:
                self._last, self._arrived = last, self._clock()
            yield batch

    def _read(self) -> None:
        try:
            for batch in self._files.batches():
                if batch:
                    self._queue.put(batch)
        except CaptureError as error:
            self._queue.put(error)
        self._queue.put(None)
