"""Floods of connections, over TLS and without: another client of the same worker is served all the while, and nothing
grows without bound.

The other client is measured just before each flood, in calm, and within it, on the same machine with the same load of
others. In the flood its 99th percentile stays below FACTOR times its calm value, its median too; below a floor (a time
slice of the scheduler, for the flood itself wants a CPU as well) nothing can be told. The floor of the median is no less
than FACTOR handshakes: a request takes two turns of the loop, and each of them may make one. What a machine that is busy
with other things does to a single round says nothing of DAO: one of ROUNDS must hold all bounds.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lib import deadline
from lib.paced_client import PacedClient, Waited
from lib.client import RawClient
from lib.dao import Dao, simple_config
from lib.faults import expect_ok, get
from lib.flood import Flood, client_hello
from lib.origin import Origin
from lib.tls import Authority, TlsClient, context, handshake_seconds

pytestmark = pytest.mark.measures

MIB = 1 << 20
FACTOR = 5
# A sanitizer build is slower in what a turn of the loop does and in how many turns pass: its scale counts twice.
P99_FLOOR = 0.025 * deadline.SCALE**2
MEDIAN_FLOOR = 0.001 * deadline.SCALE**2
ROUNDS = 4
REQUESTS = 300
KEPT = 500  # connections that a flood holds open
GROWTH_MAX = 40 * MIB  # 80 KiB for each of KEPT: a handshake under way costs OpenSSL about 40
IDLE_CPU_MAX = 0.1  # of a CPU, while KEPT half-open connections wait


@dataclass
class Scene:
    dao: Dao
    origin: Origin
    authority: Authority
    median_floor: float

    @property
    def plain(self) -> tuple[str, int]:
        return self.dao.addresses[0]  # type: ignore[return-value]

    @property
    def secure(self) -> tuple[str, int]:
        return self.dao.addresses[1]  # type: ignore[return-value]

    def settle(self) -> None:
        """Waits until the worker has done with whatever a flood has left it."""
        deadline.wait_until(
            lambda: self.dao.metrics().total("dao_connections") <= 2, "the connections of a flood to end", poll=0.05
        )

    def cpu_seconds(self) -> float:
        return self.dao.metrics().total("process_cpu_seconds_total")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A DAO with one worker, which serves in clear text and over TLS."""
    origin = Origin()
    directory = tmp_path_factory.mktemp("floods")
    authority = Authority(directory)
    config = simple_config(origin.url)
    identity = authority.issue("DNS:a.test")
    certificates = [identity.files, authority.issue("DNS:a.test", rsa=True).files]
    median_floor = max(MEDIAN_FLOOR, FACTOR * handshake_seconds(identity) * deadline.SCALE**2)
    config["server"]["listener"] = [  # type: ignore[index]
        {"name": "secure", "bind": "127.0.0.1:0", "tls": {"certificates": certificates}}
    ]
    try:
        with Dao(config, directory / "dao") as dao:
            yield Scene(dao, origin, authority, median_floor)
            origin.close_connections()
            dao.wait_idle()
    finally:
        origin.stop()
    assert not origin.violations, origin.violations


HEAD = b"GET /flood HTTP/1.1\r\nHost: a.test\r\n"
HELLO = client_hello()
HELLO_12 = client_hello(ssl.TLSVersion.TLSv1_2)

# name: (over TLS, what each connection sends, how many stay open)
FLOODS: dict[str, tuple[bool, bytes, int]] = {
    "handshakes": (True, HELLO, 0),
    "handshakes-that-stay-open": (True, HELLO, KEPT),
    "handshakes-of-tls-1.2": (True, HELLO_12, KEPT),
    "half-open": (True, b"", KEPT),
    "half-a-client-hello": (True, HELLO[: len(HELLO) // 2], KEPT),
    "no-tls-at-all": (True, HEAD + b"\r\n", KEPT),
    "silent-connections": (False, b"", KEPT),
    "half-a-head": (False, HEAD + b"X-A: b\r\n" * 50, KEPT),
    "too-many-fields": (False, HEAD + b"X-A: b\r\n" * 500 + b"\r\n", 0),
    "too-large-a-field": (False, HEAD + b"X: " + b"x" * 40_000, 0),
    "fields-without-end": (False, HEAD + b"X-A: b\r\n" * 90, 0),
}


def within(calm: Waited, flooded: Waited, median_floor: float) -> bool:
    return flooded.p99 <= max(FACTOR * calm.p99, P99_FLOOR) and flooded.median <= max(
        FACTOR * calm.median, median_floor
    )


@pytest.mark.parametrize("name", FLOODS)
def test_flood(scene: Scene, name: str) -> None:
    over_tls, piece, keep = FLOODS[name]
    memory = scene.dao.rss_bytes()
    grown = 0
    rounds: list[tuple[Waited, Waited]] = []
    with PacedClient(scene.plain) as plain, PacedClient(scene.secure, tls=True) as secure:
        while len(rounds) < ROUNDS:
            other = secure if len(rounds) % 2 else plain
            scene.settle()
            calm = other.ask(REQUESTS)
            with Flood(scene.secure if over_tls else scene.plain, piece, keep=keep) as flood:
                rounds.append((calm, other.ask(REQUESTS)))
                grown = max(grown, scene.dao.rss_bytes() - memory)
            assert flood.made > keep, "that was no flood"
            if within(*rounds[-1], scene.median_floor):
                break
        else:
            pytest.fail(f"the other client had to wait: {rounds}")
    assert grown <= GROWTH_MAX * deadline.MEMORY_SCALE, f"DAO grew by {grown / MIB:.1f} MiB"
    assert not [request for request in scene.origin.seen("/flood") if request.complete]
    # What comes after it is served, a new handshake too.
    with TlsClient(scene.secure, context(scene.authority)) as client:
        expect_ok(client.exchange(get("/after")))
    assert scene.dao.process.poll() is None


def test_half_open_connections_cost_no_cpu(scene: Scene) -> None:
    """They wait for their time to run out, and nothing looks at them meanwhile."""
    pieces = (b"", HELLO[:100])
    held = []
    try:
        for number in range(KEPT):
            client = RawClient(scene.secure)
            client.send(pieces[number % 2])
            held.append(client)
        deadline.wait_until(
            lambda: scene.dao.metrics().total("dao_connections") >= KEPT, "the connections to be accepted"
        )
        # Their beginnings, and what the floods before left to be cleared, may take some of the first second.
        seconds: list[float] = []
        while len(seconds) < ROUNDS and not (seconds and seconds[-1] <= IDLE_CPU_MAX * deadline.SCALE):
            begin, cpu = os.times().elapsed, scene.cpu_seconds()
            deadline.wait_until(lambda since=begin: os.times().elapsed - since >= 1.0, "a second", poll=0.1)
            seconds.append((scene.cpu_seconds() - cpu) / (os.times().elapsed - begin))
            assert scene.dao.metrics().total("dao_connections") >= KEPT, "they are still there"
        assert seconds[-1] <= IDLE_CPU_MAX * deadline.SCALE, f"{seconds} of a CPU for connections that do nothing"
    finally:
        for client in held:
            client.close()
