"""Clients that go away, and clients that are slow: what DAO lets go of, and what its log says."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from lib import deadline
from lib.client import RawClient
from lib.dao import simple_config
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
from lib.http1 import Request
from lib.origin import EARLY, HOLD, READ_BODY, Connection, Origin
from test_fault_connect import full_listener

SHORT = SHORT_MS / 1000
CHUNK = b"400\r\n" + b"x" * 1024 + b"\r\n"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A DAO with patience: whatever ends here, ends because the client went away."""
    with Scene(tmp_path_factory.mktemp("client"), lambda origin: [rule("all", "/", origin.url)]) as shared:
        yield shared


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A DAO with short timeouts for clients."""
    server = {
        "header_timeout_ms": SHORT_MS,
        "body_timeout_ms": SHORT_MS,
        "body_min_bytes_per_second": 1000,
        "idle_timeout_ms": SHORT_MS,
        "write_timeout_ms": SHORT_MS,
    }
    directory = tmp_path_factory.mktemp("strict")
    with Scene(directory, lambda origin: [rule("all", "/", origin.url)], server=server) as shared:
        yield shared


def endless(connection: Connection, _: Request) -> None:
    """A step: bytes until the peer does not want any more."""
    while True:
        connection.send(b"z" * 65536)


def dropped(origin: Origin, target: str) -> None:
    """The exchange with the origin is over: its connection was closed, not kept and not left alone."""
    number = origin.seen(f"{target} ")[0].connection
    origin.wait(lambda: not origin.is_open(number), "the connection to the origin to be dropped")


Leave = Callable[[RawClient], None]
RST: Leave = RawClient.reset
FIN: Leave = RawClient.close
LEAVES = pytest.mark.parametrize("leave", [RST, FIN], ids=["rst", "fin"])


# Gone ------------------------------------------------------------------------------------------------------------


def test_reset_within_the_head(scene: Scene) -> None:
    counters = Counters(scene.dao)
    client = scene.dao.client()
    client.send(b"GET /in-head HTTP/1.1\r\nHost: a.te")
    deadline.wait_until(lambda: scene.dao.metrics().total("dao_connections", state="active") == 1, "the first bytes")
    client.reset()
    counters.grew_only("dao_client_errors_total", reason="reset")
    (entry,) = scene.dao.wait_access(lambda entry: entry["status"] == 499 and entry["attempts"] == 0)
    assert entry["error"] == "http_request_error"
    expect_normal(scene.dao)


def test_close_within_the_head(scene: Scene) -> None:
    """Half a head and FIN: the client may still read, so it is told."""
    counters = Counters(scene.dao)
    with scene.dao.client() as client:
        client.send(b"GET /in-head HTTP/1.1\r\nHost: a.te")
        client.half_close()
        expect_error(client.response(), 400, "http_request_error")
        client.expect_closed()
    counters.grew_only("dao_client_errors_total", reason="incomplete")
    (entry,) = scene.dao.wait_access(lambda entry: entry["status"] == 400)
    assert (entry["error"], entry["attempts"]) == ("http_request_error", 0)
    expect_normal(scene.dao)


def test_close_before_the_first_byte(scene: Scene) -> None:
    """Nothing was asked: nothing is answered, logged or counted as a failure."""
    counters = Counters(scene.dao)
    for leave in (RST, FIN):
        leave(scene.dao.client())
    counters.grew("dao_connections_closed_total", 2)
    counters.grew("dao_client_errors_total", 0)
    counters.grew("dao_requests_total", 0)
    expect_normal(scene.dao)


@pytest.mark.parametrize("sent", [b"", CHUNK], ids=["after-head", "within-body"])
def test_reset_within_the_upload(scene: Scene, sent: bytes, request: pytest.FixtureRequest) -> None:
    target = f"/rst-{request.node.callspec.id}"
    counters = Counters(scene.dao)
    client = scene.dao.client()
    client.send(post_chunked(target) + sent)
    scene.origin.wait(lambda: scene.origin.seen(f"{target} "), "the request")
    client.reset()
    dropped(scene.origin, target)
    expect_entry(scene.dao, target, status=499, error="http_request_error", upstream="all0", attempts=1)
    counters.grew_only("dao_client_errors_total", reason="reset")
    counters.grew("dao_requests_total", route="all", code_class="4xx")
    counters.grew("dao_upstream_errors_total", 0)
    assert not scene.origin.seen(f"{target} ")[0].complete, "a cut body must not look whole"
    expect_normal(scene.dao)


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "length"])
def test_close_within_the_upload(scene: Scene, chunked: bool, request: pytest.FixtureRequest) -> None:
    target = f"/fin-{request.node.callspec.id}"
    counters = Counters(scene.dao)
    with scene.dao.client() as client:
        client.send(post_chunked(target) + CHUNK if chunked else post(target, b"x" * 1024, length=5000))
        scene.origin.wait(lambda: scene.origin.seen(f"{target} "), "the request")
        client.half_close()
        expect_error(client.response("POST"), 400, "http_request_error")
        client.expect_closed()
    dropped(scene.origin, target)
    expect_entry(scene.dao, target, status=400, error="http_request_error", upstream="all0", attempts=1)
    counters.grew_only("dao_client_errors_total", reason="incomplete")
    assert not scene.origin.seen(f"{target} ")[0].complete, "a cut body must not look whole"
    expect_normal(scene.dao)


@LEAVES
def test_gone_while_waiting_for_the_answer(scene: Scene, leave: Leave, request: pytest.FixtureRequest) -> None:
    """Nobody works for a client that is gone: the origin sees its connection close."""
    target = f"/waiting-{request.node.callspec.id}"
    scene.origin.answer(f"{target} ", HOLD)
    counters = Counters(scene.dao)
    client = scene.dao.client()
    client.send(get(target))
    scene.origin.wait_requests(1, f"{target} ")
    leave(client)
    dropped(scene.origin, target)
    expect_entry(scene.dao, target, status=499, error="http_request_error", upstream="all0", attempts=1)
    counters.grew("dao_client_errors_total")
    counters.grew("dao_requests_total", route="all", code_class="4xx")
    counters.grew("dao_upstream_errors_total", 0)
    expect_normal(scene.dao)


@LEAVES
def test_gone_after_the_upload(scene: Scene, leave: Leave, request: pytest.FixtureRequest) -> None:
    """As above, but the body was streamed: the end of the upload is where watching begins."""
    target = f"/uploaded-{request.node.callspec.id}"
    scene.origin.answer(f"{target} ", HOLD)
    client = scene.dao.client()
    client.send(post_chunked(target) + CHUNK)
    scene.origin.wait(lambda: scene.origin.seen(f"{target} "), "the request")
    client.send(CHUNK + b"0\r\n\r\n")
    scene.origin.wait_requests(1, f"{target} ")
    leave(client)
    dropped(scene.origin, target)
    expect_entry(scene.dao, target, status=499, error="http_request_error", request_bytes=2048)
    expect_normal(scene.dao)


def test_half_close_after_the_request_counts_as_gone(scene: Scene) -> None:
    scene.origin.answer("/half-close ", HOLD)
    with scene.dao.client() as client:
        client.send(get("/half-close"))
        scene.origin.wait_requests(1, "/half-close ")
        client.half_close()
        client.expect_closed()
    dropped(scene.origin, "/half-close")
    expect_entry(scene.dao, "/half-close", status=499, error="http_request_error")
    expect_normal(scene.dao)


@LEAVES
def test_gone_while_reading_the_answer(scene: Scene, leave: Leave, request: pytest.FixtureRequest) -> None:
    target = f"/reading-{request.node.callspec.id}"
    scene.origin.answer(f"{target} ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", endless)
    counters = Counters(scene.dao)
    client = scene.dao.client()
    client.send(get(target))
    client.wait_bytes(100_000)
    leave(client)
    dropped(scene.origin, target)
    entry = expect_entry(scene.dao, target, status=200, error="http_request_error", upstream="all0", attempts=1)
    assert 100_000 <= entry["response_bytes"] < 100_000_000
    counters.grew("dao_client_errors_total")
    counters.grew("dao_upstream_errors_total", 0)
    expect_normal(scene.dao)


@LEAVES
def test_gone_between_pieces_of_the_answer(scene: Scene, leave: Leave, request: pytest.FixtureRequest) -> None:
    """Nothing is being sent at that moment, so no failed write tells; DAO watches all the same."""
    target = f"/pieces-{request.node.callspec.id}"
    scene.origin.answer(f"{target} ", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", HOLD)
    client = scene.dao.client()
    client.send(get(target))
    client.wait_bytes()
    leave(client)
    dropped(scene.origin, target)
    expect_entry(scene.dao, target, status=200, error="http_request_error")
    expect_normal(scene.dao)


@LEAVES
def test_gone_while_connecting_to_the_upstream(start_dao, leave: Leave) -> None:
    with full_listener() as port:
        config = simple_config(f"http://127.0.0.1:{port}", proxy={"connect_timeout_ms": 60_000})
        dao = start_dao(config)
        client = dao.client()
        client.send(get("/connecting"))
        deadline.wait_until(lambda: dao.metrics().total("dao_upstream_in_flight") == 1, "the attempt")
        leave(client)
        expect_entry(dao, "/connecting", status=499, error="http_request_error", attempts=1)
        expect_nothing_left(dao)
        dao.stop()


def test_gone_with_pipelined_requests(scene: Scene) -> None:
    """What was not begun is not begun any more."""
    scene.origin.answer("/pipe-0 ", HOLD)
    client = scene.dao.client()
    client.send(b"".join(get(f"/pipe-{n}") for n in range(5)))
    scene.origin.wait_requests(1, "/pipe-0 ")
    client.reset()
    dropped(scene.origin, "/pipe-0")
    expect_entry(scene.dao, "/pipe-0", status=499)
    expect_normal(scene.dao)
    assert not [n for n in range(1, 5) if scene.origin.seen(f"/pipe-{n} ")]


# Slow ------------------------------------------------------------------------------------------------------------


def trickle(client: RawClient, data: bytes, every: float = 0.02, most: float = 10 * SHORT) -> float:
    """Sends byte after byte until something comes back (or the connection ends); returns the seconds that took."""
    begun = time.monotonic()
    client.socket.settimeout(every)
    for at in range(int(most / every)):
        try:
            client.socket.send(data[at % len(data) : at % len(data) + 1])
            client.socket.recv(1, socket.MSG_PEEK)
            break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - begun


@pytest.mark.parametrize("served", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("trickled", [True, False], ids=["trickled", "stalled"])
def test_slowloris_head(strict: Scene, served: int, trickled: bool) -> None:
    """A head must be there in time as a whole, however regularly its bytes come."""
    counters = Counters(strict.dao)
    with strict.dao.client() as client:
        for _ in range(served):
            expect_ok(client.exchange(get("/normal")))
        client.send(b"GET /slowloris HTTP/1.1\r\nX-Slow: ")
        if trickled:
            assert trickle(client, b"slow") < 3 * SHORT + 0.5
        response = client.response()
        expect_error(response, 408, "http_request_error")
        assert response.elements("connection") == ["close"]
    counters.grew_only("dao_client_errors_total", reason="timeout_head")
    counters.grew("dao_requests_total", route="(none)", code_class="4xx")
    entry = strict.dao.wait_access(lambda entry: entry["status"] == 408)[-1]
    assert (entry["error"], entry["attempts"]) == ("http_request_error", 0)
    expect_normal(strict.dao)


@pytest.mark.parametrize("served", [0, 1], ids=["first", "idle"])
def test_silent_client_is_closed_silently(strict: Scene, served: int) -> None:
    counters = Counters(strict.dao)
    with strict.dao.client() as client:
        for _ in range(served):
            expect_ok(client.exchange(get("/normal")))
        client.expect_closed()
    counters.grew("dao_client_errors_total", 0)
    counters.grew("dao_requests_total", served)
    expect_normal(strict.dao)


@pytest.mark.parametrize("how", ["after-head", "within-chunk", "trickled"])
def test_slow_body(strict: Scene, how: str) -> None:
    """A body that stops, or comes below body_min_bytes_per_second, is answered 408 and the origin is let go."""
    target = f"/slow-{how}"
    counters = Counters(strict.dao)
    with strict.dao.client() as client:
        client.send(post_chunked(target))
        if how == "within-chunk":
            client.send(b"400\r\n" + b"x" * 500)
        if how == "trickled":
            client.send(b"fff\r\n")
            trickle(client, b"x")
        response = client.response("POST")
        expect_error(response, 408, "http_request_error")
        assert response.elements("connection") == ["close"]
    dropped(strict.origin, target)
    expect_entry(strict.dao, target, status=408, error="http_request_error", upstream="all0", attempts=1)
    counters.grew_only("dao_client_errors_total", reason="timeout_body")
    counters.grew("dao_upstream_errors_total", 0)
    expect_normal(strict.dao)


def test_slow_body_above_the_least_rate_is_fine(start_dao, origin: Origin) -> None:
    """Twice as long as `body_timeout_ms`, at several times the least rate, with room for a test that is held up."""
    timeout_ms = int(1000 * deadline.SCALE)
    dao = start_dao(
        simple_config(origin.url, server={"body_timeout_ms": timeout_ms, "body_min_bytes_per_second": 500})
    )
    pieces = int(2 * timeout_ms / 20)
    with dao.client() as client:
        client.send(post("/fast-enough", length=100 * pieces))
        for _ in range(pieces):
            client.send(b"x" * 100)  # some 4000 bytes per second
            time.sleep(0.02)  # the pace of the upload, nothing is waited for
        expect_ok(client.response("POST"))
    expect_entry(dao, "/fast-enough", status=200, error=None, request_bytes=100 * pieces)
    expect_normal(dao)


def test_early_answer_is_cut_with_an_upload_that_stops(strict: Scene) -> None:
    """The origin has begun to answer and waits for the rest of a body that never comes."""
    strict.origin.answer("/half-early ", EARLY, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", READ_BODY, b"cd")
    counters = Counters(strict.dao)
    with strict.dao.client() as client:
        client.send(post_chunked("/half-early") + CHUNK)
        response = client.response("POST")
        assert (response.status, response.body, response.complete) == (200, b"ab", False)
    dropped(strict.origin, "/half-early")
    expect_entry(strict.dao, "/half-early", status=200, error="http_request_error")
    counters.grew_only("dao_client_errors_total", reason="timeout_body")
    expect_normal(strict.dao)


def test_client_that_does_not_read(strict: Scene) -> None:
    strict.origin.answer("/unread ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", endless)
    counters = Counters(strict.dao)
    client = strict.dao.client()
    client.send(get("/unread"))
    strict.origin.wait_requests(1, "/unread ")
    dropped(strict.origin, "/unread")
    expect_entry(strict.dao, "/unread", status=200, error="http_request_error", error_detail="timeout_write")
    counters.grew_only("dao_client_errors_total", reason="timeout_write")
    counters.grew("dao_upstream_errors_total", 0)
    expect_normal(strict.dao)


def read_body(client: RawClient, size: int, slowly_until: float = 0.0) -> None:
    """Reads a 200 with a body of `size` bytes and throws it away; piece by piece with pauses until that moment."""
    client.socket.settimeout(deadline.DEFAULT)
    got, left = b"", size
    while b"\r\n\r\n" not in got:
        got += client.socket.recv(4096)
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    left -= len(body)
    while left > 0:
        slow = time.monotonic() < slowly_until
        if slow:
            time.sleep(0.02)  # the pace of the reader, nothing is waited for
        piece = client.socket.recv(min(left, 65536 if slow else 1 << 20))
        assert piece, f"cut, {left} bytes before the end"
        left -= len(piece)


def test_client_that_reads_slowly_is_fine(strict: Scene) -> None:
    """write_timeout is about progress: a slow client that reads on gets all of it."""
    size = 8 * 1024 * 1024
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    strict.origin.answer("/read-slowly ", head + b"z" * size)
    with strict.dao.client() as client:
        client.send(get("/read-slowly"))
        read_body(client, size, slowly_until=time.monotonic() + 3 * SHORT)
    expect_entry(strict.dao, "/read-slowly", status=200, error=None, response_bytes=size)
    expect_normal(strict.dao)


def test_unread_answers_do_not_pile_up_in_memory(start_dao, origin: Origin) -> None:
    """50 clients leave 20 MB each unread: DAO stops reading from the origin instead of holding a gigabyte."""
    clients, size, bound = 50, 20 * 1024 * 1024, deadline.MEMORY_SCALE * 24 * 1024 * 1024
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"z" * size
    origin.answer("/large ", answer)
    dao = start_dao(simple_config(origin.url))
    with dao.client() as warm:
        expect_ok(warm.exchange(get("/normal")))
    before = dao.rss_bytes()
    waiting = [dao.client() for _ in range(clients)]
    for client in waiting:
        client.send(get("/large"))
    for client in waiting:
        client.socket.settimeout(deadline.DEFAULT)
        assert client.socket.recv(1, socket.MSG_PEEK), "the answer has begun"
    samples: list[int] = []

    def settled() -> bool:
        samples.append(dao.rss_bytes())
        # The mind's and the store's threads work on; a sanitizer keeps for a while what they free.
        return len(samples) >= 20 and max(samples[-20:]) - min(samples[-20:]) <= 64 * 1024 * deadline.MEMORY_SCALE

    deadline.wait_until(settled, "DAO's memory to stop changing", poll=0.01)
    assert max(samples) - before < bound, f"{(max(samples) - before) >> 20} MiB more for {clients} slow readers"
    assert dao.metrics().total("dao_upstream_in_flight") == clients
    # Whoever reads on gets it all.
    read_body(waiting[0], size)
    expect_ok(waiting[0].exchange(get("/normal")))
    for client in waiting[1:]:
        client.reset()
    expect_normal(dao)
    dao.stop()
