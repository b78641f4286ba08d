"""Looking at one fault from every side: the answer, Proxy-Status, the access log, the counters, and what is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lib import deadline
from lib.client import RawClient
from lib.dao import Dao
from lib.http1 import Response
from lib.metrics import Metrics
from lib.origin import Origin

# The short timeout of these tests: far above what a busy machine needs for one step, far below a test's deadline.
SHORT_MS = int(300 * deadline.SCALE)


def get(target: str, *fields: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/{version}", "Host: a.test", *fields, "", ""]).encode()


def post(target: str, body: bytes = b"", *fields: str, length: int | None = None, method: str = "POST") -> bytes:
    """A request with a body; `length` announces another one than what is sent here."""
    size = len(body) if length is None else length
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: a.test", f"Content-Length: {size}", *fields, "", ""]).encode() + body  # fmt: skip


def post_chunked(target: str, *fields: str) -> bytes:
    return "\r\n".join([f"POST {target} HTTP/1.1", "Host: a.test", "Transfer-Encoding: chunked", *fields, "", ""]).encode()  # fmt: skip


def expect_error(response: Response, status: int, error: str) -> None:
    """An answer that DAO made itself, whole and with its RFC 9209 name."""
    assert response.status == status, f"answered {response.raw_head!r}"
    assert response.values("proxy-status") == [f"dao; error={error}"]
    assert response.complete and response.body.startswith(f"{status} ".encode()), f"body {response.body!r}"


def expect_ok(response: Response, body: bytes = b"ok") -> None:
    assert (response.status, response.complete, response.body) == (200, True, body), f"{response.raw_head!r}"


def the_entry(dao: Dao, target: str) -> dict[str, object]:
    """The one access log entry of that target."""
    entries = dao.wait_access(lambda entry: entry.get("target") == target)
    assert len(entries) == 1, entries
    return entries[0]


def expect_entry(dao: Dao, target: str, **fields: object) -> dict[str, object]:
    """The one entry of that target has these fields; None: it must be absent."""
    entry = the_entry(dao, target)
    assert {name: entry.get(name) for name in fields} == fields, entry
    return entry


class Counters:
    """The metrics at one moment; `grew` tells by how much a counter has grown since."""

    def __init__(self, dao: Dao):
        self._dao = dao
        self._before = dao.metrics()

    def growth(self, name: str, **labels: str) -> float:
        return self._dao.metrics().total(name, **labels) - self._before.total(name, **labels)

    def grew(self, name: str, by: int = 1, **labels: str) -> None:
        """Waits until the counter has grown by `by` (it is counted when the request ends, after its last byte)."""
        deadline.wait_until(lambda: self.growth(name, **labels) >= by, f"{name} {labels} to grow by {by}", poll=0.01)
        now = self.growth(name, **labels)
        assert now == by, f"{name} {labels} grew by {now}, expected {by}"

    def grew_only(self, name: str, by: int = 1, **labels: str) -> None:
        """As grew(), and the sum over all other label values has not grown."""
        self.grew(name, by, **labels)
        self.grew(name, by)


def left_over(dao: Dao, metrics: Metrics) -> Mapping[str, float]:
    """What DAO still holds for clients and exchanges; pooled idle connections are allowed."""
    held = {
        "requests": metrics.total("dao_requests_active"),
        "client connections": metrics.total("dao_connections"),
        "attempts": metrics.total("dao_upstream_in_flight"),
        "upstream connections": metrics.total("dao_upstream_connections", state="active"),
        "tasks": metrics.total("dao_tasks") - metrics.total("dao_workers"),
        "descriptors": dao.fd_count() - dao.idle_fds - metrics.total("dao_upstream_connections", state="idle"),
    }
    return {what: count for what, count in held.items() if count > 0}


def expect_nothing_left(dao: Dao) -> None:
    """Closes the test's clients; then no task, descriptor or gauge of the requests so far may remain."""
    dao.close_clients()
    seen: list[Mapping[str, float]] = [{}]

    def clean() -> bool:
        seen[0] = left_over(dao, dao.metrics())
        return not seen[0]

    try:
        deadline.wait_until(clean, "DAO to hold nothing", poll=0.01)
    except AssertionError:
        raise AssertionError(f"DAO still holds {seen[0]}") from None


def expect_normal(dao: Dao, target: str = "/normal") -> None:
    """DAO serves a new client as if nothing had happened, and nothing is left of what had."""
    with RawClient(dao.address) as client:
        expect_ok(client.exchange(get(target)))
    expect_nothing_left(dao)


def rule(name: str, prefix: str, *urls: str, proxy: Mapping[str, object] | None = None, **more: object) -> dict:
    """A route for a path prefix. Upstreams are named by their URL's place: every rule has its own pools."""
    table: dict[str, object] = {"name": name, "match": {"path_prefix": prefix}, **more}
    if proxy:
        table["proxy"] = dict(proxy)
    table["upstreams"] = [{"name": f"{name}{index}", "url": url} for index, url in enumerate(urls)]
    return table


class Scene:
    """One DAO before one origin, shared by the cases of a module. `/normal` has the default timeouts."""

    def __init__(self, directory: Path, rules: Callable[[Origin], list[dict]], **sections: Mapping[str, object]):
        self.origin = Origin()
        config: dict[str, object] = {
            "server": {"bind": "127.0.0.1:0", "workers": 1, **sections.pop("server", {})},
            "telemetry": {"prometheus_bind": "127.0.0.1:0"},
            **sections,
            "routes": {"rule": [rule("normal", "/normal", self.origin.url), *rules(self.origin)]},
        }
        try:
            self.dao = Dao(config, directory)
        except BaseException:
            self.origin.stop()
            raise

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                expect_nothing_left(self.dao)
                self.dao.stop()
        finally:
            self.dao.kill()
            self.origin.stop()
        assert kind or not self.origin.violations, self.origin.violations
