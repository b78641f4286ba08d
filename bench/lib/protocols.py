"""HTTP/2, TLS and WebSocket through the proxies, and what CPU that costs each.

Every proxy listens three times: HTTP/2 in clear text (prior knowledge), TLS with ALPN for HTTP/2 and HTTP/1.1, and
HTTP/1.1 in clear text for WebSocket. The backend is `bench_backend` (HTTP/1.1), nghttpd (HTTP/2 in clear text, for the
proxies that can; with trailers, as gRPC has them) or `ws_echo`. A cell of h2load is a fixed number of requests; its CPU
time is that of all of them, connecting included. A cell of `ws_echo` and `tls_load` is a fixed time after a warm-up.
"""
import json
import os
import re
import subprocess
from typing import NamedTuple

from lib import procs, proxies, scenarios


class Scenario(NamedTuple):
    title: str
    listener: str
    arguments: list  # of h2load, tls_load or ws_echo
    backend: str = "h1"
    per_second: int = 0  # requests for each second of a cell


SCENARIOS = {
    "h2_1": Scenario("HTTP/2 to HTTP/1.1, small GET, 32 connections of 1 stream", "h2c", ["-c32", "-m1"],
                     per_second=30000),
    "h2_100": Scenario("HTTP/2 to HTTP/1.1, small GET, 4 connections of 100 streams", "h2c", ["-c4", "-m100"],
                       per_second=50000),
    "h2_h2_1": Scenario("HTTP/2 to HTTP/2, small GET, 32 connections of 1 stream", "h2c", ["-c32", "-m1"], "h2",
                        30000),
    "h2_h2_100": Scenario("HTTP/2 to HTTP/2, small GET, 4 connections of 100 streams", "h2c", ["-c4", "-m100"], "h2",
                          50000),
    "tls_h1": Scenario("TLS, HTTP/1.1 kept alive, small GET, 32 connections", "tls", ["--h1", "-c32"],
                       per_second=40000),
    "grpc": Scenario("gRPC unary, 25 bytes, 4 connections of 100 streams", "h2c",
                     ["-c4", "-m100", "-H", "content-type: application/grpc", "-H", "te: trailers", "-d", "{grpc}"],
                     "grpc", 30000),
    "tls_full": Scenario("TLS, a full handshake for each request, 16 connections", "tls", []),
    "tls_resumed": Scenario("TLS, a resumed session for each request, 16 connections", "tls", ["--resume"]),
    "ws_125": Scenario("WebSocket echo, 125 bytes, 32 connections", "ws", ["--bytes", "125"], "ws"),
    "ws_64k": Scenario("WebSocket echo, 64 kB, 32 connections", "ws", ["--bytes", "65536"], "ws"),
}

NGINX = proxies.nginx_config("""
  server {{
    listen 127.0.0.1:{h2c} http2 reuseport backlog=4096;
    listen 127.0.0.1:{tls} ssl http2 reuseport backlog=4096;<location>  }}
  server {{
    listen 127.0.0.1:{ws} reuseport backlog=4096;
    location / {{
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header Host $http_host;
    }}
  }}
""", """  ssl_certificate {certificate};
  ssl_certificate_key {key};
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:SSL:10m;
""")

HAPROXY = """
global
  nbthread 1
  maxconn 10100
  no strict-limits
  tune.ssl.default-dh-param 2048
defaults
  mode http
  timeout connect 5s
  timeout client {idle}s
  timeout server 60s
  timeout http-request 10s
  timeout tunnel {idle}s
  timeout http-keep-alive {idle}s
  option forwardfor
  http-reuse always
frontend in
  bind 127.0.0.1:{h2c} proto h2 backlog 4096
  bind 127.0.0.1:{tls} ssl crt {pem} alpn h2,http/1.1 backlog 4096
  bind 127.0.0.1:{ws} backlog 4096
  default_backend out
backend out
  server backend {backend} pool-max-conn 1024 {haproxy_proto}
"""

H2O = """
num-threads: 1
http1-request-timeout: {idle}
http2-idle-timeout: {idle}
error-log: {folder}/h2o.error
pid-file: {folder}/h2o.pid
{user}
listen:
  host: 127.0.0.1
  port: {h2c}
listen:
  host: 127.0.0.1
  port: {ws}
listen:
  host: 127.0.0.1
  port: {tls}
  ssl:
    certificate-file: {certificate}
    key-file: {key}
hosts:
  default:
    paths:
      "/":
        proxy.reverse.url: "http://{backend}"
        proxy.preserve-host: ON
        proxy.websocket: ON
        proxy.timeout.keepalive: 60000
"""

CADDY = """
{{
  admin off
  auto_https off
  grace_period 1s
  log {{
    level ERROR
  }}
  servers {{
    protocols h1 h2 h2c
    timeouts {{
      idle {idle}s
    }}
  }}
}}
(backend) {{
  bind 127.0.0.1
  reverse_proxy {caddy_scheme}{backend} {{
    transport http {{
      versions {caddy_versions}
      keepalive 60s
      keepalive_idle_conns 1024
      keepalive_idle_conns_per_host 1024
    }}
  }}
}}
http://:{h2c}, http://:{ws} {{
  import backend
}}
https://:{tls} {{
  import backend
  tls {certificate} {key}
}}
"""

DAO = """
[server]
workers = 1
max_connections = 10100
idle_timeout_ms = {idle}000
[[server.listener]]
name = "h2c"
bind = "127.0.0.1:{h2c}"
[[server.listener]]
name = "ws"
bind = "127.0.0.1:{ws}"
[[server.listener]]
name = "tls"
bind = "127.0.0.1:{tls}"
[[server.listener.tls.certificates]]
cert = "{certificate}"
key = "{key}"
[telemetry]
prometheus_bind = "127.0.0.1:0"
[telemetry.access_log]
path = "{folder}/access.log"
format = "json"
[memory]
path = "{folder}/dao.db"
[[routes.rule]]
name = "bench"
[[routes.rule.upstreams]]
name = "backend"
url = "{dao_scheme}://{backend}"
"""

LISTENERS = ("h2c", "tls", "ws")
NGINX_GRPC = """
    location / {{
      grpc_pass grpc://backend;
      grpc_set_header Host $http_host;
      grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      grpc_set_header X-Forwarded-Proto $scheme;
    }}
"""
TEMPLATES = {"dao": DAO, "nginx": NGINX.replace("<location>", proxies.NGINX_PROXY), "haproxy": HAPROXY, "h2o": H2O,
             "caddy": CADDY}
# Who of them speaks HTTP/2 to a backend. nginx does so for gRPC only.
ABLE = {"h2": ("dao", "haproxy", "caddy"), "grpc": ("dao", "nginx", "haproxy", "caddy")}
GRPC_MESSAGE = b"\0\0\0\0\x14" + b"twenty bytes of text"


class Files:
    """A self-signed P-256 certificate for localhost, and the message that gRPC clients send."""

    def __init__(self, folder):
        self.certificate, self.key, self.pem, self.grpc = (
            os.path.join(folder, name) for name in ("cert.pem", "key.pem", "both.pem", "message.grpc"))
        with open(self.grpc, "wb") as message:
            message.write(GRPC_MESSAGE)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                        "-out", self.certificate, "-keyout", self.key], check=True, capture_output=True)
        with open(self.pem, "w") as both:
            for part in (self.certificate, self.key):
                with open(part) as file:
                    both.write(file.read())


class Proxy(proxies.Proxy):
    """A proxy with the listeners of this module."""

    def __init__(self, kind, speaks, backend, files, tools, folder, cpu):
        self.speaks, self.files, self.tools = speaks, files, tools
        super().__init__(kind, backend, folder, cpu)

    def _start(self, backend, cpu):
        self.ports = {listener: proxies.free_port() for listener in LISTENERS}
        h2 = self.speaks in ABLE
        template = TEMPLATES[self.kind.name]
        if self.speaks == "grpc" and self.kind.name == "nginx":
            template = NGINX.replace("<location>", NGINX_GRPC)
        self._launch(template.format(
            **self.ports, backend=backend, folder=self.folder, idle=proxies.IDLE_SECONDS, user=self.kind.user,
            descriptors=procs.descriptor_limit(), certificate=self.files.certificate, key=self.files.key,
            pem=self.files.pem, haproxy_proto="proto h2" if h2 else "", caddy_scheme="h2c://" if h2 else "",
            caddy_versions="h2c" if h2 else "1.1", dao_scheme="h2c" if h2 else "http"), cpu)

    def url(self, listener):
        return f"{'https' if listener == 'tls' else 'http'}://localhost:{self.ports[listener]}/small"

    def _serves(self):
        if self.process.poll() is not None:
            raise ChildProcessError(f"exit status {self.process.returncode}")
        if self.speaks == "ws":
            return ws_echo(self, ["--connections", "1"], 0.05) is not None
        # nginx passes nothing but POST on to gRPC's backend
        asking = ["-c1", "-d", self.files.grpc] if self.speaks == "grpc" else ["-c1"]
        return all(h2load(self.url(listener), asking, 1)["succeeded"] == 1 for listener in ("h2c", "tls"))


def h2load(url, arguments, requests, cpu=None):
    """What h2load said: requests that succeeded, and seconds."""
    command = ["h2load", *arguments, f"-n{requests}", url]
    done = procs.run(command, cpu)
    counts = re.search(r"(\d+) total, .*?(\d+) succeeded, (\d+) failed", done.stdout)
    finished = re.search(r"finished in ([\d.]+)(us|ms|s)", done.stdout)
    good = re.search(r"status codes: (\d+) 2xx", done.stdout)
    if not (counts and finished and good):
        return {"succeeded": 0, "seconds": 0.0}
    scale = {"us": 1e-6, "ms": 1e-3, "s": 1.0}[finished.group(2)]
    return {"succeeded": int(good.group(1)), "seconds": float(finished.group(1)) * scale}


def ws_echo(proxy, arguments, seconds, cpu=None):
    return timed_load(proxy, ["ws_echo", "load"], "ws", arguments, seconds, cpu)


def timed_load(proxy, program, listener, arguments, seconds, cpu):
    """What the program printed, or nothing."""
    command = [os.path.join(proxy.tools, program[0]), *program[1:], "--to", f"127.0.0.1:{proxy.ports[listener]}",
               *arguments, "--seconds", str(seconds)]
    for pid in procs.tree(proxy.process.pid):
        command += ["--watch", str(pid)]
    done = procs.run(command, cpu)
    return json.loads(done.stdout) if done.returncode == 0 else None


def measure_timed(proxy, listener, arguments, cpu, seconds):
    pids = procs.tree(proxy.process.pid)
    waited = procs.wait_ns(pids)
    program = ["ws_echo", "load"] if listener == "ws" else ["tls_load"]
    result = timed_load(proxy, program, listener, arguments, seconds, cpu)
    if result is None:
        return {"valid": False, "problems": ["the load generator failed"]}
    row = scenarios.row_of(result)
    proxy.tidy()
    if "resumed" in result and (result["resumed"] < 0.95 * result["requests"]) == ("--resume" in arguments):
        row["problems"].append(f"{result['resumed']} of {result['requests']} handshakes resumed a session")
        row["valid"] = False
    row["rss_bytes"] = procs.rss_bytes(pids)
    row["cpu_wait"] = (procs.wait_ns(pids) - waited) / 1e9 / (seconds + 0.3)
    return row


def measure(scenario, proxy, cpu, seconds):
    """One cell."""
    _, listener, arguments, _, per_second = SCENARIOS[scenario]
    if per_second == 0:
        return measure_timed(proxy, listener, arguments, cpu, seconds)
    requests = int(per_second * seconds)
    arguments = [argument.replace("{grpc}", proxy.files.grpc) for argument in arguments]
    pids = procs.tree(proxy.process.pid)
    before, waited = procs.run_ns(pids), procs.wait_ns(pids)
    result = h2load(proxy.url(listener), arguments, requests, cpu)
    spent = procs.run_ns(pids) - before
    proxy.tidy()
    problems = [] if result["succeeded"] == requests else [f"{requests - result['succeeded']} of {requests} failed"]
    took = result["seconds"] or 1.0
    return {"valid": not problems, "problems": problems, "requests": requests, "rps": requests / took,
            "cpu_us": spent / 1e3 / requests, "cpu_share": spent / 1e9 / took, "rss_bytes": procs.rss_bytes(pids),
            "cpu_wait": (procs.wait_ns(pids) - waited) / 1e9 / took}


def start_h2_backend(cpu, folder, *options):
    """nghttpd with one small file; (process, address)."""
    root = os.path.join(folder, "files")
    os.makedirs(root, exist_ok=True)
    with open(os.path.join(root, "small"), "w") as file:
        file.write("x" * 128)
    port = proxies.free_port()
    log = os.path.join(folder, "nghttpd.log")
    process = procs.start(["nghttpd", "--no-tls", *options, "-d", root, str(port)], cpu, log)
    address = f"127.0.0.1:{port}"
    procs.wait_for(lambda: h2load(f"http://{address}/small", ["-c1"], 1)["succeeded"] == 1, 10, "nghttpd answers")
    return process, address


def start_ws_backend(cpu, tools, folder):
    process = procs.start([os.path.join(tools, "ws_echo"), "server"], cpu, os.path.join(folder, "ws_echo.log"),
                          stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().split()[-1]


def run(options, bench, kinds, folder, results, say):
    """All rounds of the scenarios that were asked for."""
    names = [name for name in SCENARIOS if name in options.only]
    if not names:
        return
    files = Files(folder)
    h2_backend, h2_address = start_h2_backend(bench.load_cpu, folder)
    grpc_backend, grpc_address = start_h2_backend(bench.load_cpu, folder, "--trailer", "grpc-status: 0")
    ws_backend, ws_address = start_ws_backend(bench.load_cpu, options.tools, folder)
    addresses = {"h1": bench.backend, "h2": h2_address, "grpc": grpc_address, "ws": ws_address}
    running = {speaks: {} for speaks in addresses}
    try:
        for speaks in dict.fromkeys(SCENARIOS[name].backend for name in names):
            for kind in kinds:
                if kind.name not in ABLE.get(speaks, TEMPLATES):
                    continue
                try:
                    running[speaks][kind.name] = Proxy(kind, speaks, addresses[speaks], files, options.tools,
                                                       os.path.join(folder, f"to_{speaks}"), bench.proxy_cpu)
                except RuntimeError as failure:
                    say(f"!! left out: {failure}")
        for number in range(options.rounds):
            for index, scenario in enumerate(names):
                measured = running[SCENARIOS[scenario].backend]
                order = list(measured)
                by = (number + index) % max(1, len(order))
                cells = results.setdefault(scenario, {name: [] for name in order})
                told = []
                for name in order[by:] + order[:by]:
                    row = measure(scenario, measured[name], bench.load_cpu, options.seconds)
                    cells[name].append(row)
                    told.append(f"{name} {row['cpu_us']:.1f}" if row["valid"] else f"{name} INVALID")
                    for problem in row["problems"]:
                        say(f"!! {scenario} {name}: {problem}")
                say(f"round {number + 1}/{options.rounds} {scenario:9} cpu µs: {', '.join(told)}")
    finally:
        for group in running.values():
            for proxy in group.values():
                proxy.end()
        for backend in (h2_backend, grpc_backend, ws_backend):
            procs.end(backend)
