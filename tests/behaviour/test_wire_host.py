"""Host and the authority (RFC 9112 section 3.2, RFC 9110 sections 4.2 and 7.2)."""

from __future__ import annotations

import pytest

from lib.wire import Case, Seen, Worlds, forward, message, parametrized, reject, run

LINE = b"GET /CASE HTTP/1.1"
ABSOLUTE = b"GET http://a.test/CASE HTTP/1.1"


def host(*values: bytes) -> bytes:
    return message(LINE, *(b"Host: " + value for value in values), b"X-Case: CASE")


CASES = [
    *(
        forward(f"host-{name}", "RFC 9112 §3.2", host(value), Seen(fields={"host": value.decode()}))
        for name, value in [
            ("plain", b"a.test"),
            ("with-port", b"a.test:8080"),
            ("upper-case-kept", b"A.TeSt"),
            ("ipv4", b"192.0.2.1:80"),
            ("ipv6", b"[2001:db8::1]"),
            ("ipv6-with-port", b"[2001:db8::1]:8080"),
            ("single-label", b"localhost"),
            ("trailing-dot", b"a.test."),
            ("underscore", b"a_b.test"),
            ("punycode", b"xn--bcher-kva.test"),
        ]
    ),
    forward("host-name-in-any-case", "RFC 9110 §5.1", message(LINE, b"hOsT: a.test"), Seen(fields={"host": "a.test"})),
    forward("host-last", "RFC 9112 §3.2", message(LINE, b"X: 1", b"Y: 2", b"Host: a.test")),
    forward("host-missing-in-1.0", "RFC 9112 §3.2", message(b"GET /CASE HTTP/1.0"), closed=True),
    forward(
        "connection-cannot-strip-host",
        "RFC 9110 §7.6.1",
        message(LINE, b"Host: a.test", b"Connection: host"),
        Seen(fields={"host": "a.test"}),
    ),
    forward(
        "absolute-form-replaces-host",
        "RFC 9112 §3.2.2",
        message(b"GET http://real.test/CASE HTTP/1.1", b"Host: other.test"),
        Seen(target="/CASE", fields={"host": "real.test"}),
    ),
    forward(
        "absolute-form-in-1.0-gives-host",
        "RFC 9112 §3.2.2",
        message(b"GET http://real.test/CASE HTTP/1.0"),
        Seen(target="/CASE", fields={"host": "real.test"}),
        closed=True,
    ),
    reject("host-missing", "RFC 9112 §3.2", message(LINE, b"X: 1")),
    reject("host-missing-with-absolute-form", "RFC 9112 §3.2", message(ABSOLUTE, b"X: 1")),
    reject("host-empty", "RFC 9110 §4.2.1", host(b"")),
    reject("host-twice-equal", "RFC 9112 §3.2", host(b"a.test", b"a.test")),
    reject("host-twice-different", "RFC 9112 §3.2", host(b"a.test", b"b.test")),
    reject("host-twice-one-empty", "RFC 9112 §3.2", host(b"a.test", b"")),
    reject("host-twice-with-absolute-form", "RFC 9112 §3.2", message(ABSOLUTE, b"Host: a.test", b"Host: a.test")),
    reject("host-twice-in-1.0", "RFC 9112 §3.2", message(b"GET /CASE HTTP/1.0", b"Host: a.test", b"Host: b.test")),
    reject("host-invalid-with-absolute-form", "RFC 9112 §3.2", message(ABSOLUTE, b"Host: a b")),
    *(
        reject(f"host-{name}", "RFC 9112 §3.2", host(value))
        for name, value in [
            ("with-space", b"a.test b.test"),
            ("list", b"a.test, b.test"),
            ("with-tab", b"a.test\tb"),
            ("with-userinfo", b"user@a.test"),
            ("with-path", b"a.test/x"),
            ("with-query", b"a.test?x"),
            ("with-fragment", b"a.test#x"),
            ("with-backslash", b"a.test\\x"),
            ("with-scheme", b"http://a.test"),
            ("with-two-ports", b"a.test:80:81"),
            ("with-word-port", b"a.test:http"),
            ("with-signed-port", b"a.test:+80"),
            ("with-huge-port", b"a.test:65536"),
            ("only-port", b":80"),
            ("ipv6-unclosed", b"[::1"),
            ("ipv6-not-hex", b"[zz::1]"),
            ("ipv6-then-text", b"[::1]x"),
            ("ipv6-without-brackets", b"2001:db8::1"),
            ("quoted", b'"a.test"'),
            ("with-angle", b"<a.test>"),
            ("with-obs-text", b"\xe4.test"),
            ("with-nul", b"a.test\0"),
        ]
    ),
]

RUNS, IDS = parametrized(CASES)


@pytest.mark.parametrize(("case", "segment"), RUNS, ids=IDS)
def test_host(case: Case, segment: int | None, worlds: Worlds) -> None:
    run(case, worlds, segment)
