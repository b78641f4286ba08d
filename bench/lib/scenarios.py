"""The scenarios and how one of them is measured through one proxy."""
import http.client
import json
import os
import re
import signal
import subprocess

from lib import procs

IDLE_CONNECTIONS = 10000
OPEN_RATE = 10000

# name: (what it is, arguments of dao_load)
CLOSED = {
    "small1": ("small GET, 1 connection", ["--connections", "1"]),
    "small32": ("small GET, 32 connections", ["--connections", "32"]),
    "small256": ("small GET, 256 connections", ["--connections", "256"]),
    "post32": ("POST 10 kB, 32 connections", ["--connections", "32", "--post", "10240"]),
    "big16": ("1 MB answers, 16 connections", ["--connections", "16", "--path", "/1m"]),
    "close32": ("new connection for each request, 32 at a time", ["--connections", "32", "--close"]),
}
LATENCY = ("small GET at a fixed 10 000 requests/s, 32 connections",
           ["--mode", "open", "--rate", str(OPEN_RATE), "--connections", "32"])
TITLES = {name: title for name, (title, _) in CLOSED.items()} | {
    "latency": LATENCY[0], "idle": "10 000 idle keep-alive connections"}
NAMES = list(TITLES)


class Bench:
    """The backend, the load generator and where they run."""

    def __init__(self, tools, folder):
        self.proxy_cpu, self.load_cpu = procs.cpus()
        self.folder = folder
        self.log = os.path.join(folder, "load.log")
        self.load_program = os.path.join(tools, "dao_load")
        self._tools = tools
        self._backends = []
        self.backend = self.start_backend(self.load_cpu)
        # The baselines of added latency. The client reaches a proxy on another CPU, which costs a wake-up across CPUs
        # each way: "direct" does the same with a backend there, "direct-local" has it on the client's own CPU.
        self.baselines = {"direct": self.start_backend(self.proxy_cpu), "direct-local": self.backend}

    def start_backend(self, cpu):
        process = procs.start([os.path.join(self._tools, "bench_backend")], cpu, self.log, stdout=subprocess.PIPE,
                              text=True)
        self._backends.append(process)
        return process.stdout.readline().split()[-1]

    def end(self):
        for process in self._backends:
            procs.end(process)

    def _start_load(self, address, arguments, watched, **options):
        command = [self.load_program, "--to", address, *arguments]
        for pid in watched:
            command += ["--watch", str(pid)]
        return procs.start(command, self.load_cpu, self.log, stdout=subprocess.PIPE, text=True, **options)

    def load(self, address, arguments, watched, patience):
        process = self._start_load(address, arguments, watched)
        try:
            out, _ = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            return None
        finally:
            procs.end(process, 1)
        return json.loads(out) if process.returncode == 0 else None

    def backend_accepts(self):
        connection = http.client.HTTPConnection(self.backend, timeout=5)
        connection.request("GET", "/stats", headers={"Connection": "close"})
        return json.loads(connection.getresponse().read())["accepts"] - 1  # without this one

    def measure(self, name, proxy, arguments, seconds):
        """One cell: `arguments` through `proxy` (None: to the baseline `name`) for `seconds`."""
        accepts = self.backend_accepts()
        pids = proxy.pids if proxy else []
        waited = procs.wait_ns(pids)
        address = proxy.address if proxy else self.baselines[name]
        result = self.load(address, [*arguments, "--seconds", str(seconds)], pids, seconds + 15)
        if result is None:
            return {"valid": False, "problems": ["the load generator failed"]}
        row = row_of(result)
        row["rss_bytes"] = procs.rss_bytes(pids)
        row["cpu_wait"] = (procs.wait_ns(pids) - waited) / 1e9 / (seconds + 0.3)
        if proxy:
            row["backend_connections"] = self.backend_accepts() - accepts - 1
            proxy.tidy()
            # Every proxy here keeps connections to its backend; one that does not is not set up as intended.
            if row["backend_connections"] > max(600, result["total"] * 0.02):
                row["problems"].append(f"{row['backend_connections']} new backend connections for "
                                       f"{result['total']} requests")
                row["valid"] = False
        return row

    def measure_idle(self, proxy, wanted):
        """Memory of `wanted` idle connections, in a proxy that has been warmed up and serves nothing else."""
        self.load(proxy.address, ["--connections", "32", "--warmup", "0", "--seconds", "0.3"], [], 15)
        before = procs.rss_bytes(proxy.pids)
        process = self._start_load(proxy.address, ["--mode", "idle", "--connections", str(wanted)], [],
                                   stdin=subprocess.PIPE)
        try:
            line = process.stdout.readline()
            if not line:
                return {"valid": False, "problems": ["the load generator failed"]}
            result = json.loads(line)
            after = procs.rss_bytes(procs.tree(proxy.process.pid))
            lost = json.loads(process.communicate(timeout=15)[0])["lost"]
        finally:
            procs.end(process, 1)
        row = row_of(result)
        held = wanted - lost
        row |= {"held": held, "rss_before": before, "rss_after": after,
                "bytes_per_connection": (after - before) / max(1, held)}
        if lost:
            row["problems"].append(f"{lost} of {wanted} idle connections lost")
            row["valid"] = held >= wanted * 0.9 and row["valid"]
        return row

    def count_syscalls(self, proxy):
        """System calls per small GET at 32 connections, counted by strace; a dictionary, or a text why not."""
        report = os.path.join(proxy.folder, "strace")
        command = ["strace", "-f", "-c", "-o", report]
        for pid in proxy.pids:
            command += ["-p", str(pid)]
        try:
            tracer = procs.start(command, None, self.log)
        except OSError as failure:
            return str(failure)
        try:
            procs.wait_for(lambda: tracer.poll() is not None or all(traced(pid) for pid in proxy.pids), 5,
                           "strace attaches")
            if tracer.poll() is not None:
                return "strace may not attach here: " + procs.last_lines(self.log, 1)
            result = self.load(proxy.address, ["--connections", "32", "--warmup", "0", "--seconds", "0.7"], [], 30)
        except TimeoutError as failure:
            return str(failure)
        finally:
            tracer.send_signal(signal.SIGINT)
            try:
                tracer.wait(5)
            except subprocess.TimeoutExpired:
                procs.end(tracer, 1)
        proxy.tidy()
        return calls_per_request(report, result)


def row_of(result):
    """What the load generator printed as one cell of a table; invalid if anything at all went wrong."""
    measured, seconds = result["requests"], result["seconds"]
    problems = [f"{count} × {why}" for why, count in result["reasons"].items()]
    problems += [f"{count} × status {status}" for status, count in result["statuses"].items() if status != "200"]
    if result["unfinished"]:
        problems.append(f"{result['unfinished']} unanswered")
    if result["closed_by_peer"]:
        problems.append(f"{result['closed_by_peer']} connections closed by the proxy")
    if not measured:
        problems.append("no request completed")
    return {
        "valid": not problems, "problems": problems, "requests": measured, "rps": measured / seconds,
        "cpu_us": result["cpu_ns"] / 1e3 / max(1, measured), "cpu_share": result["cpu_ns"] / 1e9 / seconds,
        **{f"{name}_us": result[f"{name}_ns"] / 1e3 for name in ("p50", "p99", "p999")},
    }


def traced(pid):
    try:
        with open(f"/proc/{pid}/status") as status:
            return "TracerPid:\t0\n" not in status.read()
    except OSError:
        return True


def calls_per_request(report, result):
    calls = {}
    try:
        with open(report) as lines:
            for line in lines:
                found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)\s*$", line)
                if found and found.group(2) != "total":
                    calls[found.group(2)] = int(found.group(1))
    except OSError as failure:
        return str(failure)
    if not calls or not result or not result["total"]:
        return "strace counted nothing"
    per_request = {name: count / result["total"] for name, count in sorted(calls.items(), key=lambda item: -item[1])}
    return {"all": sum(per_request.values()),
            "calls": {name: round(count, 3) for name, count in per_request.items() if count >= 0.005}}
