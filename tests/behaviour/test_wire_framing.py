"""Message framing and smuggling: which bytes are the body, and no second opinion (RFC 9112 sections 6 and 7)."""

from __future__ import annotations

import pytest

from lib.wire import Case, Got, Seen, TAIL, Worlds, forward, get, message, parametrized, post, reject, run

CHUNKED = b"Transfer-Encoding: chunked"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"

BOTH = [
    reject("cl-te", "RFC 9112 §6.1", post(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n" + TAIL)),
    reject("te-cl", "RFC 9112 §6.1", post(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n" + TAIL)),
    reject("cl-te-that-agree", "RFC 9112 §6.1", post(b"Content-Length: 15", CHUNKED, body=HELLO)),
    reject("cl-0-te", "RFC 9112 §6.1", post(b"Content-Length: 0", CHUNKED, body=HELLO)),
    reject("get-cl-te", "RFC 9112 §6.1", get(b"Content-Length: 5", CHUNKED) + b"0\r\n\r\n" + TAIL),
    reject(
        "cl-unknown-te", "RFC 9112 §6.1", post(b"Content-Length: 5", b"Transfer-Encoding: x", body=b"hello"), (400, 501)
    ),
    reject("cl-te-in-1.0", "RFC 9112 §6.1", post(b"Content-Length: 5", CHUNKED, body=HELLO, version=b"1.0")),
]

LENGTHS = [
    forward("cl", "RFC 9112 §6.2", post(b"Content-Length: 5", body=b"hello"), Seen(body=b"hello")),
    forward("cl-0", "RFC 9112 §6.2", post(b"Content-Length: 0"), Seen(body=b"", fields={"content-length": "0"})),
    forward("cl-tab-and-spaces-around", "RFC 9110 §5.5", post(b"Content-Length:\t 5 \t", body=b"hello")),
    forward("cl-name-in-any-case", "RFC 9110 §5.1", post(b"cOnTeNt-LeNgTh: 5", body=b"hello")),
    forward("cl-binary-body", "RFC 9112 §6.2", post(b"Content-Length: 256", body=bytes(range(256)))),
    forward("cl-100k-body", "RFC 9112 §6.2", post(b"Content-Length: 100000", body=b"x" * 100000), segments=7000),
    forward("no-framing-no-body", "RFC 9112 §6.3", post(), Seen(body=b"", fields={"content-length": None})),
    forward(
        "body-that-looks-like-a-request",
        "RFC 9112 §6.3",
        post(b"Content-Length: 41", body=TAIL),
        Seen(target="/CASE", body=TAIL),
    ),
    forward("get-with-body", "RFC 9110 §9.3.1", get(b"Content-Length: 5") + b"hello", Seen(body=b"hello")),
    forward("get-with-chunked-body", "RFC 9110 §9.3.1", get(CHUNKED) + HELLO, Seen(body=b"hello")),
    forward(
        "delete-with-body",
        "RFC 9110 §9.3.5",
        message(b"DELETE /CASE HTTP/1.1", b"Host: a.test", b"Content-Length: 5", body=b"hello"),
        Seen(body=b"hello"),
    ),
    forward(
        "head-with-body",
        "RFC 9110 §9.3.2",
        message(b"HEAD /CASE HTTP/1.1", b"Host: a.test", b"Content-Length: 5", body=b"hello"),
        Seen(body=b"hello"),
        got=Got(body=b""),
    ),
    forward("cl-in-1.0", "RFC 9112 §6.2", post(b"Content-Length: 5", body=b"hello", version=b"1.0"), closed=True),
    forward(
        "get-body-is-not-the-next-request",
        "RFC 9112 §6.3",
        get(b"Content-Length: 41") + TAIL + get(target=b"/CASE/2"),
        Seen(target="/CASE", body=TAIL),
        Seen(target="/CASE/2"),
    ),
    Case(
        "body-cut-short",
        "RFC 9112 §8",
        post(b"Content-Length: 10", body=b"hello"),
        got=(),
        cut_ok=True,
        closed=True,
        half_close=True,
    ),
    reject("cl-duplicate-equal", "RFC 9112 §6.3", post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello")),
    reject(
        "cl-duplicate-different",
        "RFC 9112 §6.3",
        post(b"Content-Length: 0", b"Content-Length: 41", body=TAIL),
    ),
    reject("cl-duplicate-other-case", "RFC 9112 §6.3", post(b"Content-Length: 0", b"content-length: 41", body=TAIL)),
    *(
        reject(f"cl-{name}", "RFC 9112 §6.3", post(b"Content-Length: " + value, body=b"hello" + TAIL), status)
        for name, value, status in [
            ("list-equal", b"5, 5", 400),
            ("list-different", b"5, 6", 400),
            ("list-no-space", b"5,5", 400),
            ("trailing-comma", b"5,", 400),
            ("leading-comma", b",5", 400),
            ("empty", b"", 400),
            ("plus", b"+5", 400),
            ("minus", b"-5", 400),
            ("minus-zero", b"-0", 400),
            ("hex", b"0x5", 400),
            ("hex-letter", b"a", 400),
            ("exponent", b"5e0", 400),
            ("fraction", b"5.0", 400),
            ("underscore", b"4_7", 400),
            ("inner-space", b"4 7", 400),
            ("inner-tab", b"4\t7", 400),
            ("vertical-tab", b"\x0b5", 400),
            ("nul", b"5\x00", 400),
            ("semicolon", b"5;q=1", 400),
            ("quoted", b'"5"', 400),
            ("words", b"five", 400),
            ("wide-digit", "\uff15".encode(), 400),
            ("arabic-digit", "\u0665".encode(), 400),
            ("2-to-the-63", b"9223372036854775808", (400, 413)),
            ("2-to-the-64", b"18446744073709551616", (400, 413)),
            ("2-to-the-64-plus-5", b"18446744073709551621", (400, 413)),
            ("thirty-digits", b"9" * 30, (400, 413)),
        ]
    ),
    reject("cl-space-before-colon", "RFC 9112 §5.1", post(b"Content-Length : 47", body=TAIL)),
    reject("cl-folded", "RFC 9112 §5.2", post(b"Content-Length:", b" 47", body=TAIL)),
    reject("cl-after-bare-lf", "RFC 9112 §2.2", post(b"X: 1\nContent-Length: 41", body=TAIL)),
]

CODINGS = [
    forward("te-chunked", "RFC 9112 §7.1", post(CHUNKED, body=HELLO), Seen(body=b"hello")),
    forward("te-in-any-case", "RFC 9112 §7", post(b"transfer-ENCODING: ChunKED", body=HELLO), Seen(body=b"hello")),
    forward("te-outer-space", "RFC 9112 §5.1", post(b"Transfer-Encoding: \t chunked \t", body=HELLO)),
    *(
        reject(f"te-{name}", "RFC 9112 §6.1", post(b"Transfer-Encoding: " + value, body=HELLO + TAIL), status)
        for name, value, status in [
            ("unknown", b"xchunked", 501),
            ("prefix", b"chunke", 501),
            ("gzip-chunked", b"gzip, chunked", (400, 501)),
            ("gzip", b"gzip", (400, 501)),
            ("identity", b"identity", (400, 501)),
            ("identity-chunked", b"identity, chunked", (400, 501)),
            ("chunked-identity", b"chunked, identity", 400),
            ("chunked-gzip", b"chunked, gzip", 400),
            ("chunked-twice", b"chunked, chunked", 400),
            ("chunked-parameter", b"chunked;q=1", (400, 501)),
            ("quoted", b'"chunked"', 400),
            ("single-quoted", b"'chunked'", (400, 501)),
            ("empty", b"", (400, 501)),
            ("only-comma", b",", (400, 501)),
            ("trailing-comma", b"chunked,", (400, 501)),
            ("leading-comma", b", chunked", (400, 501)),
            ("space-inside", b"chun ked", 400),
            ("two-words", b"chunked chunked", 400),
            ("tab-word", b"chunked\tx", 400),
            ("vertical-tab-first", b"\x0bchunked", 400),
            ("vertical-tab-last", b"chunked\x0b", 400),
            ("form-feed", b"chunked\x0c", 400),
            ("nul-last", b"chunked\0", 400),
            ("obs-text", b"chunked\xa0", 400),
            ("bare-cr", b"\rchunked", 400),
            ("bare-lf", b"\nchunked", 400),
            ("semicolon", b"chunked;", (400, 501)),
            ("colon", b": chunked", 400),
            ("long-s", "\u017fchunked".encode(), 400),
            ("kelvin-sign", "chun\u212aed".encode(), 400),
        ]
    ),
    reject("te-twice", "RFC 9112 §6.1", post(CHUNKED, CHUNKED, body=HELLO + TAIL)),
    reject("te-chunked-then-identity", "RFC 9112 §6.1", post(CHUNKED, b"Transfer-Encoding: identity", body=HELLO)),
    reject("te-x-then-chunked", "RFC 9112 §6.1", post(b"Transfer-Encoding: x", CHUNKED, body=HELLO), (400, 501)),
    reject("te-and-empty-te", "RFC 9112 §6.1", post(CHUNKED, b"Transfer-Encoding:", body=HELLO), (400, 501)),
    reject("te-in-1.0", "RFC 9112 §6.1", post(CHUNKED, body=HELLO + TAIL, version=b"1.0")),
    reject(
        "te-in-1.0-keep-alive",
        "RFC 9112 §6.1",
        post(CHUNKED, b"Connection: keep-alive", body=HELLO, version=b"1.0"),
    ),
    reject("te-space-before-colon", "RFC 9112 §5.1", post(b"Transfer-Encoding : chunked", body=HELLO)),
    reject("te-tab-before-colon", "RFC 9112 §5.1", post(b"Transfer-Encoding\t: chunked", body=HELLO)),
    reject("te-space-before-name", "RFC 9112 §5.2", post(b"X: 1", b" Transfer-Encoding: chunked", body=HELLO)),
    reject("te-folded", "RFC 9112 §5.2", post(b"Transfer-Encoding:", b" chunked", body=HELLO)),
    reject("te-folded-tab", "RFC 9112 §5.2", post(b"Transfer-Encoding:", b"\tchunked", body=HELLO)),
    reject("te-folded-second-coding", "RFC 9112 §5.2", post(CHUNKED, b" , identity", body=HELLO)),
    reject("te-after-bare-cr", "RFC 9112 §2.2", post(b"X: 1\rTransfer-Encoding: chunked", body=HELLO)),
    reject("te-after-bare-lf", "RFC 9112 §2.2", post(b"X: 1\nTransfer-Encoding: chunked", body=HELLO)),
    reject("te-nul-in-name", "RFC 9110 §5.1", post(b"Transfer\0-Encoding: chunked", body=HELLO)),
    forward(
        "te-with-underscore-is-no-framing",
        "RFC 9110 §5.1",
        post(b"Transfer_Encoding: chunked", b"Content-Length: 15", body=HELLO),
        Seen(body=HELLO, fields={"transfer_encoding": "chunked"}),
    ),
    forward(
        "content-encoding-is-no-framing",
        "RFC 9110 §8.4",
        post(b"Content-Encoding: chunked", b"Content-Length: 5", body=b"hello"),
    ),
    forward(
        "connection-cannot-strip-content-length",
        "RFC 9110 §7.6.1",
        post(b"Connection: content-length", b"Content-Length: 41", body=TAIL),
        Seen(body=TAIL),
    ),
    forward(
        "connection-cannot-strip-transfer-encoding",
        "RFC 9110 §7.6.1",
        post(b"Connection: transfer-encoding", CHUNKED, body=HELLO),
        Seen(body=b"hello"),
    ),
]


def chunks(body: bytes, *fields: bytes) -> bytes:
    return post(CHUNKED, *fields, body=body)


CHUNKS = [
    forward("chunked-empty", "RFC 9112 §7.1", chunks(b"0\r\n\r\n"), Seen(body=b"")),
    forward(
        "chunked-several",
        "RFC 9112 §7.1",
        chunks(b"1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n"),
        Seen(body=b"abcdef"),
    ),
    forward("chunk-size-hex-case", "RFC 9112 §7.1", chunks(b"a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n")),
    forward("chunk-size-leading-zeros", "RFC 9112 §7.1", chunks(b"0005\r\nhello\r\n0\r\n\r\n"), Seen(body=b"hello")),
    forward("chunk-size-16-digits", "RFC 9112 §7.1", chunks(b"0000000000000005\r\nhello\r\n0\r\n\r\n")),
    forward("last-chunk-many-zeros", "RFC 9112 §7.1", chunks(b"5\r\nhello\r\n0000\r\n\r\n"), Seen(body=b"hello")),
    forward(
        "chunk-data-is-opaque",
        "RFC 9112 §7.1",
        chunks(b"9\r\n0\r\n\r\nGET \r\n0\r\n\r\n"),
        Seen(body=b"0\r\n\r\nGET "),
    ),
    forward("chunk-100k", "RFC 9112 §7.1", chunks(b"186a0\r\n" + b"x" * 100000 + b"\r\n0\r\n\r\n"), segments=7001),
    forward("chunks-1000-of-one", "RFC 9112 §7.1", chunks(b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"), segments=333),
    forward(
        "chunk-extension-dropped",
        "RFC 9112 §7.1.1",
        chunks(b"5;a=b;c\r\nhello\r\n0;last\r\n\r\n"),
        Seen(body=b"hello"),
    ),
    forward("chunk-extension-quoted", "RFC 9112 §7.1.1", chunks(b'5;a="x;y, \\"z"\r\nhello\r\n0\r\n\r\n')),
    forward("chunk-extension-900-bytes", "RFC 9112 §7.1.1", chunks(b"5;a=" + b"x" * 900 + b"\r\nhello\r\n0\r\n\r\n")),
    forward(
        "chunked-then-next-request",
        "RFC 9112 §7.1",
        post(CHUNKED, body=HELLO) + get(target=b"/CASE/2"),
        Seen(target="/CASE", body=b"hello"),
        Seen(target="/CASE/2"),
    ),
    *(
        reject(f"chunk-{name}", "RFC 9112 §7.1", chunks(body + TAIL), cut_ok=True)
        for name, body in [
            ("size-0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
            ("size-underscore", b"5_0\r\nhello\r\n0\r\n\r\n"),
            ("size-plus", b"+5\r\nhello\r\n0\r\n\r\n"),
            ("size-minus", b"-5\r\nhello\r\n0\r\n\r\n"),
            ("size-minus-zero", b"-0\r\n\r\n"),
            ("size-empty", b"\r\nhello\r\n0\r\n\r\n"),
            ("size-not-hex", b"g\r\nhello\r\n0\r\n\r\n"),
            ("size-comma", b"5,5\r\nhello\r\n0\r\n\r\n"),
            ("size-dot", b"5.\r\nhello\r\n0\r\n\r\n"),
            ("size-space-before", b" 5\r\nhello\r\n0\r\n\r\n"),
            ("size-space-after", b"5 \r\nhello\r\n0\r\n\r\n"),
            ("size-tab-after", b"5\t\r\nhello\r\n0\r\n\r\n"),
            ("size-vertical-tab", b"\x0b5\r\nhello\r\n0\r\n\r\n"),
            ("size-nul", b"5\0\r\nhello\r\n0\r\n\r\n"),
            ("size-inner-space", b"0 5\r\nhello\r\n0\r\n\r\n"),
            ("size-wide-digit", "\uff15\r\nhello\r\n0\r\n\r\n".encode()),
            ("size-17-digits", b"00000000000000005\r\nhello\r\n0\r\n\r\n"),
            ("size-2-to-the-63", b"8000000000000000\r\nhello\r\n0\r\n\r\n"),
            ("size-2-to-the-64-less-1", b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
            ("size-wraps-to-5", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
            ("size-colon", b"5:\r\nhello\r\n0\r\n\r\n"),
            ("extension-only", b";a=b\r\nhello\r\n0\r\n\r\n"),
            ("extension-bare-lf", b"5;a\nhello\r\n0\r\n\r\n"),
            ("extension-bare-cr", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
            ("extension-quoted-lf", b'5;a="\n"\r\nhello\r\n0\r\n\r\n'),
            ("extension-nul", b"5;a\0\r\nhello\r\n0\r\n\r\n"),
            ("extension-control", b"5;a\x01\r\nhello\r\n0\r\n\r\n"),
            ("extension-too-long", b"5;a=" + b"x" * 1100 + b"\r\nhello\r\n0\r\n\r\n"),
            ("last-extension-bare-lf", b"5\r\nhello\r\n0;a\n\r\n"),
            ("size-bare-lf", b"5\nhello\r\n0\r\n\r\n"),
            ("size-bare-cr", b"5\rhello\r\n0\r\n\r\n"),
            ("size-cr-cr-lf", b"5\r\r\nhello\r\n0\r\n\r\n"),
            ("data-without-crlf", b"5\r\nhello0\r\n\r\n"),
            ("data-too-long", b"5\r\nhelloX\r\n0\r\n\r\n"),
            ("data-ends-bare-lf", b"5\r\nhello\n0\r\n\r\n"),
            ("data-ends-bare-cr", b"5\r\nhello\r0\r\n\r\n"),
            ("data-ends-lf-cr", b"5\r\nhello\n\r0\r\n\r\n"),
            ("data-short", b"6\r\nhello\r\n0\r\n\r\n"),
            ("last-bare-lf", b"5\r\nhello\r\n0\n\r\n"),
            ("end-bare-lf", b"5\r\nhello\r\n0\r\n\n"),
            ("end-bare-cr", b"5\r\nhello\r\n0\r\n\rX"),
            ("end-missing", b"5\r\nhello\r\n0\r\n"),
        ]
    ),
    Case(
        "chunked-cut-before-the-end",
        "RFC 9112 §8",
        chunks(b"5\r\nhello\r\n0\r\n"),
        cut_ok=True,
        closed=True,
        half_close=True,
    ),
    Case(
        "chunked-cut-in-data",
        "RFC 9112 §8",
        chunks(b"a\r\nhello"),
        cut_ok=True,
        closed=True,
        half_close=True,
    ),
]

TRAILERS = [
    forward(
        "trailers",
        "RFC 9110 §6.5",
        chunks(b"5\r\nhello\r\n0\r\nX-Sum: 42\r\nX-Other: a b\r\n\r\n", b"Trailer: X-Sum"),
        Seen(body=b"hello", trailers={"x-sum": "42", "x-other": "a b"}, fields={"x-sum": None}),
    ),
    forward("trailer-empty-value", "RFC 9110 §6.5", chunks(b"0\r\nX:\r\n\r\n"), Seen(trailers={"x": ""})),
    forward(
        "trailers-are-not-merged",
        "RFC 9110 §6.5.1",
        chunks(b"0\r\nX: trailer\r\n\r\n", b"X: head"),
        Seen(fields={"x": "head"}, trailers={"x": "trailer"}),
    ),
    forward(
        "trailer-nominated-by-connection-dropped",
        "RFC 9110 §7.6.1",
        chunks(b"0\r\nX-Hop: 1\r\nX-End: 2\r\n\r\n", b"Connection: X-Hop"),
        Seen(trailers={"x-end": "2"}),
    ),
    *(
        forward(
            f"trailer-{name.decode().lower()}-dropped",
            "RFC 9110 §6.5.1",
            chunks(b"5\r\nhello\r\n0\r\nX: 1\r\n" + name + b": " + value + b"\r\n\r\n"),
            Seen(body=b"hello", trailers={"x": "1"}, fields=None if name == b"Host" else {name.decode(): check}),
        )
        for name, value, check in [
            (b"Content-Length", b"47", None),
            (b"Transfer-Encoding", b"chunked", lambda values: values in ([], ["chunked"])),
            (b"Host", b"evil.test", None),
            (b"Authorization", b"Basic eA==", None),
            (b"Connection", b"X", lambda values: "X" not in values),
            (b"Proxy-Authorization", b"Basic eA==", None),
            (b"Content-Type", b"text/html", None),
            (b"Content-Encoding", b"gzip", None),
            (b"Trailer", b"X", None),
            (b"TE", b"trailers", None),
            (b"Max-Forwards", b"1", None),
            (b"Expect", b"100-continue", None),
        ]
    ),
    *(
        reject(f"trailer-{name}", "RFC 9112 §7.1.2", chunks(b"5\r\nhello\r\n0\r\n" + lines + TAIL), cut_ok=True)
        for name, lines in [
            ("space-before-colon", b"X : 1\r\n\r\n"),
            ("fold", b"X: 1\r\n 2\r\n\r\n"),
            ("space-first", b" X: 1\r\n\r\n"),
            ("without-colon", b"X\r\n\r\n"),
            ("name-empty", b": 1\r\n\r\n"),
            ("name-invalid", b"X(: 1\r\n\r\n"),
            ("nul", b"X: \0\r\n\r\n"),
            ("bare-lf", b"X: 1\n\r\n"),
            ("bare-cr", b"X: 1\r2\r\n\r\n"),
            ("end-bare-lf", b"X: 1\r\n\n"),
            ("is-a-request-line", b""),
        ]
    ),
]

RUNS, IDS = parametrized([*BOTH, *LENGTHS, *CODINGS, *CHUNKS, *TRAILERS])


@pytest.mark.parametrize(("case", "segment"), RUNS, ids=IDS)
def test_framing(case: Case, segment: int | None, worlds: Worlds) -> None:
    run(case, worlds, segment)
