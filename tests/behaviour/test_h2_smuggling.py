"""Request smuggling through HTTP/2: what HTTP/2 can carry and HTTP/1 would read otherwise never reaches an origin.

The strict recording origin is the oracle: nothing of a refused request arrives, not even a head, and no bytes that it
could not read in one way only.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from lib.h2frames import (
    END_HEADERS,
    END_STREAM,
    INCREMENTAL,
    Field,
    H2Client,
    block,
    continuation,
    data,
    get,
    headers,
    indexed,
    literal,
    post,
    request,
)
from lib.h2wire import ANY, INCOMPLETE, H2Case, parametrized, rejected, run, served
from lib.http1 import Request
from lib.wire import FORBIDDEN_TRAILERS, Worlds, check_forwarded, new_marker

TAIL = b"GET /CASE/tail HTTP/1.1\r\nHost: a.test\r\n\r\n"
CHUNKED = (b"transfer-encoding", b"chunked")
SPLIT = b"\r\n\r\n" + TAIL


def refuse(
    id: str, *fields: Field, rfc: str = "RFC 9113 §8.2.1", body: bytes | None = None, **pseudo: bytes | None
) -> H2Case:
    """A request whose header block must not get through, alone or with content behind it."""
    head = request(*fields, **pseudo)
    if body is None:
        return rejected(id, rfc, headers(1, head), whole_only=True)
    return rejected(id, rfc, headers(1, head, END_HEADERS) + data(1, body), whole_only=True)


def no_tail(seen: Request) -> None:
    assert b"/tail" not in seen.raw_head, seen.raw


def scheme_is_ours(seen: Request) -> None:
    assert seen.values("x-forwarded-proto") == ["http"], seen.values("x-forwarded-proto")


NAME_BYTES = [byte for byte in range(256) if not (chr(byte).isalnum() and byte < 128 and not chr(byte).isupper())
              and byte not in b"!#$%&'*+-.^_`|~"]  # fmt: skip
VALUE_BYTES = [byte for byte in [*range(32), 127] if byte != 9]

CASES: list[H2Case] = [
    # Names: one byte that is no lower-case token character, at each end and inside
    *(refuse(f"name-byte-{byte:02x}", (b"x" + bytes([byte]) + b"y", b"1")) for byte in NAME_BYTES),
    *(refuse(f"name-byte-{byte:02x}-first", (bytes([byte]) + b"xy", b"1")) for byte in b'\0\t\r\n :"(/\xff'),
    *(refuse(f"name-byte-{byte:02x}-last", (b"xy" + bytes([byte]), b"1")) for byte in b'\0\t\r\n :"(/\xff'),
    refuse("name-with-a-whole-line", (b"x: 1\r\ncontent-length", b"5")),
    refuse("name-with-a-line-end", (b"x\r\ny", b"1")),
    refuse("name-transfer-encoding-with-space", (b"transfer-encoding ", b"chunked"), body=b"0" + SPLIT),
    refuse("name-transfer-encoding-with-colon", (b"transfer-encoding: chunked\r\nx", b"1"), body=b"0" + SPLIT),
    refuse("name-content-length-with-tab", (b"content-length\t", b"0"), body=TAIL),
    refuse("name-content-length-upper", (b"Content-Length", b"0"), body=TAIL),
    refuse("name-of-a-request-line", (b"get / http/1.1", b"1")),
    # Values
    *(refuse(f"value-byte-{byte:02x}", (b"x", b"a" + bytes([byte]) + b"b")) for byte in VALUE_BYTES),
    *(refuse(f"value-byte-{byte:02x}-first", (b"x", bytes([byte]) + b"b")) for byte in b"\0\t\r\n "),
    *(refuse(f"value-byte-{byte:02x}-last", (b"x", b"a" + bytes([byte]))) for byte in b"\0\t\r\n "),
    refuse("value-with-a-field", (b"x", b"1\r\ncontent-length: 0"), body=TAIL),
    refuse("value-with-transfer-encoding", (b"x", b"1\r\nTransfer-Encoding: chunked"), body=b"0" + SPLIT),
    refuse("value-with-bare-lf-field", (b"x", b"1\nTransfer-Encoding: chunked"), body=b"0" + SPLIT),
    refuse("value-with-a-request", (b"x", b"1" + SPLIT)),
    refuse("value-folded", (b"x", b"1\r\n 2")),
    refuse("cookie-with-a-line-end", (b"cookie", b"a=b"), (b"cookie", b"c\r\nx: 1")),
    refuse("value-of-a-forwarding-field", (b"x-forwarded-for", b"1.2.3.4\r\nx: 1")),
    # H2.TE
    *(
        refuse(f"h2-te-{n}", (b"transfer-encoding", value), rfc="RFC 9113 §8.2.2", body=b"0" + SPLIT, method=b"POST")
        for n, value in enumerate(
            [b"chunked", b"Chunked", b"identity", b"x, chunked", b"chunked, identity", b"\x0bchunked", b"", b"chunked "]
        )
    ),
    refuse(
        "h2-te-and-length", CHUNKED, (b"content-length", b"5"), rfc="RFC 9113 §8.2.2", body=b"0\r\n\r\n", method=b"POST"
    ),
    rejected(
        "h2-te-in-trailers",
        "RFC 9113 §8.2.2",
        post() + data(1, b"0" + SPLIT, 0) + headers(1, block(CHUNKED)),
        reaches=INCOMPLETE,
    ),
    # Bit by bit through the compression: from the dynamic table and by CONTINUATION
    rejected(
        "h2-te-from-the-dynamic-table",
        "RFC 9113 §8.2.2",
        headers(1, request() + literal(57, b"chunked", INCREMENTAL)) + headers(3, request() + indexed(62)),
        stream=3,
    ),
    rejected(
        "h2-te-by-index-57",
        "RFC 9113 §8.2.2",
        headers(1, request(method=b"POST") + literal(57, b"chunked"), END_HEADERS) + data(1, b"0" + SPLIT),
    ),
    rejected("h2-te-with-empty-value-by-index", "RFC 9113 §8.2.2", headers(1, request() + indexed(57))),
    rejected(
        "h2-te-in-continuation", "RFC 9113 §8.2.2", headers(1, request(), END_STREAM) + continuation(1, block(CHUNKED))
    ),
    # H2.CL
    *(
        refuse(f"h2-cl-{n}", (b"content-length", value), rfc="RFC 9110 §8.6", body=b"hello", method=b"POST")
        for n, value in enumerate(
            [
                b"",
                b"+5",
                b"-5",
                b"0x5",
                b"5 ",
                b" 5",
                b"5,6",
                b"5, 6",
                b"5;",
                b"five",
                b"5.0",
                b"5e0",
                b"18446744073709551621",
                b"99999999999999999999999",
                b"\xb25",
                b"5\0",
                b"5\r\n",
            ]
        )
    ),
    refuse(
        "h2-cl-two-that-differ",
        (b"content-length", b"5"),
        (b"content-length", b"6"),
        rfc="RFC 9110 §8.6",
        body=b"hello",
    ),
    refuse(
        "h2-cl-two-one-empty", (b"content-length", b"5"), (b"content-length", b""), rfc="RFC 9110 §8.6", body=b"hello"
    ),
    refuse("h2-cl-above-without-content", (b"content-length", b"5"), rfc="RFC 9113 §8.1.1"),
    rejected(
        "h2-cl-0-before-a-request",
        "RFC 9113 §8.1.1",
        post(1, (b"content-length", b"0")) + data(1, TAIL),
        reaches=ANY,
        requests=None,
        whole_only=True,
    ),
    rejected(
        "h2-cl-below",
        "RFC 9113 §8.1.1",
        post(1, (b"content-length", b"3")) + data(1, b"abc" + TAIL),
        reaches=INCOMPLETE,
        whole_only=True,
    ),
    rejected(
        "h2-cl-below-later",
        "RFC 9113 §8.1.1",
        post(1, (b"content-length", b"3")) + data(1, b"abc", 0) + data(1, TAIL),
        reaches=ANY,
        requests=None,
        whole_only=True,
    ),
    rejected(
        "h2-cl-above-2-to-the-32",
        "RFC 9113 §8.1.1",
        post(1, (b"content-length", b"4294967301")) + data(1, b"hello"),
        reaches=INCOMPLETE,
    ),
    rejected("h2-cl-above", "RFC 9113 §8.1.1", post(1, (b"content-length", b"99")) + data(1, TAIL), reaches=INCOMPLETE),
    rejected(
        "h2-cl-above-then-trailers",
        "RFC 9113 §8.1.1",
        post(1, (b"content-length", b"99")) + data(1, TAIL, 0) + headers(1, block((b"x", b"1"))),
        reaches=INCOMPLETE,
    ),
    # Content is content
    *(
        served(
            f"content-{n}",
            "RFC 9112 §11.2",
            headers(1, request(*fields, method=method), END_HEADERS) + data(1, content),
            seen=lambda seen, content=content: (no_tail(seen), _body_of(seen, content)),
        )
        for n, (method, fields, content) in enumerate(
            [
                (b"POST", (), TAIL),
                (b"POST", (), b"0" + SPLIT),
                (b"POST", ((b"content-length", b"%d" % len(TAIL)),), TAIL),
                (b"GET", (), TAIL),
                (b"DELETE", (), b"0" + SPLIT),
                (b"POST", (), b"\r\n0" + SPLIT),
            ]
        )
    ),
    served(
        "content-behind-head",
        "RFC 9110 §9.3.2",
        lambda client: client.heads.add(1),
        headers(1, request(method=b"HEAD"), END_HEADERS) + data(1, TAIL),
        seen=no_tail,
    ),
    # Trailers
    rejected(
        "trailer-with-line-end",
        "RFC 9113 §8.2.1",
        post() + data(1, b"x", 0) + headers(1, block((b"x", SPLIT))),
        reaches=INCOMPLETE,
    ),
    rejected(
        "trailer-name-with-line-end",
        "RFC 9113 §8.2.1",
        post() + data(1, b"x", 0) + headers(1, block((b"x\r\n\r\nget", b"1"))),
        reaches=INCOMPLETE,
    ),
    # :method
    *(
        refuse(f"method-{name}", (b"x-case", b"CASE"), rfc="RFC 9113 §8.3.1", method=value)
        for name, value in [
            ("empty", b""),
            ("with-space", b"GET /CASE/tail"),
            ("with-request-line", b"GET /CASE/tail HTTP/1.1\r\nx: 1\r\n\r\nGET"),
            ("with-tab", b"GET\t"),
            ("with-lf", b"GET\n"),
            ("with-nul", b"G\0ET"),
            ("with-colon", b"GET:"),
            ("with-obs-text", b"G\xe4T"),
            ("with-slash", b"GET/"),
        ]
    ),
    # :path
    *(
        refuse(f"path-{name}", (b"x-case", b"CASE"), rfc="RFC 9113 §8.3.1", path=value)
        for name, value in [
            ("empty", b""),
            ("without-slash", b"CASE"),
            ("asterisk", b"*"),
            ("absolute", b"http://a.test/CASE"),
            ("absolute-of-another-host", b"http://b.test/CASE"),
            ("of-an-authority", b"b.test:80"),
            ("only-query", b"?CASE"),
            ("with-space", b"/CASE x"),
            ("with-space-first", b" /CASE"),
            ("with-version", b"/CASE HTTP/1.1"),
            ("with-request", b"/CASE HTTP/1.1\r\nHost: a.test\r\n\r\nGET /CASE/tail"),
            ("with-lf", b"/CASE\n"),
            ("with-cr", b"/CASE\r"),
            ("with-tab", b"/CASE\tx"),
            ("with-nul", b"/CASE\0x"),
            ("with-del", b"/CASE\x7f"),
            ("with-fragment", b"/CASE#x"),
            ("with-obs-text", b"/CASE\xe4"),
            ("with-esc", b"/CASE\x1bx"),
        ]
    ),
    refuse("path-not-asterisk-of-options", (b"x-case", b"CASE"), rfc="RFC 9113 §8.3.1", method=b"OPTIONS", path=b"*x"),
    # :authority
    *(
        refuse(f"authority-{name}", rfc="RFC 9113 §8.3.1", authority=value)
        for name, value in [
            ("with-userinfo", b"user@a.test"),
            ("with-password", b"user:pass@a.test"),
            ("with-empty-userinfo", b"@a.test"),
            ("with-path", b"a.test/x"),
            ("with-query", b"a.test?x"),
            ("with-fragment", b"a.test#x"),
            ("with-backslash", b"a.test\\x"),
            ("with-scheme", b"http://a.test"),
            ("with-space", b"a.test b.test"),
            ("with-comma", b"a.test, b.test"),
            ("with-tab", b"a.test\tx"),
            ("with-crlf", b"a.test\r\nx: 1"),
            ("with-lf", b"a.test\nx: 1"),
            ("with-nul", b"a.test\0"),
            ("with-two-ports", b"a.test:80:81"),
            ("with-word-port", b"a.test:http"),
            ("with-huge-port", b"a.test:65536"),
            ("only-port", b":80"),
            ("ipv6-unclosed", b"[::1"),
            ("ipv6-not-hex", b"[zz::1]"),
            ("ipv6-then-text", b"[::1]x"),
            ("ipv6-without-brackets", b"2001:db8::1"),
            ("quoted", b'"a.test"'),
            ("with-obs-text", b"\xe4.test"),
        ]
    ),
    # Host and :authority
    refuse("host-differs", (b"host", b"b.test"), rfc="RFC 9113 §8.3.1"),
    refuse("host-differs-in-port", (b"host", b"a.test:81"), rfc="RFC 9113 §8.3.1"),
    refuse("host-empty-beside-authority", (b"host", b""), rfc="RFC 9113 §8.3.1"),
    refuse("host-twice", (b"host", b"a.test"), (b"host", b"a.test"), rfc="RFC 9113 §8.3.1"),
    refuse("host-twice-alone", (b"host", b"a.test"), (b"host", b"b.test"), rfc="RFC 9110 §7.2", authority=None),
    refuse("host-with-userinfo", (b"host", b"user@a.test"), rfc="RFC 9110 §7.2", authority=None),
    refuse("host-with-crlf", (b"host", b"a.test\r\nx: 1"), rfc="RFC 9110 §7.2", authority=None),
    refuse("host-with-path", (b"host", b"a.test/x"), rfc="RFC 9110 §7.2", authority=None),
    refuse("host-list", (b"host", b"a.test, b.test"), rfc="RFC 9110 §7.2", authority=None),
    refuse("host-upper-case-name", (b"Host", b"b.test"), rfc="RFC 9113 §8.2"),
    # :scheme
    *(
        refuse(f"scheme-{name}", rfc="RFC 9113 §8.3.1", scheme=value)
        for name, value in [
            ("empty", b""),
            ("with-colon", b"http:"),
            ("with-authority", b"http://b.test"),
            ("with-space", b"ht tp"),
            ("with-crlf", b"http\r\nx: 1"),
            ("with-nul", b"http\0"),
            ("starting-with-digit", b"1http"),
            ("with-obs-text", b"h\xe4tp"),
            ("with-path", b"http://b.test/CASE/tail?"),
        ]
    ),
    # The pseudo-headers once more: twice, misplaced, unknown, empty names
    *(
        rejected(f"{name}-twice-{place}", "RFC 9113 §8.3", headers(1, _twice), whole_only=True)
        for name, first, second in [
            ("path", b"/CASE", b"/CASE/tail"),
            ("method", b"GET", b"POST"),
            ("authority", b"a.test", b"b.test"),
            ("scheme", b"http", b"https"),
        ]
        for place, _twice in [
            ("before", block((b":" + name.encode(), second)) + request()),
            ("behind", request() + block((b":" + name.encode(), second))),
            ("after-a-field", request((b"x", b"1"), (b":" + name.encode(), first))),
        ]
    ),
    refuse("name-only-colon", (b":", b"1"), rfc="RFC 9113 §8.3"),
    refuse("name-pseudo-upper", (b":Path", b"/CASE"), rfc="RFC 9113 §8.3"),
    refuse("name-pseudo-with-space", (b":path ", b"/CASE/tail"), rfc="RFC 9113 §8.3"),
    refuse("name-pseudo-with-two-colons", (b"::path", b"/CASE/tail"), rfc="RFC 9113 §8.3"),
    refuse("name-pseudo-cut", (b":pat", b"/CASE/tail"), rfc="RFC 9113 §8.3"),
    # Fields that would name the hop
    *(
        refuse(f"hop-{name}", (name.encode(), value), rfc="RFC 9113 §8.2.2")
        for name, value in [
            ("connection", b"content-length"),
            ("keep-alive", b"1"),
            ("proxy-connection", b"close"),
            ("upgrade", b"websocket"),
            ("te", b"chunked"),
        ]
    ),
    refuse(
        "http2-settings-and-upgrade",
        (b"connection", b"upgrade, http2-settings"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAMAAABkAAQAAP__"),
        rfc="RFC 9113 §8.2.2",
    ),
    served("scheme-https-on-a-clear-connection", "RFC 9113 §8.3.1", get(scheme=b"https"), seen=scheme_is_ours),
]


def _body_of(seen: Request, content: bytes) -> None:
    marker = seen.target[1:5].encode()
    assert seen.body == content.replace(b"CASE", marker)


RUNS, IDS = parametrized(CASES)


@pytest.mark.parametrize(("case", "segment"), RUNS, ids=IDS)
def test_smuggling(case: H2Case, segment: int | None, worlds: Worlds) -> None:
    run(case, worlds, segment)


@pytest.mark.parametrize("name", sorted(FORBIDDEN_TRAILERS))
def test_forbidden_trailers_do_not_arrive(worlds: Worlds, name: str) -> None:
    """RFC 9110 section 6.5.1: refused, or dropped from a message that arrives otherwise whole."""
    world = worlds.get("plain")
    marker = new_marker()
    trailers = headers(1, block((name.encode(), b"1"), (b"x-fine", b"1")))
    with H2Client(world.dao.address) as client:
        client.send(post(1, path=f"/{marker}".encode()) + data(1, b"x", 0) + trailers)
        client.wait(lambda: client.failed or client.stream(1).over, "an answer")
    for seen in world.origins["a"].seen(marker):
        if seen.complete:
            assert [n for n, _ in seen.trailers] == ["x-fine"], seen.raw


# Anything at all --------------------------------------------------------------------------------------------------

PIECES = [
    *(bytes([byte]) for byte in b'\r\n\0 \t\x0b:;,/*059azAZ+-_.#@?"\x7f\x80\xff'),
    *(
        b"\r\n\r\n",
        b"\r\n ",
        b"chunked",
        b"0\r\n\r\n",
        b" HTTP/1.1\r\n",
        b"5",
        b"a.test",
        b"http://b.test",
        b"/@",
        b"x",
    ),
    TAIL.replace(b"CASE", b"@"),
]
NAMES = [
    *(b"x", b"content-length", b"transfer-encoding", b"host", b"te", b"cookie", b"connection", b"expect", b"trailer"),
    *(b":path", b":method", b":authority", b":scheme", b"upgrade", b"x-forwarded-for", b"via", b"forwarded"),
]

pieces = st.lists(st.sampled_from(PIECES), min_size=0, max_size=2).map(b"".join)
mutated_name = st.one_of(st.sampled_from(NAMES), st.tuples(st.sampled_from(NAMES), pieces).map(b"".join), pieces)


@st.composite
def requests(draw: st.DrawFn) -> tuple[list[Field], bytes | None, list[Field]]:
    """Fields, content (None: ended by HEADERS) and trailers, mutated here and there. "@" becomes the marker."""
    fields: list[Field] = [(b":method", draw(st.sampled_from([b"GET", b"POST", b"OPTIONS", b"HEAD"])))]
    fields += [(b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/@")]
    body = draw(st.sampled_from([None, None, b"", b"hello", TAIL.replace(b"CASE", b"@"), b"0\r\n\r\n"]))
    if draw(st.booleans()):
        fields.append((b"content-length", b"%d" % len(body or b"")))
    for _ in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from(["add", "add", "append", "remove", "copy"]))
        at = draw(st.integers(0, len(fields) - 1)) if fields else 0
        if kind == "add" or not fields:
            fields.insert(draw(st.integers(at, len(fields))), (draw(mutated_name), draw(pieces)))
        elif kind == "append":
            name, value = fields[at]
            fields[at] = (name, value + draw(pieces)) if draw(st.booleans()) else (name, draw(pieces) + value)
        elif kind == "remove":
            del fields[at]
        else:
            fields.append(fields[at])
    trailers = [(draw(mutated_name), draw(pieces))] if body is not None and draw(st.integers(0, 3)) == 0 else []
    return fields, body, trailers


def test_mutated_requests_smuggle_nothing(worlds: Worlds) -> None:
    """Whatever reaches the origin is one request for one stream, and means what the fields on that stream said."""
    world = worlds.get("plain")
    origin = world.origins["a"]
    reached = refusals = 0

    @seed(20261123)
    @settings(
        max_examples=700,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(requests())
    def one(example: tuple[list[Field], bytes | None, list[Field]]) -> None:
        nonlocal reached, refusals
        marker = new_marker().encode()
        fields, trailers = ([(n.replace(b"@", marker), v.replace(b"@", marker)) for n, v in f] for f in example[::2])
        body = example[1] if example[1] is None else example[1].replace(b"@", marker)
        before, violations = len(origin.requests), len(origin.violations)
        head = any(field == (b":method", b"HEAD") for field in fields)
        with H2Client(world.dao.address) as client:
            if head:
                client.heads.add(1)
            frames = headers(1, block(*fields), END_HEADERS | (END_STREAM if body is None else 0))
            if body is not None:
                frames += data(1, body, 0 if trailers else END_STREAM)
            if trailers:
                frames += headers(1, block(*trailers))
            client.send(frames)
            client.wait(lambda: client.ended or client.failed or client.stream(1).over, "an answer")
            if not client.failed and not client.ended:
                client.fence()
        new = origin.requests[before:]
        assert len(origin.violations) == violations, origin.violations[violations:]
        seen = [r for r in new if r.complete and r.target != "/fence"]
        assert len(seen) <= 1 and len([r for r in new if r.target != "/fence"]) <= 1, [r.raw for r in new]
        stream = client.stream(1)
        if stream.fields and stream.status == 200 and stream.ended:
            assert len(seen) == 1
        refusals += not seen
        if not seen:
            return
        reached += 1
        _check_meaning(fields, body, trailers, seen[0])

    one()
    assert reached > 100 and refusals > 100, f"{reached} reached the origin, {refusals} did not: tested little"


def _check_meaning(fields: list[Field], body: bytes | None, trailers: list[Field], seen: Request) -> None:
    text = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in fields]
    pseudo = {n: v for n, v in text if n.startswith(":")}
    crumbs = [v for n, v in text if n == "cookie"]
    plain = [(n, v) for n, v in text if not n.startswith(":") and n not in ("host", "te", "content-length", "cookie")]
    if crumbs:
        plain.append(("cookie", "; ".join(crumbs)))
    host = pseudo.get(":authority") or dict(text).get("host", "")
    want = Request(version="2.0", fields=[("host", host), *plain])
    want.method, want.target = pseudo[":method"], pseudo[":path"]
    want.body = body or b""
    want.framing = seen.framing
    # Trailers may be dropped (RFC 9110 section 6.5.1), but none may come that were not sent.
    sent_trailers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in trailers]
    want.trailers = [trailer for trailer in sent_trailers if trailer in seen.trailers]
    check_forwarded(want, seen)
