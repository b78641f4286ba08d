"""Moments in which the machine, not DAO, was late: in them no verdict is held against DAO (README.md)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
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


class ThreadAccounts:
    """The scheduler's accounts of a process's threads. They stay open: each path below /proc that is looked up leaves the
    kernel an entry to clear away when the process ends, and several reapers at that at once keep both CPUs busy for a
    minute (seen with Linux 6.18)."""

    def __init__(self, pid: int) -> None:
        self._files: dict[str, int] = {}
        with contextlib.suppress(OSError):  # it has ended
            for task in os.listdir(f"/proc/{pid}/task"):
                self._files[task] = os.open(f"/proc/{pid}/task/{task}/schedstat", os.O_RDONLY | os.O_CLOEXEC)

    def waited(self) -> dict[str, float]:
        """Of each thread that lives: for how many seconds it was ready to run while others had the CPU."""
        waits = {}
        for task, file in self._files.items():
            with contextlib.suppress(OSError):
                waits[task] = int(os.pread(file, 100, 0).split()[1]) / 1e9
        return waits

    def close(self) -> None:
        for file in self._files.values():
            os.close(file)


class WaitingThreads:
    """Of some processes, told again and again which: the times in which one of their threads waited for long. To be closed
    when they have ended."""

    def __init__(self, accounts: Callable[[int], ThreadAccounts] = ThreadAccounts) -> None:
        self.stalls: list[Stall] = []
        self._accounts = accounts
        self._processes: dict[int, ThreadAccounts] = {}
        self._before: dict[str, float] | None = None  # None: nobody has looked yet
        self._looked_at = 0.0

    def look(self, now: float, pids: list[int]) -> None:
        for gone in self._processes.keys() - set(pids):
            self._processes.pop(gone).close()
        for pid in pids:
            if pid not in self._processes:
                self._processes[pid] = self._accounts(pid)
        waits = {task: seconds for accounts in self._processes.values() for task, seconds in accounts.waited().items()}
        before = waits if self._before is None else self._before
        if any(seconds - before.get(task, 0.0) > LATE for task, seconds in waits.items()):
            self.stalls.append(Stall(self._looked_at, now))
        self._before, self._looked_at = waits, now

    def close(self) -> None:
        for accounts in self._processes.values():
            accounts.close()


def union_seconds(stalls: list[Stall]) -> float:
    total = last = 0.0
    for stall in sorted(stalls, key=lambda stall: stall.begin):
        total += max(0.0, stall.end - max(last, stall.begin))
        last = max(last, stall.end)
    return total
