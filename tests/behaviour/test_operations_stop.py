"""Stopping: SIGTERM drains, a second one ends at once, and drain_timeout ends what does not end by itself."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time

import pytest

from lib import deadline
from lib.client import RawClient
from lib.dao import Dao, simple_config
from lib.faults import SHORT_MS, expect_entry, expect_normal, expect_ok, get, post_chunked
from lib.origin import HOLD, OK, Origin, Wait

HEAD_OF_10 = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"


def refused(dao: Dao) -> bool:
    """New connections are refused, not accepted and forgotten."""
    try:
        with socket.create_connection(dao.address, timeout=deadline.DEFAULT):
            return False
    except ConnectionResetError:  # the handshake was under way when the listener closed
        return False
    except ConnectionRefusedError:
        return True


def begin_drain(dao: Dao, number: int = signal.SIGTERM) -> None:
    dao.signal(number)
    dao.wait_log(lambda line: line.message == "draining")
    deadline.wait_until(lambda: refused(dao), "new connections to be refused")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_dao_ends_at_once(start_dao, origin: Origin, number: int) -> None:
    dao = start_dao(simple_config(origin.url, server={"workers": 2}))
    with RawClient(dao.address) as client:
        expect_ok(client.exchange(get("/before")))
        begun = time.monotonic()
        dao.signal(number)
        client.expect_closed()  # an idle keep-alive connection
        assert dao.wait_exit() == 0
    assert time.monotonic() - begun < 2 * deadline.SCALE
    assert dao.logs()[-1].message == "stopped"
    expect_entry(dao, "/before", status=200)
    origin.wait(lambda: origin.open_connections == 0, "the pooled connections to be closed")


def test_request_in_flight_finishes(start_dao, origin: Origin) -> None:
    answer = threading.Event()
    origin.answer("/slow ", Wait(answer), OK)
    dao = start_dao(simple_config(origin.url))
    idle = dao.client()
    expect_ok(idle.exchange(get("/idle")))
    with RawClient(dao.address) as client:
        client.send(get("/slow"))
        origin.wait_requests(1, "/slow ")
        begin_drain(dao)
        idle.expect_closed()
        assert dao.get("/ready") == (503, "not ready\n")
        assert dao.get("/livez") == (200, "ok\n")
        assert dao.metrics().value("dao_ready") == 0
        assert dao.metrics().total("dao_requests_active") == 1
        assert dao.process.poll() is None
        answer.set()
        response = client.response()
        expect_ok(response)
        assert response.elements("connection") == ["close"]
        client.expect_closed()
    assert dao.wait_exit() == 0
    expect_entry(dao, "/slow", status=200, error=None)


def test_transfers_in_both_directions_finish(start_dao, origin: Origin) -> None:
    rest = threading.Event()
    origin.answer("/download ", HEAD_OF_10 + b"12345", Wait(rest), b"67890")
    dao = start_dao(simple_config(origin.url))
    with RawClient(dao.address) as down, RawClient(dao.address) as up:
        down.send(get("/download"))
        down.wait_bytes()
        up.send(post_chunked("/upload") + b"5\r\nhello\r\n")
        origin.wait(lambda: origin.seen("/upload "), "the upload")
        begin_drain(dao)
        up.send(b"6\r\n world\r\n0\r\n\r\n")
        response = up.response("POST")
        expect_ok(response)
        assert response.elements("connection") == ["close"]
        rest.set()
        expect_ok(down.response(), b"1234567890")
        down.expect_closed()
        up.expect_closed()
    assert dao.wait_exit() == 0
    assert origin.seen("/upload ")[0].body == b"hello world"


def test_request_whose_head_is_on_its_way(start_dao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    with RawClient(dao.address) as client:
        client.send(b"GET /begun HTTP/1.1\r\nHost: ")
        # Three looks: a connection counts as active for the moment in which DAO finds that nothing has come yet.
        deadline.wait_until(
            lambda: all(dao.metrics().total("dao_connections", state="active") == 1 for _ in range(3)), "the first bytes"
        )
        begin_drain(dao)
        client.send(b"a.test\r\n\r\n")
        response = client.response()
        expect_ok(response)
        assert response.elements("connection") == ["close"]
    assert dao.wait_exit() == 0


def test_pipelined_requests_after_the_signal_are_not_begun(start_dao, origin: Origin) -> None:
    """The answer in progress says `Connection: close`: the client knows that the others were not looked at."""
    answer = threading.Event()
    origin.answer("/one ", Wait(answer), OK)
    dao = start_dao(simple_config(origin.url))
    with RawClient(dao.address) as client:
        client.send(get("/one") + get("/two"))
        origin.wait_requests(1, "/one ")
        begin_drain(dao)
        answer.set()
        response = client.response()
        expect_ok(response)
        assert response.elements("connection") == ["close"]
        client.expect_closed()
    assert dao.wait_exit() == 0
    assert not origin.seen("/two ")


def test_drain_timeout(start_dao, origin: Origin) -> None:
    origin.answer("/hangs ", HOLD)
    dao = start_dao(simple_config(origin.url, server={"drain_timeout_ms": SHORT_MS}))
    with RawClient(dao.address) as client:
        client.send(get("/hangs"))
        origin.wait_requests(1, "/hangs ")
        begun = time.monotonic()
        dao.signal(signal.SIGTERM)
        assert dao.wait_exit() == 0
        assert SHORT_MS / 1000 <= time.monotonic() - begun < SHORT_MS / 1000 + 2 * deadline.SCALE
        client.expect_ended()
    line = dao.wait_log("drain timeout")
    assert (line.level, line.fields["requests_active"]) == ("warning", "1")


def test_no_drain_timeout_means_not_at_all(start_dao, origin: Origin) -> None:
    origin.answer("/hangs ", HOLD)
    dao = start_dao(simple_config(origin.url, server={"drain_timeout_ms": 0}))
    with RawClient(dao.address) as client:
        client.send(get("/hangs"))
        origin.wait_requests(1, "/hangs ")
        dao.signal(signal.SIGTERM)
        assert dao.wait_exit(2 * deadline.SCALE) == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_at_once(start_dao, origin: Origin, second: int) -> None:
    origin.answer("/hangs ", HOLD)
    dao = start_dao(simple_config(origin.url, server={"drain_timeout_ms": 60_000}))
    with RawClient(dao.address) as client:
        expect_ok(client.exchange(get("/before")))
        client.send(get("/hangs"))
        origin.wait_requests(1, "/hangs ")
        begin_drain(dao)
        dao.signal(second)
        assert dao.wait_exit(2 * deadline.SCALE) == 128 + second
    dao.wait_log("second signal")
    expect_entry(dao, "/before", status=200)  # what was logged is written out all the same


def test_sighup_does_not_end_it(start_dao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    dao.signal(signal.SIGHUP)
    dao.wait_log("SIGHUP")
    expect_normal(dao)
    dao.stop()


def test_stop_under_load_loses_no_request(start_dao, origin: Origin) -> None:
    """Whatever was accepted before the end is answered, and logged."""
    dao = start_dao(simple_config(origin.url, server={"workers": 2}))
    answered: list[str] = []
    broken: list[object] = []

    def ask(name: str) -> None:
        for n in range(100_000):
            try:
                client = RawClient(dao.address)
            except OSError:
                return  # refused: the drain has begun
            with client:
                target = f"/{name}-{n}"
                try:
                    response = client.exchange(get(target, "Connection: close"))
                    answered.append(target) if response.body == b"ok" else broken.append(response)
                except Exception as error:
                    broken.append((target, client.send_failed, client.reader.reset, error))

    threads = [threading.Thread(target=ask, args=(f"t{index}",)) for index in range(4)]
    for thread in threads:
        thread.start()
    with contextlib.ExitStack() as end:
        end.callback(lambda: [thread.join() for thread in threads])
        end.callback(dao.signal, signal.SIGTERM)
        deadline.wait_until(lambda: len(answered) > 200, "some load")
    assert dao.wait_exit() == 0
    logged = {entry["target"] for entry in dao.access_log()}
    assert set(answered) <= logged
    # A connection that was in the kernel's queue when the listener closed is reset by the kernel, unread: a client
    # may safely ask again. Nothing else may happen.
    assert len(broken) <= len(threads) * 2, broken
    assert all(isinstance(item, tuple) for item in broken), broken
