#!/usr/bin/python3
"""Load at a fixed rate through DAO to two servers that misbehave in turn; memory and descriptors must stay flat.

Exit status 0 if they did, 1 if not. What exactly is demanded is printed with each figure.
"""
import argparse
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from statistics import mean, median

sys.dont_write_bytecode = True
from lib import procs  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONFIG = """
[server]
bind = "127.0.0.1:0"
workers = 2
[proxy]
first_byte_timeout_ms = 500
read_timeout_ms = 500
pool_idle_timeout_ms = 2000
[telemetry]
prometheus_bind = "127.0.0.1:0"
[telemetry.access_log]
path = "{folder}/access.log"
format = "json"
[memory]
path = "{folder}/dao.db"
[[routes.rule]]
name = "soak"
[[routes.rule.upstreams]]
name = "a"
url = "http://{a}"
[[routes.rule.upstreams]]
name = "b"
url = "http://{b}"
"""

# The requests, taken in turn: mostly plain ones, and one each of these. None of them asks DAO for anything but an error
# or a cut answer, so the load's own errors are expected.
PLAIN = 89
FAULTY = ["/?reset=head", "/?reset=mid_head", "/?reset=body&size=5000", "/?close=head",
          "/?close=body&size=5000&chunked=1", "/?hang=head", "/?hang=body&size=5000", "/?garbage=1",
          "/?interim=103,103&size=200000&chunked=1", "/?no_length=1&size=3000",
          "/?trailers=1&chunk=100&trickle_ms=5&size=1000"]

# What one of the two servers does for STEP_SECONDS, besides: (server, parameters).
FAULTS = [("a", "delay_ms=20"), ("b", "fail_rate=0.3"), ("a", "refuse=1&drop=1"), ("b", "delay_exp_ms=50"),
          ("b", "refuse=1&drop=1"), ("a", "fail_rate=1&fail_status=503"), ("b", "keep_alive=0"), ("a", "drop=1")]
STEP_SECONDS = 4

# Memory that was needed once is kept for the next time. So that the fixed rate finds all it may ever need, a burst with
# everything at once comes before it, and some rounds of FAULTS before the first sample that counts.
CONNECTIONS = 256
BURST_SECONDS = 10
WARMUP_SECONDS = 120
RSS_BYTES_PER_MINUTE = 100 * 1024
RSS_BYTES_AT_LEAST = 512 * 1024  # in a short run, one page cache more or less is no leak
DESCRIPTORS = 24                 # connections come and go with the faults


class Upstream:
    def __init__(self, program, name, folder):
        log = os.path.join(folder, f"{name}.log")
        command = [program, "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--name", name]
        self.process = procs.start(command, None, log)
        told = procs.wait_for(lambda: addresses(log, ("listening", "control")), 10, f"dao-upstream {name} listens")
        self.address, self._control = told["listening"], told["control"]

    def control(self, parameters):
        connection = http.client.HTTPConnection(self._control, timeout=5)
        try:
            connection.request("POST", f"/_control?{parameters}", headers={"Connection": "close"})
            answer = connection.getresponse()
            if answer.status != 200:
                sys.exit(f"/_control?{parameters}: status {answer.status}: {answer.read()!r}")
        finally:
            connection.close()


def addresses(log, wanted):
    """What a log said, once it has said `ready`: {message: address}."""
    with open(log, errors="replace") as file:
        text = file.read()
    if not re.search(r"\binfo ready\b", text):
        return None
    found = dict(re.findall(r"info (\w+) (?:listener=\S+ )?address=(\S+)", text))
    return found if set(wanted) <= set(found) else None


def growth(samples):
    """Least squares: by how much the fitted line rises from the first sample to the last."""
    times = range(len(samples))
    middle, level = mean(times), mean(samples)
    spread = sum((t - middle) ** 2 for t in times)
    return sum((t - middle) * (s - level) for t, s in zip(times, samples)) / spread * (len(samples) - 1)


def counts(table):
    return ", ".join(f"{count} × {what}" for what, count in table.items()) or "none"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="of load (10)")
    parser.add_argument("--rate", type=int, default=1000, help="requests per second (1000)")
    parser.add_argument("--programs", default=os.path.join(ROOT, "build/release/bin"),
                        help="where dao, dao-upstream and dao_load are")
    parser.add_argument("--dao", help="another dao than the one there")
    parsed = parser.parse_args()
    parsed.dao = os.path.abspath(parsed.dao or os.path.join(parsed.programs, "dao"))
    if parsed.minutes * 60 < WARMUP_SECONDS + 60:
        parser.error(f"--minutes: at least {WARMUP_SECONDS / 60 + 1:g}: the first {WARMUP_SECONDS} s are warm-up")
    return parsed


def burst(options, listening, folder):
    command = [os.path.join(options.programs, "dao_load"), "--to", listening, "--connections", str(CONNECTIONS),
               "--warmup", "0", "--seconds", str(BURST_SECONDS)]
    for target in FAULTY + ["/?delay_ms=200&size=200000", "/?delay_ms=200&size=200000&chunked=1"] * len(FAULTY):
        command += ["--path", target]
    load = procs.start(command, None, os.path.join(folder, "load.log"))
    try:
        load.wait(BURST_SECONDS + 20)
    finally:
        procs.end(load, 1)


def run_load(options, dao, listening, upstreams, folder):
    """Returns the samples [(RSS, descriptors)], one a second, and the load generator's result."""
    command = [os.path.join(options.programs, "dao_load"), "--to", listening, "--mode", "open",
               "--connections", str(CONNECTIONS), "--rate", str(options.rate), "--warmup", "0",
               "--seconds", str(options.minutes * 60)]
    for target in [f"/plain?size={size}" for size in range(100, 100 + PLAIN)] + FAULTY:
        command += ["--path", target]
    load = procs.start(command, None, os.path.join(folder, "load.log"), stdout=subprocess.PIPE, text=True)
    samples, started, step, restore = [], time.monotonic(), 0, None
    try:
        while load.poll() is None and dao.poll() is None:
            elapsed = time.monotonic() - started
            if elapsed >= step * STEP_SECONDS:
                if restore:
                    restore.control("restore_defaults=1&resume=1")
                name, parameters = FAULTS[step % len(FAULTS)]
                restore = upstreams[name]
                restore.control(parameters)
                step += 1
            samples.append((procs.rss_bytes([dao.pid]), procs.descriptors(dao.pid)))
            os.truncate(os.path.join(folder, "access.log"), 0)
            if len(samples) % 30 == 0:
                rss, descriptors = samples[-1]
                print(f"{elapsed:5.0f} s  {rss / 2**20:6.2f} MiB  {descriptors:4} descriptors", file=sys.stderr,
                      flush=True)
            # A sampling interval, measured from the start so that it does not drift.
            time.sleep(max(0.0, started + len(samples) - time.monotonic()))
        restore.control("restore_defaults=1&resume=1")
        out, _ = load.communicate(timeout=10)
    finally:
        procs.end(load, 1)
    return samples, json.loads(out) if out else None


def judge(samples, result, before, left, exit_status):
    """[(reached, text)]"""
    steady = samples[WARMUP_SECONDS:]
    rss, descriptors = [[sample[i] for sample in steady] for i in (0, 1)]
    minutes = len(steady) / 60
    allowed = max(RSS_BYTES_AT_LEAST, RSS_BYTES_PER_MINUTE * minutes)
    rss_growth, descriptor_growth = growth(rss), growth(descriptors)
    ok = result["statuses"].get("200", 0) if result else 0
    total = result["total"] + result["errors"] if result else 0
    unfinished = result["unfinished"] if result else "all"
    return [
        (result is not None and unfinished == 0, f"{unfinished} requests without an answer or an end (0)"),
        (total > 0 and ok >= 0.85 * total, f"{ok} of {total} requests answered with 200 (85 % or more)"),
        (rss_growth <= allowed,
         f"memory: median {median(rss) / 2**20:.2f} MiB, most {max(rss) / 2**20:.2f} MiB, growth "
         f"{rss_growth / 1024:+.0f} KiB in {minutes:.1f} minutes after {WARMUP_SECONDS} s "
         f"(at most {allowed / 1024:.0f} KiB)"),
        (descriptor_growth <= DESCRIPTORS,
         f"descriptors: median {median(descriptors):.0f}, most {max(descriptors)}, growth {descriptor_growth:+.1f} "
         f"(at most {DESCRIPTORS})"),
        (left <= before, f"descriptors after the load: {left} (at most the {before} from before it)"),
        (exit_status == 0, f"exit status after SIGTERM: {exit_status} (0)"),
    ]


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="dao-soak-") as folder:
        started = []
        try:
            upstreams = {}
            for name in ("a", "b"):
                upstreams[name] = Upstream(os.path.join(options.programs, "dao-upstream"), name, folder)
                started.append(upstreams[name].process)
            config, log = os.path.join(folder, "dao.toml"), os.path.join(folder, "dao.log")
            with open(config, "w") as file:
                file.write(CONFIG.format(folder=folder, a=upstreams["a"].address, b=upstreams["b"].address).lstrip())
            dao = procs.start([options.dao, "run", "--config", config], None, log)
            started.append(dao)
            listening = procs.wait_for(lambda: addresses(log, ("listening",)), 10, "dao is ready")["listening"]
            before = procs.descriptors(dao.pid)
            burst(options, listening, folder)
            samples, result = run_load(options, dao, listening, upstreams, folder)
            if dao.poll() is not None:
                sys.exit(f"dao ended during the load with status {dao.returncode}:\n{procs.last_lines(log, 30)}")
            try:
                procs.wait_for(lambda: procs.descriptors(dao.pid) <= before, 15, "idle connections are closed")
            except TimeoutError:
                pass  # the verdict says so
            left = procs.descriptors(dao.pid)
            status = procs.end(dao, 40)
            if result:
                print("answers: " + counts(result["statuses"]))
                print("broken off, as asked for: " + counts(result["reasons"]))
            verdicts = judge(samples, result, before, left, status)
        finally:
            for process in reversed(started):
                procs.end(process)
    for reached, text in verdicts:
        print(f"{'yes' if reached else ' NO'}  {text}")
    return 0 if all(reached for reached, _ in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
