#!/usr/bin/python3
"""Compares two builds of DAO: bench/run.py with the one and the other in turn, a round each time, and of each scenario the
lower quartile and the median of the CPU µs per request. The quartile says more on a machine with slow minutes.

  bench/compare.py --before OLD --after NEW [--only SCENARIOS] [--rounds N] [--nice N]
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def costs(program, options, folder):
    """The CPU µs per request of each scenario's cell, of one round; cells that are not valid are left out."""
    out = os.path.join(folder, "round.json")
    done = subprocess.run([os.path.join(HERE, "run.py"), "--proxies", "dao", "--rounds", "1", "--only", options.only,
                           "--nice", str(options.nice), "--dao", program, "--out", out],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr.strip() or f"bench/run.py ended with status {done.returncode}")
    with open(out) as file:
        results = json.load(file)["results"]
    return {scenario: row["cpu_us"] for scenario, rows in results.items() for row in rows["dao"] if row["valid"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, help="the one program dao")
    parser.add_argument("--after", required=True, help="the other one")
    parser.add_argument("--only", default="small32,small256,close32,h2_1,h2_100,h2_h2_1,tls_h1,ws_125",
                        help="scenarios of bench/run.py, default: %(default)s")
    parser.add_argument("--rounds", type=int, default=14, help="how often each of them runs (14), at least 2")
    parser.add_argument("--nice", type=int, default=0, help="as for bench/run.py")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: at least 2")
    programs = [options.before, options.after]
    found = {}
    with tempfile.TemporaryDirectory(prefix="dao-compare-") as folder:
        for number in range(options.rounds):
            for which in (0, 1) if number % 2 == 0 else (1, 0):
                for scenario, cost in costs(programs[which], options, folder).items():
                    found.setdefault(scenario, ([], []))[which].append(cost)
            print(f"round {number + 1}/{options.rounds}", file=sys.stderr, flush=True)
    print(f"{'CPU µs per request':18} {'quartile':>9} {'after':>7} {'ratio':>6} {'median':>9} {'after':>7} {'ratio':>6}")
    for scenario, both in found.items():
        if min(map(len, both)) < 2:
            print(f"{scenario:18} too few valid cells")
            continue
        quartiles = [statistics.quantiles(cells, n=4, method="inclusive")[0] for cells in both]
        medians = [statistics.median(cells) for cells in both]
        shown = [f"{old:9.1f} {new:7.1f} {new / old:6.2f}" for old, new in (quartiles, medians)]
        print(f"{scenario:18} {' '.join(shown)}")


if __name__ == "__main__":
    main()
