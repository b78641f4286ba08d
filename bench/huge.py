#!/usr/bin/python3
"""What 10 000 routes and 50 000 upstreams (bench/huge_config.py), or as many as asked for, cost: a check, a start,
reloads, and requests.

    scripts/build release dao dao-upstream dao_load
    bench/huge.py                        # build/release/bin/dao, or DAO_BIN with dao-upstream and dao_load beside it
    bench/huge.py --reloads 20 --limit 2 # exit status 1 if the median of a reload is above 2 s

Starts DAO with such a configuration and reloads it again and again, each time with one thing changed: the weight of an
upstream, an upstream added or removed, a header set by a filter; and with nothing changed. From SIGHUP to the log line
`reloaded`: seconds by the clock, CPU seconds of the main thread (who reloads), and of all threads.

Then requests of one route, to this DAO and to one that has only this route, in turn: CPU time of the whole DAO for each.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests/behaviour")]
import huge_config  # noqa: E402

from lib import deadline  # noqa: E402
from lib.dao import Dao, binary  # noqa: E402
from lib.upstream import Upstream  # noqa: E402

deadline.DEFAULT = 60.0


def cpu_of_main_thread(dao: Dao) -> float:
    """Nanoseconds on a CPU, as the scheduler counts them."""
    return int(Path(f"/proc/{dao.process.pid}/task/{dao.process.pid}/schedstat").read_text().split()[0]) / 1e9


def cpu_of_all(dao: Dao) -> float:
    tasks = Path(f"/proc/{dao.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def with_one_weight(lines: list[str], rng: random.Random) -> list[str]:
    at = rng.choice([number for number, line in enumerate(lines) if line.startswith("weight = ")])
    return [*lines[:at], f"weight = {rng.randrange(20, 1000)}", *lines[at + 1 :]]


def with_one_upstream_more(lines: list[str], rng: random.Random) -> list[str]:
    at = rng.choice([number for number, line in enumerate(lines) if line == "[[routes.rule.upstreams]]"])
    name = f"added-{rng.randrange(1 << 30)}"
    return [*lines[:at], "[[routes.rule.upstreams]]", f'name = "{name}"', 'url = "http://127.0.0.1:9"', *lines[at:]]


def with_one_upstream_less(lines: list[str], rng: random.Random) -> list[str]:
    """One that was added, if there is one."""
    added = [number for number, line in enumerate(lines) if line.startswith('name = "added-')]
    if not added:
        return with_one_upstream_more(lines, rng)
    at = rng.choice(added)
    return [*lines[: at - 1], *lines[at + 2 :]]


def with_one_header(lines: list[str], rng: random.Random) -> list[str]:
    at = rng.choice([number for number, line in enumerate(lines) if line.startswith("request_headers_add")])
    return [*lines[:at], f'request_headers_add = {{ x-route = "{rng.randrange(1 << 30)}" }}', *lines[at + 1 :]]


def unchanged(lines: list[str], _: random.Random) -> list[str]:
    return lines


EDITS = [with_one_weight, with_one_upstream_more, with_one_header, with_one_upstream_less, unchanged]


def served_rule(upstream: Upstream) -> str:
    url = "http://{}:{}".format(*upstream.addresses[0])
    match = '[routes.rule.match]\nhost = "bench.test"\npath_prefix = "/served"\n'
    return f'[[routes.rule]]\nname = "served"\n{match}[[routes.rule.upstreams]]\nname = "served"\nurl = "{url}"\n\n'


def microseconds_of_a_request(dao: Dao, seconds: float) -> float:
    host, port = dao.addresses[0]
    load = [str(Path(binary()).with_name("dao_load")), "--to", f"{host}:{port}", "--connections", "16", "--path", "/served/x",
            "--seconds", str(seconds), "--watch", str(dao.process.pid)]  # fmt: skip
    told = json.loads(subprocess.run(load, check=True, capture_output=True, text=True).stdout)
    assert set(told["statuses"]) == {"200"}, told
    return told["cpu_ns"] / told["requests"] / 1000


def compare_requests(huge: Dao, head: str, rule: str, folder: Path, rounds: int) -> None:
    with Dao(head + rule, folder / "one", wait_ready=False) as one:
        one.wait_log(lambda line: line.message == "ready", "ready", deadline.DEFAULT)
        samples: dict[str, list[float]] = {"of one": [], "of all": []}
        for _ in range(rounds):
            samples["of one"].append(microseconds_of_a_request(one, 1))
            samples["of all"].append(microseconds_of_a_request(huge, 1))
    few, many = (statistics.median(each) for each in samples.values())
    print(f"idle             {idle_share(huge) * 100:.1f} % of a CPU with all")
    print(f"a request        {few:.2f} µs of CPU time with one route, {many:.2f} µs with all")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--upstreams", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reloads", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5, help="seconds of requests to each")
    parser.add_argument("--limit", type=float, help="seconds that the median of a reload may take")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        base = folder / "base.toml"
        with base.open("w") as out:
            huge_config.write(out, random.Random(options.seed), options.routes, options.upstreams, local=True)
        # The store on disk, as it is by default: what is applied is written there.
        memory = f'[memory]\npath = "{folder / "dao.db"}"\nfollow_files = false\n[admin]\nbind = "off"\n\n'
        upstream = Upstream("--default", "size=200")
        served = served_rule(upstream)
        head, first, rules = (memory + base.read_text()).partition("[[routes.rule]]")
        before, middle, after = rules[: len(rules) // 2].rpartition("[[routes.rule]]")
        rules = first + before + served + middle + after + rules[len(rules) // 2 :]
        lines = (head + rules).splitlines()
        began = time.monotonic()
        subprocess.run([binary(), "check", "--config", str(base)], check=True, stdout=subprocess.DEVNULL)
        print(f"check            {time.monotonic() - began:.2f} s")
        began = time.monotonic()
        # Without waiting for it, for then it would be asked for its metrics: a page of hundreds of megabytes.
        with Dao("\n".join(lines) + "\n", folder / "dao", wait_ready=False) as dao:
            dao.wait_log(lambda line: line.message == "ready", "ready", deadline.DEFAULT)
            print(f"start            {time.monotonic() - began:.2f} s, {dao.rss_bytes() >> 20} MiB")
            walls = []
            print("reload           by the clock   main thread   all threads   (seconds)   memory")
            for number in range(options.reloads):
                edit = EDITS[number % len(EDITS)]
                lines = edit(lines, rng)
                dao.write_config("\n".join(lines) + "\n")
                main_before, all_before = cpu_of_main_thread(dao), cpu_of_all(dao)
                began = time.monotonic()
                dao.reload()
                walls.append(time.monotonic() - began)
                main_took = cpu_of_main_thread(dao) - main_before
                # The mind and the old configuration's end come after it.
                deadline.wait_until(lambda: idle(dao), "its threads to be idle again")
                all_took = cpu_of_all(dao) - all_before
                memory = f"{dao.rss_bytes() >> 20:17} MiB"
                print(f"{edit.__name__:<24} {walls[-1]:6.2f} {main_took:13.2f} {all_took:13.2f} {memory}")
            median = statistics.median(walls)
            print(f"median {median:.2f} s, most {max(walls):.2f} s")
            compare_requests(dao, head, served, folder, options.rounds)
        upstream.stop()
    return 1 if options.limit and median > options.limit else 0


def idle_share(dao: Dao) -> float:
    before, began = cpu_of_all(dao), time.monotonic()
    time.sleep(2)
    return (cpu_of_all(dao) - before) / (time.monotonic() - began)


def idle(dao: Dao) -> bool:
    before = cpu_of_all(dao)
    time.sleep(0.2)
    return cpu_of_all(dao) - before < 0.03


if __name__ == "__main__":
    sys.exit(main())
