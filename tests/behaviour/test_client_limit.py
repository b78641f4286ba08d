"""How many connections one client address may hold: max_connections_per_client. All of 127.0.0.0/8 is loopback, so a
test has as many client addresses as it wants."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lib import deadline
from lib.client import RawClient
from lib.dao import Dao, simple_config
from lib.faults import Counters, expect_error, expect_ok, get
from lib.origin import Origin
from lib.tls import Authority, TlsClient, context

LIMIT = 3
REASON = "client_connection_limit"


def hold(dao: Dao, source: str, count: int = LIMIT, number: int = 0, first: bytes = b"") -> list[RawClient]:
    """Connections of that client to the listener of that number, each with one request done."""
    held = [RawClient(dao.addresses[number], source=source) for _ in range(count)]
    for client in held:
        client.send(first + get("/held"))
        expect_ok(client.response())
    return held


def close_all(clients: list[RawClient]) -> None:
    for client in clients:
        client.close()


def expect_refused(client: RawClient) -> None:
    with client:
        response = client.response()
        expect_error(response, 503, "connection_limit_reached")
        assert response.values("retry-after") == ["1"]
        client.expect_closed()


def expect_place(dao: Dao, source: str, number: int = 0) -> None:
    """Waits until the client may come in again: DAO learns of a close a moment later."""

    def comes_in() -> bool:
        with RawClient(dao.addresses[number], source=source) as client:
            return client.exchange(get("/again")).status == 200

    deadline.wait_until(comes_in, "a place for the client")


@pytest.mark.parametrize("workers", [1, 2])
def test_one_client_has_so_many_and_others_have_theirs(start_dao: Callable, origin: Origin, workers: int) -> None:
    dao = start_dao(simple_config(origin.url, server={"max_connections_per_client": LIMIT, "workers": workers}))
    counters = Counters(dao)
    held = hold(dao, "127.0.0.1")
    for _ in range(10):
        expect_refused(RawClient(dao.address, source="127.0.0.1"))
    counters.grew_only("dao_rejected_requests_total", 10, reason=REASON)
    line = dao.logs("connection refused: max_connections_per_client reached")[0]
    assert line.fields["client"] == "127.0.0.1" and line.fields["max_connections_per_client"] == str(LIMIT)
    others = hold(dao, "127.0.0.2")
    expect_refused(RawClient(dao.address, source="127.0.0.2"))
    for client in held + others:
        expect_ok(client.exchange(get("/kept")))
    close_all(held)
    expect_place(dao, "127.0.0.1")
    expect_refused(RawClient(dao.address, source="127.0.0.2"))
    close_all(others)


def test_refusals_are_logged_once_a_second(start_dao: Callable, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url, server={"max_connections_per_client": 1}))
    held = hold(dao, "127.0.0.1", 1)
    begin = time.monotonic()
    for _ in range(200):
        RawClient(dao.address, source="127.0.0.1").close()
    deadline.wait_until(
        lambda: dao.metrics().value("dao_rejected_requests_total", reason=REASON) >= 200, "the refusals to be counted"
    )
    lines = dao.logs("connection refused: max_connections_per_client reached")
    lines = [line for line in lines if "suppressed" not in line.fields]  # those tell how many were held back
    assert 1 <= len(lines) <= time.monotonic() - begin + 2, [line.text for line in lines]
    close_all(held)


def test_a_flood_of_one_client_leaves_room_for_others(start_dao: Callable, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url, server={"max_connections_per_client": 5, "max_connections": 150}))
    stop = threading.Event()
    opened = [0, 0]

    def flood(number: int) -> None:
        mine: list[RawClient] = []
        while not stop.is_set():
            mine.append(RawClient(dao.address, source="127.0.0.1"))
            opened[number] += 1
            if len(mine) == 40:
                mine.pop(0).close()
        close_all(mine)

    threads = [threading.Thread(target=flood, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        served = 0
        while served < 200 or sum(opened) < 500:
            with RawClient(dao.address, source="127.0.0.2") as client:
                expect_ok(client.exchange(get("/other")))
            served += 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    deadline.wait_until(
        lambda: dao.metrics().value("dao_rejected_requests_total", reason=REASON) > 50, "much of the flood to be refused"
    )
    assert dao.metrics().value("dao_rejected_requests_total", reason="connection_limit") == 0


def test_the_limit_of_a_listener(start_dao: Callable, origin: Origin) -> None:
    config = simple_config(origin.url, server={"max_connections_per_client": LIMIT})
    config["server"]["listener"] = [  # type: ignore[index]
        {"name": "narrow", "bind": "127.0.0.1:0", "max_connections_per_client": 1}
    ]
    dao = start_dao(config)
    narrow = hold(dao, "127.0.0.1", 1, number=1)
    expect_refused(RawClient(dao.addresses[1], source="127.0.0.1"))
    # What the narrow one refused took nothing of the limit for all.
    wide = hold(dao, "127.0.0.1", LIMIT - 1, number=0)
    expect_refused(RawClient(dao.addresses[0], source="127.0.0.1"))
    close_all(narrow)
    expect_place(dao, "127.0.0.1", number=1)
    close_all(wide)


def test_an_ipv6_network_is_one_client(start_dao: Callable, origin: Origin) -> None:
    config = simple_config(origin.url, server={"bind": None, "max_connections_per_client": 1})
    config["server"]["listener"] = [{"name": "in", "bind": "127.0.0.1:0", "proxy_protocol": "required"}]  # type: ignore[index]
    dao = start_dao(config)
    header = "PROXY TCP6 2001:db8:0:{:x}::{:x} 2001:db8::1 1 443\r\n".format
    held = hold(dao, "127.0.0.1", 1, first=header(1, 1).encode())
    refused = RawClient(dao.address)
    refused.send(header(1, 2).encode())
    expect_refused(refused)
    held += hold(dao, "127.0.0.1", 1, first=header(2, 1).encode())
    close_all(held)


def test_the_address_in_a_header_counts(start_dao: Callable, origin: Origin) -> None:
    config = simple_config(origin.url, server={"bind": None, "max_connections_per_client": LIMIT})
    config["server"]["listener"] = [{"name": "in", "bind": "127.0.0.1:0", "proxy_protocol": "required"}]  # type: ignore[index]
    dao = start_dao(config)
    header = b"PROXY TCP4 192.0.2.%d 198.51.100.1 4242 443\r\n"
    held = [client for number in range(4) for client in hold(dao, "127.0.0.1", first=header % number)]
    refused = RawClient(dao.address)
    refused.send(header % 2)
    expect_refused(refused)
    # Connections that have not said yet whose they are count for nobody.
    silent = [RawClient(dao.address) for _ in range(LIMIT + 2)]
    held += hold(dao, "127.0.0.1", first=header % 9)
    close_all(held + silent)


def test_trusted_proxies_and_unix_sockets_have_no_such_limit(
    start_dao: Callable, origin: Origin, tmp_path: Path
) -> None:
    server = {
        "bind": ["127.0.0.1:0", f"unix:{tmp_path}/dao.sock"],
        "max_connections_per_client": 1,
        "trusted_proxies": ["127.0.0.9"],
    }
    dao = start_dao(simple_config(origin.url, server=server))
    held = hold(dao, "127.0.0.9", 10)
    held += [RawClient(dao.addresses[1]) for _ in range(10)]
    for client in held:
        expect_ok(client.exchange(get("/many")))
    held += hold(dao, "127.0.0.8", 1)
    expect_refused(RawClient(dao.address, source="127.0.0.8"))
    close_all(held)


def test_where_tls_is_spoken_they_are_just_closed(start_dao: Callable, origin: Origin, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    config = simple_config(origin.url, server={"bind": None, "max_connections_per_client": 1})
    certificates = [authority.issue("DNS:a.test").files]
    config["server"]["listener"] = [  # type: ignore[index]
        {"name": "secure", "bind": "127.0.0.1:0", "tls": {"certificates": certificates}}
    ]
    dao = start_dao(config)
    with TlsClient(dao.address, context(authority)) as client:
        expect_ok(client.exchange(get("/one")))
        with RawClient(dao.address) as refused:
            refused.expect_ended()
            assert refused.reader.buffered == b""
        expect_ok(client.exchange(get("/two")))
    metrics = dao.metrics()
    assert metrics.value("dao_rejected_requests_total", reason=REASON) == 1
    assert metrics.total("dao_tls_handshake_failures_total") == 0


def test_the_limit_of_all_connections_is_told_apart_on_tls(
    start_dao: Callable, origin: Origin, tmp_path: Path
) -> None:
    """No answer in clear text goes to a client that speaks TLS."""
    authority = Authority(tmp_path)
    config = simple_config(origin.url, server={"bind": None, "max_connections": 1})
    certificates = [authority.issue("DNS:a.test").files]
    config["server"]["listener"] = [  # type: ignore[index]
        {"name": "secure", "bind": "127.0.0.1:0", "tls": {"certificates": certificates}}
    ]
    dao = start_dao(config)
    with TlsClient(dao.address, context(authority)) as client:
        expect_ok(client.exchange(get("/one")))
        with RawClient(dao.address) as refused:
            refused.expect_ended()
            assert refused.reader.buffered == b""
    assert dao.metrics().value("dao_rejected_requests_total", reason="connection_limit") == 1
