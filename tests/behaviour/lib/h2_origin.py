"""An HTTP/2 backend (python3-h2) that does what a test says, stream by stream, and records what it was asked."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from lib import deadline
from lib.ports import HeldPort

Fields = list[tuple[str, str]]


@dataclass
class H2Request:
    connection: int
    stream: int
    fields: Fields
    body: bytes = b""
    trailers: Fields | None = None
    ended: bool = False
    reset: int | None = None

    def field(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key == name), None)


class TlsSocket:
    """A socket of TLS that one thread reads while others write, which OpenSSL by itself does not bear."""

    def __init__(self, secured: ssl.SSLSocket):
        self.secured = secured
        self.lock = threading.Lock()
        secured.setblocking(False)

    def _attempt(self, call: Callable, *arguments: object) -> object:
        while True:
            wanted: tuple[list, list] = ([self.secured], [])
            try:
                with self.lock:
                    return call(*arguments)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLWantWriteError:
                wanted = ([], [self.secured])
            select.select(*wanted, [], 1)

    def recv(self, size: int) -> bytes:
        return self._attempt(self.secured.recv, size)  # type: ignore[return-value]

    def sendall(self, data: bytes) -> None:
        while data:
            data = data[self._attempt(self.secured.send, data) :]  # type: ignore[misc]

    def shutdown(self, how: int) -> None:
        socket.socket.shutdown(self.secured, how)

    def close(self) -> None:
        self.secured.close()


class H2Connection:
    """What an answering function gets: the connection of the stream, safe to use from any thread."""

    def __init__(self, origin: H2Origin, sock: socket.socket | TlsSocket, number: int):
        self.origin, self.socket, self.number = origin, sock, number
        self.lock = threading.RLock()
        self.pending: dict[int, bytes] = {}
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data:
            self.socket.sendall(data)

    def answer(self, stream: int, body: bytes = b"ok", status: str = "200", fields: Fields = (), trailers: Fields = (),
               end: bool = True) -> None:
        with self.lock:
            self.h2.send_headers(stream, [(":status", status), *fields])
            if body:
                self.h2.send_data(stream, body, end_stream=end and not trailers)
            elif end and not trailers:
                self.h2.end_stream(stream)
            if trailers:
                self.h2.send_headers(stream, list(trailers), end_stream=True)
            self.flush()

    def answer_large(self, stream: int, body: bytes) -> None:
        """As much at once as the windows allow, the rest as they open."""
        with self.lock:
            self.h2.send_headers(stream, [(":status", "200"), ("content-length", str(len(body)))])
            self.pending[stream] = body
            self.pump()

    def pump(self) -> None:
        with self.lock:
            for stream, body in list(self.pending.items()):
                while body and (room := min(self.h2.local_flow_control_window(stream), 16384)):
                    self.h2.send_data(stream, body[:room], end_stream=len(body) <= room)
                    body = body[room:]
                self.pending[stream] = body
                if not body:
                    del self.pending[stream]
            self.flush()

    def reset(self, stream: int, code: int) -> None:
        with self.lock:
            self.h2.reset_stream(stream, code)
            self.flush()

    def raw(self, data: bytes) -> None:
        with self.lock:
            self.socket.sendall(data)


Answer = Callable[[H2Connection, H2Request], None]


def ok(connection: H2Connection, request: H2Request) -> None:
    connection.answer(request.stream, fields=[("content-length", "2")])


@dataclass
class H2Origin:
    """Listens on a port of the kernel's choice until stop(). `at_head` and `at_end` are called for each request, by path
    (a path that is not named gets `ok` at its end). With `tls`, whose ALPN must name "h2", it speaks TLS; a connection
    that agrees on something else is handed to `h1`."""

    at_head: dict[str, Answer] = field(default_factory=dict)
    at_end: dict[str, Answer] = field(default_factory=dict)
    credit: bool = True  # give windows back
    tls: ssl.SSLContext | None = None
    before_handshake: Callable[[], object] = lambda: None
    h1: Callable[[TlsSocket], object] = lambda _: None

    def __post_init__(self) -> None:
        self.held = HeldPort()
        self.listener = socket.create_server(("127.0.0.1", self.held.port))
        self.lock = threading.Lock()
        self.requests: list[H2Request] = []
        self.connections: list[H2Connection] = []
        self.accepted = 0
        self.agreed: list[str | None] = []  # by ALPN, of each handshake that succeeded
        self.resumed: list[bool] = []
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def __enter__(self) -> H2Origin:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'h2c'}://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return self.held.port

    def seen(self, path: str) -> list[H2Request]:
        with self.lock:
            return [request for request in self.requests if request.field(":path") == path]

    def wait_for(self, path: str, condition: Callable[[H2Request], object] = lambda _: True) -> H2Request:
        def found() -> H2Request | None:
            return next((request for request in self.seen(path) if condition(request)), None)

        return deadline.wait_until(found, f"a request for {path} of which the condition holds")

    def stop(self) -> None:
        self.listener.close()
        for connection in list(self.connections):
            try:
                connection.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in list(self.threads):
            thread.join(deadline.DEFAULT)

    def _accept(self) -> None:
        self.listener.settimeout(0.05)
        while True:
            try:
                sock, _ = self.listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            sock.settimeout(None)
            self.accepted += 1
            thread = threading.Thread(target=self._enter, args=(sock,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _enter(self, sock: socket.socket) -> None:
        used: socket.socket | TlsSocket = sock
        if self.tls:
            self.before_handshake()
            try:
                secured = self.tls.wrap_socket(sock, server_side=True)
            except OSError:
                sock.close()
                return
            with self.lock:
                self.agreed.append(secured.selected_alpn_protocol())
                self.resumed.append(bool(secured.session_reused))
            used = TlsSocket(secured)
            if secured.selected_alpn_protocol() != "h2":
                self.h1(used)
                used.close()
                return
        with self.lock:
            connection = H2Connection(self, used, len(self.connections))
            self.connections.append(connection)
        self._serve(connection)

    def _serve(self, connection: H2Connection) -> None:
        streams: dict[int, H2Request] = {}
        try:
            with connection.lock:
                connection.h2.initiate_connection()
                connection.flush()
            while data := connection.socket.recv(65536):
                with connection.lock:
                    events = connection.h2.receive_data(data)
                    connection.flush()
                for event in events:
                    self._on_event(connection, streams, event)
        except (OSError, h2.exceptions.ProtocolError):
            pass
        finally:
            connection.socket.close()

    def _on_event(self, connection: H2Connection, streams: dict[int, H2Request], event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            request = H2Request(connection.number, event.stream_id, list(event.headers))
            streams[event.stream_id] = request
            with self.lock:
                self.requests.append(request)
            act = self.at_head.get(request.field(":path") or "")
            if act:
                act(connection, request)
        elif isinstance(event, h2.events.DataReceived):
            streams[event.stream_id].body += event.data
            if self.credit:
                with connection.lock:
                    connection.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    connection.flush()
        elif isinstance(event, h2.events.WindowUpdated):
            connection.pump()
        elif isinstance(event, h2.events.TrailersReceived):
            streams[event.stream_id].trailers = list(event.headers)
        elif isinstance(event, h2.events.StreamReset):
            streams[event.stream_id].reset = event.error_code
        elif isinstance(event, h2.events.StreamEnded):
            request = streams[event.stream_id]
            request.ended = True
            path = request.field(":path") or ""
            if path not in self.at_head:
                self.at_end.get(path, ok)(connection, request)
