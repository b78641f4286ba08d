#!/usr/bin/python3
"""Traffic for scripts/record-profile through what `make bench` does not configure: the policies over three backends, filters
and rewrites, sticky sessions, split traffic, answers of DAO's own, a backend that refuses. Says "!!" of answers that are
not as expected; measures nothing.
"""
import argparse
import os
import sys
import tempfile

sys.dont_write_bytecode = True
from lib import proxies, scenarios  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SECONDS = 0.6
POLICIES = ("resonant", "round-robin", "random", "least-connections", "p2c", "peak-ewma", "consistent-hash",
            "optimize-for-throughput")
FILTERS = """
[routes.rule.match]
path_prefix = "/filters/"
[routes.rule.rewrite]
strip_prefix = "/filters"
[routes.rule.filters]
request_headers_remove = ["X-Debug"]
request_headers_set = { "X-Client" = "$client_ip" }
request_headers_add = { "X-Served-By" = "dao" }
response_headers_remove = ["Server"]
response_headers_set = { "X-Frame-Options" = "DENY" }
response_headers_add = { "X-Upstream" = "$upstream" }
allow = ["127.0.0.0/8"]
[routes.rule.filters.rate_limit]
rps = 1000000
key = "client"
"""
REGEX = """
[routes.rule.match]
path_prefix = "/users/"
[routes.rule.rewrite]
regex = "^/users/([0-9]+)"
replacement = "/small/$1"
"""
LIMITED = """
[routes.rule.match]
path_prefix = "/limited/"
[routes.rule.filters]
rate_limit_rps = 10
"""
STICKY = """
[routes.rule.match]
path_prefix = "/small/sticky"
[routes.rule.sticky]
cookie = "session"
secret = "a secret of thirty-two characters."
"""
SPLIT = """
[routes.rule.match]
path_prefix = "/small/split"
[[routes.rule.split]]
name = "stable"
weight = 9
upstreams = ["split-0", "split-1"]
[[routes.rule.split]]
name = "canary"
weight = 1
upstreams = "split-2"
"""
REDIRECT = """
[[routes.rule]]
name = "moved"
[routes.rule.match]
path_prefix = "/moved/"
[routes.rule.redirect]
path = "/small"
"""


def rule(name, more, upstreams, lines=""):
    """One rule of several upstreams; `lines` are keys of its own."""
    return f'[[routes.rule]]\nname = "{name}"\n{lines}\n{more}' + "".join(
        f'[[routes.rule.upstreams]]\nname = "{name}-{i}"\nurl = "http://{address}"\n'
        for i, address in enumerate(upstreams))


def config(backends, refusing):
    text = proxies.DAO.split("[[routes.rule]]")[0]
    for policy in POLICIES:
        match = f'[routes.rule.match]\npath_prefix = "/small/{policy}"\n'
        text += rule(policy, match, backends, f'policy = "{policy}"')
    for name, more in (("filters", FILTERS), ("regex", REGEX), ("limited", LIMITED), ("sticky", STICKY),
                       ("split", SPLIT)):
        text += rule(name, more.replace("{", "{{").replace("}", "}}"), backends)
    text += rule("refusing", '[routes.rule.match]\npath_prefix = "/small/refusing"\n', [refusing, *backends],
                 'policy = "round-robin"')
    return text + REDIRECT + rule("rest", "", backends)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dao", required=True, help="the instrumented program")
    parser.add_argument("--tools", default=os.path.join(ROOT, "build/release/bin"),
                        help="where dao_load and bench_backend are")
    options = parser.parse_args()
    good = [*(f"/small/{policy}" for policy in POLICIES), "/filters/small", "/users/7", "/small/sticky", "/small/split",
            "/small/refusing"]
    with tempfile.TemporaryDirectory(prefix="dao-train-") as folder:
        bench = scenarios.Bench(options.tools, folder)
        backends = [bench.backend, *(bench.start_backend(bench.load_cpu) for _ in range(2))]
        kind = proxies.kinds(os.path.abspath(options.dao))["dao"]
        kind.template = config(backends, f"127.0.0.1:{proxies.free_port()}")
        proxy = None
        try:
            proxy = proxies.Proxy(kind, bench.backend, folder, bench.proxy_cpu)
            for path in (*good, "/limited/", "/moved/"):
                for more in ([], ["--post", "2000"], ["--close"]):
                    arguments = ["--connections", "32", "--path", path, "--seconds", str(SECONDS), *more]
                    result = bench.load(proxy.address, arguments, [], 15)
                    row = scenarios.row_of(result) if result else {"problems": ["the load generator failed"]}
                    wrong = row["problems"] if path in good or not result else []
                    print(f"{'!! ' if wrong else ''}{path} {' '.join(more)}: {row.get('requests', 0)} requests",
                          *wrong, flush=True)
        finally:
            if proxy:
                proxy.end()
            bench.end()


if __name__ == "__main__":
    main()
