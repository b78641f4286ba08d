"""HTTP/2 towards backends: many exchanges on one connection, refused and cut ones, windows, hostile and silent ones."""

from __future__ import annotations

import threading

import pytest
from h2.errors import ErrorCodes

from lib import deadline
from lib.client import RawClient
from lib.dao import simple_config
from lib.faults import expect_error, expect_ok, get, post, post_chunked
from lib.h2_origin import H2Connection, H2Origin, H2Request

NO_RETRIES = {"retries": 0}


@pytest.fixture
def backend():
    with H2Origin() as origin:
        yield origin


def start(start_dao, backend: H2Origin, **proxy: object):
    return start_dao(simple_config(backend.url, proxy={**NO_RETRIES, **proxy}))


def ask(dao, request: bytes):
    with RawClient(dao.address) as client:
        return client.exchange(request)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def test_request_and_answer(start_dao, backend: H2Origin) -> None:
    dao = start(start_dao, backend)
    response = ask(dao, get("/a?b=c", "TE: trailers", "Connection: TE", "Cookie: a=1; b=2"))
    expect_ok(response)
    request = backend.wait_for("/a?b=c")
    assert request.fields[:4] == [
        (":method", "GET"), (":scheme", "http"), (":authority", request.field(":authority")), (":path", "/a?b=c")]
    assert request.field("te") == "trailers"
    assert request.field("cookie") == "a=1; b=2"
    assert request.field("connection") is None
    assert response.value("via") == "2.0 dao"
    backend.stop()


def test_one_connection_carries_many(start_dao, backend: H2Origin) -> None:
    held: list[tuple[H2Connection, H2Request]] = []
    backend.at_end["/hold"] = lambda connection, request: held.append((connection, request))
    dao = start(start_dao, backend)
    clients = [RawClient(dao.address) for _ in range(20)]
    for client in clients:
        client.send(get("/hold"))
    deadline.wait_until(lambda: len(held) == 20, "all requests at the backend")
    for connection, request in reversed(held):
        connection.answer(request.stream)
    for client in clients:
        expect_ok(client.response())
        client.close()
    workers = {connection.number for connection, _ in held}
    assert len(workers) <= 2, "one connection for each worker"
    backend.stop()


def test_bodies_and_trailers_both_ways(start_dao, backend: H2Origin) -> None:
    backend.at_end["/echo"] = lambda connection, request: connection.answer(
        request.stream, request.body, trailers=[("x-sum", "9")])
    dao = start(start_dao, backend)
    with RawClient(dao.address) as client:
        client.send(post_chunked("/echo") + b"5\r\nhello\r\n4\r\nmore\r\n0\r\nX-Up: 7\r\n\r\n")
        response = client.response()
    assert (response.status, response.body) == (200, b"hellomore")
    assert [(name.lower(), value) for name, value in response.trailers] == [("x-sum", "9")]
    assert backend.wait_for("/echo").trailers == [("x-up", "7")]
    backend.stop()


def test_refused_stream_is_asked_again(start_dao, backend: H2Origin) -> None:
    """RFC 9113 section 8.7: nothing was done, so even a POST may go out again."""
    def refuse_once(connection: H2Connection, request: H2Request) -> None:
        if len(backend.seen("/refused")) == 1:
            connection.reset(request.stream, ErrorCodes.REFUSED_STREAM)
        else:
            connection.answer(request.stream)

    backend.at_end["/refused"] = refuse_once
    dao = start(start_dao, backend)
    expect_ok(ask(dao, post("/refused", b"x")))
    assert [request.body for request in backend.seen("/refused")] == [b"x", b"x"]
    backend.stop()


def test_reset_is_told_as_an_error(start_dao, backend: H2Origin) -> None:
    backend.at_end["/reset"] = lambda connection, request: connection.reset(request.stream, ErrorCodes.INTERNAL_ERROR)
    dao = start(start_dao, backend)
    expect_error(ask(dao, post("/reset", b"x")), 502, "connection_terminated")
    assert len(backend.seen("/reset")) == 1
    expect_ok(ask(dao, get("/after")))
    assert backend.wait_for("/after").connection == backend.wait_for("/reset").connection
    backend.stop()


def test_reset_within_the_body_cuts_the_answer(start_dao, backend: H2Origin) -> None:
    def cut(connection: H2Connection, request: H2Request) -> None:
        connection.answer(request.stream, b"part", end=False)
        connection.reset(request.stream, ErrorCodes.INTERNAL_ERROR)

    backend.at_end["/cut"] = cut
    dao = start(start_dao, backend)
    with RawClient(dao.address) as client:
        client.send(get("/cut"))
        client.expect_ended()
        received = client.reader.buffered
    assert b"part" in received and not received.endswith(b"0\r\n\r\n"), "a cut answer never looks complete"
    backend.stop()


def test_goaway_midway(start_dao, backend: H2Origin) -> None:
    """What GOAWAY leaves out is asked again on another connection; what it keeps goes on."""
    held: list[tuple[H2Connection, H2Request]] = []
    backend.at_end["/kept"] = lambda connection, request: held.append((connection, request))

    def go_away(connection: H2Connection, request: H2Request) -> None:
        if len(backend.seen("/left-out")) > 1:
            connection.answer(request.stream)
            return
        connection.raw(frame(7, 0, 0, (request.stream - 2).to_bytes(4, "big") + bytes(4)))

    backend.at_end["/left-out"] = go_away
    config = simple_config(backend.url, proxy=NO_RETRIES)
    config["server"]["workers"] = 1
    dao = start_dao(config)
    with RawClient(dao.address) as kept:
        kept.send(get("/kept"))
        deadline.wait_until(lambda: held, "the first request at the backend")
        expect_ok(ask(dao, post("/left-out", b"x")))
        held[0][0].answer(held[0][1].stream)
        expect_ok(kept.response())
    first, second = backend.seen("/left-out")
    assert first.connection != second.connection
    backend.stop()


def test_a_client_that_leaves_resets_its_stream_only(start_dao, backend: H2Origin) -> None:
    backend.at_end["/wait"] = lambda *_: None
    dao = start(start_dao, backend)
    with RawClient(dao.address) as client:
        client.send(get("/wait"))
        backend.wait_for("/wait")
    backend.wait_for("/wait", lambda request: request.reset == ErrorCodes.CANCEL)
    expect_ok(ask(dao, get("/after")))
    backend.stop()


def test_a_window_that_never_opens(start_dao) -> None:
    with H2Origin(credit=False) as backend:
        dao = start(start_dao, backend, read_timeout_ms=300, first_byte_timeout_ms=600)
        response = ask(dao, post("/stuck", b"x" * 200_000))
        assert response.status == 504
        assert len(backend.wait_for("/stuck").body) == 65_535, "the window of RFC 9113 section 6.9.2"
        backend.wait_for("/stuck", lambda request: request.reset == ErrorCodes.CANCEL)
        expect_ok(ask(dao, get("/after")))


def test_a_silent_connection_is_given_up(start_dao) -> None:
    with H2Origin() as backend:
        stop_reading = threading.Event()
        backend.at_end["/silent"] = lambda *_: stop_reading.wait(deadline.DEFAULT)
        dao = start(start_dao, backend, http2_ping_after_ms=100, http2_ping_timeout_ms=100)
        expect_error(ask(dao, post("/silent", b"x")), 502, "connection_terminated")
        stop_reading.set()


HOSTILE = dict(
    [
        ("ping", frame(6, 0, 0, b"12345678") * 5000),
        ("settings", frame(4, 0, 0) * 5000),
        ("continuation", frame(1, 0, 1, b"\x88") + frame(9, 0, 1, b"\x00\x01x\x01y") * 5000),
        ("hpack-bomb", frame(1, 5, 1, b"\x88\x40\x01x\x7f\x81\x1e" + b"v" * 4000 + b"\xbe" * 10_000)),
        ("push", frame(5, 4, 1, b"\0\0\0\2\x82\x84\x87")),
        ("push-enabled", frame(4, 0, 0, b"\0\2\0\0\0\1")),
        ("window-too-large", frame(4, 0, 0, b"\0\4\x80\0\0\0")),
        ("ping-of-seven-bytes", frame(6, 0, 0, b"1234567")),
        ("answer-on-no-stream", frame(1, 5, 99, b"\x88")),
        ("continuation-of-nothing", frame(9, 4, 1, b"\x88")),
        ("window-overflow", frame(8, 0, 0, b"\x7f\xff\xff\xff")),
        ("goaway-that-takes-back", frame(7, 0, 0, b"\0\0\0\1" + bytes(4)) + frame(7, 0, 0, b"\0\0\0\5" + bytes(4))),
        ("broken-hpack", frame(1, 5, 1, b"\x88\xfe")),
        ("upper-case", frame(1, 5, 1, b"\x88\0\3X-A\1y")),
        ("line-end", frame(1, 5, 1, b"\x88\0\1x\7y\r\nz: 1")),
        ("no-status", frame(1, 5, 1, b"\0\1x\1y")),
        ("status-101", frame(1, 4, 1, b"\x08\x03101")),
        ("status-099", frame(1, 5, 1, b"\x08\x03099")),
        ("connection", frame(1, 5, 1, b"\x88\0\nconnection\5close")),
        ("unknown-frames", frame(0x42, 0, 0, b"x") * 5000),
        ("goaway-flood", frame(7, 0, 0, b"\x7f\xff\xff\xff" + bytes(4)) * 5000),
        ("interim-flood", frame(1, 4, 1, b"\x08\x03103") * 100),
        ("not-http2", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    ]
)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_backend(start_dao, backend: H2Origin, name: str) -> None:
    """The exchange fails with 502, DAO serves the next one over another connection."""
    backend.at_end["/hostile"] = lambda connection, _: connection.raw(HOSTILE[name])
    dao = start(start_dao, backend)
    response = ask(dao, get("/hostile"))
    assert response.status == 502, (name, response)
    expect_ok(ask(dao, get("/after")))
    backend.stop()


@pytest.mark.parametrize(
    "frames",
    [
        frame(0, 0, 1) * 5000,
        frame(0, 0, 1, b"x") + frame(1, 5, 1, b"\x88"),
        frame(0, 0, 1, b"x") + frame(6, 0, 1, b"12345678"),
    ],
    ids=["empty-data", "status-in-trailers", "ping-on-a-stream"],
)
def test_hostile_within_the_body(start_dao, backend: H2Origin, frames: bytes) -> None:
    """The answer has begun: it is cut so that the client sees it."""
    backend.at_end["/hostile"] = lambda connection, _: connection.raw(frame(1, 4, 1, b"\x88") + frames)
    dao = start(start_dao, backend)
    with RawClient(dao.address) as client:
        client.send(get("/hostile"))
        client.expect_ended()
        received = client.reader.buffered
    assert received.startswith(b"HTTP/1.1 200") and not received.endswith(b"0\r\n\r\n")
    expect_ok(ask(dao, get("/after")))
    backend.stop()


def test_more_than_the_window_allows(start_dao, backend: H2Origin) -> None:
    """While the client reads nothing DAO opens no window, however slow the machine: the answer is cut."""
    sent = threading.Event()

    def pour(connection: H2Connection, _: H2Request) -> None:
        try:
            connection.raw(frame(1, 4, 1, b"\x88") + frame(0, 0, 1, b"x" * 16384) * 2000)
        finally:
            sent.set()

    backend.at_end["/hostile"] = pour
    dao = start(start_dao, backend)
    with RawClient(dao.address) as client:
        client.send(get("/hostile"))
        assert sent.wait(deadline.DEFAULT)
        client.expect_ended()
        received = client.reader.buffered
    assert received.startswith(b"HTTP/1.1 200") and not received.endswith(b"0\r\n\r\n")
    expect_ok(ask(dao, get("/after")))
    backend.stop()


def test_a_hostile_backend_hurts_no_other(start_dao, backend: H2Origin) -> None:
    """Exchanges over connections to another upstream go on while one backend floods."""
    with H2Origin() as good:
        held: list[tuple[H2Connection, H2Request]] = []
        good.at_end["/held"] = lambda connection, request: held.append((connection, request))
        config = simple_config(good.url, proxy=NO_RETRIES)
        config["routes"]["rule"].insert(  # type: ignore[index]
            0,
            {"name": "bad", "match": {"path_prefix": "/bad/"}, "upstreams": [{"name": "bad", "url": backend.url}]},
        )
        dao = start_dao(config)
        with RawClient(dao.address) as waiting:
            waiting.send(get("/held"))
            deadline.wait_until(lambda: held, "the good backend to be asked")
            for name in ("ping", "settings", "unknown-frames", "goaway-flood", "push", "broken-hpack"):
                frames = HOSTILE[name]
                backend.at_end["/bad/" + name] = lambda connection, _, frames=frames: connection.raw(frames)
                assert ask(dao, get("/bad/" + name)).status == 502
                expect_ok(ask(dao, get("/good")))
            held[0][0].answer(held[0][1].stream)
            expect_ok(waiting.response())
    backend.stop()


def test_errors_for_grpc_clients(start_dao, backend: H2Origin) -> None:
    backend.at_end["/s/Never"] = lambda *_: None
    backend.at_end["/s/Reset"] = lambda connection, request: connection.reset(request.stream, ErrorCodes.INTERNAL_ERROR)
    dao = start(start_dao, backend)
    grpc = ("Content-Type: application/grpc", "TE: trailers", "Connection: TE")
    late = ask(dao, post("/s/Never", b"x", *grpc, "grpc-timeout: 100m"))
    lost = ask(dao, post("/s/Reset", b"x", *grpc))
    assert [(each.status, each.value("grpc-status"), each.body) for each in (late, lost)] == [
        (200, "4", b""), (200, "14", b"")]
    assert late.value("grpc-message") and late.value("content-type") == "application/grpc"
    backend.stop()


def test_the_timeout_of_a_grpc_call_reaches_the_backend_as_it_came(start_dao, backend: H2Origin) -> None:
    """The backend may give up at the same time as the client; DAO ends the call there itself, should it not."""
    dao = start(start_dao, backend)
    grpc = ("Content-Type: application/grpc", "TE: trailers", "Connection: TE", "grpc-timeout: 5000m")
    assert ask(dao, post("/s/Timed", b"x", *grpc)).status == 200
    (seen,) = [request for request in backend.requests if request.field(":path") == "/s/Timed"]
    assert seen.field("grpc-timeout") == "5000m"
    assert seen.field("te") == "trailers"
    backend.stop()
