"""RFC 9113 section 8: HTTP in HTTP/2. What is malformed is a stream error; all else arrives with the same meaning."""

from __future__ import annotations

import threading

import pytest

from lib.h2frames import (
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    NO_ERROR,
    PROTOCOL_ERROR,
    Field,
    H2Client,
    block,
    data,
    get,
    headers,
    post,
    request,
)
from lib.h2wire import (
    ANY,
    INCOMPLETE,
    H2Case,
    Step,
    malformed,
    parametrized,
    refused,
    rejected,
    run,
    served,
    stream_error,
)
from lib.http1 import Request
from lib.origin import CLOSE, EARLY, HOLD, Connection, Wait
from lib.wire import World, Worlds, check_forwarded, end_to_end, new_marker

TRAILERS = block((b"x-trailer", b"1"))
ERROR = PROTOCOL_ERROR


def bad(id: str, section: str, *fields: Field, stream_end: bool = True, **pseudo: bytes | None) -> H2Case:
    """A request whose header block alone makes it malformed."""
    flags = END_HEADERS | (END_STREAM if stream_end else 0)
    return malformed(id, f"RFC 9113 §{section}", ERROR, headers(1, request(*fields, **pseudo), flags))


def forwarded(
    id: str,
    rfc: str,
    *fields: Field,
    body: bytes | None = None,
    pieces: int = 1 << 14,
    trailers: tuple[Field, ...] = (),
    host: bytes | None = None,
    arrives: tuple[tuple[str, str], ...] | None = None,
    framing: str | None = None,
    status: int = 200,
    **pseudo: bytes | None,
) -> H2Case:
    """A request (body None: ended by its HEADERS) that must arrive with the same meaning, by the model of lib.wire.

    `arrives` are the end-to-end fields at the origin if they are not those that were sent."""
    head = request(*fields, **pseudo)
    ends = body is None and not trailers
    steps: list[Step] = [headers(1, head, END_HEADERS | (END_STREAM if ends else 0))]
    for at in range(0, len(body or b""), pieces):
        steps.append(data(1, body[at : at + pieces], 0))
    if trailers:
        steps.append(headers(1, block(*trailers)))
    elif not ends:
        steps.append(data(1, b""))

    def check(seen: Request) -> None:
        marker = seen.target.strip("/*")[:4]
        authority = pseudo.get("authority", b"a.test") or host or b""
        path = (pseudo.get("path") or b"/CASE").decode().replace("CASE", marker)
        sent_fields = [(n.decode(), v.decode("latin-1")) for n, v in fields] if arrives is None else list(arrives)
        sent_fields = [(n, v) for n, v in sent_fields if n not in ("host", "content-length")]
        want = Request(version="2.0", fields=[("host", authority.decode()), *sent_fields])
        want.method = (pseudo.get("method") or b"GET").decode()
        want.target = path
        want.body = body or b""
        want.trailers = [(n.decode(), v.decode("latin-1")) for n, v in trailers]
        want.framing = seen.framing if framing is None else framing
        check_forwarded(want, seen)
        assert framing in (None, seen.framing)
        assert {n for n in end_to_end(seen)} <= {n for n, _ in sent_fields}

    return served(id, rfc, b"".join(steps), seen=check, status=status)


CASES: list[H2Case] = [
    # Section 8.1: the message ----------------------------------------------------------------------------------------
    malformed(
        "second-headers-without-end",
        "RFC 9113 §8.1",
        ERROR,
        post(),
        headers(1, TRAILERS, END_HEADERS),
        reaches=INCOMPLETE,
    ),
    malformed(
        "trailers-without-end-after-data",
        "RFC 9113 §8.1",
        ERROR,
        post() + data(1, b"x", 0),
        headers(1, TRAILERS, END_HEADERS),
        reaches=INCOMPLETE,
    ),
    stream_error(
        "data-after-trailers", "RFC 9113 §8.1", (5,), post() + headers(1, TRAILERS) + data(1, b"x"), answer=(HOLD,)
    ),
    malformed(
        "trailers-with-pseudo-header",
        "RFC 9113 §8.1",
        ERROR,
        post(),
        headers(1, block((b":path", b"/x"))),
        reaches=INCOMPLETE,
    ),
    malformed(
        "trailers-with-method",
        "RFC 9113 §8.1",
        ERROR,
        post() + data(1, b"x", 0),
        headers(1, block((b":method", b"GET"))),
        reaches=INCOMPLETE,
    ),
    malformed(
        "trailers-with-authority",
        "RFC 9113 §8.1",
        ERROR,
        post() + data(1, b"x", 0),
        headers(1, block((b":authority", b"b.test"), (b"x", b"1"))),
        reaches=INCOMPLETE,
    ),
    malformed(
        "trailers-with-status",
        "RFC 9113 §8.1",
        ERROR,
        post() + data(1, b"x", 0),
        headers(1, block((b":status", b"200"))),
        reaches=INCOMPLETE,
    ),
    malformed(
        "trailers-with-uppercase",
        "RFC 9113 §8.2",
        ERROR,
        post() + data(1, b"x", 0),
        headers(1, block((b"X-Trailer", b"1"))),
        reaches=INCOMPLETE,
    ),
    malformed(
        "trailers-with-connection",
        "RFC 9113 §8.2.2",
        ERROR,
        post() + data(1, b"x", 0),
        headers(1, block((b"connection", b"close"))),
        reaches=INCOMPLETE,
    ),
    malformed(
        "trailers-with-transfer-encoding",
        "RFC 9113 §8.2.2",
        ERROR,
        post() + data(1, b"x", 0),
        headers(1, block((b"transfer-encoding", b"chunked"))),
        reaches=INCOMPLETE,
    ),
    # Section 8.1.1: content-length and the DATA that comes -------------------------------------------------------------
    malformed(
        "length-without-content",
        "RFC 9113 §8.1.1",
        ERROR,
        headers(1, request((b"content-length", b"1"), method=b"POST")),
    ),
    malformed("length-without-content-get", "RFC 9113 §8.1.1", ERROR, headers(1, request((b"content-length", b"1")))),
    malformed(
        "length-above-data",
        "RFC 9113 §8.1.1",
        ERROR,
        post(1, (b"content-length", b"5")) + data(1, b"test"),
        reaches=INCOMPLETE,
    ),
    malformed(
        "length-above-data-frames",
        "RFC 9113 §8.1.1",
        ERROR,
        post(1, (b"content-length", b"9")),
        data(1, b"test", 0),
        data(1, b"test"),
        reaches=INCOMPLETE,
    ),
    malformed(
        "length-above-data-then-trailers",
        "RFC 9113 §8.1.1",
        ERROR,
        post(1, (b"content-length", b"9")),
        data(1, b"test", 0),
        headers(1, TRAILERS),
        reaches=INCOMPLETE,
    ),
    malformed(
        "length-above-empty-data",
        "RFC 9113 §8.1.1",
        ERROR,
        post(1, (b"content-length", b"9")) + data(1),
        reaches=INCOMPLETE,
    ),
    malformed(
        "length-below-data",
        "RFC 9113 §8.1.1",
        ERROR,
        post(1, (b"content-length", b"3")) + data(1, b"test"),
        reaches=INCOMPLETE,
        whole_only=True,
    ),
    malformed(
        "length-0-with-data",
        "RFC 9113 §8.1.1",
        ERROR,
        post(1, (b"content-length", b"0")) + data(1, b"test"),
        reaches=ANY,
        requests=None,
        whole_only=True,
    ),
    malformed(
        "length-below-data-frames",
        "RFC 9113 §8.1.1",
        ERROR,
        post(1, (b"content-length", b"6")) + data(1, b"test", 0) + data(1, b"test"),
        reaches=INCOMPLETE,
        whole_only=True,
    ),
    # Section 8.2: fields ---------------------------------------------------------------------------------------------
    bad("name-uppercase", "8.2.1", (b"X-TEST", b"ok")),
    bad("name-uppercase-last", "8.2.1", (b"x-tesT", b"ok")),
    bad("name-empty", "8.2.1", (b"", b"ok")),
    bad("name-with-colon", "8.2.1", (b"x:test", b"ok")),
    bad("name-with-space", "8.2.1", (b"x test", b"ok")),
    bad("name-with-space-at-end", "8.2.1", (b"x-test ", b"ok")),
    bad("name-with-nul", "8.2.1", (b"x\0test", b"ok")),
    bad("name-with-del", "8.2.1", (b"x\x7ftest", b"ok")),
    bad("name-with-obs-text", "8.2.1", (b"x\xe4test", b"ok")),
    bad("value-with-nul", "8.2.1", (b"x", b"a\0b")),
    bad("value-with-cr", "8.2.1", (b"x", b"a\rb")),
    bad("value-with-lf", "8.2.1", (b"x", b"a\nb")),
    bad("value-with-leading-space", "8.2.1", (b"x", b" a")),
    bad("value-with-trailing-space", "8.2.1", (b"x", b"a ")),
    bad("value-with-leading-tab", "8.2.1", (b"x", b"\ta")),
    bad("value-with-trailing-tab", "8.2.1", (b"x", b"a\t")),
    bad("connection", "8.2.2", (b"connection", b"keep-alive")),
    bad("connection-naming-a-field", "8.2.2", (b"connection", b"x-one"), (b"x-one", b"1")),
    bad("keep-alive", "8.2.2", (b"keep-alive", b"timeout=5")),
    bad("proxy-connection", "8.2.2", (b"proxy-connection", b"keep-alive")),
    bad("transfer-encoding", "8.2.2", (b"transfer-encoding", b"chunked"), stream_end=False, method=b"POST"),
    bad("transfer-encoding-identity", "8.2.2", (b"transfer-encoding", b"identity")),
    bad("upgrade", "8.2.2", (b"upgrade", b"h2c")),
    bad("te-gzip", "8.2.2", (b"te", b"gzip")),
    bad("te-trailers-and-more", "8.2.2", (b"te", b"trailers, deflate;q=0.5")),
    # Section 8.3: pseudo-headers -------------------------------------------------------------------------------------
    malformed("pseudo-unknown", "RFC 9113 §8.3", ERROR, headers(1, block((b":test", b"ok")) + request())),
    malformed("pseudo-of-a-response", "RFC 9113 §8.3", ERROR, headers(1, block((b":status", b"200")) + request())),
    malformed(
        "pseudo-after-a-field",
        "RFC 9113 §8.3",
        ERROR,
        headers(1, request(path=None) + block((b"x-test", b"ok"), (b":path", b"/CASE"))),
    ),
    malformed(
        "pseudo-unknown-after-a-field",
        "RFC 9113 §8.3",
        ERROR,
        headers(1, request((b"x-test", b"ok"), (b":test", b"1"))),
    ),
    malformed(
        "pseudo-protocol-with-get", "RFC 8441 §4", ERROR, headers(1, block((b":protocol", b"websocket")) + request())
    ),
    bad("path-empty", "8.3.1", path=b""),
    bad("path-missing", "8.3.1", (b"x-case", b"CASE"), path=None),
    bad("method-missing", "8.3.1", method=None),
    bad("scheme-missing", "8.3.1", scheme=None),
    *(
        malformed(
            f"{name}-twice", "RFC 9113 §8.3.1", ERROR, headers(1, block((b":" + name.encode(), value)) + request())
        )
        for name, value in [("method", b"GET"), ("scheme", b"http"), ("path", b"/CASE"), ("authority", b"a.test")]
    ),
    malformed("all-missing", "RFC 9113 §8.3.1", ERROR, headers(1, block((b"x-case", b"CASE")))),
    malformed("block-empty", "RFC 9113 §8.3.1", ERROR, headers(1, b"")),
    rejected("authority-and-host-missing", "RFC 9113 §8.3.1", get(authority=None)),
    rejected("authority-empty", "RFC 9113 §8.3.1", get(authority=b"")),
    # Section 8.5: CONNECT
    rejected("connect-with-path-and-scheme", "RFC 9113 §8.5", get(method=b"CONNECT", authority=b"a.test:443")),
    rejected(
        "connect-without-authority",
        "RFC 9113 §8.5",
        get(1, (b"x-case", b"CASE"), method=b"CONNECT", authority=None, path=None, scheme=None),
    ),
    rejected(
        "connect",
        "RFC 9110 §9.3.6",
        get(1, (b"x-case", b"CASE"), method=b"CONNECT", authority=b"a.test:443", path=None, scheme=None),
    ),
    rejected(
        "connect-extended-nonsense",
        "RFC 8441 §4",
        headers(1, block((b":protocol", b"nonsense")) + request(method=b"CONNECT"), END_HEADERS),
    ),
    # What is well-formed arrives (sections 8.2.3 and 8.3.1, RFC 9110 sections 7.6 and 9)
    forwarded("get", "RFC 9113 §8.3.1"),
    forwarded(
        "get-with-fields",
        "RFC 9110 §7.6",
        (b"accept", b"*/*"),
        (b"x-one", b"1"),
        (b"x-one", b"2"),
        (b"user-agent", b"test/1"),
    ),
    forwarded("get-with-query", "RFC 9113 §8.3.1", path=b"/CASE?a=b&c=/d?e"),
    forwarded("authority-with-port", "RFC 9113 §8.3.1", authority=b"a.test:8080"),
    forwarded("authority-ipv6", "RFC 9113 §8.3.1", authority=b"[::1]:80"),
    forwarded("host-instead-of-authority", "RFC 9113 §8.3.1", (b"host", b"b.test"), authority=None, host=b"b.test"),
    forwarded("host-like-authority", "RFC 9113 §8.3.1", (b"host", b"a.test")),
    forwarded("delete", "RFC 9110 §9.3.5", method=b"DELETE"),
    forwarded("unknown-method", "RFC 9110 §9.1", method=b"BREW-IT"),
    forwarded(
        "post-with-length",
        "RFC 9113 §8.1.1",
        (b"content-length", b"5"),
        method=b"POST",
        body=b"hello",
        framing="length",
    ),
    forwarded("post-without-length", "RFC 9113 §8.1", method=b"POST", body=b"hello", framing="chunked"),
    forwarded(
        "post-in-pieces",
        "RFC 9113 §8.1.1",
        (b"content-length", b"5"),
        method=b"POST",
        body=b"hello",
        pieces=1,
        framing="length",
    ),
    forwarded("post-empty", "RFC 9113 §8.1", method=b"POST", body=b""),
    forwarded("post-with-length-0", "RFC 9113 §8.1.1", (b"content-length", b"0"), method=b"POST", body=b""),
    forwarded("post-with-length-0-and-end", "RFC 9113 §8.1.1", (b"content-length", b"0"), method=b"POST"),
    forwarded("get-with-content", "RFC 9110 §9.3.1", body=b"hello", framing="chunked"),
    forwarded(
        "content-that-looks-like-chunks",
        "RFC 9112 §11.2",
        method=b"POST",
        body=b"0\r\n\r\n5\r\nhello",
        framing="chunked",
    ),
    forwarded(
        "trailers", "RFC 9113 §8.1", method=b"POST", body=b"hello", trailers=((b"x-trailer", b"1"), (b"x-more", b"2"))
    ),
    forwarded("trailers-without-data", "RFC 9113 §8.1", method=b"POST", trailers=((b"x-trailer", b"1"),)),
    forwarded("te-trailers", "RFC 9113 §8.2.2", (b"te", b"trailers"), arrives=()),
    forwarded(
        "cookie-crumbs",
        "RFC 9113 §8.2.3",
        (b"cookie", b"a=b"),
        (b"x", b"1"),
        (b"cookie", b"c=d; e=f"),
        (b"cookie", b"g=h"),
        arrives=(("cookie", "a=b; c=d; e=f; g=h"), ("x", "1")),
    ),
    forwarded("cookie-alone", "RFC 9113 §8.2.3", (b"cookie", b"a=b; c=d")),
    forwarded("value-empty", "RFC 9113 §8.2.1", (b"x-empty", b"")),
    forwarded("value-with-inner-tab", "RFC 9113 §8.2.1", (b"x", b"a\tb  c")),
    forwarded("value-with-obs-text", "RFC 9113 §8.2.1", (b"x", b"\xe4\xff\x80")),
    forwarded("name-with-all-token-marks", "RFC 9110 §5.1", (b"!#$%&'*+-.^_`|~09az", b"1")),
    forwarded(
        "expect-with-content",
        "RFC 9110 §10.1.1",
        (b"expect", b"100-continue"),
        method=b"POST",
        body=b"hello",
        arrives=(),
    ),
    forwarded("priority-field", "RFC 9218 §4", (b"priority", b"u=1, i")),
    forwarded("via-of-another", "RFC 9110 §7.6.3", (b"via", b"1.1 other")),
    served(
        "options-asterisk",
        "RFC 9113 §8.3.1",
        get(1, (b"x-case", b"CASE"), method=b"OPTIONS", path=b"*"),
        seen=lambda seen: _target_is(seen, "*"),
    ),
    # Limits: the same as for HTTP/1 (the world "limited")
    refused("target-too-long", "RFC 9110 §15.5.15", 414, get(path=b"/CASE".ljust(257, b"t")), world="limited"),
    served("target-at-the-limit", "RFC 9110 §15.5.15", get(path=b"/CASE".ljust(256, b"t")), world="limited"),
    refused("fields-too-large", "RFC 6585 §5", 431, get(1, (b"x", b"v" * 2048)), world="limited"),
    refused("fields-too-many", "RFC 6585 §5", 431, get(1, *((b"x-%d" % n, b"1") for n in range(30))), world="limited"),
    refused("fields-of-default-too-many", "RFC 6585 §5", 431, get(1, *((b"x-%d" % n, b"1") for n in range(110)))),
    refused("announced-too-large", "RFC 9110 §15.5.14", 413, post(1, (b"content-length", b"1001")), world="limited"),
    rejected(
        "content-too-large",
        "RFC 9110 §15.5.14",
        post() + data(1, b"x" * 1001),
        world="limited",
        reaches=INCOMPLETE,
        codes=(PROTOCOL_ERROR, NO_ERROR, ENHANCE_YOUR_CALM, 8),
        whole_only=True,
    ),
    rejected(
        "trailers-too-large",
        "RFC 6585 §5",
        post(),
        headers(1, block((b"x", b"v" * 3000))),
        world="limited",
        reaches=INCOMPLETE,
        codes=(PROTOCOL_ERROR, ENHANCE_YOUR_CALM, 8),
        whole_only=True,
    ),
]


def _target_is(seen: Request, target: str) -> None:
    assert seen.target == target


RUNS, IDS = parametrized(CASES)


@pytest.mark.parametrize(("case", "segment"), RUNS, ids=IDS)
def test_messages(case: H2Case, segment: int | None, worlds: Worlds) -> None:
    run(case, worlds, segment)


# Answers ----------------------------------------------------------------------------------------------------------


def ask(world: World, *answer: object, client: H2Client, method: bytes = b"GET", fields: tuple[Field, ...] = ()):
    marker = new_marker()
    world.origins["a"].answer(marker, *answer)
    number = 1 + 2 * len(client.streams)
    if method == b"HEAD":
        client.heads.add(number)
    return client.get(number, f"/{marker}", *fields, method=method)


@pytest.fixture
def client(world: World):
    with H2Client(world.dao.address) as opened:
        yield opened


def test_an_answer_with_a_length(world: World, client: H2Client) -> None:
    stream = ask(world, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-One: 1\r\nX-One: 2\r\n\r\nhello", client=client)
    assert (stream.status, stream.body) == (200, b"hello")
    assert stream.values("content-length") == ["5"] and stream.values("x-one") == ["1", "2"]
    assert len(stream.values("date")) == 1


def test_an_answer_in_chunks(world: World, client: H2Client) -> None:
    """RFC 9113 section 8.1: chunked is no coding of HTTP/2; the strict client would not have it."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
    stream = ask(world, chunked, client=client)
    assert (stream.status, stream.body, stream.trailers) == (200, b"hello", None)


def test_an_answer_with_trailers(world: World, client: H2Client) -> None:
    """RFC 9113 section 8.1."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n2\r\nok\r\n0\r\nX-T: end\r\n\r\n"
    stream = ask(world, chunked, client=client, fields=((b"te", b"trailers"),))
    assert (stream.body, stream.trailers) == (b"ok", [("x-t", "end")])


def test_an_answer_until_close(world: World, client: H2Client) -> None:
    stream = ask(world, b"HTTP/1.1 200 OK\r\n\r\nuntil the end", CLOSE, client=client)
    assert (stream.status, stream.body) == (200, b"until the end")


def test_an_answer_without_content(world: World, client: H2Client) -> None:
    """RFC 9110 sections 9.3.2, 15.3.5 and 15.4.5: HEAD, 204 and 304 have no content."""
    assert ask(world, b"HTTP/1.1 204 No Content\r\n\r\n", client=client).status == 204
    stream = ask(world, b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 9\r\n\r\n', client=client)
    assert (stream.status, stream.body, stream.values("etag")) == (304, b"", ['"a"'])
    stream = ask(world, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", client=client, method=b"HEAD")
    assert (stream.status, stream.body, stream.values("content-length")) == (200, b"", ["99"])


def test_connection_fields_of_the_origin_end_here(world: World, client: H2Client) -> None:
    """RFC 9113 section 8.2.2; the strict client takes none of them."""
    answer = (
        b"HTTP/1.1 200 OK\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
        b"Proxy-Connection: close\r\nX-End: 1\r\nContent-Length: 2\r\n\r\nok"
    )
    stream = ask(world, answer, client=client)
    assert stream.values("x-end") == ["1"] and not stream.values("x-hop")
    client.fence()


def test_interim_answers(world: World, client: H2Client) -> None:
    """RFC 9113 section 8.1: 1xx come before the final answer, without END_STREAM, and hop-by-hop fields stay here."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: 1\r\n\r\n"
    stream = ask(world, early * 2, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", client=client)
    assert [dict(fields)[":status"] for fields in stream.interim] == ["103", "103"]
    assert [dict(fields)["link"] for fields in stream.interim] == ["</a>", "</a>"]
    assert (stream.status, stream.body) == (200, b"ok")


def test_a_101_of_the_origin_is_no_answer(world: World, client: H2Client) -> None:
    """RFC 9113 section 8.6: 101 does not exist here."""
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n"
    stream = ask(world, switch, client=client)
    assert (stream.status, stream.interim) == (502, [])
    client.fence()


def test_expect_100_continue(world: World, client: H2Client) -> None:
    """RFC 9110 section 10.1.1: the client waits for 100 before it sends; it must get it."""
    marker = new_marker()
    client.send(post(1, (b"expect", b"100-continue"), (b"content-length", b"5"), path=f"/{marker}".encode()))
    client.wait(lambda: client.stream(1).interim or client.stream(1).over, "100 Continue")
    assert [fields[0][1] for fields in client.stream(1).interim] == ["100"]
    client.send(data(1, b"hello"))
    assert client.response(1).status == 200
    assert world.origins["a"].seen(marker)[0].body == b"hello"


def test_an_answer_before_the_request_is_whole(world: World, client: H2Client) -> None:
    """RFC 9113 section 8.1: an early answer is passed on at once; RST_STREAM(NO_ERROR) may spare the rest."""
    marker = new_marker()
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    world.origins["a"].answer(marker, EARLY, answer, HOLD)
    client.send(post(1, path=f"/{marker}".encode()) + data(1, b"some", 0))
    client.wait(lambda: client.stream(1).ended, "the whole answer")
    stream = client.stream(1)
    assert (stream.status, stream.body) == (403, b"no")
    client.sync()
    assert stream.reset in (None, NO_ERROR), client.story()
    client.fence()


def test_content_flows_both_ways_at_once(world: World, client: H2Client) -> None:
    """A stream is two directions: what the origin answers to the first bytes arrives while more are sent."""
    marker = new_marker()

    def echo(connection: Connection, _: Request) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            size = int(connection.reader.take_line(), 16)
            payload = connection.reader.take(size) if size else b""
            connection.reader.take_line()
            connection.send(b"%x\r\n" % size + payload + b"\r\n")
            if not size:
                raise OSError("done")

    world.origins["a"].answer(marker, EARLY, echo)
    client.send(post(1, path=f"/{marker}".encode()))
    for turn in range(5):
        client.send(data(1, b"turn%d" % turn, 0))
        client.wait(lambda turn=turn: client.stream(1).body.endswith(b"turn%d" % turn), "the echo")
    client.send(data(1))
    assert client.response(1).body == b"turn0turn1turn2turn3turn4"


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
    ],
    ids=["length", "chunked"],
)
def test_a_cut_answer_is_not_ended_well(world: World, client: H2Client, cut: bytes) -> None:
    """RFC 9113 section 8.1.1: an answer that the origin cut must not look whole: RST_STREAM, and others go on."""
    stream = ask(world, cut, CLOSE, client=client)
    assert stream.reset is not None and stream.reset != NO_ERROR and not stream.ended, client.story()
    client.fence()


def test_an_error_of_daos_own(world: World, client: H2Client) -> None:
    """RFC 9209 over HTTP/2: the origin closed before it answered."""
    stream = ask(world, CLOSE, client=client, method=b"POST")
    assert stream.status == 502 and stream.body
    assert stream.values("proxy-status")[0].startswith("dao;")
    client.fence()


def test_many_streams_each_get_their_own_answer(world: World, client: H2Client) -> None:
    """Answers that come in another order than the requests go to the right streams."""
    marker = new_marker()
    origin = world.origins["a"]
    gates = {}
    for number in range(1, 21, 2):
        gates[number] = Wait(threading.Event())
        text = b"answer %d" % number
        script = (gates[number], b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
        origin.answer(f"{marker}/{number}/", *script)
    client.send(b"".join(get(n, path=f"/{marker}/{n}/".encode()) for n in gates))
    origin.wait(lambda: len(origin.seen(marker)) == len(gates), "all requests at once")
    for number in reversed(list(gates)):
        gates[number].event.set()
        assert client.response(number).body == b"answer %d" % number


def test_the_access_log_names_the_protocol(world: World, client: H2Client) -> None:
    marker = new_marker()
    assert client.get(1, f"/{marker}").status == 200
    (entry,) = world.dao.wait_access(lambda entry: entry["target"] == f"/{marker}")
    assert "HTTP/2" in entry.values() or "HTTP/2.0" in entry.values(), entry
