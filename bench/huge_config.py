#!/usr/bin/env python3
"""Writes a configuration of 10 000 routes and 50 000 upstreams (or as many as asked for), the same for the same seed.

    bench/huge_config.py > huge.toml
    time build/release/bin/dao check --config huge.toml

Rules are of all kinds: most by host and prefix, some by exact path, by wildcard, by path alone, by a header, for
WebSocket, with filters of their own; some have one upstream, some many, some share theirs with others. The last rule
takes what is left. Upstreams are addresses of TEST-NET-1 to -3 (RFC 5737) or, with --local, of ports that nobody
listens on.
"""

import argparse
import random
import sys

POLICIES = ["round-robin", "least-connections", "p2c", "peak-ewma", "consistent-hash", "resonant"]
INTENTS = ["realtime", "batch", "streaming", "ai"]
TEST_NETS = ["192.0.2", "198.51.100", "203.0.113"]


def match_of(kind, number):
    host = f"service-{number}.shop.example.org"
    path = f"/api/v{number % 3}/resource-{number}"
    if kind == "wildcard":
        return [f'host = "*.{host}"']
    if kind == "path":
        return [f'path_prefix = "{path}"']
    if kind == "exact":
        return [f'host = "{host}"', f'path_exact = "{path}"']
    if kind == "header":
        return [f'host = "{host}"', f'path_prefix = "{path}"', 'headers = { x-version = "2" }']
    if kind == "websocket":
        return [f'host = "{host}"', 'upgrade = "websocket"']
    if kind == "many hosts":
        return [f'host = ["{host}", "www.{host}", "*.cdn-{number}.example.net"]']
    return [f'host = "{host}"', f'path_prefix = "{path}"']


KINDS = ["prefix"] * 8 + ["exact"] * 4 + ["wildcard"] * 2 + ["path"] * 2 + ["header", "websocket", "many hosts", "prefix"]


def counts_of(rng, routes, upstreams):
    """How many upstreams of its own each route has: at least one, few as a rule, sometimes a hundred."""
    weights = [rng.choice([1, 2, 2, 3, 3, 4, 5, 8]) if rng.random() > 0.005 else 100 for _ in range(routes)]
    scale = upstreams / sum(weights)
    counts = [max(1, int(weight * scale)) for weight in weights]
    while sum(counts) < upstreams:
        counts[rng.randrange(routes)] += 1
    while sum(counts) > upstreams:
        largest = max(range(routes), key=counts.__getitem__)
        counts[largest] -= 1
    return counts


def write(out, rng, routes, upstreams, local):
    out.write('[server]\nbind = "127.0.0.1:0"\nworkers = 2\n\n[telemetry]\nprometheus_bind = "127.0.0.1:0"\n'
              '[telemetry.access_log]\npath = ""\n\n[policies.steady]\nw_load = 1.0\nw_intent = 0.0\nw_tempo = 0.0\n\n')
    number = 0
    shared = None
    for route, count in enumerate(counts_of(rng, routes, upstreams)):
        last = route + 1 == routes
        out.write(f'[[routes.rule]]\nname = "route-{route}"\npolicy = "{rng.choice(POLICIES + ["steady"])}"\n')
        if rng.random() < 0.2:
            out.write(f'intent = "{rng.choice(INTENTS)}"\n')
        if rng.random() < 0.05:
            out.write("[routes.rule.proxy]\nretries = 2\nfirst_byte_timeout_ms = 5000\n")
        out.write("[routes.rule.match]\n")
        for line in [] if last else match_of(KINDS[route % len(KINDS)], route):
            out.write(line + "\n")
        if rng.random() < 0.1:
            out.write('[routes.rule.filters]\nrequest_headers_add = { x-route = "%d" }\n' % route)
        own = []
        for _ in range(count):
            if local:
                url = f"http://127.{rng.randrange(1, 255)}.{number // 250}.{number % 250 + 1}:9"
            else:
                net = TEST_NETS[number % 3]
                url = f"http://{net}.{number // 3 % 254 + 1}:{8000 + number // 762}"
            own.append((f"backend-{number}", url))
            number += 1
        if shared and rng.random() < 0.05:
            own.append(shared)
        for name, url in own:
            out.write(f'[[routes.rule.upstreams]]\nname = "{name}"\nurl = "{url}"\n')
            if rng.random() < 0.1:
                out.write(f"weight = {rng.randrange(1, 20)}\n")
        shared = own[0]
        out.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--upstreams", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--local", action="store_true", help="upstreams on 127.0.0.0/8, port 9")
    options = parser.parse_args()
    if options.routes < 1 or options.upstreams < options.routes:
        parser.error("each route needs an upstream of its own")
    write(sys.stdout, random.Random(options.seed), options.routes, options.upstreams, options.local)


if __name__ == "__main__":
    main()
