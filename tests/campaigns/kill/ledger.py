"""What was ordered of a DAO, and what it has said to be applied: from these follows what may be in use after a kill."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Order:
    """One that is under way: nobody has heard yet what came of it."""

    text: str  # what is in use once it is obeyed
    began: float
    of_file: bool
    new: bool = True  # of the file: it never said that before


class Ledger:
    """Any thread. Of all lives of a store; `file_text` is what its file says, or must say again before the next start."""

    def __init__(self, file_text: str):
        self.file_text = file_text
        self.orders = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._pending: list[Order] = []
        self._texts: dict[int, str] = {}  # of the snapshots that were said to be applied
        self._told: dict[int, float] = {}  # when that was said last
        self._contradictions: list[str] = []

    @contextmanager
    def order(self, text: str, *, of_file: bool, new: bool = True) -> Iterator[None]:
        """Around an order. If it ends by an exception it stays under way: it may be obeyed or not."""
        pending = Order(text, time.monotonic(), of_file, new)
        with self._changed:
            self._pending.append(pending)
            if of_file:
                self.file_text = text
            self.orders += 1
            self._changed.notify_all()
        yield
        with self._changed:
            self._pending.remove(pending)

    def wait_order(self, seconds: float) -> None:
        """For the beginning of the next one, at most so long."""
        with self._changed:
            before = self.orders
            self._changed.wait_for(lambda: self.orders > before, seconds)

    def applied(self, number: int, text: str) -> None:
        """DAO has said that this snapshot is in use."""
        with self._lock:
            known = self._texts.setdefault(number, text)
            self._told[number] = time.monotonic()
            if known != text:
                self._contradictions.append(f"the number {number} was given to two configurations")

    def has(self, number: int) -> bool:
        with self._lock:
            return number in self._texts

    def numbers(self) -> list[int]:
        with self._lock:
            return sorted(self._texts)

    def under_way(self) -> int:
        with self._lock:
            return len(self._pending)

    def contradictions(self) -> list[str]:
        with self._lock:
            return list(self._contradictions)

    def killed(self, not_on_disk: set[int]) -> set[str]:
        """The texts of which one must be in use after the next start. `not_on_disk`: DAO has warned that these could be
        lost. Nothing is under way any more."""
        with self._lock:
            for number in not_on_disk:
                self._texts.pop(number, None)
            may = {order.text for order in self._pending}
            # A file that says something new counts, but against what was ordered after it was written.
            since = max((order.began for order in self._pending if order.of_file and order.new), default=0.0)
            may |= {self._texts[number] for number, at in self._told.items() if since and at >= since and number in self._texts}
            if not since and self._texts:
                may.add(self._texts[max(self._texts)])
            self._pending.clear()
            return may

    def check_history(self, snapshots: Mapping[int, tuple[str, str]], keep: int) -> list[str]:
        """Every one that was said to be applied is there, but for those that are dropped on purpose."""
        oldest = sorted(snapshots)[-keep:][0] if snapshots else 0
        wrong = []
        with self._lock:
            for number, text in self._texts.items():
                outcome, kept = snapshots.get(number, ("missing", ""))
                if number < oldest:
                    continue
                if outcome != "applied":
                    wrong.append(f"snapshot {number} was said to be applied, and is {outcome}")
                elif kept != text:
                    wrong.append(f"snapshot {number} has another text: {kept[:40]!r} instead of {text[:40]!r}")
        return wrong
