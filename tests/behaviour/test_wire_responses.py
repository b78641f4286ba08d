"""The backend side: what an origin may answer, what it may not, and what the client gets of it (RFC 9112, RFC 9110)."""

from __future__ import annotations

import pytest

from lib.client import RawClient
from lib.origin import CLOSE, EARLY, OK, READ_BODY
from lib.wire import Case, Got, Seen, Worlds, get, message, new_marker, parametrized, post, reply, run

CHUNKED = b"Transfer-Encoding: chunked"
HEAD_REQUEST = message(b"HEAD /CASE HTTP/1.1", b"Host: a.test")


def ok(*fields: bytes, body: bytes = b"") -> bytes:
    return message(b"HTTP/1.1 200 OK", *fields, body=body)


def bad_gateway(id: str, rfc: str, answer: bytes, error: str = "http_protocol_error", **more: object) -> Case:
    """The origin's answer cannot be trusted: 502, and nothing of it reaches the client."""
    return reply(id, rfc, (answer, CLOSE), Got(502, error=error), **more)


BODIES = [
    reply("length", "RFC 9112 §6.2", ok(b"Content-Length: 5", body=b"hello"), Got(body=b"hello"), closed=False),
    reply("length-0", "RFC 9112 §6.2", ok(b"Content-Length: 0"), Got(body=b""), closed=False),
    reply("chunked", "RFC 9112 §7.1", ok(CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"), Got(body=b"hello"), closed=False),
    reply("chunked-empty", "RFC 9112 §7.1", ok(CHUNKED, body=b"0\r\n\r\n"), Got(body=b""), closed=False),
    reply(
        "chunk-extensions-dropped", "RFC 9112 §7.1.1", ok(
            CHUNKED,
            body=b"5;a=b\r\nhello\r\n0;c\r\n\r\n",
        ), Got(body=b"hello"), closed=False
    ),
    reply("close-delimited", "RFC 9112 §6.3", (ok(body=b"hello"), CLOSE), Got(body=b"hello")),
    reply("close-delimited-empty", "RFC 9112 §6.3", (ok(), CLOSE), Got(body=b"")),
    reply("megabyte", "RFC 9112 §6.2", ok(b"Content-Length: 1000000", body=b"x" * 1000000), Got(), closed=False),
    reply(
        "close-delimited-to-1.0",
        "RFC 9112 §6.3",
        (ok(body=b"hello"), CLOSE),
        Got(body=b"hello", framing="close"),
        send=get(version=b"1.0"),
        closed=True,
    ),
    reply(
        "chunked-to-1.0",
        "RFC 9112 §6.1",
        ok(CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"),
        Got(body=b"hello", framing="close", fields={"transfer-encoding": None}),
        send=get(version=b"1.0"),
        closed=True,
    ),
    reply(
        "chunked-to-1.0-keep-alive",
        "RFC 9112 §6.1",
        ok(CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"),
        Got(body=b"hello", framing="close", fields={"transfer-encoding": None}),
        send=get(b"Connection: keep-alive", version=b"1.0"),
        closed=True,
    ),
    reply(
        "length-to-1.0",
        "RFC 9112 §6.2",
        OK,
        Got(body=b"ok", framing=("length", "close")),
        send=get(version=b"1.0"),
        closed=True,
    ),
    reply(
        "origin-speaks-1.0",
        "RFC 9110 §7.6.3",
        (message(b"HTTP/1.0 200 OK", body=b"old"), CLOSE),
        Got(body=b"old", fields={"via": "1.0 dao"}),
    ),
    reply(
        "origin-speaks-1.0-with-length",
        "RFC 9112 §9.3",
        (message(b"HTTP/1.0 200 OK", b"Content-Length: 3", body=b"old"), CLOSE),
        Got(body=b"old"),
        closed=False,
    ),
    reply(
        "trailers",
        "RFC 9110 §6.5",
        ok(CHUNKED, b"Trailer: X-Sum", body=b"2\r\nok\r\n0\r\nX-Sum: 42\r\nX-Two: b\r\n\r\n"),
        Got(body=b"ok", trailers={"x-sum": "42", "x-two": "b"}, fields={"x-sum": None}),
        send=get(b"TE: trailers", b"Connection: TE"),
        closed=False,
    ),
    reply(
        "forbidden-trailers-dropped",
        "RFC 9110 §6.5.1",
        ok(
            CHUNKED,
            body=b"2\r\nok\r\n0\r\nX: 1\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n"
            b"Connection: y\r\nSet-Cookie: a=1\r\n\r\n",
        ),
        Got(body=b"ok", trailers={"x": "1"}),
        send=get(b"TE: trailers", b"Connection: TE"),
        closed=False,
    ),
    reply(
        "trailer-nominated-by-connection-dropped",
        "RFC 9110 §7.6.1",
        ok(CHUNKED, b"Connection: X-Hop", body=b"2\r\nok\r\n0\r\nX-Hop: 1\r\nX-End: 2\r\n\r\n"),
        Got(body=b"ok", trailers={"x-end": "2"}),
        send=get(b"TE: trailers", b"Connection: TE"),
        closed=False,
    ),
    reply(
        "trailers-to-1.0-dropped",
        "RFC 9110 §6.5",
        ok(CHUNKED, body=b"2\r\nok\r\n0\r\nX: 1\r\n\r\n"),
        Got(body=b"ok", fields={"x": None}),
        send=get(version=b"1.0"),
        closed=True,
    ),
]

NO_BODY = [
    reply(
        "head-with-length",
        "RFC 9110 §9.3.2",
        ok(b"Content-Length: 1234"),
        Got(body=b"", fields={"content-length": "1234"}),
        send=HEAD_REQUEST,
        closed=False,
    ),
    reply("head-with-chunked", "RFC 9110 §9.3.2", ok(CHUNKED), Got(body=b""), send=HEAD_REQUEST, closed=False),
    reply("head-without-length", "RFC 9110 §9.3.2", ok(), Got(body=b""), send=HEAD_REQUEST, closed=False),
    reply(
        "head-404",
        "RFC 9110 §9.3.2",
        message(b"HTTP/1.1 404 Not Found", b"Content-Length: 9"),
        Got(404, body=b""),
        send=HEAD_REQUEST,
        closed=False,
    ),
    reply("204", "RFC 9110 §15.3.5", message(b"HTTP/1.1 204 No Content"), Got(204, body=b""), closed=False),
    reply(
        "204-with-length",
        "RFC 9110 §8.6",
        message(b"HTTP/1.1 204 No Content", b"Content-Length: 0"),
        Got(204, fields={"content-length": None}),
        closed=False,
        model=False,
    ),
    reply(
        "204-with-chunked",
        "RFC 9112 §6.1",
        (message(b"HTTP/1.1 204 No Content", CHUNKED), CLOSE),
        Got((204, 502), fields={"transfer-encoding": lambda values: values in ([], ["chunked"])}),
        model=False,
    ),
    reply(
        "304",
        "RFC 9110 §15.4.5",
        message(b"HTTP/1.1 304 Not Modified", b'ETag: "x"'),
        Got(304, body=b"", fields={"etag": '"x"'}),
        closed=False,
    ),
    reply(
        "304-with-length",
        "RFC 9110 §8.6",
        message(b"HTTP/1.1 304 Not Modified", b"Content-Length: 99"),
        Got(304, body=b""),
        closed=False,
    ),
    reply(
        "304-with-chunked",
        "RFC 9112 §6.1",
        message(b"HTTP/1.1 304 Not Modified", CHUNKED),
        Got(304, body=b""),
        closed=False,
    ),
    reply(
        "205",
        "RFC 9110 §15.3.6",
        message(b"HTTP/1.1 205 Reset Content", b"Content-Length: 0"),
        Got(205, body=b""),
        closed=False,
    ),
]

STATUS_LINES = [
    *(
        reply(
            f"status-{status}",
            "RFC 9110 §15",
            b"HTTP/1.1 %d Reason\r\nContent-Length: 2\r\n\r\nok" % status,
            Got(status, body=b"ok"),
            closed=False,
        )
        for status in (200, 201, 206, 226, 299, 300, 301, 399, 400, 401, 404, 418, 429, 451, 499, 599)
    ),
    reply(
        "reason-empty",
        "RFC 9112 §4",
        b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
        Got(body=b"ok"),
        closed=False,
    ),
    reply(
        "reason-with-spaces",
        "RFC 9112 §4",
        b"HTTP/1.1 200 All is well\r\nContent-Length: 2\r\n\r\nok",
        Got(body=b"ok"),
        closed=False,
    ),
    *(
        bad_gateway(f"status-line-{name}", "RFC 9112 §4", line + b"\r\nContent-Length: 2\r\n\r\nok")
        for name, line in [
            ("garbage", b"HELLO"),
            ("two-digits", b"HTTP/1.1 20 OK"),
            ("four-digits", b"HTTP/1.1 2000 OK"),
            ("letters", b"HTTP/1.1 abc OK"),
            ("below-100", b"HTTP/1.1 099 OK"),
            ("zero", b"HTTP/1.1 000 OK"),
            ("minus", b"HTTP/1.1 -20 OK"),
            ("two-spaces", b"HTTP/1.1  200 OK"),
            ("tab", b"HTTP/1.1\t200 OK"),
            ("no-space", b"HTTP/1.1200 OK"),
            ("space-first", b" HTTP/1.1 200 OK"),
            ("reason-control", b"HTTP/1.1 200 O\x01K"),
            ("reason-nul", b"HTTP/1.1 200 O\0K"),
            ("reason-bare-cr", b"HTTP/1.1 200 O\rK"),
            ("bare-lf", b"HTTP/1.1 200 OK\nX: 1"),
            ("version-2.0", b"HTTP/2.0 200 OK"),
            ("version-1.2", b"HTTP/1.2 200 OK"),
            ("version-0.9", b"HTTP/0.9 200 OK"),
            ("version-lower-case", b"http/1.1 200 OK"),
            ("icy", b"ICY 200 OK"),
            ("is-a-request", b"GET / HTTP/1.1"),
        ]
    ),
    bad_gateway("http-0.9", "RFC 9112 §4", b"<html>no head</html>\r\n\r\n"),
]

FIELDS = [
    reply(
        "end-to-end-fields-kept",
        "RFC 9110 §5.3",
        ok(b"X-A: 1", b"Set-Cookie: a=1", b"Set-Cookie: b=2", b'ETag: "e"', b"Server: s", b"Content-Length: 0"),
        Got(fields={"set-cookie": ["a=1", "b=2"]}),
        closed=False,
    ),
    reply(
        "obs-text-kept",
        "RFC 9110 §5.5",
        ok(b"X: \xe4\xff", b"Content-Length: 0"),
        Got(fields={"x": "\xe4\xff"}),
        closed=False,
    ),
    reply(
        "date-added",
        "RFC 9110 §6.6.1",
        ok(b"Content-Length: 0"),
        Got(fields={"date": lambda v: len(v) == 1 and v[0].endswith(" GMT")}),
        closed=False,
    ),
    reply(
        "date-kept",
        "RFC 9110 §6.6.1",
        ok(b"Date: Sun, 06 Nov 1994 08:49:37 GMT", b"Content-Length: 0"),
        Got(fields={"date": "Sun, 06 Nov 1994 08:49:37 GMT"}),
        closed=False,
    ),
    reply(
        "via-appended",
        "RFC 9110 §7.6.3",
        ok(b"Via: 1.1 inner", b"Content-Length: 0"),
        Got(fields={"via": lambda v: ", ".join(v) == "1.1 inner, 1.1 dao"}),
        closed=False,
    ),
    *(
        bad_gateway(f"field-{name}", "RFC 9112 §5", ok(field, b"Content-Length: 2", body=b"ok"))
        for name, field in [
            ("without-colon", b"X"),
            ("name-empty", b": 1"),
            ("name-with-space", b"X Y: 1"),
            ("name-with-control", b"X\x01: 1"),
            ("name-with-obs-text", b"X\xe4: 1"),
            ("value-nul", b"X: \0"),
            ("value-control", b"X: a\x01b"),
            ("value-delete", b"X: a\x7fb"),
            ("value-bare-cr", b"X: a\rSet-Cookie: b"),
            ("bare-lf", b"X: a\nSet-Cookie: b"),
            ("folded", b"X: a\r\n b"),
            ("space-first", b" X: 1"),
        ]
    ),
    bad_gateway("head-ends-bare-lf", "RFC 9112 §2.2", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok"),
    bad_gateway(
        "head-too-large",
        "RFC 9209 §2.3",
        ok(b"X: " + b"v" * 70000),
        error="http_response_header_section_size",
    ),
    bad_gateway(
        "head-too-large-by-count",
        "RFC 9209 §2.3",
        ok(*(b"X: %d" % n for n in range(1000))),
        error="http_response_header_section_size",
        world="limited",
    ),
    bad_gateway(
        "head-too-large-for-configured",
        "RFC 9209 §2.3",
        ok(b"X: " + b"v" * 5000),
        error="http_response_header_section_size",
        world="limited",
    ),
]

FRAMING = [
    *(
        bad_gateway(f"framing-{name}", rfc, ok(*fields, body=b"5\r\nhello\r\n0\r\n\r\n"))
        for name, rfc, fields in [
            ("cl-te", "RFC 9112 §6.3", (b"Content-Length: 15", CHUNKED)),
            ("te-cl", "RFC 9112 §6.3", (CHUNKED, b"Content-Length: 5")),
            ("two-lengths", "RFC 9112 §6.3", (b"Content-Length: 5", b"Content-Length: 15")),
            ("list-of-lengths", "RFC 9112 §6.3", (b"Content-Length: 5, 15",)),
            ("length-negative", "RFC 9112 §6.3", (b"Content-Length: -1",)),
            ("length-plus", "RFC 9112 §6.3", (b"Content-Length: +15",)),
            ("length-hex", "RFC 9112 §6.3", (b"Content-Length: 0xf",)),
            ("length-word", "RFC 9112 §6.3", (b"Content-Length: abc",)),
            ("length-empty", "RFC 9112 §6.3", (b"Content-Length:",)),
            ("length-overflow", "RFC 9112 §6.3", (b"Content-Length: 18446744073709551631",)),
            ("te-unknown", "RFC 9112 §6.3", (b"Transfer-Encoding: xchunked",)),
            ("te-gzip-chunked", "RFC 9112 §6.3", (b"Transfer-Encoding: gzip, chunked",)),
            ("te-not-final", "RFC 9112 §6.3", (b"Transfer-Encoding: chunked, gzip",)),
            ("te-twice", "RFC 9112 §6.3", (CHUNKED, CHUNKED)),
            ("te-empty", "RFC 9112 §6.3", (b"Transfer-Encoding:",)),
        ]
    ),
    bad_gateway("framing-te-in-1.0", "RFC 9112 §6.1", message(b"HTTP/1.0 200 OK", CHUNKED, body=b"0\r\n\r\n")),
    *(
        reply(
            f"chunk-{name}",
            "RFC 9112 §7.1",
            (ok(CHUNKED, body=body), CLOSE),
            Got((200, 502), complete=None),
            model=False,
            segments=4096,
        )
        for name, body in [
            ("size-bad", b"5\r\nhello\r\nzz\r\n"),
            ("size-0x", b"5\r\nhello\r\n0x1\r\nX\r\n0\r\n\r\n"),
            ("size-overflow", b"5\r\nhello\r\n10000000000000001\r\nX\r\n0\r\n\r\n"),
            ("data-without-crlf", b"5\r\nhelloX0\r\n\r\n"),
            ("bare-lf", b"5\r\nhello\r\n0\n\n"),
            ("cut-in-data", b"a\r\nhello"),
            ("cut-before-end", b"5\r\nhello\r\n"),
            ("cut-in-trailers", b"5\r\nhello\r\n0\r\nX: 1\r\n"),
            ("trailer-bad", b"5\r\nhello\r\n0\r\nX : 1\r\n\r\n"),
        ]
    ),
    reply(
        "length-cut-short",
        "RFC 9112 §8",
        (ok(b"Content-Length: 10", body=b"hello"), CLOSE),
        Got((200, 502), complete=None),
        model=False,
    ),
]

INTERIM = [
    reply(
        "100-unasked-forwarded",
        "RFC 9110 §15.2",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        Got(body=b"ok", interim=(100,)),
        closed=False,
        model=False,
    ),
    reply(
        "102-forwarded",
        "RFC 9110 §15.2",
        b"HTTP/1.1 102 Processing\r\n\r\n" + OK,
        Got(body=b"ok", interim=(102,)),
        closed=False,
        model=False,
    ),
    reply(
        "103-forwarded",
        "RFC 8297 §2",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" + OK,
        Got(body=b"ok", interim=(103,)),
        closed=False,
        model=False,
    ),
    reply(
        "103-loses-hop-by-hop",
        "RFC 9110 §7.6.1",
        b"HTTP/1.1 103 Early Hints\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\n"
        b"Link: <a>\r\n\r\n" + OK,
        Got(body=b"ok", interim=(103,)),
        closed=False,
        model=False,
    ),
    reply(
        "several-1xx-in-order",
        "RFC 9110 §15.2",
        b"HTTP/1.1 103 A\r\nLink: <a>\r\n\r\nHTTP/1.1 102 B\r\n\r\nHTTP/1.1 103 C\r\nLink: <c>\r\n\r\n"
        b"HTTP/1.1 199 D\r\n\r\n" + OK,
        Got(body=b"ok", interim=(103, 102, 103, 199)),
        closed=False,
        model=False,
    ),
    reply(
        "1xx-not-to-1.0",
        "RFC 9110 §15.2",
        b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK,
        Got(body=b"ok", interim=()),
        send=get(version=b"1.0"),
        closed=True,
        model=False,
    ),
    reply(
        "1xx-at-the-limit",
        "RFC 9110 §15.2",
        b"HTTP/1.1 103 A\r\n\r\n" * 4 + OK,
        Got(body=b"ok", interim=(103,) * 4),
        closed=False,
        model=False,
        world="limited",
    ),
    reply(
        "1xx-flood",
        "RFC 9110 §15.2",
        (b"HTTP/1.1 103 A\r\n\r\n" * 100 + OK, CLOSE),
        Got(502, error="http_protocol_error"),
        model=False,
    ),
    reply(
        "1xx-flood-limited",
        "RFC 9110 §15.2",
        (b"HTTP/1.1 103 A\r\n\r\n" * 5 + OK, CLOSE),
        Got(502, error="http_protocol_error"),
        model=False,
        world="limited",
    ),
    reply(
        "1xx-with-length",
        "RFC 9110 §8.6",
        (b"HTTP/1.1 103 A\r\nContent-Length: 5\r\n\r\n" + OK, CLOSE),
        Got((200, 502)),
        model=False,
    ),
    bad_gateway(
        "101-unasked",
        "RFC 9110 §15.2.2",
        message(b"HTTP/1.1 101 Switching Protocols", b"Connection: upgrade", b"Upgrade: x"),
    ),
    bad_gateway("1xx-then-garbage", "RFC 9112 §4", b"HTTP/1.1 103 A\r\n\r\nHELLO\r\n\r\n", model=False),
    bad_gateway(
        "1xx-then-close",
        "RFC 9112 §8",
        b"HTTP/1.1 102 A\r\n\r\n",
        error="(connection_terminated|http_response_incomplete)",
        model=False,
    ),
]

EARLY_ANSWERS = [
    Case(
        "answer-before-the-body",
        "RFC 9112 §9.5",
        post(b"Content-Length: 5", body=b"hello"),
        seen=(Seen(complete=False),),
        got=(Got(403, body=b"no"),),
        answers=((EARLY, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", READ_BODY),),
        model=False,
    ),
    Case(
        "answer-and-close-before-the-body",
        "RFC 9112 §9.5",
        post(b"Content-Length: 300000", body=b"x" * 300000),
        seen=(Seen(complete=False),),
        got=(Got((403, 502)),),
        answers=((EARLY, b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", CLOSE),),
        model=False,
        segments=50000,
    ),
]

RUNS, IDS = parametrized([*BODIES, *NO_BODY, *STATUS_LINES, *FIELDS, *FRAMING, *INTERIM, *EARLY_ANSWERS])


@pytest.mark.parametrize(("case", "segment"), RUNS, ids=IDS)
def test_responses(case: Case, segment: int | None, worlds: Worlds) -> None:
    run(case, worlds, segment)


def test_broken_chunked_answer_never_looks_complete(worlds: Worlds) -> None:
    """RFC 9112 §8: the client must be able to tell that a body was cut, whatever was forwarded before the flaw."""
    world = worlds.get("plain")
    marker = new_marker()
    world.origins["a"].answer(marker, ok(CHUNKED, body=b"5\r\nhello\r\nzz\r\n"), CLOSE)
    with RawClient(world.dao.address) as client:
        response = client.exchange(get(target=f"/{marker}".encode()))
        assert response.status == 502 or not response.complete
        if response.status != 502:
            client.expect_ended()


# Answers after which the connection to the origin is in doubt: what follows must go over another one, and the excess
# bytes must never be taken for its answer (response splitting).
EXCESS = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
POISONED = {
    "after-length": ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + EXCESS, b"ok"),
    "after-length-0": ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + EXCESS, b""),
    "after-chunked": (
        "GET",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + EXCESS,
        b"ok",
    ),
    "after-204": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n" + EXCESS, b""),
    "after-204-with-length": ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 75\r\n\r\n" + EXCESS, b""),
    "after-304": ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\n" + EXCESS, b""),
    "after-head": ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n" + EXCESS, b""),
    "one-byte": ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokX", b"ok"),
    "one-crlf": ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n", b"ok"),
}


@pytest.mark.parametrize("name", POISONED)
def test_excess_bytes_never_answer_another_request(name: str, worlds: Worlds) -> None:
    """RFC 9112 §9.3: bytes after a response that nobody asked for; the connection is not used again."""
    method, answer, body = POISONED[name]
    world = worlds.get("plain")
    origin = world.origins["a"]
    for _ in range(5):
        first, second = new_marker(), new_marker()
        origin.answer(first, answer)
        with RawClient(world.dao.address) as client:
            response = client.exchange(message(f"{method} /{first} HTTP/1.1".encode(), b"Host: a.test"))
            assert response.body == body
            after = client.exchange(get(target=f"/{second}".encode()))
            assert (after.status, after.body) == (200, b"ok")
        used = origin.seen(first)[0].connection
        assert origin.seen(second)[0].connection != used, "a connection with unread bytes was used again"


def test_good_connection_is_used_again(worlds: Worlds) -> None:
    """RFC 9112 §9.3: the counterpart of the above; without it the above could pass by never pooling."""
    world = worlds.get("plain")
    origin = world.origins["a"]
    marker = new_marker()
    with RawClient(world.dao.address) as client:
        for _ in range(10):
            assert client.exchange(get(target=f"/{marker}".encode())).status == 200
    assert len({request.connection for request in origin.seen(marker)}) == 1
