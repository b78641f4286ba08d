"""WebSockets through DAO: the handshake on both sides, frames passed as they are, and every way to end."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
import websockets
from lib import deadline
from lib.dao import Dao, simple_config
from lib.http1 import Truncated
from lib.origin import CLOSE, Origin
from lib.websocket import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Backend,
    Frame,
    LibraryServer,
    RawWebSocket,
    answer,
    close,
    frame,
    request,
)

StartDao = Callable[..., Dao]
MIB = 1 << 20


def ended(dao: Dao, target: str = "/ws") -> dict[str, object]:
    """The access log's line, which comes with the end."""
    (entry,) = dao.wait_access(lambda entry: entry["target"] == target)
    return entry


def pair(dao: Dao, origin: Origin, *fields: bytes, **options: bytes) -> tuple[RawWebSocket, Backend]:
    """A WebSocket whose two ends the test plays by hand."""
    backend = Backend(**options)  # type: ignore[arg-type]
    origin.answer("/ws", backend)
    client = RawWebSocket(dao.client(), "/ws", *fields)
    backend.ready()
    return client, backend


# The handshake ---------------------------------------------------------------------------------------------------


def test_handshake_passes_and_the_line_comes_at_the_end(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    backend = Backend(b"Sec-WebSocket-Protocol: chat", b"Sec-WebSocket-Extensions: x-y", b"X-End: 1")
    origin.answer("/ws", backend)
    client = RawWebSocket(
        dao.client(), "/ws", b"Sec-WebSocket-Protocol: chat, talk", b"Sec-WebSocket-Extensions: x-y; z", b"Origin: o"
    )
    seen = backend.request
    assert seen
    assert seen.values("connection") == ["Upgrade"] and seen.values("upgrade") == ["websocket"]
    assert seen.values("sec-websocket-protocol") == ["chat, talk"]
    assert seen.values("sec-websocket-extensions") == ["x-y; z"]
    assert seen.values("origin") == ["o"] and seen.values("via") == ["1.1 dao"]
    assert client.field(b"upgrade") == b"websocket" and client.field(b"connection") == b"Upgrade"
    assert client.field(b"sec-websocket-protocol") == b"chat" and client.field(b"x-end") == b"1"
    assert client.field(b"content-length") is None and client.field(b"transfer-encoding") is None

    deadline.wait_until(lambda: dao.metrics().total("dao_websockets") == 1, "the WebSocket to be counted")
    metrics = dao.metrics()
    assert metrics.total("dao_requests_active") == 0
    assert metrics.total("dao_upstream_in_flight") == 1
    assert metrics.total("dao_requests_total", code_class="1xx") == 1
    assert dao.access_log() == []
    sent, got = frame(TEXT, b"hello", masked=True), frame(TEXT, b"hello back")
    client.send(sent)
    assert backend.read() == Frame(TEXT, b"hello", True, True)
    backend.send(got)
    assert client.read() == Frame(TEXT, b"hello back", False, True)
    client.send(close(1000, b"bye", masked=True))
    assert backend.read().payload == b"\x03\xe8bye"
    backend.send(close(1000))
    client.expect_close(1000)
    client.client.expect_closed()
    backend.expect_end()
    backend.finish()

    entry = ended(dao)
    assert entry["status"] == 101 and "error" not in entry
    assert entry["request_bytes"] == len(sent) + len(close(1000, b"bye", masked=True))
    assert entry["response_bytes"] == len(got) + len(close(1000))
    metrics = dao.metrics()
    assert metrics.total("dao_websockets") == 0 and metrics.total("dao_upstream_in_flight") == 0
    assert metrics.total("dao_websocket_ends_total", reason="client-close") == 1
    assert metrics.total("dao_websocket_messages_total") == 2
    assert metrics.total("dao_websocket_bytes_total", **{"from": "client"}) == entry["request_bytes"]
    assert metrics.total("dao_requests_total") == 1


def test_frames_right_behind_the_heads_pass(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    backend = Backend(behind=frame(TEXT, b"welcome") + frame(BINARY, b"x" * 70000)[:1000])
    origin.answer("/ws", backend)
    client = RawWebSocket(dao.client(), behind=frame(TEXT, b"early", masked=True))
    assert client.read().payload == b"welcome"
    assert backend.read().payload == b"early"
    backend.send(frame(BINARY, b"x" * 70000)[1000:])
    assert client.read().payload == b"x" * 70000
    client.send(close(1000, masked=True))
    assert backend.read().code == 1000
    backend.send(close(1000))
    client.expect_close(1000)


@pytest.mark.parametrize("status", [b"401 Unauthorized", b"404 Not Found", b"426 Upgrade Required", b"200 OK"])
def test_an_ordinary_answer_is_one(start_dao: StartDao, origin: Origin, status: bytes) -> None:
    dao = start_dao(simple_config(origin.url))
    origin.answer("/ws", b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nno")
    with dao.client() as client:
        got = client.exchange(request())
        assert (got.status, got.body) == (int(status[:3]), b"no")
        # What follows is HTTP, on both connections.
        assert client.exchange(b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n").status == 200
    assert [r.connection for r in origin.wait_requests(2)] == [1, 1]


def test_frames_behind_a_refused_handshake_are_no_request(start_dao: StartDao, origin: Origin) -> None:
    """Whoever sends frames before the 101 and does not get one, has sent garbage."""
    dao = start_dao(simple_config(origin.url))
    origin.answer("/ws", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    with dao.client() as client:
        client.send(request() + frame(TEXT, b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n", masked=True))
        assert client.response().status == 403
        assert client.response().status == 400
    assert [r.target for r in origin.requests] == ["/ws"]


WRONG = {
    "accept": lambda key: answer(b"AAAAAAAAAAAAAAAAAAAAAA=="),
    "no-accept": lambda key: b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "protocol": lambda key: answer(key).replace(b"Upgrade: websocket", b"Upgrade: h2c"),
    "no-upgrade": lambda key: answer(key).replace(b"Upgrade: websocket\r\n", b""),
    "connection": lambda key: answer(key).replace(b"Connection: Upgrade", b"Connection: close"),
    "http-1.0": lambda key: answer(key).replace(b"HTTP/1.1", b"HTTP/1.0"),
}


@pytest.mark.parametrize("head", WRONG.values(), ids=WRONG.keys())
def test_a_101_that_does_not_answer_is_an_error(
    start_dao: StartDao, origin: Origin, head: Callable[[bytes], bytes]
) -> None:
    dao = start_dao(simple_config(origin.url))
    backend = Backend(head=head)
    origin.answer("/ws", backend)
    with dao.client() as client:
        assert client.exchange(request()).status == 502
    backend.expect_end()
    backend.finish()
    entry = ended(dao)
    assert entry["error"] == "http_protocol_error" and "101" in str(entry["error_detail"])
    assert dao.metrics().total("dao_upstream_errors_total", reason="unexpected_upgrade") == 1
    assert dao.metrics().total("dao_websockets") == 0


NOT_ASKED = {
    "post": request().replace(b"GET", b"POST", 1),
    "http-1.0": request().replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "no-key": request().replace(b"Sec-WebSocket-Key", b"X-Key"),
    "two-keys": request("/ws", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
    "no-version": request().replace(b"Sec-WebSocket-Version", b"X-Version"),
    "no-connection": request().replace(b"Connection: Upgrade\r\n", b""),
    "h2c": request().replace(b"Upgrade: websocket", b"Upgrade: h2c"),
    "body": request("/ws", b"Content-Length: 2") + b"no",
}


@pytest.mark.parametrize("asked", NOT_ASKED.values(), ids=NOT_ASKED.keys())
def test_what_is_no_handshake_goes_without_upgrade(start_dao: StartDao, origin: Origin, asked: bytes) -> None:
    dao = start_dao(simple_config(origin.url))
    with dao.client() as client:
        assert client.exchange(asked).status == 200
    (seen,) = origin.wait_requests()
    assert seen.values("upgrade") == []
    assert [value.lower() for value in seen.values("connection")] in ([], ["keep-alive"], ["close"])


def test_match_upgrade_selects(start_dao: StartDao, make_origin: Callable[..., Origin]) -> None:
    sockets, pages = make_origin(), make_origin()
    config = simple_config(pages.url)
    rule = {"name": "ws", "match": {"upgrade": "websocket"}, "upstreams": [{"name": "ws", "url": sockets.url}]}
    config["routes"]["rule"].insert(0, rule)  # type: ignore[index]
    dao = start_dao(config)
    client, backend = pair(dao, sockets)
    with dao.client() as plain:
        assert plain.exchange(b"GET /ws HTTP/1.1\r\nHost: a.test\r\n\r\n").status == 200
        assert plain.exchange(b"GET /ws HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\r\n").status == 200
    assert (len(sockets.requests), len(pages.requests)) == (1, 2)
    client.client.close()
    backend.expect_close(1001)
    backend.finish()
    (entry,) = dao.wait_access(lambda entry: entry["status"] == 101)
    assert entry["route"] == "ws"


def test_a_refused_upstream_is_retried_elsewhere(start_dao: StartDao, make_origin: Callable[..., Origin]) -> None:
    first, second = make_origin(), make_origin()
    first.stop()
    dao = start_dao(simple_config(first.url, second.url))
    client, backend = pair(dao, second)
    client.client.close()
    backend.expect_close(1001)
    backend.finish()
    assert ended(dao)["attempts"] == 2


# Passing ---------------------------------------------------------------------------------------------------------


def test_frames_pass_as_they_are(start_dao: StartDao, origin: Origin) -> None:
    """Fragments, control frames between them, odd lengths, reserved bits: nothing of it is DAO's business."""
    dao = start_dao(simple_config(origin.url))
    client, backend = pair(dao, origin)
    odd = [
        frame(TEXT, b"a" * 3, fin=False), frame(PING, b"p" * 125), frame(CONTINUATION, b"", fin=False),
        frame(PONG), frame(CONTINUATION, b"b"), frame(BINARY, b"long", length_bytes=8),
        frame(BINARY, b"middle", length_bytes=2), bytes([0xC1, 2]) + b"\x00\xff", frame(3, b"unknown opcode"),
    ]  # fmt: skip
    everything = b"".join(odd)
    for size in (1, 3, 7, len(everything)):
        for at in range(0, len(everything), size):
            backend.send(everything[at : at + size])
        client.client._arm()
        assert client.client.reader.take(len(everything)) == everything
    masked = frame(TEXT, b"x" * 300, masked=True) + frame(PING, masked=True)
    client.send(*[masked[at : at + 1] for at in range(len(masked))])
    assert backend.ready().reader.take(len(masked)) == masked
    assert dao.metrics().total("dao_websocket_messages_total", **{"from": "client"}) == 1
    backend.send(close(1000))
    client.expect_close(1000)
    client.send(close(1000, masked=True))
    assert backend.read().code == 1000
    backend.finish()
    ended(dao)
    assert dao.metrics().total("dao_websocket_ends_total", reason="backend-close") == 1


async def echo(socket: websockets.WebSocketServerProtocol) -> None:
    async for message in socket:
        await socket.send(message)


def talk(dao: Dao, path: str, conversation: Callable[..., Awaitable[None]], **options: object) -> None:
    """Runs a client of the library through DAO."""
    host, port = dao.address  # type: ignore[misc]

    async def run() -> None:
        async with websockets.connect(f"ws://{host}:{port}{path}", max_size=None, **options) as socket:
            await conversation(socket)

    asyncio.run(asyncio.wait_for(run(), 60 * deadline.SCALE))


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_library_messages_of_every_size(start_dao: StartDao, compression: str | None) -> None:
    with LibraryServer(echo, compression=compression) as server:
        dao = start_dao(simple_config(server.url))

        async def conversation(socket: websockets.WebSocketClientProtocol) -> None:
            assert bool(socket.extensions) == (compression == "deflate")
            for size in (0, 1, 125, 126, 65535, 65536, MIB, 16 * MIB):
                payload = os.urandom(min(size, 4096)) * (size // 4096) or os.urandom(size)
                await socket.send(payload)
                assert await socket.recv() == payload
            await socket.send("grüße " * 1000)
            assert await socket.recv() == "grüße " * 1000
            await socket.send(["in ", "four ", "", "fragments"])
            assert await socket.recv() == "in four fragments"
            await asyncio.wait_for(await socket.ping(b"12345"), deadline.DEFAULT)
            await socket.close(4001, "enough")

        talk(dao, "/big", conversation, compression=compression)
        ended(dao, "/big")
        deadline.wait_until(lambda: server.closes == [(4001, "enough")], "the server to see the client's close")


def test_library_server_pings_subprotocols_and_closes(start_dao: StartDao) -> None:
    async def handler(socket: websockets.WebSocketServerProtocol) -> None:
        assert socket.subprotocol == "two"
        await asyncio.wait_for(await socket.ping(b"are you there"), deadline.DEFAULT)
        await socket.send("you are")
        await socket.close(4002, "go")

    with LibraryServer(handler, subprotocols=["two"]) as server:
        dao = start_dao(simple_config(server.url))

        async def conversation(socket: websockets.WebSocketClientProtocol) -> None:
            assert socket.subprotocol == "two"
            assert await socket.recv() == "you are"
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
            assert (socket.close_code, socket.close_reason) == (4002, "go")

        talk(dao, "/two", conversation, subprotocols=["one", "two"])
        assert "error" not in ended(dao, "/two")


def test_many_at_once(start_dao: StartDao) -> None:
    with LibraryServer(echo) as server:
        dao = start_dao(simple_config(server.url, server={"workers": 2}))
        host, port = dao.address  # type: ignore[misc]

        async def one(number: int) -> None:
            async with websockets.connect(f"ws://{host}:{port}/many") as socket:
                for turn in range(20):
                    await socket.send(f"{number} {turn}" * 50)
                    assert await socket.recv() == f"{number} {turn}" * 50

        async def run() -> None:
            await asyncio.gather(*(one(number) for number in range(50)))

        asyncio.run(asyncio.wait_for(run(), 60 * deadline.SCALE))
        dao.wait_access(50)
        assert dao.metrics().total("dao_websocket_messages_total") == 2000


def test_a_slow_reader_stops_the_sender_and_memory_stays(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    client, backend = pair(dao, origin)
    before = dao.rss_bytes()
    total = 64 * MIB
    whole = frame(BINARY, b"z" * total)
    sent = threading.Event()

    def send() -> None:
        backend.ready().socket.settimeout(60 * deadline.SCALE)
        backend.send(whole)
        sent.set()

    sender = threading.Thread(target=send, daemon=True)
    sender.start()

    def bytes_passed() -> float:
        return dao.metrics().total("dao_websocket_bytes_total", **{"from": "backend"})

    # Until it stands still: what the kernels' buffers and one block of DAO take.
    last = -1.0
    while (now := bytes_passed()) != last or now == 0:
        last = now
        deadline.wait_until(lambda end=time.monotonic() + 0.1: time.monotonic() > end, "a moment")
    assert not sent.is_set() and last < total
    assert dao.rss_bytes() - before < 4 * MIB * deadline.MEMORY_SCALE
    client.client.socket.settimeout(60 * deadline.SCALE)
    rest = len(whole)
    while rest:
        rest -= len(client.client.socket.recv(min(rest, MIB)))
    sender.join(deadline.DEFAULT)
    assert sent.is_set()
    client.send(close(1000, masked=True))
    assert backend.read().code == 1000
    backend.send(close(1000))
    client.expect_close(1000)


def test_total_and_read_timeouts_do_not_cut(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(
        simple_config(origin.url, proxy={"total_timeout_ms": 100, "read_timeout_ms": 100, "first_byte_timeout_ms": 100})
    )
    client, backend = pair(dao, origin)
    began = time.monotonic()
    while time.monotonic() - began < 0.5:
        client.send(frame(TEXT, b"x", masked=True))
        assert backend.read().payload == b"x"
    deadline.wait_until(lambda: dao.metrics().total("dao_websockets") == 1, "the WebSocket to be counted")
    client.client.close()
    backend.expect_close(1001)
    backend.finish()


# Ends ------------------------------------------------------------------------------------------------------------


def test_backend_closes_without_a_close(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    client, backend = pair(dao, origin)
    backend.send(frame(TEXT, b"last"))
    backend.finish()
    assert client.read().payload == b"last"
    client.expect_close(1001)
    client.send(close(1001, masked=True))
    client.client.expect_closed()
    entry = ended(dao)
    assert (entry["status"], entry["error"]) == (101, "connection_terminated")
    assert "without a WebSocket Close" in str(entry["error_detail"])
    assert dao.metrics().total("dao_websocket_ends_total", reason="backend-lost") == 1


def test_backend_is_killed(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    client, backend = pair(dao, origin)
    backend.reset()
    client.expect_close(1011)
    client.send(close(1011, masked=True))
    client.client.expect_closed()
    ended(dao)
    assert dao.metrics().total("dao_websocket_ends_total", reason="backend-lost") == 1


def test_backend_is_killed_within_a_frame(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    client, backend = pair(dao, origin)
    backend.send(frame(BINARY, b"x" * 1000)[:500])
    backend.finish()
    with pytest.raises(Truncated) as cut:
        client.read()
    assert "496 of 1000" in str(cut.value), "nothing was put into the cut frame"
    ended(dao)


@pytest.mark.parametrize("leave", ["fin", "rst"])
def test_client_is_gone(start_dao: StartDao, origin: Origin, leave: str) -> None:
    dao = start_dao(simple_config(origin.url))
    client, backend = pair(dao, origin)
    client.client.close() if leave == "fin" else client.client.reset()
    backend.expect_close(1001)
    backend.send(frame(TEXT, b"nobody hears this") + close(1001))
    backend.expect_end()
    backend.finish()
    entry = ended(dao)
    assert (entry["status"], entry["error"]) == (101, "http_request_error")
    assert dao.metrics().total("dao_websocket_ends_total", reason="client-lost") == 1


def test_half_closed_client_hears_the_rest(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    client, backend = pair(dao, origin)
    client.client.half_close()
    backend.expect_close(1001)
    backend.send(frame(TEXT, b"rest") + close(1001))
    assert client.read().payload == b"rest"
    client.expect_close(1001)
    client.client.expect_closed()
    backend.finish()


def test_close_that_the_backend_does_not_answer(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    client, backend = pair(dao, origin)
    client.send(close(1000, masked=True))
    assert backend.read().code == 1000
    backend.finish()
    client.expect_close(1001)
    client.client.expect_closed()
    ended(dao)
    assert dao.metrics().total("dao_websocket_ends_total", reason="client-close") == 1


def test_bytes_behind_a_close_do_not_cost_its_answer(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    client, backend = pair(dao, origin)
    client.send(close(1000, masked=True) + frame(TEXT, b"too late" * 10000, masked=True))
    assert backend.read().code == 1000
    backend.send(close(1000))
    client.expect_close(1000)
    client.client.expect_closed()
    backend.expect_end()
    backend.finish()


def test_idle(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url, proxy={"websocket_idle_timeout_ms": 200}))
    client, backend = pair(dao, origin)
    client.expect_close(1001)
    backend.expect_close(1001)
    client.send(close(1001, masked=True))
    backend.send(close(1001))
    client.client.expect_closed()
    backend.expect_end()
    backend.finish()
    ended(dao)
    assert dao.metrics().total("dao_websocket_ends_total", reason="idle") == 1


def test_missed_pings(start_dao: StartDao, origin: Origin) -> None:
    """The backend pings, the client is silent: the client is gone, however much the backend says."""
    dao = start_dao(simple_config(origin.url, proxy={"websocket_idle_timeout_ms": 400}))
    client, backend = pair(dao, origin)
    stop = threading.Event()

    def chatter() -> None:
        try:
            while not stop.is_set():
                backend.send(frame(PING, b"?"))
                stop.wait(0.05)
        except OSError:
            pass

    chatting = threading.Thread(target=chatter, daemon=True)
    chatting.start()
    backend.expect_close(1001)
    stop.set()
    chatting.join(deadline.DEFAULT)
    backend.send(close(1001))
    while (got := client.read()).opcode == PING:
        pass
    assert got.code == 1001
    backend.finish()
    ended(dao)
    assert dao.metrics().total("dao_websocket_ends_total", reason="client-timeout") == 1


def test_pings_of_daos_own(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(
        simple_config(origin.url, proxy={"websocket_idle_timeout_ms": 60_000, "websocket_ping_interval_ms": 50})
    )
    client, backend = pair(dao, origin)
    assert client.read() == Frame(PING, b"", False, True)
    assert backend.read() == Frame(PING, b"", True, True)
    client.client.close()
    while (got := backend.read()).opcode == PING:
        pass
    assert got.code == 1001
    backend.finish()


def drain_config(origin: Origin, **server: object) -> dict[str, object]:
    return simple_config(origin.url, server={"drain_timeout_ms": 20_000, **server})


def test_drain_closes_politely(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(drain_config(origin, websocket_drain_ms=0))
    client, backend = pair(dao, origin)
    dao.signal(signal.SIGTERM)
    client.expect_close(1012)
    backend.expect_close(1012)
    client.send(close(1012, masked=True))
    backend.send(close(1012))
    client.client.expect_closed()
    backend.expect_end()
    assert dao.wait_exit() == 0
    backend.finish()
    assert ended(dao)["status"] == 101


def test_drain_leaves_websockets_their_time(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(drain_config(origin, websocket_drain_ms=500))
    client, backend = pair(dao, origin)
    began = time.monotonic()
    dao.signal(signal.SIGTERM)
    dao.wait_log("drain")
    client.send(frame(TEXT, b"still here", masked=True))
    assert backend.read().payload == b"still here"
    client.expect_close(1012)
    assert time.monotonic() - began >= 0.5
    client.send(close(1012, masked=True))
    backend.expect_close(1012)
    backend.send(close(1012))
    assert dao.wait_exit() == 0
    backend.finish()


def test_drain_does_not_wait_for_the_dead(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(drain_config(origin, websocket_drain_ms=0))
    client, backend = pair(dao, origin)
    dao.signal(signal.SIGTERM)
    client.expect_close(1012)
    client.client.expect_closed(timeout=10 * deadline.SCALE)
    assert dao.wait_exit(15 * deadline.SCALE) == 0
    backend.finish()


def test_library_sees_a_drain(start_dao: StartDao) -> None:
    with LibraryServer(echo) as server:
        dao = start_dao(simple_config(server.url, server={"websocket_drain_ms": 0}))

        async def conversation(socket: websockets.WebSocketClientProtocol) -> None:
            await socket.send("x")
            assert await socket.recv() == "x"
            dao.signal(signal.SIGTERM)
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 1012

        talk(dao, "/drain", conversation)
        assert dao.wait_exit() == 0
        deadline.wait_until(lambda: [code for code, _ in server.closes] == [1012], "the server to see 1012")


def test_rules_with_a_closing_backend_connection(start_dao: StartDao, origin: Origin) -> None:
    """A backend that closes instead of answering the handshake: an ordinary failure."""
    dao = start_dao(simple_config(origin.url, proxy={"retries": 0}))
    origin.answer("/ws", CLOSE)
    with dao.client() as client:
        assert client.exchange(request()).status == 502
    assert ended(dao)["status"] == 502
