"""PROXY protocol headers towards backends: who is announced, over every kind of upstream, and that no request of one
client ever arrives on a connection that announced another one."""

from __future__ import annotations

import itertools
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lib import deadline
from lib.announcements import Announcements, Relay
from lib.client import RawClient
from lib.dao import Dao, simple_config
from lib.faults import expect_ok, get, post
from lib.h2_origin import H2Origin
from lib.h2frames import H2Client
from lib.h2frames import get as h2_get
from lib.origin import RESET, Origin
from lib.tls import Authority, TlsClient, context
from lib.websocket import TEXT, Backend, RawWebSocket, close, frame

VERSIONS = ["v1", "v2"]


@pytest.fixture
def announcements(origin: Origin) -> Announcements:
    made = Announcements()
    origin.at_accept = (made.take,)
    return made


def announcing(url: str, version: str, server: dict | None = None, **sections: dict) -> dict:
    config = simple_config(url, server=server or {}, **sections)
    config["routes"]["rule"][0]["upstreams"][0]["proxy_protocol"] = version  # type: ignore[index]
    return config


def ends(client: RawClient) -> tuple[tuple[str, int], tuple[str, int]]:
    """(who, where) of a client's connection."""
    return client.socket.getsockname()[:2], client.socket.getpeername()[:2]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:0", "*:0"])
def test_the_client_and_where_it_connected(
    start_dao: Callable, origin: Origin, announcements: Announcements, version: str, bind: str
) -> None:
    dao = start_dao(announcing(origin.url, version, {"bind": bind}))
    address = dao.address if bind != "*:0" else ("127.0.0.1", dao.address[1])
    with RawClient(address) as client:
        expect_ok(client.exchange(get("/a")))
        seen = announcements.of(origin.wait_requests(1)[0])
        assert seen.version == int(version[1])
        assert (seen.source, seen.destination) == ends(client)
        assert not seen.fields


@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_is_kept_for_its_client_and_goes_with_it(
    start_dao: Callable, origin: Origin, announcements: Announcements, version: str
) -> None:
    dao = start_dao(announcing(origin.url, version))
    first, second = dao.client(), dao.client()
    for client in (first, second, first, second, first):
        expect_ok(client.exchange(post("/kept", b"body")))
    assert [request.connection for request in origin.wait_requests(5)] == [1, 2, 1, 2, 1]
    for client, number in ((first, 1), (second, 2)):
        assert announcements.by_connection[number].source == ends(client)[0]
    first.close()
    origin.wait(lambda: not origin.is_open(1), "the connection to go with its client")
    expect_ok(second.exchange(get("/still")))
    assert origin.is_open(2)


@pytest.mark.parametrize(("version", "workers"), itertools.product(VERSIONS, [1, 2]))
def test_no_request_arrives_under_another_name(
    start_dao: Callable, origin: Origin, announcements: Announcements, version: str, workers: int
) -> None:
    """Many clients that come and go, few idle connections to choose from, answers that end in every way."""
    origin.answer("/reset", RESET)
    origin.answer("/close", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    dao = start_dao(announcing(origin.url, version, {"workers": workers}, proxy={"pool_max_idle": 3}))
    failed: list[str] = []

    def ask(number: int) -> None:
        try:
            for round_ in range(6):
                with RawClient(dao.address) as client:
                    port = client.socket.getsockname()[1]
                    for turn, path in enumerate(("/ok", "/close", "/ok", "/reset", "/ok")[: 2 + (number + round_) % 4]):
                        answer = client.exchange(get(f"{path}?client={port}&{number}.{round_}.{turn}"))
                        assert answer.status == (502 if path == "/reset" else 200), answer.raw_head
        except Exception as problem:  # noqa: BLE001
            failed.append(repr(problem))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed
    assert len(origin.requests) > 100
    for request in origin.requests:
        announced = announcements.of(request).source
        assert announced and f"client={announced[1]}&".encode() in request.raw_head, (announced, request.raw_head)


def test_retries_announce_the_client_too(
    start_dao: Callable, make_origin: Callable, origin: Origin, announcements: Announcements
) -> None:
    failing = make_origin()
    others = Announcements()
    failing.at_accept = (others.take, RESET)
    config = simple_config(failing.url, origin.url)
    for upstream in config["routes"]["rule"][0]["upstreams"]:  # type: ignore[index]
        upstream["proxy_protocol"] = "v2"
    dao = start_dao(config)
    with dao.client() as client:
        for number in range(4):
            expect_ok(client.exchange(get(f"/{number}")))
        assert {announced.source for announced in announcements.by_connection.values()} == {ends(client)[0]}
        assert {announced.source for announced in others.by_connection.values()} == {ends(client)[0]}


# Clients -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_clients_on_a_unix_socket_are_unknown(
    start_dao: Callable, origin: Origin, announcements: Announcements, version: str, tmp_path: Path
) -> None:
    dao = start_dao(announcing(origin.url, version, {"bind": f"unix:{tmp_path}/dao.sock"}))
    for _ in range(3):
        with RawClient(dao.address) as client:
            expect_ok(client.exchange(get("/unix")))
    assert {request.connection for request in origin.wait_requests(3)} == {1}, "nobody is announced, so all may use it"
    assert announcements.by_connection[1].source is None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("header", "source", "destination"),
    [
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\r\n", ("192.0.2.7", 4242), ("198.51.100.1", 443)),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4242 443\r\n", ("2001:db8::7", 4242), ("2001:db8::1", 443)),
        (b"PROXY UNKNOWN\r\n", None, None),
    ],
    ids=["ipv4", "ipv6", "unknown"],
)
def test_what_a_header_told_is_told_on(
    start_dao: Callable,
    origin: Origin,
    announcements: Announcements,
    version: str,
    header: bytes,
    source: tuple[str, int] | None,
    destination: tuple[str, int] | None,
) -> None:
    config = announcing(origin.url, version, {"bind": None})
    config["server"]["listener"] = [{"name": "in", "bind": "127.0.0.1:0", "proxy_protocol": "required"}]
    dao = start_dao(config)
    with dao.client() as client:
        client.send(header + get("/chain", "X-Forwarded-For: 203.0.113.9"))
        expect_ok(client.response())
        seen = announcements.of(origin.wait_requests(1)[0])
        assert (seen.source, seen.destination) == ((source, destination) if source else ends(client))


def test_streams_of_http_2_are_one_client(start_dao: Callable, origin: Origin, announcements: Announcements) -> None:
    dao = start_dao(announcing(origin.url, "v2"))
    with H2Client(dao.address) as client:
        for number in range(1, 21, 2):
            client.send(h2_get(number, path=b"/stream"))
        for number in range(1, 21, 2):
            assert client.response(number).status == 200
        port = client.raw.socket.getsockname()[1]
        assert {announced.source for announced in announcements.by_connection.values()} == {("127.0.0.1", port)}
    origin.wait(lambda: origin.open_connections == 0, "the connections to go with their client")


def test_tls_of_the_client_is_told(
    start_dao: Callable, origin: Origin, announcements: Announcements, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    clients = Authority(tmp_path, "clients")
    config = announcing(origin.url, "v2", {"bind": None})
    tls = {"client_auth": "optional", "client_ca": str(clients.cert)}
    config["server"]["listener"] = [
        {
            "name": "secure",
            "bind": "127.0.0.1:0",
            "tls": {**tls, "certificates": [authority.issue("DNS:a.test", "IP:127.0.0.1").files]},
        }
    ]
    dao = start_dao(config)
    known = context(authority, identity=clients.issue(subject="/O=Test/CN=Alice \u00e4"), alpn=["http/1.1"])
    with TlsClient(dao.address, known) as client:
        expect_ok(client.exchange(get("/known")))
        expect_ok(client.exchange(get("/known")))
        session = client.socket.session
        seen = announcements.of(origin.wait_requests(2, "/known")[1])
        assert origin.seen("/known")[0].connection == origin.seen("/known")[1].connection
        assert (seen.source, seen.destination) == ends(client)
        assert seen.fields[0x01] == b"http/1.1" and seen.fields[0x02] == b"a.test"
        assert seen.tls
        bits, verify, about = seen.tls
        assert (bits, verify) == (0x07, 0)
        assert about[0x21] == b"TLSv1.3" and about[0x23].startswith(b"TLS_")
        assert "Alice" in about[0x22].decode()
    with TlsClient(dao.address, known, session=session) as client:
        assert client.socket.session_reused
        expect_ok(client.exchange(get("/resumed")))
        seen = announcements.of(origin.wait_requests(1, "/resumed")[0])
        assert seen.tls and seen.tls[0] == 0x05 and "Alice" in seen.tls[2][0x22].decode()
    with TlsClient(dao.address, context(authority)) as client:
        expect_ok(client.exchange(get("/stranger")))
        seen = announcements.of(origin.wait_requests(1, "/stranger")[0])
        assert seen.tls
        assert seen.tls[0] == 0x01 and seen.tls[1] != 0 and 0x22 not in seen.tls[2]
        assert 0x01 not in seen.fields


# Upstreams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_before_the_handshake_with_a_tls_upstream(
    start_dao: Callable, make_origin: Callable, tmp_path: Path, version: str
) -> None:
    authority = Authority(tmp_path)
    identity = authority.issue("IP:127.0.0.1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(identity.cert, identity.key)
    secure = make_origin(tls=tls)
    announcements = Announcements()
    secure.at_accept = (announcements.take,)
    config = announcing(secure.url, version)
    config["routes"]["rule"][0]["upstreams"][0]["tls_ca"] = str(authority.cert)  # type: ignore[index]
    dao = start_dao(config)
    for number in range(2):
        with RawClient(dao.address) as client:
            expect_ok(client.exchange(get(f"/{number}/")))
            expect_ok(client.exchange(post(f"/{number}/", b"x" * 100_000)))
            (one, other) = secure.wait_requests(2, f"/{number}/")
            assert one.connection == other.connection
            assert announcements.of(one).source == ends(client)[0]
    assert secure.tls_resumed == [False, True], "sessions are of the upstream, not of its clients"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_unix_upstream(start_dao: Callable, make_origin: Callable, tmp_path: Path, version: str) -> None:
    unix = make_origin(path=f"{tmp_path}/origin.sock")
    announcements = Announcements()
    unix.at_accept = (announcements.take,)
    dao = start_dao(announcing(unix.url, version))
    with dao.client() as client:
        expect_ok(client.exchange(get("/a")))
        assert announcements.of(unix.wait_requests(1)[0]).source == ends(client)[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_http_2_upstream(start_dao: Callable, version: str) -> None:
    """Each client has a connection of its own, however many streams one could take."""
    with H2Origin() as backend, Relay(backend.listener.getsockname()) as relay:
        url = f"h2c://127.0.0.1:{relay.address[1]}"
        dao = start_dao(announcing(url, version, proxy={"http2_max_connections": 1}))
        clients = [RawClient(dao.address) for _ in range(5)]
        for turn in range(3):
            for client in clients:
                port = client.socket.getsockname()[1]
                expect_ok(client.exchange(get(f"/{port}/{turn}")))
        assert len(relay.announced) == len(clients)
        for request in backend.requests:
            source = relay.announced[request.connection].source
            assert source and (request.field(":path") or "").startswith(f"/{source[1]}/")
        for client in clients:
            client.close()
        deadline.wait_until(
            lambda: dao.metrics().total("dao_upstream_connections") == 0, "the connections to go with their clients"
        )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_websocket(start_dao: Callable, origin: Origin, announcements: Announcements, version: str) -> None:
    dao = start_dao(announcing(origin.url, version))
    backend = Backend()
    origin.answer("/ws", backend)
    connection = dao.client()
    client = RawWebSocket(connection, "/ws")
    backend.ready()
    client.send(frame(TEXT, b"hello", masked=True))
    assert backend.read().payload == b"hello"
    assert backend.request
    assert announcements.of(backend.request).source == ends(connection)[0]
    client.send(close(1000, masked=True))
    backend.read()
    backend.send(close(1000))
    client.expect_close(1000)
    backend.finish()


def test_a_backend_that_takes_the_header_late(start_dao: Callable, origin: Origin) -> None:
    """The header waits with the request for a backend that is slow to connect to; it is no part of its timeouts."""
    announcements = Announcements()
    gate = threading.Event()

    def hold(connection: object, request: object) -> None:
        assert gate.wait(deadline.DEFAULT)
        announcements.take(connection, request)  # type: ignore[arg-type]

    origin.at_accept = (hold,)
    dao = start_dao(announcing(origin.url, "v1"))
    with dao.client() as client:
        client.send(post("/late", b"x" * 200_000))
        deadline.wait_until(lambda: origin.accepted == 1, "the connection")
        gate.set()
        expect_ok(client.response("POST"))
        assert len(origin.wait_requests(1)[0].body) == 200_000


def test_another_upstream_of_the_rule_gets_no_header(
    start_dao: Callable, make_origin: Callable, origin: Origin, announcements: Announcements
) -> None:
    plain = make_origin()
    config = announcing(origin.url, "v1")
    config["routes"]["rule"][0]["upstreams"].append({"name": "plain", "url": plain.url})  # type: ignore[index]
    dao = start_dao(config)
    with dao.client() as client:
        for _ in range(6):
            expect_ok(client.exchange(get("/x")))
    assert len(origin.requests) == len(plain.requests) == 3


def test_a_second_dao_understands_it(start_dao: Callable, origin: Origin) -> None:
    """What one writes the other reads: the last backend hears of the first client."""
    inner_config = simple_config(origin.url, server={"bind": None})
    inner_config["server"]["listener"] = [{"name": "in", "bind": "127.0.0.1:0", "proxy_protocol": "required"}]  # type: ignore[index]
    inner: Dao = start_dao(inner_config)
    host, port = inner.address
    for version in VERSIONS:
        outer: Dao = start_dao(announcing(f"http://{host}:{port}", version))
        with RawClient(outer.address) as client:
            client_port = client.socket.getsockname()[1]
            expect_ok(client.exchange(get(f"/{version}")))
        inner.wait_access(lambda entry, p=client_port: entry["client"] == "127.0.0.1" and entry["client_port"] == p)
        outer.stop()
