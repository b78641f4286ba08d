"""When a failed request is asked for again elsewhere, and when it must not be."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import pytest

from lib import deadline
from lib.dao import Dao, simple_config
from lib.faults import SHORT_MS, Counters, expect_entry, expect_error, expect_normal, expect_ok, get, post, post_chunked
from lib.http1 import Response
from lib.origin import CLOSE, EARLY, HOLD, OK, RESET, Origin, Step, Wait
from lib.ports import refusing_port

TRIES = 6  # round-robin over two upstreams: half of them meet the bad one first


def status(code: int, body: bytes = b"bad") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (code, len(body), body)


def request_with(method: str, target: str) -> bytes:
    if method in ("POST", "PUT", "PATCH"):
        return post(target, b"payload", method=method)
    return get(target).replace(b"GET", method.encode(), 1)


def ask(dao: Dao, method: str, times: int = TRIES) -> list[Response]:
    """So many requests on one connection, with targets /METHOD-0, /METHOD-1, ..."""
    with dao.client() as client:
        return [client.exchange(request_with(method, f"/{method}-{n}")) for n in range(times)]


def deliveries(method: str, *origins: Origin) -> Counter[str]:
    """How often the request to each target arrived, at any of the origins."""
    return Counter(r.target for o in origins for r in o.requests if r.method == method)


def pair(start_dao, make_origin, *bad_answer: Step, **sections: object) -> tuple[Dao, Origin, Origin]:
    """DAO before a bad and a good origin."""
    bad, good = make_origin(), make_origin()
    bad.default = bad_answer
    bad.answer("/normal", OK)
    return start_dao(simple_config(bad.url, good.url, **sections)), bad, good


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH"])
def test_connect_failure_is_retried_for_any_method(start_dao, origin: Origin, method: str) -> None:
    dao = start_dao(simple_config(f"http://127.0.0.1:{refusing_port()}", origin.url))
    counters = Counters(dao)
    assert [response.status for response in ask(dao, method)] == [200] * TRIES
    assert deliveries(method, origin) == Counter(f"/{method}-{n}" for n in range(TRIES))
    assert all(r.body == (b"payload" if method in ("POST", "PUT", "PATCH") else b"") for r in origin.requests)
    entries = dao.wait_access(TRIES)
    assert Counter(entry["attempts"] for entry in entries) == {1: TRIES / 2, 2: TRIES / 2}
    assert all(entry["upstream"] == "u1" and entry["status"] == 200 and "error" not in entry for entry in entries)
    counters.grew_only("dao_upstream_retries_total", TRIES // 2, upstream="u0", reason="connect-failure")
    counters.grew_only("dao_upstream_errors_total", TRIES // 2, upstream="u0", reason="refused")
    counters.grew("dao_requests_total", TRIES, route="all", code_class="2xx")
    counters.grew("dao_retries_denied_total", 0)
    expect_normal(dao)
    dao.stop()


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["close", "reset"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_lost_connection_is_retried_if_idempotent(start_dao, make_origin, method: str, end: Step) -> None:
    dao, bad, good = pair(start_dao, make_origin, end)
    counters = Counters(dao)
    assert [response.status for response in ask(dao, method)] == [200] * TRIES
    assert deliveries(method, good) == Counter(f"/{method}-{n}" for n in range(TRIES))
    assert max(deliveries(method, bad).values()) == 1
    counters.grew_only("dao_upstream_retries_total", TRIES // 2, upstream="u0", reason="connection-lost")
    expect_normal(dao)
    dao.stop()


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["close", "reset"])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_lost_connection_is_not_retried_otherwise(start_dao, make_origin, method: str, end: Step) -> None:
    """The bad origin may have acted on it."""
    dao, bad, good = pair(start_dao, make_origin, end)
    counters = Counters(dao)
    responses = ask(dao, method)
    assert Counter(response.status for response in responses) == {200: TRIES / 2, 502: TRIES / 2}
    for response in responses:
        if response.status == 502:
            expect_error(response, 502, "connection_terminated")
    assert max(deliveries(method, bad, good).values()) == 1, "delivered twice"
    assert {entry["attempts"] for entry in dao.wait_access(TRIES)} == {1}
    counters.grew("dao_upstream_retries_total", 0)
    counters.grew("dao_retries_denied_total", 0)
    expect_normal(dao)
    dao.stop()


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_5xx_is_retried_if_safe(start_dao, make_origin, code: int) -> None:
    dao, bad, good = pair(start_dao, make_origin, status(code))
    counters = Counters(dao)
    bad.answer("HEAD /", status(code)[: -len(b"bad")])
    for method in ("GET", "HEAD", "OPTIONS"):
        assert [response.status for response in ask(dao, method)] == [200] * TRIES
        assert set(deliveries(method, good).values()) == {1}
    counters.grew_only("dao_upstream_retries_total", 3 * TRIES // 2, upstream="u0", reason="5xx")
    counters.grew("dao_upstream_requests_total", 3 * TRIES // 2, upstream="u0", code_class="5xx")
    counters.grew("dao_upstream_errors_total", 0)
    expect_normal(dao)
    dao.stop()


@pytest.mark.parametrize(
    "method, code",
    [("POST", 503), ("PUT", 503), ("DELETE", 503), ("GET", 501), ("GET", 505), ("GET", 404), ("GET", 429)],
)
def test_status_that_is_not_retried(start_dao, make_origin, method: str, code: int) -> None:
    dao, bad, good = pair(start_dao, make_origin, status(code))
    counters = Counters(dao)
    responses = ask(dao, method)
    assert Counter(response.status for response in responses) == {200: TRIES / 2, code: TRIES / 2}
    for response in responses:
        assert not response.values("proxy-status"), "the status is the backend's, not DAO's"
        assert response.body == (b"ok" if response.status == 200 else b"bad")
    assert max(deliveries(method, bad, good).values()) == 1
    counters.grew("dao_upstream_retries_total", 0)
    expect_normal(dao)
    dao.stop()


def test_when_all_say_503_the_last_answer_is_forwarded(start_dao, make_origin) -> None:
    origins = [make_origin(), make_origin()]
    for index, origin in enumerate(origins):
        origin.default = (status(503, b"from %d" % index),)
        origin.answer("/normal", OK)
    dao = start_dao(simple_config(*(origin.url for origin in origins)))
    with dao.client() as client:
        response = client.exchange(get("/busy"))
    assert (response.status, response.values("proxy-status")) == (503, [])
    entry = expect_entry(dao, "/busy", status=503, attempts=2, error=None)
    assert response.body == b"from %d" % int(str(entry["upstream"])[1:])
    assert [len(origin.seen("/busy")) for origin in origins] == [1, 1]
    expect_normal(dao)
    dao.stop()


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 10\r\n\r\n12345", b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"],
    ids=["length", "chunked"],
)
def test_never_after_a_byte_was_forwarded(start_dao, make_origin, method: str, head: bytes) -> None:
    forwarded = threading.Event()
    dao, bad, good = pair(start_dao, make_origin, b"HTTP/1.1 200 OK\r\n" + head, Wait(forwarded), RESET)
    counters = Counters(dao)
    cut = 0
    for n in range(2):
        with dao.client() as client:
            client.send(request_with(method, f"/cut-{n}"))
            client.wait_bytes()
            forwarded.set()
            cut += not client.response(method).complete
    assert cut == 1 and len(bad.requests) == len(good.requests) == 1
    counters.grew("dao_upstream_retries_total", 0)
    counters.grew("dao_upstream_errors_total", upstream="u0", reason="reset")
    expect_normal(dao)
    dao.stop()


def test_interim_responses_do_not_hinder_a_retry(start_dao, make_origin) -> None:
    dao, _, _ = pair(start_dao, make_origin, b"HTTP/1.1 103 Early Hints\r\n\r\n", CLOSE)
    for response in ask(dao, "GET"):
        expect_ok(response)
    expect_normal(dao)
    dao.stop()


def test_timeouts_are_not_retried(start_dao, make_origin) -> None:
    """A second upstream would most likely be as slow, and the client has waited long enough."""
    dao, bad, good = pair(start_dao, make_origin, HOLD, proxy={"first_byte_timeout_ms": SHORT_MS})
    responses = ask(dao, "GET", 2)
    assert sorted(response.status for response in responses) == [200, 504]
    assert len(bad.requests) == len(good.requests) == 1
    expect_normal(dao)
    dao.stop()


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_at_most_retries_and_each_elsewhere(start_dao, make_origin, retries: int) -> None:
    origins = [make_origin() for _ in range(5)]
    for origin in origins:
        origin.answer("/lost ", CLOSE)
    dao = start_dao(simple_config(*(origin.url for origin in origins), proxy={"retries": retries}))
    counters = Counters(dao)
    with dao.client() as client:
        expect_error(client.exchange(get("/lost")), 502, "connection_terminated")
    expect_entry(dao, "/lost", status=502, error="connection_terminated", attempts=1 + retries)
    assert sorted(len(origin.seen("/lost ")) for origin in origins) == [0] * (4 - retries) + [1] * (1 + retries)
    counters.grew("dao_upstream_retries_total", retries)
    counters.grew("dao_upstream_errors_total", 1 + retries, reason="closed")
    counters.grew("dao_retries_denied_total", 0)
    expect_normal(dao)
    dao.stop()


def test_one_upstream_is_asked_once(start_dao, origin: Origin) -> None:
    origin.answer("/lost ", CLOSE)
    dao = start_dao(simple_config(origin.url, proxy={"retries": 2}))
    with dao.client() as client:
        expect_error(client.exchange(get("/lost")), 502, "connection_terminated")
    expect_entry(dao, "/lost", attempts=1)
    assert len(origin.seen("/lost ")) == 1
    expect_normal(dao)
    dao.stop()


@pytest.mark.parametrize(
    "retry_on", [[], ["5xx"], ["connect-failure", "5xx"]], ids=lambda names: "+".join(names) or "none"
)
def test_retry_on_leaves_out_lost_connections(start_dao, make_origin, retry_on: list[str]) -> None:
    dao, _, _ = pair(start_dao, make_origin, CLOSE, proxy={"retry_on": retry_on})
    assert Counter(response.status for response in ask(dao, "GET")) == {200: TRIES / 2, 502: TRIES / 2}
    expect_normal(dao)
    dao.stop()


def test_a_rule_has_its_own_retries(start_dao, make_origin) -> None:
    dao, _, _ = pair(start_dao, make_origin, CLOSE, proxy={"retries": 2}, rule={"proxy": {"retries": 0}})
    assert Counter(response.status for response in ask(dao, "GET")) == {200: TRIES / 2, 502: TRIES / 2}
    expect_normal(dao)
    dao.stop()


# The budget ------------------------------------------------------------------------------------------------------


def test_an_outage_is_not_amplified(start_dao, make_origin: Callable[..., Origin]) -> None:
    """All upstreams are down: without a budget every request would become three attempts."""
    requests, percent = 500, 20
    dead = [f"http://127.0.0.1:{refusing_port()}" for _ in range(3)]
    proxy = {"retries": 2, "retry_budget_percent": percent, "retry_budget_min_per_second": 0}
    dao = start_dao(simple_config(*dead, proxy=proxy))
    with dao.client() as client:
        for n in range(requests):
            expect_error(client.exchange(get(f"/down-{n}")), 502, "connection_refused")
    metrics = dao.metrics()
    attempts = metrics.total("dao_upstream_requests_total")
    assert attempts - requests == metrics.total("dao_upstream_retries_total")
    assert requests * 1.15 <= attempts <= requests * (1 + percent / 100) + 1
    assert metrics.total("dao_retries_denied_total") >= requests * 0.6
    assert sum(entry["attempts"] for entry in dao.wait_access(requests)) == attempts
    dao.stop()


def test_a_storm_of_503_is_not_amplified(start_dao, make_origin) -> None:
    """Answers that are forwarded because the budget is spent are counted as denied retries too."""
    requests, percent = 200, 20
    origins = [make_origin(), make_origin()]
    for origin in origins:
        origin.default = (status(503),)
    proxy = {"retries": 2, "retry_budget_percent": percent, "retry_budget_min_per_second": 0}
    dao = start_dao(simple_config(*(origin.url for origin in origins), proxy=proxy))
    with dao.client() as client:
        for n in range(requests):
            assert client.exchange(get(f"/busy-{n}")).status == 503
    attempts = sum(len(origin.requests) for origin in origins)
    assert requests * 1.15 <= attempts <= requests * (1 + percent / 100) + 1
    deadline.wait_until(
        lambda: dao.metrics().total("dao_retries_denied_total") == 2 * requests - attempts, "all denied retries"
    )
    dao.stop()


def test_a_quiet_proxy_may_always_retry_a_little(start_dao, origin: Origin) -> None:
    proxy = {"retry_budget_percent": 0, "retry_budget_min_per_second": 5}
    dao = start_dao(simple_config(f"http://127.0.0.1:{refusing_port()}", origin.url, proxy=proxy))
    for response in ask(dao, "GET", 8):  # four of them need a retry
        expect_ok(response)
    assert dao.metrics().total("dao_retries_denied_total") == 0
    expect_normal(dao)
    dao.stop()


def test_without_a_budget_nothing_is_retried(start_dao, origin: Origin) -> None:
    proxy = {"retry_budget_percent": 0, "retry_budget_min_per_second": 0}
    dao = start_dao(simple_config(f"http://127.0.0.1:{refusing_port()}", origin.url, proxy=proxy))
    assert Counter(response.status for response in ask(dao, "GET")) == {200: TRIES / 2, 502: TRIES / 2}
    assert dao.metrics().total("dao_retries_denied_total") == TRIES / 2
    dao.stop()


# Bodies that are still on their way --------------------------------------------------------------------------------


def test_streamed_body_is_never_replayed(start_dao, make_origin) -> None:
    """Not even for an idempotent method: what was passed on is gone."""
    dao, bad, good = pair(start_dao, make_origin, EARLY, OK)
    passed_on = threading.Event()
    for origin in (bad, good):
        origin.answer("/stream ", EARLY, Wait(passed_on), RESET)
    with dao.client() as client:
        client.send(post_chunked("/stream").replace(b"POST", b"PUT", 1) + b"5\r\nhello\r\n")
        deadline.wait_until(lambda: bad.seen("/stream ") or good.seen("/stream "), "the request")
        client.send(b"5\r\nworld\r\n")
        passed_on.set()
        expect_error(client.response("PUT"), 502, "connection_terminated")
    assert len(bad.seen("/stream ")) + len(good.seen("/stream ")) == 1
    expect_entry(dao, "/stream", status=502, error="connection_terminated", attempts=1)
    expect_normal(dao)
    dao.stop()


def test_streamed_body_survives_a_refused_connection(start_dao, origin: Origin) -> None:
    """Nothing of the body was taken from the client yet but what is still in the buffer."""
    dao = start_dao(simple_config(f"http://127.0.0.1:{refusing_port()}", origin.url))
    for n in range(4):
        with dao.client() as client:
            client.send(post_chunked(f"/stream-{n}") + b"5\r\nhello\r\n")
            deadline.wait_until(lambda target=f"/stream-{n} ": origin.seen(target), "the request")
            client.send(b"6\r\n world\r\n0\r\n\r\n")
            expect_ok(client.response("POST"))
    assert [request.body for request in origin.requests] == [b"hello world"] * 4
    assert {entry["attempts"] for entry in dao.wait_access(4)} == {1, 2}
    expect_normal(dao)
    dao.stop()
