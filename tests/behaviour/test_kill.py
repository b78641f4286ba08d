"""kill -9 of a whole DAO under traffic and reloads (docs/memory.md, tests/campaigns/kill)."""

from __future__ import annotations

import sys
from pathlib import Path

from lib.dao import REPOSITORY

CAMPAIGN = REPOSITORY / "tests/campaigns/kill"


def test_kills_at_random_moments(tmp_path: Path) -> None:
    """A short campaign."""
    sys.path.insert(0, str(CAMPAIGN))
    from kill_campaign import run_campaign, show

    result = run_campaign(15, 1, tmp_path, interval=0.2, parallel=3, lives=5, long_share=0, quiet=True)
    assert result.good, show(result, 0.2)
    assert result.kills == 15
    assert result.applied > 15 and result.under_way > 0 and result.requests > 100, show(result, 0.2)
