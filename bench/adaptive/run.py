#!/usr/bin/python3
"""DAO beside HAProxy, nginx and Caddy when one of four servers misbehaves; docs/performance.md says how.

Random (Poisson) arrivals at a rate that does not wait for answers, latency from the time a request was due. Tables and
goals go to stdout, progress to stderr, everything as JSON to build/bench/adaptive.json (or --out). Exit status 0 if all
was measured, whether the goals are reached or not.
"""
import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import figures  # noqa: E402
import peers  # noqa: E402
import servers as backend  # noqa: E402
from lib import network, procs, proxies  # noqa: E402
from scenarios import SCENARIOS, SICK  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(HERE))
CONNECTIONS = 1024
DRAIN_SECONDS = 2
BY_HAND = "by hand"  # HAProxy with the three healthy servers only: what leaving the slow one out by hand would give


def say(text):
    print(text, file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SCENARIOS), help="scenarios, default: %(default)s")
    parser.add_argument("--proxies", default=",".join(peers.NAMES), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="each runs every scenario through every proxy (3)")
    parser.add_argument("--seed", type=int, default=1, help="of arrivals and service times (1)")
    parser.add_argument("--policy", default="resonant", help="DAO's; if it is unknown, "
                        f"{peers.DAO_FALLBACK_POLICY} (%(default)s)")
    parser.add_argument("--dao-extra", metavar="FILE", help="TOML tables added to DAO's configuration")
    parser.add_argument("--dao", default=os.path.join(ROOT, "build/release/bin/dao"), help="the program to measure")
    parser.add_argument("--tools", default=os.path.join(ROOT, "build/release/bin"),
                        help="where dao_load and dao-upstream are")
    parser.add_argument("--nice", type=int, default=0, help="niceness of all that is measured (0)")
    parser.add_argument("--out", default=os.path.join(ROOT, "build/bench/adaptive.json"))
    parsed = parser.parse_args()
    parsed.only, parsed.proxies = parsed.only.split(","), parsed.proxies.split(",")
    for unknown in (set(parsed.only) - set(SCENARIOS)) | (set(parsed.proxies) - set(peers.NAMES)):
        parser.error(f"unknown scenario or proxy: {unknown}")
    if parsed.rounds < 1:
        parser.error("--rounds: at least 1")
    parsed.dao = os.path.abspath(parsed.dao)
    parsed.extra = ""
    if parsed.dao_extra:
        with open(parsed.dao_extra) as file:
            parsed.extra = file.read().replace("{", "{{").replace("}", "}}")
    procs.NICE = parsed.nice
    return parsed


def wait_until(moment):
    time.sleep(max(0.0, moment - time.monotonic()))


def run_load(options, address, scenario, servers, round_number, seed, cpu, folder):
    """The requests, when the events happened (seconds from the start), and the sick server's share since the last."""
    path = os.path.join(folder, "timeline")
    log = os.path.join(folder, "load.log")
    command = [os.path.join(options.tools, "dao_load"), "--to", address, "--mode", "poisson", "--path", "/",
               "--rate", str(backend.RATE), "--seed", str(seed), "--connections", str(CONNECTIONS), "--warmup", "0",
               "--seconds", str(scenario.seconds), "--drain", str(DRAIN_SECONDS), "--timeline", path]
    zero = time.monotonic()
    load = procs.start(command, cpu, log, stdout=subprocess.DEVNULL)
    moments = {}
    try:
        for event in scenario.events:
            wait_until(zero + event.at[round_number % len(event.at)])
            event.act(servers[SICK])
            moments[event.name] = time.monotonic() - zero
            for server in servers:
                if server.process.poll() is None:
                    server.order("reset_stats=1")
        wait_until(zero + scenario.seconds)
        counts = [server.stats()["requests"] for server in servers]
        if load.wait(DRAIN_SECONDS + 10) != 0:
            raise RuntimeError(f"the load generator failed: {procs.last_lines(log)}")
    finally:
        procs.end(load, 1)
    with open(path) as lines:
        requests = figures.read_timeline(lines, zero)
    return figures.Run(requests, moments, counts[SICK] / max(1, sum(counts)) if scenario.events else None)


def measure(options, known, name, scenario, round_number, policy, folder):
    """One scenario through one proxy, everything started for it. The run, and the share of time the proxy waited."""
    proxy_cpu, load_cpu = procs.cpus()
    seed = options.seed * 1000 + round_number
    servers = backend.start(options.tools, seed, load_cpu, os.path.join(folder, "servers.log"))
    try:
        used = servers[:SICK] if name == BY_HAND else servers
        kind = peers.kind(known, "haproxy" if name == BY_HAND else name,
                          {server.name: server.address for server in used}, policy, options.extra)
        proxy = proxies.Proxy(kind, "", folder, proxy_cpu)
        try:
            waited = procs.wait_ns(proxy.pids)
            run = run_load(options, proxy.address, scenario, servers, round_number, seed, load_cpu, folder)
            busy = (procs.wait_ns(proxy.pids) - waited) / 1e9 / scenario.seconds
            proxy.tidy()
        finally:
            proxy.end()
    finally:
        for server in servers:
            server.end()
    return run, busy


def number(value, pattern="{:.1f}"):
    return "-" if value is None else pattern.format(value)


def table(scenario, cells):
    """Header and lines of text."""
    windows = list(scenario.windows)
    header = ["proxy", *(f"p99 {name}" for name in windows), f"p50 {scenario.judged}", f"p99.9 {scenario.judged}",
              "errors", "errors %", "over 10× mean", "sick share"]
    lines = []
    for name, one in cells.items():
        counted = one["windows"].get("since onset", one["judged"])
        lines.append([name, *(number(one["windows"][window]["p99_ms"]) for window in windows),
                      number(one["judged"]["p50_ms"]), number(one["judged"]["p999_ms"]), str(counted["errors"]),
                      number(100 * (counted["error_share"] or 0), "{:.2f}"), number(one.get("slow")),
                      number(100 * one["sick_share"], "{:.1f} %") if "sick_share" in one else "-"])
    return header, lines


def print_document(document):
    for name, cells in document["results"].items():
        scenario = SCENARIOS[name]
        print(f"\n{name}: {scenario.title} (ms)")
        header, lines = table(scenario, cells)
        widths = [max(len(line[column]) for line in [header, *lines]) for column in range(len(header))]
        for line in [header, *lines]:
            print("  " + "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]))
    if document["goals"]:
        print("\nGoals")
    for text, limit, measured, unit in document["goals"]:
        verdict = "  ?" if measured is None else "yes" if measured <= limit else " NO"
        print(f"  {verdict}  {text}: {number(measured, '{:.2f}')} {unit} (at most {limit} {unit})")
    print(f"\nDAO's policy: {document['policy']}. Load of the machine before: {document['machine']['load_before']}; "
          f"a proxy waited up to {document['disturbance']:.0%} of a run for its CPU.")


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tcp = network.enter([sys.executable, *sys.argv], say)
    known = proxies.kinds(options.dao)
    versions = {name: known[name].version() for name in options.proxies}
    for name in [name for name in options.proxies if versions[name] is None]:
        say(f"!! {name} is not installed: left out")
        options.proxies.remove(name)
    for tool in ("dao_load", "dao-upstream"):
        if not os.access(os.path.join(options.tools, tool), os.X_OK):
            sys.exit(f"{os.path.join(options.tools, tool)} is missing: make build")
    now = datetime.datetime.now(datetime.timezone.utc)
    document = {"date": now.isoformat(timespec="seconds"), "versions": versions, "rounds": options.rounds,
                "seed": options.seed, "rate": backend.RATE, "network": tcp, "nice": options.nice,
                "machine": {"cpus": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2)}, "disturbance": 0.0}
    runs = {}
    with tempfile.TemporaryDirectory(prefix="dao-adaptive-") as folder:
        os.chmod(folder, 0o755)  # some proxies give up root
        document["policy"] = policy = (peers.policy_of(options.dao, options.policy, folder, options.extra, say)
                                       if "dao" in options.proxies else "none")
        for round_number in range(options.rounds):
            for index, scenario_name in enumerate(options.only):
                scenario = SCENARIOS[scenario_name]
                names = [*options.proxies]
                if scenario_name == "slow" and "haproxy" in names:
                    names.append(BY_HAND)
                turn = (round_number + index) % len(names)
                for name in names[turn:] + names[:turn]:
                    run, busy = measure(options, known, name, scenario, round_number, policy, folder)
                    if name != "caddy":  # it has several threads, which wait for each other
                        document["disturbance"] = max(document["disturbance"], busy)
                    runs.setdefault(scenario_name, {}).setdefault(name, []).append(run)
                    shown = figures.cell(scenario, [run])
                    counted = shown["windows"].get("since onset", shown["judged"])
                    say(f"round {round_number + 1}/{options.rounds} {scenario_name:6} {name:8} "
                        f"p99 {number(shown['judged']['p99_ms'])} ms, errors {counted['errors']}, "
                        f"over 10× the mean {number(shown.get('slow'), '{:.0f}')}, waited for its CPU {busy:.1%}")
    order = [*options.proxies, BY_HAND]
    document["results"] = {scenario: {name: figures.cell(SCENARIOS[scenario], cells[name])
                                      for name in order if name in cells} for scenario, cells in runs.items()}
    document["each_round"] = {scenario: {name: [figures.cell(SCENARIOS[scenario], [run]) for run in one]
                                         for name, one in cells.items()} for scenario, cells in runs.items()}
    document["goals"] = figures.goals(document["results"])
    os.makedirs(os.path.dirname(os.path.abspath(options.out)), exist_ok=True)
    with open(options.out, "w") as out:
        json.dump(document, out, indent=1)
    print_document(document)
    say(f"\nall figures: {os.path.relpath(options.out)}")


if __name__ == "__main__":
    main()
