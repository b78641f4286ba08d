#!/usr/bin/python3
"""kill -9 at random moments under writes; after each the store must be whole (README.md).

Exit status 0 if every check held, 1 if not.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE))
from left_behind import left_behind  # noqa: E402

KEYS = 1000
KEYS_OF_PUT = 4
LIFES_OF_A_STORE = 20  # then a new one is begun, so that kills hit the making of one, too


def default_writer() -> Path:
    """Beside the DAO under test: DAO_BIN, else the release build."""
    dao = os.environ.get("DAO_BIN")
    return (Path(dao).parent.parent if dao else ROOT / "build/release") / "tests/store_writer"


def time_scale() -> float:
    return float(os.environ.get("DAO_TEST_TIME_SCALE", "1"))


@dataclass
class Life:
    """What one writer said before it was killed. Times in seconds, monotonic."""

    opened: tuple[str, int, int] | None = None  # kind, newest applied snapshot, count
    puts: list[tuple[int, float]] = field(default_factory=list)
    added: dict[int, int] = field(default_factory=dict)  # number of a snapshot: of which put its text tells
    durable: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, output: Path) -> Life:
        life = cls()
        text = output.read_text()
        for line in text[: text.rfind("\n") + 1].splitlines():  # the last one may be cut
            what, *words = line.split(" ")
            if what == "opened":
                life.opened = (words[0], int(words[1]), int(words[2]))
            elif what == "put":
                life.puts.append((int(words[0]), int(words[1]) / 1e9))
            elif what == "added":
                life.added[int(words[0])] = int(words[1])
            elif what == "durable":
                life.durable.append(int(words[0]))
            elif what == "flush":
                life.wrong.append("a flush failed")
            elif what == "status":
                if words[0] != "1" or words[2] != "0":
                    life.wrong.append(f"the store says: {line}")
            else:
                life.wrong.append(f"it said {line!r}")
        return life


@dataclass
class Result:
    kills: int = 0
    before_open: int = 0  # of these, kills before the store was open
    snapshots: int = 0  # that were said to be durable
    losses: list[float] = field(default_factory=list)  # seconds of puts that were lost, at each kill
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Result) -> None:
        self.kills += other.kills
        self.before_open += other.before_open
        self.snapshots += other.snapshots
        self.losses += other.losses
        self.wrong += other.wrong


def text_of(put: int) -> str:
    return f"# after put {put}\n".ljust(300_000 if put % 10 == 0 else 2000, "#")


class Model:
    """The keys and values after each put; what a put does follows from its number."""

    def __init__(self) -> None:
        self.count = 0
        self.state: dict[str, int] = {}

    def at(self, count: int) -> dict[str, int]:
        for put in range(self.count + 1, count + 1):
            for i in range(KEYS_OF_PUT):
                self.state[f"key/{(put * 7919 + i * 104_729) % KEYS}"] = put
        self.count = count
        return self.state


class OneStore:
    """A store and the writers that live and die with it, one after the other."""

    def __init__(self, folder: Path, seed: int, interval: float, slack: float, writer: Path):
        self.folder = folder
        self.random = random.Random(seed)
        self.interval = interval
        self.slack = slack
        self.writer = writer
        self.model = Model()
        self.highest_number = 0
        self.last_durable = 0
        self.result = Result()

    def run(self, kills: int) -> Result:
        for kill in range(kills):
            wrong = self.one_life()
            self.result.wrong += [f"{self.folder.name}, kill {kill + 1}: {text}" for text in wrong]
            if wrong:
                break  # what comes after it would be wrong for the same reason
        return self.result

    def delay(self) -> float:
        """Seconds until the kill: sometimes while the store is being opened, mostly within its writing."""
        longest = 0.05 if self.random.random() < 0.15 else 2 * self.interval + 0.5
        return self.random.uniform(0, longest) * time_scale()

    def puts_per_snapshot(self) -> int:
        """A snapshot takes with it what else is pending, so that only lives with few of them show the flush interval."""
        return self.random.choice([45, 45, 100_000])

    def one_life(self) -> list[str]:
        output = self.folder / "output"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [self.writer, self.folder / "dao.db", str(round(self.interval * 1000)), str(self.puts_per_snapshot())],
                stdout=file,
                stderr=subprocess.PIPE,
            )
            try:
                _, log = process.communicate(timeout=self.delay())
                return [f"it ended by itself with {process.returncode}: {log.decode(errors='replace')[-500:]}"]
            except subprocess.TimeoutExpired:
                killed_at = time.monotonic()
                process.send_signal(signal.SIGKILL)
                _, log = process.communicate()
        life = Life.read(output)
        self.result.kills += 1
        self.result.before_open += life.opened is None
        self.result.snapshots += len(life.durable)
        wrong = life.wrong
        if log:
            wrong.append(f"its log: {log.decode(errors='replace')[-500:]}")
        return wrong + self.check_opened(life) + self.check_files(life, killed_at)

    def check_opened(self, life: Life) -> list[str]:
        """What DAO itself makes of what the kill before left."""
        wrong = []
        if life.opened:
            kind, applied, _ = life.opened
            if kind != "sqlite":
                wrong.append(f"the store is of the kind {kind}")
            if applied < self.last_durable:
                wrong.append(f"the running config is {applied}, though {self.last_durable} was applied and on disk")
        for number in life.added:
            if number <= self.highest_number:
                wrong.append(f"the number {number} was used before (highest: {self.highest_number})")
            self.highest_number = max(self.highest_number, number)
        return wrong

    def check_files(self, life: Life, killed_at: float) -> list[str]:
        left = left_behind(self.folder / "dao.db", self.folder / "copy")
        if left is None:
            return [] if not life.durable else ["the database is gone"]
        if left.damage:
            return [left.damage]
        if not left.tables:
            return [] if not life.puts else ["it has no tables, though it was open"]
        state = {key: value for key, (_, value) in left.state.items()}
        return self.check_state(state, life, killed_at) + self.check_snapshots(left.snapshots, life)

    def check_state(self, state: dict[str, str], life: Life, killed_at: float) -> list[str]:
        count = int(state.pop("count", "0"))
        wrong = []
        if {key: int(value.split(" ")[0]) for key, value in state.items()} != self.model.at(count):
            wrong.append(f"the state is not that after put {count}")
        lost = [at for number, at in life.puts if number > count]
        loss = killed_at - lost[0] if lost else 0.0
        self.result.losses.append(loss)
        if loss > self.interval + self.slack * time_scale():
            wrong.append(f"the puts of the last {loss:.3f} s are lost, with a flush interval of {self.interval} s")
        return wrong

    def check_snapshots(self, snapshots: dict[int, tuple[str, str]], life: Life) -> list[str]:
        wrong = []
        if life.durable:
            self.last_durable = life.durable[-1]
        for number in life.durable[-100:]:
            outcome, _ = snapshots.get(number, ("missing", ""))
            # Those before the last hundred are dropped on purpose.
            if outcome != "applied" and number > max(snapshots, default=0) - 100:
                wrong.append(f"snapshot {number} was said to be on disk and applied, and is {outcome}")
        for number, (_, text) in snapshots.items():
            # The writer may have been killed before it could say what it had added.
            put = life.added.get(number) or int(text[: text.find("\n")].split(" ")[-1])
            if text != text_of(put):
                wrong.append(f"snapshot {number} has another text: {text[:40]!r}")
        if self.last_durable and self.last_durable not in snapshots:
            wrong.append(f"the last durable snapshot, {self.last_durable}, is gone")
        return wrong


def run_campaign(
    kills: int, seed: int, *, interval: float = 1.0, slack: float = 0.5, parallel: int = 4, writer: Path | None = None,
    folder: Path | None = None,
) -> Result:  # fmt: skip
    """`kills` kills in all, LIFES_OF_A_STORE for each store, `parallel` stores at a time."""
    writer = writer or default_writer()
    if not os.access(writer, os.X_OK):
        raise SystemExit(f"{writer} is missing: build it with scripts/build release store_writer")
    total = Result()
    shares = [min(LIFES_OF_A_STORE, kills - first) for first in range(0, kills, LIFES_OF_A_STORE)]
    with tempfile.TemporaryDirectory(prefix="dao-store-") as temporary, ThreadPoolExecutor(parallel) as pool:
        base = folder or Path(temporary)

        def one(index: int) -> Result:
            own = base / f"store-{index}"
            own.mkdir(parents=True)
            return OneStore(own, seed * 1_000_003 + index, interval, slack, writer).run(shares[index])

        for result in pool.map(one, range(len(shares))):
            total.add(result)
            print(f"{total.kills} kills, {len(total.wrong)} wrong", file=sys.stderr)
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--interval", type=float, default=1.0, help="flush interval in seconds (1)")
    parser.add_argument("--slack", type=float, default=0.5, help="seconds that the write itself may take (0.5)")
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--writer", type=Path)
    parser.add_argument("--folder", type=Path, help="keep the stores there")
    options = parser.parse_args()
    result = run_campaign(
        options.kills, options.seed, interval=options.interval, slack=options.slack, parallel=options.parallel,
        writer=options.writer, folder=options.folder,
    )  # fmt: skip
    print("\n".join(result.wrong))
    losses = sorted(result.losses) or [0.0]
    print(
        f"{result.kills} kills ({result.before_open} before the store was open), {result.snapshots} durable snapshots; "
        f"puts lost at a kill: median {losses[len(losses) // 2]:.3f} s, most {losses[-1]:.3f} s "
        f"(flush interval {options.interval} s); {len(result.wrong)} wrong"
    )
    return 1 if result.wrong or result.kills < options.kills else 0


if __name__ == "__main__":
    sys.exit(main())
