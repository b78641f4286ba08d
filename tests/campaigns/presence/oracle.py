"""Judges what was observed by what the upstreams really did; README.md defines both. Nothing here touches a process or
a clock. Times are seconds from the start of a schedule."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

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
    failures: int = 3
    trials_per_second: float = 4.0  # probes and half-open requests that a dead upstream may get
    first_byte_timeout: float = 0.5
    fair_rate: float = 15.0  # requests per second for each upstream, if all have the same


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
    wrong: list[Wrong] = field(default_factory=list)


def right_states(segments: list[Segment], at: float, rules: Rules) -> tuple[str, ...] | None:
    """What presence may say then; None: no verdict is due. Segments follow each other without a gap."""
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
        return {"healthy": ("present",), "mostly": ("present", "liminal"), "failing": ("liminal",)}[now.nature]
    if now.nature == "refused":
        return None if age < rules.refused_grace else ("absent",)
    if now.nature == "dead":
        if age < rules.failing_grace:
            return None
        return ("liminal", "absent") if age < rules.absent_after + rules.absent_grace else ("absent",)
    return None


def score(upstream: str, segments: list[Segment], samples: list[Sample], rules: Rules) -> Score:
    made = Score()
    for sample in samples:
        right = right_states(segments, sample.at, rules)
        if right is None:
            made.not_due += 1
            continue
        made.due += 1
        if sample.state in right:
            made.right += 1
        else:
            made.wrong.append(Wrong(upstream, sample.at, segment_at(segments, sample.at).kind, sample.state, right))
    return made


def segment_at(segments: list[Segment], at: float) -> Segment:
    return segments[bisect.bisect_right([segment.begin for segment in segments], at) - 1]


@dataclass(frozen=True)
class Count:
    at: float
    requests: int  # that reached the upstream since the start, over all its processes
    failures: int  # that DAO counts for it


def counted(counts: list[Count], begin: float, end: float) -> tuple[int, int] | None:
    """Requests and failures between the last count at or before `begin` and the last at or before `end`."""
    first = [count for count in counts if count.at <= begin]
    last = [count for count in counts if count.at <= end]
    if not first or len(last) == len(first):
        return None
    return last[-1].requests - first[-1].requests, last[-1].failures - first[-1].failures


def broken_promises(upstream: str, segments: list[Segment], counts: list[Count], rules: Rules,
                    interval: float) -> list[str]:
    """A dead upstream gets nothing but trials after its third failure; a recovered one is back in time. `interval`: the
    longest time between two counts, in which requests of the healthy time before may be counted, too."""
    broken = []
    for index, segment in enumerate(segments):
        lasted = segment.end - segment.begin
        seen = counted(counts, segment.begin, segment.end)
        if segment.nature in DEAD and seen is not None:
            got = seen[1] if segment.nature == "refused" else seen[0]
            unnoticed = rules.fair_rate * 2 * (interval + (rules.first_byte_timeout if segment.kind == "hang" else 0))
            limit = rules.failures + unnoticed + rules.trials_per_second * lasted
            if got > limit:
                broken.append(f"{upstream} {segment.kind} from {segment.begin:.1f} to {segment.end:.1f} s: {got} "
                              f"requests, at most {limit:.0f}")
        if segment.nature == "healthy" and index > 0 and segments[index - 1].nature in DEAD:
            since = segment.begin + rules.recovery + interval
            seen = counted(counts, since, since + 2) if since + 2 <= segment.end else None
            if seen is not None and seen[0] < rules.trials_per_second + 1:
                broken.append(f"{upstream} back at {segment.begin:.1f} s: only {seen[0]} requests in the 2 s from "
                              f"{since:.1f} s")
    return broken
