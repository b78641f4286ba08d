"""Floods of connections, each in a process of its own that has the lowest priority, so that it competes with the server
under test for as little as can be.

    python3 flood.py HOST PORT KEEP [SEND...]

Connects without end and sends each of the pieces (hex) in turn, keeping the last KEEP connections open. Prints the
number of connections made when its standard input ends.
"""

from __future__ import annotations

import collections
import os
import select
import socket
import ssl
import subprocess
import sys
from pathlib import Path

NICE = 19


def client_hello(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """What a client sends first: it costs a server a signature and a key exchange, and whoever repeats it nothing."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.minimum_version = tls.maximum_version = version
    hello = ssl.MemoryBIO()
    try:
        tls.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="a.test").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return hello.read()


def _main(host: str, port: int, keep: int, pieces: list[bytes]) -> None:
    os.nice(NICE)
    opened: collections.deque[socket.socket] = collections.deque()
    made = 0
    print("begun", flush=True)
    while True:
        if made % 16 == 0 and select.select([sys.stdin], [], [], 0)[0]:
            break
        one = socket.socket()
        one.settimeout(30)
        try:
            one.connect((host, port))
            for piece in pieces:
                one.send(piece)
        except OSError:  # refused or reset: as good as any other for a flood
            pass
        opened.append(one)
        made += 1
        if len(opened) > keep:
            opened.popleft().close()
    print(made, flush=True)


class Flood:
    def __init__(self, address: tuple[str, int], *pieces: bytes, keep: int = 0):
        arguments = [address[0], str(address[1]), str(keep), *(piece.hex() for piece in pieces)]
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.made = 0

    def __enter__(self) -> Flood:
        assert self._process.stdout.readline() == "begun\n"  # type: ignore[union-attr]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self.made = int(self._process.stdout.readline() or 0)  # type: ignore[union-attr]
        self._process.wait(60)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), [bytes.fromhex(piece) for piece in sys.argv[4:]])
