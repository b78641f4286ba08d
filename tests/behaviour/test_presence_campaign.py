"""A short presence campaign (tests/campaigns/presence): three schedules on real sockets, judged by the same oracle."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lib import deadline

CAMPAIGN = str(Path(__file__).resolve().parents[1] / "campaigns" / "presence")
sys.path.insert(0, CAMPAIGN)
import oracle  # noqa: E402
import run  # noqa: E402

sys.path.remove(CAMPAIGN)
# Of the some 300 verdicts of three schedules, one wrong state that lasts for a second is more than one percent.
GOAL = 97.0


@pytest.mark.measures
def test_three_schedules(tmp_path: Path) -> None:
    seen = []
    for turn in range(3):
        result = run.run_campaign([0, 1, 2], seed=1, seconds=20, parallel=3, policy="resonant",
                                  rules=oracle.Rules().stretched(deadline.SCALE), folder=tmp_path / str(turn))
        assert not result.failed, result.failed
        seen.append((result.score, result.set_aside, result.wrong, result.broken))
        assert result.schedules == 3 and result.requests > 1000
        if result.due > 20 and result.score >= GOAL and not result.broken:
            return
        # Once more only where the machine was in the way.
        assert result.set_aside > 0, seen
    raise AssertionError(seen)
