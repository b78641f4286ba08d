"""The oracle of the presence campaign: right and wrong verdicts on invented timelines (tests/campaigns/presence)."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib import deadline

CAMPAIGN = str(Path(__file__).resolve().parents[1] / "campaigns" / "presence")
sys.path.insert(0, CAMPAIGN)
import oracle  # noqa: E402
import schedule  # noqa: E402
import stalls as stalled  # noqa: E402
import world  # noqa: E402
from oracle import Count, Rules, Sample, Stall, broken_promises, right_states, score  # noqa: E402
from schedule import Segment  # noqa: E402

sys.path.remove(CAMPAIGN)
RULES = Rules()


def timeline(kind: str, lasts: float = 10.0) -> list[Segment]:
    """Healthy for 10 s, then this, then healthy for 10 s."""
    return [Segment(0, 10, "healthy"), Segment(10, 10 + lasts, kind), Segment(10 + lasts, 20 + lasts, "healthy")]


# kind, seconds after the fault's begin, what is right; the fault lasts 40 s.
CASES = [
    ("killed", 0.5, None),
    ("killed", 1.5, {"absent"}),
    ("refused", 39, {"absent"}),
    ("hang", 1, None),
    ("hang", 2.2, None),  # the first timeout
    ("hang", 3, {"liminal", "absent"}),
    ("hang", 33, {"absent"}),
    ("errors", 31.5, {"liminal", "absent"}),
    ("reset", 33, {"absent"}),
    ("slow", 0.1, {"present", "liminal"}),
    ("slow", 5, {"present"}),
    ("few-errors", 5, {"present", "liminal"}),
    ("half", 5, {"present", "liminal"}),
    ("failing", 1, {"present", "liminal"}),
    ("failing", 4, {"present", "liminal"}),  # with few requests
    ("failing", 5.1, {"liminal"}),
    ("flap", 5, None),
    ("killed", 41, None),  # just recovered
    ("killed", 42.5, {"present"}),
    ("flap", 42.5, {"present"}),
    ("slow", 40.5, {"present", "liminal"}),
    ("slow", 42.5, {"present"}),
    ("half", 44, {"present", "liminal"}),
    ("half", 45.1, {"present"}),
    ("killed", -9, {"present", "liminal", "unknown"}),  # the start
    ("killed", -1, {"present"}),
]


@pytest.mark.parametrize(("kind", "after", "right"), CASES)
def test_every_other_verdict_is_wrong(kind: str, after: float, right: set[str] | None) -> None:
    segments = timeline(kind, 40)
    found = right_states(segments, 10 + after, RULES)
    assert (None if found is None else set(found)) == right
    for state in oracle.STATES:
        made = score("u0", segments, [Sample(10 + after, state)], RULES)
        if right is None:
            assert (made.due, made.not_due, made.wrong) == (0, 1, [])
        else:
            assert (made.due, made.right) == (1, int(state in right))
            assert [wrong.said for wrong in made.wrong] == ([] if state in right else [state])


@pytest.mark.parametrize("kind", ["failing", "half"])
def test_twenty_outcomes_are_enough(kind: str) -> None:
    """Or five seconds: see the cases above."""
    since, right = (12.5, ("liminal",)) if kind == "failing" else (22.5, ("present",))
    begin = since - 2.5
    for outcomes, expected in ((19, ("present", "liminal")), (20, right)):
        seen = [Count(begin - 0.1, 0, 0, 100), Count(begin + 0.1, 0, 0, 200), Count(since, 0, 0, 200 + outcomes)]
        assert right_states(timeline(kind), since, RULES, oracle.outcomes_between(seen)) == expected


def test_nothing_is_held_against_dao_while_the_machine_stood_still() -> None:
    segments, stalls = timeline("slow"), [Stall(14, 14.5)]
    for at, aside in ((13.9, False), (14, True), (14.4, True), (16.4, True), (16.6, False)):
        made = score("u0", segments, [Sample(at, "absent")], RULES, stalls=stalls)
        assert (made.due, made.set_aside, len(made.wrong)) == ((0, 1, 0) if aside else (1, 0, 1)), at
    assert stalled.union_seconds([Stall(1, 2), Stall(5, 6), Stall(1.5, 3)]) == 3


def test_late_programs_are_noticed() -> None:
    waits = {1: {"11": 5.0, "12": 0.0}, 2: {"21": 0.1}}

    class Accounts:
        def __init__(self, pid: int):
            self.pid = pid

        def waited(self) -> dict[str, float]:
            return dict(waits.get(self.pid, {}))

        def close(self) -> None:
            closed.append(self.pid)

    closed: list[int] = []
    waiting = stalled.WaitingThreads(Accounts)
    for now, pid, task, more in ((1.0, 1, "11", 0), (1.5, 1, "11", 0.2), (2.0, 1, "12", 0.3), (2.5, 3, "31", 0.1)):
        waits.setdefault(pid, {})[task] = waits.get(pid, {}).get(task, 0) + more
        waiting.look(now, [1, 2, 3])
    assert waiting.stalls == [Stall(1.5, 2.0)]
    waiting.look(3.0, [1, 3])
    assert closed == [2]
    waiting.close()
    assert sorted(closed) == [1, 2, 3]


def test_the_accounts_of_threads_are_followed() -> None:
    with contextlib.closing(stalled.ThreadAccounts(os.getpid())) as accounts:
        assert accounts.waited().keys() == set(os.listdir("/proc/self/task"))
    ended = subprocess.Popen(["true"])
    with contextlib.closing(stalled.ThreadAccounts(ended.pid)) as accounts:
        ended.wait()
        assert accounts.waited() == {}


def test_a_machine_that_stands_still_is_noticed() -> None:
    with stalled.Metronome() as metronome:
        assert metronome._process.poll() is None
        began = time.monotonic()

        def stall_again() -> list[Stall]:
            """It may not have begun to beat when it is stopped for the first time."""
            stopped = time.monotonic()
            metronome._process.send_signal(signal.SIGSTOP)
            deadline.wait_until(lambda: time.monotonic() - stopped > 2 * stalled.LATE, "a moment")
            metronome._process.send_signal(signal.SIGCONT)
            return metronome.between(began, time.monotonic())

        found = deadline.wait_until(stall_again, "the stall")
    assert found[0].end - found[0].begin > stalled.LATE


def test_what_answers_is_never_absent() -> None:
    for kind, what in schedule.KINDS.items():
        if what.nature in ("healthy", "mostly", "failing"):
            segments = timeline(kind)
            for tenth in range(300):
                assert score("u0", segments, [Sample(tenth / 10, "absent")], RULES).right == 0


def test_a_wrong_verdict_names_its_time_and_fault() -> None:
    (wrong,) = score("u1", timeline("killed"), [Sample(15, "present"), Sample(16, "absent")], RULES).wrong
    assert (wrong.upstream, wrong.at, wrong.kind, wrong.said, wrong.right) == (
        "u1", 15, "killed", "present", ("absent",))


def counts(rate_while_faulty: float, rate_after: float, failures: float = 0, server_errors: float = 0,
           rate_before: float = 15) -> list[Count]:
    """Twice a second for 30 s; the fault is from 10 to 20 s."""
    made, requests, failed, bad = [], 0.0, 0.0, 0.0
    for half in range(60):
        at = half / 2
        made.append(Count(at, int(requests), int(failed), server_errors=int(bad)))
        requests += rate_before / 2 if at < 10 else rate_while_faulty / 2 if at < 20 else rate_after / 2
        failed += failures / 2 if 10 <= at < 20 else 0
        bad += server_errors / 2 if 10 <= at < 20 else 0
    return made


@pytest.mark.parametrize(
    ("kind", "faulty", "after", "failures", "server_errors", "complaints"),
    [
        ("errors", 3, 15, 0, 3, []),
        ("errors", 15, 15, 0, 15, ["u0 errors from 10.0 to 20.0 s"]),
        ("hang", 3, 15, 0, 0, []),
        ("hang", 15, 15, 0, 0, ["u0 hang from 10.0 to 20.0 s"]),
        ("reset", 15, 15, 15, 0, ["u0 reset from 10.0 to 20.0 s"]),
        ("killed", 0, 15, 3, 0, []),
        ("killed", 0, 15, 15, 0, ["u0 killed from 10.0 to 20.0 s"]),
        ("killed", 0, 1, 3, 0, ["u0 back at 20.0 s"]),
        ("half", 15, 1, 0, 7, []),  # it never was dead
    ],
)
def test_promises(kind: str, faulty: float, after: float, failures: float, server_errors: float,
                  complaints: list[str]) -> None:
    made = counts(faulty, after, failures, server_errors)
    assert broken_promises("u0", timeline(kind), made, RULES, 0.5, [Stall(11, 11.5), Stall(22, 22.5)]) == []
    broken = broken_promises("u0", timeline(kind), made, RULES, 0.5)
    assert len(broken) == len(complaints)
    assert all(text.startswith(start) for text, start in zip(broken, complaints, strict=True))


def test_what_it_got_while_it_was_well_breaks_no_promise() -> None:
    """All that came in the half second before the fault, for it alone was well."""
    segments = [Segment(0, 9.99, "healthy"), Segment(9.99, 20, "errors"), Segment(20, 30, "healthy")]
    most = int(RULES.failures + 15 + 4 * 10)
    for bad, complaints in ((most, 0), (most + 2, 1)):
        made = counts(bad / 10, 15, 0, bad / 10, rate_before=45)
        assert len(broken_promises("u0", segments, made, RULES, 0.5)) == complaints, bad


def test_requests_with_nobody_left_break_no_promise() -> None:
    made = [Count(one.at, one.requests, one.failures, 0, one.requests, one.server_errors)
            for one in counts(15, 15, 0, 15)]
    assert broken_promises("u0", timeline("errors"), made, RULES, 0.5) == []


def test_schedules_are_whole_and_the_same_for_the_same_seed() -> None:
    seen = set()
    for number in range(200):
        drawn = schedule.draw(1, number, 60, 30)
        assert drawn == schedule.draw(1, number, 60, 30)
        assert drawn.rolling == (number % schedule.ROLLING_EVERY == 0)
        for segments in drawn.upstreams:
            assert (segments[0].begin, segments[-1].end) == (0, 60)
            assert all(one.end == two.begin for one, two in zip(segments, segments[1:]))
            assert segments[0].kind == segments[-1].kind == "healthy"
            seen |= {segment.kind for segment in segments}
    assert seen == set(schedule.KINDS)
    assert schedule.draw(1, 1, 60, 30) != schedule.draw(2, 1, 60, 30)


def test_rolling_restarts_one_upstream_at_a_time() -> None:
    upstreams = schedule.rolling(60)
    for tenth in range(600):
        at = tenth / 10
        assert sum(oracle.segment_at(segments, at).kind == "killed" for segments in upstreams) <= 1
    assert sum(segment.kind == "killed" for segments in upstreams for segment in segments) == 11


def test_a_dead_time_may_outlast_the_time_to_absent() -> None:
    lengths = [segment.end - segment.begin for seed in range(300) for segment in schedule.faulty(
        random.Random(seed), 60, 30) if segment.nature == "dead"]
    assert max(lengths) > 33 and min(lengths) < 11


def test_verdicts_are_read_from_the_metrics() -> None:
    text = (
        "# TYPE dao_upstream_presence_state gauge\n"
        'dao_upstream_presence_state{upstream="u0",state="present"} 0\n'
        'dao_upstream_presence_state{upstream="u0",state="absent"} 1\n'
        'dao_upstream_presence_state{state="liminal",upstream="u1"} 1\n'
        'dao_upstream_errors_total{upstream="u0",reason="a"} 3\n'
        'dao_upstream_errors_total{upstream="u0",reason="b"} 4\n'
        'dao_upstream_requests_total{upstream="u1",code_class="2xx"} 9\n'
        'dao_upstream_requests_total{upstream="u1",code_class="none"} 3\n'
    )
    assert world.read_verdicts(text) == {"u0": "absent", "u1": "liminal"}
    assert world.read_counter(text, "errors") == {"u0": 7}
    assert world.read_counter(text, "requests") == {"u1": 12}
    assert world.read_counter(text, "requests", code_class="2xx") == {"u1": 9}
