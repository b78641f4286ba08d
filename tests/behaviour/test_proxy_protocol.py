"""PROXY protocol headers from a load balancer in front of DAO: whose address counts, and what is no header."""

from __future__ import annotations

import socket
import struct

import pytest

from lib import deadline
from lib.client import RawClient
from lib.dao import simple_config
from lib.faults import Counters, expect_ok, get
from lib.origin import Origin

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\r\n"


def v2(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


V2 = v2(0x21, 0x11, bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack("!HH", 4242, 443))
V2_IPV6 = v2(
    0x21,
    0x21,
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + struct.pack("!HH", 4242, 443)
    + b"\x04\x00\x03abc",
)


def config(url: str, **server: object) -> dict[str, object]:
    made = simple_config(url, server=server)
    del made["server"]["bind"]  # type: ignore[attr-defined]
    made["server"]["listener"] = [  # type: ignore[index]
        {"name": "balanced", "bind": "127.0.0.1:0", "proxy_protocol": "required"},
        {"name": "plain", "bind": "127.0.0.1:0"},
    ]
    return made


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (V1, "192.0.2.7"),
        (V2, "192.0.2.7"),
        (V2_IPV6, "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (v2(0x20, 0, b""), "127.0.0.1"),
        (v2(0x21, 0x31, b"/run/x".ljust(216, b"\0")), "unix"),
    ],
    ids=["v1", "v2", "v2-ipv6", "unknown", "local", "unix"],
)
def test_the_header_says_who_asks(start_dao, origin: Origin, header: bytes, client: str) -> None:
    dao = start_dao(config(origin.url))
    with dao.client() as connection:
        # Two requests: the header stands for the connection, and not a byte behind it is lost.
        connection.send(header + get("/a"))
        expect_ok(connection.response())
        expect_ok(connection.exchange(get("/b")))
    assert [entry["client"] for entry in dao.wait_access(2)] == [client, client]
    for path in ("/a ", "/b "):
        told = origin.seen(path)[0].values("x-forwarded-for")
        assert told == ([client] if client != "unix" else told)
    dao.stop()


def test_byte_by_byte(start_dao, origin: Origin) -> None:
    dao = start_dao(config(origin.url))
    for header in (V1, V2_IPV6):
        with dao.client() as connection:
            for byte in header + get("/slow"):
                connection.send(bytes([byte]))
            expect_ok(connection.response())
    assert [entry["client"] for entry in dao.wait_access(2)] == ["192.0.2.7", "2001:db8::7"]
    dao.stop()


@pytest.mark.parametrize(
    "garbage",
    [
        get("/without"),
        b"\x16\x03\x01\x02\x00",
        b"PROXY TCP4 192.0.2.7\r\n" + get("/short"),
        b"PROXY UNKNOWN " + b"x" * 200,
        v2(0x21, 0x11, b"short") + get("/short"),
        SIGNATURE + b"\x21\x11\xff\xff",
        b"\r\n" + get("/empty-line"),
    ],
    ids=["http", "tls", "v1-short", "v1-long", "v2-short", "v2-long", "empty-line"],
)
def test_anything_else_is_closed(start_dao, origin: Origin, garbage: bytes) -> None:
    dao = start_dao(config(origin.url))
    counters = Counters(dao)
    with dao.client() as connection:
        connection.send(garbage)
        connection.expect_ended()
        assert connection.reader.buffered == b""
    counters.grew("dao_client_errors_total", 1, reason="proxy_header")
    dao.wait_log(lambda line: line.message == "connection refused: no PROXY header")
    assert not origin.requests
    with RawClient(dao.addresses[1]) as plain:
        expect_ok(plain.exchange(get("/plain")))
    dao.stop()


def test_silence_ends_at_the_header_timeout(start_dao, origin: Origin) -> None:
    dao = start_dao(config(origin.url, header_timeout_ms=int(300 * deadline.SCALE)))
    counters = Counters(dao)
    for begun in (b"", b"PROXY TCP4 192"):
        with dao.client() as connection:
            connection.send(begun)
            connection.expect_ended()
            assert connection.reader.buffered == b""
    counters.grew("dao_client_errors_total", 2, reason="timeout_head")
    # A check of the port is no error.
    before = dao.metrics().total("dao_client_errors_total")
    dao.client().close()
    with dao.client() as connection:
        connection.send(V1 + get("/after"))
        expect_ok(connection.response())
    assert dao.metrics().total("dao_client_errors_total") == before
    dao.stop()


def test_trusted_proxies_are_those_that_the_header_names(start_dao, origin: Origin) -> None:
    dao = start_dao(config(origin.url, trusted_proxies=["192.0.2.0/24"]))
    for header, believed in ((V1, True), (b"PROXY TCP4 198.51.100.9 198.51.100.1 1 2\r\n", False)):
        with dao.client() as connection:
            connection.send(header + get("/trust", "X-Forwarded-For: 203.0.113.5"))
            expect_ok(connection.response())
        seen = origin.seen("/trust ")[-1].values("x-forwarded-for")
        assert ("203.0.113.5" in seen[0]) == believed
    dao.stop()
