"""Too much of everything: sizes, connections, requests at once, and bytes that are no HTTP at all."""

from __future__ import annotations

import random
import resource
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from lib import deadline
from lib.client import RawClient
from lib.dao import Dao, simple_config
from lib.faults import (
    SHORT_MS,
    Counters,
    Scene,
    expect_entry,
    expect_error,
    expect_nothing_left,
    expect_normal,
    expect_ok,
    get,
    post,
    post_chunked,
    rule,
)
from lib.http1 import Response, Truncated
from lib.origin import Origin

TARGET_MAX, HEAD_MAX, FIELDS_MAX, BODY_MAX = 300, 2000, 20, 10_000


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    server = {
        "target_max_bytes": TARGET_MAX,
        "header_max_bytes": HEAD_MAX,
        "header_max_count": FIELDS_MAX,
        "body_max_bytes": BODY_MAX,
    }
    directory = tmp_path_factory.mktemp("limits")
    with Scene(directory, lambda origin: [rule("all", "/", origin.url)], server=server) as shared:
        yield shared


# Sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_bytes, status, reason",
    [
        (get("/t" + "t" * TARGET_MAX), 414, "target_too_large"),
        (get("/t" + "t" * 1_000_000), 414, "target_too_large"),
        (get("/head", "X: " + "x" * HEAD_MAX), 431, "head_too_large"),
        (get("/head", "X: " + "x" * 1_000_000), 431, "head_too_large"),
        (b"GET /head HTTP/1.1\r\nHost: a.test\r\nX: " + b"x" * 1_000_000, 431, "head_too_large"),
        (get("/count", *("X: y" for _ in range(FIELDS_MAX))), 431, "head_too_large"),
        (post("/length", b"x" * (BODY_MAX + 1)), 413, "body_too_large"),
        (post("/length", b"x", length=10**12), 413, "body_too_large"),
    ],
    ids=["target", "target-1-MB", "field", "field-1-MB", "field-endless", "fields", "body", "body-announced"],
)
def test_oversized_request(scene: Scene, request_bytes: bytes, status: int, reason: str) -> None:
    """Refused before anything of it reaches the origin, and the client gets to read why."""
    before = len(scene.origin.requests)
    counters = Counters(scene.dao)
    with scene.dao.client() as client:
        port = client.socket.getsockname()[1]
        client.send(request_bytes)
        response = client.response()
        expect_error(response, status, "http_request_error")
        assert response.elements("connection") == ["close"]
    counters.grew_only("dao_client_errors_total", reason=reason)
    counters.grew("dao_requests_total", code_class="4xx")
    (entry,) = scene.dao.wait_access(lambda entry: entry["client_port"] == port)
    assert (entry["status"], entry["error"], entry["attempts"]) == (status, "http_request_error", 0)
    assert len(scene.origin.requests) == before
    expect_normal(scene.dao)


def test_streamed_body_that_grows_too_large(scene: Scene) -> None:
    """Nobody knew at the start: the origin's exchange is broken off, so that it cannot take the part for the whole."""
    counters = Counters(scene.dao)
    with scene.dao.client() as client:
        client.send(post_chunked("/grows") + b"1000\r\n" + b"x" * 4096 + b"\r\n")
        scene.origin.wait(lambda: scene.origin.seen("/grows "), "the request")
        client.send(*[b"1000\r\n" + b"x" * 4096 + b"\r\n"] * 3)
        response = client.response("POST")
        expect_error(response, 413, "http_request_error")
        assert response.elements("connection") == ["close"]
    (seen,) = scene.origin.seen("/grows ")
    scene.origin.wait(lambda: not scene.origin.is_open(seen.connection), "the connection to the origin to be dropped")
    assert not seen.complete
    expect_entry(scene.dao, "/grows", status=413, error="http_request_error", upstream="all0", attempts=1)
    counters.grew_only("dao_client_errors_total", reason="body_too_large")
    counters.grew("dao_upstream_errors_total", 0)
    expect_normal(scene.dao)


# Connections -------------------------------------------------------------------------------------------------------


def test_connections_beyond_the_limit(start_dao, origin: Origin) -> None:
    limit = 10
    dao = start_dao(simple_config(origin.url, server={"max_connections": limit}))
    holders = [dao.client() for _ in range(limit)]
    for client in holders:
        expect_ok(client.exchange(get("/held")))
    counters = Counters(dao)
    for _ in range(5):
        with RawClient(dao.address) as client:
            response = client.response()
            expect_error(response, 503, "connection_limit_reached")
            assert response.values("retry-after") == ["1"]
            assert response.elements("connection") == ["close"]
            client.expect_closed()
    counters.grew_only("dao_rejected_requests_total", 5, reason="connection_limit")
    dao.wait_log("max_connections reached")
    # Those that have a place keep it, and a place that is given up is free again.
    expect_ok(holders[0].exchange(get("/held")))
    holders.pop().close()
    deadline.wait_until(lambda: dao.metrics().total("dao_connections") == limit - 1, "the place to be free")
    expect_normal(dao)
    dao.stop()


def test_connections_beyond_the_limit_of_a_listener(start_dao, origin: Origin) -> None:
    config = simple_config(origin.url)
    config["server"]["listener"] = [  # type: ignore[index]
        {"name": "narrow", "bind": "127.0.0.2:0", "max_connections": 1},
    ]
    dao = start_dao(config)
    narrow = dao.addresses[1]
    with RawClient(narrow) as holder:
        expect_ok(holder.exchange(get("/held")))
        with RawClient(narrow) as refused:
            assert refused.response().status == 503
        line = dao.wait_log("max_connections reached")
        assert (line.fields["listener"], line.fields["max_connections"]) == ("narrow", "1")
        with dao.client() as other:  # of the listener without a limit
            expect_ok(other.exchange(get("/other")))
        expect_ok(holder.exchange(get("/still-held")))
    deadline.wait_until(lambda: dao.metrics().total("dao_connections") == 0, "the place to be free")
    with RawClient(narrow) as client:
        expect_ok(client.exchange(get("/again")))
    dao.stop()


def test_connection_flood(start_dao, origin: Origin) -> None:
    """Far more at once than get an answer: the rest is closed, nothing piles up, and it is all counted."""
    limit, flood = 20, 500
    dao = start_dao(simple_config(origin.url, server={"max_connections": limit}))
    counters = Counters(dao)
    clients = [RawClient(dao.address) for _ in range(flood)]
    counters.grew("dao_connections_accepted_total", flood)
    assert dao.metrics().total("dao_connections") <= limit
    counters.grew("dao_rejected_requests_total", flood - limit, reason="connection_limit")
    for client in clients:
        client.close()
    counters.grew("dao_connections_closed_total", flood)
    expect_normal(dao)
    dao.stop()


def test_many_idle_connections(start_dao, origin: Origin) -> None:
    count = 2000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * count + 500
    if soft < needed:
        assert hard == resource.RLIM_INFINITY or hard >= needed, f"this test needs `ulimit -Hn` of {needed}"
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    dao = start_dao(simple_config(origin.url))
    idle = [socket.create_connection(dao.address) for _ in range(count)]
    deadline.wait_until(lambda: dao.metrics().total("dao_connections", state="idle") == count, "all to be accepted")
    with RawClient(dao.address) as client:
        for n in range(50):
            expect_ok(client.exchange(get(f"/{n}")))
    for sock in idle[:50]:
        sock.sendall(get("/was-idle"))
    for sock in idle[:50]:
        sock.settimeout(deadline.DEFAULT)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    for sock in idle:
        sock.close()
    expect_normal(dao)
    dao.stop()


# Requests at once ----------------------------------------------------------------------------------------------------


def test_pipelining_flood(scene: Scene) -> None:
    """A thousand requests in one go are a thousand answers in order."""
    count = 1000
    for n in range(count):
        scene.origin.answer(f"/flood-{n} ", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n%04d" % n)
    with scene.dao.client() as client:
        client.send(b"".join(get(f"/flood-{n}") for n in range(count)))
        for n in range(count):
            expect_ok(client.response(), b"%04d" % n)
    scene.origin.forget()
    expect_normal(scene.dao)


def test_pipelining_without_reading(start_dao, origin: Origin) -> None:
    """Requests are not read while their answers are not: memory is bounded, and in the end the connection closes."""
    origin.default = (b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + b"z" * 10000,)
    dao = start_dao(simple_config(origin.url, server={"write_timeout_ms": SHORT_MS}))
    with RawClient(dao.address) as client:
        client.exchange(get("/warm"))
    before = dao.rss_bytes()
    counters = Counters(dao)
    client = dao.client()
    requests = get("/unread") * 1000
    client.socket.settimeout(deadline.DEFAULT)
    with pytest.raises(OSError):  # in the end DAO closes, and sending fails
        while True:
            client.socket.sendall(requests)
    assert dao.rss_bytes() - before < deadline.MEMORY_SCALE * 8 * 1024 * 1024
    counters.grew_only("dao_client_errors_total", reason="timeout_write")
    assert dao.wait_access(lambda entry: entry.get("error"))[0]["error_detail"] == "timeout_write"
    origin.default = None
    expect_normal(dao)
    dao.stop()


# Not HTTP --------------------------------------------------------------------------------------------------------


def garbage(choice: random.Random) -> bytes:
    """Pure noise, noise within a request, or a request with a few bytes changed."""
    noise = choice.randbytes(choice.randint(1, 3000))
    match choice.randrange(3):
        case 0:
            return noise
        case 1:
            return b"GET /noise HTTP/1.1\r\nHost: a.test\r\n" + noise + b"\r\n\r\n"
        case _:
            request = bytearray(post("/mutant", b"hello", "X-One: 1", "Accept: */*"))
            for _ in range(choice.randint(1, 4)):
                request[choice.randrange(len(request))] = choice.randrange(256)
            return bytes(request)


def answers(client: RawClient) -> list[Response]:
    """All answers until DAO closes."""
    found = []
    while client.wait_bytes():
        try:
            found.append(client.response())
        except Truncated:
            break
    return found


def test_random_garbage(scene: Scene) -> None:
    """Each piece is refused or understood, never left hanging; the origin's strict reader checks what gets there."""
    choice = random.Random(2026)
    statuses: Counter[int] = Counter()
    for _ in range(300):
        with RawClient(scene.dao.address) as client:
            client.send(garbage(choice))
            client.half_close()
            for response in answers(client):
                statuses[response.status] += 1
    assert statuses[400] > 100 and all(200 <= status < 506 for status in statuses), statuses
    assert not scene.origin.violations
    expect_normal(scene.dao)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\0" * 4096,
        b"\r\n" * 4096,
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["tls", "ssh", "zeros", "empty-lines", "proxy-protocol"],
)
def test_other_protocols(scene: Scene, data: bytes) -> None:
    before = len(scene.origin.requests)
    with RawClient(scene.dao.address) as client:
        client.send(data)
        client.half_close()
        assert {response.status for response in answers(client)} <= {400, 501, 505}
        client.expect_ended()
    assert len(scene.origin.requests) == before
    expect_normal(scene.dao)


def test_descriptors_run_out(start_dao, origin: Origin) -> None:
    """More clients than descriptors, with no other limit in the way: DAO survives and serves again."""
    dao = start_dao(simple_config(origin.url, server={"max_connections": 1000}, proxy={"pool_max_idle": 0}))
    # UBSan looks at the memory of types that are new to it through a pipe, so they must not be new later.
    expect_normal(dao)
    with RawClient(dao.address) as client:
        assert client.exchange(b"nonsense\r\n\r\n").status == 400
    soft, hard = resource.prlimit(dao.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(dao.process.pid, resource.RLIMIT_NOFILE, (dao.idle_fds + 30, hard))
    clients = [RawClient(dao.address) for _ in range(60)]
    deadline.wait_until(lambda: dao.fd_count() >= dao.idle_fds + 30, "all descriptors to be in use")
    clients[0].send(get("/no-descriptor"))
    expect_error(clients[0].response(), 500, "proxy_internal_error")  # no descriptor for the upstream's connection
    for client in clients:
        client.close()
    resource.prlimit(dao.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
    deadline.wait_until(lambda: serves(dao), "DAO to serve again")
    expect_nothing_left(dao)
    dao.stop()


def serves(dao: Dao) -> bool:
    with RawClient(dao.address) as client:
        return client.exchange(get("/again")).status == 200
