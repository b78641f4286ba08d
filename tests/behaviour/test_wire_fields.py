"""Field syntax: names, values, white space, folding, control bytes, line ends (RFC 9110 and RFC 9112, section 5)."""

from __future__ import annotations

import pytest

from lib.wire import Seen, TAIL, Worlds, forward, get, parametrized, reject, run

NAMES = [
    forward(
        "name-of-every-tchar",
        "RFC 9110 §5.6.2",
        get(b"X!#$%&'*+-.^_`|~09: value"),
        Seen(fields={"x!#$%&'*+-.^_`|~09": "value"}),
    ),
    forward("name-of-one-letter", "RFC 9110 §5.1", get(b"X: 1"), Seen(fields={"x": "1"})),
    forward("name-with-underscore-kept", "RFC 9110 §5.1", get(b"X_Y: 1", b"X-Y: 2")),
    *(
        reject(f"name-with-byte-{byte:02x}", "RFC 9110 §5.6.2", get(b"X" + bytes([byte]) + b"Y: 1"))
        for byte in b'"(),/;<=>?@[\\]{} \t\0\x01\x0b\x1f\x7f\x80\xff'
    ),
    reject("name-empty", "RFC 9112 §5", get(b": 1")),
    reject("name-only-space", "RFC 9112 §5", get(b" : 1")),
    reject("colon-missing", "RFC 9112 §5", get(b"X-Flag")),
    reject("colon-missing-in-framing", "RFC 9112 §5", get(b"Content-Length 5")),
    reject("line-of-spaces", "RFC 9112 §5", get(b"   ")),
    reject("space-before-colon", "RFC 9112 §5.1", get(b"X : 1")),
    reject("tab-before-colon", "RFC 9112 §5.1", get(b"X\t: 1")),
    reject("space-before-colon-in-host", "RFC 9112 §5.1", b"GET /CASE HTTP/1.1\r\nHost : a.test\r\n\r\n"),
    reject("space-before-first-field", "RFC 9112 §2.2", b"GET /CASE HTTP/1.1\r\n X: 1\r\nHost: a.test\r\n\r\n"),
    reject("tab-before-first-field", "RFC 9112 §2.2", b"GET /CASE HTTP/1.1\r\n\tHost: a.test\r\n\r\n"),
]

VALUES = [
    forward("value-empty", "RFC 9110 §5.5", get(b"X:"), Seen(fields={"x": ""})),
    forward("value-only-space", "RFC 9110 §5.5", get(b"X: \t "), Seen(fields={"x": ""})),
    forward("value-outer-space-is-not-part", "RFC 9112 §5.1", get(b"X: \t a b\t "), Seen(fields={"x": "a b"})),
    forward("value-without-space", "RFC 9112 §5.1", get(b"X:1"), Seen(fields={"x": "1"})),
    forward("value-with-inner-tab", "RFC 9110 §5.5", get(b"X: a\tb"), Seen(fields={"x": "a\tb"})),
    forward("value-with-colons", "RFC 9110 §5.5", get(b"X: a: b: c"), Seen(fields={"x": "a: b: c"})),
    forward(
        "value-with-obs-text",
        "RFC 9110 §5.5",
        get(b"X: " + bytes(range(0x80, 0x100))),
        Seen(fields={"x": bytes(range(0x80, 0x100)).decode("latin-1")}),
    ),
    forward("value-of-every-vchar", "RFC 9110 §5.5", get(b"X: " + bytes(range(0x21, 0x7F)))),
    forward("value-quoted-string", "RFC 9110 §5.6.4", get(b'X: "a, \\"b\\"", c')),
    forward("value-long", "RFC 9110 §5.4", get(b"X: " + b"v" * 20000), segments=4096),
    forward(
        "values-repeated-keep-order",
        "RFC 9110 §5.3",
        get(b"X: 1", b"Y: a", b"X: 2", b"x: 3"),
        Seen(fields={"x": ["1", "2", "3"], "y": "a"}),
    ),
    forward("cookies-kept-apart", "RFC 9110 §5.3", get(b"Cookie: a=1", b"Cookie: b=2")),
    *(
        reject(f"value-with-byte-{byte:02x}", "RFC 9110 §5.5", get(b"X: a" + bytes([byte]) + b"b"))
        for byte in b"\0\x01\x07\x08\x0b\x0c\x0e\x1b\x1f\x7f"
    ),
    reject("value-ends-with-nul", "RFC 9110 §5.5", get(b"X: a\0")),
]

FOLDING = [
    reject("fold-with-space", "RFC 9112 §5.2", get(b"X: a", b" b")),
    reject("fold-with-tab", "RFC 9112 §5.2", get(b"X: a", b"\tb")),
    reject("fold-of-empty-value", "RFC 9112 §5.2", get(b"X:", b" b")),
    reject("fold-of-host", "RFC 9112 §5.2", b"GET /CASE HTTP/1.1\r\nHost:\r\n a.test\r\n\r\n"),
    reject("fold-of-last-line-empty", "RFC 9112 §5.2", get(b"X: a", b" ")),
    reject("fold-hides-a-field", "RFC 9112 §5.2", get(b"X: a", b" Content-Length: 40") + TAIL),
]

LINE_ENDS = [
    reject("bare-lf-ends-field", "RFC 9112 §2.2", b"GET /CASE HTTP/1.1\r\nHost: a.test\nX: 1\r\n\r\n"),
    reject("bare-lf-ends-head", "RFC 9112 §2.2", b"GET /CASE HTTP/1.1\r\nHost: a.test\r\n\n"),
    reject("lf-lf-ends-head", "RFC 9112 §2.2", b"GET /CASE HTTP/1.1\r\nHost: a.test\n\n"),
    reject("bare-cr-in-value", "RFC 9112 §2.2", get(b"X: a\rb")),
    reject("bare-cr-hides-a-field", "RFC 9112 §2.2", get(b"X: a\rContent-Length: 40") + TAIL),
    reject("bare-lf-hides-a-field", "RFC 9112 §2.2", get(b"X: a\nContent-Length: 40") + TAIL),
    reject("bare-cr-in-name", "RFC 9112 §2.2", get(b"X\rY: 1")),
    reject("bare-cr-ends-field", "RFC 9112 §2.2", b"GET /CASE HTTP/1.1\r\nHost: a.test\rX: 1\r\n\r\n"),
    reject("cr-cr-lf-ends-field", "RFC 9112 §2.2", b"GET /CASE HTTP/1.1\r\nHost: a.test\r\r\n\r\n"),
    reject("cr-cr-lf-ends-head", "RFC 9112 §2.2", b"GET /CASE HTTP/1.1\r\nHost: a.test\r\n\r\r\n"),
    reject("bare-cr-ends-head", "RFC 9112 §2.2", b"GET /CASE HTTP/1.1\r\nHost: a.test\r\n\rGET / HTTP/1.1\r\n\r\n"),
    reject("lf-cr-is-no-line-end", "RFC 9112 §2.2", b"GET /CASE HTTP/1.1\n\rHost: a.test\n\r\n\r"),
]

RUNS, IDS = parametrized([*NAMES, *VALUES, *FOLDING, *LINE_ENDS])


@pytest.mark.parametrize(("case", "segment"), RUNS, ids=IDS)
def test_fields(case, segment: int | None, worlds: Worlds) -> None:
    run(case, worlds, segment)
