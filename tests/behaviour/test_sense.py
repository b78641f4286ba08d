"""What the mind makes of the traffic, as /metrics shows it: the windows of the last 60 seconds, and their fading."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib import deadline
from lib.dao import Dao, simple_config
from lib.faults import get
from lib.metrics import Metrics
from lib.upstream import Upstream

DELAY = 0.15


@pytest.fixture
def backends() -> Iterator[list[Upstream]]:
    started = [Upstream("--name", name) for name in ("one", "two")]
    yield started
    for upstream in started:
        upstream.stop()


def ask(dao: Dao, target: str, count: int, status: int = 200) -> None:
    with dao.client() as client:
        for _ in range(count):
            assert client.exchange(get(target)).status == status


def wait_metrics(dao: Dao, condition, what: str, timeout: float = deadline.DEFAULT) -> Metrics:
    def seen() -> Metrics | None:
        metrics = dao.metrics()
        return metrics if condition(metrics) else None

    return deadline.wait_until(seen, what, timeout, poll=0.02)


def p95(metrics: Metrics, **labels: str) -> float:
    """0 while there is none."""
    kind = "upstream" if "upstream" in labels else "route"
    return metrics.total(f"dao_{kind}_latency_window_seconds", quantile="0.95", **labels)


def test_injected_latency_is_seen_and_recedes(start_dao, backends: list[Upstream]) -> None:
    dao = start_dao(simple_config(*(f"http://127.0.0.1:{upstream.addresses[0][1]}" for upstream in backends)))
    assert dao.metrics().all("dao_upstream_latency_window_seconds") == [], "no quantile of nothing"
    assert dao.metrics().all("dao_upstream_error_ratio") == []

    backends[1].order(f"delay_ms={DELAY * 1000:g}")
    ask(dao, "/", 8)  # round-robin: four each
    slow = wait_metrics(dao, lambda m: p95(m, upstream="u1") >= DELAY * 0.99, "the delay in p95 of u1")
    assert p95(slow, upstream="u0") < DELAY
    assert p95(slow, route="all") >= DELAY * 0.99
    rate = wait_metrics(dao, lambda m: m.total("dao_upstream_requests_per_second", upstream="u1") > 0, "a rate")
    assert rate.value("dao_upstream_error_ratio", upstream="u1") == 0
    # Learned from the better half, so the slow one stands out.
    learned = wait_metrics(
        dao,
        lambda m: 0 < m.total("dao_route_typical_latency_seconds") < DELAY / 2
        and m.total("dao_upstream_load_resonance", upstream="u1") > m.total("dao_upstream_load_resonance", upstream="u0"),
        "a typical time, and the slow upstream above it",
    )
    assert 0 <= learned.value("dao_upstream_load_resonance", upstream="u1") <= 10

    backends[1].order("delay_ms=0")
    ask(dao, "/", 400)  # four of 204 are fewer than one in twenty
    wait_metrics(dao, lambda m: 0 < p95(m, upstream="u1") < DELAY / 2, "p95 of u1 to be that of the fast answers")
    # Rates fade within seconds; what is 60 seconds long is tested in virtual time (sense/fold_test.cpp).
    wait_metrics(
        dao, lambda m: m.total("dao_upstream_requests_per_second") == 0, "the rates to fade", 8 + deadline.DEFAULT
    )
    dao.stop()


def test_failures_are_seen_where_they_happen(start_dao, backends: list[Upstream]) -> None:
    urls = [f"http://127.0.0.1:{upstream.addresses[0][1]}" for upstream in backends]
    dao = start_dao(simple_config(*urls, proxy={"retries": 0}))
    ask(dao, "/", 4)
    for upstream in backends:
        upstream.order("status=503")
    ask(dao, "/", 4, status=503)
    metrics = wait_metrics(
        dao,
        lambda m: m.total("dao_upstream_error_ratio", upstream="u0") == 0.5
        and m.total("dao_upstream_error_ratio", upstream="u1") == 0.5,
        "half of the attempts with each",
    )
    assert metrics.value("dao_route_error_ratio", route="all") == 0.5
    assert metrics.value("dao_mind_samples_lost_total") == 0
    dao.stop()


def test_the_mind_steps_on(start_dao, backends: list[Upstream]) -> None:
    dao = start_dao(simple_config(f"http://127.0.0.1:{backends[0].addresses[0][1]}"))
    before = dao.metrics().total("dao_mind_steps_total")
    later = wait_metrics(dao, lambda m: m.total("dao_mind_steps_total") >= before + 3, "three steps of the mind")
    assert later.total("dao_mind_step_seconds_count") >= before + 3
    dao.stop()
