"""Judges what was observed by what the upstreams really did; README.md defines both. Nothing here touches a process or
a clock. Times are seconds from the start of a schedule."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from schedule import DEAD, Segment

STATES = ("present", "liminal", "absent", "unknown")


@dataclass(frozen=True)
class Rules:
    absent_after: float = 30.0  # without a success
    start_grace: float = 2.0
    refused_grace: float = 1.0
    failing_grace: float = 2.0  # about 20 outcomes
    absent_grace: float = 2.0
    recovery: float = 2.0
    # Where some answers still come, a verdict needs that many requests, and the policy sends few where many fail; but
    # it must have sent them until then.
    outcomes: int = 20
    patience: float = 5.0
    failures: int = 3
    trials_per_second: float = 4.0  # probes and half-open requests that a dead upstream may get
    first_byte_timeout: float = 0.5
    fair_rate: float = 15.0  # requests per second for each upstream, if all have the same

    def stretched(self, by: float) -> Rules:
        """For programs that are slower."""
        times = ("start_grace", "refused_grace", "failing_grace", "absent_grace", "recovery", "patience")
        return replace(self, **{name: getattr(self, name) * by for name in times})


@dataclass(frozen=True)
class Stall:
    """The machine stood still, or let some of the programs wait."""

    begin: float
    end: float


@dataclass(frozen=True)
class Sample:
    at: float
    state: str


@dataclass(frozen=True)
class Wrong:
    upstream: str
    at: float
    kind: str
    said: str
    right: tuple[str, ...]


@dataclass
class Score:
    due: int = 0
    right: int = 0
    not_due: int = 0
    set_aside: int = 0  # due, but the machine had stood still
    wrong: list[Wrong] = field(default_factory=list)


def never(begin: float, end: float) -> int:
    return 0


def right_states(segments: list[Segment], at: float, rules: Rules,
                 asked: Callable[[float, float], int] = never) -> tuple[str, ...] | None:
    """What presence may say then; None: no verdict is due. Segments follow each other without a gap. `asked`: how many
    requests to the upstream ended between two times."""
    index = bisect.bisect_right([segment.begin for segment in segments], at) - 1
    if index < 0:
        return None
    now, age = segments[index], at - segments[index].begin
    before = segments[index - 1].nature if index > 0 else None
    alive = ("present", "liminal", "unknown") if before is None else ("present", "liminal")
    if now.nature in ("healthy", "mostly", "failing"):
        grace = {"healthy": rules.recovery, "mostly": rules.recovery, "failing": rules.failing_grace}[now.nature]
        if before is None:
            grace = max(grace, rules.start_grace)
        if age < grace:
            return None if before in (*DEAD, "undetermined") else alive
        partly = now.nature == "failing" or (now.nature == "healthy" and before in ("mostly", "failing"))
        if partly and age < rules.patience and asked(now.begin, at) < rules.outcomes:
            return alive
        return {"healthy": ("present",), "mostly": ("present", "liminal"), "failing": ("liminal",)}[now.nature]
    if now.nature == "refused":
        return None if age < rules.refused_grace else ("absent",)
    if now.nature == "dead":
        # Who hangs says so when the first timeout is over.
        if age < rules.failing_grace + (rules.first_byte_timeout if now.kind == "hang" else 0):
            return None
        return ("liminal", "absent") if age < rules.absent_after + rules.absent_grace else ("absent",)
    return None


def after_a_stall(stalls: list[Stall], begin: float, end: float, rules: Rules) -> bool:
    """Whether one falls into that time, or ended so shortly before that presence may still be at it."""
    return any(stall.begin <= end and begin <= stall.end + rules.recovery for stall in stalls)


def score(upstream: str, segments: list[Segment], samples: list[Sample], rules: Rules,
          asked: Callable[[float, float], int] = never, stalls: list[Stall] | None = None) -> Score:
    made = Score()
    for sample in samples:
        right = right_states(segments, sample.at, rules, asked)
        if right is None:
            made.not_due += 1
            continue
        if after_a_stall(stalls or [], sample.at, sample.at, rules):
            made.set_aside += 1
            continue
        made.due += 1
        if sample.state in right:
            made.right += 1
        else:
            made.wrong.append(Wrong(upstream, sample.at, segment_at(segments, sample.at).kind, sample.state, right))
    return made


def segment_at(segments: list[Segment], at: float) -> Segment:
    return segments[bisect.bisect_right([segment.begin for segment in segments], at) - 1]


def age(segments: list[Segment], at: float) -> float:
    """For how long what the upstream does then has lasted."""
    return at - segment_at(segments, at).begin


@dataclass(frozen=True)
class Count:
    at: float
    requests: int  # that reached the upstream since the start, over all its processes
    failures: int  # that DAO counts for it
    outcomes: int = 0  # requests to it that ended, as DAO counts them
    failed_open: int = 0  # requests for which DAO had nobody left, so that one was asked all the same
    server_errors: int = 0  # answers of it, as DAO counts them, with a status from 500 on


def counted(counts: list[Count], begin: float, end: float) -> Count | None:
    """What came between the last count at or before `begin` and the last at or before `end`."""
    first = [count for count in counts if count.at <= begin]
    last = [count for count in counts if count.at <= end]
    if not first or len(last) == len(first):
        return None
    one, other = first[-1], last[-1]
    return Count(other.at, other.requests - one.requests, other.failures - one.failures, other.outcomes - one.outcomes,
                 other.failed_open - one.failed_open, other.server_errors - one.server_errors)


def sent_there(segment: Segment, seen: Count) -> int:
    """Requests in a dead time. Counts lie beside its begin, and in the half second before it an upstream that is well
    may get all the requests there are, where the others are worse: so failures are counted where each request is one."""
    if segment.nature == "refused":
        return seen.failures
    return seen.server_errors if segment.kind == "errors" else seen.requests


def outcomes_between(counts: list[Count]) -> Callable[[float, float], int]:
    """That are known to lie between two times, by the counts that do."""
    def asked(begin: float, end: float) -> int:
        within = [count.outcomes for count in counts if begin <= count.at <= end]
        return within[-1] - within[0] if within else 0

    return asked


def broken_promises(upstream: str, segments: list[Segment], counts: list[Count], rules: Rules, interval: float,
                    stalls: list[Stall] | None = None) -> list[str]:
    """A dead upstream gets nothing but trials after its third failure; a recovered one is back in time. `interval`: the
    longest time between two counts, in which requests of the healthy time before may be counted, too."""
    broken = []
    stalls = stalls or []
    for index, segment in enumerate(segments):
        lasted = segment.end - segment.begin
        seen = counted(counts, segment.begin, segment.end)
        if segment.nature in DEAD and seen is not None:
            # Those that came because nobody was left were promised to nobody.
            got = sent_there(segment, seen) - seen.failed_open
            unnoticed = rules.fair_rate * 2 * (interval + (rules.first_byte_timeout if segment.kind == "hang" else 0))
            limit = rules.failures + unnoticed + rules.trials_per_second * lasted
            if got > limit and not after_a_stall(stalls, segment.begin, segment.end, rules):
                broken.append(f"{upstream} {segment.kind} from {segment.begin:.1f} to {segment.end:.1f} s: {got} "
                              f"requests, at most {limit:.0f}")
        if segment.nature == "healthy" and index > 0 and segments[index - 1].nature in DEAD:
            since = segment.begin + rules.recovery + interval
            seen = counted(counts, since, since + 2) if since + 2 <= segment.end else None
            back = seen is None or seen.requests >= rules.trials_per_second + 1
            if not back and not after_a_stall(stalls, segment.begin, since + 2, rules):
                broken.append(f"{upstream} back at {segment.begin:.1f} s: only {seen.requests} requests in the 2 s from "
                              f"{since:.1f} s")
    return broken
