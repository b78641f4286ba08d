"""Via, X-Forwarded-*, Forwarded, Max-Forwards and Expect (RFC 9110 sections 7.6 and 10.1.1, RFC 7239)."""

from __future__ import annotations

import re

import pytest

from lib.client import RawClient
from lib.dao import simple_config
from lib.origin import CONTINUE, EARLY, OK, READ_BODY
from lib.wire import Case, Got, Seen, Worlds, forward, get, message, new_marker, parametrized, post, reject, run


def one_forwarded(*elements: str):
    """A check: the Forwarded elements, each of these patterns in order."""

    def check(values: list[str]) -> bool:
        have = [part.strip() for value in values for part in value.split(",")]
        return len(have) == len(elements) and all(re.fullmatch(e, h, re.I) for e, h in zip(elements, have))

    return check


# DAO's own element, its parameters in any order.
OWN = r'(?=.*for="?127\.0\.0\.1(:\d+)?"?)(?=.*proto=http\b).*'

FIELDS = [
    forward("via-added", "RFC 9110 §7.6.3", get(), Seen(fields={"via": "1.1 dao"})),
    forward(
        "via-names-received-version",
        "RFC 9110 §7.6.3",
        get(version=b"1.0"),
        Seen(fields={"via": "1.0 dao"}),
        closed=True,
    ),
    forward("via-appended", "RFC 9110 §7.6.3", get(b"Via: 1.0 fred, 1.1 p.example (x)")),
    forward("via-appended-after-several", "RFC 9110 §7.6.3", get(b"Via: 1.0 fred", b"Via: 2 ricky")),
    forward("xff-set", "RFC 7239 §5", get(), Seen(fields={"x-forwarded-for": "127.0.0.1"})),
    forward(
        "xff-of-untrusted-replaced",
        "RFC 7239 §5",
        get(b"X-Forwarded-For: 192.0.2.9"),
        Seen(fields={"x-forwarded-for": "127.0.0.1"}),
    ),
    forward(
        "every-forwarding-field-of-untrusted-replaced",
        "RFC 7239 §5",
        get(
            b"X-Forwarded-For: 192.0.2.9",
            b"x-forwarded-for: 192.0.2.10",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-Host: evil.test",
            b"Forwarded: for=192.0.2.9;proto=https",
        ),
        Seen(
            fields={
                "x-forwarded-for": "127.0.0.1",
                "x-forwarded-proto": "http",
                "x-forwarded-host": "a.test",
                "forwarded": one_forwarded(OWN),
            }
        ),
    ),
    forward(
        "xfh-keeps-the-port",
        "RFC 7239 §5",
        message(b"GET /CASE HTTP/1.1", b"Host: a.test:81"),
        Seen(fields={"x-forwarded-host": "a.test:81"}),
    ),
    forward(
        "forwarded-quotes-what-is-no-token",
        "RFC 7239 §4",
        message(b"GET /CASE HTTP/1.1", b"Host: [2001:db8::1]:81"),
        Seen(fields={"forwarded": one_forwarded(r'.*host="\[2001:db8::1\]:81".*')}),
    ),
    forward(
        "forwarded-quotes-a-port",
        "RFC 7239 §4",
        message(b"GET /CASE HTTP/1.1", b"Host: a.test:81"),
        Seen(fields={"forwarded": one_forwarded(r'.*host="a\.test:81".*')}),
    ),
    forward(
        "trusted-xff-appended",
        "RFC 7239 §5",
        get(b"X-Forwarded-For: 192.0.2.9, 192.0.2.10"),
        Seen(fields={"x-forwarded-for": lambda v: re.sub(" ", "", ",".join(v)) == "192.0.2.9,192.0.2.10,127.0.0.1"}),
        world="trusting",
    ),
    forward(
        "trusted-proto-and-host-kept",
        "RFC 7239 §5",
        get(b"X-Forwarded-Proto: https", b"X-Forwarded-Host: public.test"),
        Seen(fields={"x-forwarded-proto": "https", "x-forwarded-host": "public.test"}),
        world="trusting",
    ),
    forward(
        "trusted-without-fields",
        "RFC 7239 §5",
        get(),
        Seen(fields={"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http", "x-forwarded-host": "a.test"}),
        world="trusting",
    ),
    forward(
        "trusted-forwarded-appended",
        "RFC 7239 §5.2",
        get(b'Forwarded: for="[2001:db8::9]:4711";proto=https'),
        Seen(fields={"forwarded": one_forwarded(r'for="\[2001:db8::9\]:4711";proto=https', OWN)}),
        world="trusting",
    ),
]


def method(name: bytes, hops: bytes) -> bytes:
    return message(name + b" /CASE HTTP/1.1", b"Host: a.test", b"Max-Forwards: " + hops)


MAX_FORWARDS = [
    *(
        forward(
            f"max-forwards-{verb.decode().lower()}-{before.decode()}",
            "RFC 9110 §7.6.2",
            method(verb, before),
            Seen(fields={"max-forwards": after}),
        )
        for verb in (b"OPTIONS", b"TRACE")
        for before, after in ((b"1", "0"), (b"10", "9"), (b"007", lambda v: [int(x) for x in v] == [6]))
    ),
    Case(
        "max-forwards-options-0",
        "RFC 9110 §7.6.2",
        method(b"OPTIONS", b"0"),
        got=(Got((200, 204)),),
        closed=False,
    ),
    Case("max-forwards-trace-0", "RFC 9110 §7.6.2", method(b"TRACE", b"0"), got=(Got((200, 405, 501)),)),
    forward(
        "max-forwards-huge",
        "RFC 9110 §7.6.2",
        method(b"OPTIONS", b"99999999999999999999999"),
        Seen(fields={"max-forwards": lambda v: len(v) == 1 and 0 < int(v[0]) < 99999999999999999999999}),
    ),
    *(
        reject(f"max-forwards-{name}", "RFC 9110 §7.6.2", method(b"OPTIONS", value))
        for name, value in [("negative", b"-1"), ("word", b"x"), ("plus", b"+1"), ("empty", b""), ("list", b"1, 2")]
    ),
    reject(
        "max-forwards-twice",
        "RFC 9110 §7.6.2",
        message(b"OPTIONS /CASE HTTP/1.1", b"Host: a.test", b"Max-Forwards: 1", b"Max-Forwards: 2"),
    ),
    forward("max-forwards-get-untouched", "RFC 9110 §7.6.2", method(b"GET", b"1"), Seen(fields={"max-forwards": "1"})),
    forward(
        "max-forwards-get-0-forwarded",
        "RFC 9110 §7.6.2",
        method(b"GET", b"0"),
        Seen(fields={"max-forwards": "0"}),
    ),
    forward(
        "max-forwards-absent-stays-absent",
        "RFC 9110 §7.6.2",
        message(b"OPTIONS /CASE HTTP/1.1", b"Host: a.test"),
        Seen(fields={"max-forwards": None}),
    ),
]

EXPECTING = post(b"Expect: 100-continue", b"Content-Length: 5", body=b"hello")

EXPECT = [
    Case(
        "expect-with-its-body",
        "RFC 9110 §10.1.1",
        EXPECTING,
        seen=(Seen(fields={"expect": lambda values: values in ([], ["100-continue"])}, body=b"hello"),),
        got=(Got(),),
        closed=False,
    ),
    Case(
        "expect-in-any-case",
        "RFC 9110 §10.1.1",
        post(b"Expect: 100-Continue", b"Content-Length: 5", body=b"hello"),
        seen=(Seen(body=b"hello"),),
        got=(Got(),),
        closed=False,
    ),
    Case(
        "expect-of-1.0-gets-no-100",
        "RFC 9110 §10.1.1",
        post(b"Expect: 100-continue", b"Content-Length: 5", body=b"hello", version=b"1.0"),
        seen=(Seen(body=b"hello"),),
        got=(Got(interim=()),),
        answers=((EARLY, CONTINUE, READ_BODY, OK),),
        closed=True,
        model=False,
    ),
    *(
        reject(
            f"expect-{name}",
            "RFC 9110 §15.5.18",
            post(b"Expect: " + value, b"Content-Length: 5", body=b"hello"),
            417,
        )
        for name, value in [("unknown", b"200-ok"), ("list", b"100-continue, x"), ("two-words", b"y 100-continue")]
    ),
    reject(
        "expect-unknown-on-get", "RFC 9110 §15.5.18", get(b"Expect: the unexpected"), status=417
    ),
]

RUNS, IDS = parametrized([*FIELDS, *MAX_FORWARDS, *EXPECT])


@pytest.mark.parametrize(("case", "segment"), RUNS, ids=IDS)
def test_forwarding(case: Case, segment: int | None, worlds: Worlds) -> None:
    run(case, worlds, segment)


def test_expect_waits_for_the_origins_100(worlds: Worlds) -> None:
    """RFC 9110 §10.1.1: the expectation goes on to the origin, its 100 comes back, and then the body goes out."""
    world = worlds.get("plain")
    marker = new_marker()
    origin = world.origins["a"]
    origin.answer(marker, EARLY, CONTINUE, READ_BODY, OK)
    head = f"POST /{marker} HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    with RawClient(world.dao.address) as client:
        client.send(head.encode())
        client.wait_bytes(len(CONTINUE))
        (request,) = origin.seen(marker)
        assert request.value("expect") == "100-continue" and not request.complete
        client.send(b"hello")
        response = client.response("POST")
        assert [interim.status for interim in response.interim] == [100]
        assert (response.status, response.body) == (200, b"ok")
        assert client.exchange(get(target=f"/{marker}/next".encode())).status == 200
    assert origin.seen(marker)[0].body == b"hello"


def test_expect_answered_with_a_refusal(worlds: Worlds) -> None:
    """RFC 9110 §10.1.1: the origin's final status instead of 100 reaches a client that still holds its body back."""
    world = worlds.get("plain")
    marker = new_marker()
    world.origins["a"].answer(marker, EARLY, b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
    head = f"POST /{marker} HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    with RawClient(world.dao.address) as client:
        response = client.exchange(head.encode())
        assert (response.status, response.body, response.interim) == (401, b"no", [])


# What a configuration changes: (the [server] keys, a trusted client's or stranger's fields, what the origin must get).
STRANGER = b"X-Forwarded-For: 192.0.2.9\r\nForwarded: for=192.0.2.9\r\n"
CONFIGURED = {
    "off": ({"forwarded": "off"}, {"x-forwarded-for": [], "x-forwarded-proto": [], "forwarded": []}),
    "x-forwarded": ({"forwarded": "x-forwarded"}, {"x-forwarded-for": ["127.0.0.1"], "forwarded": []}),
    "forwarded": ({"forwarded": "forwarded"}, {"x-forwarded-for": [], "x-forwarded-proto": []}),
    "via": ({"via": "edge-1"}, {"via": ["1.1 edge-1"]}),
}


@pytest.mark.parametrize("name", CONFIGURED)
def test_configured_fields(name: str, start_dao, origin) -> None:
    """A stranger's fields are stripped in every mode; DAO adds only those that are configured."""
    server, expected = CONFIGURED[name]
    dao = start_dao(simple_config(origin.url, server=server))
    with dao.client() as client:
        response = client.exchange(b"GET / HTTP/1.1\r\nHost: a.test\r\n" + STRANGER + b"\r\n")
    assert response.status == 200
    assert response.elements("via")[-1] == f"1.1 {server.get('via', 'dao')}"
    (request,) = origin.requests
    assert {field: request.values(field) for field in expected} == expected
    assert "192.0.2.9" not in request.raw_head.decode()


def test_forwarded_of_an_ipv6_client(start_dao, origin) -> None:
    """RFC 7239 §6: an IPv6 address is bracketed and quoted; X-Forwarded-For has it bare."""
    dao = start_dao(simple_config(origin.url, server={"bind": ["127.0.0.1:0", "[::1]:0"]}))
    with RawClient(dao.addresses[1]) as client:
        assert client.exchange(get(target=b"/")).status == 200
    (request,) = origin.requests
    assert request.values("x-forwarded-for") == ["::1"]
    assert 'for="[::1]"' in request.values("forwarded")[0]


def test_client_on_a_unix_socket(start_dao, origin, tmp_path) -> None:
    """RFC 7239 §6.3: who has no address is named by an obfuscated identifier; "unix" may be trusted by name."""
    path = str(tmp_path / "dao.sock")
    for trusted, expected in ([], []), (["unix"], ["192.0.2.9"]):
        dao = start_dao(simple_config(origin.url, server={"bind": f"unix:{path}", "trusted_proxies": trusted}))
        with RawClient(path) as client:
            request = b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n"
            assert client.exchange(request).status == 200
        origin.close_connections()
        dao.stop()
        assert [value for value in origin.requests[-1].elements("x-forwarded-for") if value != "unix"] == expected
        assert re.fullmatch(r"_\w+|unknown", re.search(r"for=([^;]+)", origin.requests[-1].values("forwarded")[0])[1])
