"""The fixtures of the behaviour tests, and what these tests run beside DAO (tests/interop/README.md)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lib import deadline
from lib.dao import Dao
from lib.tls import Authority, Identity

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
MODULES = ROOT / "build" / "interop"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


class Node:
    """A program of this folder under node, with the packages of build/interop."""

    def __init__(self, script: str, *arguments: str):
        self.process = subprocess.Popen(
            ["node", str(MODULES / script), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def line(self) -> str:
        """The next line it prints."""
        assert self.process.stdout
        got = self.process.stdout.readline().strip()
        if not got:
            _, errors = self.process.communicate(timeout=deadline.DEFAULT)
            raise AssertionError(f"node ended without a word: {errors[-2000:]}")
        return got

    def finish(self) -> str:
        """What it has still printed, when it has ended well."""
        output, errors = self.process.communicate(timeout=90 * deadline.SCALE)
        assert self.process.returncode == 0, errors[-3000:]
        return output

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def node() -> Iterator[Callable[..., Node]]:
    started: list[Node] = []

    def start(script: str, *arguments: str) -> Node:
        started.append(Node(script, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.kill()


@pytest.fixture
def start_dao(tmp_path: Path) -> Iterator[Callable[..., Dao]]:
    started: list[Dao] = []

    def start(config: object) -> Dao:
        started.append(Dao(config, tmp_path / f"dao{len(started)}"))
        return started[-1]

    yield start
    try:
        for dao in started:
            dao.stop()
    finally:
        for dao in started:
            dao.kill()


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A certificate that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("tls")).issue("DNS:localhost", "IP:127.0.0.1")
