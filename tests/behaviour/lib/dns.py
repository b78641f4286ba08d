"""A DNS server for one test: UDP on loopback, answers A questions from a table, everything else with NODATA."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

_NOERROR, _SERVFAIL, _NXDOMAIN, _REFUSED = 0, 2, 3, 5
_A = 1


class DnsServer:
    """names["backend.test"] = ["127.0.0.1"], or one of "NXDOMAIN", "SERVFAIL", "REFUSED", "SILENT", "GARBAGE".

    A name that is not in the table is NXDOMAIN. A context manager.
    """

    _CODES = {"NXDOMAIN": _NXDOMAIN, "SERVFAIL": _SERVFAIL, "REFUSED": _REFUSED}

    def __init__(self, names: dict[str, list[str] | str], ttl: int = 0):
        self.names = names
        self.ttl = ttl
        self.questions: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def __enter__(self) -> DnsServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            with contextlib.suppress(OSError):  # an ICMP error of an earlier answer
                question, peer = self._socket.recvfrom(4096)
                if self._stopping:
                    return
                if answer := self._answer(question):
                    self._socket.sendto(answer, peer)

    def _answer(self, packet: bytes) -> bytes | None:
        at, labels = 12, []
        while packet[at]:
            labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
            at += 1 + packet[at]
        name = ".".join(labels).lower()
        question = packet[12 : at + 5]
        (kind,) = struct.unpack("!H", packet[at + 1 : at + 3])
        self.questions.append(name)
        what = self.names.get(name, "NXDOMAIN")
        if what == "SILENT":
            return None
        if what == "GARBAGE":
            return packet[:2] + b"\x81\x80" + b"\xff" * 20
        code = self._CODES[what] if isinstance(what, str) else _NOERROR
        addresses = what if kind == _A and not isinstance(what, str) else []
        records = b"".join(
            struct.pack("!HHHIH", 0xC00C, _A, 1, self.ttl, 4) + socket.inet_aton(address) for address in addresses
        )
        header = packet[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(addresses), 0, 0)
        return header + question + records
