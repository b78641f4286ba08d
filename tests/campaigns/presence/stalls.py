"""Moments in which the machine, not DAO, was late: in them no verdict is held against DAO (README.md)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from oracle import Stall

LATE = 0.25  # seconds; half the time after which DAO gives up an upstream that does not answer


class Metronome:
    """While it runs, the stalls of the whole machine."""

    def __enter__(self) -> Metronome:
        self._stalls: list[tuple[float, float]] = []
        self._process = subprocess.Popen([sys.executable, str(Path(__file__).with_name("metronome.py")), str(LATE)],
                                         stdout=subprocess.PIPE, text=True)
        assert self._process.stdout and self._process.stdout.readline() == "ready\n"
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()  # type: ignore[union-attr]

    def _read(self) -> None:
        for line in self._process.stdout:  # type: ignore[union-attr]
            begin, end = line.split()
            self._stalls.append((float(begin), float(end)))

    def between(self, begin: float, end: float) -> list[Stall]:
        """Those of that time, in seconds since its begin."""
        return [Stall(one - begin, other - begin) for one, other in list(self._stalls) if other >= begin and one <= end]


def waited(pid: int) -> dict[str, float]:
    """Of each thread of the process: for how many seconds it was ready to run while others had the CPU."""
    waits = {}
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            fields = Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()
            waits[task] = int(fields[1]) / 1e9
    except OSError:
        pass  # it has ended
    return waits


class WaitingThreads:
    """Of some processes, told again and again which: the times in which one of their threads waited for long."""

    def __init__(self) -> None:
        self.stalls: list[Stall] = []
        self._before: dict[str, float] | None = None  # None: nobody has looked yet
        self._looked_at = 0.0

    def look(self, now: float, pids: list[int]) -> None:
        waits = {task: seconds for pid in pids for task, seconds in waited(pid).items()}
        before = waits if self._before is None else self._before
        if any(seconds - before.get(task, 0.0) > LATE for task, seconds in waits.items()):
            self.stalls.append(Stall(self._looked_at, now))
        self._before, self._looked_at = waits, now


def union_seconds(stalls: list[Stall]) -> float:
    total = last = 0.0
    for stall in sorted(stalls, key=lambda stall: stall.begin):
        total += max(0.0, stall.end - max(last, stall.begin))
        last = max(last, stall.end)
    return total
