"""Presence: an upstream that is down is found out at once and left alone, and is back soon after it is back."""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from lib import deadline
from lib.client import RawClient
from lib.dao import Dao, simple_config
from lib.faults import get, post
from lib.origin import CLOSE, HOLD, OK, RESET, Origin
from lib.ports import refusing_port
from lib.upstream import Upstream

FAILS = b"HTTP/1.1 500 X\r\nContent-Length: 3\r\n\r\nbad"


def with_presence(*urls: str, presence: dict[str, object] | None = None, **sections: object) -> dict[str, object]:
    return simple_config(*urls, liminal={"presence": {"enabled": True, **(presence or {})}}, **sections)


def with_probe(config: dict[str, object], **probe: object) -> dict[str, object]:
    for upstream in config["routes"]["rule"][0]["upstreams"]:  # type: ignore[index]
        upstream["probe"] = probe
    return config


def presence(dao: Dao, upstream: str) -> str:
    states = ("unknown", "present", "liminal", "absent")
    metrics = dao.metrics()
    (state,) = [s for s in states if metrics.total("dao_upstream_presence_state", upstream=upstream, state=s) == 1]
    return state


def wait_presence(dao: Dao, upstream: str, state: str) -> None:
    deadline.wait_until(lambda: presence(dao, upstream) == state, f"{upstream} is {state}")


def ask(dao: Dao, target: str = "/", times: int = 1) -> list[int]:
    with dao.client() as client:
        return [client.exchange(get(target)).status for _ in range(times)]


@pytest.fixture
def start_upstream() -> Iterator[Callable[..., Upstream]]:
    started: list[Upstream] = []

    def start(*arguments: str, **options: object) -> Upstream:
        started.append(Upstream(*arguments, **options))
        return started[-1]

    yield start
    for upstream in started:
        upstream.process.send_signal(signal.SIGCONT)
        upstream.stop()


def kill(upstream: Upstream) -> None:
    upstream.process.kill()
    upstream.process.wait()


def address_of(upstream: Upstream) -> str:
    host, port = upstream.addresses[0]
    return f"{host}:{port}"


def test_a_refused_connection_is_enough(start_dao, origin: Origin) -> None:
    dao = start_dao(with_presence(f"http://127.0.0.1:{refusing_port()}", origin.url))
    assert ask(dao, times=30) == [200] * 30
    assert dao.metrics().total("dao_upstream_errors_total", upstream="u0", reason="refused") == 1
    wait_presence(dao, "u0", "absent")
    line = dao.wait_log(lambda line: line.message == "presence changed", "the change")
    assert line.fields["upstream"] == "u0" and line.fields["to"] == "absent", line.text
    assert line.fields["reason"] == "connections are refused", line.text
    wait_presence(dao, "u1", "present")


def test_no_request_after_the_third_failure(start_dao, make_origin) -> None:
    dead, well = make_origin(), make_origin()
    dead.default = (RESET,)
    dao = start_dao(with_presence(dead.url, well.url))
    with dao.client() as client:

        def absent() -> bool:
            assert client.exchange(get("/")).status == 200
            return presence(dao, "u0") == "absent"

        deadline.wait_until(absent, "absent")
    # Under suspicion a trial has three requests; an absent one gets one.
    assert len(dead.requests) <= 3 + 3 * dao.metrics().total("dao_upstream_trials_total", upstream="u0")
    trials = dao.metrics().total("dao_upstream_trials_total", upstream="u0")
    before = len(dead.requests)
    assert ask(dao, times=200) == [200] * 200
    more = dao.metrics().total("dao_upstream_trials_total", upstream="u0") - trials
    assert len(dead.requests) - before <= more + 1  # one trial may be too new to be counted


def test_one_that_is_killed_comes_back_within_two_seconds(start_dao, start_upstream, origin: Origin) -> None:
    upstream = start_upstream()
    address = address_of(upstream)
    dao = start_dao(with_presence(f"http://{address}", origin.url))
    assert ask(dao, times=10) == [200] * 10
    wait_presence(dao, "u0", "present")
    kill(upstream)
    assert ask(dao, times=10) == [200] * 10
    wait_presence(dao, "u0", "absent")
    # The probes have slowed down by now.
    deadline.wait_until(
        lambda: dao.metrics().total("dao_upstream_probes_total", upstream="u0", outcome="failed") >= 5, "five probes"
    )
    start_upstream(listen=(address,))
    back = time.monotonic()
    with dao.client() as client:
        while presence(dao, "u0") != "present":
            assert client.exchange(get("/")).status == 200
            assert time.monotonic() - back < 2 * deadline.SCALE, dao.metrics()
    assert dao.metrics().total("dao_upstream_trials_total", upstream="u0") == 1


def test_killed_and_restarted_under_load_without_an_error(start_dao, start_upstream) -> None:
    upstreams = [start_upstream() for _ in range(3)]
    addresses = [address_of(upstream) for upstream in upstreams]
    dao = start_dao(with_presence(*(f"http://{address}" for address in addresses)))
    stop = threading.Event()
    statuses: list[int] = []

    def load() -> None:
        with dao.client() as client:
            while not stop.is_set():
                statuses.append(client.exchange(get("/?delay_ms=2")).status)

    loaders = [threading.Thread(target=load) for _ in range(4)]
    for loader in loaders:
        loader.start()
    try:
        for turn in range(4):
            kill(upstreams[turn % 3])
            wait_presence(dao, f"u{turn % 3}", "absent")
            upstreams[turn % 3] = start_upstream(listen=(addresses[turn % 3],))
            wait_presence(dao, f"u{turn % 3}", "present")
    finally:
        stop.set()
        for loader in loaders:
            loader.join()
    assert len(statuses) > 100
    assert set(statuses) == {200}


def test_one_that_hangs_is_left_alone_and_found_again(start_dao, start_upstream, origin: Origin) -> None:
    upstream = start_upstream()
    dao = start_dao(
        with_probe(
            with_presence(f"http://{address_of(upstream)}", origin.url, proxy={"first_byte_timeout_ms": 200}),
            type="http",
            interval_ms=100,
            timeout_ms=200,
            fall=2,
            rise=1,
        )
    )
    wait_presence(dao, "u0", "present")  # by its probes alone
    upstream.process.send_signal(signal.SIGSTOP)
    wait_presence(dao, "u0", "absent")
    assert ask(dao, times=20) == [200] * 20
    upstream.process.send_signal(signal.SIGCONT)
    wait_presence(dao, "u0", "present")


def test_timeouts_in_a_row_put_it_away(start_dao, make_origin) -> None:
    silent, well = make_origin(), make_origin()
    silent.default = (HOLD,)
    dao = start_dao(with_presence(silent.url, well.url, proxy={"first_byte_timeout_ms": 500}))
    statuses = ask(dao, times=20)
    assert statuses.count(504) <= 4, statuses
    assert dao.metrics().total("dao_upstream_errors_total", upstream="u0", reason="timeout_head") <= 4
    wait_presence(dao, "u0", "absent")


def test_only_errors_500_end_in_absence(start_dao, make_origin) -> None:
    broken, well = make_origin(), make_origin()
    broken.default = (FAILS,)
    dao = start_dao(with_presence(broken.url, well.url, presence={"absent_after_ms": 1500, "history": 5}))
    with dao.client() as client:

        def absent() -> bool:
            client.exchange(get("/"))
            return presence(dao, "u0") == "absent"

        deadline.wait_until(absent, "absent")
        before = len(broken.requests)
        assert [client.exchange(post("/", b"x")).status for _ in range(20)].count(500) <= 2
        assert len(broken.requests) - before <= 2
        broken.default = (OK,)
        deadline.wait_until(lambda: client.exchange(get("/")).status == 200 and presence(dao, "u0") == "present", "back")


def test_a_third_of_errors_is_liminal_and_still_asked(start_dao, start_upstream, origin: Origin) -> None:
    upstream = start_upstream()
    dao = start_dao(with_presence(f"http://{address_of(upstream)}", origin.url, proxy={"retries": 0}))
    with dao.client() as client:

        def liminal() -> bool:
            for _ in range(30):
                client.exchange(get("/?fail_rate=0.4"))
            return presence(dao, "u0") == "liminal"

        deadline.wait_until(liminal, "liminal")
    metrics = dao.metrics()
    assert metrics.total("dao_upstream_presence_transitions_total", upstream="u0", state="absent") == 0
    before = metrics.total("dao_upstream_requests_total", upstream="u0")
    ask(dao, times=20)
    assert dao.metrics().total("dao_upstream_requests_total", upstream="u0") == before + 10


def test_the_only_upstream_is_asked_all_the_same(start_dao) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        dao = start_dao(with_presence(f"http://127.0.0.1:{port}"))
        assert ask(dao, times=5) == [502] * 5
        wait_presence(dao, "u0", "absent")
        dao.wait_log(lambda line: line.message.startswith("no upstream is admitted"), "the warning")
        assert dao.metrics().total("dao_route_fail_open_total", route="all") >= 4
    origin = Origin(port=port)
    try:
        assert ask(dao) == [200]
        wait_presence(dao, "u0", "present")
    finally:
        dao.close_clients()
        origin.stop()


def test_a_client_that_leaves_says_nothing(start_dao, make_origin) -> None:
    slow, well = make_origin(), make_origin()
    slow.answer("/leave", HOLD)
    slow.default = (OK,)
    dao = start_dao(with_presence(slow.url, well.url, rule={"policy": "least-connections"}))
    for _ in range(10):
        with dao.client() as client:
            client.send(get("/leave"))
    assert dao.wait_access(lambda entry: entry["status"] == 499)
    assert ask(dao, times=4) == [200] * 4
    assert dao.metrics().total("dao_upstream_presence_transitions_total", state="absent") == 0
    assert dao.metrics().total("dao_upstream_presence_transitions_total", state="liminal") == 0


def test_an_http_probe_looks_at_status_and_body(start_dao, make_origin) -> None:
    origin, well = make_origin(), make_origin()
    for one in (origin, well):
        one.answer("/health", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nI am well", CLOSE)
    dao = start_dao(
        with_probe(
            with_presence(origin.url, well.url),
            type="http",
            path="/health",
            host="health.test",
            interval_ms=100,
            expect_status="200",
            expect_body="am well",
            rise=1,
            fall=2,
        )
    )
    wait_presence(dao, "u0", "present")
    (probe, *_) = [r for r in origin.requests if r.target == "/health"]
    assert probe.value("host") == "health.test"
    origin.answer("/health", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nill", CLOSE)
    wait_presence(dao, "u0", "absent")
    # Good answers to requests do not count against a probe that says no.
    assert ask(dao, "/x", times=10) == [200] * 10
    assert not [r for r in origin.requests if r.target == "/x"]
    origin.answer("/health", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nI am well", CLOSE)
    wait_presence(dao, "u0", "present")
