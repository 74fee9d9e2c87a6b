"""The assembler against the kernel and against tcpdump's own programs."""

from __future__ import annotations

import socket
import subprocess

import bpf_interpreter
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipwatch.capture import bpf
from sipwatch.capture.bpf import Assembler, Instruction


def kernel_verdicts(program: bpf.Program, packets: list[bytes]) -> list[int]:
    """Bytes that the kernel lets through of each packet, 0 for those that it drops."""
    sending, receiving = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sending, receiving:
        bpf.attach(receiving, program)
        receiving.setblocking(False)
        verdicts = []
        for packet in packets:
            sending.send(packet)
            try:
                verdicts.append(len(receiving.recv(1 << 16)))
            except BlockingIOError:
                verdicts.append(0)
    return verdicts


def far(filler: int, first_byte: int) -> bpf.Program:
    """Keeps 1 byte when the first byte is as given, 2 when not, with ``filler`` in between."""
    out = Assembler()
    yes, no = out.label(), out.label()
    out.emit(bpf.LD_BYTE, 0)
    out.branch(bpf.IF_EQUAL, first_byte, if_true=yes, if_false=no)
    for _ in range(filler):
        out.emit(bpf.RETURN, 3)
    out.place(no)
    out.emit(bpf.RETURN, 2)
    out.place(yes)
    out.emit(bpf.RETURN, 1)
    return out.assemble()


@pytest.mark.parametrize("filler", [0, 1, 253, 254, 255, 256, 257, 1000, 4000])
def test_jumps_of_any_length(filler: int) -> None:
    program = far(filler, 0x41)
    packets = [b"AAAA", b"BBBB"]
    assert [bpf_interpreter.run(program, packet) for packet in packets] == [1, 2]
    assert kernel_verdicts(program, packets) == [1, 2]


def test_next_step_as_a_target_beside_a_far_one() -> None:
    out = Assembler()
    yes = out.label()
    out.emit(bpf.LD_BYTE, 0)
    out.branch(bpf.IF_AT_LEAST, 0x41, if_true=yes)
    out.emit(bpf.RETURN, 2)
    for _ in range(300):
        out.emit(bpf.RETURN, 3)
    out.place(yes)
    out.emit(bpf.RETURN, 1)
    assert kernel_verdicts(out.assemble(), [b"@@@@", b"AAAA", b"ZZZZ"]) == [2, 1, 1]


def test_widening_one_jump_can_make_another_too_short() -> None:
    out = Assembler()
    middle, end = out.label(), out.label()
    out.emit(bpf.LD_BYTE, 0)
    out.branch(bpf.IF_EQUAL, 1, if_true=middle)
    out.branch(bpf.IF_EQUAL, 2, if_true=end)
    for _ in range(254):
        out.emit(bpf.RETURN, 3)
    out.place(middle)
    out.emit(bpf.RETURN, 4)
    out.place(end)
    out.emit(bpf.RETURN, 2)
    program = out.assemble()
    assert kernel_verdicts(program, [b"\1aaa", b"\2aaa", b"\3aaa"]) == [4, 2, 3]


def test_too_long_is_said() -> None:
    out = Assembler()
    for _ in range(bpf.MAXIMUM_LENGTH + 1):
        out.emit(bpf.RETURN, 0)
    with pytest.raises(bpf.FilterTooLong, match="4097 instructions and the kernel takes 4096"):
        out.assemble()


def test_backward_and_missing_labels_are_refused() -> None:
    out = Assembler()
    label = out.label()
    out.place(label)
    out.emit(bpf.LD_BYTE, 0)
    out.jump(label)
    with pytest.raises(ValueError, match="backward"):
        out.assemble()
    out = Assembler()
    out.branch(bpf.IF_EQUAL, 1, if_true=out.label())
    with pytest.raises(ValueError, match="never placed"):
        out.assemble()


@pytest.mark.parametrize(
    "expression",
    [
        "udp port 5060",
        "tcp portrange 5060-5080 or icmp",
        "ip6 or arp or greater 100",
        "vlan and host 10.0.0.1",
        "ip[6:2] & 0x1fff != 0 and (ip[2:2] - 20) > 64",
        "net 10.0.0.0/8 and not port 22",
    ],
)
def test_text_is_that_of_tcpdump(expression: str) -> None:
    def compiled(option: str) -> str:
        return subprocess.run(
            ["tcpdump", option, "-y", "EN10MB", expression],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        ).stdout

    numbers = [list(map(int, line.split())) for line in compiled("-ddd").splitlines()[1:]]
    program = tuple(Instruction(*line) for line in numbers)
    wanted = [line.rstrip() for line in compiled("-d").splitlines()]
    assert [line.rstrip() for line in bpf.disassemble(program).splitlines()] == wanted


def test_reject_all() -> None:
    assert kernel_verdicts(bpf.REJECT_ALL, [b"", b"INVITE"]) == [0, 0]


_VALUES = st.sampled_from([0, 1, 2, 3, 4, 7, 0x0F, 0x40, 0x80, 0xFFFF])
_STEPS = st.one_of(
    st.tuples(
        st.sampled_from([bpf.LD_WORD, bpf.LD_HALF, bpf.LD_BYTE, bpf.LD_HALF_X, bpf.LD_BYTE_X]),
        st.integers(0, 12),
    ),
    st.tuples(st.sampled_from([bpf.LDX_CONSTANT, bpf.ADD, bpf.AND]), _VALUES),
    st.tuples(st.sampled_from([bpf.SHIFT_LEFT, bpf.SHIFT_RIGHT]), st.integers(0, 31)),
    st.tuples(st.just(bpf.ST), st.just(0)),
    st.tuples(st.sampled_from([bpf.ADD_X, bpf.TAX, bpf.TXA]), st.just(0)),
)


@given(
    steps=st.lists(_STEPS, max_size=12),
    test=st.sampled_from([bpf.IF_EQUAL, bpf.IF_GREATER, bpf.IF_AT_LEAST, bpf.IF_ANY_BIT]),
    value=_VALUES,
    packet=st.binary(min_size=4, max_size=16),
)
def test_kernel_and_interpreter_agree(
    steps: list[tuple[int, int]], test: int, value: int, packet: bytes
) -> None:
    """The kernel loads only what was stored before, so each program stores first."""
    out = Assembler()
    yes = out.label()
    out.emit(bpf.ST, 0)
    for code, k in steps:
        out.emit(code, k)
    out.emit(bpf.ST, 0)
    out.emit(bpf.LD_MEM, 0)
    out.branch(test, value, if_true=yes)
    out.emit(bpf.RETURN, 2)
    out.place(yes)
    out.emit(bpf.RETURN, 3)
    program = out.assemble()
    assert kernel_verdicts(program, [packet]) == [bpf_interpreter.run(program, packet)]
