"""Who reloads DAO until it is killed: one by its file, one by the admin API, both without a pause worth the name."""

from __future__ import annotations

import json
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edits import Editor
from ledger import Ledger

from lib import deadline
from lib.admin import change, read
from lib.dao import Dao
from lib.http1 import Response

TOML = "Content-Type: application/toml"
JSON = "Content-Type: application/json"
FAILED = "reload failed, nothing was changed"
REFUSED = {409, 422}


class Killed(Exception):
    """What was waited for cannot come any more."""


class Texts:
    """Configurations at random, each a text that there never was before."""

    def __init__(self, seed: int, first: dict[str, object], editor: Editor, render: Callable[[dict[str, object]], str]):
        self.random = random.Random(seed)
        self.editor = editor
        self._config = first
        self._render = render

    def next(self) -> str:
        self._config = self.editor.next(self._config)
        return self._render(self._config)


class Operator:
    """A thread that goes on until the process is gone. What it sees that it should not is in `wrong`."""

    def __init__(self, dao: Dao, ledger: Ledger, texts: Texts, killed: threading.Event):
        self.dao, self.ledger, self.texts, self.killed = dao, ledger, texts, killed
        self.random = texts.random
        self.wrong: list[str] = []
        self.counts: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(4 * deadline.DEFAULT)
        if self._thread.is_alive():
            self.wrong.append("an operator did not come to its end")

    def turns(self) -> list[Callable[[], None]]:
        raise NotImplementedError

    def _run(self) -> None:
        turns = self.turns()
        while not self.killed.wait(self.random.uniform(0, 0.05)):
            turn = self.random.choice(turns)
            try:
                turn()
            except BaseException as problem:  # noqa: BLE001: before the kill nothing may fail, whatever it is
                if not self.killed.is_set():
                    self.wrong.append(f"{turn.__name__}: {problem!r}")
                return
            self.counts[turn.__name__] = self.counts.get(turn.__name__, 0) + 1

    def _wait(self, condition: Callable[[], object], what: str) -> None:
        def over() -> bool:
            return bool(condition()) or self.killed.is_set()

        deadline.wait_until(over, what, 4 * deadline.DEFAULT)
        if self.killed.is_set():
            raise Killed

    def _expect(self, response: Response, statuses: set[int]) -> dict:
        assert response.status in statuses, (response.status, response.body[:500])
        return json.loads(response.body)


class ApiOperator(Operator):
    def turns(self) -> list[Callable[[], None]]:
        return [self.apply, self.apply, self.apply, self.roll_back, self.try_out, self.send_nonsense]

    def apply(self) -> None:
        self._apply(self.texts.next())

    def _apply(self, text: str) -> None:
        with self.ledger.order(text, of_file=False):
            answer = self._expect(change(self.dao, "/v1/config", TOML, body=text.encode()), {200})
            assert answer["result"] == "applied", answer
            self.ledger.applied(answer["snapshot"], text)

    def roll_back(self) -> None:
        numbers = self.ledger.numbers()[-50:]
        number = self.random.choice(numbers)
        text = read(self.dao, f"/v1/config/snapshots/{number}")["text"]
        with self.ledger.order(text, of_file=False):
            answer = self._expect(change(self.dao, f"/v1/config/rollback/{number}"), {200})
            self.ledger.applied(answer["snapshot"], text)

    def try_out(self) -> None:
        target = "/v1/config?dry_run=true"
        answer = self._expect(change(self.dao, target, TOML, body=self.texts.next().encode()), {200})
        assert answer["result"] == "valid", answer

    def send_nonsense(self) -> None:
        text = self.texts.editor.broken(self.texts.next())
        self._expect(change(self.dao, "/v1/config", TOML, body=text.encode()), REFUSED)


class FileOperator(Operator):
    """It moves another file over the old one, or writes into it, and tells DAO or leaves it to find out."""

    def turns(self) -> list[Callable[[], None]]:
        return [self.signal, self.signal, self.order, self.leave_it, self.write_nonsense, self.signal_again]

    def signal(self) -> None:
        with self._new_file():
            self._hang_up()

    def signal_again(self) -> None:
        """The file is as it was: it takes the place of what the API has applied."""
        with self.ledger.order(self.ledger.file_text, of_file=True, new=False):
            self._hang_up()

    def order(self) -> None:
        before = len(self.dao.logs())
        with self._new_file():
            self._expect(change(self.dao, "/v1/config/reload", JSON, body=b"{}"), {200})
            self._wait_in_use(before)

    def leave_it(self) -> None:
        """To the watcher of files."""
        before = len(self.dao.logs())
        with self._new_file():
            self._wait_in_use(before)

    def write_nonsense(self) -> None:
        good = self.ledger.file_text
        with self.ledger.order(good, of_file=True, new=False):
            before = len(self.dao.logs())
            self._write(self.texts.editor.broken(self.texts.next()))
            if self.random.random() < 0.5:
                self.dao.signal(signal.SIGHUP)
            self._wait(lambda: [line for line in self.dao.logs()[before:] if line.message == FAILED], "the refusal")
            self._write(good)
            self._hang_up()

    @contextmanager
    def _new_file(self) -> Iterator[None]:
        text = self.texts.next()
        with self.ledger.order(text, of_file=True):
            self._write(text)
            yield

    def _write(self, text: str) -> None:
        path: Path = self.dao.config_path
        if self.random.random() < 0.3:
            path.write_text(text)
        else:
            self.dao.write_config(text)

    def _hang_up(self) -> None:
        before = len(self.dao.logs())
        self.dao.signal(signal.SIGHUP)
        self._wait_in_use(before)

    def _wait_in_use(self, before: int) -> None:
        """Until DAO has said that it uses what the file says: the text of the snapshot tells."""
        wanted = self.ledger.file_text

        def in_use() -> bool:
            for line in self.dao.logs()[before:]:
                number = int(line.fields.get("snapshot", 0)) if line.message == "reloaded" else 0
                if number and number not in seen:
                    seen[number] = read(self.dao, f"/v1/config/snapshots/{number}")["text"]
                    self.ledger.applied(number, seen[number])
            return wanted in seen.values()

        seen: dict[int, str] = {}
        self._wait(in_use, "the file to be in use")
