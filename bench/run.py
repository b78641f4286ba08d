#!/usr/bin/python3
"""Compares DAO with nginx, HAProxy, h2o and Caddy on this machine; docs/performance.md says how.

Progress goes to stderr, tables and verdicts to stdout, everything as JSON to build/bench/latest.json (or --out).
"""
import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from lib import network, procs, protocols, proxies, scenarios, summary  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def say(text):
    print(text, file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = [*scenarios.NAMES, "syscalls", *protocols.SCENARIOS]
    parser.add_argument("--only", default=",".join(every), help="scenarios, default: %(default)s")
    parser.add_argument("--proxies", default="dao,dao-polling,nginx,haproxy,h2o,caddy", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=15, help="each round runs every cell once (15)")
    parser.add_argument("--seconds", type=float, default=0.6,
                        help="measured time of a cell, after 0.3 s of warm-up (0.6)")
    parser.add_argument("--dao", default=os.path.join(ROOT, "build/release/bin/dao"), help="the program to measure")
    parser.add_argument("--tools", default=os.path.join(ROOT, "build/release/bin"),
                        help="where dao_load and bench_backend are")
    parser.add_argument("--out", default=os.path.join(ROOT, "build/bench/latest.json"))
    parser.add_argument("--nice", type=int, default=0,
                        help="niceness of all that is measured; -20 helps on a busy machine (root)")
    parser.add_argument("--quick", action="store_true", help="one round of half a second: does it work?")
    parsed = parser.parse_args()
    procs.NICE = parsed.nice
    if parsed.quick:
        parsed.rounds, parsed.seconds = 1, 0.5
    parsed.only = parsed.only.split(",")
    unknown = set(parsed.only) - set(every)
    if unknown:
        parser.error(f"unknown scenario: {', '.join(sorted(unknown))}")
    parsed.dao = os.path.abspath(parsed.dao)
    return parsed


def machine():
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine())
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(),
            "load_before": round(os.getloadavg()[0], 2)}


def rotated(items, by):
    by %= max(1, len(items))
    return items[by:] + items[:by]


def run_rounds(options, bench, running, results):
    names = [name for name in scenarios.NAMES if name in options.only and name != "idle"]
    for number in range(options.rounds):
        for index, scenario in enumerate(names):
            taking_part = [name for name in running if name != proxies.POLLING or scenario in ("small1", "latency")]
            latency = scenario == "latency"
            load = scenarios.LATENCY[1] if latency else scenarios.CLOSED[scenario][1]
            shown = "p50_us" if latency else "cpu_us"
            measured = [*taking_part, *(bench.baselines if latency else [])]
            order = rotated(measured, number + index)
            cells = results.setdefault(scenario, {name: [] for name in measured})
            told = []
            for name in order:
                row = bench.measure(name, running.get(name), load, options.seconds)
                cells[name].append(row)
                told.append(f"{name} {row[shown]:.1f}" if row["valid"] else f"{name} INVALID")
                for problem in row["problems"]:
                    say(f"!! {scenario} {name}: {problem}")
            say(f"round {number + 1}/{options.rounds} {scenario:9} {shown[:3]} µs: {', '.join(told)}")


def run_idle(bench, kinds, folder, results):
    """Once for each proxy, fresh: memory is not a matter of chance."""
    cells = results.setdefault("idle", {})
    for kind in kinds:
        proxy = proxies.Proxy(kind, bench.backend, os.path.join(folder, "idle"), bench.proxy_cpu)
        try:
            row = bench.measure_idle(proxy, scenarios.IDLE_CONNECTIONS)
        finally:
            proxy.end()
        cells[kind.name] = [row]
        say(f"idle {kind.name}: {row.get('bytes_per_connection', 0):.0f} bytes per connection")
        for problem in row["problems"]:
            say(f"!! idle {kind.name}: {problem}")


def run_syscalls(bench, running):
    counted = {}
    if not shutil.which("strace"):
        return {name: "strace is not installed" for name in running}
    for name, proxy in running.items():
        found = counted[name] = bench.count_syscalls(proxy)
        say(f"system calls {name}: " + (f"{found['all']:.2f}" if isinstance(found, dict) else found))
    return counted


def print_tables(document):
    for title, header, lines, notes in summary.tables(document):
        print(f"\n{title}")
        widths = [max(len(line[column]) for line in [header, *lines]) for column in range(len(header))]
        for line in [header, *lines]:
            left = line[-1] if header[-1].startswith("the ") else line[-1].rjust(widths[-1])
            middle = [text.rjust(width) for text, width in zip(line[1:-1], widths[1:-1])]
            print("  " + "  ".join([line[0].ljust(widths[0]), *middle, left]))
        for note in notes:
            print(f"  !! {note}")
    judged = summary.verdicts(document)
    if judged:
        print("\nGoals")
    for text, limit, measured, unit in judged:
        verdict = "  ?" if measured is None else "yes" if measured <= limit else " NO"
        print(f"  {verdict}  {text}: {summary.figure(measured, unit)} (at most {summary.figure(limit, unit)})")
    if document["disturbance"] > 0.05:
        print(f"\n!! The machine was busy: a proxy waited up to {document['disturbance']:.0%} of a cell for its CPU. "
              "Do not quote these figures.")


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tcp = network.enter([sys.executable, *sys.argv], say)
    known = proxies.kinds(options.dao)
    wanted = [name for name in options.proxies.split(",") if name]
    if set(wanted) - set(known):
        sys.exit(f"unknown proxy: {', '.join(sorted(set(wanted) - set(known)))}")
    versions = {name: known[name].version() for name in wanted}
    for name in [name for name in wanted if versions[name] is None]:
        say(f"!! {name} is not installed: left out")
        wanted.remove(name)
    for tool in ("dao_load", "bench_backend", "ws_echo", "tls_load"):
        if not os.access(os.path.join(options.tools, tool), os.X_OK):
            sys.exit(f"{os.path.join(options.tools, tool)} is missing: make build")
    now = datetime.datetime.now(datetime.timezone.utc)
    document = {"date": now.isoformat(timespec="seconds"), "machine": machine(),
                "versions": {name: versions[name] for name in wanted}, "rounds": options.rounds,
                "seconds": options.seconds, "nice": options.nice, "network": tcp, "results": {}}
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dao-bench-") as folder:
        os.chmod(folder, 0o755)  # some proxies give up root
        bench = scenarios.Bench(options.tools, folder)
        document["machine"] |= {"proxy_cpu": bench.proxy_cpu, "load_cpu": bench.load_cpu}
        running = {}
        try:
            for name in wanted:
                try:
                    running[name] = proxies.Proxy(known[name], bench.backend, folder, bench.proxy_cpu)
                except RuntimeError as failure:
                    say(f"!! left out: {failure}")
            run_rounds(options, bench, running, document["results"])
            if "syscalls" in options.only:
                document["syscalls"] = run_syscalls(
                    bench, {name: proxy for name, proxy in running.items() if name != proxies.POLLING})
            started_kinds = [proxy.kind for name, proxy in running.items() if name != proxies.POLLING]
            while running:
                running.popitem()[1].end()
            if "idle" in options.only:
                run_idle(bench, started_kinds, folder, document["results"])
            protocols.run(options, bench, [known[name] for name in wanted if name != proxies.POLLING], folder, document["results"], say)
        finally:
            for proxy in running.values():
                proxy.end()
            bench.end()
    document["disturbance"] = summary.disturbance(document)
    document["took_seconds"] = round(time.monotonic() - started)
    os.makedirs(os.path.dirname(os.path.abspath(options.out)), exist_ok=True)
    with open(options.out, "w") as out:
        json.dump(document, out, indent=1)
    print_tables(document)
    say(f"\n{document['took_seconds']} s; all figures: {os.path.relpath(options.out)}")


if __name__ == "__main__":
    main()
