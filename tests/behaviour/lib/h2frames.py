"""HTTP/2 by hand: any frame and any header block as bytes, and a client that reads what comes back strictly.

What is sent is exactly what a test wrote down, valid or not. What is received is held to RFC 9113 as a client must
hold it: frame sizes, stream states, flow-control windows, field syntax, content-length; a flaw is a `Violation`.
python3-hpack decodes header blocks and does the Huffman coding; all else is here and shares nothing with DAO.
"""

from __future__ import annotations

import re
import select
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import hpack
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from lib import deadline
from lib.client import RawClient
from lib.http1 import TOKEN, Violation

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
FRAMES = "DATA HEADERS PRIORITY RST_STREAM SETTINGS PUSH_PROMISE PING GOAWAY WINDOW_UPDATE CONTINUATION".split()
PRIORITY_UPDATE = 0x10  # RFC 9218 section 7.1

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20
WHOLE = END_STREAM | END_HEADERS

# RFC 9113 section 6.5.2, RFC 8441 section 3
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)
MAX_HEADER_LIST_SIZE = 6
ENABLE_CONNECT_PROTOCOL = 8
NO_RFC7540_PRIORITIES = 9  # RFC 9218 section 2.1

# RFC 9113 section 7
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR = range(
    7
)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY = range(7, 13)
ERRORS = (
    "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR "
    "REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM INADEQUATE_SECURITY HTTP_1_1_REQUIRED"
).split()

WINDOW = 65535
WINDOW_MAX = (1 << 31) - 1
FRAME_MAX = 16384  # what each side takes before it says otherwise

Field = tuple[bytes, bytes]


def error_name(code: int) -> str:
    return ERRORS[code] if code < len(ERRORS) else f"error {code:#x}"


# Frames ---------------------------------------------------------------------------------------------------------


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """Any frame; `length` lies about the length of the payload, and bit 31 of `stream` is the reserved bit."""
    return struct.pack("!I", len(payload) if length is None else length)[1:] + struct.pack(
        "!BBI", kind, flags, stream
    ) + payload  # fmt: skip


def data(stream: int, payload: bytes = b"", flags: int = END_STREAM, pad: int | None = None) -> bytes:
    if pad is not None:
        return frame(DATA, flags | PADDED, stream, bytes([pad]) + payload + bytes(pad))
    return frame(DATA, flags, stream, payload)


def headers(stream: int, block: bytes, flags: int = WHOLE, pad: int | None = None, priority: bytes = b"") -> bytes:
    """A HEADERS frame; `priority` is the five bytes that priority_fields() makes."""
    payload = priority + block
    if priority:
        flags |= WITH_PRIORITY
    if pad is not None:
        return frame(HEADERS, flags | PADDED, stream, bytes([pad]) + payload + bytes(pad))
    return frame(HEADERS, flags, stream, payload)


def continuation(stream: int, block: bytes = b"", flags: int = END_HEADERS) -> bytes:
    return frame(CONTINUATION, flags, stream, block)


def priority_fields(depends: int = 0, weight: int = 15, exclusive: bool = False) -> bytes:
    return struct.pack("!IB", depends | (0x80000000 if exclusive else 0), weight)


def priority(stream: int, depends: int = 0, weight: int = 15, exclusive: bool = False) -> bytes:
    return frame(PRIORITY, 0, stream, priority_fields(depends, weight, exclusive))


def rst_stream(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack("!I", code))


def settings(*values: tuple[int, int], flags: int = 0, stream: int = 0) -> bytes:
    return frame(SETTINGS, flags, stream, b"".join(struct.pack("!HI", *value) for value in values))


SETTINGS_ACK = settings(flags=ACK)


def ping(payload: bytes = b"testping", flags: int = 0, stream: int = 0) -> bytes:
    return frame(PING, flags, stream, payload)


def goaway(last: int = 0, code: int = NO_ERROR, debug: bytes = b"", stream: int = 0) -> bytes:
    return frame(GOAWAY, 0, stream, struct.pack("!II", last, code) + debug)


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack("!I", increment))


# HPACK (RFC 7541) -----------------------------------------------------------------------------------------------

_huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)

PLAIN, INCREMENTAL, NEVER = (0x00, 4), (0x40, 6), (0x10, 4)  # section 6.2: the first bits, and the prefix they leave


def integer(value: int, first: int = 0, prefix: int = 7) -> bytes:
    """Section 5.1: `value` in a prefix of so many bits, the bits above it from `first`."""
    limit = (1 << prefix) - 1
    if value < limit:
        return bytes([first | value])
    out = [first | limit]
    value -= limit
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    return bytes([*out, value])


def string(text: bytes, huffman: bool = False) -> bytes:
    """Section 5.2."""
    if huffman:
        coded = _huffman.encode(text)
        return integer(len(coded), 0x80) + coded
    return integer(len(text)) + text


def indexed(index: int) -> bytes:
    """Section 6.1."""
    return integer(index, 0x80, 7)


def literal(
    name: bytes | int, value: bytes, form: tuple[int, int] = PLAIN, name_huffman: bool = False, huffman: bool = False
) -> bytes:
    """Section 6.2: the name as bytes or as an index."""
    first, prefix = form
    if isinstance(name, int):
        return integer(name, first, prefix) + string(value, huffman)
    return bytes([first]) + string(name, name_huffman) + string(value, huffman)


def table_size(size: int) -> bytes:
    """Section 6.3."""
    return integer(size, 0x20, 5)


def block(*fields: Field) -> bytes:
    """A header block of literals without indexing and without Huffman coding: any bytes as they are."""
    return b"".join(literal(name, value) for name, value in fields)


def request(
    *fields: Field,
    method: bytes | None = b"GET",
    scheme: bytes | None = b"http",
    authority: bytes | None = b"a.test",
    path: bytes | None = b"/CASE",
) -> bytes:
    """The header block of a request; a pseudo-header that is None is left out."""
    pseudo = ((b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path))
    return block(*((name, value) for name, value in pseudo if value is not None), *fields)


def get(stream: int = 1, *fields: Field, **pseudo: bytes | None) -> bytes:
    """A complete GET in one HEADERS frame."""
    return headers(stream, request(*fields, **pseudo))


def post(stream: int = 1, *fields: Field, **pseudo: bytes | None) -> bytes:
    """The HEADERS frame of a POST whose content is to follow."""
    return headers(stream, request(*fields, **{"method": b"POST", **pseudo}), END_HEADERS)


# The client -----------------------------------------------------------------------------------------------------


@dataclass
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    def __str__(self) -> str:
        name = FRAMES[self.kind] if self.kind < len(FRAMES) else f"frame {self.kind:#x}"
        more = f" +{len(self.payload)}"
        if self.kind == RST_STREAM and len(self.payload) == 4:
            more = " " + error_name(int.from_bytes(self.payload))
        if self.kind == GOAWAY and len(self.payload) >= 8:
            last, code = struct.unpack("!II", self.payload[:8])
            more = f" last={last} {error_name(code)} {self.payload[8:]!r}"
        return f"{name}({self.flags:#x}, {self.stream}){more}"


@dataclass
class Stream:
    """What the server said on one stream. Fields are str as in lib.http1."""

    number: int
    window: int  # what the server may still send on it
    interim: list[list[tuple[str, str]]] = field(default_factory=list)
    fields: list[tuple[str, str]] | None = None
    body: bytearray = field(default_factory=bytearray)
    trailers: list[tuple[str, str]] | None = None
    ended: bool = False  # END_STREAM came
    reset: int | None = None  # the code of RST_STREAM
    send_window: int = 0  # the increments of its WINDOW_UPDATE frames, summed up
    data_frames: list[int] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None

    @property
    def status(self) -> int:
        assert self.fields, f"no response on stream {self.number}: {self}"
        return int(self.fields[0][1])

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields or [] if key == name]


_STATUS = re.compile("[1-5][0-9][0-9]")
_CONNECTION_SPECIFIC = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")


class H2Client:
    """One HTTP/2 connection with prior knowledge. Every wait has a deadline; closes at exit.

    Answers SETTINGS and PING as it must, and (with `auto_window`) opens windows for all that it receives. `ended`
    tells that the server closed, `goaways` holds (last stream, code) of each GOAWAY.
    """

    def __init__(
        self,
        address: tuple[str, int] | str,
        *,
        settings: Mapping[int, int] | None = None,
        handshake: bool = True,
        auto_window: bool = True,
        timeout: float = deadline.DEFAULT,
    ):
        self.raw = RawClient(address, timeout)
        self.timeout = timeout
        self.auto_window = auto_window
        self.auto_settings = True
        self.frames: list[str] = []
        self.streams: dict[int, Stream] = {}
        self.goaways: list[tuple[int, int]] = []
        self.pongs: list[bytes] = []
        self.acked = 0  # SETTINGS acknowledged by the server
        self.ended = False
        self.peer: dict[int, int] = {}  # the server's settings
        self.window = WINDOW  # what the server may still send on the connection
        self.send_window = WINDOW  # what it lets us send
        self.heads: set[int] = set()  # streams on which HEAD was sent: content-length without content
        self._initial_window = WINDOW
        self._max_frame = FRAME_MAX
        self._sent_settings: deque[dict[int, int]] = deque()  # not acknowledged yet
        self._acked_settings: dict[int, int] = {}
        self._decoder = hpack.Decoder(max_header_list_size=1 << 20)
        self._open_block: Frame | None = None  # HEADERS without END_HEADERS
        self._started = False
        self._fence = 0x100001
        self._pings = 0
        self._queue: deque[bytes] | None = None  # what is to be sent between two pieces of a flood
        if handshake:
            self.send(PREFACE)
            self.send_settings(settings or {})
            self.wait(lambda: self.acked == 1 and self._started, "the server's SETTINGS and its ACK of ours")

    def __enter__(self) -> H2Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.raw.close()

    # Sending ----------------------------------------------------------------------------------------------------

    def send(self, *pieces: bytes) -> None:
        """Sends each piece with its own send(2). A server that has closed ends it quietly, to be seen when reading."""
        if self._queue is not None:
            self._queue.extend(pieces)
        else:
            self.raw.send(*pieces)

    def send_settings(self, values: Mapping[int, int]) -> None:
        """Sends SETTINGS and holds the server to them: to larger values at once, to smaller ones from its ACK on."""
        self._sent_settings.append(dict(values))
        self._apply_settings()
        self.send(settings(*values.items()))

    def get(self, stream: int, path: str, *fields: Field, **pseudo: bytes | None) -> Stream:
        """A GET, and the whole answer."""
        self.send(get(stream, *fields, path=path.encode(), **pseudo))
        return self.response(stream)

    def flood(self, pieces: Iterable[bytes]) -> int:
        """Sends the pieces as fast as the server takes them, reading along, until it closes or announces an error by
        GOAWAY. Returns how many bytes went out."""
        sent = 0
        sock = self.raw.socket
        sock.setblocking(False)
        source = iter(pieces)
        piece = next(source, b"")
        last = time.monotonic()
        self._queue = deque()
        while piece and not self.ended and not self.failed:
            readable, writable, _ = select.select([sock], [sock], [], 0.1)
            if readable:
                self._take_available()
                last = time.monotonic()
            if writable and not self.ended:
                try:
                    count = sock.send(piece)
                except BlockingIOError:
                    continue
                except OSError:
                    break
                sent += count
                piece = piece[count:] or (self._queue.popleft() if self._queue else next(source, b""))
                last = time.monotonic()
            assert time.monotonic() - last < self.timeout, f"the server neither read nor spoke; {self.story()}"
        self._queue = None
        return sent

    # Reading ----------------------------------------------------------------------------------------------------

    @property
    def failed(self) -> bool:
        """Whether the server announced an error of the connection."""
        return any(code != NO_ERROR for _, code in self.goaways)

    def stream(self, number: int) -> Stream:
        if number not in self.streams:
            self.streams[number] = Stream(number, self._initial_window)
        return self.streams[number]

    def wait(self, condition: Callable[[], object], what: str, timeout: float | None = None) -> None:
        """Reads frames until the condition holds; fails if the server closes before, or at the deadline."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while not condition():
            assert not self.ended, f"the connection ended before {what}; {self.story()}"
            self._read(end, what)

    def wait_end(self, timeout: float | None = None) -> None:
        """Reads on until the server has closed the connection."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while not self.ended:
            self._read(end, "the server to close")

    def response(self, stream: int, timeout: float | None = None) -> Stream:
        """Waits until the stream is over (by END_STREAM or by RST_STREAM)."""
        self.wait(lambda: self.stream(stream).over, f"the answer on stream {stream}", timeout)
        return self.stream(stream)

    def sync(self) -> None:
        """A PING and its answer: the server has dealt with all frames sent before."""
        self._pings += 1
        payload = b"sync%04d" % self._pings
        self.send(ping(payload))
        self.wait(lambda: payload in self.pongs, "a PING's answer")

    def fence(self) -> None:
        """Asserts that the connection still serves requests."""
        number, self._fence = self._fence, self._fence + 2
        answer = self.get(number, "/fence")
        assert answer.ended and answer.status == 200 and answer.body == b"ok", f"no good answer: {self.story()}"

    def story(self) -> str:
        return "received: " + (", ".join(self.frames[-40:]) or "nothing") + (", end" if self.ended else "")

    def _read(self, end: float, what: str) -> None:
        left = end - time.monotonic()
        try:
            assert left > 0, "deadline"
            start = self.raw.wait_bytes(9, left)
            if len(start) >= 9:
                start = self.raw.wait_bytes(9 + int.from_bytes(start[:3]), left)
        except AssertionError:
            raise AssertionError(f"waited in vain for {what}; {self.story()}") from None
        if len(start) < 9 or len(start) < 9 + int.from_bytes(start[:3]):
            self.ended = True
            # What a flooded server still had to say may be cut by its RST; a FIN within a frame is never right.
            if start and not self.raw.reader.reset:
                raise Violation(f"closed within a frame: {start[:40]!r}")
            return
        self._take_frame()

    def _take_available(self) -> None:
        """Takes what has arrived, without waiting."""
        self.raw._end = time.monotonic() + self.timeout
        if not self.raw.reader.fill():
            self.ended = True
        self.raw.socket.setblocking(False)
        while len(have := self.raw.reader.buffered) >= 9 and len(have) >= 9 + int.from_bytes(have[:3]):
            self._take_frame()

    def _take_frame(self) -> None:
        self.raw.reader.restart_record()
        head = self.raw.reader.take(9)
        length, (kind, flags, stream) = int.from_bytes(head[:3]), struct.unpack("!BBI", head[3:])
        got = Frame(kind, flags, stream & 0x7FFFFFFF, self.raw.reader.take(length))
        self.frames.append(str(got))
        try:
            if length > self._max_frame:
                raise Violation(f"a frame of {length} bytes")
            if kind not in _FLAGS or flags & ~_FLAGS[kind] or stream >> 31:
                raise Violation("a type, a flag or a reserved bit that nobody agreed on (RFC 9113 section 4.1)")
            if not self._started and (kind != SETTINGS or flags & ACK):
                raise Violation("the server's first frame is not SETTINGS (RFC 9113 section 3.4)")
            if self._open_block and (kind != CONTINUATION or got.stream != self._open_block.stream):
                raise Violation("a frame within a header block (RFC 9113 section 4.3)")
            if kind < len(_HANDLERS):
                _HANDLERS[kind](self, got)
        except Violation as flaw:
            raise Violation(f"{flaw}; {self.story()}") from None

    def _on_data(self, got: Frame) -> None:
        stream = self._live(got)
        payload = _unpadded(got)
        if stream.fields is None:
            raise Violation("DATA before HEADERS")
        stream.window -= len(got.payload)
        self.window -= len(got.payload)
        if stream.window < 0 or self.window < 0:
            raise Violation(f"more DATA than the window allows: {stream.window} {self.window}")
        stream.body += payload
        stream.data_frames.append(len(payload))
        if got.flags & END_STREAM:
            self._end_stream(stream)
        if self.auto_window and got.payload:
            self.grant(got.stream, len(got.payload))

    def grant(self, stream: int, increment: int) -> None:
        """Opens the connection's window, and the stream's if it still runs."""
        self.grant_connection(increment)
        if not self.stream(stream).over:
            self.grant_stream(stream, increment)

    def grant_stream(self, stream: int, increment: int) -> None:
        self.stream(stream).window += increment
        self.send(window_update(stream, increment))

    def grant_connection(self, increment: int) -> None:
        self.window += increment
        self.send(window_update(0, increment))

    def _on_headers(self, got: Frame) -> None:
        self._live(got)
        payload = _unpadded(got)
        if got.flags & WITH_PRIORITY:
            payload = payload[5:]
        self._open_block = Frame(got.kind, got.flags, got.stream, payload)
        if got.flags & END_HEADERS:
            self._end_block()

    def _on_continuation(self, got: Frame) -> None:
        if not self._open_block:
            raise Violation("CONTINUATION without HEADERS")
        self._open_block.payload += got.payload
        if got.flags & END_HEADERS:
            self._end_block()

    def _end_block(self) -> None:
        opened, self._open_block = self._open_block, None
        assert opened
        try:
            decoded = self._decoder.decode(opened.payload, raw=True)
        except hpack.HPACKError as error:
            raise Violation(f"HPACK: {error!r}") from None
        stream = self.stream(opened.stream)
        fields = [(bytes(name), bytes(value)) for name, value in decoded]
        _check_fields(fields, trailers=stream.fields is not None)
        text = [(name.decode(), value.decode("latin-1")) for name, value in fields]
        end = bool(opened.flags & END_STREAM)
        if stream.fields is not None:
            if not end:
                raise Violation("trailers without END_STREAM")
            stream.trailers = text
        elif text[0][1].startswith("1"):
            if end or text[0][1] == "101":
                raise Violation(f"{text[0][1]} with END_STREAM, or 101")
            stream.interim.append(text)
        else:
            stream.fields = text
        if end:
            self._end_stream(stream)

    def _end_stream(self, stream: Stream) -> None:
        stream.ended = True
        lengths = stream.values("content-length")
        if len(lengths) > 1:
            raise Violation(f"content-length {lengths}")
        if lengths and stream.number not in self.heads and stream.status != 304:
            if int(lengths[0]) != len(stream.body):
                raise Violation(f"content-length {lengths[0]} with {len(stream.body)} bytes of DATA")
        if stream.status in (204, 304) and stream.body:
            raise Violation(f"{stream.status} with content")

    def _on_rst_stream(self, got: Frame) -> None:
        if len(got.payload) != 4 or got.stream == 0:
            raise Violation("bad RST_STREAM")
        self.stream(got.stream).reset = int.from_bytes(got.payload)

    def _on_settings(self, got: Frame) -> None:
        if got.stream or len(got.payload) % 6 or (got.flags & ACK and got.payload):
            raise Violation("bad SETTINGS")
        if got.flags & ACK:
            self.acked += 1
            if self._sent_settings:  # not those that a test sent by hand
                self._acked_settings.update(self._sent_settings.popleft())
                self._apply_settings()
            return
        self._started = True
        for identifier, value in struct.iter_unpack("!HI", got.payload):
            self.peer[identifier] = value
        if self.peer.get(ENABLE_PUSH, 0) != 0:
            raise Violation("a server that sets ENABLE_PUSH (RFC 9113 section 6.5.2)")
        if not FRAME_MAX <= self.peer.get(MAX_FRAME_SIZE, FRAME_MAX) < 1 << 24:
            raise Violation("MAX_FRAME_SIZE out of range")
        if self.auto_settings:
            self.send(SETTINGS_ACK)

    def _limit(self, identifier: int, default: int) -> int:
        """What the server is held to: its last acknowledged value, or a larger one that is on its way."""
        pending = [values[identifier] for values in self._sent_settings if identifier in values]
        return max(self._acked_settings.get(identifier, default), *pending, 0)

    def _apply_settings(self) -> None:
        """INITIAL_WINDOW_SIZE moves the windows of open streams too (RFC 9113 section 6.9.2)."""
        window = self._limit(INITIAL_WINDOW_SIZE, WINDOW)
        for stream in self.streams.values():
            stream.window += window - self._initial_window
        self._initial_window = window
        self._max_frame = self._limit(MAX_FRAME_SIZE, FRAME_MAX)
        self._decoder.max_allowed_table_size = self._limit(HEADER_TABLE_SIZE, 4096)

    def _on_push_promise(self, got: Frame) -> None:
        raise Violation("PUSH_PROMISE")

    def _on_ping(self, got: Frame) -> None:
        if got.stream or len(got.payload) != 8:
            raise Violation("bad PING")
        if got.flags & ACK:
            self.pongs.append(got.payload)
        else:
            self.send(ping(got.payload, ACK))

    def _on_goaway(self, got: Frame) -> None:
        if got.stream or len(got.payload) < 8:
            raise Violation("bad GOAWAY")
        last, code = struct.unpack("!II", got.payload[:8])
        if last >> 31:
            raise Violation("a reserved bit in GOAWAY")
        if self.goaways and last > self.goaways[-1][0]:
            raise Violation("GOAWAY raises the last stream (RFC 9113 section 6.8)")
        self.goaways.append((last, code))

    def _on_window_update(self, got: Frame) -> None:
        if len(got.payload) != 4 or not 0 < int.from_bytes(got.payload) <= WINDOW_MAX:
            raise Violation("bad WINDOW_UPDATE")
        if got.stream:
            self.stream(got.stream).send_window += int.from_bytes(got.payload)
        else:
            self.send_window += int.from_bytes(got.payload)

    def _on_priority(self, got: Frame) -> None:
        pass

    def _live(self, got: Frame) -> Stream:
        if got.stream % 2 == 0:
            raise Violation("a stream that this client cannot have opened")
        stream = self.stream(got.stream)
        if stream.over:
            raise Violation("a frame on a stream that is over")
        return stream


# What a server may set in the frames it sends.
_FLAGS = {
    DATA: END_STREAM | PADDED,
    HEADERS: END_STREAM | END_HEADERS | PADDED | WITH_PRIORITY,
    PRIORITY: 0,
    RST_STREAM: 0,
    SETTINGS: ACK,
    PUSH_PROMISE: END_HEADERS | PADDED,
    PING: ACK,
    GOAWAY: 0,
    WINDOW_UPDATE: 0,
    CONTINUATION: END_HEADERS,
}

_HANDLERS: list[Callable[[H2Client, Frame], None]] = [
    H2Client._on_data,
    H2Client._on_headers,
    H2Client._on_priority,
    H2Client._on_rst_stream,
    H2Client._on_settings,
    H2Client._on_push_promise,
    H2Client._on_ping,
    H2Client._on_goaway,
    H2Client._on_window_update,
    H2Client._on_continuation,
]


def _unpadded(got: Frame) -> bytes:
    if not got.flags & PADDED:
        return got.payload
    if not got.payload or got.payload[0] >= len(got.payload):
        raise Violation("bad padding")
    return got.payload[1 : len(got.payload) - got.payload[0]]


def _check_fields(fields: list[Field], trailers: bool) -> None:
    """RFC 9113 sections 8.1 to 8.3, of a response."""
    pseudo = [name for name, _ in fields if name.startswith(b":")]
    if pseudo != ([] if trailers else [b":status"]) or (pseudo and fields[0][0] != b":status"):
        raise Violation(f"pseudo-headers {pseudo}")
    if pseudo and not _STATUS.fullmatch(fields[0][1].decode("latin-1")):
        raise Violation(f":status {fields[0][1]!r}")
    for name, value in fields[len(pseudo) :]:
        if not TOKEN.fullmatch(name) or name != name.lower():
            raise Violation(f"field name {name!r}")
        if not _VALUE.fullmatch(value):
            raise Violation(f"field value {name!r}: {value!r}")
        if name.decode() in _CONNECTION_SPECIFIC:
            raise Violation(f"connection-specific field {name!r}")
