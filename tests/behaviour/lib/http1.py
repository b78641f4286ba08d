"""A strict HTTP/1.x reader, the oracle of these tests.

Written from RFC 9110 and RFC 9112 alone and sharing nothing with DAO: where the RFCs leave a choice it takes the
strictest reading, so that whatever passes here can be read in one way only. The recording origin reads requests with
it, the raw client reads responses with it, and the smuggling oracle uses it to tell which of the bytes that were sent
were well-formed requests.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/(1\.[01])")
_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9]{2}) ([\t \x21-\x7e\x80-\xff]*)")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(;[\t \x21-\x7e\x80-\xff]*)?")
_DIGITS = re.compile(r"[0-9]{1,18}")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(r"http://([^/?#]*)([^#]*)", re.IGNORECASE)

LINE_MAX = 1 << 20


class Violation(Exception):
    """The bytes are not the one thing a strict HTTP/1.x peer may send here."""


class Truncated(Exception):
    """The peer closed or reset the connection within a message; `message` holds what had arrived, if a head had."""

    def __init__(self, what: str, message: object = None):
        super().__init__(what)
        self.message = message


class Reader:
    """Takes lines and counted bytes out of a byte source. `receive` returns b"" at the end and may raise OSError."""

    def __init__(self, receive: Callable[[], bytes]):
        self._receive = receive
        self._buffer = b""
        self._taken = b""
        self.ended = False
        self.reset = False

    @classmethod
    def of_bytes(cls, data: bytes) -> Reader:
        pieces = iter((data,))
        return cls(lambda: next(pieces, b""))

    @property
    def buffered(self) -> bytes:
        """What arrived and was not taken yet."""
        return self._buffer

    def restart_record(self) -> None:
        """From here on `recorded` collects every byte taken."""
        self._taken = b""

    @property
    def recorded(self) -> bytes:
        return self._taken

    def fill(self) -> bool:
        """Waits for more bytes; False at the end of the stream (then `ended`, and `reset` if it was an error)."""
        if self.ended:
            return False
        try:
            data = self._receive()
        except (ConnectionResetError, BrokenPipeError):
            data, self.reset = b"", True
        if not data:
            self.ended = True
            return False
        self._buffer += data
        return True

    def take(self, count: int) -> bytes:
        """Takes exactly `count` bytes, or raises Truncated with what there was already taken."""
        while len(self._buffer) < count:
            if not self.fill():
                got, self._buffer = self._buffer, b""
                self._taken += got
                raise Truncated(f"{len(got)} of {count} bytes", got)
        return self._pop(count)

    def take_rest(self) -> bytes:
        while self.fill():
            pass
        return self._pop(len(self._buffer))

    def take_line(self) -> bytes:
        """Takes one CRLF-terminated line and returns it without the CRLF. Bare CR, bare LF and NUL are violations."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > LINE_MAX:
                raise Violation("endless line")
            if not self.fill():
                raise Truncated(f"line cut after {self._buffer[:80]!r}")
        line = self._pop(end + 1)
        if not line.endswith(b"\r\n"):
            raise Violation(f"bare LF after {line[:120]!r}")
        if b"\r" in line[:-2] or b"\0" in line:
            raise Violation(f"bare CR or NUL in {line[:120]!r}")
        return line[:-2]

    def _pop(self, count: int) -> bytes:
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        self._taken += data
        return data


@dataclass
class Message:
    """What requests and responses share. Field names are lower-case str, values latin-1 str without outer space."""

    version: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    framing: str = "none"  # "none", "length", "chunked" or (responses only) "close"
    complete: bool = True  # False: the connection ended within the body
    raw_head: bytes = b""
    extensions: bool = False  # a chunk carried an extension

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name.lower()]

    def value(self, name: str) -> str | None:
        """The one value of a field that occurs at most once; a repetition is an assertion failure."""
        values = self.values(name)
        assert len(values) <= 1, f"{name} occurs {len(values)} times: {values}"
        return values[0] if values else None

    def elements(self, name: str) -> list[str]:
        """The comma-separated elements of all values of a field, stripped, without empty ones."""
        return [part.strip() for value in self.values(name) for part in value.split(",") if part.strip()]


@dataclass
class Request(Message):
    method: str = ""
    target: str = ""
    connection: int = 0  # which connection of the origin it came on
    raw: bytes = b""  # head, framing and body as received


@dataclass
class Response(Message):
    status: int = 0
    reason: str = ""
    interim: list[Response] = field(default_factory=list)  # the 1xx responses before this one


def parse_field(line: bytes) -> tuple[str, str]:
    """One field line (RFC 9112 section 5): name ":" OWS value OWS, no space before the colon, no folding."""
    name, colon, value = line.partition(b":")
    if not colon or not TOKEN.fullmatch(name):
        raise Violation(f"bad field line {line[:120]!r}")
    value = value.strip(b" \t")
    if not _FIELD_VALUE.fullmatch(value):
        raise Violation(f"control byte in field {line[:120]!r}")
    return name.decode("ascii").lower(), value.decode("latin-1")


def _read_fields(reader: Reader) -> list[tuple[str, str]]:
    fields = []
    while line := reader.take_line():
        fields.append(parse_field(line))
    return fields


def _body_length(message: Message) -> int | str | None:
    """The framing that the fields declare: a length, "chunked" or None. Anything arguable is a violation."""
    codings = message.values("transfer-encoding")
    lengths = message.values("content-length")
    if codings and lengths:
        raise Violation("both Transfer-Encoding and Content-Length")
    if codings:
        if len(codings) > 1 or codings[0].lower() != "chunked":
            raise Violation(f"Transfer-Encoding {codings}")
        if message.version != "1.1":
            raise Violation("Transfer-Encoding with HTTP/1.0")
        return "chunked"
    if lengths:
        if len(lengths) > 1 or not _DIGITS.fullmatch(lengths[0]):
            raise Violation(f"Content-Length {lengths}")
        return int(lengths[0])
    return None


def _read_chunked(reader: Reader, message: Message, extensions: bool) -> None:
    while True:
        line = reader.take_line()
        match = _CHUNK_LINE.fullmatch(line)
        if not match or int(match[1], 16) >= 1 << 63 or len(match[2] or b"") > 1024:
            raise Violation(f"bad chunk line {line[:120]!r}")
        if match[2]:
            if not extensions:
                raise Violation(f"chunk extension {line[:120]!r}")
            message.extensions = True
        size = int(match[1], 16)
        if size == 0:
            break
        try:
            message.body += reader.take(size)
        except Truncated as cut:
            message.body += cut.message
            raise
        if reader.take_line() != b"":
            raise Violation("chunk data not followed by CRLF")
    message.trailers = _read_fields(reader)


def read_request_head(reader: Reader, *, leading_crlf: bool = False) -> Request | None:
    """Reads a request head; None if the stream ended before its first byte.

    `leading_crlf` tolerates one empty line before the request line, as a server should (RFC 9112 section 2.2).
    """
    reader.restart_record()
    if not reader.buffered and not reader.fill():
        return None
    line = reader.take_line()
    if line == b"" and leading_crlf:
        if not reader.buffered and not reader.fill():
            return None
        line = reader.take_line()
    match = _REQUEST_LINE.fullmatch(line)
    if not match:
        raise Violation(f"bad request line {line[:200]!r}")
    request = Request(
        version=match[3].decode(),
        fields=[],
        method=match[1].decode(),
        target=match[2].decode(),
    )
    request.fields = _read_fields(reader)
    request.raw_head = request.raw = reader.recorded
    _check_target(request)
    _body_length(request)
    return request


def _check_target(request: Request) -> None:
    hosts = request.values("host")
    if len(hosts) > 1 or (not hosts and request.version == "1.1"):
        raise Violation(f"{len(hosts)} Host fields")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise Violation(f"Host {hosts[0]!r}")
    if "#" in request.target:
        raise Violation("fragment in the target")
    if request.method == "CONNECT":
        if not _HOST.fullmatch(request.target):
            raise Violation(f"CONNECT target {request.target!r}")
    elif request.target.startswith("/"):
        pass
    elif request.target == "*":
        if request.method != "OPTIONS":
            raise Violation(f"{request.method} *")
    else:
        authority = _ABSOLUTE.fullmatch(request.target)
        if not authority or not _HOST.fullmatch(authority[1]):
            raise Violation(f"target {request.target!r}")


def read_request_body(reader: Reader, request: Request, *, extensions: bool = False) -> None:
    """Reads the body that the head declares into `request`; raises Truncated if the stream ends within it."""
    length = _body_length(request)
    try:
        if length == "chunked":
            request.framing = "chunked"
            _read_chunked(reader, request, extensions)
        elif length is not None:
            request.framing = "length"
            request.body = reader.take(length)
    except Truncated as cut:
        request.complete = False
        if request.framing == "length":
            request.body = cut.message
        raise Truncated(str(cut), request) from cut
    finally:
        request.raw = reader.recorded


def read_all_requests(data: bytes) -> tuple[list[Request], str | None]:
    """Parses a whole client byte stream as a proxy with DAO's policy must read it.

    Returns the complete well-formed requests before the first flaw, and that flaw (None if there was none).
    """
    reader = Reader.of_bytes(data)
    requests: list[Request] = []
    try:
        while request := read_request_head(reader, leading_crlf=True):
            read_request_body(reader, request, extensions=True)
            requests.append(request)
    except (Violation, Truncated) as flaw:
        return requests, str(flaw)
    return requests, None


def split_absolute(target: str) -> tuple[str, str] | None:
    """(authority, path and query) of an absolute-form target, None for the other forms."""
    match = _ABSOLUTE.fullmatch(target)
    return (match[1], match[2]) if match else None


def _read_response_head(reader: Reader) -> Response:
    reader.restart_record()
    line = reader.take_line()
    match = _STATUS_LINE.fullmatch(line)
    if not match:
        raise Violation(f"bad status line {line[:200]!r}")
    response = Response(version=match[1].decode(), fields=[], status=int(match[2]), reason=match[3].decode("latin-1"))
    response.fields = _read_fields(reader)
    response.raw_head = reader.recorded
    return response


def read_response(reader: Reader, method: str = "GET", version: str = "1.1", *, extensions: bool = False) -> Response:
    """Reads one final response and the 1xx before it, as the client that sent `method` with HTTP/`version`.

    A body cut short is returned with complete=False; a head cut short raises Truncated.
    """
    interim: list[Response] = []
    while True:
        response = _read_response_head(reader)
        length = _body_length(response)
        if version == "1.0" and response.values("transfer-encoding"):
            raise Violation("Transfer-Encoding to an HTTP/1.0 client")
        if response.status < 200 or response.status == 204:
            if length is not None:
                raise Violation(f"{response.status} with framing fields")
        if response.status >= 200 or response.status == 101:
            break
        if version == "1.0":
            raise Violation(f"{response.status} to an HTTP/1.0 client")
        interim.append(response)
    response.interim = interim
    if method == "HEAD" or response.status in (101, 204, 304):
        return response
    try:
        if length == "chunked":
            response.framing = "chunked"
            _read_chunked(reader, response, extensions)
        elif length is not None:
            response.framing = "length"
            response.body = reader.take(length)
        else:
            response.framing = "close"
            response.body = reader.take_rest()
            response.complete = not reader.reset
    except Truncated as cut:
        response.complete = False
        if response.framing == "length":
            response.body = cut.message
    return response
