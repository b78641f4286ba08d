"""Conformance through DAO: a server must behave through it exactly as it does without it, whatever the frames.

The cases follow the chapters of the usual conformance suites: framing, pings, reserved bits, opcodes, fragmentation,
UTF-8, closing. Each is played by hand to a server of the `websockets` library itself, and through DAO over HTTP/1.1 and
over HTTP/2, and what comes back is compared: the frames, the Close, the end. The chapters of limits, of messages in many
fragments and of permessage-deflate follow below.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import websockets
from lib import deadline
from lib.client import RawClient, split
from lib.dao import Dao, simple_config
from lib.h2frames import H2Client
from lib.http1 import Truncated
from lib.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, LibraryServer, RawWebSocket, close, frame
from lib.websocket_http2 import H2WebSocket
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory


async def echo(socket: websockets.WebSocketServerProtocol) -> None:
    async for message in socket:
        await socket.send(message)


@dataclass
class Pair:
    server: LibraryServer
    dao: Dao


def run(directory: pytest.TempPathFactory, compression: str | None) -> Iterator[Pair]:
    with LibraryServer(echo, compression=compression) as server:
        dao = Dao(simple_config(server.url), directory.mktemp("conformance") / "dao")
        try:
            yield Pair(server, dao)
            dao.close_clients()
            dao.wait_idle()
            dao.stop()
        finally:
            dao.kill()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    yield from run(tmp_path_factory, None)


@pytest.fixture(scope="module")
def deflating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    yield from run(tmp_path_factory, "deflate")


def m(opcode: int, payload: bytes = b"", *, fin: bool = True, length_bytes: int = 0) -> bytes:
    return frame(opcode, payload, masked=True, fin=fin, length_bytes=length_bytes)


def with_first_byte(byte: int, payload: bytes = b"x") -> bytes:
    return bytes([byte]) + m(TEXT, payload)[1:]


@dataclass
class Case:
    data: bytes
    replies: int = 0  # after so many the client says Close; 0: what was sent ends it


BYE = close(1000, masked=True)
SIZES = (0, 1, 125, 126, 127, 128, 65535, 65536)
BAD_UTF8 = (b"\x80", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"ok \xff")
GOOD_UTF8 = ("κόσμε", "\U0010ffff", "\ud7ff", "\ue000", "\ufffe", "a\x00b")
CODES = (0, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1015, 1016, 1100, 2999)
CODES += (3000, 3999, 4000, 4999, 5000)

CASES: dict[str, Case] = {
    **{f"text-{n}": Case(m(TEXT, b"*" * n), replies=1) for n in SIZES},
    **{f"binary-{n}": Case(m(BINARY, b"\xfe" * n), replies=1) for n in SIZES},
    "length-longer-than-needed": Case(m(TEXT, b"x", length_bytes=8), replies=1),
    "ping-empty": Case(m(PING), replies=1),
    "ping-125": Case(m(PING, b"\xfe" * 125), replies=1),
    "ping-126": Case(m(PING, b"\xfe" * 126)),
    "pings": Case(b"".join(m(PING, b"%d" % n) for n in range(10)), replies=10),
    "pong-unasked": Case(m(PONG, b"x") + m(TEXT, b"after"), replies=1),
    **{f"reserved-bits-{bits}": Case(with_first_byte(0x81 | bits << 4)) for bits in range(1, 8)},
    **{f"opcode-{opcode}": Case(with_first_byte(0x80 | opcode)) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "fragments": Case(m(TEXT, b"a", fin=False) + m(CONTINUATION, b"b", fin=False) + m(CONTINUATION, b"c"), replies=1),
    "fragments-empty": Case(m(TEXT, fin=False) + m(CONTINUATION, fin=False) + m(CONTINUATION), replies=1),
    "fragments-with-ping": Case(m(TEXT, b"a", fin=False) + m(PING, b"p") + m(CONTINUATION, b"b"), replies=2),
    "fragmented-ping": Case(m(PING, b"a", fin=False)),
    "fragmented-close": Case(m(CLOSE, b"\x03\xe8", fin=False)),
    "continuation-of-nothing": Case(m(CONTINUATION, b"a")),
    "text-within-fragments": Case(m(TEXT, b"a", fin=False) + m(TEXT, b"b")),
    **{f"utf8-{n}": Case(m(TEXT, text.encode()), replies=1) for n, text in enumerate(GOOD_UTF8)},
    **{f"utf8-bad-{n}": Case(m(TEXT, data)) for n, data in enumerate(BAD_UTF8)},
    "utf8-over-fragments": Case(m(TEXT, "κ".encode()[:1], fin=False) + m(CONTINUATION, "κ".encode()[1:]), replies=1),
    "utf8-bad-over-fragments": Case(m(TEXT, b"\xce", fin=False) + m(CONTINUATION, b"a")),
    **{f"close-{code}": Case(close(code, masked=True)) for code in CODES},
    "close-empty": Case(m(CLOSE)),
    "close-one-byte": Case(m(CLOSE, b"\x03")),
    "close-longest-reason": Case(close(1000, b"r" * 123, masked=True)),
    "close-reason-too-long": Case(close(1000, b"r" * 124, masked=True)),
    "close-reason-bad-utf8": Case(close(1000, b"\xff", masked=True)),
    "close-twice": Case(BYE + BYE),
    "text-behind-close": Case(BYE + m(TEXT, b"too late")),
    "ping-behind-close": Case(BYE + m(PING, b"too late")),
    "unmasked": Case(frame(TEXT, b"x")),
    "unmasked-close": Case(close(1000)),
}


Seen = tuple[list[tuple[int, bytes, bool]], tuple[int, bytes] | None]


def converse(socket: RawWebSocket | H2WebSocket, case: Case, size: int) -> Seen:
    """What came back when the case was sent in segments of `size`: all but the Close, in no particular order (echo and
    pong are two tasks of the server), and the Close."""
    socket.send(*split(case.data, size))
    frames = []
    try:
        while (got := socket.read()).opcode != CLOSE:
            frames.append((got.opcode, got.payload, got.fin))
            if len(frames) == case.replies:
                socket.send(BYE)
    except Truncated:
        return sorted(frames), None
    socket.send(close(1000, masked=True))
    return sorted(frames), (got.opcode, got.payload)


def play(client: RawClient, case: Case, size: int) -> Seen:
    with client:
        seen = converse(RawWebSocket(client, "/"), case, size)
        if seen[1] is not None:
            client.expect_ended()
            assert client.reader.buffered == b"", "nothing follows a Close"
        return seen


def play_http2(dao: Dao, case: Case, size: int) -> Seen:
    with H2Client(dao.address) as client:
        socket = H2WebSocket(client, path="/")
        seen = converse(socket, case, size)
        socket.expect_end()
        socket.end()
        client.sync()
        return seen


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_as_without_dao(both: Pair, case: Case) -> None:
    whole = len(case.data)
    directly = play(RawClient(("127.0.0.1", both.server.port)), case, whole)
    assert directly[1] is not None, "the server itself says Close in every case"
    assert len(directly[0]) == case.replies
    assert play(both.dao.client(), case, whole) == directly
    assert play_http2(both.dao, case, min(whole, 16000)) == directly
    if whole < 2000:
        assert play(both.dao.client(), case, 1) == directly, "byte by byte"
        assert play_http2(both.dao, case, 1) == directly, "byte by byte"


# Limits and performance: large messages, in one frame, in fragments of any size, in small segments, and many small ones


LARGE = [64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20]


def echoed(dao: Dao, opcode: int, payload: bytes, fragment: int, segment: int) -> None:
    pieces = split(payload, fragment)
    frames = b"".join(
        m(CONTINUATION if n else opcode, piece, fin=n == len(pieces) - 1) for n, piece in enumerate(pieces)
    )
    with dao.client() as client:
        client.socket.settimeout(60 * deadline.SCALE)
        socket = RawWebSocket(client, "/")
        socket.send(*split(frames, segment))
        got = socket.read(60 * deadline.SCALE)
        assert (got.opcode, got.fin) == (opcode, True) and got.payload == payload
        socket.send(BYE)
        socket.expect_close(1000)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", LARGE)
def test_large_messages(both: Pair, size: int, opcode: int) -> None:
    echoed(both.dao, opcode, (b"*" if opcode == TEXT else b"\xfe") * size, size, 1 << 20)


@pytest.mark.parametrize("fragment", [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20])
def test_four_megabytes_in_fragments(both: Pair, fragment: int) -> None:
    echoed(both.dao, BINARY, os.urandom(1 << 20) * 4, fragment, 1 << 20)


@pytest.mark.parametrize("segment", [64, 128, 256, 512, 1024, 2048])
def test_a_megabyte_in_small_segments(both: Pair, segment: int) -> None:
    echoed(both.dao, TEXT, b"*" * (1 << 20), 1 << 20, segment)


def library_client(dao: Dao, messages: list[bytes | str], **options: object) -> None:
    host, port = dao.address  # type: ignore[misc]

    async def talk() -> None:
        async with websockets.connect(f"ws://{host}:{port}/", max_size=None, **options) as socket:
            assert bool(socket.extensions) == ("extensions" in options)
            for message in messages:
                await socket.send(message)
                assert await socket.recv() == message

    asyncio.run(asyncio.wait_for(talk(), 60 * deadline.SCALE))


@pytest.mark.parametrize("size", [0, 16, 64, 256, 1024, 4096, 16384, 65536])
def test_many_messages(both: Pair, size: int) -> None:
    library_client(both.dao, [os.urandom(size) for _ in range(200)], compression=None)
    library_client(both.dao, ["*" * size for _ in range(200)], compression=None)


# permessage-deflate (RFC 7692): windows, with and without the context, messages of every size that compress or do not


OFFERS = {
    "default": {},
    "no-context-of-server": {"server_no_context_takeover": True},
    "no-context-of-client": {"client_no_context_takeover": True},
    "windows-of-9": {"server_max_window_bits": 9, "client_max_window_bits": 9},
    "windows-of-15": {"server_max_window_bits": 15, "client_max_window_bits": 15},
    "nothing-kept": {
        "server_no_context_takeover": True, "client_no_context_takeover": True,
        "server_max_window_bits": 9, "client_max_window_bits": 9,
    },
}  # fmt: skip


@pytest.mark.parametrize("size", [16, 64, 256, 1 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10])
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS.keys())
def test_deflate(deflating: Pair, offer: dict[str, object], size: int) -> None:
    even = "grüße " * size
    messages = [os.urandom(size), even[:size], bytes(size), os.urandom(size // 2) * 2] * 5
    library_client(
        deflating.dao, messages, compression=None, extensions=[ClientPerMessageDeflateFactory(**offer)]
    )


@pytest.mark.parametrize("size", [1 << 20, 16 << 20])
def test_deflate_of_large_messages(deflating: Pair, size: int) -> None:
    messages = [os.urandom(4096) * (size // 4096), "*" * size]
    library_client(deflating.dao, messages, compression=None, extensions=[ClientPerMessageDeflateFactory()])
