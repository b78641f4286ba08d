"""Conformance through DAO: a server must behave through it exactly as it does without it, whatever the frames.

The cases follow the chapters of the usual conformance suites: framing, pings, reserved bits, opcodes, fragmentation,
UTF-8, closing. Each is played twice by hand, to a server of the `websockets` library itself and through DAO, and what
comes back is compared: the frames, the Close, the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import websockets
from lib.client import RawClient, split
from lib.dao import Dao, simple_config
from lib.http1 import Truncated
from lib.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, LibraryServer, RawWebSocket, close, frame


async def echo(socket: websockets.WebSocketServerProtocol) -> None:
    async for message in socket:
        await socket.send(message)


@dataclass
class Pair:
    server: LibraryServer
    dao: Dao


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with LibraryServer(echo, compression=None) as server:
        dao = Dao(simple_config(server.url), tmp_path_factory.mktemp("conformance") / "dao")
        try:
            yield Pair(server, dao)
            dao.close_clients()
            dao.wait_idle()
            dao.stop()
        finally:
            dao.kill()


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


def play(client: RawClient, case: Case, size: int) -> tuple[list[tuple[int, bytes, bool]], tuple[int, bytes] | None]:
    """What came back when the case was sent in segments of `size`: all but the Close, in no particular order (echo and
    pong are two tasks of the server), and the Close."""
    with client:
        socket = RawWebSocket(client, "/")
        socket.send(*split(case.data, size))
        frames = []
        try:
            while (got := socket.read()).opcode != CLOSE:
                frames.append((got.opcode, got.payload, got.fin))
                if len(frames) == case.replies:
                    socket.send(BYE)
        except Truncated:
            return sorted(frames), None
        client.send(close(1000, masked=True))
        client.expect_ended()
        assert client.reader.buffered == b"", "nothing follows a Close"
        return sorted(frames), (got.opcode, got.payload)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_as_without_dao(both: Pair, case: Case) -> None:
    whole = len(case.data)
    directly = play(RawClient(("127.0.0.1", both.server.port)), case, whole)
    assert directly[1] is not None, "the server itself says Close in every case"
    assert len(directly[0]) == case.replies
    assert play(both.dao.client(), case, whole) == directly
    if whole < 2000:
        assert play(both.dao.client(), case, 1) == directly, "byte by byte"
