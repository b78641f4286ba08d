"""HTTP/2 by ALPN towards https backends: what is agreed on, shared handshakes, what needs HTTP/1.1, failures, gRPC."""

from __future__ import annotations

import concurrent.futures
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from h2.errors import ErrorCodes

from lib import deadline
from lib.client import RawClient
from lib.dao import Dao, simple_config
from lib.faults import expect_error, expect_ok, get, post
from lib.h2_origin import H2Origin, TlsSocket
from lib.origin import CLOSE, Origin
from lib.tls import Authority
from lib.websocket import TEXT, RawWebSocket, answer, frame
from test_grpc import Backend

StartDao = Callable[..., Dao]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def context(authority: Authority, *alpn: str, names: str = "IP:127.0.0.1") -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    identity = authority.issue(names)
    made.load_cert_chain(identity.cert, identity.key)
    if alpn:
        made.set_alpn_protocols(list(alpn))
    return made


@pytest.fixture
def backend(authority: Authority) -> Iterator[H2Origin]:
    with H2Origin(tls=context(authority, "h2", "http/1.1")) as origin:
        yield origin


def https_config(url: str, authority: Authority, proxy: dict | None = None, **keys: object) -> dict:
    config = simple_config(url, proxy={"retries": 0, **(proxy or {})})
    config["routes"]["rule"][0]["upstreams"][0].update(tls_ca=str(authority.cert), **keys)  # type: ignore[index]
    return config


def ask(dao: Dao, request: bytes):
    with RawClient(dao.address) as client:
        return client.exchange(request)


def ask_at_once(dao: Dao, count: int, meanwhile: Callable[[], None]) -> list[int]:
    clients = [RawClient(dao.address) for _ in range(count)]
    for number, client in enumerate(clients):
        client.send(get(f"/{number}"))
    deadline.wait_until(
        lambda: dao.metrics().total("dao_upstream_in_flight") == count, "all requests to be on their way"
    )
    meanwhile()
    statuses = [client.response().status for client in clients]
    for client in clients:
        client.close()
    return statuses


# What is agreed on ---------------------------------------------------------------------------------------------------


def test_http2_is_agreed_on(start_dao: StartDao, backend: H2Origin, authority: Authority) -> None:
    body = bytes(range(256)) * 4000
    backend.at_end["/echo"] = lambda connection, request: connection.answer(
        request.stream, b"got %d" % len(request.body)
    )
    dao = start_dao(https_config(backend.url, authority))
    with RawClient(dao.address) as client:
        for _ in range(3):
            expect_ok(client.exchange(get("/a")))
        response = client.exchange(post("/echo", body))
    assert (response.status, response.body) == (200, b"got %d" % len(body))
    assert response.value("via") == "2.0 dao"
    assert backend.wait_for("/a").field(":scheme") == "https"
    assert backend.wait_for("/echo").body == body
    assert backend.agreed == ["h2"] and backend.accepted == 1
    assert dao.metrics().total("dao_upstream_connects_total") == 1


def test_a_response_of_many_megabytes_arrives_whole(
    start_dao: StartDao, authority: Authority, backend: H2Origin
) -> None:
    body = bytes(range(251)) * 20_000

    backend.at_end["/large"] = lambda connection, request: connection.answer_large(request.stream, body)
    dao = start_dao(https_config(backend.url, authority))
    assert ask(dao, get("/large")).body == body


@pytest.mark.parametrize("offered", [["h2"], ["h1"], ["h2", "h1"], None])
def test_what_is_offered(
    start_dao: StartDao, make_origin: Callable, authority: Authority, offered: list[str] | None
) -> None:
    """A backend that prefers HTTP/1.1 and can do both picks from what is offered."""
    names = {"h2": "h2", "h1": "http/1.1"}
    with H2Origin(tls=context(authority, "http/1.1", "h2")) as origin:
        origin.h1 = lambda sock: (sock.recv(65536), sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
        keys = {} if offered is None else {"protocols": offered}
        expect_ok(ask(start_dao(https_config(origin.url, authority, **keys)), get("/")))
        expected = "h2" if offered == ["h2"] else names["h1"]
        assert origin.agreed == [expected]


@pytest.mark.parametrize("alpn", [("http/1.1",), ()], ids=["http/1.1", "no ALPN"])
def test_a_backend_of_http1_is_served(
    start_dao: StartDao, make_origin: Callable, authority: Authority, alpn: tuple
) -> None:
    origin: Origin = make_origin(tls=context(authority, *alpn))
    dao = start_dao(https_config(origin.url, authority))
    with RawClient(dao.address) as client:
        for _ in range(3):
            expect_ok(client.exchange(get("/")))
    assert origin.accepted == 1, "the connection is kept"


def test_nothing_is_sent_where_http2_is_all_that_is_allowed(
    start_dao: StartDao, make_origin: Callable, authority: Authority
) -> None:
    origin: Origin = make_origin(tls=context(authority))
    dao = start_dao(https_config(origin.url, authority, protocols=["h2"]))
    expect_error(ask(dao, get("/")), 502, "tls_protocol_error")
    assert "ALPN" in dao.wait_access(1)[0]["error_detail"]
    assert not origin.requests
    refusing: Origin = make_origin(tls=context(authority, "http/1.1"))
    dao = start_dao(https_config(refusing.url, authority, protocols=["h2"]))
    expect_error(ask(dao, get("/")), 502, "tls_protocol_error")
    assert not refusing.requests


# One handshake for many ----------------------------------------------------------------------------------------------


def test_requests_that_wait_for_the_handshake_share_it(
    start_dao: StartDao, backend: H2Origin, authority: Authority
) -> None:
    go_on = threading.Event()
    backend.before_handshake = go_on.wait
    dao = start_dao(https_config(backend.url, authority, {"connect_timeout_ms": 20_000}))
    assert ask_at_once(dao, 20, go_on.set) == [200] * 20
    assert backend.accepted == 1


def test_when_it_is_http1_each_gets_a_connection(
    start_dao: StartDao, make_origin: Callable, authority: Authority
) -> None:
    go_on = threading.Event()
    origin: Origin = make_origin(tls=context(authority, "http/1.1"))
    origin.at_accept = (lambda *_: go_on.wait(deadline.DEFAULT),)
    dao = start_dao(https_config(origin.url, authority, {"connect_timeout_ms": 20_000}))
    assert ask_at_once(dao, 20, go_on.set) == [200] * 20


def test_a_failed_handshake_fails_all_that_wait(start_dao: StartDao, authority: Authority) -> None:
    go_on = threading.Event()
    with H2Origin(tls=context(authority, "h2", names="DNS:other.test"), before_handshake=go_on.wait) as origin:
        dao = start_dao(https_config(origin.url, authority, {"connect_timeout_ms": 20_000}))
        assert ask_at_once(dao, 5, go_on.set) == [502] * 5
        assert origin.accepted == 1
        assert {entry["error"] for entry in dao.wait_access(5)} == {"tls_certificate_error"}
        assert dao.metrics().total("dao_upstream_connect_failures_total") == 1


def test_sessions_are_resumed(start_dao: StartDao, backend: H2Origin, authority: Authority) -> None:
    def leave(connection, request) -> None:
        connection.answer(request.stream)
        with connection.lock:
            connection.h2.close_connection()
            connection.flush()

    backend.at_end["/leave"] = leave
    dao = start_dao(https_config(backend.url, authority))
    for number in range(3):
        expect_ok(ask(dao, get("/leave")))
        deadline.wait_until(
            lambda: dao.metrics().total("dao_upstream_connections_idle") == 0, "the connection to be given up"
        )
        assert backend.accepted == number + 1
    assert backend.resumed == [False, True, True]


# What needs HTTP/1.1 -------------------------------------------------------------------------------------------------


def test_a_websocket_takes_a_connection_of_http1(start_dao: StartDao, backend: H2Origin, authority: Authority) -> None:
    heads: list[bytes] = []

    def echo(sock: TlsSocket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(65536)
        heads.append(head)
        lines = [line.split(b": ") for line in head.split(b"\r\n") if b": " in line]
        sock.sendall(answer(next(value for name, value in lines if name.lower() == b"sec-websocket-key")))
        while data := sock.recv(65536):
            unmasked = bytes(byte ^ data[2 + i % 4] for i, byte in enumerate(data[6:]))
            sock.sendall(data[:1] + bytes([data[1] & 0x7F]) + unmasked)

    backend.h1 = echo
    dao = start_dao(https_config(backend.url.replace("https", "wss"), authority))
    expect_ok(ask(dao, get("/before")))
    client = RawWebSocket(dao.client(), "/ws")
    client.send(frame(TEXT, b"hello", masked=True))
    assert client.read().payload == b"hello"
    expect_ok(ask(dao, get("/after")))
    assert backend.agreed == ["h2", "http/1.1"]
    assert heads[0].startswith(b"GET /ws HTTP/1.1\r\n") and b"\r\nUpgrade: websocket\r\n" in heads[0]
    client.client.close()


def test_http1_where_the_backend_requires_it(start_dao: StartDao, backend: H2Origin, authority: Authority) -> None:
    """RFC 9113 section 7, HTTP_1_1_REQUIRED."""
    backend.at_end["/old"] = lambda connection, request: connection.reset(
        request.stream, ErrorCodes.HTTP_1_1_REQUIRED)
    heads: list[bytes] = []
    backend.h1 = lambda sock: (
        heads.append(sock.recv(65536)),
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    )
    dao = start_dao(https_config(backend.url, authority))
    expect_ok(ask(dao, post("/old", b"body")))
    assert heads[0].startswith(b"POST /old HTTP/1.1\r\n") and heads[0].endswith(b"\r\n\r\nbody")
    only_h2 = start_dao(https_config(backend.url, authority, protocols=["h2"]))
    expect_error(ask(only_h2, post("/old", b"body")), 502, "connection_terminated")


# Failures ------------------------------------------------------------------------------------------------------------


def test_a_refused_client_certificate_is_told(start_dao: StartDao, authority: Authority) -> None:
    tls = context(authority, "h2")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(authority.cert)
    ours = authority.issue(subject="/CN=dao")
    with H2Origin(tls=tls) as origin:
        shown = start_dao(https_config(origin.url, authority, tls_cert=str(ours.cert), tls_key=str(ours.key)))
        expect_ok(ask(shown, get("/")))
        without = start_dao(https_config(origin.url, authority))
        expect_error(ask(without, get("/")), 502, "tls_alert_received")
        expect_error(ask(without, post("/", b"x" * 100_000)), 502, "tls_alert_received")


def test_a_backend_without_tls(start_dao: StartDao, make_origin: Callable, authority: Authority) -> None:
    origin: Origin = make_origin()
    origin.at_accept = (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", CLOSE)
    dao = start_dao(https_config(f"https://127.0.0.1:{origin.port}", authority))
    expect_error(ask(dao, get("/")), 502, "tls_protocol_error")


def test_an_answer_that_is_cut_never_looks_complete(
    start_dao: StartDao, backend: H2Origin, authority: Authority
) -> None:
    def cut(connection, request) -> None:
        connection.answer(request.stream, b"half of it", end=False)
        connection.socket.shutdown(2)

    backend.at_end["/cut"] = cut
    dao = start_dao(https_config(backend.url, authority))
    with RawClient(dao.address) as client:
        client.send(get("/cut"))
        client.expect_ended()
        assert b"half of it" in client.reader.buffered
        assert not client.reader.buffered.endswith(b"0\r\n\r\n")
    expect_ok(ask(dao, get("/after")))


# gRPC ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def channel(start_dao: StartDao, authority: Authority) -> Iterator[grpc.Channel]:
    theirs = authority.issue("IP:127.0.0.1")
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Backend(),))
    port = server.add_secure_port(
        "127.0.0.1:0", grpc.ssl_server_credentials([(theirs.key.read_bytes(), theirs.cert.read_bytes())])
    )
    server.start()
    ours = authority.issue("IP:127.0.0.1")
    config = https_config(f"https://127.0.0.1:{port}", authority)
    config["server"].update(tls_cert=str(ours.cert), tls_key=str(ours.key))
    dao = start_dao(config)
    trusting = grpc.ssl_channel_credentials(authority.cert.read_bytes())
    channel = grpc.secure_channel("{}:{}".format(*dao.address), trusting)
    yield channel
    channel.close()
    server.stop(0).wait()


def test_grpc_over_tls_on_both_sides(channel: grpc.Channel) -> None:
    limit = deadline.DEFAULT
    assert channel.unary_unary("/t/Unary")(b"x" * 200_000, timeout=limit) == b"x" * 200_000
    assert list(channel.unary_stream("/t/Down")(b"a", timeout=limit)) == [b"a"] * 5
    assert channel.stream_unary("/t/Up")(iter([b"1", b"2", b"3"]), timeout=limit) == b"123"
    assert list(channel.stream_stream("/t/Both")(iter([b"1", b"2"]), timeout=limit)) == [b"1", b"2"]
    with pytest.raises(grpc.RpcError) as failure:
        channel.unary_unary("/t/None")(b"x", timeout=limit)
    assert failure.value.code() == grpc.StatusCode.UNIMPLEMENTED
