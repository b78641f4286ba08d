#!/usr/bin/python3
"""Reloads at random under load of every kind: nobody may notice (README.md).

Exit status 0 if every promise was kept, 1 if not.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "behaviour")]
import edits  # noqa: E402
from lib import deadline  # noqa: E402
from lib.dao import Dao, to_toml  # noqa: E402
from lib.http1 import Request  # noqa: E402
from lib.origin import Connection, Origin  # noqa: E402
from lib.tls import Authority  # noqa: E402
from lib.upstream import Upstream  # noqa: E402
from lib.websocket import CLOSE, answer, frame, read_frame  # noqa: E402

BROKEN_EVERY = 20
P99_FACTOR = 1.5
# A scheduler's tick or two on a busy machine is no part of what is measured.
P99_SLACK_MS = 2.0
RSS_GROWTH = 0.05  # of the memory in the middle, over the second half
RSS_SLACK = 4 << 20


@dataclass
class Result:
    reloads: int = 0
    broken: int = 0
    seconds: float = 0
    counts: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    promises: list[str] = field(default_factory=list)  # that were not kept
    p99_ms: dict[str, tuple[float, float]] = field(default_factory=dict)  # calm, while reloading
    reload_ms: list[float] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)
    rss_growth: float = 0
    fds: tuple[int, int] = (0, 0)  # before and after

    @property
    def good(self) -> bool:
        return not self.failures and not self.promises


def echo(connection: Connection, request: Request) -> None:
    (key,) = request.values("sec-websocket-key")
    connection.send(answer(key.encode()))
    while True:
        got = read_frame(connection.reader)
        connection.send(frame(got.opcode, got.payload))
        if got.opcode == CLOSE:
            return


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def slope(values: list[int]) -> float:
    """Of the line through them, for one step (least squares)."""
    count = len(values)
    if count < 2:
        return 0.0
    middle, mean = (count - 1) / 2, sum(values) / count
    return sum((i - middle) * (value - mean) for i, value in enumerate(values)) / sum((i - middle) ** 2 for i in range(count))


class Clients:
    """The load's process."""

    def __init__(self, plain: tuple[str, int], secure: tuple[str, int]):
        command = [sys.executable, str(HERE / "load.py"), plain[0], str(plain[1]), str(secure[1])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _say(self, word: str) -> dict:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def look(self) -> dict:
        return self._say("look")

    def stop(self) -> dict:
        told = self._say("stop")
        self._process.wait()
        return told

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def run_campaign(
    reloads: int, seed: int, folder: Path, *, workers: int = 2, per_phase: int = 25, pause: float = 0.1, quiet: bool = False
) -> Result:
    """Phases take turns: `per_phase` reloads, `pause` seconds after each, and then as long without any."""
    result = Result()

    def progress(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    authority = Authority(folder)
    certificates = [authority.issue("DNS:a.test").files for _ in range(2)]
    backends = [Upstream("--default", "size=200") for _ in range(3)]
    stable = Origin()
    stable.answer("/stable/ws", echo)
    urls = [f"http://{backend.addresses[0][0]}:{backend.addresses[0][1]}" for backend in backends]
    taken = socket.create_server(("127.0.0.1", 0))
    config = first = edits.base(stable.url, urls, certificates, workers)
    editor = edits.Editor(seed, urls, certificates, taken.getsockname()[1], gradual=0.15)
    dao = Dao(first, folder / "dao")
    clients: Clients | None = None
    began = time.monotonic()
    try:
        plain, secure = dao.addresses[:2]
        fds_before = dao.fd_count()
        clients = Clients(plain, secure)  # type: ignore[arg-type]
        deadline.wait_until(lambda: clients.look()["done"] > 50, "the load to run", 60)
        phases: list[tuple[bool, float, float]] = []  # whether there were reloads, from, to
        forgotten = threading.Event()
        while result.reloads + result.broken < reloads:
            phase_began = time.monotonic()
            for _ in range(min(per_phase, reloads - result.reloads - result.broken)):
                number = result.reloads + result.broken + 1
                asked = time.monotonic()
                if number % BROKEN_EVERY == 0:
                    good = dao.config_path.read_text()
                    dao.reload(editor.broken(good), fails=True)
                    dao.config_path.write_text(good)
                    result.broken += 1
                else:
                    config = editor.next(config)
                    dao.reload(config)
                    result.reloads += 1
                    result.reload_ms.append((time.monotonic() - asked) * 1000)
                forgotten.wait(pause)
            phase_ended = time.monotonic()
            phases.append((True, phase_began, phase_ended))
            result.rss.append(dao.rss_bytes())
            forgotten.wait(phase_ended - phase_began)
            phases.append((False, phase_ended, time.monotonic()))
            seen = clients.look()
            progress(
                f"{result.reloads + result.broken}/{reloads} reloads, {seen['done']} done, {seen['failures']} failures, "
                f"rss {result.rss[-1] >> 10} KiB, {dao.fd_count()} fds"
            )
        told = clients.stop()
        result.failures, result.counts = told["failures"], told["counts"]
        judge_latencies(result, told["latencies"], phases)
        dao.reload(first)
        stable.close_connections()
        for backend in backends:
            backend.stop()
        deadline.wait_until(lambda: dao.fd_count() <= fds_before, "the descriptors of the start", 30)
        result.fds = (fds_before, dao.fd_count())
        if dao.metrics().total("dao_websockets") != 0:
            result.promises.append("WebSockets are left")
        dao.stop(60)
    except AssertionError as problem:
        result.promises.append(str(problem)[-3000:])
    finally:
        if clients:
            clients.kill()
        dao.kill()
        (folder / "dao.log").write_text(dao.log_text() + "\n")
        for backend in backends:
            backend.process.kill()
        stable.stop()
        taken.close()
    result.seconds = time.monotonic() - began
    judge_memory(result)
    return result


def judge_latencies(
    result: Result, latencies: dict[str, list[tuple[float, float]]], phases: list[tuple[bool, float, float]]
) -> None:
    """Of the requests that began in a phase of either kind, and of short ones only: uploads and downloads are slow on
    purpose."""
    for kind, samples in sorted(latencies.items()):
        if kind in ("upload", "download"):
            continue
        by_phase: dict[bool, list[float]] = {False: [], True: []}
        for at, took in samples:
            for reloading, start, end in phases:
                if start <= at < end:
                    by_phase[reloading].append(took * 1000)
        calm, busy = quantile(by_phase[False], 0.99), quantile(by_phase[True], 0.99)
        result.p99_ms[kind] = (calm, busy)
        if busy > P99_FACTOR * calm + P99_SLACK_MS:
            result.promises.append(f"{kind}: p99 {busy:.1f} ms while reloading, {calm:.1f} ms without")


def judge_memory(result: Result) -> None:
    half = result.rss[len(result.rss) // 2 :]
    if len(half) < 4:
        return
    result.rss_growth = slope(half) * (len(half) - 1)
    if result.rss_growth > RSS_GROWTH * half[0] + RSS_SLACK:
        result.promises.append(f"memory grew by {result.rss_growth / 1024:.0f} KiB over the second half")


def show(result: Result) -> str:
    lines = [
        f"reloads          {result.reloads} applied, {result.broken} refused as broken, in {result.seconds:.0f} s",
        f"a reload takes   p50 {quantile(result.reload_ms, 0.5):.0f} ms, p99 {quantile(result.reload_ms, 0.99):.0f} ms (signal to log line)",
        f"failures         {len(result.failures)} of {sum(result.counts.values())}: "
        + ", ".join(f"{kind} {count}" for kind, count in sorted(result.counts.items())),
        *(f"p99 {kind:<12} {calm:.1f} ms without, {busy:.1f} ms while reloading" for kind, (calm, busy) in result.p99_ms.items()),
    ]
    if result.rss:
        lines.append(
            f"memory           {result.rss[0] >> 10} -> {result.rss[-1] >> 10} KiB, "
            f"second half by its slope {result.rss_growth / 1024:+.0f} KiB"
        )
    lines.append(f"descriptors      {result.fds[0]} before, {result.fds[1]} after")
    lines += [f"FAILED: {text}" for text in (*result.failures[:10], *result.promises)]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--per-phase", type=int, default=25, help="reloads between two quiet phases")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds after each reload")
    parser.add_argument("--folder", type=Path, help="where logs and the last file are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        result = run_campaign(
            options.reloads,
            options.seed,
            folder,
            workers=options.workers,
            per_phase=options.per_phase,
            pause=options.pause,
        )
    print(f"seed             {options.seed}")
    print(show(result))
    return 0 if result.good else 1


if __name__ == "__main__":
    sys.exit(main())
