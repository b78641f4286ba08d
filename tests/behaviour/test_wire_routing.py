"""Routing: host, path, headers, first match wins, and 404 by DAO for the rest (RFC 9110 section 7.3, RFC 9209).

The rules of the world "routed", in order: b = one.test with path exactly /exact; c = one.test with X-Env: canary;
d = one.test or two.test under /api/; a = one.test; b = *.wild.test; c = any host under /open.
"""

from __future__ import annotations

import pytest

from lib.wire import Case, Got, Seen, Worlds, forward, message, parametrized, run


def ask(host: bytes, target: bytes, *fields: bytes, method: bytes = b"GET") -> bytes:
    return message(method + b" " + target + b" HTTP/1.1", b"Host: " + host, b"X-Case: CASE", *fields)


def to(letter: str, id: str, send: bytes) -> Case:
    return forward(id, "RFC 9110 §7.3", send, Seen(origin=letter), world="routed")


def nowhere(id: str, send: bytes, **more: object) -> Case:
    """No route: DAO answers 404, nothing is forwarded, the connection goes on."""
    got = Got(404, error="destination_not_found", **more)
    return Case(id, "RFC 9209 §2.3.3", send, got=(got,), closed=False, world="routed")


CASES = [
    to("a", "host", ask(b"one.test", b"/")),
    to("a", "host-in-any-case", ask(b"ONE.Test", b"/")),
    to("a", "host-with-port", ask(b"one.test:8080", b"/")),
    to("a", "host-from-absolute-form", ask(b"two.test", b"http://one.test/")),
    to("b", "path-exact", ask(b"one.test", b"/exact")),
    to("b", "path-exact-with-query", ask(b"one.test", b"/exact?a=1")),
    to("a", "path-exact-is-not-a-prefix", ask(b"one.test", b"/exact/more")),
    to("a", "path-is-case-sensitive", ask(b"one.test", b"/EXACT")),
    to("c", "header", ask(b"one.test", b"/", b"X-Env: canary")),
    to("c", "header-name-in-any-case", ask(b"one.test", b"/", b"x-eNV: canary")),
    to("a", "header-other-value", ask(b"one.test", b"/", b"X-Env: stable")),
    to("a", "header-longer-value", ask(b"one.test", b"/", b"X-Env: canary2")),
    to("b", "first-match-wins-over-header", ask(b"one.test", b"/exact", b"X-Env: canary")),
    to("c", "header-wins-over-later-prefix", ask(b"one.test", b"/api/x", b"X-Env: canary")),
    to("d", "prefix", ask(b"one.test", b"/api/x")),
    to("d", "prefix-second-host-of-list", ask(b"two.test", b"/api/")),
    to("a", "prefix-not-quite", ask(b"one.test", b"/apis/x")),
    to("a", "shadowed-rule-is-never-reached", ask(b"one.test", b"/shadowed")),
    to("b", "wildcard", ask(b"x.wild.test", b"/")),
    to("b", "wildcard-in-any-case-with-port", ask(b"X.Wild.TEST:81", b"/")),
    to("c", "no-host-condition", ask(b"anything.test", b"/open/x")),
    nowhere("no-route", ask(b"other.test", b"/")),
    nowhere("no-route-by-path", ask(b"two.test", b"/")),
    nowhere("wildcard-needs-a-label", ask(b"wild.test", b"/")),
    nowhere("wildcard-is-not-a-suffix-of-a-label", ask(b"xwild.test", b"/")),
    nowhere("host-is-not-a-suffix", ask(b"x.one.test", b"/")),
    nowhere(
        "no-route-as-text",
        ask(b"other.test", b"/"),
        fields={"content-type": lambda v: v[0].startswith("text/plain")},
    ),
    nowhere(
        "no-route-as-problem-json",
        ask(b"other.test", b"/", b"Accept: application/json"),
        fields={"content-type": lambda v: v[0].startswith("application/problem+json")},
    ),
    nowhere("no-route-with-body", ask(b"other.test", b"/", b"Content-Length: 5", method=b"POST") + b"hello"),
    Case(
        "no-route-head",
        "RFC 9110 §9.3.2",
        ask(b"other.test", b"/", method=b"HEAD"),
        got=(Got(404, error="destination_not_found", body=b"", method="HEAD"),),
        closed=False,
        world="routed",
    ),
]

RUNS, IDS = parametrized(CASES)


@pytest.mark.parametrize(("case", "segment"), RUNS, ids=IDS)
def test_routing(case: Case, segment: int | None, worlds: Worlds) -> None:
    run(case, worlds, segment)
