"""Keep-alive, pipelining and hop-by-hop fields (RFC 9112 section 9, RFC 9110 section 7.6.1)."""

from __future__ import annotations

import pytest

from lib.wire import Case, Got, Seen, TAIL, Worlds, forward, get, message, parametrized, post, reply, run

# Keep-alive -----------------------------------------------------------------------------------------------------

KEPT = Got(fields={"connection": lambda values: "close" not in ",".join(values).lower()})

PERSISTENCE = [
    forward("1.1-kept", "RFC 9112 §9.3", get(), got=KEPT),
    forward("1.1-connection-keep-alive", "RFC 9112 §9.3", get(b"Connection: keep-alive"), got=KEPT),
    *(
        forward(f"1.1-{name}", "RFC 9112 §9.6", get(b"Connection: " + value), closed=True)
        for name, value in [
            ("close", b"close"),
            ("close-capital", b"Close"),
            ("close-upper-case", b"CLOSE"),
            ("close-in-list", b"foo, close"),
            ("close-first-in-list", b"close, foo"),
            ("close-without-spaces", b"foo,close,bar"),
            ("close-beats-keep-alive", b"keep-alive, close"),
            ("close-among-empty-elements", b", ,close,,"),
        ]
    ),
    forward("1.1-close-in-second-field", "RFC 9112 §9.6", get(b"Connection: foo", b"Connection: close"), closed=True),
    *(
        forward(f"1.1-{name}-is-not-close", "RFC 9112 §9.3", get(b"Connection: " + value), got=KEPT)
        for name, value in [("closed", b"closed"), ("x-close", b"x-close"), ("empty", b"")]
    ),
    forward("1.0-closes", "RFC 9112 §9.3", get(version=b"1.0"), closed=True),
    *(
        forward(
            f"1.0-{name}",
            "RFC 9112 §9.3",
            get(b"Connection: " + value, version=b"1.0"),
            got=Got(fields={"connection": lambda values: [v.lower() for v in values] == ["keep-alive"]}),
            closed=False,
        )
        for name, value in [
            ("keep-alive", b"keep-alive"),
            ("keep-alive-case", b"Keep-Alive"),
            ("list", b"a, keep-alive"),
        ]
    ),
    forward(
        "1.0-keep-alive-and-close",
        "RFC 9112 §9.3",
        get(b"Connection: keep-alive, close", version=b"1.0"),
        closed=True,
    ),
    forward(
        "1.0-proxy-connection-means-nothing",
        "RFC 9112 §C.2.2",
        get(b"Proxy-Connection: keep-alive", version=b"1.0"),
        closed=True,
    ),
    forward("1.1-proxy-connection-close-means-nothing", "RFC 9112 §C.2.2", get(b"Proxy-Connection: close"), got=KEPT),
    forward("1.1-after-a-body", "RFC 9112 §9.3", post(b"Content-Length: 5", body=b"hello"), got=KEPT),
    forward(
        "nothing-after-close-is-served",
        "RFC 9112 §9.6",
        get(b"Connection: close") + TAIL,
        Seen(target="/CASE"),
        closed=True,
        segments=4096,
    ),
    forward(
        "nothing-after-1.0-is-served",
        "RFC 9112 §9.3",
        get(version=b"1.0") + TAIL,
        Seen(target="/CASE"),
        closed=True,
        segments=4096,
    ),
    reply(
        "origin-close-is-not-the-clients",
        "RFC 9112 §9.6",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        KEPT,
        closed=False,
    ),
]

# Pipelining -----------------------------------------------------------------------------------------------------


def numbered(count: int) -> tuple[bytes, list[Seen]]:
    requests = [get(target=b"/CASE/%d" % n) for n in range(count)]
    return b"".join(requests), [Seen(target=f"/CASE/{n}") for n in range(count)]


TWENTY, TWENTY_SEEN = numbered(20)


def answers(count: int) -> tuple[bytes, ...]:
    return tuple(b"HTTP/1.1 200 OK\r\nX-N: %d\r\nContent-Length: 2\r\n\r\n%02d" % (n, n) for n in range(count))


PIPELINING = [
    Case(
        "pipeline-of-20-keeps-order",
        "RFC 9112 §9.3.2",
        TWENTY,
        seen=tuple(TWENTY_SEEN),
        got=tuple(Got(body=b"%02d" % n) for n in range(20)),
        answers=answers(20),
        closed=False,
        segments=37,
    ),
    Case(
        "pipeline-of-20-in-one-segment",
        "RFC 9112 §9.3.2",
        TWENTY,
        seen=tuple(TWENTY_SEEN),
        got=tuple(Got(body=b"%02d" % n) for n in range(20)),
        answers=answers(20),
        closed=False,
    ),
    forward(
        "pipeline-with-bodies",
        "RFC 9112 §9.3.2",
        post(
            b"Content-Length: 3",
            body=b"one",
        ) + post(b"Transfer-Encoding: chunked", body=b"3\r\ntwo\r\n0\r\n\r\n") + get(),
        Seen(method="POST", body=b"one"),
        Seen(method="POST", body=b"two"),
        Seen(method="GET", body=b""),
    ),
    Case(
        "pipeline-with-head",
        "RFC 9112 §9.3.2",
        message(b"HEAD /CASE HTTP/1.1", b"Host: a.test") + get(),
        seen=(Seen(method="HEAD"), Seen(method="GET")),
        got=(Got(body=b"", method="HEAD"), Got(body=b"ok")),
        closed=False,
    ),
    forward(
        "pipeline-ended-by-close",
        "RFC 9112 §9.6",
        get() + get(b"Connection: close") + TAIL,
        Seen(target="/CASE"),
        Seen(target="/CASE"),
        closed=True,
        segments=4096,
    ),
    Case(
        "pipeline-flaw-after-good-request",
        "RFC 9112 §2.2",
        get() + b"GET /CASE/bad\r\n\r\n" + TAIL,
        seen=(Seen(target="/CASE"),),
        got=(Got(200), Got(400, error="http_request_error")),
        closed=True,
    ),
]

# Hop-by-hop fields ----------------------------------------------------------------------------------------------


def absent(*names: str) -> dict[str, None]:
    return dict.fromkeys(names)


HOP_BY_HOP = [
    forward(
        "connection-nominated-field-removed",
        "RFC 9110 §7.6.1",
        get(b"Connection: X-Hop", b"X-Hop: secret", b"X-End: 1"),
        Seen(fields={"x-hop": None, "x-end": "1"}),
    ),
    forward(
        "connection-nominates-in-any-case",
        "RFC 9110 §7.6.1",
        get(b"connection: x-HOP , X-Two", b"X-Hop: 1", b"X-TWO: 2", b"x-two: 3"),
        Seen(fields=absent("x-hop", "x-two")),
    ),
    forward(
        "connection-nominates-a-later-and-an-earlier-field",
        "RFC 9110 §7.6.1",
        get(b"X-Before: 1", b"Connection: X-Before, X-After", b"X-After: 1"),
        Seen(fields=absent("x-before", "x-after")),
    ),
    forward(
        "two-connection-fields",
        "RFC 9110 §7.6.1",
        get(b"Connection: X-One", b"X-One: 1", b"X-Two: 2", b"Connection: X-Two, keep-alive"),
        Seen(fields=absent("x-one", "x-two")),
    ),
    forward(
        "keep-alive-field-removed",
        "RFC 9110 §7.6.1",
        get(b"Connection: keep-alive", b"Keep-Alive: timeout=5"),
        Seen(fields=absent("keep-alive")),
    ),
    forward(
        "keep-alive-field-removed-unnamed", "RFC 9110 §7.6.1", get(b"Keep-Alive: 5"), Seen(fields=absent("keep-alive"))
    ),
    forward(
        "proxy-connection-removed",
        "RFC 9110 §7.6.1",
        get(b"Proxy-Connection: keep-alive"),
        Seen(fields=absent("proxy-connection")),
    ),
    forward("te-removed", "RFC 9110 §10.1.4", get(b"TE: trailers", b"Connection: TE"), Seen(fields=absent("te"))),
    forward("te-removed-unnamed", "RFC 9110 §7.6.1", get(b"TE: trailers, gzip;q=0.5"), Seen(fields=absent("te"))),
    forward(
        "upgrade-removed",
        "RFC 9110 §7.8",
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
        Seen(fields=absent("upgrade")),
    ),
    forward("upgrade-removed-unnamed", "RFC 9110 §7.8", get(b"Upgrade: foo/2"), Seen(fields=absent("upgrade"))),
    forward(
        "proxy-authorization-is-end-to-end-here",
        "RFC 9110 §11.7.2",
        get(b"Proxy-Authorization: Basic eA=="),
        Seen(fields={"proxy-authorization": "Basic eA=="}),
    ),
    forward(
        "connection-cannot-hide-the-forwarding-fields",
        "RFC 9110 §7.6.1",
        get(b"Connection: X-Forwarded-For, Forwarded, Via"),
        Seen(fields={"x-forwarded-for": "127.0.0.1"}),
    ),
    forward("connection-nominates-nothing-there", "RFC 9110 §7.6.1", get(b"Connection: X-Nothing")),
    reply(
        "response-hop-by-hop-removed",
        "RFC 9110 §7.6.1",
        b"HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\n"
        b"Proxy-Connection: x\r\nX-End: 1\r\nContent-Length: 2\r\n\r\nok",
        Got(fields={**absent("x-hop", "keep-alive", "upgrade", "proxy-connection", "te"), "x-end": "1"}),
        closed=False,
    ),
    reply(
        "response-connection-cannot-strip-content-length",
        "RFC 9110 §7.6.1",
        b"HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nok",
        Got(body=b"ok"),
        closed=False,
    ),
    reply(
        "response-proxy-authenticate-kept",
        "RFC 9110 §11.7.1",
        b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
        Got(407, fields={"proxy-authenticate": "Basic"}),
        closed=False,
    ),
]

RUNS, IDS = parametrized([*PERSISTENCE, *PIPELINING, *HOP_BY_HOP])


@pytest.mark.parametrize(("case", "segment"), RUNS, ids=IDS)
def test_connection(case: Case, segment: int | None, worlds: Worlds) -> None:
    run(case, worlds, segment)
