"""How another client fares: requests one after the other on one kept connection, in a process of its own, so that its
times are those of the server and not of the test.

    python3 bystander.py HOST PORT tls|plain

For each line on its standard input (seconds) it asks for that long and prints the times it has waited, in seconds, as
JSON. Anything but a 200 ends it with an error.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

REQUEST = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
PAUSE = 0.002  # between requests: a client that waits its turn, not a load of its own


def _main(host: str, port: int, kind: str) -> None:
    connection = socket.create_connection((host, port), 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if kind == "tls":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        connection = tls.wrap_socket(connection)
    for line in sys.stdin:
        waited = []
        end = time.monotonic() + float(line)
        while time.monotonic() < end:
            begin = time.perf_counter()
            connection.sendall(REQUEST)
            answer = connection.recv(65536)
            waited.append(time.perf_counter() - begin)
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            time.sleep(PAUSE)
        print(json.dumps(waited), flush=True)


class Bystander:
    def __init__(self, address: tuple[str, int], *, tls: bool = False):
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), address[0], str(address[1]), "tls" if tls else "plain"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Bystander:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait(30)

    def p99(self, seconds: float) -> float:
        """Of what it has waited for answers, in that time."""
        self._process.stdin.write(f"{seconds}\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        assert line, f"the other client was not served (exit {self._process.wait()})"
        waited = sorted(json.loads(line))
        assert len(waited) >= 50, f"only {len(waited)} answers in {seconds} s"
        return waited[len(waited) * 99 // 100]


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
