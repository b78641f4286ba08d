"""From the measured rows to the figures that are shown: medians over rounds, ratios, verdicts on the goals."""
from statistics import median

from lib.protocols import SCENARIOS as PROTOCOLS
from lib.proxies import POLLING
from lib.scenarios import CLOSED
from lib.scenarios import TITLES as PLAIN_TITLES

TITLES = PLAIN_TITLES | {name: scenario.title for name, scenario in PROTOCOLS.items()}

PEERS = ("nginx", "haproxy", "h2o", "caddy")


def value(row, key):
    return row[key] if row and row["valid"] and key in row else None


def median_of(rows, key):
    values = [value(row, key) for row in rows]
    values = [one for one in values if one is not None]
    return median(values) if values else None


def ratio(results, scenario, proxy, others, key):
    """Per round the proxy's value over that of the best of `others`, then the median over the rounds. The best is the
    one with the smallest median: the smallest of several in each round would be the luckiest instead."""
    cells = results.get(scenario, {})
    medians = {name: median_of(cells.get(name, []), key) for name in others}
    best = min((name for name in others if medians[name]), key=medians.get, default=None)
    if best is None:
        return None
    pairs = ((value(mine, key), value(theirs, key)) for mine, theirs in zip(cells.get(proxy, []), cells[best], strict=False))
    ratios = [mine / theirs for mine, theirs in pairs if mine is not None and theirs]
    return median(ratios) if ratios else None


def present(results, scenario, names):
    return tuple(name for name in names if results.get(scenario, {}).get(name))


def added(results, proxy, key):
    """Median over the rounds of what the proxy adds to the direct latency of the same round, in microseconds."""
    latency = results.get("latency", {})
    pairs = zip(latency.get(proxy, []), latency.get("direct", []), strict=False)
    gains = [(value(through, key), value(direct, key)) for through, direct in pairs]
    gains = [through - direct for through, direct in gains if through is not None and direct is not None]
    return median(gains) if gains else None


def shown(number, pattern="{:.2f}"):
    return "-" if number is None else pattern.format(number)


def problems(rows):
    texts = [text for row in rows for text in row["problems"]]
    invalid = sum(not row["valid"] for row in rows)
    if not texts:
        return ""
    return (f"INVALID in {invalid} of {len(rows)} rounds: " if invalid else "") + "; ".join(texts[:3])


def tables(document):
    """[(title, header, rows of text, notes)], one for each scenario that was run."""
    results, syscalls = document["results"], document.get("syscalls", {})
    percentiles = ["p50 µs", "p99 µs", "p99.9 µs"]
    made = []
    for scenario in (name for name in TITLES if name in results):
        lines, notes = [], []
        for proxy, rows in results[scenario].items():
            if note := problems(rows):
                notes.append(f"{proxy}: {note}")
            get = lambda key, rows=rows: median_of(rows, key)  # noqa: E731
            peers = present(results, scenario, (name for name in PEERS if name != proxy))
            times = [shown(get(f"{name}_us"), "{:.0f}") for name in ("p50", "p99", "p999")]
            if scenario in CLOSED:
                header = ["proxy", "CPU µs", "ratio", "requests/s", *percentiles, "RSS MiB", "busy"]
                lines.append([proxy, shown(get("cpu_us")), shown(ratio(results, scenario, proxy, peers, "cpu_us")),
                              shown(get("rps"), "{:.0f}"), *times, shown(mebi(get("rss_bytes")), "{:.1f}"),
                              shown(percent(get("cpu_share")), "{:.0f} %")])
            elif scenario in PROTOCOLS:
                header = ["proxy", "CPU µs", "ratio", "requests/s", "RSS MiB", "busy"]
                lines.append([proxy, shown(get("cpu_us")), shown(ratio(results, scenario, proxy, peers, "cpu_us")),
                              shown(get("rps"), "{:.0f}"), shown(mebi(get("rss_bytes")), "{:.1f}"),
                              shown(percent(get("cpu_share")), "{:.0f} %")])
            elif scenario == "latency":
                header = ["proxy", *percentiles, "added p50", "added p99", "added p99.9", "CPU µs", "sent/s"]
                gains = [shown(added(results, proxy, f"{name}_us"), "{:.0f}") for name in ("p50", "p99", "p999")]
                direct = proxy.startswith("direct")
                lines.append([proxy, *times, *(["-"] * 3 if direct else gains), "-" if direct else shown(get("cpu_us")),
                              shown(get("rps"), "{:.0f}")])
            else:
                header = ["proxy", "bytes per connection", "held", "RSS before MiB", "RSS with them MiB"]
                lines.append([proxy, shown(get("bytes_per_connection"), "{:.0f}"), shown(get("held"), "{:.0f}"),
                              shown(mebi(get("rss_before")), "{:.1f}"), shown(mebi(get("rss_after")), "{:.1f}")])
        made.append((TITLES[scenario], header, lines, notes))
    if syscalls:
        lines = [[proxy, shown(counted["all"]),
                  " ".join(f"{name} {count:.2f}" for name, count in list(counted["calls"].items())[:6])]
                 for proxy, counted in syscalls.items() if isinstance(counted, dict)]
        notes = [f"{proxy}: {counted}" for proxy, counted in syscalls.items() if not isinstance(counted, dict)]
        made.append(("System calls per small GET, 32 connections (under strace)", ["proxy", "all", "the most frequent"],
                     lines, notes))
    return made


def mebi(number):
    return None if number is None else number / 2**20


def percent(number):
    return None if number is None else number * 100


def verdicts(document):
    """[(goal, limit, measured or None, unit)] of the scenarios that ran; reached if measured is at most the limit."""
    results = document["results"]
    made = []

    def against(text, scenario, others, limit, key="cpu_us"):
        if scenario not in results:
            return
        others = present(results, scenario, others)
        measured = ratio(results, scenario, "dao", others, key) if others else None
        made.append((f"{TITLES[scenario]}: {text}", limit, measured, "×"))

    for scenario in ("small32", "small256"):
        against("CPU per request over nginx's", scenario, ("nginx",), 0.90)
        against("CPU per request over HAProxy's", scenario, ("haproxy",), 0.80)
        against("p99 over nginx's", scenario, ("nginx",), 1.00, "p99_us")
    against("CPU per request over the best peer's", "big16", PEERS, 0.90)
    against("CPU per request over the best peer's", "close32", PEERS, 0.90)
    for scenario in ("h2_1", "h2_100", "h2_h2_1", "h2_h2_100"):
        against("CPU per request over the best of nginx, HAProxy and h2o", scenario, ("nginx", "haproxy", "h2o"), 0.90)
    for scenario in ("ws_125", "ws_64k"):
        against("CPU per message over the best peer's", scenario, PEERS, 0.90)
    against("CPU per request over the best peer's", "tls_h1", PEERS, 0.95)
    for scenario in ("tls_full", "tls_resumed"):
        against("CPU per handshake over the best peer's", scenario, PEERS, 1.00)
    against("CPU per request over nginx's", "grpc", ("nginx",), 0.90)
    if "idle" in results:
        each = median_of(results["idle"].get("dao", []), "bytes_per_connection")
        made.append((f"{TITLES['idle']}: memory of each", 2000, each, "bytes"))
    if "latency" in results:
        for name, how in (("dao", ""), (POLLING, " with busy_poll_us = 50")):
            if name in results["latency"]:
                made.append((f"{TITLES['latency']}: added p50{how}", 100, added(results, name, "p50_us"), "µs"))
                made.append((f"{TITLES['latency']}: added p99{how}", 1000, added(results, name, "p99_us"), "µs"))
    return made


def figure(number, unit):
    if number is None:
        return "not measured"
    return f"{number:.2f} ×" if unit == "×" else f"{number:.0f} {unit}"


def disturbance(document):
    """The largest share of a cell's time that a peer with one thread was ready and did not get its CPU.

    The threads of the others wait for each other there, which says nothing of the machine. Without such a peer: DAO.
    """
    waits = {}
    for proxies in document["results"].values():
        for name, rows in proxies.items():
            waits[name] = max([waits.get(name, 0), *(row.get("cpu_wait", 0) for row in rows)])
    alone = [waits[name] for name in ("nginx", "haproxy") if name in waits]
    return max(alone, default=waits.get("dao", 0))
