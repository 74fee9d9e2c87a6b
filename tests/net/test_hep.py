"""HEP packets: bytes made by hand from the specification, round trips, hostile input."""

from __future__ import annotations

import gzip
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sip_texts import SDP, request

from sipwatch.net.hep import LOG, REASONS, SIP, HepError, HepPacket, HepStream, decode, encode

INVITE = request(body=SDP)
A4, B4 = b"\xc0\x00\x02\x01", b"\xc0\x00\x02\x02"
A6, B6 = bytes.fromhex("20010db8" + "0" * 23 + "1"), bytes.fromhex("20010db8" + "0" * 23 + "2")


def chunk(kind: int, data: bytes, vendor: int = 0) -> bytes:
    return struct.pack("!HHH", vendor, kind, 6 + len(data)) + data


def hep3(*chunks: bytes) -> bytes:
    body = b"".join(chunks)
    return b"HEP3" + struct.pack("!H", 6 + len(body)) + body


FAMILY4, FAMILY6 = chunk(1, b"\x02"), chunk(1, b"\x0a")
UDP_CHUNK = chunk(2, b"\x11")
ADDRESSES4 = chunk(3, A4) + chunk(4, B4)
ADDRESSES6 = chunk(5, A6) + chunk(6, B6)
PORTS = chunk(7, b"\x13\xc4") + chunk(8, b"\x13\xec")
TIME = chunk(9, b"\x65\x00\x00\x01") + chunk(10, struct.pack("!I", 250_000))
KIND, NODE = chunk(11, b"\x01"), chunk(12, struct.pack("!I", 2002))
PAYLOAD = chunk(15, INVITE)
PLAIN = [FAMILY4, UDP_CHUNK, ADDRESSES4, PORTS, TIME, KIND, NODE, PAYLOAD]

PACKET = HepPacket(
    version=3,
    source=(A4, 5060),
    destination=(B4, 5100),
    transport="UDP",
    payload=INVITE,
    time=0x65000001 + 0.25,
    node_id=2002,
)


def test_a_version_3_packet() -> None:
    assert decode(hep3(*PLAIN)) == PACKET


def test_the_order_of_chunks_does_not_matter() -> None:
    assert decode(hep3(*reversed(PLAIN))) == PACKET


def test_ipv6_and_the_optional_chunks() -> None:
    packet = decode(hep3(FAMILY6, chunk(2, b"\x06"), ADDRESSES6, PORTS, TIME, KIND, NODE, PAYLOAD))
    assert packet.source == (A6, 5060)
    assert packet.destination == (B6, 5100)
    assert packet.transport == "TCP"
    packet = decode(hep3(*PLAIN, chunk(14, b"secret"), chunk(17, b"call@x")))
    assert packet.auth_key == b"secret"
    assert packet.correlation_id == b"call@x"


def test_a_log_packet() -> None:
    packet = decode(
        hep3(FAMILY4, UDP_CHUNK, ADDRESSES4, PORTS, TIME, chunk(11, b"\x64"), chunk(15, b"{}"))
    )
    assert (packet.protocol, packet.payload) == (LOG, b"{}")


@pytest.mark.parametrize(
    "extra",
    [
        chunk(1, b"anything", vendor=3),  # another vendor's chunk with a number of ours
        chunk(0x7FFF, bytes(300)),
        chunk(18, b"\x00\x05"),  # VLAN
        chunk(1, b"", vendor=1),
        chunk(15, b"a second payload"),
    ],
)
def test_what_is_not_known_is_skipped(extra: bytes) -> None:
    assert decode(hep3(*PLAIN, extra)) == PACKET


def test_bytes_behind_the_packet_do_not_matter() -> None:
    assert decode(hep3(*PLAIN) + b"padding") == PACKET


@pytest.mark.parametrize(
    "packed", [zlib.compress(INVITE), gzip.compress(INVITE)], ids=["zlib", "gzip"]
)
def test_a_compressed_payload(packed: bytes) -> None:
    assert decode(hep3(*PLAIN[:-1], chunk(16, packed))) == PACKET


def test_without_time_the_receiver_has_to_know() -> None:
    assert decode(hep3(FAMILY4, UDP_CHUNK, ADDRESSES4, PORTS, KIND, PAYLOAD)).time is None


@pytest.mark.parametrize(
    ("number", "name"),
    [(17, "UDP"), (6, "TCP"), (132, "SCTP"), (22, "TLS"), (50, "WS"), (99, "IP-99")],
)
def test_transports(number: int, name: str) -> None:
    data = hep3(FAMILY4, chunk(2, bytes((number,))), ADDRESSES4, PORTS, TIME, KIND, NODE, PAYLOAD)
    assert decode(data).transport == name


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_hep"),
        (b"HEP4" + bytes(40), "not_hep"),
        (b"HEP3", "cut"),
        (b"HEP3\x00\x05", "length"),
        (hep3(*PLAIN)[:-1], "cut"),
        (hep3(FAMILY4, UDP_CHUNK, ADDRESSES6, PORTS, PAYLOAD), "no_address"),
        (hep3(FAMILY4, chunk(3, A4), PORTS, PAYLOAD), "no_address"),
        (hep3(chunk(1, b"\x63"), ADDRESSES4, PAYLOAD), "family"),
        (hep3(FAMILY4, ADDRESSES4, PORTS), "no_payload"),
        (hep3(FAMILY4, ADDRESSES4, chunk(16, b"not zlib")), "compressed"),
        (hep3(FAMILY4, ADDRESSES4, chunk(16, zlib.compress(bytes(1_000_000)))), "compressed"),
        (hep3(FAMILY4, ADDRESSES4, chunk(16, zlib.compress(INVITE)[:-6])), "compressed"),
        (hep3(FAMILY4, chunk(3, A4 + b"\0"), PAYLOAD), "chunk_length"),
        (hep3(FAMILY4, b"\0\0\0"), "chunk_length"),
        (hep3(FAMILY4, b"\0\0\0\x0f\0\x05"), "chunk_length"),
        (hep3(FAMILY4, b"\0\0\0\x0f\xff\xff"), "chunk_length"),
        (hep3(*[chunk(77, b"")] * 300), "too_many_chunks"),
    ],
)
def test_bad_version_3_packets(data: bytes, reason: str) -> None:
    with pytest.raises(HepError) as caught:
        decode(data)
    assert caught.value.reason == reason
    assert reason in REASONS


# Versions 1 and 2 --------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("counted", [0, 12])
def test_a_version_2_packet(order: str, counted: int) -> None:
    data = (
        struct.pack("!BBBBHH", 2, 16 + counted, 2, 17, 5060, 5100)
        + A4
        + B4
        + struct.pack(order + "IIHxx", 0x65000001, 250_000, 2002)
        + INVITE
    )
    packet = decode(data)
    assert packet == HepPacket(**{**fields(PACKET), "version": 2})


def test_a_version_1_packet_has_no_time() -> None:
    data = struct.pack("!BBBBHH", 1, 40, 10, 6, 5060, 5100) + A6 + B6 + INVITE
    packet = decode(data)
    assert packet == HepPacket(1, (A6, 5060), (B6, 5100), "TCP", INVITE, None)


def fields(packet: HepPacket) -> dict[str, object]:
    return {name: getattr(packet, name) for name in HepPacket.__slots__}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x01\x10\x02", "cut"),
        (struct.pack("!BBBBHH", 1, 16, 2, 17, 1, 2) + A4, "cut"),
        (struct.pack("!BBBBHH", 2, 16, 2, 17, 1, 2) + A4 + B4 + bytes(11), "cut"),
        (struct.pack("!BBBBHH", 1, 17, 2, 17, 1, 2) + A4 + B4, "not_hep"),
        (struct.pack("!BBBBHH", 1, 16, 7, 17, 1, 2) + A4 + B4, "not_hep"),
        # DNS: an identification that looks like version and length.
        (b"\x01\x10\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01", "not_hep"),
        (struct.pack("!BBBBHH", 2, 16, 2, 17, 1, 2) + A4 + B4 + b"\xff" * 12, "not_hep"),
    ],
)
def test_bad_version_1_and_2_packets(data: bytes, reason: str) -> None:
    with pytest.raises(HepError) as caught:
        decode(data)
    assert caught.value.reason == reason


# Encoding ----------------------------------------------------------------------------------------


def test_the_bytes_of_an_encoded_packet() -> None:
    data = encode(PACKET)
    assert sorted(split(data)) == sorted(split(hep3(*PLAIN)))


def split(data: bytes) -> list[bytes]:
    """The chunks of a packet, by nothing but their lengths."""
    assert data[:4] == b"HEP3"
    assert struct.unpack("!H", data[4:6]) == (len(data),)
    chunks, at = [], 6
    while at < len(data):
        (length,) = struct.unpack("!H", data[at + 4 : at + 6])
        chunks.append(data[at : at + length])
        at += length
    return chunks


ENDPOINTS = st.one_of(
    st.tuples(*[st.tuples(st.binary(min_size=n, max_size=n), st.integers(0, 65535))] * 2)
    for n in (4, 16)
)


@given(
    ENDPOINTS,
    st.sampled_from(("UDP", "TCP", "TLS", "SCTP", "IP-99")),
    st.binary(max_size=2000),
    st.one_of(st.none(), st.integers(0, 4_000_000_000_000_000).map(lambda us: us / 1e6)),
    st.sampled_from((SIP, LOG, 5)),
    st.integers(0, 0xFFFFFFFF),
    st.one_of(st.none(), st.binary(max_size=30)),
    st.binary(max_size=30),
)
@settings(max_examples=200, deadline=None)
def test_what_is_encoded_decodes_to_the_same(
    ends: tuple[tuple[bytes, int], tuple[bytes, int]],
    transport: str,
    payload: bytes,
    time: float | None,
    protocol: int,
    node_id: int,
    auth_key: bytes | None,
    correlation_id: bytes,
) -> None:
    packet = HepPacket(
        3, *ends, transport, payload, time, protocol, node_id, auth_key, correlation_id
    )
    again = decode(encode(packet))
    assert {**fields(again), "time": None} == {**fields(packet), "time": None}
    assert again.time is None if time is None else abs(again.time - time) < 1e-6


def test_websocket_goes_as_the_protocol_under_it() -> None:
    for transport, number in (("WS", 6), ("WSS", 22), ("TLS", 22)):
        data = encode(HepPacket(**{**fields(PACKET), "transport": transport}))
        assert chunk(2, bytes((number,))) in split(data)


def test_a_packet_that_does_not_fit_is_an_error() -> None:
    for size in (65_440, 65_530, 70_000):
        with pytest.raises(HepError) as caught:
            encode(HepPacket(**{**fields(PACKET), "payload": bytes(size)}))
        assert caught.value.reason == "length"


# Streams -----------------------------------------------------------------------------------------


def test_packets_on_a_stream_in_any_pieces() -> None:
    packets = [hep3(*PLAIN), hep3(*PLAIN, chunk(17, b"x")), hep3(FAMILY4)]
    data = b"".join(packets)
    for step in (1, 7, 100, len(data)):
        stream = HepStream()
        found: list[bytes] = []
        for at in range(0, len(data), step):
            found += stream.feed(data[at : at + step])
        assert found == packets
        assert stream.held_bytes == 0


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"HEP3\x00\x00", b"\x02\x10\x02\x11" * 3])
def test_something_else_on_a_stream(data: bytes) -> None:
    with pytest.raises(HepError):
        HepStream().feed(data)


@given(st.binary(max_size=300), st.integers(0, 300))
@settings(max_examples=400, deadline=None)
def test_no_input_raises_anything_else(noise: bytes, at: int) -> None:
    plain = hep3(*PLAIN)
    version_2 = struct.pack("!BBBBHH", 2, 16, 2, 17, 5060, 5100) + noise
    for data in (noise, plain[:at] + noise + plain[at + len(noise) :], version_2, b"HEP3" + noise):
        reasons = set()
        try:
            assert isinstance(decode(data), HepPacket)
        except HepError as error:
            reasons.add(error.reason)
        try:
            stream = HepStream()
            stream.feed(data)
            assert stream.held_bytes <= 65_535
        except HepError as error:
            reasons.add(error.reason)
        assert reasons <= set(REASONS)
