"""What a broken backend does to its client, its log line and its counters: one line per fault.

All faults are seen by one DAO with one upstream, so nothing can be retried elsewhere (test_fault_retries.py does that).
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from lib import deadline
from lib.client import RawClient
from lib.faults import (
    SHORT_MS,
    Counters,
    Scene,
    expect_entry,
    expect_error,
    expect_normal,
    expect_ok,
    get,
    post,
    post_chunked,
    rule,
)
from lib.http1 import Request
from lib.origin import CLOSE, EARLY, HOLD, OK, READ_BODY, RESET, Connection, Step, Wait

HEAD_OF_10 = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
HEAD_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HEAD_UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"


def repeat(data: bytes, times: int = 100_000, every_ms: int = 20) -> Callable[[Connection, Request], None]:
    """A step: the same bytes again and again, until the peer is gone."""

    def step(connection: Connection, _: Request) -> None:
        connection.socket.settimeout(every_ms / 1000)
        for _ in range(times):
            connection.send(data)
            try:
                if not connection.socket.recv(1, socket.MSG_PEEK):  # the pause ends when the peer closes
                    return
            except TimeoutError:
                pass
        connection.socket.settimeout(None)

    return step


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    short = {"first_byte_timeout_ms": SHORT_MS, "read_timeout_ms": SHORT_MS}
    with Scene(
        tmp_path_factory.mktemp("backend"),
        lambda origin: [
            rule("total", "/total/", origin.url, proxy={"total_timeout_ms": SHORT_MS}),
            rule("short", "/", origin.url, proxy=short),
        ],
    ) as shared:
        yield shared


# Faults before a byte of the answer was forwarded: DAO answers itself --------------------------------------------


@dataclass
class Fault:
    id: str
    steps: tuple[Step, ...]
    status: int
    error: str
    reason: str  # of dao_upstream_errors_total
    interim: tuple[int, ...] = ()
    path: str = "/"


TERMINATED = (502, "connection_terminated")
INCOMPLETE = (502, "http_response_incomplete", "incomplete")
NO_ANSWER = (504, "connection_read_timeout", "timeout_head")
NOT_HTTP = (502, "http_protocol_error", "malformed")
TOO_LARGE = (502, "http_response_header_section_size", "head_too_large")
TOTAL = (504, "http_response_timeout", "timeout_total")

ANSWERED = [
    Fault("reset-before-head", (RESET,), *TERMINATED, "reset"),
    Fault("close-before-head", (CLOSE,), *TERMINATED, "closed"),
    Fault("close-after-interim", (EARLY_HINTS, CLOSE), *TERMINATED, "closed", (103,)),
    Fault("reset-within-head", (b"HTTP/1.1 200 OK\r\nContent-Len", RESET), *INCOMPLETE),
    Fault("close-within-head", (b"HTTP/1.1 200 OK\r\nContent-Len", CLOSE), *INCOMPLETE),
    Fault("close-within-status-line", (b"HTT", CLOSE), *INCOMPLETE),
    Fault("close-before-empty-line", (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", CLOSE), *INCOMPLETE),
    Fault("hang-before-head", (HOLD,), *NO_ANSWER),
    Fault("hang-within-head", (b"HTTP/1.1 200 OK\r\nX-", HOLD), *NO_ANSWER),
    Fault("hang-after-interim", (EARLY_HINTS, HOLD), *NO_ANSWER, (103,)),
    Fault("trickled-head", (b"HTTP/1.1 200 OK\r\nX: ", repeat(b"x")), *NO_ANSWER),
    Fault("total-hang-before-head", (HOLD,), *TOTAL, path="/total/"),
    Fault("garbage-smtp", (b"220 mail.test ESMTP ready\r\n", HOLD), *NOT_HTTP),
    Fault("garbage-binary", (bytes(range(256)) * 8, HOLD), *NOT_HTTP),
    Fault("garbage-http2", (b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x64\n\n", HOLD), *NOT_HTTP),
    Fault("garbage-tls-alert", (b"\x15\3\1\0\2\2\x46\n", CLOSE), *NOT_HTTP),
    Fault("garbage-endless", (b"G" * 200_000, HOLD), *NOT_HTTP),
    Fault("status-line-endless", (b"HTTP/1.1 200 " + b"O" * 200_000, HOLD), *TOO_LARGE),
    Fault("status-line-broken", (b"HTTP/1.1 2OO OK\r\nContent-Length: 0\r\n\r\n",), *NOT_HTTP),
    Fault("version-unknown", (b"HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n",), *NOT_HTTP),
    Fault("length-and-chunked", (HEAD_CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n0\r\n\r\n",), *NOT_HTTP),
    Fault("two-lengths", (HEAD_OF_10[:-2] + b"Content-Length: 2\r\n\r\nok",), *NOT_HTTP),
    Fault("length-negative", (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",), *NOT_HTTP),
    Fault("interim-flood", (EARLY_HINTS * 17, OK), *NOT_HTTP, (103,) * 16),
    Fault("interim-endless", (repeat(EARLY_HINTS, every_ms=1),), *NOT_HTTP, (103,) * 16),
    Fault("unasked-101", (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",),
          502, "http_protocol_error", "unexpected_upgrade"),
    Fault("header-flood-one-field", (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",), *TOO_LARGE),
    Fault("header-flood-many-fields", (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 2_000 + b"\r\n",), *TOO_LARGE),
    Fault("header-flood-endless", (b"HTTP/1.1 200 OK\r\n", repeat(b"X: yyyyyyyyy\r\n" * 500, every_ms=1)), *TOO_LARGE),
]  # fmt: skip


@pytest.mark.parametrize("fault", ANSWERED, ids=lambda fault: fault.id)
def test_answered_by_dao(scene: Scene, fault: Fault) -> None:
    target = fault.path + fault.id
    route = "total" if fault.path == "/total/" else "short"
    scene.origin.answer(f"{target} ", *fault.steps)
    counters = Counters(scene.dao)
    with scene.dao.client() as client:
        response = client.exchange(get(target))
        expect_error(response, fault.status, fault.error)
        assert tuple(interim.status for interim in response.interim) == fault.interim
        # The client did nothing wrong: its connection goes on.
        expect_ok(client.exchange(get("/normal")))
    entry = expect_entry(scene.dao, target, status=fault.status, error=fault.error, upstream=f"{route}0", attempts=1,
                         upstream_address=scene.origin.authority, route=route)  # fmt: skip
    assert entry["error_detail"]
    counters.grew_only("dao_upstream_errors_total", upstream=f"{route}0", reason=fault.reason)
    counters.grew("dao_requests_total", route=route, code_class="5xx")
    counters.grew("dao_upstream_requests_total", upstream=f"{route}0", code_class="none")
    counters.grew("dao_client_errors_total", by=0)
    expect_normal(scene.dao)


# Faults after the head was forwarded: nothing but cutting the answer can tell the client ---------------------------


@dataclass
class Cut:
    id: str
    first: bytes  # arrives at the client
    steps: tuple[Step, ...]  # what happens then
    error: str
    reason: str
    got: bytes = b""  # of the body
    path: str = "/"


CUTS = [
    Cut("length-reset", HEAD_OF_10 + b"12345", (RESET,), "connection_terminated", "reset", b"12345"),
    Cut("length-close", HEAD_OF_10 + b"12345", (CLOSE,), "http_response_incomplete", "incomplete", b"12345"),
    Cut("length-close-at-once", HEAD_OF_10, (CLOSE,), "http_response_incomplete", "incomplete"),
    Cut("chunked-reset", HEAD_CHUNKED + b"5\r\n12345\r\n", (RESET,), "connection_terminated", "reset", b"12345"),
    Cut("chunked-close-mid-chunk", HEAD_CHUNKED + b"a\r\n12345", (CLOSE,), "http_response_incomplete", "incomplete", b"12345"),
    Cut("chunked-close-mid-size", HEAD_CHUNKED + b"5\r\n12345\r\n1", (CLOSE,), "http_response_incomplete", "incomplete", b"12345"),
    Cut("chunked-close-between", HEAD_CHUNKED + b"5\r\n12345\r\n", (CLOSE,), "http_response_incomplete", "incomplete", b"12345"),
    Cut("chunked-close-in-trailers", HEAD_CHUNKED + b"5\r\n12345\r\n0\r\nX-A: ", (CLOSE,), "http_response_incomplete", "incomplete", b"12345"),
    Cut("chunked-bad-size", HEAD_CHUNKED + b"5\r\n12345\r\n", (b"xyz\r\n", HOLD), "http_protocol_error", "malformed", b"12345"),
    Cut("chunked-overlong-chunk", HEAD_CHUNKED + b"5\r\n12345\r\n", (b"2\r\nabcd\r\n", HOLD), "http_protocol_error", "malformed", b"12345"),
    Cut("length-hang", HEAD_OF_10 + b"12345", (HOLD,), "connection_read_timeout", "timeout_body", b"12345"),
    Cut("chunked-hang", HEAD_CHUNKED + b"5\r\n12345\r\n", (HOLD,), "connection_read_timeout", "timeout_body", b"12345"),
    Cut("until-close-hang", HEAD_UNTIL_CLOSE + b"12345", (HOLD,), "connection_read_timeout", "timeout_body", b"12345"),
    Cut("until-close-reset", HEAD_UNTIL_CLOSE + b"12345", (RESET,), "connection_terminated", "reset", b"12345"),
    Cut("total-hang", HEAD_OF_10 + b"12345", (HOLD,), "http_response_timeout", "timeout_total", b"12345", "/total/"),
    Cut("total-trickle", HEAD_CHUNKED + b"5\r\n12345\r\n", (repeat(b"1\r\nx\r\n"),), "http_response_timeout", "timeout_total", b"12345", "/total/"),
]  # fmt: skip


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.id)
def test_cut_answer(scene: Scene, cut: Cut) -> None:
    target = cut.path + cut.id
    route = "total" if cut.path == "/total/" else "short"
    forwarded = threading.Event()
    scene.origin.answer(f"{target} ", cut.first, Wait(forwarded), *cut.steps)
    counters = Counters(scene.dao)
    with scene.dao.client() as client:
        client.send(get(target))
        client.wait_bytes()
        forwarded.set()
        response = client.response()
        assert response.status == 200 and not response.complete, "a cut answer must look cut"
        assert response.body.startswith(cut.got)
        assert not response.values("proxy-status")
        client.expect_ended()
    expect_entry(scene.dao, target, status=200, error=cut.error, upstream=f"{route}0", attempts=1)
    counters.grew_only("dao_upstream_errors_total", upstream=f"{route}0", reason=cut.reason)
    counters.grew("dao_requests_total", route=route, code_class="2xx")
    counters.grew("dao_upstream_requests_total", upstream=f"{route}0", code_class="2xx")
    expect_normal(scene.dao)


@pytest.mark.parametrize(
    "head", [HEAD_CHUNKED + b"5\r\n12345\r\n", HEAD_UNTIL_CLOSE + b"12345"], ids=["chunked", "close"]
)
def test_cut_answer_to_http10_is_a_reset(scene: Scene, head: bytes, request: pytest.FixtureRequest) -> None:
    """Without a length or chunks only a reset tells an HTTP/1.0 client that something is missing."""
    target = f"/cut-http10-{request.node.callspec.id}"
    forwarded = threading.Event()
    scene.origin.answer(f"{target} ", head, Wait(forwarded), RESET)
    with scene.dao.client() as client:
        client.send(get(target, version="1.0"))
        client.wait_bytes()
        forwarded.set()
        response = client.response(version="1.0")
        assert (response.framing, response.complete, client.reader.reset) == ("close", False, True)
    expect_entry(scene.dao, target, status=200, error="connection_terminated", protocol="HTTP/1.0")
    expect_normal(scene.dao)


# What only looks like a fault --------------------------------------------------------------------------------------


def test_trickled_body_is_fine(scene: Scene) -> None:
    """Longer than read_timeout as a whole, but never between two bytes."""
    pieces = 3 * SHORT_MS // 20
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {pieces}\r\n\r\n".encode()
    scene.origin.answer("/trickle ", head, repeat(b"x", pieces))
    with scene.dao.client() as client:
        expect_ok(client.exchange(get("/trickle")), b"x" * pieces)
    entry = expect_entry(scene.dao, "/trickle", status=200, error=None)
    assert entry["duration_ms"] > 2 * SHORT_MS
    expect_normal(scene.dao)


def test_body_until_close_is_complete(scene: Scene) -> None:
    scene.origin.answer("/until-close ", HEAD_UNTIL_CLOSE + b"hel", b"lo", CLOSE)
    with scene.dao.client() as client:
        response = client.exchange(get("/until-close"))
        expect_ok(response, b"hello")
        assert response.framing == "chunked", "an HTTP/1.1 client must be able to tell the end from a cut"
        expect_ok(client.exchange(get("/normal")))
    expect_entry(scene.dao, "/until-close", status=200, error=None, response_bytes=5)
    expect_normal(scene.dao)


def test_interim_responses_up_to_the_limit(scene: Scene) -> None:
    scene.origin.answer("/interim-16 ", EARLY_HINTS * 16, OK)
    with scene.dao.client() as client:
        response = client.exchange(get("/interim-16"))
    expect_ok(response)
    assert len(response.interim) == 16
    expect_entry(scene.dao, "/interim-16", status=200, error=None)
    expect_normal(scene.dao)


def test_answer_and_close_at_once(scene: Scene) -> None:
    """A backend that closes right after a whole answer has done nothing wrong."""
    scene.origin.answer("/answer-close ", HEAD_OF_10 + b"1234567890", CLOSE)
    counters = Counters(scene.dao)
    with scene.dao.client() as client:
        for _ in range(20):
            expect_ok(client.exchange(get("/answer-close")), b"1234567890")
    counters.grew("dao_upstream_errors_total", by=0)
    expect_normal(scene.dao)


# Answers while the request body is still on its way ------------------------------------------------------------------

FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
TOO_MUCH = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 4\r\n\r\nmuch"


def test_early_answer_and_small_rest(scene: Scene) -> None:
    """The rest of a small upload is read and dropped, and the client's connection goes on."""
    scene.origin.answer("/early-small ", EARLY, FORBIDDEN, CLOSE)
    with scene.dao.client() as client:
        client.send(post("/early-small", b"x" * 50, length=100))
        response = client.response("POST")
        assert (response.status, response.body) == (403, b"no")
        client.send(b"y" * 50)
        expect_ok(client.exchange(get("/normal")))
    expect_entry(scene.dao, "/early-small", status=403, error=None, attempts=1)
    expect_normal(scene.dao)


def test_early_answer_and_upload_goes_on(scene: Scene) -> None:
    """The answer of a backend that goes on reading reaches the client while its upload runs."""
    scene.origin.answer("/early-on ", EARLY, HEAD_OF_10 + b"12345", READ_BODY, b"67890")
    with scene.dao.client() as client:
        client.send(post_chunked("/early-on") + b"5\r\nhello\r\n")
        assert client.wait_bytes().startswith(b"HTTP/1.1 200")
        client.send(b"5\r\nworld\r\n0\r\n\r\n")
        expect_ok(client.response("POST"), b"1234567890")
    (seen,) = scene.origin.seen("/early-on ")
    assert (seen.body, seen.complete) == (b"helloworld", True)
    expect_entry(scene.dao, "/early-on", status=200, error=None, request_bytes=10, response_bytes=10)
    expect_normal(scene.dao)


def test_early_answer_and_upload_that_stops(scene: Scene) -> None:
    """An answer that is whole counts, although the client never sends the rest of its body."""
    scene.origin.answer("/early-stop ", EARLY, FORBIDDEN, HOLD)
    counters = Counters(scene.dao)
    with scene.dao.client() as client:
        client.send(post_chunked("/early-stop") + b"5\r\nhello\r\n")
        response = client.response("POST")
        assert (response.status, response.body) == (403, b"no")
        assert response.elements("connection") == ["close"], "the rest of the body is nobody's request"
        client.expect_closed()
    expect_entry(scene.dao, "/early-stop", status=403, error=None)
    counters.grew("dao_upstream_errors_total", by=0)
    expect_normal(scene.dao)


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["close", "reset"])
def test_refusal_of_a_large_upload_is_readable(scene: Scene, end: Step, request: pytest.FixtureRequest) -> None:
    """A backend that says 413 and hangs up while the client is still sending: the client gets to read it."""
    target = f"/too-much-{request.node.callspec.id}"
    answered = threading.Event()
    scene.origin.answer(f"{target} ", EARLY, TOO_MUCH, Wait(answered), end)
    with scene.dao.client() as client:
        client.send(post(target, b"x" * 1000, length=50_000_000))
        client.wait_bytes()
        answered.set()
        client.send(*(b"y" * 10_000 for _ in range(20)))
        response = client.response("POST")
        assert (response.status, response.body) == (413, b"much")
        assert response.elements("connection") == ["close"]
    expect_entry(scene.dao, target, status=413, error=None, upstream="short0", attempts=1)
    expect_normal(scene.dao)


# A backend that breaks while it should read the upload ---------------------------------------------------------------


def upload_until_it_ends(client: RawClient, most: int = 64 * 1024 * 1024) -> int:
    """Sends body bytes until an answer arrives or sending fails; returns how many."""
    sent = 0
    client.socket.settimeout(0.05)
    while sent < most:
        try:
            sent += client.socket.send(b"z" * 65536)
        except TimeoutError:
            break  # nobody takes more: what comes next is an answer
        except OSError:
            break
    return sent


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["close", "reset"])
def test_backend_breaks_within_the_upload(scene: Scene, end: Step, request: pytest.FixtureRequest) -> None:
    target = f"/upload-{request.node.callspec.id}"
    begun = threading.Event()
    scene.origin.answer(f"{target} ", EARLY, Wait(begun), end)
    counters = Counters(scene.dao)
    with scene.dao.client() as client:
        client.send(post(target, b"x" * 1000, length=100_000_000))
        scene.origin.wait(lambda: scene.origin.seen(target), "the upload")
        begun.set()
        upload_until_it_ends(client)
        expect_error(client.response("POST"), 502, "connection_terminated")
    expect_entry(scene.dao, target, status=502, error="connection_terminated", attempts=1)
    # "reset" or "closed": the kernel tells of a reset once, to the write or to the read.
    counters.grew("dao_upstream_errors_total", upstream="short0")
    assert len(scene.origin.seen(target)) == 1, "a body that was passed on is never sent again"
    expect_normal(scene.dao)


def test_backend_does_not_read_the_upload(scene: Scene) -> None:
    """Backpressure reaches the client, and in the end the backend's time is over."""
    stuck = threading.Event()
    scene.origin.answer("/upload-stuck ", EARLY, Wait(stuck))
    counters = Counters(scene.dao)
    with scene.dao.client() as client:
        client.send(post("/upload-stuck", b"x" * 1000, length=500_000_000))
        sent = upload_until_it_ends(client)
        assert sent < 64 * 1024 * 1024, "DAO takes what nobody wants"
        response = client.response("POST")
        assert response.status == 504
        error = response.values("proxy-status")
        assert error in (["dao; error=connection_write_timeout"], ["dao; error=connection_read_timeout"])
        stuck.set()
    expect_entry(scene.dao, "/upload-stuck", status=504, attempts=1)
    counters.grew("dao_upstream_errors_total", upstream="short0")
    expect_normal(scene.dao)


def test_slow_upload_is_not_the_backends_fault(scene: Scene) -> None:
    """first_byte_timeout runs from the end of the upload, not from its beginning."""
    scene.origin.answer("/slow-upload ", OK)
    with scene.dao.client() as client:
        pieces = 3 * SHORT_MS // 20
        client.send(post("/slow-upload", length=pieces))
        for _ in range(pieces):
            client.send(b"x")
            time.sleep(0.02)  # the pace of the upload, nothing is waited for
        expect_ok(client.response("POST"))
    expect_entry(scene.dao, "/slow-upload", status=200, error=None, request_bytes=pieces)
    expect_normal(scene.dao)


def test_idle_backend_connections_are_not_leaked(scene: Scene) -> None:
    """After all these faults what is still open towards the origin is what the pools count."""
    expect_normal(scene.dao)
    metrics = scene.dao.metrics()
    pooled = metrics.total("dao_upstream_connections", state="idle")
    deadline.wait_until(lambda: scene.origin.open_connections <= pooled, "the origin to see the others closed")
