"""Classic BPF: an assembler with labels, a disassembler, and the way onto a socket.

The kernel runs such a program on each packet before it is copied (``SO_ATTACH_FILTER``,
Documentation/networking/filter.rst of the kernel; McCanne and Jacobson, USENIX Winter 1993).
A program is at most 4096 instructions, jumps go forward only, and a conditional jump reaches
255 instructions; the assembler puts an unconditional jump in between where that is too short.
What the programs mean is not known here, see ``filters``.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

#: Longest program that the kernel takes (BPF_MAXINSNS).
MAXIMUM_LENGTH = 4096
#: Farthest forward target of a conditional jump.
_LONGEST_JUMP = 255

_SO_ATTACH_FILTER = 26

# Instruction codes, as linux/bpf_common.h composes them from class, size, mode and source.
LD_WORD = 0x20
LD_HALF = 0x28
LD_BYTE = 0x30
LD_HALF_X = 0x48
LD_BYTE_X = 0x50
LD_MEM = 0x60
LDX_CONSTANT = 0x01
ST = 0x02
ADD = 0x04
ADD_X = 0x0C
AND = 0x54
SHIFT_LEFT = 0x64
SHIFT_RIGHT = 0x74
JUMP = 0x05
IF_EQUAL = 0x15
IF_GREATER = 0x25
IF_AT_LEAST = 0x35
IF_ANY_BIT = 0x45
RETURN = 0x06
TAX = 0x07
TXA = 0x87

#: Loads at these absolute offsets read the packet's metadata (linux/filter.h, SKF_AD_OFF).
ANCILLARY = 0xFFFFF000
ANCILLARY_PROTOCOL = ANCILLARY + 0
ANCILLARY_PACKET_TYPE = ANCILLARY + 4
ANCILLARY_HARDWARE_TYPE = ANCILLARY + 28

_ANCILLARY_NAMES = {
    ANCILLARY_PROTOCOL: "proto",
    ANCILLARY_PACKET_TYPE: "pkttype",
    ANCILLARY_HARDWARE_TYPE: "hatype",
}

#: Mnemonic and operand of each code; the numbers are codes of other compilers.
_TEXT = {
    LD_WORD: ("ld", "[{k}]"),
    LD_HALF: ("ldh", "[{k}]"),
    LD_BYTE: ("ldb", "[{k}]"),
    0x40: ("ld", "[x + {k}]"),
    LD_HALF_X: ("ldh", "[x + {k}]"),
    LD_BYTE_X: ("ldb", "[x + {k}]"),
    LD_MEM: ("ld", "M[{k}]"),
    0x80: ("ld", "#pktlen"),
    0x14: ("sub", "#{k}"),
    0xB1: ("ldxb", "4*([{k}]&0xf)"),
    LDX_CONSTANT: ("ldx", "#{k:#x}"),
    ST: ("st", "M[{k}]"),
    ADD: ("add", "#{k}"),
    ADD_X: ("add", "x"),
    AND: ("and", "#{k:#x}"),
    SHIFT_LEFT: ("lsh", "#{k}"),
    SHIFT_RIGHT: ("rsh", "#{k}"),
    IF_EQUAL: ("jeq", "#{k:#x}"),
    IF_GREATER: ("jgt", "#{k:#x}"),
    IF_AT_LEAST: ("jge", "#{k:#x}"),
    IF_ANY_BIT: ("jset", "#{k:#x}"),
    RETURN: ("ret", "#{k}"),
    TAX: ("tax", ""),
    TXA: ("txa", ""),
}

_CONDITIONS = frozenset({IF_EQUAL, IF_GREATER, IF_AT_LEAST, IF_ANY_BIT})


class FilterTooLong(ValueError):
    """The program is longer than the kernel takes; ``length`` is in instructions."""

    def __init__(self, length: int) -> None:
        super().__init__(
            f"the packet filter has {length} instructions and the kernel takes {MAXIMUM_LENGTH}: "
            "name fewer ports, or ranges of ports"
        )
        self.length = length


class Instruction(NamedTuple):
    """One ``struct sock_filter``: jumps count from the next instruction."""

    code: int
    if_true: int
    if_false: int
    k: int


Program: TypeAlias = "tuple[Instruction, ...]"

#: A place in the program, known once it is assembled.
Label: TypeAlias = int


@dataclass(slots=True)
class _Step:
    """An instruction before its jumps are known; ``None`` as a target is the next step."""

    code: int
    k: int
    if_true: Label | None = None
    if_false: Label | None = None
    far_true: bool = False
    far_false: bool = False

    @property
    def size(self) -> int:
        return 1 + self.far_true + self.far_false


class Assembler:
    """Collects steps and labels and makes the program of them."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._places: dict[Label, int] = {}
        self._labels = 0

    def label(self) -> Label:
        """Returns a new label, to be placed later."""
        self._labels += 1
        return self._labels

    def place(self, label: Label) -> None:
        """Let ``label`` stand for the next step."""
        self._places[label] = len(self._steps)

    def emit(self, code: int, k: int = 0) -> None:
        """Add a step that does not jump."""
        self._steps.append(_Step(code, k))

    def jump(self, target: Label) -> None:
        """Add an unconditional jump."""
        self._steps.append(_Step(JUMP, 0, if_true=target))

    def branch(
        self, code: int, k: int, if_true: Label | None = None, if_false: Label | None = None
    ) -> None:
        """Add a conditional jump on the accumulator; a target of ``None`` is the next step."""
        self._steps.append(_Step(code, k, if_true, if_false))

    def assemble(self) -> Program:
        """Returns the program.

        Raises ``FilterTooLong``, and ``ValueError`` for a jump that goes backward or to a label
        that was never placed.
        """
        starts = self._lay_out()
        program: list[Instruction] = []
        for index, step in enumerate(self._steps):
            program += self._instructions(step, starts[index], starts)
        if len(program) > MAXIMUM_LENGTH:
            raise FilterTooLong(len(program))
        return tuple(program)

    def _lay_out(self) -> list[int]:
        """Widen the jumps that are too short until none is; returns where each step starts."""
        while True:
            starts = [0]
            for step in self._steps:
                starts.append(starts[-1] + step.size)
            widened = False
            for index, step in enumerate(self._steps):
                if step.code not in _CONDITIONS:
                    continue
                after = starts[index] + 1
                if not step.far_true and self._is_far(step.if_true, after, starts):
                    step.far_true = widened = True
                if not step.far_false and self._is_far(step.if_false, after, starts):
                    step.far_false = widened = True
            if not widened:
                return starts

    def _is_far(self, target: Label | None, after: int, starts: list[int]) -> bool:
        return target is not None and self._distance(target, after, starts) > _LONGEST_JUMP

    def _distance(self, target: Label, after: int, starts: list[int]) -> int:
        place = self._places.get(target)
        if place is None:
            raise ValueError("a jump goes to a label that was never placed")
        distance = starts[place] - after
        if distance < 0:
            raise ValueError("a jump goes backward, which the kernel refuses")
        return distance

    def _instructions(self, step: _Step, start: int, starts: list[int]) -> list[Instruction]:
        if step.code == JUMP:
            assert step.if_true is not None
            return [Instruction(JUMP, 0, 0, self._distance(step.if_true, start + 1, starts))]
        if step.code not in _CONDITIONS:
            return [Instruction(step.code, 0, 0, step.k)]
        beyond = step.size - 1
        offsets = []
        relays: list[Instruction] = []
        for target, far in ((step.if_true, step.far_true), (step.if_false, step.far_false)):
            if target is None:
                offsets.append(beyond)
            elif far:
                offsets.append(len(relays))
                after_relay = start + len(relays) + 2
                relays.append(Instruction(JUMP, 0, 0, self._distance(target, after_relay, starts)))
            else:
                offsets.append(self._distance(target, start + 1, starts))
        return [Instruction(step.code, offsets[0], offsets[1], step.k), *relays]


#: Lets nothing through.
REJECT_ALL: Program = (Instruction(RETURN, 0, 0, 0),)


def disassemble(program: Program) -> str:
    """Returns one line for each instruction, in the form that ``tcpdump -d`` prints."""
    return "\n".join(
        f"({index:03d}) {_instruction_text(index, instruction)}"
        for index, instruction in enumerate(program)
    )


def _instruction_text(index: int, instruction: Instruction) -> str:
    code, if_true, if_false, k = instruction
    if code == JUMP:
        return f"ja       {index + 1 + k}"
    name, operand = _TEXT.get(code, (f"?{code:#04x}", "#{k:#x}"))
    shown = f"#{_ANCILLARY_NAMES[k]}" if k in _ANCILLARY_NAMES else operand.format(k=k)
    if code in _CONDITIONS:
        return f"{name:8} {shown:16} jt {index + 1 + if_true}\tjf {index + 1 + if_false}"
    return f"{name:8} {shown}".rstrip()


def attach(sock: socket.socket, program: Program) -> None:
    """Make the kernel run ``program`` on what ``sock`` receives from now on.

    It replaces the program that was there, with no moment without one. Raises ``OSError`` when
    the kernel refuses the program.
    """
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    sock.setsockopt(
        socket.SOL_SOCKET,
        _SO_ATTACH_FILTER,
        struct.pack("HP", len(program), ctypes.addressof(buffer)),
    )
