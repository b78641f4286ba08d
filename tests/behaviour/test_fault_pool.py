"""Connections that wait in a pool and die there, or say something nobody asked for."""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter

import pytest

from lib import deadline
from lib.client import RawClient
from lib.dao import simple_config
from lib.faults import SHORT_MS, Counters, expect_error, expect_nothing_left, expect_normal, expect_ok, get, post
from lib.http1 import Request
from lib.origin import CLOSE, OK, RESET, Connection, Origin, Step, Wait

NO_RETRIES = {"retries": 0}  # what a stale connection costs must not depend on retries elsewhere


def close_at_random(seed: int):
    """A step that answers, and then often closes, at once or a moment later: as a request may already be coming."""
    choice = random.Random(seed)

    def step(connection: Connection, _: Request) -> None:
        connection.send(OK)
        how = choice.random()
        if how < 0.25:
            connection.socket.close()
        elif how < 0.5:
            time.sleep(choice.random() * 0.002)
            connection.reset() if how < 0.3 else connection.socket.close()

    return step


@pytest.mark.parametrize("clients", [1, 4])
def test_no_get_fails_on_stale_connections(start_dao, origin: Origin, clients: int) -> None:
    """Hundreds of tries with a backend that closes its idle connections at random."""
    origin.default = (close_at_random(clients),)
    dao = start_dao(simple_config(origin.url, proxy=NO_RETRIES))
    counters = Counters(dao)
    failed: list[object] = []

    def ask() -> None:
        with RawClient(dao.address) as client:
            for n in range(400 // clients):
                response = client.exchange(get(f"/{n}"))
                if (response.status, response.body) != (200, b"ok"):
                    failed.append(response)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, f"{len(failed)} of 400 failed: {failed[0]}"
    assert origin.accepted > 50, "the backend did close"
    counters.grew("dao_requests_total", 400, route="all", code_class="2xx")
    counters.grew("dao_upstream_errors_total", 0)
    origin.default = None
    expect_normal(dao)
    dao.stop()


def test_post_is_never_delivered_twice(start_dao, origin: Origin) -> None:
    """A POST that meets a closing connection may fail, rarely; it must not act twice, and 200 means it acted."""
    origin.default = (close_at_random(7),)
    dao = start_dao(simple_config(origin.url, proxy=NO_RETRIES))
    tries = 300
    with dao.client() as client:
        statuses = {f"/{n}": client.exchange(post(f"/{n}", b"once")).status for n in range(tries)}
    delivered = Counter(request.target for request in origin.requests)
    assert max(delivered.values()) == 1, "delivered twice"
    assert all(delivered[target] == 1 for target, status in statuses.items() if status == 200)
    assert set(statuses.values()) <= {200, 502}
    assert list(statuses.values()).count(200) > tries // 2
    lost = dao.wait_access(tries)
    assert all(entry["error"] == "connection_terminated" for entry in lost if entry["status"] == 502)
    origin.default = None
    expect_normal(dao)
    dao.stop()


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["close", "reset"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_connection_that_died_while_idle(start_dao, origin: Origin, method: str, end: Step) -> None:
    """A backend that restarts between two requests is not noticed by the client, whatever the method."""
    close = threading.Event()
    origin.answer("/first ", OK, Wait(close), end)
    dao = start_dao(simple_config(origin.url, proxy=NO_RETRIES))
    with dao.client() as client:
        expect_ok(client.exchange(get("/first")))
        close.set()
        origin.wait(lambda: not origin.open_connections, "the connection to be closed")
        expect_ok(client.exchange(get("/second") if method == "GET" else post("/second", b"body")))
    assert [request.target for request in origin.requests] == ["/first", "/second"]
    expect_normal(dao)
    dao.stop()


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["close", "reset"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_connection_that_dies_on_the_second_request(start_dao, origin: Origin, method: str, end: Step) -> None:
    """The request was read and not answered: a GET is sent again over a new connection, a POST is not."""
    origin.answer("/second ", end)
    origin.answer("/second ", OK)
    dao = start_dao(simple_config(origin.url, proxy=NO_RETRIES))
    with dao.client() as client:
        expect_ok(client.exchange(get("/first")))
        second = client.exchange(get("/second") if method == "GET" else post("/second", b"body"))
    assert second.status == (200 if method == "GET" else 502)
    first, *others = origin.requests
    assert others[0].connection == first.connection
    assert len({request.connection for request in others}) == len(others) == (2 if method == "GET" else 1)
    (entry,) = dao.wait_access(lambda entry: entry["target"] == "/second")
    assert entry["attempts"] == 1, "one attempt with one upstream, whatever its connections did"
    expect_normal(dao)
    dao.stop()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_connections_are_reused(start_dao, origin: Origin, method: str) -> None:
    """Also for what cannot be sent twice: the kernel is asked whether somebody still listens."""
    dao = start_dao(simple_config(origin.url))
    counters = Counters(dao)
    with dao.client() as client:
        for n in range(10):
            expect_ok(client.exchange(get(f"/{n}") if method == "GET" else post(f"/{n}", b"body")))
    assert {request.connection for request in origin.requests} == {1}
    counters.grew("dao_upstream_connects_total", 1, upstream="u0")
    counters.grew("dao_upstream_reused_connections_total", 9, upstream="u0")
    expect_normal(dao)
    dao.stop()


def connections_of(dao_client: RawClient, origin: Origin, requests: int = 3) -> int:
    """Over how many connections so many requests in a row reach the origin."""
    for n in range(requests):
        expect_ok(dao_client.exchange(get(f"/{n}")))
    return len({request.connection for request in origin.requests})


@pytest.mark.parametrize(
    "head, connections",
    [
        (b"HTTP/1.1 200 OK\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", 3),
        (b"HTTP/1.0 200 OK\r\n", 3),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=60\r\n", 1),
        # One second is what DAO leaves early, so that no request meets the backend's close.
        (b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\n", 3),
        (b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0, max=100\r\n", 3),
    ],
    ids=["http11", "close", "http10", "http10-keep-alive", "timeout-60", "timeout-1", "timeout-0"],
)
def test_what_the_backend_says_about_its_connection(start_dao, origin: Origin, head: bytes, connections: int) -> None:
    origin.default = (head + b"Content-Length: 2\r\n\r\nok",)
    dao = start_dao(simple_config(origin.url, proxy=NO_RETRIES))
    with dao.client() as client:
        assert connections_of(client, origin) == connections
    expect_nothing_left(dao)
    dao.stop()


def test_announced_keep_alive_is_honoured(start_dao, origin: Origin) -> None:
    """A second before the time that the origin names, DAO closes the connection."""
    keeps = math.ceil(deadline.SCALE)
    origin.default = (b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=%d\r\nContent-Length: 2\r\n\r\nok" % (keeps + 1),)
    dao = start_dao(simple_config(origin.url, proxy=NO_RETRIES))
    with dao.client() as client:
        expect_ok(client.exchange(get("/first")))
        answered = time.monotonic()
        expect_ok(client.exchange(get("/second")))
        assert len({request.connection for request in origin.requests}) == 1
        origin.wait(lambda: not origin.open_connections, "DAO to close the connection")
        assert 0.9 * keeps < time.monotonic() - answered < keeps + 1.2 * deadline.SCALE
        expect_ok(client.exchange(get("/third")))
    expect_nothing_left(dao)
    dao.stop()


def test_expired_connection_is_not_used(start_dao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url, proxy={**NO_RETRIES, "pool_idle_timeout_ms": 30}))
    with dao.client() as client:
        for n in range(3):
            expect_ok(client.exchange(get(f"/{n}")))
            time.sleep(0.06)  # the time that the connection may be kept passes
    assert len({request.connection for request in origin.requests}) == 3
    expect_nothing_left(dao)
    dao.stop()


EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


def test_bytes_after_an_answer_are_nobodys_answer(start_dao, origin: Origin) -> None:
    """A backend that sends a second answer, at once or later, must not have it taken for that of the next request."""
    more = threading.Event()
    sent = threading.Event()
    origin.answer("/at-once ", OK + EVIL)
    origin.answer("/later ", OK, Wait(more), EVIL, lambda *_: sent.set())
    dao = start_dao(simple_config(origin.url, proxy=NO_RETRIES))
    with dao.client() as client:
        for n in range(5):
            expect_ok(client.exchange(get("/at-once")))
            expect_ok(client.exchange(get(f"/next-{n}")))
        expect_ok(client.exchange(get("/later")))
        more.set()
        assert sent.wait(deadline.DEFAULT)
        for n in range(5):
            expect_ok(client.exchange(get(f"/after-{n}")))
    expect_normal(dao)
    dao.stop()


@pytest.mark.parametrize("most", [0, 2])
def test_pool_max_idle(start_dao, origin: Origin, most: int) -> None:
    answer = threading.Event()
    origin.answer("/together ", Wait(answer), OK)
    dao = start_dao(simple_config(origin.url, proxy={"pool_max_idle": most}))
    clients = [dao.client() for _ in range(6)]
    for client in clients:
        client.send(get("/together"))
    origin.wait_requests(6)
    assert dao.metrics().total("dao_upstream_in_flight", upstream="u0") == 6
    assert dao.metrics().total("dao_upstream_connections", upstream="u0", state="active") == 6
    answer.set()
    for client in clients:
        expect_ok(client.response())
    expect_nothing_left(dao)
    assert dao.metrics().total("dao_upstream_connections", state="idle") == most
    origin.wait(lambda: origin.open_connections == most, "the other connections to be closed")
    dao.stop()


def test_a_slow_answer_is_no_stale_connection(start_dao, origin: Origin) -> None:
    """A reused connection on which nothing comes is a timeout, not a reason to ask again."""
    hold = threading.Event()
    origin.answer("/slow ", Wait(hold), OK)
    dao = start_dao(simple_config(origin.url, proxy={**NO_RETRIES, "first_byte_timeout_ms": SHORT_MS}))
    with dao.client() as client:
        expect_ok(client.exchange(get("/first")))
        assert client.exchange(get("/slow")).status == 504
    hold.set()
    assert len(origin.seen("/slow ")) == 1
    expect_normal(dao)
    dao.stop()


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["close", "reset"])
def test_an_interim_answer_is_no_stale_connection(start_dao, origin: Origin, end: Step) -> None:
    """A backend that has said 103 has got the request: it died of it, perhaps, and is not asked again."""
    hints_arrived = threading.Event()
    origin.answer("/hinted ", b"HTTP/1.1 103 Early Hints\r\n\r\n", Wait(hints_arrived), end)
    dao = start_dao(simple_config(origin.url))
    with dao.client() as client:
        expect_ok(client.exchange(get("/first")))
        client.send(get("/hinted"))
        client.wait_bytes()
        hints_arrived.set()
        response = client.response()
    assert [interim.status for interim in response.interim] == [103]
    expect_error(response, 502, "connection_terminated")
    assert len(origin.seen("/hinted ")) == 1
    expect_normal(dao)
    dao.stop()
