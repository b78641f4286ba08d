"""`dao demo`: starts real programs, shows DAO's own figures, and leaves nothing behind however it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib import deadline
from lib.admin import run_daoctl
from lib.dao import binary

# Starting four programs and a first figure after two seconds.
PATIENCE = 4 * deadline.DEFAULT
FIGURES = re.compile(
    r"(\d+) req/s \| p50 ([\d.]+) ms  p99 ([\d.]+) ms \| errors ([\d.]+) % \| retries ([\d.]+)/s"
    r" \| steady (\d+) %  slow (\d+) %  flaky (\d+) %"
)


class Demo:
    def __init__(self, folder: Path, *arguments: str, stdout: int | None = None):
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.output_path = folder / "output"
        self.error_path = folder / "error"
        with self.output_path.open("wb") as output, self.error_path.open("wb") as error:
            self.process = subprocess.Popen(
                [binary(), "demo", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output if stdout is None else stdout,
                stderr=error,
                env={**os.environ, "TMPDIR": str(self.temporary)},
            )

    def output(self) -> str:
        return self.output_path.read_text()

    def wait_for(self, pattern: str | re.Pattern[str]) -> re.Match[str]:
        return deadline.wait_until(lambda: re.search(pattern, self.output()), f"{pattern} in the output", PATIENCE)

    def children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]

    def wait_end(self) -> int:
        return self.process.wait(PATIENCE)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def make(*arguments: str, **options: int) -> Demo:
        started.append(Demo(tmp_path, *arguments, **options))
        return started[-1]

    yield make
    for demo in started:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.wait()


def runs(pid: int) -> bool:
    """Whether the process exists and is not a zombie, which in a container may have nobody to reap it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def assert_gone(pids: list[int]) -> None:
    deadline.wait_until(lambda: not any(runs(pid) for pid in pids), "the end of all children", PATIENCE)


def test_it_ends_by_itself_and_says_what_was(start: Callable[..., Demo]) -> None:
    demo = start("--seconds", "4")
    proxy = demo.wait_for(r"DAO listens on (\S+)")[1]
    demo.wait_for("req/s")
    children = demo.children()
    assert len(children) == 4
    with urllib.request.urlopen(f"http://{proxy}/?inspect=1", timeout=PATIENCE) as answer:
        assert answer.headers["X-Upstream"] in ("steady", "slow", "flaky")
        assert ["Via", "1.1 dao"] in json.load(answer)["fields"]
    assert demo.wait_end() == 0
    assert_gone(children)
    assert demo.error_path.read_text() == ""
    assert list(demo.temporary.iterdir()) == []

    lines = [FIGURES.fullmatch(line) for line in demo.output().splitlines() if "req/s" in line]
    assert lines and all(lines)
    rate, p50, p99, errors, _, steady, slow, flaky = (float(figure) for figure in lines[-1].groups())  # type: ignore[union-attr]
    assert 40 < rate < 120
    assert 0 < p50 < p99 and errors < 20
    assert slow < steady and slow < flaky and 98 <= steady + slow + flaky <= 102
    assert re.search(r"\d+ requests in \d s, \d+ of them failed, \d+ retries\.\n$", demo.output())


def test_the_commands_it_shows_work(start: Callable[..., Demo], tmp_path: Path) -> None:
    demo = start()
    demo.wait_for("Ctrl-C ends everything")
    commands = re.findall(r"^  (curl|cat|tail) (.*?)  +# ", demo.output(), re.MULTILINE)
    assert len(commands) == 7
    for url in re.findall(r"'(http\S+)'", demo.output()):
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                assert answer.status in (200, 503)
        except urllib.error.HTTPError as error:
            assert error.code == (502 if "reset" in url else 503)
    (admin,) = re.findall(r"^  daoctl --admin (\S+) top  +# ", demo.output(), re.MULTILINE)
    assert run_daoctl("--admin", admin, "top", "--count", "1").returncode == 0
    assert "Worker 0 would choose " in run_daoctl("--admin", admin, "explain", "demo").stdout
    config = next(demo.temporary.glob("*/dao.toml"))
    checked = subprocess.run([binary(), "check", str(config)], capture_output=True, timeout=PATIENCE, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(start: Callable[..., Demo], number: int) -> None:
    demo = start()
    demo.wait_for("req/s")
    children = demo.children()
    demo.process.send_signal(number)
    assert demo.wait_end() == 0
    assert_gone(children)
    assert list(demo.temporary.iterdir()) == []


def test_its_sudden_death_ends_the_children(start: Callable[..., Demo]) -> None:
    demo = start()
    demo.wait_for("req/s")
    children = demo.children()
    demo.process.kill()
    demo.wait_end()
    assert_gone(children)


def test_the_death_of_a_child_ends_it_with_the_reason(start: Callable[..., Demo]) -> None:
    demo = start()
    demo.wait_for("req/s")
    children = demo.children()
    os.kill(children[1], signal.SIGKILL)
    assert demo.wait_end() == 1
    assert "slow has ended unexpectedly" in demo.error_path.read_text()
    assert_gone(children)


def test_a_taken_port_is_told(start: Callable[..., Demo]) -> None:
    first = start("--rate", "0")
    proxy = first.wait_for(r"DAO listens on (\S+)")[1]
    ended = subprocess.run(
        [binary(), "demo", "--bind", proxy], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert ended.returncode == 1 and "Address already in use" in ended.stderr


def test_on_a_terminal_one_line_is_rewritten(start: Callable[..., Demo]) -> None:
    ours, theirs = pty.openpty()
    try:
        demo = start("--seconds", "4", stdout=theirs)
        os.close(theirs)
        shown = b""
        while shown.count(b"req/s") < 2:
            shown += os.read(ours, 4096)
        # The terminal must be read on, or the demo waits for it.
        while True:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # EIO: the other side is closed
                break
    finally:
        os.close(ours)
    assert demo.wait_end() == 0
    live = shown[shown.index(b"Ends after") :]
    assert live.count(b"\r\x1b[K") >= 2
    assert b"\n" not in live[live.index(b"\x1b[K") : live.rindex(b"\x1b[K")]
