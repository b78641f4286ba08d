"""Fault schedules: what each upstream does, and when. Drawn from a seed, so that any of them can be replayed."""

from __future__ import annotations

import random
from dataclasses import dataclass

UPSTREAMS = 3
ROLLING_EVERY = 10  # one schedule in so many kills and restarts the upstreams in turn, see `rolling`
ROLLING_PERIOD = 5.0


@dataclass(frozen=True)
class Kind:
    """What an upstream does for a while. `nature` is what the oracle judges by, see oracle.right_states."""

    nature: str
    order: str | None  # for /_control, over the defaults; None: the process is killed


KINDS = {
    "healthy": Kind("healthy", "restore_defaults=1"),
    "slow": Kind("healthy", "delay_ms=200"),
    "few-errors": Kind("mostly", "fail_rate=0.05"),
    "half": Kind("mostly", "fail_rate=0.5"),
    "failing": Kind("failing", "fail_rate=0.7"),
    "killed": Kind("refused", None),
    "refused": Kind("refused", "refuse=1&drop=1"),
    "errors": Kind("dead", "fail_rate=1"),
    "hang": Kind("dead", "hang=head"),
    "reset": Kind("dead", "reset=head"),
    "flap": Kind("undetermined", None),  # killed and restarted again and again
}
FAULTS = [kind for kind in KINDS if kind != "healthy"]
DEAD = ("refused", "dead")


@dataclass(frozen=True)
class Segment:
    begin: float
    end: float
    kind: str

    @property
    def nature(self) -> str:
        return KINDS[self.kind].nature


@dataclass(frozen=True)
class Schedule:
    number: int
    seconds: float
    rolling: bool
    upstreams: list[list[Segment]]


def rolling(seconds: float) -> list[list[Segment]]:
    """Every ROLLING_PERIOD one of the upstreams, in turn, is killed, and back after half of it."""
    made: list[list[Segment]] = []
    for index in range(UPSTREAMS):
        segments, last = [], 0.0
        for turn in range(1, int(seconds / ROLLING_PERIOD)):
            if turn % UPSTREAMS != index:
                continue
            begin = turn * ROLLING_PERIOD
            segments += [Segment(last, begin, "healthy"), Segment(begin, begin + ROLLING_PERIOD / 2, "killed")]
            last = begin + ROLLING_PERIOD / 2
        made.append([*segments, Segment(last, seconds, "healthy")])
    return made


def faulty(random_: random.Random, seconds: float, absent_after: float) -> list[Segment]:
    """Healthy times with a fault between any two of them."""
    segments, at = [], 0.0
    while True:
        healthy = random_.uniform(5, 10)
        kind = random_.choice(FAULTS)
        lasts = random_.uniform(4, 10)
        if KINDS[kind].nature == "dead" and random_.random() < 0.5:
            lasts = absent_after + random_.uniform(4, 8)  # so long that it must be absent in the end
        if at + healthy + lasts + 5 > seconds:
            return [*segments, Segment(at, seconds, "healthy")]
        begin, end = at + healthy, at + healthy + lasts
        segments += [Segment(at, begin, "healthy"), Segment(begin, end, kind)]
        at = end


def draw(seed: int, number: int, seconds: float, absent_after: float) -> Schedule:
    if number % ROLLING_EVERY == 0:
        return Schedule(number, seconds, True, rolling(seconds))
    random_ = random.Random(f"{seed}/{number}")
    upstreams = [faulty(random_, seconds, absent_after) for _ in range(UPSTREAMS)]
    if random_.random() < 0.7:  # in the others all may be down at once
        upstreams[random_.randrange(UPSTREAMS)] = [Segment(0.0, seconds, "healthy")]
    return Schedule(number, seconds, False, upstreams)
