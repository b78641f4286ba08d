"""The request line: method, target, version, white space, line ends (RFC 9112 sections 2.2, 2.3 and 3)."""

from __future__ import annotations

import pytest

from lib.wire import Case, Got, Seen, TAIL, Worlds, forward, get, message, parametrized, reject, run

H = b"Host: a.test"


def line(request_line: bytes, *fields: bytes) -> bytes:
    """A request of that line, with the marker in a field in case the line cannot carry it."""
    return message(request_line, H, b"X-Case: CASE", *fields)


METHODS = [
    *(
        forward(f"method-{method}", "RFC 9110 §9.1", line(method.encode() + b" /CASE HTTP/1.1"))
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "M-SEARCH", "QUERY")
    ),
    forward("method-head", "RFC 9110 §9.3.2", line(b"HEAD /CASE HTTP/1.1"), got=Got(body=b"")),
    forward("method-is-case-sensitive", "RFC 9110 §9.1", line(b"get /CASE HTTP/1.1"), Seen(method="get")),
    forward("method-of-every-tchar", "RFC 9110 §5.6.2", line(b"!#$%&'*+-.^_`|~09AZaz /CASE HTTP/1.1")),
    reject("method-empty", "RFC 9112 §3", line(b" /CASE HTTP/1.1")),
    reject("method-with-at-sign", "RFC 9112 §3.1", line(b"G@T /CASE HTTP/1.1")),
    reject("method-with-parenthesis", "RFC 9112 §3.1", line(b"G(T) /CASE HTTP/1.1")),
    reject("method-with-colon", "RFC 9112 §3.1", line(b"GET: /CASE HTTP/1.1")),
    reject("method-quoted", "RFC 9112 §3.1", line(b'"GET" /CASE HTTP/1.1')),
    reject("method-with-nul", "RFC 9112 §3.1", line(b"G\0T /CASE HTTP/1.1")),
    reject("method-with-obs-text", "RFC 9112 §3.1", line(b"G\xc9T /CASE HTTP/1.1")),
    Case(
        "connect",
        "RFC 9110 §9.3.6",
        line(b"CONNECT a.test:443 HTTP/1.1"),
        got=(
            Got(
                405,
                error="http_request_(error|denied)",
                fields={"allow": lambda values: len(values) == 1},
                method="GET",
            ),
        ),
        closed=True,
    ),
]

TARGETS = [
    forward("target-root", "RFC 9112 §3.2.1", line(b"GET / HTTP/1.1"), Seen(target="/")),
    forward("target-with-query", "RFC 9112 §3.2.1", line(b"GET /CASE?a=1&b=%20?/ HTTP/1.1")),
    forward("target-double-slash-kept", "RFC 9112 §3.2.1", line(b"GET //CASE//x HTTP/1.1")),
    forward("target-dot-segments-kept", "RFC 9112 §3.2.1", line(b"GET /CASE/../x/./y HTTP/1.1")),
    forward("target-percent-encoding-kept", "RFC 9112 §3.2.1", line(b"GET /CASE/%2e%2E/%2F%0d%0a HTTP/1.1")),
    forward("target-sub-delims", "RFC 3986 §3.3", line(b"GET /CASE;v=1/!$&'()*+,=:@-._~ HTTP/1.1")),
    forward("target-empty-query", "RFC 9112 §3.2.1", line(b"GET /CASE? HTTP/1.1")),
    forward(
        "target-absolute", "RFC 9112 §3.2.2", line(b"GET http://a.test/CASE?q HTTP/1.1"), Seen(target="/CASE?q")
    ),
    forward(
        "target-absolute-wins-over-host",
        "RFC 9112 §3.2.2",
        line(b"GET http://b.test:8080/CASE HTTP/1.1"),
        Seen(target="/CASE", fields={"host": "b.test:8080", "x-forwarded-host": "b.test:8080"}),
    ),
    forward("target-absolute-without-path", "RFC 9112 §3.2.1", line(b"GET http://a.test HTTP/1.1"), Seen(target="/")),
    forward(
        "target-absolute-query-only", "RFC 9112 §3.2.1", line(b"GET http://a.test?CASE HTTP/1.1"), Seen(target="/?CASE")
    ),
    forward("target-absolute-scheme-case", "RFC 3986 §3.1", line(b"GET HTTP://a.test/CASE HTTP/1.1")),
    forward(
        "target-absolute-ipv6",
        "RFC 3986 §3.2.2",
        line(b"GET http://[::1]:81/CASE HTTP/1.1"),
        Seen(target="/CASE", fields={"host": "[::1]:81"}),
    ),
    forward("target-asterisk", "RFC 9112 §3.2.4", line(b"OPTIONS * HTTP/1.1"), Seen(target="*")),
    forward(
        "target-options-absolute-without-path",
        "RFC 9112 §3.2.4",
        line(b"OPTIONS http://a.test HTTP/1.1"),
        Seen(target="*"),
    ),
    reject("target-asterisk-for-get", "RFC 9112 §3.2.4", line(b"GET * HTTP/1.1")),
    reject("target-asterisk-and-more", "RFC 9112 §3.2", line(b"OPTIONS *x HTTP/1.1")),
    reject("target-authority-for-get", "RFC 9112 §3.2.3", line(b"GET a.test:80 HTTP/1.1")),
    reject("target-without-slash", "RFC 9112 §3.2", line(b"GET CASE HTTP/1.1")),
    reject("target-missing", "RFC 9112 §3", line(b"GET HTTP/1.1")),
    reject("target-empty", "RFC 9112 §3", line(b"GET  HTTP/1.1")),
    reject("target-backslash-first", "RFC 9112 §3.2", line(b"GET \\CASE HTTP/1.1")),
    reject("target-with-fragment", "RFC 9112 §3.2", line(b"GET /CASE#top HTTP/1.1")),
    reject("target-absolute-with-fragment", "RFC 9112 §3.2", line(b"GET http://a.test/CASE#top HTTP/1.1")),
    reject("target-with-userinfo", "RFC 9110 §4.2.4", line(b"GET http://user@a.test/CASE HTTP/1.1")),
    reject("target-with-password", "RFC 9110 §4.2.4", line(b"GET http://u:p@a.test/CASE HTTP/1.1")),
    reject("target-absolute-empty-host", "RFC 9110 §4.2.1", line(b"GET http:///CASE HTTP/1.1")),
    reject("target-absolute-only-port", "RFC 9110 §4.2.1", line(b"GET http://:80/CASE HTTP/1.1")),
    reject("target-absolute-bad-port", "RFC 3986 §3.2.3", line(b"GET http://a.test:8x/CASE HTTP/1.1")),
    reject("target-absolute-huge-port", "RFC 3986 §3.2.3", line(b"GET http://a.test:65536/CASE HTTP/1.1")),
    reject("target-absolute-backslash-host", "RFC 3986 §3.2.2", line(b"GET http://a.test\\@b/CASE HTTP/1.1")),
    reject("target-absolute-one-slash", "RFC 9112 §3.2.2", line(b"GET http:/a.test/CASE HTTP/1.1")),
    reject("target-unknown-scheme", "RFC 9112 §3.2.2", line(b"GET ftp://a.test/CASE HTTP/1.1"), status=(400, 421)),
    reject("target-with-nul", "RFC 9112 §3.2", line(b"GET /CASE\0x HTTP/1.1")),
    reject("target-with-control", "RFC 9112 §3.2", line(b"GET /CASE\x01 HTTP/1.1")),
    reject("target-with-delete", "RFC 9112 §3.2", line(b"GET /CASE\x7f HTTP/1.1")),
    reject("target-with-obs-text", "RFC 9112 §3.2", line(b"GET /CASE\xe4 HTTP/1.1")),
    reject("target-with-utf8", "RFC 9112 §3.2", line("GET /CASE\u00e4 HTTP/1.1".encode())),
]

VERSIONS = [
    forward("version-1.0", "RFC 9112 §2.3", line(b"GET /CASE HTTP/1.0"), closed=True),
    reject("version-1.2", "RFC 9110 §15.6.6", line(b"GET /CASE HTTP/1.2"), status=505),
    reject("version-2.0", "RFC 9110 §15.6.6", line(b"GET /CASE HTTP/2.0"), status=505),
    reject("version-0.9", "RFC 9110 §15.6.6", line(b"GET /CASE HTTP/0.9"), status=505),
    reject("version-3.0", "RFC 9110 §15.6.6", line(b"GET /CASE HTTP/3.0"), status=505),
    reject("version-missing", "RFC 9112 §3", b"GET /CASE\r\n\r\n"),
    reject("version-missing-after-space", "RFC 9112 §3", b"GET /CASE \r\n\r\n"),
    reject("version-two-digits", "RFC 9112 §2.3", line(b"GET /CASE HTTP/1.10")),
    reject("version-leading-zero", "RFC 9112 §2.3", line(b"GET /CASE HTTP/01.1")),
    reject("version-without-minor", "RFC 9112 §2.3", line(b"GET /CASE HTTP/1")),
    reject("version-without-dot", "RFC 9112 §2.3", line(b"GET /CASE HTTP/11")),
    reject("version-with-comma", "RFC 9112 §2.3", line(b"GET /CASE HTTP/1,1")),
    reject("version-with-sign", "RFC 9112 §2.3", line(b"GET /CASE HTTP/+1.1")),
    reject("version-lower-case", "RFC 9112 §2.3", line(b"GET /CASE http/1.1")),
    reject("version-other-name", "RFC 9112 §2.3", line(b"GET /CASE HTTQ/1.1")),
    reject("version-without-slash", "RFC 9112 §2.3", line(b"GET /CASE HTTP1.1")),
    reject("version-with-letter", "RFC 9112 §2.3", line(b"GET /CASE HTTP/1.x")),
    reject("version-and-more", "RFC 9112 §3", line(b"GET /CASE HTTP/1.1 x")),
    reject("version-twice", "RFC 9112 §3", line(b"GET /CASE HTTP/1.1 HTTP/1.0")),
]

SPACE_AND_LINE_ENDS = [
    reject("two-spaces-before-target", "RFC 9112 §3", line(b"GET  /CASE HTTP/1.1")),
    reject("two-spaces-after-target", "RFC 9112 §3", line(b"GET /CASE  HTTP/1.1")),
    reject("tab-before-target", "RFC 9112 §3", line(b"GET\t/CASE HTTP/1.1")),
    reject("tab-after-target", "RFC 9112 §3", line(b"GET /CASE\tHTTP/1.1")),
    reject("vertical-tab-after-target", "RFC 9112 §3", line(b"GET /CASE\x0bHTTP/1.1")),
    reject("form-feed-before-target", "RFC 9112 §3", line(b"GET\x0c/CASE HTTP/1.1")),
    reject("space-in-target", "RFC 9112 §3.2", line(b"GET /CASE /x HTTP/1.1")),
    reject("space-after-version", "RFC 9112 §3", line(b"GET /CASE HTTP/1.1 ")),
    reject("space-first", "RFC 9112 §3", line(b" GET /CASE HTTP/1.1")),
    forward("one-empty-line-first", "RFC 9112 §2.2", b"\r\n" + get()),
    forward(
        "one-empty-line-between-requests",
        "RFC 9112 §2.2",
        get(target=b"/CASE/1") + b"\r\n" + get(target=b"/CASE/2"),
        Seen(target="/CASE/1"),
        Seen(target="/CASE/2"),
    ),
    reject("two-empty-lines-first", "RFC 9112 §2.2", b"\r\n\r\n" + get()),
    reject("bare-lf-first", "RFC 9112 §2.2", b"\n" + get()),
    reject("bare-cr-first", "RFC 9112 §2.2", b"\r" + get()),
    reject("nul-first", "RFC 9112 §2.2", b"\0" + get()),
    reject("bare-lf-ends-request-line", "RFC 9112 §2.2", b"GET /CASE HTTP/1.1\nHost: a.test\r\n\r\n"),
    reject("bare-cr-ends-request-line", "RFC 9112 §2.2", b"GET /CASE HTTP/1.1\rHost: a.test\r\n\r\n"),
    reject("cr-cr-lf-ends-request-line", "RFC 9112 §2.2", b"GET /CASE HTTP/1.1\r\r\nHost: a.test\r\n\r\n"),
    reject("bare-cr-in-target", "RFC 9112 §2.2", line(b"GET /CASE\r HTTP/1.1")),
    reject("all-bare-lf", "RFC 9112 §2.2", b"GET /CASE HTTP/1.1\nHost: a.test\n\n"),
    reject("bare-lf-splits-target", "RFC 9112 §2.2", line(b"GET /CASE\nGET HTTP/1.1")),
    reject("nel-is-no-line-end", "RFC 9112 §2.2", line(b"GET /CASE HTTP/1.1\x85")),
    reject("tls-client-hello", "RFC 9112 §3", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03CASE\r\n\r\n"),
    reject("garbage", "RFC 9112 §3", b"CASE what is this?\r\n\r\n"),
    reject("nothing-after-a-flaw-is-read", "RFC 9112 §2.2", line(b"GET  /CASE HTTP/1.1") + TAIL),
]

RUNS, IDS = parametrized([*METHODS, *TARGETS, *VERSIONS, *SPACE_AND_LINE_ENDS])


@pytest.mark.parametrize(("case", "segment"), RUNS, ids=IDS)
def test_request_line(case, segment: int | None, worlds: Worlds) -> None:
    run(case, worlds, segment)
