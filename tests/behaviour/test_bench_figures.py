"""The figures of the adaptive bench, from invented timelines (bench/adaptive/figures.py)."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = str(Path(__file__).resolve().parents[2] / "bench" / "adaptive")
sys.path.insert(0, FOLDER)
import figures  # noqa: E402
from figures import Request, Run  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402

sys.path.remove(FOLDER)


def requests(begin: float, end: float, latency: float, status: int = 200) -> list[Request]:
    """A hundred a second."""
    return [Request(hundredth / 100, latency, status) for hundredth in range(int(begin * 100), int(end * 100))]


def test_a_timeline_is_read_from_its_zero() -> None:
    assert figures.read_timeline(["5500000 12500 200", "6000000 1 -1"], 5) == [
        Request(0.5, 12.5, 200), Request(1, 0.001, -1)]


def test_quantiles() -> None:
    numbers = list(range(1, 101))
    assert [figures.quantile(numbers, share) for share in (0.5, 0.99, 0.999, 1)] == [50, 99, 100, 100]
    assert (figures.quantile([7], 0.5), figures.quantile([], 0.5)) == (7, None)


def slow_run(late: float) -> Run:
    return Run([*requests(3, 6, 10), *requests(6, 9, 50), *requests(9, 16, late), Request(15, 9999, -1),
                Request(15, 1, 500)], {"onset": 6.0}, 0.2)


def test_windows_and_counts() -> None:
    cell = figures.cell(SCENARIOS["slow"], [slow_run(20)])
    p99 = {name: window["p99_ms"] for name, window in cell["windows"].items()}
    assert p99 == {"before": 10, "0-3 s": 50, "later": 20, "since onset": 50}
    assert cell["judged"] == cell["windows"]["later"]
    assert (cell["judged"]["errors"], cell["judged"]["statuses"]) == (2, {"-1": 1, "500": 1})
    assert (cell["slow"], cell["sick_share"]) == (1, 0.2)


def verdicts(cells: dict[str, object]) -> dict[str, bool]:
    return {text: measured <= limit for text, limit, measured, _ in figures.goals(cells)}


def test_goals_can_be_missed() -> None:
    for late, reached in ((60, True), (80, False)):
        assert list(verdicts({"slow": {"dao": figures.cell(SCENARIOS["slow"], [slow_run(late)])}}).values()) == [reached]
    for failing, share, reached in ((0, 0.25, [True, True]), (1, 0.26, [False, False])):
        run = Run([*requests(0, 15, 10), *requests(15, 15 + failing, 1, 500)], {"onset": 6.0}, share)
        assert list(verdicts({"errors": {"dao": figures.cell(SCENARIOS["errors"], [run])}}).values()) == reached
    for hung, reached in ((3, True), (4, False)):
        run = Run([*requests(0, 16, 10), *[Request(7, 900, -1)] * hung], {"onset": 6.0}, 0.0)
        assert list(verdicts({"hang": {"dao": figures.cell(SCENARIOS["hang"], [run])}}).values()) == [reached]
    for latency, reached in ((10, True), (12, False)):
        cells = {name: figures.cell(SCENARIOS["calm"], [Run(requests(0, 12, ms), {}, None)])
                 for name, ms in (("dao", latency), ("nginx", 10), ("caddy", 30))}
        assert list(verdicts({"calm": cells}).values()) == [reached, reached]
