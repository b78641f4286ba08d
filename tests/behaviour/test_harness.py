"""The harness itself, by the examples that README.md gives, and that it notices what it is there to notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib import deadline
from lib.client import RawClient
from lib.dao import simple_config, to_toml
from lib.metrics import Metrics
from lib.origin import CLOSE, HOLD, RESET, Origin

ASK = b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n"


def test_the_example_of_the_readme(start_dao, origin) -> None:
    dao = start_dao(simple_config(origin.url, proxy={"first_byte_timeout_ms": 100}))
    origin.answer("/slow", HOLD)
    with dao.client() as client:
        response = client.exchange(ASK)
    assert response.status == 504
    (entry,) = dao.wait_access(lambda entry: entry["target"] == "/slow")
    assert entry["status"] == 504
    assert dao.metrics().total("dao_requests_total", code_class="5xx") == 1


def test_unix_origin_and_spoilt_connections(start_dao, make_origin, tmp_path: Path) -> None:
    good, bad = make_origin(path=str(tmp_path / "o.sock")), make_origin()
    bad.at_accept = (RESET,)
    dao = start_dao(simple_config(bad.url, good.url))
    with dao.client() as client:
        for _ in range(4):
            assert client.exchange(ASK).status == 200
    assert len(good.requests) == 4 and bad.accepted > 0


def test_start_up_error(start_dao) -> None:
    dao = start_dao("[server]\nbind = 5\n", wait_ready=False)
    assert dao.wait_exit() == 1
    assert "bind" in dao.log_text()


def test_origin_notices_what_is_not_a_request() -> None:
    origin = Origin()
    for data in (b"GET / HTTP/1.1\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"):
        with RawClient(("127.0.0.1", origin.port)) as client:
            client.send(data)
            client.half_close()
            client.expect_closed()
    origin.stop()
    assert [("bare LF" in v, "head cut" in v) for v in origin.violations] == [(True, False), (False, True)]


def test_client_tells_reset_from_close() -> None:
    origin = Origin()
    origin.answer("/close", CLOSE)
    origin.answer("/reset", RESET)
    with RawClient(("127.0.0.1", origin.port)) as client:
        client.send(b"GET /close HTTP/1.1\r\nHost: a\r\n\r\n")
        client.expect_closed()
    with RawClient(("127.0.0.1", origin.port)) as client, pytest.raises(AssertionError, match="reset"):
        client.send(b"GET /reset HTTP/1.1\r\nHost: a\r\n\r\n")
        client.expect_closed()
    origin.stop()


def test_wait_until_fails_at_its_deadline() -> None:
    with pytest.raises(AssertionError, match="in vain for: the moon"):
        deadline.wait_until(lambda: False, "the moon", timeout=0.01)


def test_toml_and_metrics_text() -> None:
    assert to_toml({"a": {"b": [1, 2], "c": {"d": True}}, "r": [{"n": "x"}]}) == (
        "[a]\nb = [1, 2]\n[a.c]\nd = true\n\n\n[[r]]\nn = \"x\"\n\n"
    )
    metrics = Metrics('# TYPE x counter\nx{a="1",b="2"} 3\nx{a="1",b="3"} 4\ny 1.5\n')
    assert (metrics.total("x", a="1"), metrics.value("x", b="3"), metrics.value("y")) == (7, 4, 1.5)
