"""From the timelines of requests to figures and verdicts. Nothing here touches a process or a clock."""
from dataclasses import dataclass

OK = 200
FAIR_SHARE = 0.25


@dataclass(frozen=True)
class Request:
    due: float      # seconds from the start of the load
    latency: float  # ms, from the time it was due
    status: int     # 0: the connection broke, -1: no answer before the end


def read_timeline(lines, zero):
    """dao_load's --timeline; `zero` is the start of the load in seconds of CLOCK_MONOTONIC."""
    numbers = (line.split() for line in lines)
    return [Request(int(due) / 1e6 - zero, int(latency) / 1e3, int(status)) for due, latency, status in numbers]


def quantile(ordered, share):
    """The smallest value that at least `share` of them do not exceed; None without any."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def within(requests, window, moments, end):
    """The requests due in a window (see scenarios.Scenario); `moments`: when each event happened."""
    event, begin, until = window
    base = 0 if event is None else moments[event]
    last = end if until is None else base + until
    return [request for request in requests if base + begin <= request.due < last]


def figures(requests):
    """Percentiles are of the requests that were answered with 200; the others are counted."""
    served = sorted(request.latency for request in requests if request.status == OK)
    statuses = {}
    for request in requests:
        if request.status != OK:
            statuses[str(request.status)] = statuses.get(str(request.status), 0) + 1
    errors = len(requests) - len(served)
    return {"requests": len(requests), "errors": errors, "error_share": errors / len(requests) if requests else None,
            "statuses": statuses, "mean_ms": sum(served) / len(served) if served else None,
            **{name: quantile(served, share) for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99),
                                                                  ("p999_ms", 0.999))}}


def slower_than(requests, limit_ms):
    """How many took longer or were never answered."""
    return sum(request.status == -1 or request.latency > limit_ms for request in requests)


@dataclass(frozen=True)
class Run:
    """One scenario through one proxy."""
    requests: list
    moments: dict
    share: float | None  # of the requests that reached the servers since the last event: the sick server's


def cell(scenario, runs):
    """The figures of some runs together: percentiles of all their requests of a window, counts per run."""
    windows = {name: figures([request for run in runs
                              for request in within(run.requests, window, run.moments, scenario.seconds)])
               for name, window in scenario.windows.items()}
    made = {"runs": len(runs), "windows": windows, "judged": windows[scenario.judged]}
    shares = [run.share for run in runs if run.share is not None]
    if shares:
        made["sick_share"] = sum(shares) / len(shares)
    if "before" in windows and windows["before"]["mean_ms"]:
        limit = 10 * windows["before"]["mean_ms"]
        onset = scenario.windows["since onset"]
        made["slow"] = sum(slower_than(within(run.requests, onset, run.moments, scenario.seconds), limit)
                           for run in runs) / len(runs)
    return made


PEERS = ("haproxy", "nginx", "caddy")


def goals(cells):
    """[(text, limit, measured or None, unit)] for each scenario of `cells` (scenario: {proxy: cell}); reached if measured
    is at most the limit."""
    made = []

    def goal(scenario, text, limit, unit, get):
        if "dao" in cells.get(scenario, {}):
            made.append((f"{scenario}: {text}", limit, get(cells[scenario]["dao"]), unit))

    goal("slow", "p99 from 3 s after the onset", 67, "ms", lambda dao: dao["judged"]["p99_ms"])
    goal("errors", "errors passed on since the onset", 0.1, "%",
         lambda dao: 100 * dao["windows"]["since onset"]["error_share"])
    goal("errors", "share of the failing server", 100 * FAIR_SHARE, "%", lambda dao: 100 * dao["sick_share"])
    goal("cold", "p99 for 6 s after the return", 66, "ms", lambda dao: dao["judged"]["p99_ms"])
    goal("cold", "errors since the kill", 0, "", lambda dao: dao["windows"]["since onset"]["errors"])
    goal("hang", "requests slower than 10 times the mean, a run", 3, "", lambda dao: dao["slow"])
    for name in ("p50_ms", "p99_ms"):
        best = min((cells["calm"][peer]["judged"][name] for peer in PEERS if peer in cells.get("calm", {})),
                   default=None)
        if best is not None:
            goal("calm", f"{name[:-3]} over the best peer's (5 % is noise)", 1.05, "×",
                 lambda dao, name=name, best=best: dao["judged"][name] / best)
    return made
