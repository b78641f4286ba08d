"""The store under kill -9, and where it cannot write (docs/memory.md)."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

from lib import deadline

RUN = Path(__file__).resolve().parents[1] / "campaigns/store/run.py"
NOBODY = 65534


def campaign() -> object:
    spec = importlib.util.spec_from_file_location("store_campaign", RUN)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_kills_at_random_moments(tmp_path: Path) -> None:
    result = campaign().run_campaign(25, seed=time.time_ns() % 1_000_000, interval=0.2, slack=1.0, parallel=2, folder=tmp_path)
    assert not result.wrong, result.wrong
    assert result.kills == 25
    assert result.snapshots > 0


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """The writer goes on in memory, and says so once."""
    where = tmp_path / "read-only"
    where.mkdir(mode=0o555)
    # Modes do not bind root.
    as_nobody = {"user": NOBODY, "group": NOBODY} if os.geteuid() == 0 else {}
    for folder in list(tmp_path.parents)[:3] if as_nobody else []:
        folder.chmod(folder.stat().st_mode | 0o055)
    tmp_path.chmod(0o755)
    output = tmp_path / "output"
    log = tmp_path / "log"
    with output.open("wb") as out, log.open("wb") as err:
        writer = subprocess.Popen([campaign().default_writer(), where / "dao.db"], stdout=out, stderr=err, **as_nobody)
    try:
        deadline.wait_until(lambda: "\nadded 2 " in output.read_text(), "the second snapshot")
        assert output.read_text().startswith("opened memory 0 0 ")
        assert log.read_text().count("warning the store cannot be used") == 1, log.read_text()
    finally:
        writer.kill()
        writer.wait()
