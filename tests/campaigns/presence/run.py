#!/usr/bin/python3
"""Randomised faults of upstreams on real sockets; every presence verdict is scored against the truth (README.md).

Exit status 0 if at least --goal percent of the verdicts were right and every promise was kept, 1 if not.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "behaviour")]
import oracle  # noqa: E402
import schedule as schedules  # noqa: E402
import stalls  # noqa: E402
import world  # noqa: E402
from lib.dao import binary, to_toml  # noqa: E402

FALLBACK_POLICY = "least-connections"
PARALLEL = 24  # schedules at a time
# A campaign in which more of its verdicts were due just when the machine stood still has not measured DAO.
MOST_SET_ASIDE = 0.2
# What DAO gets beyond one rule and its upstreams: tables as in its file. --extra lays more over it.
EXTRA: dict[str, object] = {"liminal": {"presence": {"enabled": True}}}


@dataclass
class Result:
    """A campaign's; `wrong` and `broken` are texts that name the schedule."""

    schedules: int = 0
    due: int = 0
    right: int = 0
    not_due: int = 0
    set_aside: int = 0  # of those that were due, for the machine stood still
    stalls: int = 0
    stalled_seconds: float = 0.0  # over all schedules, and
    seconds: float = 0.0  # of so many
    requests: int = 0
    client_errors: int = 0
    wrong: list[dict[str, object]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # schedules that could not be run
    confusion: dict[str, dict[str, int]] = field(default_factory=dict)  # of wrong verdicts: kind of fault, said

    @property
    def score(self) -> float | None:
        return 100 * self.right / self.due if self.due else None

    @property
    def measured(self) -> bool:
        """Whether the machine let it."""
        return self.set_aside <= MOST_SET_ASIDE * (self.due + self.set_aside)

    def reached(self, goal: float) -> bool:
        return (self.score is not None and self.score >= goal and self.measured and not self.broken
                and not self.failed)


def parse_time(line: str) -> float:
    return datetime.datetime.fromisoformat(line.split(" ", 1)[0].replace("Z", "+00:00")).timestamp()


def judge(result: Result, schedule: schedules.Schedule, observed: world.Observed, rules: oracle.Rules) -> str:
    """Adds one schedule to the result; its line of progress."""
    due = right = 0
    broken = []
    for name, segments in observed.segments.items():
        counts = observed.counts[name]
        one = oracle.score(name, segments, observed.samples[name], rules, oracle.outcomes_between(counts),
                           observed.stalls)
        due, right = due + one.due, right + one.right
        result.not_due += one.not_due
        result.set_aside += one.set_aside
        for wrong in one.wrong:
            result.wrong.append({"schedule": schedule.number, **asdict(wrong), "after": oracle.age(segments, wrong.at)})
            said = result.confusion.setdefault(wrong.kind, {})
            said[wrong.said] = said.get(wrong.said, 0) + 1
        broken += oracle.broken_promises(name, segments, counts, rules, observed.longest_poll, observed.stalls)
    seen = [status for at, status in observed.errors if not oracle.after_a_stall(observed.stalls, at, at, rules)]
    if schedule.rolling and seen:
        broken.append(f"one upstream restarted every {schedules.ROLLING_PERIOD:.0f} s: the client saw "
                      f"{len(seen)} errors ({' '.join(sorted(set(seen)))})")
    result.broken += [f"schedule {schedule.number}: {text}" for text in broken]
    result.schedules += 1
    result.due, result.right = result.due + due, result.right + right
    result.stalls += len(observed.stalls)
    result.stalled_seconds += stalls.union_seconds(observed.stalls)
    result.seconds += schedule.seconds
    result.requests += observed.requests
    result.client_errors += len(observed.errors)
    faults = sorted({segment.kind for segments in observed.segments.values() for segment in segments} - {"healthy"})
    return (f"schedule {schedule.number:4}: {right}/{due} right, {len(broken)} promises broken, "
            f"{observed.requests} requests, {len(observed.errors)} client errors, {len(observed.stalls)} stalls, "
            f"{' '.join(faults) or 'no fault'}")


def timeline_of(observed: world.Observed, name: str) -> dict[str, object]:
    """What really was, what DAO said and what was counted, to look at afterwards."""
    return {"segments": [asdict(segment) for segment in observed.segments[name]],
            "samples": [[round(sample.at, 3), sample.state] for sample in observed.samples[name]],
            "counts": [[round(count.at, 3), count.requests, count.failures, count.outcomes, count.failed_open,
                        count.server_errors]
                       for count in observed.counts[name]],
            "stalls": [[round(stall.begin, 3), round(stall.end, 3)] for stall in observed.stalls]}


def run_campaign(numbers: list[int], seed: int, *, seconds: float = 60.0, parallel: int = PARALLEL,
                 policy: str = FALLBACK_POLICY, extra: Mapping[str, object] | None = None,
                 rules: oracle.Rules | None = None, folder: Path | None = None, say=lambda text: None) -> Result:
    """Runs these schedules. For tests too: a few numbers, short `seconds` (at least 15), say nothing."""
    rules = rules or oracle.Rules()
    rules = oracle.Rules(**{**asdict(rules), "fair_rate": world.RATE / schedules.UPSTREAMS,
                            "first_byte_timeout": world.FIRST_BYTE_TIMEOUT_MS / 1000})
    result = Result()
    with tempfile.TemporaryDirectory(prefix="dao-presence-") as scratch, stalls.Metronome() as metronome, \
            ThreadPoolExecutor(parallel) as pool:
        base = folder or Path(scratch)
        stagger = random.Random(seed)

        def one(number: int) -> tuple[schedules.Schedule, world.Observed]:
            time.sleep(stagger.uniform(0, 1))  # so that the polls of all do not come at once
            drawn = schedules.draw(seed, number, seconds, rules.absent_after)
            observed = world.run(drawn, seed, policy, world.merged(EXTRA, extra or {}), base / str(number), parse_time,
                                 metronome)
            (base / str(number) / "observed.json").write_text(
                json.dumps({"log": observed.log, **{name: timeline_of(observed, name) for name in observed.segments}}))
            return drawn, observed

        running = {pool.submit(one, number): number for number in numbers}
        for done in as_completed(running):
            try:
                drawn, observed = done.result()
            except Exception as failure:  # one schedule that cannot run must not hide the others
                result.failed.append(f"schedule {running[done]}: {type(failure).__name__}: {failure}")
                say(result.failed[-1])
                continue
            say(f"[{result.schedules + 1}/{len(numbers)}] {judge(result, drawn, observed, rules)}")
    return result


def accepted_policy(wanted: str, extra: Mapping[str, object]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dao.toml"
        for policy in (wanted, FALLBACK_POLICY):
            path.write_text(to_toml(world.configuration([1, 2, 3], policy, extra)))
            checked = subprocess.run([binary(), "check", "--config", str(path)], capture_output=True, text=True,
                                     check=False)
            if checked.returncode == 0:
                return policy
            print(f"policy {policy}: {(checked.stdout + checked.stderr).strip()}", file=sys.stderr)
    sys.exit("DAO accepts none of these configurations")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=300, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--schedule", type=int, help="only that one")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each (%(default)s)")
    parser.add_argument("--parallel", type=int, default=PARALLEL, help="at a time, about five processes each (%(default)s)")
    parser.add_argument("--policy", default="resonant", help=f"or, if unknown, {FALLBACK_POLICY} (%(default)s)")
    parser.add_argument("--extra", type=Path, help="TOML laid over DAO's configuration")
    parser.add_argument("--absent-after", type=float, default=oracle.Rules.absent_after,
                        help="seconds without a success after which DAO as configured says absent (%(default)s)")
    parser.add_argument("--goal", type=float, default=99.0, help="percent (%(default)s)")
    parser.add_argument("--folder", type=Path, help="keep logs and timelines here")
    parser.add_argument("--out", type=Path, help="all wrong verdicts as JSON")
    options = parser.parse_args()
    if options.seconds < 15 or options.schedules < 1 or options.parallel < 1:
        parser.error("--seconds at least 15, --schedules and --parallel at least 1")
    extra = tomllib.loads(options.extra.read_text()) if options.extra else {}
    policy = accepted_policy(options.policy, world.merged(EXTRA, extra))
    numbers = [options.schedule] if options.schedule is not None else list(range(options.schedules))
    begin = time.monotonic()
    result = run_campaign(numbers, options.seed, seconds=options.seconds, parallel=options.parallel, policy=policy,
                          extra=extra, rules=oracle.Rules(absent_after=options.absent_after), folder=options.folder,
                          say=lambda text: print(text, file=sys.stderr, flush=True))
    if options.out:
        options.out.write_text(json.dumps({**asdict(result), "score": result.score, "seed": options.seed}, indent=1))
    for wrong in result.wrong[:40]:
        print(f"wrong: --seed {options.seed} --schedule {wrong['schedule']}: {wrong['upstream']} at {wrong['at']:.1f} s, "
              f"{wrong['after']:.1f} s after it became {wrong['kind']}: said {wrong['said']}, right is {' or '.join(wrong['right'])}")
    if len(result.wrong) > 40:
        print(f"... and {len(result.wrong) - 40} more (--out has all)")
    for kind, said in sorted(result.confusion.items()):
        print(f"wrong while {kind}: " + ", ".join(f"{state} {count}" for state, count in sorted(said.items())))
    for text in [*result.broken, *result.failed]:
        print(f"--seed {options.seed}: {text}")
    print(f"the machine stood still for {result.stalled_seconds:.1f} s of {result.seconds:.0f} s, in {result.stalls} "
          f"stalls: {result.set_aside} verdicts set aside")
    if not result.measured:
        print("it stood still so often that this says little of DAO: again on a quieter machine")
    if result.score is None and result.set_aside == 0:
        print(f"no verdict was seen: does this DAO export {world.METRIC}?")
    shown = "none" if result.score is None else f"{result.score:.2f} %"
    print(f"presence: score {shown} ({result.right} of {result.due} verdicts right, {result.not_due} not due, {result.set_aside} set aside), "
          f"{len(result.broken)} promises broken, {result.schedules} schedules, {len(result.failed)} not run, "
          f"{result.requests} requests, {result.client_errors} client errors, seed {options.seed}, policy {policy}, load {os.getloadavg()[0]:.1f}, "
          f"{time.monotonic() - begin:.0f} s: {'reached' if result.reached(options.goal) else 'NOT reached'}")
    return 0 if result.reached(options.goal) else 1


if __name__ == "__main__":
    sys.exit(main())
