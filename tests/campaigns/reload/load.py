"""The load of the campaign: a process of its own, so that what it measures does not wait for what reloads DAO.

Every kind of client goes on until it is told to stop. What one of them sees that it should not is a failure, whatever it
is; the first of each client ends it. Latencies are kept with their times, so that they can be told apart by phase.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "behaviour"))
from lib import deadline  # noqa: E402
from lib.client import RawClient  # noqa: E402
from lib.h2frames import H2Client  # noqa: E402
from lib.h2frames import get as h2_get  # noqa: E402
from lib.tls import TlsClient, context  # noqa: E402
from lib.websocket import CLOSE, TEXT, RawWebSocket, close, frame  # noqa: E402

PATIENCE = 30 * deadline.SCALE
UPLOAD = b"u" * 262_144
DOWNLOAD_BYTES, DOWNLOAD_PIECE = 1_048_576, 65_536
PAUSE = 0.004  # between the requests of a client: the load is steady, and leaves DAO and the others their turn


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode()


class Load:
    def __init__(self, plain: tuple[str, int], secure: tuple[str, int]):
        self.failures: list[str] = []
        self.counts: dict[str, int] = {}
        self.latencies: dict[str, list[tuple[float, float]]] = {}
        self._stop = threading.Event()
        self._lock = threading.Lock()
        kinds: list[tuple[str, Callable[[str], None], int]] = [
            ("keep-alive", lambda kind: self._keep_alive(kind, plain), 3),
            ("connections", lambda kind: self._connections(kind, plain), 1),
            ("http2", lambda kind: self._http2(kind, plain), 1),
            ("tls", lambda kind: self._tls(kind, secure), 1),
            ("upload", lambda kind: self._upload(kind, plain), 1),
            ("download", lambda kind: self._download(kind, plain), 1),
            ("websocket", lambda kind: self._websocket(kind, plain), 2),
        ]
        self._threads = [
            threading.Thread(target=self._guard, args=(kind, run), daemon=True)
            for kind, run, count in kinds
            for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)
            if thread.is_alive():
                self.failures.append("a client did not come to its end")

    def _guard(self, kind: str, run: Callable[[str], None]) -> None:
        while not self._stop.is_set():
            try:
                run(kind)
            except BaseException as problem:  # noqa: BLE001: whatever it was, a client has seen it
                with self._lock:
                    self.failures.append(f"{time.time():.3f} {kind}: {problem!r}")
                time.sleep(0.1)

    def _done(self, kind: str, began: float) -> None:
        now = time.monotonic()
        with self._lock:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.latencies.setdefault(kind, []).append((began, now - began))
        time.sleep(PAUSE)

    def _ask(self, client: RawClient, request: bytes, method: str = "GET") -> bytes:
        answer = client.exchange(request, method, timeout=PATIENCE)
        assert (answer.status, answer.complete) == (200, True), answer.raw_head
        return answer.body

    def _keep_alive(self, kind: str, address: tuple[str, int]) -> None:
        """Now and then on the stable rule, else on the others."""
        with RawClient(address, PATIENCE) as client:
            number = 0
            while not self._stop.is_set():
                number += 1
                began = time.monotonic()
                self._ask(client, get("/stable/get" if number % 4 == 0 else "/moving/get"))
                self._done(kind, began)

    def _connections(self, kind: str, address: tuple[str, int]) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            with RawClient(address, PATIENCE) as client:
                self._ask(client, get("/moving/get"))
            self._done(kind, began)

    def _http2(self, kind: str, address: tuple[str, int]) -> None:
        with H2Client(address, timeout=PATIENCE) as client:
            for stream in range(1, 1 << 30, 2):
                if self._stop.is_set():
                    return
                began = time.monotonic()
                client.send(h2_get(stream, path=b"/moving/get"))
                client.response(stream)
                assert client.stream(stream).status == 200 and not client.goaways, client.story()[-2000:]
                del client.streams[stream]
                client.frames.clear()
                self._done(kind, began)

    def _tls(self, kind: str, address: tuple[str, int]) -> None:
        """Fifty requests on a connection, then a new one."""
        with TlsClient(address, context(None), timeout=PATIENCE) as client:
            for _ in range(50):
                if self._stop.is_set():
                    return
                began = time.monotonic()
                self._ask(client, get("/moving/get"))
                self._done(kind, began)

    def _upload(self, kind: str, address: tuple[str, int]) -> None:
        """In pieces, with pauses: reloads come in the middle."""
        with RawClient(address, PATIENCE) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                client.send(f"POST /moving/up HTTP/1.1\r\nHost: a.test\r\nContent-Length: {len(UPLOAD)}\r\n\r\n".encode())
                for at in range(0, len(UPLOAD), 32_768):
                    client.send(UPLOAD[at : at + 32_768])
                    time.sleep(0.02)
                answer = client.response("POST", timeout=PATIENCE)
                assert (answer.status, answer.complete) == (200, True), answer.raw_head
                self._done(kind, began)

    def _download(self, kind: str, address: tuple[str, int]) -> None:
        """A slow one: 1 MiB, 64 KiB at a time."""
        query = f"size={DOWNLOAD_BYTES}&chunk={DOWNLOAD_PIECE}&trickle_ms=20"
        with RawClient(address, PATIENCE) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                assert len(self._ask(client, get(f"/moving/down?{query}"))) == DOWNLOAD_BYTES
                self._done(kind, began)

    def _websocket(self, kind: str, address: tuple[str, int]) -> None:
        """On the stable rule: it lives until the end of the campaign."""
        with RawClient(address, PATIENCE) as client:
            socket = RawWebSocket(client, "/stable/ws")
            number = 0
            while not self._stop.is_set():
                number += 1
                began = time.monotonic()
                socket.send(frame(TEXT, b"%d" % number, masked=True))
                got = socket.read(PATIENCE)
                assert got.opcode == TEXT and got.payload == b"%d" % number, got
                self._done(kind, began)
            socket.send(close(1000, masked=True))
            assert socket.read(PATIENCE).opcode == CLOSE


def main() -> None:
    """Addresses as arguments; goes on until its input ends, then writes what it saw."""
    host, plain, secure = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    load = Load((host, plain), (host, secure))
    while line := sys.stdin.readline():
        with load._lock:
            told = {"failures": len(load.failures), "done": sum(load.counts.values())}
        if line.strip() == "stop":
            break
        print(json.dumps(told), flush=True)
    load.stop()
    print(json.dumps({"failures": load.failures, "counts": load.counts, "latencies": load.latencies}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
