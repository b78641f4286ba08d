"""A client that sends exactly the bytes it is told to, and reads what comes back strictly."""

from __future__ import annotations

import socket
import struct
import subprocess
import time

from lib import deadline
from lib.http1 import Reader, Response, read_response


class RawClient:
    """One client connection. Every wait has a deadline; a context manager, closes at exit.

    `address` is (host, port), or a path for a unix socket; `source` is the address to connect from. Nothing is sent
    that was not asked for.
    """

    def __init__(self, address: tuple[str, int] | str, timeout: float = deadline.DEFAULT, source: str | None = None):
        self.timeout = timeout
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self.socket = socket.socket(family, socket.SOCK_STREAM)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(timeout)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(address)
        self._end = 0.0
        self.reader = Reader(self._receive)
        self.send_failed = False

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self) -> bytes:
        left = self._end - time.monotonic()
        if left <= 0:
            raise AssertionError(f"deadline passed; unread so far: {self.reader.buffered[:200]!r}")
        self.socket.settimeout(left)
        try:
            return self.socket.recv(65536)
        except TimeoutError:
            raise AssertionError(f"nothing came within the deadline; unread: {self.reader.buffered[:200]!r}") from None

    def _arm(self, timeout: float | None = None) -> None:
        self._end = time.monotonic() + (self.timeout if timeout is None else timeout)

    def send(self, *segments: bytes) -> None:
        """Sends each segment with its own send(2). A peer that has closed ends it quietly (`send_failed`): what it
        answered before closing is still to be read."""
        self.socket.settimeout(self.timeout)
        try:
            for segment in segments:
                self.socket.sendall(segment)
        except (BrokenPipeError, ConnectionResetError):
            self.send_failed = True

    def half_close(self) -> None:
        """Sends FIN and keeps reading."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.send_failed = True

    def response(self, method: str = "GET", version: str = "1.1", timeout: float | None = None) -> Response:
        """Reads one final response (with its 1xx in `.interim`); raises Violation or Truncated if it is not one."""
        self._arm(timeout)
        return read_response(self.reader, method, version)

    def exchange(self, request: bytes, method: str = "", timeout: float | None = None) -> Response:
        """send() and response() in one."""
        self.send(request)
        return self.response(method or request.split(b" ", 1)[0].decode("latin-1"), timeout=timeout)

    def wait_bytes(self, count: int = 1, timeout: float | None = None) -> bytes:
        """Waits until `count` bytes are there, and returns what is there without taking it."""
        self._arm(timeout)
        while len(self.reader.buffered) < count and self.reader.fill():
            pass
        return self.reader.buffered

    def expect_closed(self, timeout: float | None = None) -> None:
        """Asserts that the peer sends nothing more and closes in an orderly way (FIN, not RST)."""
        self._arm(timeout)
        while self.reader.fill():
            pass
        assert self.reader.buffered == b"", f"bytes after the last response: {self.reader.buffered[:300]!r}"
        assert not self.reader.reset, "the connection was reset instead of closed"

    def expect_ended(self, timeout: float | None = None) -> None:
        """Asserts that the connection ends, by FIN or by RST; what came before the end stays unread."""
        self._arm(timeout)
        while self.reader.fill():
            pass

    def reset(self) -> None:
        """Closes with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


def expect_no_listener(address: tuple[str, int] | str, by: subprocess.Popen) -> None:
    """The process does not listen there any more. The kernel may have given the port to a neighbour meanwhile."""
    try:
        client = RawClient(address)
    except ConnectionRefusedError:
        return
    with client:
        port = address if isinstance(address, str) else address[1]
        there = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, check=False).stdout
        others = "pid=" in there and f"pid={by.pid}," not in there
        assert others, f"connected from {client.socket.getsockname()} to {address}, where listen:\n{there}"


def split(data: bytes, size: int = 1) -> list[bytes]:
    """The data in segments of `size` bytes."""
    return [data[at : at + size] for at in range(0, len(data), size)]
