#!/usr/bin/python3
"""A process that only sleeps, and says when it was woken late: `ready`, then begin and end in seconds of
CLOCK_MONOTONIC, one stall on a line. Where it is late, all programs of the machine may be."""

from __future__ import annotations

import sys
import time

BEAT = 0.02


def main() -> None:
    late = float(sys.argv[1])
    print("ready", flush=True)
    before = time.monotonic()
    while True:
        time.sleep(BEAT)
        now = time.monotonic()
        if now - before - BEAT > late:
            print(before, now, flush=True)
        before = now


if __name__ == "__main__":
    main()
