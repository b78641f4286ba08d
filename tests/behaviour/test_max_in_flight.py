"""max_in_flight of an upstream, and what waits for it: the limit holds over all workers, nobody is lost, nobody waits
for ever. Order, drains, retries and the rest of the single steps: src/dao/server/max_in_flight_test.cpp."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from lib import deadline
from lib.admin import daoctl, read, with_admin
from lib.dao import Dao, simple_config
from lib.faults import get
from lib.origin import HOLD, Origin, Wait
from lib.upstream import Upstream
from lib.websocket import Backend, RawWebSocket

StartDao = Callable[..., Dao]


def limited(most: int, *urls: str, **sections: object) -> dict[str, object]:
    config = simple_config(*urls, **sections)
    for upstream in config["routes"]["rule"][0]["upstreams"]:  # type: ignore[index]
        upstream["max_in_flight"] = most
    return config


@pytest.fixture
def start_upstream() -> Iterator[Callable[..., Upstream]]:
    started: list[Upstream] = []

    def start(*arguments: str) -> Upstream:
        started.append(Upstream(*arguments))
        return started[-1]

    yield start
    for upstream in started:
        upstream.stop()


def url_of(upstream: Upstream) -> str:
    host, port = upstream.addresses[0]
    return f"http://{host}:{port}"


def waiting(dao: Dao) -> float:
    return dao.metrics().total("dao_route_queue_waiting", route="all")


def in_flight(dao: Dao) -> float:
    return dao.metrics().total("dao_upstream_in_flight")


def test_the_upstream_never_sees_more_whatever_the_workers(start_dao: StartDao, start_upstream) -> None:
    """Its slots are as many as the limit, so that one request too many would have to queue there."""
    upstreams = [start_upstream("--slots", "3", "--threads", "1") for _ in range(2)]
    dao = start_dao(
        limited(3, *map(url_of, upstreams), server={"workers": 2}, proxy={"queue_timeout_ms": 60_000})
    )
    clients, each = 24, 25
    statuses: list[int] = []
    lock = threading.Lock()

    def load() -> None:
        with dao.client() as client:
            mine = [client.exchange(get("/?delay_ms=4")).status for _ in range(each)]
        with lock:
            statuses.extend(mine)

    threads = [threading.Thread(target=load) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * clients * each
    seen = [upstream.stats() for upstream in upstreams]
    assert sum(stats["requests"] for stats in seen) == clients * each
    assert [stats["queued_max"] for stats in seen] == [0, 0], seen
    metrics = dao.metrics()
    queued = metrics.total("dao_route_queued_total", route="all")
    assert queued > clients, "most of them had to wait"
    assert metrics.total("dao_route_queue_seconds_count", route="all") == queued
    assert metrics.total("dao_route_queue_waiting", route="all") == 0
    assert in_flight(dao) == 0
    entries = dao.wait_access(clients * each)
    assert sum("queue_ms" in entry for entry in entries) == queued


def test_a_slot_that_one_worker_frees_serves_a_request_of_another(start_dao: StartDao, start_upstream) -> None:
    """One slot and many connections on two workers: each is served in its turn, long before the 5 s are over, and the
    upstream is never left idle for long while somebody waits."""
    upstream = start_upstream("--slots", "1", "--threads", "1")
    dao = start_dao(limited(1, url_of(upstream), server={"workers": 2}))
    clients = [dao.client() for _ in range(16)]
    begin = time.monotonic()
    for client in clients:
        client.send(get("/?delay_ms=10"))
    for client in clients:
        assert client.response().status == 200
    elapsed = time.monotonic() - begin
    for client in clients:
        client.close()
    assert upstream.stats()["queued_max"] == 0
    assert elapsed < 2 * 16 * 0.010 * deadline.SCALE + 0.5, elapsed
    assert len({entry["client_port"] for entry in dao.wait_access(16)}) == 16


def test_full_queue_and_timeout(start_dao: StartDao, origin: Origin) -> None:
    origin.answer("/held", HOLD)
    config = limited(1, origin.url, proxy={"queue_max": 1, "queue_timeout_ms": 300})
    dao = start_dao(with_admin(config))
    with dao.client() as holder, dao.client() as waiter, dao.client() as third:
        holder.send(get("/held"))
        deadline.wait_until(lambda: in_flight(dao) == 1, "the slot is taken")
        sent = time.monotonic()
        waiter.send(get("/waits"))
        deadline.wait_until(lambda: waiting(dao) == 1, "one waits")
        refused = third.exchange(get("/refused"))
        late = waiter.response()
        waited = time.monotonic() - sent
        for response in (refused, late):
            assert response.status == 503
            assert response.value("retry-after") == "1"
            assert response.value("proxy-status") == "dao; error=connection_limit_reached"
        assert 0.3 <= waited < 0.3 + 2 * deadline.SCALE
        # While somebody holds the slot, the operator sees why nobody else gets in.
        (shown,) = read(dao, "/v1/upstreams")["upstreams"]
        assert (shown["in_flight"], shown["max_in_flight"], shown["full"]) == (1, 1, True)
        (worker,) = read(dao, "/v1/explain/all")["workers"]
        assert (worker["chosen"], worker["waits"], worker["fail_open"]) == (None, True, False)
        (candidate,) = worker["candidates"]
        assert (candidate["usable"], candidate["unusable"]) == (False, "full")
        assert "not usable: full" in daoctl(dao, "explain", "all").stdout
        assert "1/1" in daoctl(dao, "upstreams").stdout
    metrics = dao.metrics()
    assert metrics.total("dao_route_queue_overflows_total", route="all") == 1
    assert metrics.total("dao_route_queue_timeouts_total", route="all") == 1
    assert metrics.total("dao_rejected_requests_total", reason="queue_full") == 1
    assert metrics.total("dao_rejected_requests_total", reason="timeout_queue") == 1
    by_target = {entry["target"]: entry for entry in dao.wait_access(3)}
    assert 300 <= by_target["/waits"]["queue_ms"] < 300 + 2000 * deadline.SCALE
    assert "queue_ms" not in by_target["/refused"]
    assert [by_target[target]["attempts"] for target in ("/waits", "/refused")] == [0, 0]


def test_a_client_that_leaves_gives_up_its_place(start_dao: StartDao, origin: Origin) -> None:
    release = threading.Event()
    origin.answer("/held", Wait(release), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld")
    dao = start_dao(limited(1, origin.url, proxy={"queue_timeout_ms": 60_000}))
    with dao.client() as holder, dao.client() as last:
        holder.send(get("/held"))
        deadline.wait_until(lambda: in_flight(dao) == 1, "the slot is taken")
        leaver = dao.client()
        leaver.send(get("/leaves"))
        deadline.wait_until(lambda: waiting(dao) == 1, "one waits")
        last.send(get("/last"))
        deadline.wait_until(lambda: waiting(dao) == 2, "two wait")
        leaver.close()
        deadline.wait_until(lambda: waiting(dao) == 1, "one has left")
        release.set()
        assert holder.response().body == b"held"
        assert last.response().status == 200
    assert [request.target for request in origin.requests] == ["/held", "/last"]
    (entry,) = dao.wait_access(lambda entry: entry["target"] == "/leaves")
    assert (entry["status"], entry["attempts"]) == (499, 0)


def test_a_websocket_holds_its_slot_until_it_is_closed(start_dao: StartDao, origin: Origin) -> None:
    backend = Backend()
    origin.answer("/ws", backend)
    dao = start_dao(limited(1, origin.url, proxy={"queue_timeout_ms": 60_000}))
    socket = RawWebSocket(dao.client(), "/ws")
    backend.ready()
    with dao.client() as client:
        client.send(get("/after"))
        deadline.wait_until(lambda: waiting(dao) == 1, "it waits")
        assert in_flight(dao) == 1
        socket.client.close()
        backend.finish()
        assert client.response().status == 200


def test_who_waits_is_served_while_dao_drains(start_dao: StartDao, start_upstream) -> None:
    upstream = start_upstream("--slots", "1", "--threads", "1")
    dao = start_dao(limited(1, url_of(upstream), server={"workers": 2}))
    clients = [dao.client() for _ in range(6)]
    for client in clients:
        client.send(get("/?delay_ms=60"))
    deadline.wait_until(lambda: waiting(dao) >= 4, "they wait")
    dao.signal(signal.SIGTERM)
    assert [client.response().status for client in clients] == [200] * 6
    for client in clients:
        client.close()
    assert dao.wait_exit() == 0
    assert upstream.stats()["queued_max"] == 0
