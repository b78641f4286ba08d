"""SIGUSR2: the program started anew takes the same sockets, the old one drains, and no client sees any of it. And
sockets that somebody else opened: systemd's socket activation."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import lib.dao
from lib import deadline
from lib.admin import read, with_admin
from lib.client import RawClient
from lib.dao import Dao, simple_config
from lib.faults import expect_ok, get, post
from lib.h2frames import H2Client
from lib.h2frames import get as h2_get
from lib.http1 import Request
from lib.origin import Connection, Origin
from lib.websocket import CLOSE, TEXT, RawWebSocket, answer, close, frame, read_frame

UPGRADES = 10


def upgrade(dao: Dao, pid: int) -> int:
    """Upgrades the process, waits until its successor serves and returns the successor's process id."""
    before = len(dao.logs("upgraded"))
    os.kill(pid, signal.SIGUSR2)
    deadline.wait_until(lambda: len(dao.logs("upgraded")) > before, f"an upgrade; the log:\n{dao.log_text()}")
    return int(dao.logs("upgraded")[-1].fields["successor"])


def end(dao: Dao, pid: int) -> None:
    """SIGTERM to the last successor; then everything that wrote to the log has ended."""
    dao.close_clients()
    deadline.wait_until(lambda: dao.process.poll() is not None, "the end of the first process")
    wanted = len(dao.logs("upgraded"))
    deadline.wait_until(lambda: len(dao.logs("stopped")) == wanted, f"all but the last to end:\n{dao.log_text()}")
    os.kill(pid, signal.SIGTERM)
    dao.stop(timeout=deadline.DEFAULT * 2)
    assert len(dao.logs("stopped")) == len(dao.logs("upgraded")) + 1, dao.log_text()


class Load:
    """Clients that go on until they are told to stop; what went wrong for one of them is in `failures`."""

    def __init__(self, dao: Dao):
        self.failures: list[str] = []
        self.done = 0
        self._stop = threading.Event()
        addresses = dao.addresses
        self._threads = [
            threading.Thread(target=self._run, args=(address, keep), daemon=True)
            for address in addresses
            for keep in (True, True, False, False)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, address: tuple[str, int] | str, keep: bool) -> None:
        client: RawClient | None = None
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                client = client or RawClient(address)
                request = get(f"/{number}") if number % 2 else post(f"/{number}", b"body")
                answer = client.exchange(request)
                expect_ok(answer)
                self.done += 1
                if not keep or "close" in answer.values("connection"):
                    client.close()
                    client = None
            except Exception as problem:  # noqa: BLE001: whatever it was, a client has seen it
                self.failures.append(repr(problem))
                return
        if client:
            client.close()

    def progress(self, by: int) -> None:
        wanted = self.done + by
        deadline.wait_until(lambda: self.done >= wanted or self.failures, f"{by} more requests")

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(deadline.DEFAULT)


@pytest.mark.parametrize("workers", [1, 2])
def test_upgrades_under_load_fail_no_request(start_dao, origin: Origin, tmp_path: Path, workers: int) -> None:
    unix = f"{tmp_path}/dao.sock"
    dao = start_dao(simple_config(origin.url, server={"bind": ["127.0.0.1:0", f"unix:{unix}"], "workers": workers}))
    load = Load(dao)
    load.progress(50)
    pid = dao.process.pid
    for _ in range(UPGRADES):
        pid = upgrade(dao, pid)
        load.progress(50)
    load.stop()
    assert not load.failures
    # The successor serves all of it, telemetry included, and nobody else has the port.
    assert dao.metrics().total("dao_requests_total") > 0
    for address in dao.addresses[-2:]:
        with RawClient(address) as client:
            expect_ok(client.exchange(get("/after")))
    assert set(dao.addresses) == set(dao.addresses[:2])
    end(dao, pid)
    assert not Path(unix).exists()


WEBSOCKET_DRAIN = 1.0


def echo(connection: Connection, request: Request) -> None:
    """A backend's end of a WebSocket."""
    (key,) = request.values("sec-websocket-key")
    connection.send(answer(key.encode()))
    while True:
        got = read_frame(connection.reader)
        connection.send(frame(got.opcode, got.payload))
        if got.opcode == CLOSE:
            return


class MixedLoad(Load):
    """HTTP/1.1, HTTP/2 and WebSockets at the same time. `closed` has when each WebSocket was opened and got its
    Close."""

    def __init__(self, dao: Dao):
        self.http2 = self.messages = 0
        self.closed: list[tuple[float, float]] = []
        super().__init__(dao)
        for address in dao.addresses:
            self._start(self._run_http2, address)
            for _ in range(2):
                self._start(self._run_websocket, address)

    def _start(self, run: Callable[[tuple[str, int] | str], None], address: tuple[str, int] | str) -> None:
        def guarded() -> None:
            try:
                while not self._stop.is_set():
                    run(address)
            except BaseException as problem:  # noqa: BLE001
                self.failures.append(f"{run.__name__}: {problem!r}")

        self._threads.append(threading.Thread(target=guarded, daemon=True))
        self._threads[-1].start()

    def _run_http2(self, address: tuple[str, int] | str) -> None:
        """One connection, until it says GOAWAY. What DAO says it has not seen (RFC 9113 section 6.8) was not asked."""
        with H2Client(address) as client:
            for stream in range(1, 1 << 30, 2):
                if self._stop.is_set() or client.goaways:
                    return
                client.send(h2_get(stream, path=b"/http2"))
                client.wait(
                    lambda stream=stream: client.stream(stream).over
                    or any(last < stream for last, _ in client.goaways),
                    "an answer",
                )
                if not client.stream(stream).over:
                    return
                assert client.stream(stream).status == 200 and client.stream(stream).body == b"ok", client.story()
                self.http2 += 1

    def _run_websocket(self, address: tuple[str, int] | str) -> None:
        """Messages and their echoes until DAO closes."""
        with RawClient(address) as client:
            socket = RawWebSocket(client)
            opened = time.monotonic()
            for number in range(1 << 30):
                if self._stop.is_set():
                    socket.send(close(1000, masked=True))
                    while socket.read().opcode != CLOSE:
                        pass
                    return
                socket.send(frame(TEXT, b"%d" % number, masked=True))
                got = socket.read()
                if got.opcode == CLOSE:
                    assert got.code == 1012, got
                    self.closed.append((opened, time.monotonic()))
                    socket.send(close(1012, masked=True))
                    client.expect_closed()
                    return
                assert got.payload == b"%d" % number, got
                self.messages += 1
                time.sleep(0.001)  # the other clients' turn: nothing waits for this

    def progress(self, by: int) -> None:
        super().progress(by)
        wanted = self.http2 + by, self.messages + by
        deadline.wait_until(
            lambda: (self.http2 >= wanted[0] and self.messages >= wanted[1]) or self.failures, f"{by} more of all kinds"
        )


@pytest.mark.parametrize("workers", [1, 2])
def test_ten_upgrades_under_all_kinds_of_load(start_dao, origin: Origin, workers: int) -> None:
    """No request fails, of any protocol, and a WebSocket lives until `websocket_drain_ms` after the upgrade that it has
    seen, in which it gets a Close."""
    origin.answer("/ws", echo)
    drain = WEBSOCKET_DRAIN * deadline.SCALE
    server = {
        "workers": workers,
        "websocket_drain_ms": int(drain * 1000),
        "drain_timeout_ms": int(drain * 1000 * 4),
    }
    dao = start_dao(simple_config(origin.url, server=server))
    load = MixedLoad(dao)
    load.progress(20)
    pid = dao.process.pid
    upgrades: list[tuple[float, float]] = []  # when it was asked for, when the successor served
    for _ in range(UPGRADES):
        asked = time.monotonic()
        pid = upgrade(dao, pid)
        upgrades.append((asked, time.monotonic()))
        load.progress(20)
    deadline.wait_until(lambda: len(load.closed) >= 2 or load.failures, "WebSockets to be closed by the drain")
    load.stop()
    assert not load.failures
    for opened, closed in load.closed:
        assert any(opened <= served and closed - asked >= drain for asked, served in upgrades), (opened, closed)
    assert not dao.logs("drain timeout: closing what is still open")
    end(dao, pid)


def test_a_kept_connection_is_told_by_an_answer_that_it_closes(start_dao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    client = dao.client()
    expect_ok(client.exchange(get("/before")))
    pid = upgrade(dao, dao.process.pid)

    def last_answer() -> bool:
        # The worker hears of the upgrade a moment after the successor serves; until then nothing changes.
        answer = client.exchange(get("/after"))
        expect_ok(answer)
        return answer.values("connection") == ["close"]

    deadline.wait_until(last_answer, "an answer that says close")
    client.expect_closed()
    deadline.wait_until(lambda: dao.process.poll() is not None, "the end of the old process")
    assert dao.process.returncode == 0
    end(dao, pid)


def test_a_quiet_connection_is_closed_at_half_of_the_drain_time(start_dao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url, server={"drain_timeout_ms": int(1000 * deadline.SCALE)}))
    client = dao.client()
    expect_ok(client.exchange(get("/before")))
    pid = upgrade(dao, dao.process.pid)
    client.expect_closed()
    assert dao.process.wait(deadline.DEFAULT) == 0
    assert not dao.logs("drain timeout: closing what is still open")
    end(dao, pid)


def test_workers_may_be_more_or_fewer_afterwards(start_dao, origin: Origin) -> None:
    config = simple_config(origin.url, server={"workers": 2})
    dao = start_dao(config)
    text = dao.config_path.read_text()
    pid = dao.process.pid
    for workers in (1, 3):
        dao.config_path.write_text(text.replace("workers = 2", f"workers = {workers}"))
        pid = upgrade(dao, pid)
        deadline.wait_until(lambda count=workers: dao.metrics().total("dao_workers") == count, "the new workers")
        for n in range(20):
            with RawClient(dao.address) as client:
                expect_ok(client.exchange(get(f"/{n}")))
    end(dao, pid)


def test_a_successor_that_cannot_start_changes_nothing(start_dao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    client = dao.client()
    expect_ok(client.exchange(get("/before")))
    good = dao.config_path.read_text()
    dao.config_path.write_text("nonsense")
    dao.signal(signal.SIGUSR2)
    line = dao.wait_log(lambda line: line.message == "upgrade failed, carrying on")
    assert line.fields["reason"] == "the new process ended with status 1"
    expect_ok(client.exchange(get("/after")))
    assert dao.get("/ready")[0] == 200
    dao.config_path.write_text(good)
    end(dao, upgrade(dao, dao.process.pid))


def test_sockets_of_systemd(start_dao, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What systemd does: the socket is descriptor 3, the environment says so, and the process id is that of DAO."""
    program = tmp_path / "activate"
    program.write_text(
        "#!/usr/bin/python3\n"
        "import os, socket, sys\n"
        "sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(2)]\n"
        "copies = [os.dup(each.fileno()) for each in sockets]\n"
        "for number, copy in enumerate(copies):\n"
        "    os.dup2(copy, 3 + number)\n"
        "os.environ.update(LISTEN_FDS='2', LISTEN_FDNAMES='web:unknown', LISTEN_PID=str(os.getpid()))\n"
        f"os.execv({lib.dao.binary()!r}, [{lib.dao.binary()!r}, *sys.argv[1:]])\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(lib.dao, "binary", lambda: str(program))
    dao = start_dao(simple_config(origin.url, server={"bind": ["fd:web", "fd:4"], "workers": 2}))
    for address in dao.addresses:
        for n in range(8):
            with RawClient(address) as client:
                expect_ok(client.exchange(get(f"/{n}")))
    pid = upgrade(dao, dao.process.pid)
    for address in dao.addresses[:2]:
        with RawClient(address) as client:
            expect_ok(client.exchange(get("/after")))
    end(dao, pid)


def test_a_socket_that_nobody_passed(start_dao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url, server={"bind": "fd:web"}), wait_ready=False)
    assert dao.wait_exit() == 1
    assert "no such socket was passed" in dao.log_text()


def test_the_admin_api_goes_over_to_the_successor(
    start_dao: Callable[..., Dao], origin: Origin, tmp_path: Path
) -> None:
    for bind in ("127.0.0.1:0", f"unix:{tmp_path}/admin.sock"):
        dao = start_dao(with_admin(simple_config(origin.url), bind=bind))
        successor = upgrade(dao, dao.process.pid)
        deadline.wait_until(lambda dao=dao: dao.process.poll() is not None, "the end of the first process")
        assert read(dao, "/v1/status")["pid"] == successor
        end(dao, successor)
