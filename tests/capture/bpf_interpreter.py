"""Classic BPF as its paper and linux/filter.h define it, for tests: slow, and written apart from
the compiler. A program is a list of ``(code, jt, jf, k)``; the result is what ``ret`` gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_MASK = 0xFFFFFFFF
_ANCILLARY = 0xFFFFF000


def run(
    program: Iterable[tuple[int, int, int, int]],
    packet: bytes,
    metadata: Mapping[int, int] | None = None,
) -> int:
    """Bytes to keep, 0 for a packet that is dropped; ``metadata`` is by ancillary offset."""
    steps = list(program)
    a = x = 0
    memory = [0] * 16
    at = 0
    while True:
        code, jt, jf, k = steps[at]
        at += 1
        kind = code & 0x07
        if kind == 0x00:  # ld
            value = _load(code, k, x, memory, packet, metadata or {})
            if value is None:
                return 0
            a = value
        elif kind == 0x01:  # ldx
            mode = code & 0xE0
            if mode == 0x00:
                x = k
            elif mode == 0x60:
                x = memory[k]
            elif mode == 0x80:
                x = len(packet)
            elif mode == 0xA0:
                if k >= len(packet):
                    return 0
                x = 4 * (packet[k] & 0x0F)
        elif kind == 0x02:
            memory[k] = a
        elif kind == 0x03:
            memory[k] = x
        elif kind == 0x04:
            operand = x if code & 0x08 else k
            result = _compute(code & 0xF0, a, operand)
            if result is None:
                return 0
            a = result
        elif kind == 0x05:
            operand = x if code & 0x08 else k
            operation = code & 0xF0
            if operation == 0x00:
                at += k
            else:
                holds = {
                    0x10: a == operand,
                    0x20: a > operand,
                    0x30: a >= operand,
                    0x40: bool(a & operand),
                }[operation]
                at += jt if holds else jf
        elif kind == 0x06:
            return a if code & 0x18 == 0x10 else k
        elif code & 0xF8 == 0x00:
            x = a
        else:
            a = x


def _load(code, k, x, memory, packet, metadata):
    mode, size = code & 0xE0, {0x00: 4, 0x08: 2, 0x10: 1}[code & 0x18]
    if mode == 0x00:
        return k
    if mode == 0x60:
        return memory[k]
    if mode == 0x80:
        return len(packet)
    if mode == 0x20 and k >= _ANCILLARY:
        return metadata[k - _ANCILLARY]
    start = (k + x) & _MASK if mode == 0x40 else k
    if start + size > len(packet):
        return None
    return int.from_bytes(packet[start : start + size], "big")


def _compute(operation, a, operand):
    if operation in (0x30, 0x90) and operand == 0:
        return None
    return {
        0x00: lambda: a + operand,
        0x10: lambda: a - operand,
        0x20: lambda: a * operand,
        0x30: lambda: a // operand,
        0x40: lambda: a | operand,
        0x50: lambda: a & operand,
        0x60: lambda: a << operand,
        0x70: lambda: a >> operand,
        0x80: lambda: -a,
        0x90: lambda: a % operand,
        0xA0: lambda: a ^ operand,
    }[operation]() & _MASK
