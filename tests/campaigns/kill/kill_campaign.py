#!/usr/bin/python3
"""kill -9 of a whole DAO at random moments, under traffic and reloads of every kind; after each the next one must go on
(README.md).

Exit status 0 if every check held, 1 if not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / name) for name in ("reload", "store")), str(HERE.parents[1] / "behaviour")]
import edits  # noqa: E402
from ledger import Ledger  # noqa: E402
from left_behind import LeftBehind, left_behind  # noqa: E402
from operators import ApiOperator, FileOperator, Operator, Texts  # noqa: E402
from traffic import FLAPPING, Flapping, Traffic, get, plain_listener  # noqa: E402

from lib import deadline  # noqa: E402
from lib.admin import read  # noqa: E402
from lib.client import RawClient  # noqa: E402
from lib.dao import Dao, to_toml  # noqa: E402
from lib.origin import Origin  # noqa: E402
from lib.tls import Authority  # noqa: E402
from lib.upstream import Upstream  # noqa: E402

LIVES_OF_A_STORE = 20  # then a new one is begun
KEPT_SNAPSHOTS = 100
# docs/memory.md: the learner looks once a second at who came to be absent or is back, and says every ten seconds until
# when all is true; routes take turns, one in a second as long as there are at most sixty.
LOOK_INTERVAL, AS_OF_INTERVAL, MOST_ROUTES = 1.0, 10.0, edits.MOST_RULES + 1
# What writing itself may take, and the step of the mind that the look waits for.
SLACK = 0.5 * deadline.SCALE
ANSWER_AT_ONCE = 1.0 * deadline.SCALE


@dataclass
class Result:
    kills: int = 0
    before_ready: int = 0  # of these, kills before DAO was ready
    under_way: int = 0  # kills while an order was under way
    long_lives: int = 0  # that show the learner's slow rounds
    applied: int = 0  # configurations that were said to be applied
    requests: int = 0
    turns: dict[str, int] = field(default_factory=dict)  # what the operators did
    lost_presence: list[float] = field(default_factory=list)  # age of a change of presence that was lost, in seconds
    as_of_age: list[float] = field(default_factory=list)  # at the kill
    ready_after: list[float] = field(default_factory=list)  # seconds from the start
    answer_after: list[float] = field(default_factory=list)  # the first one, from "ready"
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Result) -> None:
        for name in ("kills", "before_ready", "under_way", "long_lives", "applied", "requests"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for turn, count in other.turns.items():
            self.turns[turn] = self.turns.get(turn, 0) + count
        for name in ("lost_presence", "as_of_age", "ready_after", "answer_after", "wrong"):
            getattr(self, name).extend(getattr(other, name))

    @property
    def good(self) -> bool:
        return not self.wrong


def with_log(wrong: list[str], dao: Dao) -> list[str]:
    """The first one has the end of DAO's log."""
    return [f"{wrong[0]}; its log:\n{dao.log_text()[-3000:]}", *wrong[1:]] if wrong else []


class Surroundings:
    """What all stores share: servers, certificates, and a port that is taken."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        authority = Authority(folder)
        self.certificates = [authority.issue("DNS:a.test").files for _ in range(2)]
        self.backends = [Upstream("--default", "size=200") for _ in range(3)]
        self.urls = ["http://{}:{}".format(*backend.addresses[0]) for backend in self.backends]
        self.taken = Origin()
        self.taken_port = int(self.taken.authority.rpartition(":")[2])

    def stop(self) -> None:
        for backend in self.backends:
            backend.process.kill()
            backend.process.wait()
        self.taken.stop()


class OneStore:
    """A store, and the DAOs that live and die with it, one after the other."""

    def __init__(self, folder: Path, seed: int, surroundings: Surroundings, interval: float, long_share: float):
        self.folder = folder
        self.random = random.Random(seed)
        self.interval = interval
        self.long_share = long_share
        self.result = Result()
        self.flapping = Flapping()
        self._number = itertools.count(1)
        editor = [
            edits.Editor(self.random.randrange(1 << 30), surroundings.urls, surroundings.certificates, surroundings.taken_port)
            for _ in range(2)
        ]
        first = edits.base(surroundings.urls[0], surroundings.urls, surroundings.certificates, 2)
        self.texts = [Texts(self.random.randrange(1 << 30), first, each, self.render) for each in editor]
        self.ledger = Ledger(self.render(first))
        self.may_be_in_use = {self.ledger.file_text}
        self.left: LeftBehind | None = None

    @property
    def database(self) -> Path:
        return self.folder / "dao.db"

    def render(self, config: Mapping[str, object]) -> str:
        """Its text, which is no other's: they are numbered."""
        flapping = {
            "name": FLAPPING,
            "match": {"path_prefix": "/flapping"},
            "upstreams": [{"name": FLAPPING, "url": self.flapping.url}],
        }
        rules = [flapping, *config["routes"]["rule"]]  # type: ignore[index]
        whole = {
            **config,
            "admin": {"bind": "127.0.0.1:0"},
            "memory": {"path": str(self.database), "flush_interval_ms": round(self.interval * 1000), "snapshots": KEPT_SNAPSHOTS},
            "telemetry": {**config["telemetry"], "access_log": {"path": str(self.folder / "access.log")}},  # type: ignore[dict-item]
            "routes": {"rule": rules},
        }  # fmt: skip
        return f"# configuration {next(self._number)}\n{to_toml(whole)}"

    def run(self, kills: int) -> Result:
        try:
            for kill in range(kills):
                wrong = self.one_life()
                self.result.wrong += [f"{self.folder.name}, kill {kill + 1}: {text}" for text in wrong]
                if wrong:
                    break  # what comes after it would be wrong for the same reason
            else:
                with self.start(early=False) as last:
                    self.result.wrong += [f"{self.folder.name}, after the last kill: {text}" for text in self.check_start(last)]
        except (AssertionError, OSError) as problem:
            self.result.wrong.append(f"{self.folder.name}, kill {self.result.kills + 1}: {str(problem)[-3000:]}")
        finally:
            self.flapping.upstream.process.kill()
            self.flapping.upstream.process.wait()
        return self.result

    def start(self, *, early: bool) -> Dao:
        # A file that cannot be used keeps DAO from starting, so it says again what it said before.
        began = time.monotonic()
        dao = Dao(self.ledger.file_text, self.folder, wait_ready=not early)
        if not early:
            self.result.ready_after.append(time.monotonic() - began)
        return dao

    def one_life(self) -> list[str]:
        early = self.random.random() < 0.1
        dao = self.start(early=early)
        killed = threading.Event()
        try:
            wrong = [] if early else self.check_start(dao)
            if wrong:
                return wrong
            began = time.monotonic()
            seeds = [self.random.randrange(1 << 30) for _ in range(2)]
            operators: list[Operator] = []
            traffic = None
            if early:
                killed.wait(self.random.uniform(0, 0.15) * deadline.SCALE)
            else:
                traffic = Traffic(dao, self.flapping, seeds[0], killed)
                operators = [ApiOperator(dao, self.ledger, self.texts[0], killed), FileOperator(dao, self.ledger, self.texts[1], killed)]  # fmt: skip
                self.wait_for_the_moment(killed)
            under_way = self.ledger.under_way()
            ended = dao.process.poll()
            killed.set()
            killed_at, killed_at_wall = time.monotonic(), time.time()
            dao.process.send_signal(signal.SIGKILL)
        finally:
            killed.set()
            dao.kill()
            with (self.folder / "dao.log").open("a") as log:
                log.write(f"{dao.log_text()}\n\nkilled, {self.result.kills + 1}\n\n")
        for each in (*operators, *([traffic] if traffic else [])):
            each.join()
            wrong += each.wrong
        if ended is not None:
            wrong.append(f"it ended by itself with {ended}")
        wrong += [line.text for line in dao.logs("the store cannot be used")]
        if wrong:
            return with_log(wrong, dao)
        dao.check_undamaged()
        self.count(early, under_way, operators, traffic)
        wrong = self.check_left(dao, early)
        if traffic and self.left and not wrong:
            wrong = self.check_learned(traffic, began, killed_at, killed_at_wall)
        return with_log(wrong, dao)

    def wait_for_the_moment(self, killed: threading.Event) -> None:
        """Within an order, anywhere, or late enough to see the slow rounds of the learner."""
        draw = self.random.random()
        if draw < self.long_share:
            self.result.long_lives += 1
            killed.wait(self.random.uniform(12, 16) * deadline.SCALE)
        elif draw < 0.5:
            killed.wait(self.random.uniform(0, self.interval))
            self.ledger.wait_order(deadline.SCALE)
            killed.wait(self.random.uniform(0, 0.03) * deadline.SCALE)
        else:
            killed.wait(self.random.uniform(0, 2 * self.interval + 2) * deadline.SCALE)

    def count(self, early: bool, under_way: int, operators: list[Operator], traffic: Traffic | None) -> None:
        self.result.kills += 1
        self.result.before_ready += early
        self.result.under_way += under_way > 0
        self.result.requests += traffic.requests if traffic else 0
        for operator in operators:
            for turn, count in operator.counts.items():
                self.result.turns[turn] = self.result.turns.get(turn, 0) + count

    # After a kill -----------------------------------------------------------------------------------------------

    def check_left(self, dao: Dao, early: bool) -> list[str]:
        """What the files hold, before anybody has mended them."""
        self.left = left_behind(self.database, self.folder / "copy")
        if self.left and self.left.damage:
            return [self.left.damage]
        if self.left is None or not self.left.tables:
            return ["the database is gone, or has no tables"] if self.ledger.numbers() else []
        snapshots = self.left.snapshots
        not_on_disk = {
            int(line.fields["snapshot"]) for line in dao.logs("the snapshot of the configuration is not on disk yet")
        }
        wrong = []
        for line in dao.logs("reloaded"):
            number = int(line.fields["snapshot"])
            if number in not_on_disk or self.ledger.has(number):
                continue
            if number in snapshots:
                self.ledger.applied(number, snapshots[number][1])
            else:
                wrong.append(f"snapshot {number} is not there, though its reload was logged")
        # A start that was cut short has changed nothing of what may be in use.
        if not early:
            self.may_be_in_use = self.ledger.killed(not_on_disk)
        wrong += self.ledger.check_history(snapshots, KEPT_SNAPSHOTS)
        wrong += self.ledger.contradictions()
        self.result.applied = len(self.ledger.numbers())
        return wrong

    def check_learned(self, traffic: Traffic, began: float, killed_at: float, killed_at_wall: float) -> list[str]:
        assert self.left
        wrong = []
        bound = self.interval + LOOK_INTERVAL + SLACK
        kept = self.presence_of(f"{FLAPPING} {self.flapping.url}")
        seen = traffic.seen
        # Between two looks of the client it may have been otherwise for a moment, but for the last second or so of the life.
        if seen and kept != seen.presence:
            lost = killed_at - seen.since
            self.result.lost_presence.append(lost)
            if lost > bound:
                wrong.append(f"{FLAPPING} has been {seen.presence} for {lost:.3f} s, and the store has {kept}")
        lived = killed_at - began
        as_of = self.left.state.get("learned/as-of", (0, ""))[0] / 1000
        age = killed_at_wall - as_of
        if lived > bound:
            self.result.as_of_age.append(age)
            if age > AS_OF_INTERVAL + bound:
                wrong.append(f"learned/as-of is {age:.3f} s old")
        # The other routes may be without traffic: an edit can put a rule before them.
        age = killed_at_wall - self.left.state.get("route/stable", (0, ""))[0] / 1000
        if lived > MOST_ROUTES + bound and age > MOST_ROUTES + bound:
            wrong.append(f"what the route stable has learned is {age:.3f} s old")
        return wrong

    def presence_of(self, upstream: str) -> str:
        assert self.left
        found = self.left.state.get(f"presence/{upstream}")
        return json.loads(found[1])["presence"] if found else "unknown"

    # The next start -----------------------------------------------------------------------------------------------

    def check_start(self, dao: Dao) -> list[str]:
        asked = time.monotonic()
        with RawClient(plain_listener(dao)) as client:
            answer = client.exchange(get("/stable/get"))
        took = time.monotonic() - asked
        self.result.answer_after.append(took)
        wrong = []
        if answer.status != 200 or took > ANSWER_AT_ONCE:
            wrong.append(f"the first answer: {answer.status} after {took:.3f} s")
        config = read(dao, "/v1/config")
        text, number = config["text"], config["snapshot"]
        if text not in self.may_be_in_use:
            names = sorted(each.partition("\n")[0] for each in self.may_be_in_use)
            wrong.append(f"it uses {text.partition(chr(10))[0]!r}, and not one of {names}; the file has {self.ledger.file_text.partition(chr(10))[0]!r}")  # fmt: skip
        newest = read(dao, "/v1/config/history?limit=1")["snapshots"][0]
        if (newest["number"], newest["in_use"], newest["outcome"]) != (number, True, "applied"):
            wrong.append(f"snapshot {number} is in use, and the newest one is {newest}")
        self.ledger.applied(number, text)
        self.may_be_in_use = {text}
        store = read(dao, "/v1/status")["store"]
        if (store["kind"], store["healthy"]) != ("sqlite", True):
            wrong.append(f"the store: {store}")
        wrong += self.ledger.contradictions()
        wrong += self.check_restored(dao)
        return with_log(wrong, dao)

    def check_restored(self, dao: Dao) -> list[str]:
        """What was saved is what it goes on with, where nothing has changed since: the refused stay absent."""
        if not self.left or not self.flapping.refuses or self.presence_of(f"{FLAPPING} {self.flapping.url}") != "absent":
            return []
        presence = read(dao, f"/v1/upstreams/{FLAPPING}")["presence"]
        return [] if presence == "absent" else [f"{FLAPPING} was absent, and is {presence} after the start"]


def run_campaign(
    kills: int, seed: int, folder: Path, *, interval: float = 1.0, parallel: int = 3, long_share: float = 0.05,
    lives: int = LIVES_OF_A_STORE, only: int | None = None, quiet: bool = False,
) -> Result:  # fmt: skip
    """`kills` kills in all, `lives` for each store, `parallel` stores at a time. `only`: of one store."""
    shares = [min(lives, kills - first) for first in range(0, kills, lives)]
    chosen = range(len(shares)) if only is None else [only]
    total = Result()
    surroundings = Surroundings(folder / "surroundings")

    def one(index: int) -> Result:
        own = folder / f"store-{index}"
        shutil.rmtree(own, ignore_errors=True)
        return OneStore(own, seed * 1_000_003 + index, surroundings, interval, long_share).run(shares[index])

    try:
        with ThreadPoolExecutor(parallel) as pool:
            for result in pool.map(one, chosen):
                total.add(result)
                if not quiet:
                    first = f": {result.wrong[0].partition(chr(10))[0]}" if result.wrong else ""
                    print(f"{total.kills}/{kills} kills, {len(total.wrong)} wrong{first}", file=sys.stderr, flush=True)
    finally:
        surroundings.stop()
    return total


def quantiles(values: list[float]) -> str:
    ordered = sorted(values) or [0.0]
    return f"median {ordered[len(ordered) // 2]:.3f} s, most {ordered[-1]:.3f} s"


def show(result: Result, interval: float) -> str:
    lines = [
        f"kills            {result.kills}: {result.under_way} while an order was under way, {result.before_ready} before the start was over",
        f"reloads          {result.applied} applied; " + ", ".join(f"{turn} {count}" for turn, count in sorted(result.turns.items())),
        f"requests         {result.requests}",
        f"lost             {len(result.lost_presence)} changes of presence: {quantiles(result.lost_presence)} before the kill (flush interval {interval} s)",
        f"learned/as-of    {quantiles(result.as_of_age)} before the kill",
        f"next start       ready after {quantiles(result.ready_after)}; first answer after {quantiles(result.answer_after)}",
        *(f"FAILED: {text}" for text in result.wrong),
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--interval", type=float, default=1.0, help="flush interval in seconds (1)")
    parser.add_argument("--parallel", type=int, default=3, help="stores at a time")
    parser.add_argument("--long", type=float, default=0.05, help="share of lives of more than 12 s")
    parser.add_argument("--store", type=int, help="only the store of that number")
    parser.add_argument("--folder", type=Path, help="keep the stores, files and logs there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dao-kill-") as scratch:
        folder = options.folder or Path(scratch)
        result = run_campaign(
            options.kills, options.seed, folder, interval=options.interval, parallel=options.parallel,
            long_share=options.long, only=options.store,
        )  # fmt: skip
    print(f"seed             {options.seed}")
    print(show(result, options.interval))
    if not result.good:
        broken = sorted({text.split(",")[0].removeprefix("store-") for text in result.wrong})
        print(f"again: make campaign-kill CAMPAIGN_ARGS='--seed {options.seed} --kills {options.kills} --store {broken[0]} --folder FOLDER'")  # fmt: skip
    expected = options.kills if options.store is None else 0
    return 0 if result.good and result.kills >= expected else 1


if __name__ == "__main__":
    sys.exit(main())
