"""An HTTP/2 backend (python3-h2) that does what a test says, stream by stream, and records what it was asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from lib import deadline

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


class H2Connection:
    """What an answering function gets: the connection of the stream, safe to use from any thread."""

    def __init__(self, origin: H2Origin, sock: socket.socket, number: int):
        self.origin, self.socket, self.number = origin, sock, number
        self.lock = threading.RLock()
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
    (a path that is not named gets `ok` at its end)."""

    at_head: dict[str, Answer] = field(default_factory=dict)
    at_end: dict[str, Answer] = field(default_factory=dict)
    credit: bool = True  # give windows back

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.lock = threading.Lock()
        self.requests: list[H2Request] = []
        self.connections: list[H2Connection] = []
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def __enter__(self) -> H2Origin:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"h2c://127.0.0.1:{self.listener.getsockname()[1]}"

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
            connection = H2Connection(self, sock, len(self.connections))
            self.connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self.threads.append(thread)
            thread.start()

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
