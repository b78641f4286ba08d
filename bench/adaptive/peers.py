"""How DAO and its peers are set up before four servers: one worker, the balancing by load that each offers, its health
checks where the free version has them, and its own defaults for retries."""
import os
import subprocess

from lib import proxies

# What a health check asks. The page answers quickly and never fails by itself, but it waits for a slot, hangs and is
# refused like everything else of a server: such pages tell that a server is alive, not that its answers are good.
HEALTH = "/health?fail_rate=0&delay_exp_ms=0"

# DAO's own settings for this bench, beyond the policy: keys of each upstream, and tables at the end of the file.
DAO_UPSTREAM_EXTRA = ""
DAO_EXTRA = ""

DAO_FALLBACK_POLICY = "least-connections"

HAPROXY = proxies.HAPROXY.replace("  server backend {backend} pool-max-conn 1024\n", f"""\
  balance leastconn
  option httpchk GET {HEALTH}
<servers>""")

NGINX = proxies.NGINX.replace("    server {backend};\n", "    least_conn;\n<servers>")

CADDY = proxies.CADDY.replace("  reverse_proxy {backend} {{\n", f"""\
  reverse_proxy <servers> {{{{
    lb_policy least_conn
    health_uri {HEALTH}
    health_interval 2s
    health_timeout 1s
    fail_duration 10s
""")

DAO = proxies.DAO[:proxies.DAO.index("[[routes.rule.upstreams]]")] + 'policy = "<policy>"\n<servers><extra>'


def dao_config(servers, policy, extra=""):
    each = "".join(f'[[routes.rule.upstreams]]\nname = "{name}"\nurl = "http://{address}"\n{DAO_UPSTREAM_EXTRA}'
                   for name, address in servers.items())
    return DAO.replace("<policy>", policy).replace("<servers>", each).replace("<extra>", DAO_EXTRA + extra)


def config(kind, servers, policy, extra):
    """The template of `kind` (see lib.proxies.Kind) with `servers` (name: address) behind it."""
    if kind == "dao":
        return dao_config(servers, policy, extra)
    if kind == "haproxy":
        lines = "".join(f"  server {name} {address} check pool-max-conn 1024\n" for name, address in servers.items())
        return HAPROXY.replace("<servers>", lines)
    if kind == "nginx":
        return NGINX.replace("<servers>", "".join(f"    server {address};\n" for address in servers.values()))
    return CADDY.replace("<servers>", " ".join(servers.values()))


NAMES = ("dao", "haproxy", "nginx", "caddy")


def kind(known, name, servers, policy, extra):
    """As lib.proxies' Kind of that name, with these servers."""
    like = known[name]
    return proxies.Kind(name, config(name, servers, policy, extra), like.command, like.version_command, like.user,
                        like.environment)


def policy_of(dao, wanted, folder, extra, say):
    """`wanted` if this DAO knows it, else the fallback."""
    for policy in (wanted, DAO_FALLBACK_POLICY):
        path = os.path.join(folder, "check.toml")
        with open(path, "w") as file:
            file.write(dao_config({"u0": "127.0.0.1:1"}, policy, extra).format(
                port=0, folder=folder, connections=proxies.MAX_CONNECTIONS, idle=proxies.IDLE_SECONDS))
        checked = subprocess.run([dao, "check", "--config", path], capture_output=True, text=True, check=False)
        if checked.returncode == 0:
            return policy
        say(f"!! policy {policy}: {(checked.stdout + checked.stderr).strip()}")
    raise SystemExit("DAO accepts none of these configurations")
