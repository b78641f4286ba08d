"""A well-behaved client in a process of its own, which tells how long it had to wait beside whatever else goes on.

It asks one request after the other over one connection. In a process of its own, before an origin that is one too
(`lib.upstream`), its times tell of DAO and the machine, and nothing of this Python's lock.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib import deadline


@dataclass
class Lap:
    """What happened since the lap before; seconds."""

    served: int
    p99: float
    slowest: float


class Bystander:
    def __init__(self, address: tuple[str, int], path: str):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lib.bystander", address[0], str(address[1]), path, str(deadline.DEFAULT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )

    def _ask(self, word: str) -> dict[str, float]:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline() or "{}")
        except BrokenPipeError:
            answer = {}
        assert "error" not in answer, f"the other client was not served: {answer['error']}"
        assert answer, f"the other client ended with {self._process.wait()}"
        return answer

    def served(self) -> int:
        """Requests answered in this lap so far."""
        return int(self._ask("count")["served"])

    def wait(self, more: int) -> None:
        """Until so many more requests have been answered."""
        goal = self.served() + more
        deadline.wait_until(lambda: self.served() >= goal, f"{more} answers for the other client", poll=0.01)

    def lap(self) -> Lap:
        return Lap(**self._ask("lap"))

    def stop(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@contextmanager
def busy() -> Iterator[None]:
    """A thread of this process that computes all the while: the load of an attacker, without the attack."""
    stop = threading.Event()

    def burn() -> None:
        while not stop.is_set():
            sum(range(1000))

    thread = threading.Thread(target=burn, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _main(host: str, port: str, path: str, patience: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: bystander.test\r\n\r\n".encode()
    times: list[float] = []
    try:
        sock = socket.create_connection((host, int(port)), timeout=float(patience))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer = sock.makefile("rb")
        while True:
            if select.select([sys.stdin], [], [], 0)[0]:
                word = sys.stdin.readline().strip()
                if not word:
                    return
                if word == "count":
                    told: dict[str, float] = {"served": len(times)}
                else:
                    times.sort()
                    told = {
                        "served": len(times),
                        "p99": times[len(times) * 99 // 100] if times else 0.0,
                        "slowest": times[-1] if times else 0.0,
                    }
                    times = []
                print(json.dumps(told), flush=True)
            start = time.monotonic()
            sock.sendall(request)
            status = answer.readline()
            assert status.startswith(b"HTTP/1.1 200 "), status
            length = 0
            while (line := answer.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert line, "the connection was closed"
            answer.read(length)
            times.append(time.monotonic() - start)
    except (OSError, AssertionError) as error:
        sys.stdin.readline()  # told to whoever asks next
        print(json.dumps({"error": repr(error)}), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
