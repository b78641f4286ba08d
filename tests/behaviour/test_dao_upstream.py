"""dao-upstream, the fault-injecting server of the demo, the tests and the benches: every parameter does what it says."""

from __future__ import annotations

import json
import os
import re
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib import deadline
from lib.client import RawClient, expect_no_listener
from lib.http1 import Truncated, Violation
from lib.upstream import Upstream, program, request

LINE = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.\n"


@pytest.fixture
def start() -> Iterator[Callable[..., Upstream]]:
    started: list[Upstream] = []

    def make(*arguments: str, **options: object) -> Upstream:
        started.append(Upstream(*arguments, **options))
        return started[-1]

    yield make
    codes = [upstream.stop() for upstream in started if upstream.process.poll() is None]
    assert codes == [0] * len(codes)


@pytest.fixture(scope="module")
def shared() -> Iterator[Upstream]:
    upstream = Upstream("--name", "shared")
    yield upstream
    assert upstream.stop() == 0


# Answers ----------------------------------------------------------------------------------------------------------


def test_plain_answer_on_a_kept_connection(shared: Upstream) -> None:
    with shared.client() as client:
        for _ in range(3):
            answer = client.exchange(request("/any/path"))
            assert (answer.status, answer.body, answer.value("x-upstream")) == (200, b"ok\n", "shared")
            assert answer.value("date") and answer.framing == "length"


def test_pipelined_requests_are_answered_in_order(shared: Upstream) -> None:
    with shared.client() as client:
        client.send(b"".join(request(f"/?size={size}") for size in range(50)))
        assert [len(client.response().body) for _ in range(50)] == list(range(50))


@pytest.mark.parametrize("query", ["", "&chunked=1", "&chunked=1&chunk=1000", "&no_length=1", "&trailers=1"])
@pytest.mark.parametrize("size", [0, 1, 64, 65537, 1048576])
def test_size_is_exact_in_every_framing(shared: Upstream, size: int, query: str) -> None:
    answer = shared.get(f"/?size={size}{query}")
    assert answer.body == (LINE * (size // len(LINE) + 1))[:size] and answer.complete
    framing = "close" if "no_length" in query else "length" if query == "" else "chunked"
    assert answer.framing == framing
    if "trailers" in query:
        assert answer.trailers == [("x-trailer", "yes"), ("x-body-bytes", str(size))]


@pytest.mark.parametrize("status", [200, 204, 304, 404, 418, 503, 599])
def test_status(shared: Upstream, status: int) -> None:
    with shared.client() as client:
        for _ in range(2):
            answer = client.exchange(request(f"/?status={status}&size=10"))
            assert answer.status == status
            assert len(answer.body) == (0 if status in (204, 304) else 10)


@pytest.mark.parametrize("query", ["size=1000", "size=1000&chunked=1", "inspect=1", "echo=1"])
def test_head_has_no_body(shared: Upstream, query: str) -> None:
    with shared.client() as client:
        for _ in range(2):
            assert client.exchange(request(f"/?{query}", "HEAD")).status == 200


def test_http_1_0(shared: Upstream) -> None:
    with shared.client() as client:
        answer = client.exchange(request("/?chunked=1&interim=103", version="1.0"))
        assert (answer.framing, answer.body, answer.interim) == ("close", b"ok\n", [])
        client.expect_closed()
    with shared.client() as client:
        for _ in range(2):
            answer = client.exchange(request("/", "GET", None, "Connection: keep-alive", version="1.0"))
            assert answer.value("connection") == "keep-alive"


def test_keep_alive_off(shared: Upstream) -> None:
    with shared.client() as client:
        assert client.exchange(request("/?keep_alive=0")).value("connection") == "close"
        client.expect_closed()


def test_echo(shared: Upstream) -> None:
    body = os.urandom(300_000)
    with shared.client() as client:
        answer = client.exchange(request("/?echo=1", "POST", b"hello"))
        assert (answer.body, answer.framing) == (b"hello", "length")
        client.send(request("/?echo=1", "POST", None, "Transfer-Encoding: chunked"))
        for piece in (body[:100_000], body[100_000:]):
            client.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
        client.send(b"0\r\n\r\n")
        answer = client.response("POST")
        assert (answer.body == body, answer.framing) == (True, "chunked")
        assert client.exchange(request("/?echo=1")).body == b""


def test_inspect_reports_the_request(shared: Upstream) -> None:
    with shared.client() as client:
        client.send(
            b"PUT /a?inspect=1&echo=1 HTTP/1.1\r\nHost: h\r\nX-Odd:  two words \r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n0\r\nX-End: yes\r\n\r\n"
        )
        seen = json.loads(client.response("PUT").body)
    assert (seen["method"], seen["target"], seen["version"]) == ("PUT", "/a?inspect=1&echo=1", "HTTP/1.1")
    assert ["X-Odd", "two words"] in seen["fields"]
    assert (seen["body_bytes"], seen["body"], seen["trailers"]) == (3, "abc", [["X-End", "yes"]])
    assert (seen["upstream"], seen["requests_on_connection"]) == ("shared", 1)


def test_expect_continue(shared: Upstream) -> None:
    with shared.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert client.wait_bytes().startswith(b"HTTP/1.1 100 ")
        client.send(b"hello")
        answer = client.response("POST")
        assert (answer.status, [interim.status for interim in answer.interim]) == (200, [100])


def test_early_answers_before_the_body(shared: Upstream) -> None:
    with shared.client() as client:
        client.send(b"POST /?early=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
        assert client.response("POST").status == 200
        client.send(b"hello")
        assert client.exchange(request("/")).status == 200


def test_interim_answers(shared: Upstream) -> None:
    answer = shared.get("/?interim=100,103,199")
    assert [interim.status for interim in answer.interim] == [100, 103, 199]
    assert answer.interim[1].values("link") and answer.status == 200
    assert len(shared.get("/?interim_flood=2000").interim) == 2000


def test_header_flood(shared: Upstream) -> None:
    head = shared.get("/?header_flood_bytes=100000").raw_head
    assert 95_000 < len(head) < 110_000


# Time -------------------------------------------------------------------------------------------------------------


def test_delays(shared: Upstream) -> None:
    begin = time.monotonic()
    assert shared.get("/?delay_ms=150").status == 200
    assert time.monotonic() - begin >= 0.15


def test_trickle_waits_between_the_pieces(shared: Upstream) -> None:
    begin = time.monotonic()
    answer = shared.get("/?trickle_ms=20&size=100&chunk=10")
    assert (len(answer.body), answer.framing) == (100, "length")
    assert time.monotonic() - begin >= 9 * 0.02


def test_exponential_delay_has_its_mean(start: Callable[..., Upstream]) -> None:
    upstream = start("--delay-exp-ms", "12.8", "--seed", "7")
    taken = []
    with upstream.client() as client:
        for _ in range(150):
            begin = time.monotonic()
            client.exchange(request("/"))
            taken.append((time.monotonic() - begin) * 1000)
    # The mean of 150 has a standard error of 8 %; the upper bound leaves room for a busy machine.
    assert 9 < statistics.mean(taken) < 25
    assert min(taken) < 4 and max(taken) > 30


def taken(upstream: Upstream, target: str) -> float:
    begin = time.monotonic()
    assert upstream.get(target).status == 200
    return time.monotonic() - begin


def test_delay_factor_makes_both_delays_longer(start: Callable[..., Upstream]) -> None:
    upstream = start("--default", "delay_ms=10&delay_factor=20", "--seed", "7")
    assert taken(upstream, "/") >= 0.2
    assert upstream.order("delay_ms=0&delay_exp_ms=3600000").status == 200
    with upstream.client() as client:  # an hour on average, 20 times; with a factor of 0, nothing
        assert client.exchange(request("/?delay_factor=0")).status == 200


def test_a_cold_server_is_slow_at_first_and_warms_up(start: Callable[..., Upstream]) -> None:
    upstream = start("--default", "delay_ms=20&cold_start_ms=1500&cold_start_factor=20", "--control", "127.0.0.1:0")
    assert upstream.order("cold_start=1").status == 200
    assert taken(upstream, "/") >= 0.15
    deadline.wait_until(lambda: taken(upstream, "/") < 0.1, "the server to be warm")
    assert upstream.order("cold_start=1").status == 200
    assert taken(upstream, "/") >= 0.15


def test_slots_queue_in_order(start: Callable[..., Upstream]) -> None:
    upstream = start("--slots", "1", "--delay-ms", "100", "--control", "127.0.0.1:0")
    clients = []
    begin = time.monotonic()
    for number in range(4):
        clients.append(upstream.client())
        clients[-1].send(request(f"/{number}"))
        deadline.wait_until(
            lambda: (stats := upstream.stats()) and stats["busy"] + stats["queued"] >= min(number + 1, 2), "arrival"
        )
    finished = []
    for client in clients:
        assert client.response().status == 200
        finished.append(time.monotonic() - begin)
        client.close()
    assert finished == sorted(finished) and finished[-1] >= 0.4
    stats = upstream.stats()
    assert (stats["busy"], stats["queued"]) == (0, 0) and stats["queued_max"] >= 1


def test_a_client_that_leaves_the_queue_frees_its_place(start: Callable[..., Upstream]) -> None:
    upstream = start("--slots", "1", "--control", "127.0.0.1:0")
    with upstream.client() as first, upstream.client() as last:
        second = upstream.client()
        first.send(request("/?delay_ms=3600000&notice_close=1"))
        deadline.wait_until(lambda: upstream.stats()["busy"] == 1, "the first in service")
        second.send(request("/?notice_close=1"))
        deadline.wait_until(lambda: upstream.stats()["queued"] == 1, "the second in the queue")
        second.close()
        deadline.wait_until(lambda: upstream.stats()["queued"] == 0, "the second gone")
        last.send(request("/"))
        deadline.wait_until(lambda: upstream.stats()["queued"] == 1, "the last in the queue")
        first.close()
        assert last.response().status == 200
    assert upstream.stats()["requests_aborted"] == 2


# Faults -----------------------------------------------------------------------------------------------------------


def test_close_before_the_head(shared: Upstream) -> None:
    with shared.client() as client:
        client.send(request("/?close=head"))
        client.expect_closed()


def test_close_within_the_head(shared: Upstream) -> None:
    with pytest.raises(Truncated):
        shared.get("/?close=mid_head")


@pytest.mark.parametrize("framing", ["", "&chunked=1"])
def test_close_within_the_body(shared: Upstream, framing: str) -> None:
    answer = shared.get(f"/?close=body&size=1000{framing}")
    assert (answer.status, answer.complete) == (200, False)


def test_close_within_a_chunked_body_leaves_its_first_half(shared: Upstream) -> None:
    with shared.client() as client:
        client.send(request("/?close=body&size=1000&chunked=1"))
        received = client.wait_bytes(1 << 20)
    assert received.endswith(b"\r\n1f4\r\n" + (LINE * 8)[:500] + b"\r\n")


@pytest.mark.parametrize("stage", ["head", "mid_head", "body"])
def test_reset(shared: Upstream, stage: str) -> None:
    with shared.client() as client:
        client.send(request(f"/?reset={stage}&size=1000"))
        client.expect_ended()
        assert client.reader.reset


def test_reset_at_accept(start: Callable[..., Upstream]) -> None:
    upstream = start("--default", "reset=accept", "--control", "127.0.0.1:0")
    with pytest.raises(ConnectionResetError):  # by connect() or later, as the race goes
        with upstream.client() as client:
            client.send(request("/"))
            client.expect_ended()
            assert client.reader.buffered == b""
            if client.reader.reset or client.send_failed:
                raise ConnectionResetError
    stats = upstream.stats()
    assert (stats["requests"], stats["connections_reset_at_accept"]) == (0, 1)


@pytest.mark.parametrize(("stage", "sent"), [("head", 0), ("mid_head", 20), ("body", 500)])
def test_hang_until_the_client_goes_away(start: Callable[..., Upstream], stage: str, sent: int) -> None:
    upstream = start("--control", "127.0.0.1:0")
    with upstream.client() as client:
        client.send(request(f"/?hang={stage}&size=1000"))
        deadline.wait_until(lambda: upstream.stats()["requests"] == 1, "the request")
        if sent:
            assert len(client.wait_bytes(sent)) >= sent
        assert upstream.stats()["connections_open"] == 2
    deadline.wait_until(lambda: upstream.stats()["connections_open"] == 1, "the connection to end")
    assert upstream.stats()["requests_cut"] == 1


def test_garbage(shared: Upstream) -> None:
    with pytest.raises((Violation, Truncated)):
        shared.get("/?garbage=1")


def test_fail_rate_is_seeded(start: Callable[..., Upstream]) -> None:
    def failures() -> list[bool]:
        upstream = start("--fail-rate", "0.3", "--default", "fail_status=502", "--seed", "42")
        with upstream.client() as client:
            statuses = [client.exchange(request("/")).status for _ in range(200)]
        assert set(statuses) == {200, 502}
        assert upstream.stats()["requests_failed"] == statuses.count(502)
        return [status == 502 for status in statuses]

    first = failures()
    assert 30 <= sum(first) <= 90
    assert failures() == first


def test_failing_at_once_takes_no_slot_and_no_time(start: Callable[..., Upstream]) -> None:
    upstream = start("--slots", "1", "--default", "delay_ms=3600000&fail_at_once=1", "--control", "127.0.0.1:0")
    with upstream.client() as served, upstream.client() as failed:
        served.send(request("/?fail_rate=0&notice_close=1"))
        deadline.wait_until(lambda: upstream.stats()["busy"] == 1, "the first in service")
        assert failed.exchange(request("/?fail_rate=1")).status == 500
        assert upstream.stats()["busy"] == 1


# Control ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("colour=red", "unknown parameter 'colour'"),
        ("status=99", "parameter status: expected 200..599, got '99'"),
        ("delay_ms=-1", "parameter delay_ms"),
        ("delay_ms=nan", "parameter delay_ms"),
        ("hang=sometimes", "parameter hang"),
        ("interim=200", "parameter interim"),
        ("chunked=yes", "parameter chunked"),
    ],
)
def test_what_it_does_not_know_it_refuses(shared: Upstream, query: str, complaint: str) -> None:
    with shared.client() as client:
        for _ in range(2):
            answer = client.exchange(request(f"/?{query}"))
            text = answer.body.decode()
            assert answer.status == 400 and text.startswith(complaint) and "known parameters:" in text


def test_malformed_requests_are_answered_and_closed(shared: Upstream) -> None:
    with shared.client() as client:
        assert client.exchange(b"GET / HTTP/1.1\r\nbad field\r\n\r\n").status == 400
        client.expect_closed()


def test_defaults_change_while_it_runs(start: Callable[..., Upstream]) -> None:
    upstream = start("--threads", "2", "--default", "status=201")
    assert upstream.get("/").status == 201
    assert upstream.order("status=503&size=7").status == 200
    with upstream.client() as client:
        answer = client.exchange(request("/"))
        assert (answer.status, len(answer.body)) == (503, 7)
        assert client.exchange(request("/?status=200")).status == 200
    assert upstream.order("restore_defaults=1").status == 200
    assert {upstream.get("/").status for _ in range(8)} == {201}


def test_control_refuses_what_is_wrong(shared: Upstream) -> None:
    assert shared.get("/_control?status=503").status == 400
    assert shared.order("nonsense=1").status == 400
    assert shared.order("status=1").status == 400
    assert shared.get("/").status == 200


@pytest.mark.parametrize("threads", ["1", "2"])
def test_refuse_and_resume(start: Callable[..., Upstream], threads: str, tmp_path: Path) -> None:
    listen = ("127.0.0.1:0", f"unix:{tmp_path}/socket")
    upstream = start("--control", "127.0.0.1:0", "--threads", threads, listen=listen)
    for _ in range(2):
        assert upstream.order("refuse=1").status == 200
        for address in upstream.addresses:
            expect_no_listener(address, upstream.process)
        assert upstream.order("resume=1").status == 200
        for address in upstream.addresses:
            with RawClient(address) as client:
                assert client.exchange(request("/")).status == 200


def test_drop_resets_the_other_connections(start: Callable[..., Upstream]) -> None:
    upstream = start()
    with upstream.client() as client:
        client.exchange(request("/"))
        assert upstream.order("drop=1").status == 200
        client.expect_ended()
        assert client.reader.reset


def test_stats(start: Callable[..., Upstream]) -> None:
    upstream = start("--name", "counted", "--threads", "2")
    for _ in range(5):
        upstream.get("/?size=10")
    upstream.get("/?status=503&size=0")
    stats = upstream.stats()
    assert (stats["name"], stats["requests"], stats["response_body_bytes"]) == ("counted", 6, 50)
    assert (stats["answers"]["2xx"], stats["answers"]["5xx"]) == (5, 1)
    upstream.order("reset_stats=1")
    assert upstream.stats()["requests"] == 0


# The process ------------------------------------------------------------------------------------------------------


def test_ipv6_and_unix_addresses(start: Callable[..., Upstream], tmp_path: Path) -> None:
    path = f"{tmp_path}/socket"
    listen = ("127.0.0.1:0", f"unix:{path}")
    if socket.has_ipv6 and Path("/proc/net/if_inet6").exists():
        listen += ("[::1]:0",)
    upstream = start(listen=listen)
    assert len(upstream.addresses) == len(listen)
    for address in upstream.addresses:
        with RawClient(address) as client:
            assert client.exchange(request("/")).status == 200
    assert upstream.stop() == 0
    assert not Path(path).exists()


def test_sigterm_ends_it_in_the_midst_of_everything(start: Callable[..., Upstream]) -> None:
    upstream = start("--threads", "2", "--control", "127.0.0.1:0")
    clients = [upstream.client() for _ in range(6)]
    for client, query in zip(clients, ("hang=head", "hang=body", "delay_ms=3600000", "trickle_ms=3600000&chunk=1")):
        client.send(request(f"/?{query}"))
    clients[4].send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
    deadline.wait_until(lambda: upstream.stats()["requests"] == 5, "the requests")
    assert upstream.stop() == 0
    for client in clients:
        client.expect_ended()
        client.close()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("--listen nowhere", "'nowhere': expected IP:PORT"),
        ("--default colour=red", "unknown parameter 'colour'"),
        ("--fail-rate 2", "parameter fail_rate: expected 0..1"),
        ("--slots 2 --threads 2", "--slots needs --threads 1"),
        ("--threads 0", "--threads"),
    ],
)
def test_bad_arguments(arguments: str, complaint: str) -> None:
    ended = subprocess.run(
        [program(), *arguments.split()], capture_output=True, text=True, timeout=deadline.DEFAULT, check=False
    )
    assert ended.returncode != 0 and complaint in ended.stderr


def test_a_taken_port_is_told(shared: Upstream) -> None:
    host, port = shared.addresses[0]
    ended = subprocess.run(
        [program(), "--listen", f"{host}:{port}"], capture_output=True, text=True, timeout=deadline.DEFAULT, check=False
    )
    assert ended.returncode == 1 and "Address already in use" in ended.stderr


def test_help_names_every_parameter(shared: Upstream) -> None:
    known = re.findall(r"^  (\w+)=", shared.get("/?nonsense=1").body.decode(), re.MULTILINE)
    text = subprocess.run([program(), "--help"], capture_output=True, text=True, check=True).stdout
    assert len(known) > 20 and all(f"  {name}=" in text for name in known)
