"""WebSocket over HTTP/2 (RFC 8441): by hand over lib.h2frames, and a client of python3-h2 that carries the handshake and
frames of the `websockets` library."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import h2.config
import h2.connection
import h2.events
import h2.settings
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame as LibraryFrame
from websockets.frames import Opcode
from websockets.streams import StreamReader

from lib import deadline
from lib.h2frames import END_HEADERS, END_STREAM, H2Client, Stream, block, data, headers
from lib.http1 import Truncated
from lib.websocket import Frame, apply_mask, expect_close

Field = tuple[bytes, bytes]


def connect(
    stream: int,
    path: bytes | None = b"/ws",
    *fields: Field,
    flags: int = END_HEADERS,
    method: bytes = b"CONNECT",
    protocol: bytes | None = b"websocket",
    scheme: bytes | None = b"https",
    authority: bytes | None = b"a.test",
    version: bytes | None = b"13",
) -> bytes:
    """The extended CONNECT; a pseudo-header that is None is left out."""
    pseudo = (
        (b":method", method), (b":protocol", protocol), (b":scheme", scheme), (b":path", path),
        (b":authority", authority), (b"sec-websocket-version", version),
    )  # fmt: skip
    return headers(stream, block(*((name, value) for name, value in pseudo if value is not None), *fields), flags)


class H2WebSocket:
    """A WebSocket on one stream of `client`, frames by hand. Mirrors lib.websocket.RawWebSocket."""

    def __init__(self, client: H2Client, stream: int = 1, path: str = "/ws", *fields: Field, behind: bytes = b""):
        self.client = client
        self.number = stream
        early = data(stream, behind, 0) if behind else b""
        client.send(connect(stream, path.encode(), *fields) + early)
        client.wait(lambda: self.stream.fields or self.stream.over, f"the answer on stream {stream}")
        assert self.stream.status == 200 and not self.stream.over, self.stream
        self._at = 0  # of what came on the stream, taken

    @property
    def stream(self) -> Stream:
        return self.client.stream(self.number)

    def send(self, *frames: bytes, flags: int = 0) -> None:
        """Each in one DATA frame of its own."""
        self.client.send(*(data(self.number, each, flags) for each in frames))

    def end(self) -> None:
        """END_STREAM, which is a FIN here."""
        self.client.send(data(self.number, b"", END_STREAM))

    def take(self, size: int) -> bytes:
        def there() -> bool:
            return len(self.stream.body) - self._at >= size or self.stream.over

        # A client that gives back each frame's window by itself may get many bytes in ever smaller frames.
        patience = self.client.timeout * (1 + size / (2 << 20))
        self.client.wait(there, f"{size} bytes on stream {self.number}", patience)
        taken = bytes(self.stream.body[self._at : self._at + size])
        if len(taken) < size:
            raise Truncated(f"{len(taken)} of {size} bytes on stream {self.number}, {self.stream.reset=}")
        self._at += size
        return taken

    def read(self) -> Frame:
        first, second = self.take(2)
        length = second & 0x7F
        if length >= 126:
            length = int.from_bytes(self.take(2 if length == 126 else 8))
        mask = self.take(4) if second & 0x80 else b""
        payload = self.take(length)
        return Frame(first & 0x0F, apply_mask(payload, mask) if mask else payload, bool(mask), bool(first & 0x80))

    def expect_close(self, code: int) -> None:
        expect_close(self.read(), code, masked=False)

    def expect_end(self) -> None:
        """END_STREAM, and nothing before it that was not taken."""
        self.client.wait(lambda: self.stream.over, f"the end of stream {self.number}")
        assert self.stream.ended, f"reset: {self.client.story()}"
        assert len(self.stream.body) == self._at, bytes(self.stream.body[self._at :])[:200]


class LibraryH2:
    """python3-h2 as the client, over any socket; `open` gives WebSockets, each on a stream of its own."""

    def __init__(self, sock: socket.socket):
        self.socket = sock
        sock.settimeout(deadline.DEFAULT)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.sockets: dict[int, LibraryWebSocket] = {}
        self.flush()
        self.wait(lambda: self.h2.remote_settings.enable_connect_protocol == 1, "SETTINGS_ENABLE_CONNECT_PROTOCOL")

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def wait(self, condition: Callable[[], object], what: str) -> None:
        while not condition():
            received = self.socket.recv(1 << 16)
            assert received, f"the connection ended before {what}"
            for event in self.h2.receive_data(received):
                if isinstance(event, h2.events.DataReceived):
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    self.sockets[event.stream_id].reader.feed_data(event.data)
                elif isinstance(event, h2.events.ResponseReceived):
                    self.sockets[event.stream_id].fields = dict(event.headers)
                elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                    self.sockets[event.stream_id].over = event
            self.flush()

    def open(self, path: str, *fields: tuple[str, str], deflate: bool = False) -> LibraryWebSocket:
        return LibraryWebSocket(self, path, fields, deflate)

    def close(self) -> None:
        self.socket.close()


class LibraryWebSocket:
    """Framing, masks and compression are the library's."""

    def __init__(self, connection: LibraryH2, path: str, fields: tuple[tuple[str, str], ...], deflate: bool):
        self.connection = connection
        self.number = connection.h2.get_next_available_stream_id()
        connection.sockets[self.number] = self
        self.reader = StreamReader()
        self.fields: dict[str, str] = {}
        self.over: h2.events.Event | None = None
        factory = ClientPerMessageDeflateFactory(client_max_window_bits=15)
        if deflate:
            offer = "; ".join(
                name if value is None else f"{name}={value}" for name, value in factory.get_request_params()
            )
            fields = (*fields, ("sec-websocket-extensions", f"permessage-deflate; {offer}"))
        connection.h2.send_headers(
            self.number,
            [
                (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", path),
                (":authority", "a.test"), ("sec-websocket-version", "13"), *fields,
            ],
        )  # fmt: skip
        connection.flush()
        connection.wait(lambda: self.fields or self.over, "an answer")
        assert self.fields[":status"] == "200", self.fields
        self.extensions: list[PerMessageDeflate] = []
        if "sec-websocket-extensions" in self.fields:
            parts = [part.strip() for part in self.fields["sec-websocket-extensions"].split(";")]
            assert parts[0] == "permessage-deflate", parts
            parameters = [(name, value or None) for name, _, value in (part.partition("=") for part in parts[1:])]
            self.extensions = [factory.process_response_params(parameters, [])]

    def send(self, opcode: Opcode, payload: bytes, fin: bool = True) -> None:
        rest = LibraryFrame(opcode, payload, fin).serialize(mask=True, extensions=self.extensions)
        h2_ = self.connection.h2
        while rest:
            self.connection.wait(lambda: h2_.local_flow_control_window(self.number) > 0 or self.over, "a window")
            most = min(h2_.local_flow_control_window(self.number), h2_.max_outbound_frame_size)
            h2_.send_data(self.number, rest[:most])
            rest = rest[most:]
            self.connection.flush()

    def receive(self) -> LibraryFrame:
        """The next frame; fails at the end of the stream."""
        parser: Iterator[None] = LibraryFrame.parse(
            self.reader.read_exact, mask=False, max_size=None, extensions=self.extensions
        )
        while True:
            try:
                next(parser)
            except StopIteration as done:
                return done.value
            have = len(self.reader.buffer)
            self.connection.wait(lambda: len(self.reader.buffer) > have or self.over, "more of a frame")
            assert len(self.reader.buffer) > have, f"the stream is over: {self.over}"

    def end(self) -> None:
        self.connection.h2.end_stream(self.number)
        self.connection.flush()
        self.connection.wait(lambda: self.over, "the stream's end")
