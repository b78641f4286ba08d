"""What a kill has left of a store: read from a copy, so that the next process finds what was left, and nothing that was
mended."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class LeftBehind:
    damage: str = ""  # what PRAGMA integrity_check found
    tables: bool = False  # without them it was being made
    state: dict[str, tuple[int, str]] = field(default_factory=dict)  # key: when (ms since 1970), value
    snapshots: dict[int, tuple[str, str]] = field(default_factory=dict)  # number: outcome, text


def left_behind(database: Path, copy: Path) -> LeftBehind | None:
    """Nothing: there is no database. `copy` is a folder that is made anew."""
    if not database.exists():
        return None
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for name in (database.name, f"{database.name}-wal"):
        if (database.parent / name).exists():
            shutil.copy(database.parent / name, copy / name)
    connection = sqlite3.connect(copy / database.name)
    try:
        return _read(connection)
    finally:
        connection.close()


def _read(connection: sqlite3.Connection) -> LeftBehind:
    found = connection.execute("PRAGMA integrity_check").fetchall()
    if found != [("ok",)]:
        return LeftBehind(damage=f"integrity_check: {found[:3]}")
    if connection.execute("PRAGMA user_version").fetchone() == (0,):
        return LeftBehind()
    return LeftBehind(
        tables=True,
        state={
            key: (at, value)
            for key, at, value in connection.execute("SELECT key, at_ms, CAST(value AS TEXT) FROM state")
        },
        snapshots={
            number: (outcome, text)
            for number, outcome, text in connection.execute(
                "SELECT number, outcome, text FROM snapshots JOIN config_texts ON config_texts.id = text_id"
            )
        },
    )
