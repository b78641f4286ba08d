"""Waiting for an event with a deadline: the only way these tests wait."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Sanitizer builds and loaded machines are slower: DAO_TEST_TIME_SCALE multiplies every deadline.
SCALE = float(os.environ.get("DAO_TEST_TIME_SCALE", "1"))
# Sanitizers keep what was freed and a shadow of it: DAO_TEST_MEMORY_SCALE multiplies every bound on memory.
MEMORY_SCALE = int(os.environ.get("DAO_TEST_MEMORY_SCALE", "1"))
DEFAULT = 5.0 * SCALE


def wait_until(condition: Callable[[], T], what: str, timeout: float = DEFAULT, poll: float = 0.002) -> T:
    """Returns the first truthy result of `condition`; fails the test when `timeout` seconds have passed."""
    end = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= end:
            raise AssertionError(f"waited {timeout:.1f} s in vain for: {what}; last seen: {result!r}")
        time.sleep(poll)
