"""Where DAO listens and where it connects to: TCP, IPv6, unix sockets, several at once, several workers."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lib import deadline
from lib.client import RawClient
from lib.dao import simple_config
from lib.faults import Counters, expect_normal, expect_ok, get, post
from lib.origin import Origin


def test_several_listeners(start_dao, origin: Origin, tmp_path: Path) -> None:
    unix = f"{tmp_path}/dao.sock"
    bind = ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0", f"unix:{unix}"]
    dao = start_dao(simple_config(origin.url, server={"bind": bind}))
    v4, other_v4, v6, path = dao.addresses
    assert (v4[0], other_v4[0], v6[0], path) == ("127.0.0.1", "127.0.0.2", "::1", unix)
    for index, address in enumerate(dao.addresses):
        with RawClient(address) as client:
            expect_ok(client.exchange(get(f"/{index}")))
            expect_ok(client.exchange(post(f"/{index}-post", b"body")))
    entries = dao.wait_access(8)
    assert [entry.get("client") for entry in entries[::2]][:3] == ["127.0.0.1"] * 2 + ["::1"]
    assert origin.seen("/2 ")[0].values("x-forwarded-for") == ["::1"]
    assert 'for="[::1]' in origin.seen("/2 ")[0].values("forwarded")[0].lower()
    expect_normal(dao)
    dao.stop()
    assert not Path(unix).exists()


def test_every_address(start_dao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url, server={"bind": "*:0"}))
    port = dao.address[1]
    for host in ("127.0.0.1", "::1"):
        with RawClient((host, port)) as client:
            expect_ok(client.exchange(get("/any")))
    assert [entry["client"] for entry in dao.wait_access(2)] == ["127.0.0.1", "::1"]
    dao.stop()


@pytest.mark.parametrize("kind", ["unix", "ipv6", "name"])
def test_upstream_addresses(start_dao, make_origin, tmp_path: Path, kind: str) -> None:
    origin: Origin = {
        "unix": lambda: make_origin(path=f"{tmp_path}/origin.sock"),
        "ipv6": lambda: make_origin(host="::1"),
        "name": make_origin,
    }[kind]()
    url = f"http://localhost:{origin.port}" if kind == "name" else origin.url
    dao = start_dao(simple_config(url))
    counters = Counters(dao)
    with dao.client() as client:
        for n in range(3):
            expect_ok(client.exchange(get(f"/{n}")))
            expect_ok(client.exchange(post(f"/{n}", b"body")))
    counters.grew("dao_upstream_errors_total", 0)
    entries = dao.wait_access(6)
    wanted = {"unix": f"unix:{origin.path}", "ipv6": f"[::1]:{origin.port}", "name": f"127.0.0.1:{origin.port}"}[kind]
    assert {entry["upstream_address"] for entry in entries} == {wanted}
    expect_normal(dao)
    dao.stop()


def test_telemetry_on_a_unix_socket(start_dao, origin: Origin, tmp_path: Path) -> None:
    path = f"{tmp_path}/telemetry.sock"
    config = simple_config(origin.url)
    config["telemetry"] = {"prometheus_bind": f"unix:{path}"}
    dao = start_dao(config, wait_ready=False)
    dao.wait_log(lambda line: line.message == "ready")
    with RawClient(path) as client:
        expect_ok(client.exchange(get("/ready")), b"ready\n")
        assert b"dao_requests_total" in client.exchange(get("/metrics")).body
    dao.stop()
    assert not Path(path).exists()


def test_workers_share_a_port(start_dao, origin: Origin) -> None:
    """Every worker gets its share of the connections, and the figures are the sum of all."""
    workers, connections = 4, 80
    dao = start_dao(simple_config(origin.url, server={"workers": workers}))
    assert dao.metrics().value("dao_workers") == workers
    clients = [dao.client() for _ in range(connections)]
    for client in clients:
        expect_ok(client.exchange(get("/shared")))
    metrics = dao.metrics()
    assert metrics.total("dao_connections") == connections
    assert metrics.total("dao_connections_accepted_total") == connections
    # Each worker has its own pool, so how many connections reach the origin tells how many workers served.
    assert 2 <= origin.accepted <= workers, "one connection for each worker that served"
    deadline.wait_until(lambda: dao.metrics().total("dao_requests_total") == connections, "all to be counted")
    expect_normal(dao)
    dao.stop()


def test_workers_share_a_unix_socket(start_dao, origin: Origin, tmp_path: Path) -> None:
    bind = f"unix:{tmp_path}/dao.sock"
    dao = start_dao(simple_config(origin.url, server={"bind": bind, "workers": 3}))
    clients = [dao.client() for _ in range(30)]
    for client in clients:
        expect_ok(client.exchange(get("/shared")))
    assert dao.metrics().total("dao_connections") == 30
    expect_normal(dao)
    dao.stop()


def test_default_number_of_workers(start_dao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url, server={"workers": 0}))
    assert dao.metrics().value("dao_workers") >= 1
    expect_normal(dao)
    dao.stop()


def test_listener_is_reusable_at_once(start_dao, origin: Origin) -> None:
    """A restart finds its port free, although connections of the last run linger in TIME_WAIT."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        bind = f"127.0.0.1:{reserved.getsockname()[1]}"
    for _ in range(3):
        dao = start_dao(simple_config(origin.url, server={"bind": bind}))
        with RawClient(dao.address) as client:
            expect_ok(client.exchange(get("/normal", "Connection: close")))
            client.expect_closed()
        dao.stop()
