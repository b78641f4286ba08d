"""PROXY protocol headers as a backend reads them: strictly, from the specification, sharing nothing with DAO."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import struct
import threading
from dataclasses import dataclass, field

from lib.http1 import Request
from lib.origin import Connection

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_ADDRESS_BYTES = {0x00: 0, 0x11: 4, 0x21: 16}


@dataclass
class Announced:
    """Who connected, and where, as (address, port); None if the header names nobody. `fields` are version 2's."""

    version: int
    source: tuple[str, int] | None = None
    destination: tuple[str, int] | None = None
    fields: dict[int, bytes] = field(default_factory=dict)

    @property
    def tls(self) -> tuple[int, int, dict[int, bytes]] | None:
        """Of the field SSL: its bits, `verify`, and the fields within."""
        if 0x20 not in self.fields:
            return None
        bits, verify = struct.unpack("!BI", self.fields[0x20][:5])
        return bits, verify, _fields(self.fields[0x20][5:])


def _fields(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while data:
        kind, length = struct.unpack("!BH", data[:3])
        assert len(data) >= 3 + length, f"a field cut short: {data!r}"
        assert kind not in found, f"field {kind:#x} twice"
        found[kind] = data[3 : 3 + length]
        data = data[3 + length :]
    return found


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        assert more, f"the connection ended within the PROXY header: {data!r}"
        data += more
    return data


def read_header(sock: socket.socket) -> Announced:
    """Takes the header off the connection, and not a byte more."""
    begin = _exactly(sock, 12)
    if begin == SIGNATURE:
        command, family, length = struct.unpack("!BBH", _exactly(sock, 4))
        rest = _exactly(sock, length)
        assert command == 0x21 and family in _ADDRESS_BYTES, (command, family)
        size = _ADDRESS_BYTES[family]
        made = Announced(2)
        if size:
            source, destination = (str(ipaddress.ip_address(rest[i * size : (i + 1) * size])) for i in (0, 1))
            ports = struct.unpack("!HH", rest[2 * size : 2 * size + 4])
            made.source, made.destination = (source, ports[0]), (destination, ports[1])
            rest = rest[2 * size + 4 :]
        made.fields = _fields(rest)
        return made
    line = begin
    while not line.endswith(b"\n"):
        assert len(line) < 107, line
        line += _exactly(sock, 1)
    if line == b"PROXY UNKNOWN\r\n":
        return Announced(1)
    match = re.fullmatch(rb"PROXY TCP([46]) (\S+) (\S+) (0|[1-9]\d*) (0|[1-9]\d*)\r\n", line)
    assert match, line
    addresses = [ipaddress.ip_address(match[i].decode()) for i in (2, 3)]
    assert all(address.version == int(match[1]) for address in addresses), line
    return Announced(1, (str(addresses[0]), int(match[4])), (str(addresses[1]), int(match[5])))


class Announcements:
    """What each connection of an origin began with: `origin.at_accept = (announcements.take,)`."""

    def __init__(self) -> None:
        self.by_connection: dict[int, Announced] = {}

    def take(self, connection: Connection, _: Request) -> None:
        self.by_connection[connection.number] = read_header(connection.socket)

    def of(self, request: Request) -> Announced:
        return self.by_connection[request.connection]


class Relay:
    """Stands before a server that knows nothing of PROXY headers: takes them off and passes the rest on. The server's
    connections have the numbers (from 1) of those here."""

    def __init__(self, target: tuple[str, int]):
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self.announced: list[Announced] = []
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.close_connections()

    def close_connections(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.announced.append(read_header(near))
            far = socket.create_connection(self._target)
            self._sockets += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass_on(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)
