"""Backends that cannot be reached: refused, unroutable, silent, without a name."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from lib import deadline
from lib.client import RawClient
from lib.dao import Dao, simple_config
from lib.dns import DnsServer
from lib.faults import SHORT_MS, Counters, expect_entry, expect_error, expect_normal, expect_ok, get, post, rule
from lib.origin import CLOSE, OK, Origin, Wait
from lib.ports import refusing_port


def config_with(origin: Origin, faulty_url: str, **sections: object) -> dict[str, object]:
    """/normal goes to the origin, all the rest to the upstream that cannot be reached."""
    return {
        **simple_config("http://unused.test", proxy={"connect_timeout_ms": SHORT_MS}, **sections),
        "routes": {"rule": [rule("normal", "/normal", origin.url), rule("bad", "/", faulty_url)]},
    }


@contextlib.contextmanager
def full_listener() -> Iterator[int]:
    """A port whose accept queue is full: the kernel drops the SYNs that come now, and connecting takes forever."""
    with socket.socket() as listener, contextlib.ExitStack() as fillers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        while True:
            filler = fillers.enter_context(socket.socket())
            filler.settimeout(0.1)
            try:
                filler.connect(listener.getsockname())
            except TimeoutError:
                break
        yield listener.getsockname()[1]


def check_unreachable(dao: Dao, status: int, error: str, reason: str, **entry: object) -> None:
    """GET and POST fail alike, and DAO serves on."""
    counters = Counters(dao)
    with dao.client() as client:
        expect_error(client.exchange(get("/get")), status, error)
        expect_error(client.exchange(post("/post", b"body")), status, error)
        expect_ok(client.exchange(get("/normal")))
    for target in ("/get", "/post"):
        expect_entry(dao, target, status=status, error=error, upstream="bad0", attempts=1, head_ms=None, **entry)
    counters.grew_only("dao_upstream_errors_total", 2, upstream="bad0", reason=reason)
    counters.grew("dao_requests_total", 2, route="bad", code_class="5xx")
    counters.grew("dao_upstream_requests_total", 2, upstream="bad0", code_class="none")
    dao.wait_log("upstream failed")
    expect_normal(dao)


def test_refused(start_dao, origin: Origin) -> None:
    port = refusing_port()
    dao = start_dao(config_with(origin, f"http://127.0.0.1:{port}"))
    counters = Counters(dao)
    check_unreachable(dao, 502, "connection_refused", "refused", upstream_address=f"127.0.0.1:{port}")
    counters.grew("dao_upstream_connects_total", 2, upstream="bad0")
    counters.grew("dao_upstream_connect_failures_total", 2, upstream="bad0")
    dao.stop()


def test_connect_timeout(start_dao, origin: Origin) -> None:
    with full_listener() as port:
        dao = start_dao(config_with(origin, f"http://127.0.0.1:{port}"))
        counters = Counters(dao)
        check_unreachable(dao, 504, "connection_timeout", "timeout_connect")
        counters.grew("dao_upstream_connect_failures_total", 2, upstream="bad0")
        dao.stop()


def test_no_route(start_dao, origin: Origin) -> None:
    # No TCP connection can go to the broadcast address: the kernel says so at once, whatever its routes are.
    dao = start_dao(config_with(origin, "http://255.255.255.255:80"))
    check_unreachable(dao, 502, "destination_ip_unroutable", "unreachable")
    dao.stop()


@pytest.mark.parametrize("stale", [False, True], ids=["missing", "nobody-listens"])
def test_unix_socket_without_backend(start_dao, origin: Origin, tmp_path, stale: bool) -> None:
    path = str(tmp_path / "gone.sock")
    if stale:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
    dao = start_dao(config_with(origin, f"unix:{path}"))
    check_unreachable(dao, 502, "connection_refused", "refused")
    dao.stop()


def test_backend_that_comes_back(start_dao, origin: Origin, make_origin: Callable[..., Origin]) -> None:
    """No penalty outlives the fault: the first request after the backend is up succeeds."""
    port = refusing_port()
    dao = start_dao(config_with(origin, f"http://127.0.0.1:{port}"))
    with dao.client() as client:
        for _ in range(5):
            expect_error(client.exchange(get("/down")), 502, "connection_refused")
        make_origin(port=port)
        expect_ok(client.exchange(get("/up")))
    expect_normal(dao)
    dao.stop()


# Names ---------------------------------------------------------------------------------------------------------

DNS = {"timeout_ms": SHORT_MS, "min_ttl_ms": 50, "max_ttl_ms": 100}


@pytest.mark.parametrize(
    "answer, status, error, detail",
    [
        ("NXDOMAIN", 502, "dns_error", "NXDOMAIN"),
        ("SERVFAIL", 502, "dns_error", "SERVFAIL"),
        ("REFUSED", 502, "dns_error", "REFUSED"),
        ([], 502, "dns_error", "NODATA"),
        ("SILENT", 504, "dns_timeout", "TIMEOUT"),
        ("GARBAGE", 504, "dns_timeout", "TIMEOUT"),
    ],
    ids=["nxdomain", "servfail", "refused", "nodata", "silent", "garbage"],
)
def test_name_that_cannot_be_resolved(
    start_dao, origin: Origin, answer: list[str] | str, status: int, error: str, detail: str
) -> None:
    with DnsServer({"backend.test": answer}) as dns:
        dao = start_dao(config_with(origin, "http://backend.test:80", dns={**DNS, "servers": [dns.address]}))
        # DAO starts all the same: one missing name must not keep the others from being served.
        line = dao.wait_log(lambda line: line.message == "cannot resolve upstream")
        assert (line.level, line.fields["upstream"], line.fields["host"]) == ("warning", "bad0", "backend.test")
        assert detail in line.fields["error"]
        counters = Counters(dao)
        with dao.client() as client:
            expect_error(client.exchange(get("/get")), status, error)
            expect_ok(client.exchange(get("/normal")))
        expect_entry(dao, "/get", status=status, error=error, upstream="bad0", attempts=1, upstream_address=None)
        counters.grew_only("dao_upstream_errors_total", upstream="bad0", reason=error)
        counters.grew("dao_upstream_connects_total", 0, upstream="bad0")
        expect_normal(dao)
        dao.stop()


def eventually(dao: Dao, condition: Callable[[RawClient], bool], what: str) -> None:
    with RawClient(dao.address) as client:
        deadline.wait_until(lambda: condition(client), what, poll=0.02)


def test_name_that_appears_changes_and_disappears(
    start_dao, origin: Origin, make_origin: Callable[..., Origin]
) -> None:
    first = make_origin(host="127.0.0.2")
    second = make_origin(host="127.0.0.3", port=first.port)
    second.default = (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond",)
    with DnsServer({"backend.test": "NXDOMAIN"}) as dns:
        url = f"http://backend.test:{first.port}"
        dao = start_dao(config_with(origin, url, dns={**DNS, "servers": [dns.address]}))
        with RawClient(dao.address) as client:
            expect_error(client.exchange(get("/none")), 502, "dns_error")

        dns.names["backend.test"] = ["127.0.0.2"]
        eventually(dao, lambda client: client.exchange(get("/first")).body == b"ok", "the name to appear")

        # A changed answer is used for the next request, and the old backend's idle connections go.
        dns.names["backend.test"] = ["127.0.0.3"]
        eventually(dao, lambda client: client.exchange(get("/second")).body == b"second", "the change")
        first.wait(lambda: not first.open_connections, "the connections to the old address to be closed")
        count = len(first.requests)

        # What was known is used on when DNS fails: a broken resolver must not take down what runs.
        dns.names["backend.test"] = "SERVFAIL"
        dao.wait_log(lambda line: line.message == "cannot resolve upstream" and line.fields["addresses_kept"] == "1")
        with RawClient(dao.address) as client:
            expect_ok(client.exchange(get("/kept")), b"second")
        assert len(first.requests) == count

        # A new address gets its share as soon as a new connection is needed.
        dns.names["backend.test"] = ["127.0.0.2", "127.0.0.3"]
        dao.wait_log(lambda line: line.message == "resolved upstream" and line.fields["addresses"] == "2")
        answer = threading.Event()
        for backend in (first, second):
            backend.answer("/both ", Wait(answer), OK)
        clients = [dao.client() for _ in range(2)]
        for client in clients:
            client.send(get("/both"))
        first.wait_requests(1, "/both ")
        second.wait_requests(1, "/both ")
        answer.set()
        for client in clients:
            expect_ok(client.response())
        expect_normal(dao)
        dao.stop()


def test_dead_address_of_a_name(start_dao, origin: Origin, make_origin: Callable[..., Origin]) -> None:
    """A name with two addresses, of which one is dead, is one upstream that works: nothing was sent to the dead one."""
    alive = make_origin(host="127.0.0.3")
    alive.default = (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", CLOSE)
    with DnsServer({"backend.test": ["127.0.0.2", "127.0.0.3"]}) as dns:
        url = f"http://backend.test:{alive.port}"
        dao = start_dao(config_with(origin, url, dns={**DNS, "servers": [dns.address]}))
        counters = Counters(dao)
        with dao.client() as client:
            for _ in range(5):
                expect_ok(client.exchange(get("/get")))
                expect_ok(client.exchange(post("/post", b"body")))
        assert len(alive.requests) == 10
        counters.grew("dao_upstream_errors_total", 0)
        assert counters.growth("dao_upstream_connect_failures_total", upstream="bad0") > 0
        alive.stop()
        with dao.client() as client:
            expect_error(client.exchange(get("/all-dead")), 502, "connection_refused")
        expect_normal(dao)
        dao.stop()
