"""The traffic of the campaign, light, and one upstream that is there at times: so that there is something to learn."""

from __future__ import annotations

import itertools
import random
import threading
import time
from dataclasses import dataclass

from lib import deadline
from lib.admin import read
from lib.client import RawClient
from lib.dao import Dao
from lib.upstream import Upstream

PAUSE = 0.02
FLAPPING = "flapping"


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode()


def plain_listener(dao: Dao) -> tuple[str, int]:
    """The one that every configuration has."""
    host, _, port = next(
        line.fields["address"] for line in dao.logs("listening") if line.fields["listener"] == "plain"
    ).rpartition(":")
    return host, int(port)


@dataclass
class Seen:
    """What the admin API said of the flapping upstream: since when always the same, and when it was asked last."""

    presence: str
    since: float
    until: float


class Flapping:
    """An upstream that refuses connections at times; it lives as long as the store does. Its address is its own: while it
    refuses, the kernel may give its port to anybody who listens on another one."""

    _numbers = itertools.count()

    def __init__(self) -> None:
        number = next(self._numbers)
        self.upstream = Upstream("--control", "127.0.0.1:0", listen=(f"127.1.{number // 250}.{number % 250 + 1}:0",))
        self.url = "http://{}:{}".format(*self.upstream.addresses[0])
        self.refuses = False

    def turn(self) -> None:
        self.refuses = not self.refuses
        answer = self.upstream.order("refuse=1&drop=1" if self.refuses else "resume=1")
        assert answer.status == 200, answer.body


class Traffic:
    """A thread that goes on until the process is gone."""

    def __init__(self, dao: Dao, flapping: Flapping, seed: int, killed: threading.Event):
        self.dao, self.flapping, self.killed = dao, flapping, killed
        self.wrong: list[str] = []
        self.requests = 0
        self.first_answer = 0.0
        self.last_answer = 0.0
        self.seen: Seen | None = None
        self._random = random.Random(seed)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(4 * deadline.DEFAULT)
        if self._thread.is_alive():
            self.wrong.append("the traffic did not come to its end")

    def _run(self) -> None:
        try:
            with RawClient(plain_listener(self.dao)) as client:
                self._ask(client)
        except BaseException as problem:  # noqa: BLE001: before the kill nothing may fail, whatever it is
            if not self.killed.is_set():
                self.wrong.append(f"a client: {problem!r}")

    def _ask(self, client: RawClient) -> None:
        turn_at = time.monotonic() + self._random.uniform(0, 2)
        while not self.killed.wait(PAUSE):
            for target, statuses in (("/stable/get", {200}), ("/moving/get", {200}), ("/flapping/get", {200, 502, 503})):
                answer = client.exchange(get(target))
                assert answer.status in statuses and answer.complete, (target, answer.raw_head)
                self.requests += 1
            self.last_answer = time.monotonic()
            self.first_answer = self.first_answer or self.last_answer
            self._look()
            if time.monotonic() >= turn_at:
                self.flapping.turn()
                turn_at = time.monotonic() + self._random.uniform(1, 4)

    def _look(self) -> None:
        presence = read(self.dao, f"/v1/upstreams/{FLAPPING}")["presence"]
        now = time.monotonic()
        if self.seen and self.seen.presence == presence:
            self.seen.until = now
        else:
            self.seen = Seen(presence, now, now)
