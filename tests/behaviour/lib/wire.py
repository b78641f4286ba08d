"""Wire cases: bytes in, and what must come of them at the origin and at the client.

A case is data. `reject`, `forward` and `reply` below make the three usual kinds; `run` plays one and checks it. In
every byte string the four letters CASE stand for a marker of four letters that is new for each run, so that whatever
reaches an origin can be attributed, and lengths stay what they look like.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lib.client import RawClient, split
from lib.dao import Dao, simple_config
from lib.http1 import Message, Reader, Request, Response, read_all_requests, read_response, split_absolute
from lib.origin import Origin, Step

# RFC 9110 section 7.6.1: what ends at this hop even if Connection does not name it.
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"}
# What a proxy writes itself, so what comes out is not what went in; the model checks these apart.
_REWRITTEN = {
    *("host", "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "max-forwards"),
    *("content-length", "trailer", "date"),
    "expect",  # DAO may keep it to itself when the content is already there (RFC 9110 section 10.1.1)
}
# Connection may not take these away (they frame or route the message).
_PROTECTED = {"host", "content-length", "via", "date"}
# RFC 9110 section 6.5.1: never as trailers.
FORBIDDEN_TRAILERS = {
    *("transfer-encoding", "content-length", "host", "connection", "keep-alive", "te", "trailer", "upgrade"),
    *("authorization", "proxy-authorization", "proxy-authenticate", "www-authenticate", "proxy-connection"),
    *("content-encoding", "content-type", "content-range", "max-forwards", "expect", "cookie", "set-cookie"),
}

Value = str | None | list[str] | Callable[[list[str]], object]


@dataclass(frozen=True)
class Seen:
    """What the origin must have received. Beyond what is named, the model of RFC 9110 section 7.6 must hold between
    the bytes sent and the bytes received: same method, target, body and end-to-end fields, nothing else added."""

    method: str | None = None
    target: str | None = None
    fields: Mapping[str, Value] | None = None  # name -> value, None (absent), all values, or a check of all values
    body: bytes | None = None
    trailers: Mapping[str, str] | None = None  # exactly these
    origin: str = "a"  # which origin of the world
    complete: bool = True  # False (for all of a case): it need not arrive whole, for it was answered before


@dataclass(frozen=True)
class Got:
    """What the client must have received."""

    status: int | tuple[int, ...] = 200
    fields: Mapping[str, Value] | None = None
    body: bytes | None = None
    trailers: Mapping[str, str] | None = None
    interim: tuple[int, ...] | None = None  # the 1xx statuses before it
    framing: str | tuple[str, ...] | None = None
    complete: bool | None = True
    error: str | None = None  # Proxy-Status says that DAO made this answer, and why
    method: str | None = None  # the request method, if not that of the request at the same place in `send`


@dataclass(frozen=True)
class Case:
    id: str
    rfc: str
    send: bytes
    seen: tuple[Seen, ...] = ()
    got: tuple[Got, ...] = ()  # () with closed=True: the connection ends, whatever is said before
    closed: bool | None = None  # True: DAO closes; False: the connection serves another request; None: either
    answers: tuple[bytes | tuple[Step, ...], ...] = ()  # of the origin, one for each request; its default otherwise
    world: str = "plain"
    cut_ok: bool = False  # the flaw comes within the body: the origin may see the request begin, never complete
    model: bool = True  # check the model between sent and seen, and between answer and got
    half_close: bool = False  # send FIN after the bytes
    segments: int | None = None  # send in pieces of so many bytes (default: at once, and again byte by byte)

    def __str__(self) -> str:
        return self.id


def reject(id: str, rfc: str, send: bytes, status: int | tuple[int, ...] = 400, **more: object) -> Case:
    """DAO refuses: it answers `status` with Proxy-Status, closes, and no origin sees a complete request."""
    return Case(id, rfc, send, got=(Got(status, error="http_request_error"),), closed=True, **more)


def forward(
    id: str, rfc: str, send: bytes, *seen: Seen, got: Got | None = None, closed: bool | None = False, **more: object
) -> Case:
    """DAO forwards: each `seen` (default: one, as sent) reaches the origin, in this order, and each is answered."""
    seen = seen or (Seen(),)
    return Case(id, rfc, send, seen=seen, got=(got or Got(),) * len(seen), closed=closed, **more)


def reply(
    id: str,
    rfc: str,
    answer: bytes | tuple[Step, ...],
    got: Got,
    send: bytes = b"GET /CASE HTTP/1.1\r\nHost: a.test\r\n\r\n",
    **more: object,
) -> Case:
    """The origin answers a good request with these bytes, and the client must get `got`."""
    return Case(id, rfc, send, seen=(Seen(),), got=(got,), answers=(answer,), **more)


def get(*fields: bytes, target: bytes = b"/CASE", version: bytes = b"1.1") -> bytes:
    """A GET with Host: a.test and these further field lines."""
    return message(b"GET " + target + b" HTTP/" + version, b"Host: a.test", *fields)


def post(*fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """A POST with Host: a.test, these further field lines (framing is up to them) and these body bytes."""
    return message(b"POST /CASE HTTP/" + version, b"Host: a.test", *fields, body=body)


def message(*lines: bytes, body: bytes = b"") -> bytes:
    """The lines, each ended by CRLF, an empty line, and the body."""
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


# What a second parser would take for the next request; it carries the marker, so it must never be seen.
TAIL = b"GET /CASE/tail HTTP/1.1\r\nHost: a.test\r\n\r\n"


# The worlds -----------------------------------------------------------------------------------------------------


class World:
    """A DAO and the origins behind it, shared by many cases."""

    def __init__(self, name: str, directory: Path, origins: str, configure: Callable[[World], dict[str, object]]):
        self.name = name
        self.origins = {letter: Origin() for letter in origins}
        try:
            self.dao = Dao(configure(self), directory / name)
        except BaseException:
            for origin in self.origins.values():
                origin.stop()
            raise
        self.must_not_reach: list[tuple[str, str]] = []  # (marker, case id): looked at again when all is over

    def finish(self) -> None:
        for marker, case in self.must_not_reach:
            for origin in self.origins.values():
                assert not any(r.complete for r in origin.seen(marker)), f"{case} reached the origin, late"
        for origin in self.origins.values():
            origin.stop()
            assert not origin.violations, origin.violations
        self.dao.close_clients()
        self.dao.wait_idle()
        self.dao.stop()

    def kill(self) -> None:
        self.dao.kill()
        for origin in self.origins.values():
            origin.stop()


def _plain(world: World) -> dict[str, object]:
    return simple_config(world.origins["a"].url)


def _trusting(world: World) -> dict[str, object]:
    return simple_config(world.origins["a"].url, server={"trusted_proxies": ["127.0.0.0/8"]})


def _limited(world: World) -> dict[str, object]:
    return simple_config(
        world.origins["a"].url,
        server={"target_max_bytes": 256, "header_max_bytes": 2048, "header_max_count": 20, "body_max_bytes": 1000},
        proxy={"response_header_max_bytes": 4096, "interim_responses_max": 4},
    )


def _routed(world: World) -> dict[str, object]:
    def rule(name: str, letter: str, **match: object) -> dict[str, object]:
        return {"name": name, "match": match, "upstreams": [{"name": letter, "url": world.origins[letter].url}]}

    return {
        **simple_config(),
        "routes": {
            "rule": [
                rule("exact path", "b", host="one.test", path_exact="/exact"),
                rule("header", "c", host="one.test", headers={"X-Env": "canary"}),
                rule("prefix", "d", host=["one.test", "two.test"], path_prefix="/api/"),
                rule("host", "a", host="one.test"),
                rule("never", "b", host="one.test", path_exact="/shadowed"),
                rule("wildcard", "b", host="*.wild.test"),
                rule("any host", "c", path_prefix="/open"),
            ]
        },
    }


_WORLDS = {
    "plain": ("a", _plain),
    "trusting": ("a", _trusting),
    "limited": ("a", _limited),
    "routed": ("abcd", _routed),
}


class Worlds:
    """Starts each world when it is first asked for."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._started: dict[str, World] = {}
        self._failed: dict[str, str] = {}

    def get(self, name: str) -> World:
        assert name not in self._failed, f"the world {name} did not start: {self._failed[name]}"
        if name not in self._started:
            origins, configure = _WORLDS[name]
            try:
                self._started[name] = World(name, self._directory, origins, configure)
            except Exception as error:
                self._failed[name] = str(error)
                raise
        return self._started[name]

    def finish(self) -> None:
        for name in list(self._started):
            self._started[name].finish()

    def kill(self) -> None:
        for world in self._started.values():
            world.kill()


# Running a case -------------------------------------------------------------------------------------------------

_numbers = itertools.count()


def new_marker() -> str:
    """Four characters that no other marker of this run has: a Q and three of base 36."""
    number, digits = next(_numbers), "0123456789abcdefghijklmnopqrstuvwxyz"
    assert number < 36**3
    return "Q" + digits[number // 1296] + digits[number // 36 % 36] + digits[number % 36]


def run(case: Case, worlds: Worlds, segment: int | None = None) -> None:
    """Plays the case once; `segment` overrides how the bytes are cut."""
    world = worlds.get(case.world)
    marker = new_marker()

    def marked(data: bytes) -> bytes:
        return data.replace(b"CASE", marker.encode())

    scripts = [tuple(marked(s) if isinstance(s, bytes) else s for s in (a if isinstance(a, tuple) else (a,)))
               for a in case.answers]  # fmt: skip
    for origin in world.origins.values():
        for script in scripts:
            origin.answer(marker, *script)
    violations = {letter: len(origin.violations) for letter, origin in world.origins.items()}
    sent_bytes = marked(case.send)
    sent, _ = read_all_requests(sent_bytes)
    pieces = split(sent_bytes, segment) if segment else [sent_bytes]
    responses: list[Response] = []
    with RawClient(world.dao.address) as client:
        client.send(*pieces)
        if case.half_close:
            client.half_close()
        for index, want in enumerate(case.got):
            like = sent[index] if index < len(sent) else None
            method = want.method or (like.method if like else "GET")
            version = like.version if like else "1.0" if b" HTTP/1.0\r\n" in sent_bytes else "1.1"
            response = client.response(method, version)
            responses.append(response)
            _check_response(want, response)
        _check_connection(case, client, world, responses)
    expected = [seen for seen in case.seen if seen.complete]
    for letter, origin in world.origins.items():
        wanted = [seen for seen in case.seen if seen.origin == letter]
        if any(seen.complete for seen in wanted):
            origin.wait_requests(sum(seen.complete for seen in wanted), marker)
        arrived = [r for r in origin.seen(marker) if "/fence" not in r.target]
        if case.cut_ok:
            arrived = [r for r in arrived if r.complete]
        elif any(not seen.complete for seen in wanted):
            arrived = arrived[len(wanted) :]  # begun, and finished or not; more than that would be too many
        wanted = [seen for seen in wanted if seen.complete]
        assert len(arrived) == len(wanted), f"origin {letter} saw {[r.raw for r in arrived]}, expected {len(wanted)}"
        for want, request in zip(wanted, arrived):
            _check_seen(want, request, marked)
        new = origin.violations[violations[letter] :]
        assert not new, f"the origin could not read what DAO sent: {new}"
    if case.model and case.seen and len(sent) >= len(expected) and len({s.origin for s in case.seen}) == 1:
        arrived = [r for r in world.origins[case.seen[0].origin].seen(marker) if "/fence" not in r.target]
        for before, after in zip(sent, [r for r in arrived if r.complete]):
            check_forwarded(before, after, trusting=case.world == "trusting")
        for before, script, after, want in zip(sent, scripts, responses, case.got):
            if want.error is None and after.complete:
                _check_relayed(before, script, after)
    if not case.seen:
        world.must_not_reach.append((marker, case.id))


def _check_connection(case: Case, client: RawClient, world: World, responses: list[Response]) -> None:
    if case.closed:
        last = responses[-1] if responses else None
        if last and last.complete and last.framing != "close" and last.version == "1.1":
            assert "close" in [e.lower() for e in last.elements("connection")], "closes without Connection: close"
        if not last or not last.complete:
            client.expect_ended()
        else:
            client.expect_closed()
    elif case.closed is False:
        fence = b"GET /open/fence HTTP/1.1\r\nHost: one.test\r\n\r\n"
        answer = client.exchange(fence)
        assert (answer.status, answer.body) == (200, b"ok"), "the connection should have gone on in good order"
    elif responses and not responses[-1].complete:
        client.expect_ended()
    elif client.reader.buffered:
        raise AssertionError(f"bytes after the last response: {client.reader.buffered[:300]!r}")


def _check_value(where: str, message: Message, name: str, want: Value) -> None:
    have = message.values(name)
    if want is None:
        assert not have, f"{where}: {name} should be absent, is {have}"
    elif callable(want):
        assert want(have), f"{where}: {name} is {have}"
    else:
        assert have == ([want] if isinstance(want, str) else want), f"{where}: {name} is {have}, expected {want!r}"


def _check_response(want: Got, response: Response) -> None:
    statuses = want.status if isinstance(want.status, tuple) else (want.status,)
    assert response.status in statuses, f"answered {response.raw_head!r}, expected {statuses}"
    if want.error is not None:
        status = ", ".join(response.values("proxy-status"))
        assert re.fullmatch(rf"dao;\s*error={want.error}(;.*)?", status), f"Proxy-Status is {status!r}"
        assert response.body or want.method == "HEAD", "an error of DAO's own should have a body"
    for name, value in (want.fields or {}).items():
        _check_value("response", response, name, value)
    if want.body is not None:
        assert response.body == want.body, f"body {response.body[:200]!r}, expected {want.body[:200]!r}"
    if want.trailers is not None:
        assert dict(response.trailers) == dict(want.trailers), f"trailers {response.trailers}"
    if want.interim is not None:
        assert tuple(i.status for i in response.interim) == want.interim, f"1xx: {response.interim}"
    if want.framing is not None:
        framings = want.framing if isinstance(want.framing, tuple) else (want.framing,)
        assert response.framing in framings, f"framing {response.framing}, expected {framings}"
    if want.complete is not None:
        assert response.complete == want.complete, f"complete is {response.complete}: {response.body[-100:]!r}"
    for head in (response, *response.interim):
        leaked = HOP_BY_HOP - {"connection", "transfer-encoding"}
        if head.status == 426:
            leaked -= {"upgrade"}
        assert not [n for n, _ in head.fields if n in leaked], f"hop-by-hop field leaked: {head.raw_head!r}"
        for token in head.elements("connection"):
            assert token.lower() in ("close", "keep-alive"), f"Connection: {token} leaked"


def _check_seen(want: Seen, request: Request, marked: Callable[[bytes], bytes]) -> None:
    def text(value: str) -> str:
        return marked(value.encode("latin-1")).decode("latin-1")

    if want.method is not None:
        assert request.method == want.method
    if want.target is not None:
        assert request.target == text(want.target), f"target {request.target!r}"
    for name, value in (want.fields or {}).items():
        _check_value("origin", request, name, text(value) if isinstance(value, str) else value)
    if want.body is not None:
        assert request.body == marked(want.body), f"body {request.body[:200]!r}"
    if want.trailers is not None:
        assert dict(request.trailers) == dict(want.trailers), f"trailers {request.trailers}"


# The model ------------------------------------------------------------------------------------------------------


def end_to_end(message: Message) -> dict[str, list[str]]:
    """The fields that must come out as they went in: name -> values in order."""
    nominated = {token.lower() for token in message.elements("connection")} - _PROTECTED
    fields: dict[str, list[str]] = {}
    for name, value in message.fields:
        if name not in HOP_BY_HOP and name not in nominated and name not in _REWRITTEN:
            fields.setdefault(name, []).append(value)
    return fields


def _trailers(message: Message) -> list[tuple[str, str]]:
    nominated = {token.lower() for token in message.elements("connection")}
    return sorted((n, v) for n, v in message.trailers if n not in FORBIDDEN_TRAILERS | nominated)


def check_forwarded(sent: Request, seen: Request, trusting: bool = False) -> None:
    """A request that DAO received and the request that it made of it mean the same (RFC 9110 section 7.6)."""
    assert seen.method == sent.method
    target, host = sent.target, sent.value("host")
    if absolute := split_absolute(sent.target):
        host, target = absolute
        if not target.startswith("/"):
            target = "*" if sent.method == "OPTIONS" and not target else "/" + target
    assert seen.target == target, f"target {seen.target!r}, expected {target!r}"
    if host is not None:
        assert seen.value("host") == host, f"Host {seen.values('host')}, expected {host!r}"
    assert seen.version == "1.1"
    assert seen.body == sent.body, f"body {seen.body[:200]!r}, expected {sent.body[:200]!r}"
    assert (seen.framing == "none") == (sent.framing == "none"), f"framing {sent.framing} became {seen.framing}"
    assert sorted(seen.trailers) == _trailers(sent), f"trailers {sent.trailers} became {seen.trailers}"
    assert end_to_end(seen) == end_to_end(sent), f"fields {sent.fields} became {seen.fields}"
    # Nothing hop-by-hop, except what frames this hop.
    leaked = [n for n, _ in seen.fields if n in HOP_BY_HOP - {"transfer-encoding", "connection"}]
    assert not leaked, f"{leaked} leaked in {seen.raw_head!r}"
    assert seen.elements("connection") in ([], ["keep-alive"]), f"Connection {seen.values('connection')}"
    assert seen.elements("via") == [*sent.elements("via"), f"{sent.version} dao"], f"Via {seen.values('via')}"
    peer = ["127.0.0.1"]
    before = sent.elements("x-forwarded-for") if trusting else []
    assert seen.elements("x-forwarded-for") == before + peer, f"X-Forwarded-For {seen.values('x-forwarded-for')}"
    if not trusting:
        assert seen.values("x-forwarded-proto") == ["http"]
        if host is not None:
            assert seen.values("x-forwarded-host") == [host]
        assert len(seen.values("forwarded")) == 1, f"Forwarded {seen.values('forwarded')}"
        parameters = dict(part.partition("=")[::2] for part in seen.values("forwarded")[0].lower().split(";"))
        assert parameters["for"].strip('"').startswith("127.0.0.1"), f"Forwarded {seen.values('forwarded')}"
        assert parameters["proto"] == "http"


def _check_relayed(request: Request, script: tuple[Step, ...], got: Response) -> None:
    """What the origin answered and what the client got mean the same."""
    data = b"".join(step for step in script if isinstance(step, bytes))
    if any(callable(step) for step in script):
        return
    origin = read_response(Reader.of_bytes(data), request.method, extensions=True)
    assert got.status == origin.status
    assert end_to_end(got) == end_to_end(origin), f"fields {origin.fields} became {got.fields}"
    assert got.body == origin.body, f"body {origin.body[:200]!r} became {got.body[:200]!r}"
    if got.framing == "chunked":
        assert sorted(got.trailers) == _trailers(origin), f"trailers {origin.trailers} became {got.trailers}"
    assert got.elements("via") == [*origin.elements("via"), f"{origin.version} dao"], f"Via {got.values('via')}"
    assert len(got.values("date")) == 1, "a response has one Date"
    if origin.values("date"):
        assert got.values("date") == origin.values("date")
    lengths = origin.values("content-length")
    if lengths and got.framing in ("length", "none"):
        assert got.values("content-length") == lengths


def parametrized(cases: list[Case]) -> tuple[list[tuple[Case, int | None]], list[str]]:
    """Every case twice, once in one segment and once byte by byte, with readable test ids."""
    ids = [case.id for case in cases]
    assert len(set(ids)) == len(ids), f"case ids occur twice: {sorted(i for i in ids if ids.count(i) > 1)}"
    runs: list[tuple[Case, int | None]] = []
    names = []
    for case in cases:
        sizes = (case.segments,) if case.segments else (None, 1)
        for size in sizes:
            runs.append((case, size))
            names.append(case.id if size is None else f"{case.id}/by-{size}")
    return runs, names
