"""One schedule on real sockets: three dao-upstreams that follow it, a DAO before them, and open load through it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lib.dao import REPOSITORY, Dao, simple_config
from lib.ports import HeldPort
from lib.upstream import Upstream, program
from oracle import STATES, Count, Sample, Stall
from schedule import KINDS, Schedule, Segment
from stalls import Metronome, WaitingThreads

METRIC = "dao_upstream_presence_state"
LOG_WORD = "presence"  # a log line of a change has it in its message, and the fields `upstream` and `to`
POLL_SECONDS = 0.5
FLAP_SECONDS = 0.7
ORDER_SECONDS = 0.5  # starting or killing a process takes a tenth of it, or the machine was late
RATE = 45.0  # requests per second, for three upstreams
DEFAULT = "delay_exp_ms=3"
FIRST_BYTE_TIMEOUT_MS = 500

_STATE = re.compile(rf"^{METRIC}{{([^}}]*)}} 1(?:\.0)?$", re.MULTILINE)
_COUNTER = re.compile(r"^dao_upstream_(requests|errors)_total{([^}]*)} (\S+)$", re.MULTILINE)
_FAILED_OPEN = re.compile(r"^dao_route_fail_open_total{[^}]*} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass
class Observed:
    """What came of a schedule; the lists of segments, samples and counts are by upstream."""

    segments: dict[str, list[Segment]]  # as they really were
    samples: dict[str, list[Sample]]
    counts: dict[str, list[Count]]
    requests: int
    errors: list[tuple[float, str]]  # of the client: when it was due, and the status; 0: broken, -1: unanswered
    longest_poll: float
    stalls: list[Stall]
    log: list[str]  # DAO's of presence


class Follower:
    """An upstream that does what its segments say."""

    def __init__(self, name: str, segments: list[Segment]):
        self.name, self.planned = name, segments
        self.really: list[Segment] = []
        self.late: list[Stall] = []  # orders that the machine was slow to carry out
        self.failure: Exception | None = None
        self._held = HeldPort()
        self.port = self._held.port
        self._before = 0  # requests of the processes that were killed
        self._lock = threading.Lock()
        self._upstream: Upstream | None = self._start()

    def _start(self) -> Upstream:
        return Upstream("--name", self.name, "--control", "127.0.0.1:0", "--default", DEFAULT,
                        listen=(f"127.0.0.1:{self.port}",))

    def requests(self) -> int:
        with self._lock:
            return self._before + (self._upstream.stats()["requests"] if self._upstream else 0)  # type: ignore[operator]

    def pid(self) -> int | None:
        with self._lock:
            return self._upstream.process.pid if self._upstream else None

    def kill(self) -> None:
        with self._lock:
            if self._upstream:
                self._before += self._upstream.stats()["requests"]  # type: ignore[operator]
                self._upstream.process.kill()
                self._upstream.process.wait()
                self._upstream.process.stderr.close()  # type: ignore[union-attr]
                self._upstream = None

    def restart(self) -> None:
        with self._lock:
            if not self._upstream:
                self._upstream = self._start()

    def follow(self, zero: float, stopping: threading.Event) -> None:
        """In a thread of its own; what ended it too early is in `failure` then."""
        try:
            self._follow(zero, stopping)
        except Exception as failure:
            self.failure = failure
            stopping.set()  # nothing after this is what the schedule says

    def _follow(self, zero: float, stopping: threading.Event) -> None:
        def now() -> float:
            return time.monotonic() - zero

        begins: list[tuple[float, str]] = []
        for segment in self.planned:
            if stopping.wait(max(0.0, segment.begin - now())):
                break
            # A fault may show from before the order, health from after it.
            asked = now()
            self._become(segment, zero, stopping)
            if segment.kind != "flap" and now() > asked + ORDER_SECONDS:
                self.late.append(Stall(asked, now()))
            begins.append((now() if segment.nature == "healthy" and begins else asked, segment.kind))
        ends = [begin for begin, _ in begins[1:]] + [self.planned[-1].end]
        self.really = [Segment(begin, end, kind) for (begin, kind), end in zip(begins, ends, strict=True)]

    def _become(self, segment: Segment, zero: float, stopping: threading.Event) -> None:
        order = KINDS[segment.kind].order
        if segment.kind == "flap":
            while time.monotonic() - zero < segment.end - FLAP_SECONDS:
                self.kill()
                if stopping.wait(FLAP_SECONDS):
                    break
                self.restart()
                if stopping.wait(FLAP_SECONDS):
                    break
        elif order is None:
            self.kill()
        else:
            self.restart()
            assert self._upstream
            self._upstream.order(order if "refuse=1" in order else f"resume=1&{order}")

    def end(self) -> None:
        self.kill()
        self._held.free()


def read_verdicts(text: str) -> dict[str, str]:
    """Upstream: state, of a /metrics answer."""
    verdicts = {}
    for labels in _STATE.findall(text):
        found = dict(_LABEL.findall(labels))
        if found.get("state") in STATES and "upstream" in found:
            verdicts[found["upstream"]] = found["state"]
    return verdicts


def read_counter(text: str, what: str, **where: str) -> dict[str, int]:
    """Upstream: the sum of its dao_upstream_WHAT_total with these labels."""
    sums: dict[str, int] = {}
    for name, labels, value in _COUNTER.findall(text):
        found = dict(_LABEL.findall(labels))
        if name == what and where.items() <= found.items():
            upstream = found.get("upstream", "")
            sums[upstream] = sums.get(upstream, 0) + int(float(value))
    return sums


def merged(base: Mapping[str, object], more: Mapping[str, object]) -> dict[str, object]:
    made = dict(base)
    for key, value in more.items():
        old = made.get(key)
        made[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return made


def configuration(ports: list[int], policy: str, extra: Mapping[str, object]) -> dict[str, object]:
    """DAO's; `extra` is laid over it (tables of the file's top level)."""
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    config = simple_config(*urls, rule={"policy": policy}, proxy={"first_byte_timeout_ms": FIRST_BYTE_TIMEOUT_MS})
    # Whoever hangs still accepts connections: only a probe that wants an answer finds it well again. The health page
    # does not share the errors of the service.
    for upstream in config["routes"]["rule"][0]["upstreams"]:  # type: ignore[index]
        upstream["probe"] = {"type": "http", "path": "/health?fail_rate=0", "interval_ms": 1000, "timeout_ms": 500}
    return merged(config, extra)


def load_program() -> Path:
    """Beside the DAO under test, else the release build's."""
    beside = Path(program()).with_name("dao_load")
    return beside if beside.exists() else REPOSITORY / "build/release/bin/dao_load"


def log_samples(dao: Dao, name: str, wall_zero: float, parse_time: Callable[[str], float]) -> list[Sample]:
    return [Sample(parse_time(line.text) - wall_zero, line.fields["to"]) for line in dao.logs()
            if LOG_WORD in line.message and line.fields.get("upstream") == name and line.fields.get("to") in STATES]


def run(schedule: Schedule, seed: int, policy: str, extra: Mapping[str, object], folder: Path,
        parse_time: Callable[[str], float], metronome: Metronome) -> Observed:
    folder.mkdir(parents=True, exist_ok=True)
    timeline = folder / "timeline"
    stopping = threading.Event()
    with contextlib.ExitStack() as stack:
        waiting = stack.enter_context(contextlib.closing(WaitingThreads()))
        followers = []
        for index, segments in enumerate(schedule.upstreams):
            followers.append(Follower(f"u{index}", segments))
            stack.callback(followers[-1].end)
        dao = stack.enter_context(Dao(configuration([follower.port for follower in followers], policy, extra), folder))
        host, port = dao.address
        zero, wall_zero = time.monotonic(), time.time()
        load = subprocess.Popen(
            [load_program(), "--to", f"{host}:{port}", "--mode", "poisson", "--path", "/",
             "--rate", str(RATE), "--seed", str(seed * 100_000 + schedule.number), "--connections", "128",
             "--warmup", "0", "--seconds", str(schedule.seconds), "--drain", "5", "--timeline", str(timeline)],
            stdout=subprocess.DEVNULL)
        stack.callback(lambda: (load.kill(), load.wait()))
        threads = [threading.Thread(target=follower.follow, args=(zero, stopping)) for follower in followers]
        stack.callback(lambda: (stopping.set(), [thread.join() for thread in threads]))
        for thread in threads:
            thread.start()
        samples: dict[str, list[Sample]] = {follower.name: [] for follower in followers}
        counts: dict[str, list[Count]] = {follower.name: [] for follower in followers}
        longest, last, due = 0.0, 0.0, 0.0
        while (now := time.monotonic() - zero) < schedule.seconds and not stopping.is_set():
            longest, last = max(longest, now - last), now
            _, text = dao.get("/metrics")
            verdicts = read_verdicts(text)
            failed_open = sum(int(float(value)) for value in _FAILED_OPEN.findall(text))
            failures, outcomes = read_counter(text, "errors"), read_counter(text, "requests")
            server_errors = read_counter(text, "requests", code_class="5xx")
            for follower in followers:
                if follower.name in verdicts:
                    samples[follower.name].append(Sample(now, verdicts[follower.name]))
                counts[follower.name].append(Count(now, follower.requests(), failures.get(follower.name, 0),
                                                    outcomes.get(follower.name, 0), failed_open,
                                                    server_errors.get(follower.name, 0)))
            waiting.look(now, [dao.process.pid, load.pid,
                               *(pid for follower in followers if (pid := follower.pid()) is not None)])
            due = max(due + POLL_SECONDS, now)
            stopping.wait(max(0.0, due - (time.monotonic() - zero)))
        for thread in threads:
            thread.join()
        for follower in followers:
            if follower.failure:
                raise follower.failure
        if load.wait(timeout=30) != 0:
            raise RuntimeError("the load generator failed")
        log = [line.text for line in dao.logs() if LOG_WORD in line.message]
        for follower in followers:
            more = log_samples(dao, follower.name, wall_zero, parse_time)
            samples[follower.name] = sorted([*samples[follower.name], *more], key=lambda sample: sample.at)
    requests = [line.split() for line in timeline.read_text().splitlines()]
    errors = [(int(due) / 1e6 - zero, status) for due, _, status in requests if status != "200"]
    return Observed({follower.name: follower.really for follower in followers}, samples, counts, len(requests), errors,
                    longest,
                    [*waiting.stalls, *metronome.between(zero, zero + schedule.seconds),
                     *(stall for follower in followers for stall in follower.late)], log)
