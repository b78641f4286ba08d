"""TLS towards backends: what is verified, what is shown, sessions, and failures."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lib import deadline
from lib.client import RawClient
from lib.dao import Dao, simple_config
from lib.origin import CLOSE, Origin
from lib.tls import Authority, Identity

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def server_context(identity: Identity, clients: Authority | None = None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(identity.cert, identity.key)
    if clients is not None:
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(clients.cert)
    return made


def https_config(origin: Origin, url: str | None = None, proxy: dict | None = None, **keys: object) -> dict:
    config = simple_config(url or origin.url, proxy=proxy or {})
    for name, value in keys.items():
        config["routes"]["rule"][0]["upstreams"][0][f"tls_{name}"] = str(value) if isinstance(value, Path) else value
    return config


def proxy_status(dao: Dao) -> tuple[int, str]:
    with RawClient(dao.address) as client:
        answer = client.exchange(GET)
        return answer.status, " ".join(answer.values("proxy-status"))


def test_requests_pass(start_dao: Callable, make_origin: Callable, authority: Authority) -> None:
    origin = make_origin(tls=server_context(authority.issue("IP:127.0.0.1")))
    body = bytes(range(256)) * 4000
    origin.answer("POST", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)
    dao = start_dao(https_config(origin, ca=authority.cert))
    with RawClient(dao.address) as client:
        for _ in range(3):
            assert client.exchange(GET).status == 200
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(body), body)
        assert client.response("POST").body == body
    requests = origin.wait_requests(4)
    assert requests[3].body == body
    assert {request.connection for request in requests} == {1}, "one connection, kept"


def test_the_name_asked_for_and_verified(start_dao: Callable, make_origin: Callable, authority: Authority) -> None:
    asked: list[str | None] = []
    tls = server_context(authority.issue("DNS:api.test"))
    tls.sni_callback = lambda sock, name, context: asked.append(name)
    origin = make_origin(tls=tls)
    dao = start_dao(https_config(origin, ca=authority.cert, server_name="API.test"))
    assert proxy_status(dao)[0] == 200
    dao = start_dao(https_config(origin, url=f"https://localhost:{origin.port}", ca=authority.cert))
    assert proxy_status(dao)[0] == 502
    assert asked == ["api.test", "localhost"]


@pytest.mark.parametrize(
    ("names", "days", "known", "detail"),
    [
        (["IP:127.0.0.1"], -1, True, "certificate has expired"),
        (["DNS:other.test"], 1, True, "IP address mismatch"),
        (["IP:127.0.0.1"], 1, False, "unable to get local issuer certificate"),
    ],
    ids=["expired", "wrong-name", "unknown-authority"],
)
def test_a_certificate_that_is_not_accepted(
    start_dao: Callable, make_origin: Callable, authority: Authority, names: list, days: int, known: bool, detail: str
) -> None:
    issuer = authority if known else Authority(authority.directory, "other")
    origin = make_origin(tls=server_context(issuer.issue(*names, days=days)))
    dao = start_dao(https_config(origin, ca=authority.cert))
    status, reason = proxy_status(dao)
    assert (status, reason) == (502, "dao; error=tls_certificate_error")
    assert dao.wait_access(1)[0]["error_detail"] == detail
    assert dao.metrics().value("dao_upstream_errors_total", upstream="u0", reason="tls_certificate") == 1
    assert not origin.requests
    # Who asks for no verification gets none.
    unverified = start_dao(https_config(origin, verify=False))
    assert proxy_status(unverified)[0] == 200


def test_the_systems_authorities_do_not_know_ours(
    start_dao: Callable, make_origin: Callable, authority: Authority
) -> None:
    origin = make_origin(tls=server_context(authority.issue("IP:127.0.0.1")))
    dao = start_dao(https_config(origin))
    assert proxy_status(dao) == (502, "dao; error=tls_certificate_error")
    trusting = start_dao(https_config(origin), env={"SSL_CERT_FILE": str(authority.cert)})
    assert proxy_status(trusting)[0] == 200


def test_a_client_certificate_is_shown(start_dao: Callable, make_origin: Callable, authority: Authority) -> None:
    origin = make_origin(tls=server_context(authority.issue("IP:127.0.0.1"), clients=authority))
    ours = authority.issue(subject="/CN=dao")
    dao = start_dao(https_config(origin, ca=authority.cert, cert=ours.cert, key=ours.key))
    assert proxy_status(dao)[0] == 200
    without = start_dao(https_config(origin, ca=authority.cert))
    status, reason = proxy_status(without)
    assert (status, reason) == (502, "dao; error=tls_alert_received")


def test_sessions_are_resumed(start_dao: Callable, make_origin: Callable, authority: Authority) -> None:
    tls = server_context(authority.issue("IP:127.0.0.1"))
    origin = make_origin(tls=tls)
    origin.default = (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", CLOSE)
    dao = start_dao(https_config(origin, ca=authority.cert))
    for _ in range(3):
        assert proxy_status(dao)[0] == 200
    assert origin.accepted == 3
    assert origin.tls_resumed == [False, True, True]


def test_a_backend_without_tls(start_dao: Callable, make_origin: Callable, authority: Authority) -> None:
    origin = make_origin()
    origin.at_accept = (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", CLOSE)
    dao = start_dao(https_config(origin, url=f"https://127.0.0.1:{origin.port}", ca=authority.cert))
    assert proxy_status(dao) == (502, "dao; error=tls_protocol_error")


def test_a_backend_that_never_shakes_hands(start_dao: Callable, authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        dao = start_dao(https_config(None, url=url, proxy={"connect_timeout_ms": 200}, ca=authority.cert))
        assert proxy_status(dao) == (504, "dao; error=connection_timeout")


def test_a_failed_handshake_is_tried_elsewhere(
    start_dao: Callable, make_origin: Callable, authority: Authority
) -> None:
    bad = make_origin(tls=server_context(authority.issue("DNS:other.test")))
    good = make_origin(tls=server_context(authority.issue("IP:127.0.0.1")))
    config = simple_config(bad.url, good.url)
    for upstream in config["routes"]["rule"][0]["upstreams"]:
        upstream["tls_ca"] = str(authority.cert)
    dao = start_dao(config)
    with RawClient(dao.address) as client:
        for _ in range(4):
            answer = client.exchange(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
            assert answer.status == 200
    assert not bad.requests


def test_an_answer_that_is_cut_never_looks_complete(
    start_dao: Callable, make_origin: Callable, authority: Authority
) -> None:
    """The end of the stream is the end of this body only after a goodbye (RFC 9112 section 9.8)."""
    origin = make_origin(tls=server_context(authority.issue("IP:127.0.0.1")))

    def cut(connection: object, request: object) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")  # type: ignore[attr-defined]
        socket.socket.shutdown(connection.socket, socket.SHUT_WR)  # type: ignore[attr-defined]

    origin.answer("/cut", cut, CLOSE)
    dao = start_dao(https_config(origin, ca=authority.cert))
    with RawClient(dao.address) as client:
        client.send(b"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n")
        client.wait_bytes(10)
        client.expect_ended()
        assert b"half of it" in client.reader.buffered
        assert not client.reader.buffered.endswith(b"0\r\n\r\n")


def test_files_that_cannot_be_used_are_named(start_dao: Callable, authority: Authority) -> None:
    dao = start_dao(https_config(None, url="https://127.0.0.1:1", ca="/nonexistent/ca.pem"), wait_ready=False)
    assert dao.wait_exit() == 1
    assert "/nonexistent/ca.pem" in dao.logs("cannot start")[0].fields["reason"]


def test_backends_of_both_kinds_of_connection_under_load(
    start_dao: Callable, make_origin: Callable, authority: Authority
) -> None:
    origin = make_origin(tls=server_context(authority.issue("IP:127.0.0.1")))
    dao = start_dao(https_config(origin, ca=authority.cert))
    failed: list[object] = []

    def load() -> None:
        with RawClient(dao.address, timeout=deadline.DEFAULT * 2) as client:
            for _ in range(50):
                status = client.exchange(GET).status
                if status != 200:
                    failed.append(status)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert origin.accepted <= 8
