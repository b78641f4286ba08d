"""A strict recording origin server: what a backend behind DAO sees, byte for byte, and what it answers.

One thread per connection, raw sockets, requests read by lib.http1 (which shares nothing with DAO). Bytes that are not
a strict request are recorded as violations; the `origin` fixtures fail the test that has any.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

from lib import deadline
from lib.http1 import Reader, Request, Truncated, Violation, read_request_body, read_request_head
from lib.ports import HeldPort


class _Step:
    """A named step of a scripted answer."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return self.name


READ_BODY = _Step("READ_BODY")  # read the request body now; without this step it is read before the first one
EARLY = _Step("EARLY")  # as first step: start to answer before the body is read
CLOSE = _Step("CLOSE")  # FIN, and close
RESET = _Step("RESET")  # RST
HOLD = _Step("HOLD")  # send nothing more until the peer closes or the origin stops


@dataclass
class Wait:
    """A step: go on when the event is set (or the origin stops)."""

    event: threading.Event


Step = bytes | _Step | Wait | Callable[["Connection", Request], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Ended(Exception):
    """The script closed the connection."""


class Connection:
    """One accepted connection, as a scripted step may use it."""

    def __init__(self, origin: Origin, sock: socket.socket, number: int):
        self.origin = origin
        self.socket = sock
        self.number = number
        self.reader = Reader(lambda: sock.recv(65536))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def wait_peer_close(self) -> None:
        """Returns when the peer has closed or reset; what it still sends stays unread in the reader's buffer."""
        with contextlib.suppress(OSError):
            while self.reader.fill():
                pass


class Origin:
    """An origin on a port of the kernel's choice (or a unix socket at `path`).

        origin.answer("marker", b"HTTP/1.1 204 No Content\\r\\n\\r\\n")   for requests whose head contains the marker
        origin.answer("marker", EARLY, b"HTTP/1.1 103 ...", READ_BODY, b"HTTP/1.1 200 ...", CLOSE)
        origin.default = (HOLD,)                                          for all the others

    Several answer() calls with one marker are used in turn, the last one again and again.
    """

    def __init__(
        self,
        path: str | None = None,
        backlog: int = 128,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ):
        self.tls = tls
        self.tls_failures: list[str] = []
        self.tls_resumed: list[bool] = []  # of each handshake that succeeded
        self.path = path
        self.host = host
        if path is None:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._held = HeldPort(host, port)
            self.port = self._held.port
            self._listener = socket.create_server((host, self.port), family=family, backlog=backlog)
        else:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(path)
            self._listener.listen(backlog)
            self.port = 0
        self.default: tuple[Step, ...] | None = None
        self.at_accept: tuple[Step, ...] = ()  # run on every new connection before anything is read (CLOSE, RESET...)
        self._changed = threading.Condition()
        self._scripts: dict[bytes, list[tuple[Step, ...]]] = {}
        self._requests: list[Request] = []
        self._violations: list[str] = []
        self._open: dict[int, Connection] = {}
        self._accepted = 0
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._accept_loop, daemon=True)
        self._thread.start()

    # What a test looks at ---------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """What goes into the `url` key of an upstream."""
        if self.path:
            return f"unix:{self.path}"
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def requests(self) -> list[Request]:
        """Every request whose head arrived, oldest first; `.complete` tells whether its body arrived too."""
        with self._changed:
            return list(self._requests)

    @property
    def violations(self) -> list[str]:
        with self._changed:
            return list(self._violations)

    @property
    def accepted(self) -> int:
        """Connections accepted since the start."""
        with self._changed:
            return self._accepted

    @property
    def open_connections(self) -> int:
        with self._changed:
            return len(self._open)

    def is_open(self, number: int) -> bool:
        """Whether that connection (Request.connection) is still open at this end."""
        with self._changed:
            return number in self._open

    def seen(self, marker: str) -> list[Request]:
        """The requests that carry the marker anywhere, in the head or the body."""
        return [request for request in self.requests if marker.encode() in request.raw]

    def wait(self, condition: Callable[[], object], what: str, timeout: float = deadline.DEFAULT) -> None:
        """Waits until `condition()` holds; it is looked at whenever something happened at this origin."""
        with self._changed:
            assert self._changed.wait_for(condition, timeout), f"the origin waited {timeout:.1f} s in vain for {what}"

    def wait_requests(self, count: int = 1, marker: str = "", timeout: float = deadline.DEFAULT) -> list[Request]:
        """Waits for `count` complete requests (with the marker) and returns them."""

        def complete() -> list[Request]:
            return [r for r in self._requests if r.complete and marker.encode() in r.raw]

        self.wait(lambda: len(complete()) >= count, f"{count} requests {marker}", timeout)
        with self._changed:
            return complete()

    # What a test sets -------------------------------------------------------------------------------------------

    def answer(self, marker: str, *steps: Step) -> None:
        with self._changed:
            self._scripts.setdefault(marker.encode(), []).append(steps)

    def forget(self) -> None:
        """Drops the records and the scripts; open connections stay."""
        with self._changed:
            self._requests.clear()
            self._scripts.clear()

    def close_connections(self) -> None:
        """Closes every open connection (a restart of the backend, as the proxy sees it)."""
        with self._changed:
            connections = list(self._open.values())
        for connection in connections:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own, after which it would read what the peer still says as clear text.
                socket.socket.shutdown(connection.socket, socket.SHUT_RDWR)

    def stop(self) -> None:
        """Closes everything: from here on connections are refused."""
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            self._changed.notify_all()
        self._thread.join()
        self.close_connections()
        deadline.wait_until(lambda: self.open_connections == 0, "the origin's connections to end")

    def end(self) -> None:
        """stop(), and its port may be another's."""
        self.stop()
        if self.path is None:
            self._held.free()

    # The server -------------------------------------------------------------------------------------------------

    def _accept_loop(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if not self.path:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self._accepted += 1
                connection = Connection(self, sock, self._accepted)
                self._open[connection.number] = connection
                self._changed.notify_all()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        request: Request | None = None
        try:
            for step in self.at_accept:
                self._run_step(connection, Request("1.1", []), step)
            if self.tls and not self._secure(connection):
                return
            while request := read_request_head(connection.reader):
                request.connection = connection.number
                self._serve_request(connection, request)
        except Violation as flaw:
            with self._changed:
                head = request.raw_head[:200] if request else b""
                self._violations.append(f"connection {connection.number}: {flaw} (after {head!r})")
        except Truncated as cut:
            # A cut body is told by request.complete; a cut head is nothing that a proxy may leave behind.
            if not isinstance(cut.message, Request) and not self.stopping.is_set():
                with self._changed:
                    self._violations.append(f"connection {connection.number}: request head cut: {cut}")
        except (_Ended, OSError):
            pass
        finally:
            connection.socket.close()
            with self._changed:
                self._open.pop(connection.number, None)
                self._changed.notify_all()

    def _secure(self, connection: Connection) -> bool:
        plain = connection.socket
        try:
            secured = self.tls.wrap_socket(plain, server_side=True)  # type: ignore[union-attr]
        except OSError as error:
            with self._changed:
                self.tls_failures.append(str(error))
            plain.close()
            return False
        with self._changed:
            self.tls_resumed.append(bool(secured.session_reused))
        connection.socket = secured
        connection.reader = Reader(lambda: secured.recv(65536))
        return True

    def _serve_request(self, connection: Connection, request: Request) -> None:
        request.complete = False
        with self._changed:
            self._requests.append(request)
            steps = self._steps_for(request)
            self._changed.notify_all()
        early = bool(steps) and steps[0] is EARLY
        if not steps and "100-continue" in [value.lower() for value in request.values("expect")]:
            connection.send(CONTINUE)
        body_read = False
        if not early:
            self._read_body(connection, request)
            body_read = True
        if steps is None:
            connection.send(OK if request.method != "HEAD" else OK[: OK.index(b"\r\n\r\n") + 4])
            return
        for step in steps:
            if step is READ_BODY and not body_read:
                self._read_body(connection, request)
                body_read = True
            elif step is not EARLY and step is not READ_BODY:
                self._run_step(connection, request, step)
        if not body_read:
            self._read_body(connection, request)

    def _steps_for(self, request: Request) -> tuple[Step, ...] | None:
        for marker, scripts in self._scripts.items():
            if marker in request.raw_head:
                return scripts.pop(0) if len(scripts) > 1 else scripts[0]
        return self.default

    def _read_body(self, connection: Connection, request: Request) -> None:
        read_request_body(connection.reader, request)
        with self._changed:
            request.complete = True
            self._changed.notify_all()

    def _run_step(self, connection: Connection, request: Request, step: Step) -> None:
        if isinstance(step, bytes):
            connection.send(step)
        elif step is CLOSE:
            raise _Ended
        elif step is RESET:
            connection.reset()
            raise _Ended
        elif step is HOLD:
            connection.wait_peer_close()
            raise _Ended
        elif isinstance(step, Wait):
            deadline.wait_until(lambda: step.event.is_set() or self.stopping.is_set(), "a scripted event", 60)
        else:
            assert callable(step), step
            step(connection, request)
