"""The proxies that are compared: how each is configured, started and asked for its version.

All of them: one worker, HTTP/1.1 with kept-alive connections on both sides, Host passed on as it came, forwarding
headers where the proxy sets them by default, timeouts that do not end an idle connection during the run. The peers'
access logs are off; DAO's access log and metrics are on.
"""
import http.client
import os
import re
import socket
import subprocess

from lib import procs

IDLE_SECONDS = 300
MAX_CONNECTIONS = 10100

NGINX_AROUND = """
daemon off;
worker_processes 1;
{user}
worker_rlimit_nofile {descriptors};
pid {folder}/nginx.pid;
error_log {folder}/nginx.error warn;
events {{ worker_connections 12000; }}  # below a sixteenth of them free, nginx ends idle connections
http {{
  access_log off;
  server_tokens off;
  keepalive_timeout {idle}s;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/nginx_body;
  proxy_temp_path {folder}/nginx_proxy;
  fastcgi_temp_path {folder}/nginx_fastcgi;
  uwsgi_temp_path {folder}/nginx_uwsgi;
  scgi_temp_path {folder}/nginx_scgi;
  upstream backend {{
    server {backend};
    keepalive 1024;
    keepalive_requests 1000000000;
    keepalive_timeout {idle}s;
  }}
<settings><servers>}}
"""

NGINX_PROXY = """
    location / {{
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
"""


def nginx_config(servers, settings=""):
    """A configuration with these server blocks."""
    return NGINX_AROUND.replace("<settings>", settings).replace("<servers>", servers)


NGINX = nginx_config("  server {{\n    listen 127.0.0.1:{port} reuseport backlog=4096;" + NGINX_PROXY + "  }}\n")

HAPROXY = """
global
  nbthread 1
  maxconn {connections}
  no strict-limits
defaults
  mode http
  timeout connect 5s
  timeout client {idle}s
  timeout server 60s
  timeout http-request 10s
  timeout http-keep-alive {idle}s
  option forwardfor
  http-reuse always
frontend in
  bind 127.0.0.1:{port} backlog 4096
  default_backend out
backend out
  server backend {backend} pool-max-conn 1024
"""

H2O = """
num-threads: 1
max-connections: {connections}
http1-request-timeout: {idle}
error-log: {folder}/h2o.error
pid-file: {folder}/h2o.pid
{user}
listen:
  host: 127.0.0.1
  port: {port}
hosts:
  default:
    paths:
      "/":
        proxy.reverse.url: "http://{backend}"
        proxy.preserve-host: ON
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
    timeouts {{
      idle {idle}s
    }}
  }}
}}
http://:{port} {{
  bind 127.0.0.1
  reverse_proxy {backend} {{
    transport http {{
      versions 1.1
      keepalive 60s
      keepalive_idle_conns 1024
      keepalive_idle_conns_per_host 1024
    }}
  }}
}}
"""

DAO = """
[server]
bind = "127.0.0.1:{port}"
workers = 1
max_connections = {connections}
idle_timeout_ms = {idle}000
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
url = "http://{backend}"
"""


# DAO again, for the scenarios in which waking up is what costs: its worker polls before it sleeps.
POLLING = "dao-polling"
DAO_POLLING = DAO.replace("[telemetry]", "busy_poll_us = 50\n[telemetry]", 1)


class Kind:
    def __init__(self, name, template, command, version, user="", environment=None):
        self.name, self.template, self.command, self.user = name, template, command, user
        self.version_command, self.environment = version, environment or {}

    def version(self):
        """The first version number that the program prints about itself; None if it is not installed."""
        try:
            done = subprocess.run(self.version_command, capture_output=True, text=True, timeout=10, check=False)
        except OSError:
            return None
        found = re.search(r"\d+\.\d+(\.\d+)?[\w.+~-]*", done.stdout + done.stderr)
        return found.group(0) if found else "unknown"


def program(name):
    """Debian puts servers into /usr/sbin, which is not in everybody's PATH."""
    for folder in os.environ.get("PATH", "").split(":") + ["/usr/sbin", "/usr/bin"]:
        if folder and os.access(os.path.join(folder, name), os.X_OK):
            return os.path.join(folder, name)
    return name


def kinds(dao):
    nginx, haproxy, h2o, caddy = (program(name) for name in ("nginx", "haproxy", "h2o", "caddy"))
    root = os.geteuid() == 0
    return {kind.name: kind for kind in (
        Kind("dao", DAO, [dao, "run", "--config", "{config}"], [dao, "--version"]),
        Kind(POLLING, DAO_POLLING, [dao, "run", "--config", "{config}"], [dao, "--version"]),
        Kind("nginx", NGINX, [nginx, "-c", "{config}", "-e", "{folder}/nginx.error"], [nginx, "-v"],
             user="user root root;" if root else ""),
        Kind("haproxy", HAPROXY, [haproxy, "-db", "-f", "{config}"], [haproxy, "-v"]),
        Kind("h2o", H2O, [h2o, "-c", "{config}"], [h2o, "-v"], user="user: root" if root else ""),
        Kind("caddy", CADDY, [caddy, "run", "--adapter", "caddyfile", "--config", "{config}"], [caddy, "version"],
             environment={"GOMAXPROCS": "1"}),
    )}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Proxy:
    """One running proxy."""

    def __init__(self, kind, backend, folder, cpu):
        self.kind, self.name = kind, kind.name
        self.folder = os.path.join(folder, kind.name)
        os.makedirs(self.folder, exist_ok=True)
        self.log = os.path.join(self.folder, "output")
        for attempt in range(3):  # the port was free a moment ago, which promises nothing
            try:
                self._start(backend, cpu)
                return
            except (TimeoutError, ChildProcessError) as failure:
                procs.end(self.process)
                if attempt == 2:
                    raise RuntimeError(f"{self.name} does not start: {failure}\n{procs.last_lines(self.log)}") from None

    def _start(self, backend, cpu):
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self._launch(self.kind.template.format(
            port=port, backend=backend, folder=self.folder, idle=IDLE_SECONDS, connections=MAX_CONNECTIONS,
            descriptors=procs.descriptor_limit(), user=self.kind.user), cpu)

    def _launch(self, text, cpu):
        config = os.path.join(self.folder, "config")
        with open(config, "w") as file:
            file.write(text.lstrip())
        environment = os.environ | self.kind.environment | {
            "HOME": self.folder, "XDG_CONFIG_HOME": self.folder, "XDG_DATA_HOME": self.folder}
        self.process = procs.start([part.format(config=config, folder=self.folder) for part in self.kind.command],
                                   cpu, self.log, cwd=self.folder, env=environment)
        procs.wait_for(self._serves, 10, f"{self.name} answers")
        self.pids = procs.tree(self.process.pid)

    def _serves(self):
        if self.process.poll() is not None:
            raise ChildProcessError(f"exit status {self.process.returncode}")
        try:
            connection = http.client.HTTPConnection(self.address, timeout=2)
            connection.request("GET", "/small", headers={"Connection": "close"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False

    def tidy(self):
        """Empties the access log, so that a long run does not fill the disk."""
        path = os.path.join(self.folder, "access.log")
        if os.path.exists(path):
            os.truncate(path, 0)

    def end(self):
        return procs.end(self.process)
