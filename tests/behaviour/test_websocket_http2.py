"""WebSocket over HTTP/2 (RFC 8441): the extended CONNECT, frames both ways within the windows, and every way to end."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import websockets
from websockets.frames import Opcode

from lib import deadline
from lib.dao import Dao, simple_config
from lib.h2frames import (
    CANCEL,
    ENABLE_CONNECT_PROTOCOL,
    END_HEADERS,
    END_STREAM,
    INITIAL_WINDOW_SIZE,
    NO_ERROR,
    PROTOCOL_ERROR,
    WINDOW,
    H2Client,
    data,
    get,
    rst_stream,
)
from lib.http1 import Truncated
from lib.origin import Origin
from lib.tls import Authority, context
from lib.websocket import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Backend,
    Frame,
    LibraryServer,
    answer,
    close,
    frame,
)
from lib.websocket_http2 import H2WebSocket, LibraryH2, connect

StartDao = Callable[..., Dao]
MIB = 1 << 20


def ended(dao: Dao, target: str = "/ws") -> dict[str, object]:
    """The access log's line, which comes with the end."""
    (entry,) = dao.wait_access(lambda entry: entry["target"] == target)
    return entry


def ends(dao: Dao, reason: str) -> float:
    return dao.metrics().total("dao_websocket_ends_total", reason=reason)


def pair(dao: Dao, origin: Origin, path: str = "/ws", stream: int = 1, client: H2Client | None = None, **options):
    """A WebSocket whose two ends the test plays by hand."""
    backend = Backend(**options)
    origin.answer(path, backend)
    websocket = H2WebSocket(client or H2Client(dao.address), stream, path)
    backend.ready()
    return websocket, backend


def finish(client: H2WebSocket, backend: Backend) -> None:
    """An orderly end, begun by the client."""
    client.send(close(1000, masked=True))
    while (got := backend.read()).opcode == PING:
        pass
    assert got.code == 1000
    backend.send(close(1000))
    client.expect_close(1000)
    client.expect_end()
    client.end()
    backend.expect_end()
    backend.finish()


# The handshake ---------------------------------------------------------------------------------------------------


def test_handshake_passes_and_the_line_comes_at_the_end(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    backend = Backend(b"Sec-WebSocket-Protocol: chat", b"Sec-WebSocket-Extensions: x-y", b"X-End: 1")
    origin.answer("/ws?a=b", backend)
    with H2Client(dao.address) as connection:
        assert connection.peer[ENABLE_CONNECT_PROTOCOL] == 1
        client = H2WebSocket(
            connection, 1, "/ws?a=b",
            (b"sec-websocket-protocol", b"chat, talk"), (b"sec-websocket-extensions", b"x-y; z"), (b"origin", b"o"),
            (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"te", b"trailers"),
            (b"sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA=="), (b"sec-websocket-accept", b"x"),
        )  # fmt: skip
        seen = backend.request
        assert seen
        assert (seen.method, seen.target, seen.values("host")) == ("GET", "/ws?a=b", ["a.test"])
        assert seen.values("connection") == ["Upgrade"] and seen.values("upgrade") == ["websocket"]
        assert seen.values("sec-websocket-protocol") == ["chat, talk"]
        assert seen.values("sec-websocket-extensions") == ["x-y; z"]
        assert seen.values("sec-websocket-version") == ["13"] and seen.values("sec-websocket-accept") == []
        (key,) = seen.values("sec-websocket-key")
        assert key != "AAAAAAAAAAAAAAAAAAAAAA==" and len(key) == 24
        assert seen.values("origin") == ["o"] and seen.values("cookie") == ["a=1; b=2"] and seen.values("te") == []
        assert seen.values("via") == ["2.0 dao"] and seen.values("content-length") == []
        assert seen.values("transfer-encoding") == []
        answered = dict(client.stream.fields or [])
        assert answered.pop("date") and answered.pop("via") == "1.1 dao"
        assert answered == {
            ":status": "200", "sec-websocket-protocol": "chat", "sec-websocket-extensions": "x-y", "x-end": "1"
        }  # fmt: skip

        deadline.wait_until(lambda: dao.metrics().total("dao_websockets") == 1, "the WebSocket to be counted")
        metrics = dao.metrics()
        assert metrics.total("dao_requests_active") == 0 and metrics.total("dao_upstream_in_flight") == 1
        assert dao.access_log() == []
        sent, got = frame(TEXT, b"hello", masked=True), frame(TEXT, b"hello back")
        client.send(sent)
        assert backend.read() == Frame(TEXT, b"hello", True, True)
        backend.send(got)
        assert client.read() == Frame(TEXT, b"hello back", False, True)
        finish(client, backend)

        entry = ended(dao, "/ws?a=b")
        assert (entry["status"], entry["method"], entry["protocol"]) == (101, "GET", "HTTP/2") and "error" not in entry
        assert entry["request_bytes"] == len(sent) + len(close(1000, masked=True))
        assert entry["response_bytes"] == len(got) + len(close(1000))
        metrics = dao.metrics()
        assert metrics.total("dao_websockets") == 0 and metrics.total("dao_upstream_in_flight") == 0
        assert metrics.total("dao_websocket_messages_total") == 2
        assert metrics.total("dao_websocket_bytes_total", **{"from": "client"}) == entry["request_bytes"]
        assert metrics.total("dao_requests_total") == 1 and ends(dao, "client-close") == 1
        connection.fence()


def test_the_keys_are_fresh(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    keys = set()
    with H2Client(dao.address) as connection:
        for number in (1, 3, 5):
            client, backend = pair(dao, origin, f"/socket-{number}-", number, connection)
            assert backend.request
            keys.update(backend.request.values("sec-websocket-key"))
            finish(client, backend)
    assert len(keys) == 3


def test_frames_right_behind_the_heads_pass(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    backend = Backend(behind=frame(TEXT, b"welcome") + frame(BINARY, b"x" * 70000)[:1000])
    origin.answer("/ws", backend)
    with H2Client(dao.address) as connection:
        client = H2WebSocket(connection, behind=frame(TEXT, b"early", masked=True))
        assert client.read().payload == b"welcome"
        assert backend.read().payload == b"early"
        backend.send(frame(BINARY, b"x" * 70000)[1000:])
        assert client.read().payload == b"x" * 70000
        finish(client, backend)


@pytest.mark.parametrize("status", [b"401 Unauthorized", b"404 Not Found", b"426 Upgrade Required", b"302 Found"])
def test_an_ordinary_answer_is_one(start_dao: StartDao, origin: Origin, status: bytes) -> None:
    dao = start_dao(simple_config(origin.url))
    origin.answer("/ws", b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\nX-Why: y\r\n\r\nno")
    with H2Client(dao.address) as connection:
        connection.send(connect(1) + data(1, frame(TEXT, b"GET /smuggled HTTP/1.1\r\n\r\n", masked=True), 0))
        got = connection.response(1)
        assert (got.status, got.body, got.values("x-why")) == (int(status[:3]), b"no", ["y"])
        connection.fence()
    assert [r.target for r in origin.requests] == ["/ws", "/fence"]


@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content"])
def test_a_2xx_does_not_open_what_the_backend_did_not(start_dao: StartDao, origin: Origin, status: bytes) -> None:
    """The content of any 2xx would be frames to the client (RFC 9113 section 8.5)."""
    dao = start_dao(simple_config(origin.url))
    length = b"" if status.startswith(b"204") else b"Content-Length: 6\r\n"
    origin.answer("/ws", b"HTTP/1.1 " + status + b"\r\n" + length + b"\r\n" + (b"\x81\x04evil" if length else b""))
    with H2Client(dao.address) as connection:
        connection.send(connect(1))
        got = connection.response(1)
        assert got.status == 502 and b"evil" not in got.body
        connection.fence()
    entry = ended(dao)
    assert entry["error"] == "http_protocol_error" and "2xx" in str(entry["error_detail"])
    assert dao.metrics().total("dao_upstream_errors_total", reason="unexpected_upgrade") == 1


WRONG = {
    "accept": lambda key: answer(b"AAAAAAAAAAAAAAAAAAAAAA=="),
    "no-accept": lambda key: b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "protocol": lambda key: answer(key).replace(b"Upgrade: websocket", b"Upgrade: h2c"),
}


@pytest.mark.parametrize("head", WRONG.values(), ids=WRONG.keys())
def test_a_101_that_does_not_answer_is_an_error(
    start_dao: StartDao, origin: Origin, head: Callable[[bytes], bytes]
) -> None:
    dao = start_dao(simple_config(origin.url))
    backend = Backend(head=head)
    origin.answer("/ws", backend)
    with H2Client(dao.address) as connection:
        connection.send(connect(1))
        assert connection.response(1).status == 502
        connection.fence()
    backend.finish()
    assert dao.metrics().total("dao_websockets") == 0


REFUSED = {
    "connect-udp": (501, dict(protocol=b"connect-udp")),
    "plain": (405, dict(protocol=None, path=None, scheme=None, authority=b"a.test:443")),
    "scheme": (400, dict(scheme=b"ws")),
    "content-length": (400, dict(fields=((b"content-length", b"0"),))),
    "ends-at-once": (400, dict(flags=END_HEADERS | END_STREAM)),
    "two-hosts": (400, dict(fields=((b"host", b"b.test"),))),
}


@pytest.mark.parametrize("status, how", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_answered_with_an_error(start_dao: StartDao, origin: Origin, status: int, how: dict) -> None:
    dao = start_dao(simple_config(origin.url))
    how = dict(how)
    path, fields = how.pop("path", b"/ws"), how.pop("fields", ())
    with H2Client(dao.address) as connection:
        connection.send(connect(1, path, *fields, **how))
        assert connection.response(1).status == status
        connection.fence()
    assert [r.target for r in origin.requests] == ["/fence"]


MALFORMED = {
    "no-path": dict(path=None),
    "no-scheme": dict(scheme=None),
    "no-authority": dict(authority=None),
    "path-star": dict(path=b"*"),
    "path-relative": dict(path=b"ws"),
    "authority-empty": dict(authority=b""),
    "protocol-empty": dict(protocol=b""),
    "get": dict(method=b"GET"),
    "two-protocols": dict(fields=((b":protocol", b"websocket"),)),
    "late-protocol": dict(protocol=None, fields=((b":protocol", b"websocket"),)),
    "upgrade": dict(fields=((b"upgrade", b"websocket"),)),
    "connection": dict(fields=((b"connection", b"upgrade"),)),
}


@pytest.mark.parametrize("how", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_malformed_ends_its_stream(start_dao: StartDao, origin: Origin, how: dict) -> None:
    dao = start_dao(simple_config(origin.url))
    how = dict(how)
    path, fields = how.pop("path", b"/ws"), how.pop("fields", ())
    with H2Client(dao.address) as connection:
        connection.send(connect(1, path, *fields, **how))
        assert connection.response(1).reset == PROTOCOL_ERROR
        connection.fence()
    assert [r.target for r in origin.requests] == ["/fence"]


def test_match_upgrade_selects(start_dao: StartDao, make_origin: Callable[..., Origin]) -> None:
    sockets, pages = make_origin(), make_origin()
    config = simple_config(pages.url)
    rule = {"name": "ws", "match": {"upgrade": "websocket"}, "upstreams": [{"name": "ws", "url": sockets.url}]}
    config["routes"]["rule"].insert(0, rule)  # type: ignore[index]
    dao = start_dao(config)
    with H2Client(dao.address) as connection:
        client, backend = pair(dao, sockets, client=connection)
        assert connection.get(3, "/ws").status == 200
        assert (len(sockets.requests), len(pages.requests)) == (1, 1)
        finish(client, backend)
    (entry,) = dao.wait_access(lambda entry: entry["status"] == 101)
    assert entry["route"] == "ws"


def test_a_refused_upstream_is_retried_elsewhere(start_dao: StartDao, make_origin: Callable[..., Origin]) -> None:
    first, second = make_origin(), make_origin()
    first.stop()
    dao = start_dao(simple_config(first.url, second.url))
    client, backend = pair(dao, second)
    finish(client, backend)
    assert ended(dao)["attempts"] == 2
    client.client.close()


@pytest.mark.parametrize("leave", ["reset", "end", "close"])
def test_a_client_that_leaves_before_the_answer(start_dao: StartDao, origin: Origin, leave: str) -> None:
    dao = start_dao(simple_config(origin.url))
    gone = threading.Event()
    came = threading.Event()

    def wait(connection, _request) -> None:
        came.set()
        connection.wait_peer_close()
        gone.set()

    origin.answer("/ws", wait)
    with H2Client(dao.address) as connection:
        connection.send(connect(1))
        assert came.wait(deadline.DEFAULT)
        if leave == "close":
            connection.close()
        else:
            connection.send(rst_stream(1) if leave == "reset" else data(1, b"", END_STREAM))
            connection.fence()
        assert gone.wait(deadline.DEFAULT), "the backend's connection stays"
    assert ended(dao)["status"] == 499


# Passing ---------------------------------------------------------------------------------------------------------


def test_frames_pass_as_they_are(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    with H2Client(dao.address) as connection:
        client, backend = pair(dao, origin, client=connection)
        odd = [
            frame(TEXT, b"a" * 3, fin=False), frame(PING, b"p" * 125), frame(CONTINUATION, b"", fin=False),
            frame(PONG), frame(CONTINUATION, b"b"), frame(BINARY, b"long", length_bytes=8),
            frame(BINARY, b"middle", length_bytes=2), bytes([0xC1, 2]) + b"\x00\xff", frame(3, b"unknown opcode"),
        ]  # fmt: skip
        everything = b"".join(odd)
        for size in (1, 3, 7, len(everything)):
            for at in range(0, len(everything), size):
                backend.send(everything[at : at + size])
            assert client.take(len(everything)) == everything
        masked = frame(TEXT, b"x" * 300, masked=True) + frame(PING, masked=True)
        client.send(*[masked[at : at + 1] for at in range(len(masked))])
        assert backend.ready().reader.take(len(masked)) == masked
        client.client.send(data(1, masked, 0, pad=200))
        assert backend.ready().reader.take(len(masked)) == masked
        finish(client, backend)


async def echo(websocket: websockets.WebSocketServerProtocol) -> None:
    async for message in websocket:
        await websocket.send(message)


@pytest.mark.parametrize("deflate", [False, True])
def test_library_messages_of_every_size_over_tls(start_dao: StartDao, tmp_path: Path, deflate: bool) -> None:
    """python3-h2 and `websockets` at both ends, by ALPN."""
    authority = Authority(tmp_path)
    identity = authority.issue("DNS:a.test")
    with LibraryServer(echo, compression="deflate" if deflate else None) as server:
        dao = start_dao(
            simple_config(server.url, server={"tls_cert": str(identity.cert), "tls_key": str(identity.key)})
        )
        tls = context(authority)
        tls.set_alpn_protocols(["h2", "http/1.1"])
        sock = tls.wrap_socket(socket.create_connection(dao.address), server_hostname="a.test")
        assert sock.selected_alpn_protocol() == "h2"
        connection = LibraryH2(sock)
        client = connection.open("/big", deflate=deflate)
        assert bool(client.extensions) == deflate
        for size in (0, 1, 125, 126, 65535, 65536, MIB, 4 * MIB):
            payload = os.urandom(min(size, 4096)) * (size // 4096) or os.urandom(size)
            client.send(Opcode.BINARY, payload)
            assert client.receive().data == payload
        client.send(Opcode.TEXT, b"in ", fin=False)
        client.send(Opcode.PING, b"?")
        client.send(Opcode.CONT, b"fragments")
        assert client.receive().opcode == Opcode.PONG
        assert client.receive().data == b"in fragments"
        client.send(Opcode.CLOSE, (4001).to_bytes(2) + b"enough")
        assert client.receive().data == (4001).to_bytes(2) + b"enough"
        client.end()
        ended(dao, "/big")
        deadline.wait_until(lambda: server.closes == [(4001, "enough")], "the server to see the client's close")
        connection.close()


def test_many_on_one_connection(start_dao: StartDao) -> None:
    with LibraryServer(echo) as server:
        dao = start_dao(simple_config(server.url))
        connection = LibraryH2(socket.create_connection(dao.address))
        clients = [connection.open("/many") for _ in range(50)]
        for turn in range(20):
            for number, client in enumerate(clients):
                client.send(Opcode.TEXT, f"{number} {turn}".encode() * 50)
            for number, client in enumerate(clients):
                assert client.receive().data == f"{number} {turn}".encode() * 50
        assert dao.metrics().total("dao_websockets") == 50
        for client in clients:
            client.send(Opcode.CLOSE, b"")
            assert client.receive().opcode == Opcode.CLOSE
            client.end()
        dao.wait_access(50)
        assert dao.metrics().total("dao_websocket_messages_total") == 2000
        connection.close()


def test_small_messages_and_window_updates_are_no_flood(start_dao: StartDao) -> None:
    """A client that opens both windows after each small message has been given reason to."""
    with LibraryServer(echo, compression=None) as server:
        dao = start_dao(simple_config(server.url))
        with H2Client(dao.address) as connection:
            client = H2WebSocket(connection)
            for turn in range(1500):
                client.send(frame(TEXT, b"%d" % turn, masked=True))
                assert client.read().payload == b"%d" % turn
            client.send(close(1000, masked=True))
            client.expect_close(1000)
            client.end()
        assert dao.metrics().total("dao_h2_floods_total") == 0


def still(dao: Dao, side: str) -> float:
    """How many bytes from that side have passed when it stands still."""
    last = -1.0
    while (now := dao.metrics().total("dao_websocket_bytes_total", **{"from": side})) != last or now == 0:
        last = now
        deadline.wait_until(lambda end=time.monotonic() + 0.1: time.monotonic() > end, "a moment")
    return last


def test_a_slow_client_stops_the_backend(start_dao: StartDao, origin: Origin) -> None:
    """What the client's window does not let out stays in the kernels and one block; other streams go on."""
    dao = start_dao(simple_config(origin.url))
    total = 32 * MIB
    with H2Client(dao.address, settings={INITIAL_WINDOW_SIZE: 1000}, auto_window=False) as connection:
        client, backend = pair(dao, origin, client=connection)
        before = dao.rss_bytes()
        whole = frame(BINARY, b"z" * total)
        sent = threading.Event()

        def send() -> None:
            backend.ready().socket.settimeout(60 * deadline.SCALE)
            backend.send(whole)
            sent.set()

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        connection.wait(lambda: len(client.stream.body) == 1000, "all that the window lets out")
        assert still(dao, "backend") < total and not sent.is_set()
        assert dao.rss_bytes() - before < 4 * MIB * deadline.MEMORY_SCALE
        connection.fence()
        assert len(client.stream.body) == 1000
        connection.auto_window = True
        connection.grant(1, WINDOW)
        assert client.read().payload == b"z" * total
        sender.join(deadline.DEFAULT)
        assert sent.is_set()
        finish(client, backend)


def test_a_slow_backend_holds_the_window_and_nobody_else(start_dao: StartDao, origin: Origin) -> None:
    """Six stuck backends together take more than the connection's window of 1 MiB, and still another stream has room."""
    dao = start_dao(simple_config(origin.url))
    with H2Client(dao.address) as connection:
        pairs = [pair(dao, origin, f"/socket-{number}-", number, connection) for number in range(1, 13, 2)]
        before = dao.rss_bytes()
        payload = frame(BINARY, b"z" * 16 * MIB, masked=True)

        def room(client: H2WebSocket) -> int:
            initial = connection.peer.get(INITIAL_WINDOW_SIZE, WINDOW)
            return min(connection.send_window, initial + client.stream.send_window, 16384)

        sent = dict.fromkeys((client.number for client, _ in pairs), 0)
        quiet = 0
        while quiet < 3:  # until nothing opens a window any more
            moved = False
            for client, _ in pairs:
                while (most := room(client)) > 0:
                    piece = payload[sent[client.number] : sent[client.number] + most]
                    assert piece, "the backend's kernel takes everything: the message is too small"
                    connection.send(data(client.number, piece, 0))
                    sent[client.number] += len(piece)
                    connection.send_window -= len(piece)
                    client.stream.send_window -= len(piece)
                    moved = True
            still(dao, "client")
            connection.sync()
            quiet = 0 if moved else quiet + 1
        assert dao.rss_bytes() - before < 8 * MIB * deadline.MEMORY_SCALE
        assert connection.send_window >= 16384, "the connection's window waits for stuck WebSockets"
        other, its_backend = pair(dao, origin, "/other", 101, connection)
        other.send(frame(TEXT, b"through", masked=True))
        assert its_backend.read().payload == b"through"
        # The stuck ones go on when they are read, and every byte is there.
        client, backend = pairs[0]
        backend.ready().socket.settimeout(60 * deadline.SCALE)
        reader = threading.Thread(
            target=lambda: sent.update(got=backend.ready().reader.take(len(payload)) == payload), daemon=True
        )
        reader.start()
        while sent[1] < len(payload):
            connection.wait(lambda: room(client) > 0, "the window of the one that is read")
            piece = payload[sent[1] : sent[1] + room(client)]
            connection.send(data(1, piece, 0))
            sent[1] += len(piece)
            connection.send_window -= len(piece)
            client.stream.send_window -= len(piece)
        reader.join(deadline.DEFAULT)
        assert sent.get("got") is True
        for each in (*(backend for _, backend in pairs), its_backend):
            each.finish()


def test_a_backend_that_never_reads_is_given_up(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url, proxy={"read_timeout_ms": 300}))
    with H2Client(dao.address) as connection:
        client, backend = pair(dao, origin, client=connection)
        backend.ready().socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        piece = frame(BINARY, b"z" * 16000, masked=True)

        def room() -> bool:
            initial = connection.peer.get(INITIAL_WINDOW_SIZE, WINDOW)
            return min(connection.send_window, initial + client.stream.send_window) > len(piece)

        while not client.stream.body:
            if room():
                client.send(piece)
                connection.send_window -= len(piece)
                client.stream.send_window -= len(piece)
            else:
                connection.wait(lambda: room() or client.stream.body, "a window or a Close")
        client.expect_close(1011)
        connection.fence()
        backend.finish()
    ended(dao)
    assert ends(dao, "backend-timeout") == 1


def test_a_client_that_never_reads_is_given_up(start_dao: StartDao, origin: Origin) -> None:
    """Its stream is reset; what else goes on over the connection is not touched."""
    dao = start_dao(simple_config(origin.url, server={"write_timeout_ms": 300}))
    with H2Client(dao.address, settings={INITIAL_WINDOW_SIZE: 10}, auto_window=False) as connection:
        client, backend = pair(dao, origin, client=connection)
        backend.send(frame(BINARY, b"z" * 1000))
        backend.expect_close(1001)
        connection.fence()
        backend.finish()
        connection.wait(lambda: client.stream.over, "the stream's end")
        assert client.stream.reset == CANCEL
        connection.fence()
    ended(dao)
    assert ends(dao, "client-timeout") == 1


# Ends ------------------------------------------------------------------------------------------------------------


def test_backend_closes_without_a_close(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    with H2Client(dao.address) as connection:
        client, backend = pair(dao, origin, client=connection)
        backend.send(frame(TEXT, b"last"))
        backend.finish()
        assert client.read().payload == b"last"
        client.expect_close(1001)
        client.send(close(1001, masked=True))
        client.expect_end()
        client.end()
        entry = ended(dao)
        assert (entry["status"], entry["error"]) == (101, "connection_terminated")
        connection.fence()
        assert client.stream.reset is None
    assert ends(dao, "backend-lost") == 1


def test_backend_is_killed(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    with H2Client(dao.address) as connection:
        client, backend = pair(dao, origin, client=connection)
        backend.reset()
        client.expect_close(1011)
        client.send(close(1011, masked=True))
        client.expect_end()
        client.end()
        connection.fence()
    ended(dao)
    assert ends(dao, "backend-lost") == 1


def test_backend_is_killed_within_a_frame(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    with H2Client(dao.address) as connection:
        client, backend = pair(dao, origin, client=connection)
        backend.send(frame(BINARY, b"x" * 1000)[:500])
        backend.finish()
        with pytest.raises(Truncated) as cut:
            client.read()
        assert "496 of 1000" in str(cut.value), "nothing was put into the cut frame"
        connection.fence()
    ended(dao)


@pytest.mark.parametrize("leave", ["end", "reset", "close", "rst"])
def test_client_is_gone(start_dao: StartDao, origin: Origin, leave: str) -> None:
    """END_STREAM, RST_STREAM, and the end of the connection in both ways."""
    dao = start_dao(simple_config(origin.url))
    with H2Client(dao.address) as connection:
        client, backend = pair(dao, origin, client=connection)
        if leave == "end":
            client.end()
        elif leave == "reset":
            connection.send(rst_stream(1))
        elif leave == "close":
            connection.close()
        else:
            connection.raw.reset()
        backend.expect_close(1001)
        backend.send(frame(TEXT, b"rest") + close(1001))
        if leave == "end":  # half-closed: it hears the rest
            assert client.read().payload == b"rest"
            client.expect_close(1001)
            client.expect_end()
        if leave in ("end", "reset"):
            connection.fence()
        backend.expect_end()
        backend.finish()
    entry = ended(dao)
    assert (entry["status"], entry["error"]) == (101, "http_request_error")
    assert ends(dao, "client-lost") == 1


def test_client_is_gone_within_a_frame(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    with H2Client(dao.address) as connection:
        client, backend = pair(dao, origin, client=connection)
        cut = frame(BINARY, b"x" * 1000, masked=True)[:500]
        client.send(cut)
        assert backend.ready().reader.take(500) == cut
        connection.send(rst_stream(1))
        backend.expect_end()
        connection.fence()
        backend.finish()
    assert ended(dao)["request_bytes"] == 500


def test_close_that_the_backend_does_not_answer(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    with H2Client(dao.address) as connection:
        client, backend = pair(dao, origin, client=connection)
        client.send(close(1000, masked=True))
        assert backend.read().code == 1000
        backend.finish()
        client.expect_close(1001)
        client.expect_end()
        client.end()
    ended(dao)
    assert ends(dao, "client-close") == 1


def test_a_client_that_does_not_end_its_side(start_dao: StartDao, origin: Origin) -> None:
    """After the end in our direction it has a while, then RST_STREAM with NO_ERROR (RFC 9113 section 8.1)."""
    dao = start_dao(simple_config(origin.url))
    with H2Client(dao.address) as connection:
        client, backend = pair(dao, origin, client=connection)
        client.send(close(1000, masked=True) + frame(TEXT, b"too late" * 1000, masked=True))
        assert backend.read().code == 1000
        backend.send(close(1000))
        client.expect_close(1000)
        client.expect_end()
        connection.wait(lambda: client.stream.reset is not None, "RST_STREAM", 10 * deadline.SCALE)
        assert client.stream.reset == NO_ERROR
        connection.fence()
        backend.finish()


def test_idle(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url, proxy={"websocket_idle_timeout_ms": 200}))
    with H2Client(dao.address) as connection:
        client, backend = pair(dao, origin, client=connection)
        client.expect_close(1001)
        backend.expect_close(1001)
        client.send(close(1001, masked=True))
        backend.send(close(1001))
        client.expect_end()
        client.end()
        connection.fence()
        backend.finish()
    ended(dao)
    assert ends(dao, "idle") == 1


def test_missed_pings(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url, proxy={"websocket_idle_timeout_ms": 400}))
    with H2Client(dao.address) as connection:
        client, backend = pair(dao, origin, client=connection)
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
    assert ends(dao, "client-timeout") == 1


def test_pings_of_daos_own(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url, proxy={"websocket_ping_interval_ms": 50}))
    with H2Client(dao.address) as connection:
        client, backend = pair(dao, origin, client=connection)
        assert client.read() == Frame(PING, b"", False, True)
        assert backend.read() == Frame(PING, b"", True, True)
        connection.send(rst_stream(1))
        while (got := backend.read()).opcode == PING:
            pass
        assert got.code == 1001
        backend.finish()


@pytest.mark.parametrize("answers", [True, False])
def test_drain(start_dao: StartDao, origin: Origin, answers: bool) -> None:
    """GOAWAY at once, the WebSocket goes on for websocket_drain_ms, then 1012 to both sides."""
    dao = start_dao(simple_config(origin.url, server={"drain_timeout_ms": 20_000, "websocket_drain_ms": 500}))
    with H2Client(dao.address) as connection:
        client, backend = pair(dao, origin, client=connection)
        began = time.monotonic()
        dao.signal(signal.SIGTERM)
        connection.wait(lambda: connection.goaways, "GOAWAY")
        client.send(frame(TEXT, b"still here", masked=True))
        assert backend.read().payload == b"still here"
        client.expect_close(1012)
        assert time.monotonic() - began >= 0.5
        backend.expect_close(1012)
        if answers:
            client.send(close(1012, masked=True))
            backend.send(close(1012))
            client.expect_end()
            client.end()
        assert dao.wait_exit(15 * deadline.SCALE) == 0
        backend.finish()
    assert ended(dao)["status"] == 101


def test_idle_connections_with_a_websocket_stay(start_dao: StartDao, origin: Origin) -> None:
    """The connection is in use, whatever its other streams do; nothing of HTTP's timeouts counts."""
    dao = start_dao(
        simple_config(
            origin.url,
            server={"idle_timeout_ms": 100, "body_timeout_ms": 100},
            proxy={"total_timeout_ms": 100, "read_timeout_ms": 100, "first_byte_timeout_ms": 100},
        )
    )
    with H2Client(dao.address) as connection:
        client, backend = pair(dao, origin, client=connection)
        deadline.wait_until(lambda end=time.monotonic() + 0.6: time.monotonic() > end, "a moment")
        client.send(frame(TEXT, b"x", masked=True))
        assert backend.read().payload == b"x"
        finish(client, backend)
