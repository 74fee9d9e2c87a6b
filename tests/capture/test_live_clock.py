"""Time of packets when somebody sets the clock."""

from __future__ import annotations

import mmap
import struct

import pytest
from live_frames import sip_frame

from sipwatch.capture.blocks import BlockReader, Origin
from sipwatch.capture.clock import PacketClock
from sipwatch.net.frames import FrameDecoder
from sipwatch.net.types import Batch


class Clocks:
    """A wall clock that can be set, and a counter that cannot."""

    def __init__(self) -> None:
        self.counter = 1000.0
        self.offset = 1_700_000_000.0

    def wall(self) -> float:
        return self.counter + self.offset

    def count(self) -> float:
        return self.counter

    def packet_clock(self) -> PacketClock:
        return PacketClock(self.wall, self.count)


def block(stamps: list[float]) -> mmap.mmap:
    """A block of a TPACKET_V3 ring as linux/if_packet.h lays it out, one packet a stamp."""
    memory = mmap.mmap(-1, 1 << 16)
    struct.pack_into("=IIIII", memory, 0, 1, 0, 1, len(stamps), 48)
    position = 48
    for number, stamp in enumerate(stamps):
        frame = sip_frame(number)
        size = (66 + 16 + len(frame) + 15) & ~15
        seconds = int(stamp)
        struct.pack_into(
            "=IIIIIIHH",
            memory,
            position,
            size,
            seconds,
            round((stamp - seconds) * 1e9),
            len(frame),
            len(frame),
            1,
            82,
            96,
        )
        memory[position + 82 : position + 82 + len(frame)] = frame
        position += size
    return memory


def times(clock: PacketClock, stamps: list[float]) -> list[float]:
    reader = BlockReader(FrameDecoder(), Origin("eth0", 1600), {}, clock, cooked=False)
    found: Batch = []
    reader.read(block(stamps), 0, found)
    return [item.time for item in found]


def test_times_are_the_stamps_as_long_as_nobody_sets_the_clock() -> None:
    clocks = Clocks()
    clock = clocks.packet_clock()
    for _ in range(5):
        clocks.counter += 10
        # NTP slows the clock down a little.
        clocks.offset -= 0.005
        assert clock.look() is None
        assert times(clock, [clocks.wall()]) == [pytest.approx(clocks.wall(), abs=1e-6)]
        assert clock.now() == pytest.approx(clocks.wall())


@pytest.mark.parametrize("step", [3600.0, -3600.0, 0.7, -0.7, 1e9])
def test_time_goes_on_over_a_step(step: float) -> None:
    clocks = Clocks()
    clock = clocks.packet_clock()
    before = clocks.wall()
    clocks.counter += 1
    clocks.offset += step
    assert clock.look() == pytest.approx(step)
    # In one block: stamped before the step, and after it.
    stamps = [before + 0.9, before + 0.95, clocks.wall() + 0.01]
    assert times(clock, stamps) == [
        pytest.approx(before + 0.9, abs=1e-4),
        pytest.approx(before + 0.95, abs=1e-4),
        pytest.approx(before + 1.01, abs=1e-4),
    ]
    assert clock.now() == pytest.approx(before + 1)
    # Long after it only the new clock counts, however late a packet is.
    clocks.counter += 10
    assert clock.look() is None
    [time] = times(clock, [clocks.wall() - 3])
    assert time == pytest.approx(before + 11 - 3, abs=0.1)


def test_two_steps_add_up() -> None:
    clocks = Clocks()
    clock = clocks.packet_clock()
    before = clocks.wall()
    for step in (100.0, -30.0):
        clocks.counter += 5
        clocks.offset += step
        clock.look()
    assert clock.now() == pytest.approx(before + 10, abs=0.1)
    assert clock.shift == pytest.approx(-70, abs=0.1)


def test_the_shift_wears_off_slowly() -> None:
    clocks = Clocks()
    clock = clocks.packet_clock()
    clocks.offset += 1.0
    clock.look()
    shifts = []
    for _ in range(300):
        clocks.counter += 1
        clock.look()
        shifts.append(clock.shift)
    changes = [after - before for before, after in zip([-1.0, *shifts], shifts, strict=False)]
    assert all(0 <= change <= 0.005 + 1e-9 for change in changes)
    assert shifts[-1] == 0
    assert clock.now() == pytest.approx(clocks.wall())


def test_settled_at_once_when_nothing_runs() -> None:
    clocks = Clocks()
    clock = clocks.packet_clock()
    clocks.offset += 3600
    clock.look()
    clock.settle()
    assert clock.shift == 0
    assert times(clock, [clocks.wall()]) == [pytest.approx(clocks.wall(), abs=1e-6)]


def test_a_reading_that_was_interrupted_is_taken_again() -> None:
    """The process is stopped for 5 seconds between the two clocks: that is no step."""
    clocks = Clocks()
    clock = clocks.packet_clock()
    stops = iter([5.0])

    def wall() -> float:
        read = clocks.wall()
        clocks.counter += next(stops, 0.0)
        return read

    clock._wall = wall
    assert clock.look() is None
    assert clock.shift == 0
    assert clock.now() == pytest.approx(clocks.wall())
