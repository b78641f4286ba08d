"""WebSocket by hand (RFC 6455): frames as exact bytes, read strictly; and a server of the `websockets` library."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import websockets

from lib import deadline
from lib.client import RawClient
from lib.http1 import Reader, Request
from lib.origin import Connection

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def accept(key: bytes) -> bytes:
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def request(path: str = "/ws", *fields: bytes, key: bytes = KEY) -> bytes:
    """The client's half of the opening handshake."""
    lines = [f"GET {path} HTTP/1.1".encode(), b"Host: a.test", b"Connection: Upgrade", b"Upgrade: websocket"]
    lines += [b"Sec-WebSocket-Key: " + key, b"Sec-WebSocket-Version: 13", *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def answer(key: bytes = KEY, *fields: bytes) -> bytes:
    """The server's half."""
    lines = [b"HTTP/1.1 101 Switching Protocols", b"Connection: Upgrade", b"Upgrade: websocket"]
    lines += [b"Sec-WebSocket-Accept: " + accept(key), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def frame(opcode: int, payload: bytes = b"", *, masked: bool = False, fin: bool = True, length_bytes: int = 0) -> bytes:
    size = len(payload)
    length_bytes = length_bytes or (1 if size < 126 else 2 if size < 65536 else 8)
    first = {1: size, 2: 126, 8: 127}[length_bytes] | (0x80 if masked else 0)
    header = bytes([(0x80 if fin else 0) | opcode, first])
    if length_bytes > 1:
        header += size.to_bytes(length_bytes, "big")
    if not masked:
        return header + payload
    mask = os.urandom(4)
    return header + mask + apply_mask(payload, mask)


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    if not payload:
        return b""
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")


def close(code: int, reason: bytes = b"", *, masked: bool = False) -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason, masked=masked)


@dataclass
class Frame:
    opcode: int
    payload: bytes
    masked: bool
    fin: bool

    @property
    def code(self) -> int:
        """Of a Close."""
        assert self.opcode == CLOSE, self
        return struct.unpack("!H", self.payload[:2])[0]


def read_frame(reader: Reader) -> Frame:
    """The next frame; raises Truncated at the end of the stream, whether within a frame or before one."""
    first, second = reader.take(2)
    assert first & 0x70 == 0 or first & 0x40, f"reserved bits {first:#x}"
    length = second & 0x7F
    if length == 126:
        length = int.from_bytes(reader.take(2), "big")
    elif length == 127:
        length = int.from_bytes(reader.take(8), "big")
    mask = reader.take(4) if second & 0x80 else b""
    payload = reader.take(length)
    return Frame(first & 0x0F, apply_mask(payload, mask) if mask else payload, bool(mask), bool(first & 0x80))


def expect_close(got: Frame, code: int, *, masked: bool) -> None:
    assert (got.opcode, got.masked) == (CLOSE, masked) and got.code == code, got


class RawWebSocket:
    """A client that speaks frames by hand, after a handshake through `client`."""

    def __init__(self, client: RawClient, path: str = "/ws", *fields: bytes, behind: bytes = b""):
        self.client = client
        client.send(request(path, *fields) + behind)
        client._arm()
        self.head: list[bytes] = []
        while line := client.reader.take_line():
            self.head.append(line)
        assert self.head[0].startswith(b"HTTP/1.1 101 "), self.head

    def field(self, name: bytes) -> bytes | None:
        values = [line.split(b": ", 1)[1] for line in self.head[1:] if line.lower().startswith(name.lower() + b":")]
        assert len(values) <= 1, values
        return values[0] if values else None

    def send(self, *frames: bytes) -> None:
        self.client.send(*frames)

    def read(self, timeout: float | None = None) -> Frame:
        self.client._arm(timeout)
        return read_frame(self.client.reader)

    def expect_close(self, code: int, timeout: float | None = None) -> None:
        expect_close(self.read(timeout), code, masked=False)


class Backend:
    """A step for lib.origin: does the handshake, then waits for the test to play the backend.

    origin.answer("/ws", backend := Backend()); backend.ready() is then its connection.
    """

    def __init__(self, *fields: bytes, behind: bytes = b"", head: Callable[[bytes], bytes] | None = None):
        self.fields = fields
        self.behind = behind
        self.head = head or (lambda key: answer(key, *self.fields))
        self.request: Request | None = None
        self._connection: Connection | None = None
        self._here = threading.Event()
        self._done = threading.Event()

    def __call__(self, connection: Connection, got: Request) -> None:
        (key,) = got.values("sec-websocket-key")
        self.request = got
        self._connection = connection
        connection.socket.settimeout(deadline.DEFAULT)
        connection.send(self.head(key.encode()) + self.behind)
        self._here.set()
        deadline.wait_until(lambda: self._done.is_set() or connection.origin.stopping.is_set(), "the test to end", 60)
        connection.wait_peer_close()

    def ready(self) -> Connection:
        assert self._here.wait(deadline.DEFAULT), "no WebSocket came to the backend"
        assert self._connection
        return self._connection

    def send(self, *frames: bytes) -> None:
        for data in frames:
            self.ready().send(data)

    def read(self) -> Frame:
        return read_frame(self.ready().reader)

    def expect_close(self, code: int) -> None:
        expect_close(self.read(), code, masked=True)

    def expect_end(self) -> None:
        """Nothing more comes, and DAO closes."""
        connection = self.ready()
        while connection.reader.fill():
            pass
        assert connection.reader.buffered == b"", connection.reader.buffered[:200]

    def finish(self) -> None:
        """Closes the backend's end with FIN."""
        self.ready().socket.close()
        self._done.set()

    def reset(self) -> None:
        self.ready().reset()
        self._done.set()


Handler = Callable[["websockets.WebSocketServerProtocol"], Awaitable[None]]


class LibraryServer:
    """A server of the `websockets` library on a thread of its own; what its handlers met is in `closes`."""

    def __init__(self, handler: Handler, **options: object):
        self.closes: list[tuple[int, str]] = []
        self.errors: list[BaseException] = []
        self._handler = handler
        self._options = options
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._started.wait(deadline.DEFAULT)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def _handle(self, socket: websockets.WebSocketServerProtocol) -> None:
        try:
            await self._handler(socket)
        except websockets.ConnectionClosed:
            pass
        except BaseException as error:
            self.errors.append(error)
            raise
        finally:
            await socket.wait_closed()
            self.closes.append((socket.close_code, socket.close_reason))

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with websockets.serve(self._handle, "127.0.0.1", 0, max_size=None, **self._options) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._started.set()
            await self._stop.wait()

    def __enter__(self) -> LibraryServer:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(deadline.DEFAULT)
        assert kind is not None or not self.errors, self.errors
