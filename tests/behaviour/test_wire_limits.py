"""Limits of the request: target 414, head 431, body 413 (RFC 9110 section 15.5, RFC 6585 section 5).

The world "limited" allows a target of 256 bytes, a head of 2048, 20 fields and a body of 1000.
"""

from __future__ import annotations

import pytest

from lib.wire import Case, Seen, Worlds, forward, get, parametrized, post, reject, run

LIMITED = {"world": "limited"}
CHUNKED = b"Transfer-Encoding: chunked"


def target(length: int) -> bytes:
    return b"/CASE/".ljust(length, b"t")


def chunk(size: int) -> bytes:
    return b"%x\r\n" % size + b"x" * size + b"\r\n"


CASES = [
    forward("target-at-the-limit", "RFC 9110 §15.5.15", get(target=target(256)), **LIMITED),
    reject("target-over-the-limit", "RFC 9110 §15.5.15", get(target=target(257)), 414, **LIMITED),
    reject("target-far-over-the-limit", "RFC 9110 §15.5.15", get(target=target(9000)), 414, segments=1000, **LIMITED),
    reject("target-without-end", "RFC 9110 §15.5.15", b"GET " + target(100000), 414, segments=4096),
    reject("method-without-end", "RFC 9112 §3", b"CASE" + b"M" * 50000, (400, 414, 431, 501), segments=4096),
    reject(
        "absolute-target-over-the-limit",
        "RFC 9110 §15.5.15",
        get(target=b"http://a.test" + target(257)),
        414,
        **LIMITED,
    ),
    forward("fields-at-the-limit", "RFC 6585 §5", get(*(b"X-%d: 1" % n for n in range(19))), **LIMITED),
    reject("fields-one-too-many", "RFC 6585 §5", get(*(b"X-%d: 1" % n for n in range(20))), 431, **LIMITED),
    reject(
        "fields-1000-empty",
        "RFC 6585 §5",
        get(b"X-Case: CASE", *(b"X:" for _ in range(1000))),
        431,
        segments=499,
        **LIMITED,
    ),
    forward("head-under-the-limit", "RFC 6585 §5", get(b"X: " + b"v" * 1800), **LIMITED),
    reject("head-over-the-limit", "RFC 6585 §5", get(b"X-Case: CASE", b"X: " + b"v" * 2048), 431, **LIMITED),
    reject(
        "head-without-end",
        "RFC 6585 §5",
        b"GET /CASE HTTP/1.1\r\nHost: a.test\r\nX: " + b"v" * 100000,
        431,
        segments=4096,
    ),
    reject(
        "name-without-end",
        "RFC 6585 §5",
        b"GET /CASE HTTP/1.1\r\nHost: a.test\r\n" + b"n" * 100000,
        431,
        segments=4096,
    ),
    reject("default-field-count", "RFC 6585 §5", get(*(b"X-%d: 1" % n for n in range(101))), 431),
    reject("default-target", "RFC 9110 §15.5.15", get(target=target(8193)), 414, segments=1000),
    forward("default-target-at-the-limit", "RFC 9110 §15.5.15", get(target=target(8192)), segments=1000),
    forward("body-at-the-limit", "RFC 9110 §15.5.14", post(b"Content-Length: 1000", body=b"x" * 1000), **LIMITED),
    reject("body-over-the-limit", "RFC 9110 §15.5.14", post(b"Content-Length: 1001", body=b"x" * 1001), 413, **LIMITED),
    reject("body-announced-over-the-limit", "RFC 9110 §15.5.14", post(b"Content-Length: 1001"), 413, **LIMITED),
    reject(
        "expecting-body-over-the-limit",
        "RFC 9110 §10.1.1",
        post(b"Content-Length: 1001", b"Expect: 100-continue"),
        413,
        **LIMITED,
    ),
    forward("chunked-at-the-limit", "RFC 9110 §15.5.14", post(CHUNKED, body=chunk(500) * 2 + b"0\r\n\r\n"), **LIMITED),
    reject(
        "chunked-over-the-limit",
        "RFC 9110 §15.5.14",
        post(CHUNKED, body=chunk(500) * 2 + chunk(1) + b"0\r\n\r\n"),
        413,
        cut_ok=True,
        **LIMITED,
    ),
    reject(
        "chunk-announced-over-the-limit",
        "RFC 9110 §15.5.14",
        post(CHUNKED, body=b"ffffff\r\n"),
        413,
        cut_ok=True,
        **LIMITED,
    ),
    reject(
        "trailers-too-large",
        "RFC 6585 §5",
        post(CHUNKED, body=b"0\r\nX: " + b"v" * 40000 + b"\r\n\r\n"),
        (400, 413, 431),
        cut_ok=True,
        segments=4096,
    ),
    reject(
        "trailers-too-many",
        "RFC 6585 §5",
        post(CHUNKED, body=b"0\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(200)) + b"\r\n"),
        (400, 413, 431),
        cut_ok=True,
        segments=997,
    ),
    forward("limits-are-per-message", "RFC 6585 §5", get(b"X: " + b"v" * 1500) * 3, Seen(), Seen(), Seen(), **LIMITED),
]

RUNS, IDS = parametrized(CASES)


@pytest.mark.parametrize(("case", "segment"), RUNS, ids=IDS)
def test_limits(case: Case, segment: int | None, worlds: Worlds) -> None:
    run(case, worlds, segment)
