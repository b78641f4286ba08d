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


BYE = close(1000, masked=True)
SIZES = (0, 1, 125, 126, 127, 128, 65535, 65536)
BAD_UTF8 = (b"\x80", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"ok \xff")
GOOD_UTF8 = ("κόσμε", "\U0010ffff", "\ud7ff", "\ue000", "\ufffe", "a\x00b")
CODES = (0, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1015, 1016, 1100, 2999)
CODES += (3000, 3999, 4000, 4999, 5000)

CASES: dict[str, bytes] = {
    **{f"text-{n}": m(TEXT, b"*" * n) + BYE for n in SIZES},
    **{f"binary-{n}": m(BINARY, b"\xfe" * n) + BYE for n in SIZES},
    "length-longer-than-needed": m(TEXT, b"x", length_bytes=8) + BYE,
    "ping-empty": m(PING) + BYE,
    "ping-125": m(PING, b"\xfe" * 125) + BYE,
    "ping-126": m(PING, b"\xfe" * 126),
    "pings": b"".join(m(PING, b"%d" % n) for n in range(10)) + BYE,
    "pong-unasked": m(PONG, b"x") + m(TEXT, b"after") + BYE,
    **{f"reserved-bits-{bits}": with_first_byte(0x81 | bits << 4) for bits in range(1, 8)},
    **{f"opcode-{opcode}": with_first_byte(0x80 | opcode) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "fragments": m(TEXT, b"a", fin=False) + m(CONTINUATION, b"b", fin=False) + m(CONTINUATION, b"c") + BYE,
    "fragments-empty": m(TEXT, fin=False) + m(CONTINUATION, fin=False) + m(CONTINUATION) + BYE,
    "fragments-with-ping": m(TEXT, b"a", fin=False) + m(PING, b"p") + m(CONTINUATION, b"b") + BYE,
    "fragmented-ping": m(PING, b"a", fin=False),
    "fragmented-close": m(CLOSE, b"\x03\xe8", fin=False),
    "continuation-of-nothing": m(CONTINUATION, b"a"),
    "text-within-fragments": m(TEXT, b"a", fin=False) + m(TEXT, b"b"),
    **{f"utf8-{n}": m(TEXT, text.encode()) + BYE for n, text in enumerate(GOOD_UTF8)},
    **{f"utf8-bad-{n}": m(TEXT, data) for n, data in enumerate(BAD_UTF8)},
    "utf8-over-fragments": m(TEXT, "κ".encode()[:1], fin=False) + m(CONTINUATION, "κ".encode()[1:]) + BYE,
    "utf8-bad-over-fragments": m(TEXT, b"\xce", fin=False) + m(CONTINUATION, b"a"),
    **{f"close-{code}": close(code, masked=True) for code in CODES},
    "close-empty": m(CLOSE),
    "close-one-byte": m(CLOSE, b"\x03"),
    "close-longest-reason": close(1000, b"r" * 123, masked=True),
    "close-reason-too-long": close(1000, b"r" * 124, masked=True),
    "close-reason-bad-utf8": close(1000, b"\xff", masked=True),
    "close-twice": BYE + BYE,
    "text-behind-close": BYE + m(TEXT, b"too late"),
    "ping-behind-close": BYE + m(PING, b"too late"),
    "unmasked": frame(TEXT, b"x"),
    "unmasked-close": close(1000),
}


def play(client: RawClient, segments: list[bytes]) -> tuple[list[tuple[int, bytes, bool]], tuple[int, bytes] | None]:
    """What came back: all but the Close, in no particular order (echo and pong are two tasks of the server), and it."""
    with client:
        socket = RawWebSocket(client, "/")
        socket.send(*segments)
        frames = []
        try:
            while (got := socket.read()).opcode != CLOSE:
                frames.append((got.opcode, got.payload, got.fin))
        except Truncated:
            return sorted(frames), None
        client.send(close(1000, masked=True))
        client.expect_ended()
        assert client.reader.buffered == b"", "nothing follows a Close"
        return sorted(frames), (got.opcode, got.payload)


@pytest.mark.parametrize("data", CASES.values(), ids=CASES.keys())
def test_as_without_dao(both: Pair, data: bytes) -> None:
    directly = play(RawClient(("127.0.0.1", both.server.port)), [data])
    assert directly[1] is not None, "the server itself says Close in every case"
    assert play(both.dao.client(), [data]) == directly
    if len(data) < 2000:
        assert play(both.dao.client(), split(data)) == directly, "byte by byte"
