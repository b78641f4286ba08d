"""How another client fares: requests one after the other on one kept connection, in a process of its own, so that its
times are those of the server and not of the test.

    python3 paced_client.py HOST PORT tls|plain

For each line on its standard input (a number of requests) it asks that often, and prints how many seconds it waited for
each answer, as JSON. Anything but a 200 ends it with an error.
"""

from __future__ import annotations

import json
import socket
import ssl
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

REQUEST = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
PAUSE = 0.001  # between requests: a client that waits its turn, not a load of its own


def _main(host: str, port: int, kind: str) -> None:
    connection = socket.create_connection((host, port), 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if kind == "tls":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        connection = tls.wrap_socket(connection)
    for line in sys.stdin:
        waited = []
        for _ in range(int(line)):
            begin = time.perf_counter()
            connection.sendall(REQUEST)
            answer = connection.recv(65536)
            waited.append(time.perf_counter() - begin)
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            time.sleep(PAUSE)
        print(json.dumps(waited), flush=True)


@dataclass
class Waited:
    """In seconds."""

    median: float
    p99: float


class PacedClient:
    def __init__(self, address: tuple[str, int], *, tls: bool = False):
        arguments = [address[0], str(address[1]), "tls" if tls else "plain"]
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> PacedClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait(30)
        self._process.stdout.close()  # type: ignore[union-attr]

    def ask(self, count: int) -> Waited:
        """What that many requests have waited for."""
        self._process.stdin.write(f"{count}\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        assert line, f"the other client was not served (exit {self._process.wait()})"
        waited = sorted(json.loads(line))
        return Waited(statistics.median(waited), waited[len(waited) * 99 // 100])


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
