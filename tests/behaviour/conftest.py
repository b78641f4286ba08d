"""Fixtures of the behaviour tests; tests/behaviour/README.md tells how to use them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib.dao import Dao, binary
from lib.origin import Origin
from lib.wire import World, Worlds


def pytest_sessionstart(session: pytest.Session) -> None:
    if not session.config.option.collectonly and not os.access(binary(), os.X_OK):
        raise pytest.UsageError(f"{binary()} is missing: build it, or name another with DAO_BIN")


@pytest.fixture
def make_origin() -> Iterator[Callable[..., Origin]]:
    """A function that starts origins for one test. Anything they could not read strictly fails the test."""
    started: list[Origin] = []

    def make(**options: object) -> Origin:
        started.append(Origin(**options))
        return started[-1]

    make.started = started
    yield make
    for origin in started:
        origin.end()
    for origin in started:
        assert not origin.violations, origin.violations


@pytest.fixture
def origin(make_origin: Callable[..., Origin]) -> Origin:
    """One origin for one test."""
    return make_origin()


@pytest.fixture
def start_dao(make_origin: Callable[..., Origin], tmp_path: Path) -> Iterator[Callable[..., Dao]]:
    """A function that starts a DAO for one test: start_dao(simple_config(origin.url)).

    At the end the clients made by dao.client() and the origins' connections are closed; then DAO must be back at its
    idle descriptors and tasks, and must exit with 0 on SIGTERM. A test may stop or kill it before.
    """
    started: list[Dao] = []

    def start(config: object, **options: object) -> Dao:
        started.append(Dao(config, tmp_path / f"dao{len(started)}", **options))
        return started[-1]

    yield start
    try:
        for dao in started:
            dao.close_clients()
            if dao.process.poll() is None:
                for backend in make_origin.started:
                    backend.close_connections()
                dao.wait_idle()
            dao.stop()
    finally:
        for dao in started:
            dao.kill()


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    """The shared DAO+origins pairs of the wire cases, started on first use and checked for leaks at the end."""
    shared = Worlds(tmp_path_factory.mktemp("worlds"))
    try:
        yield shared
        shared.finish()
    finally:
        shared.kill()


@pytest.fixture
def world(worlds: Worlds) -> World:
    """The world with the plain configuration."""
    return worlds.get("plain")
