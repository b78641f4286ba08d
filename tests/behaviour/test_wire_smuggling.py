"""Smuggling by mutation: whatever is sent, an origin sees only requests that were there, whole, and each once.

Pipelined valid requests are mutated at random. lib.http1 says which of the bytes then still are well-formed requests
under DAO's policy; what the origin received must be a subsequence of those, with the same meaning. (A subsequence: DAO
may refuse more than the RFCs demand, or stop early.)
"""

from __future__ import annotations

import contextlib

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from lib.client import RawClient, split
from lib.http1 import Request, Truncated, read_all_requests, split_absolute
from lib.wire import Worlds, check_forwarded, new_marker

TAIL = b"GET /@/smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n"

# "@" stands for the marker of four letters, hence the 3 in the lengths.
VALID = [
    b"GET /@/get HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET /@/fields HTTP/1.1\r\nHost: a.test\r\nX-One: 1\r\nConnection: X-Two\r\nX-Two: 2\r\n\r\n",
    b"GET http://b.test/@/absolute HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"POST /@/length HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /@/cover HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % (len(TAIL) + 3) + TAIL,
    b"POST /@/chunked HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST /@/ext HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\nX-T: 1\r\n\r\n",
    b"POST /@/inner HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % (len(TAIL) + 3) + TAIL
    + b"\r\n0\r\n\r\n",
    b"HEAD /@/head HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"DELETE /@/delete HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n",
]  # fmt: skip

PIECES = [
    *(bytes([byte]) for byte in b"\r\n\0 \t\x0b\x0c:;,/*0159afx+-_.#@?\"\x7f\x80\xa0\xff"),
    *(
        b"\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b"\r\r\n",
        b"\r\n ",
        b"\r\n\t",
        b"0\r\n\r\n",
        b"0x",
        b"00",
        b"HTTP/1.0",
        b" HTTP/1.1",
    ),
    *(b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length : 9\r\n", b"content-length:\t5\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n", b"transfer-encoding:chunked\r\n", b", chunked"),
    *(b"Transfer-Encoding:\r\n chunked\r\n", b"Transfer-Encoding\x0b: chunked\r\n", b"Expect: 100-continue\r\n"),
    *(b"Host: evil.test\r\n", b"Connection: close\r\n", b"Connection: Content-Length\r\n", b"X: 1\n", b"X: 1\r"),
    TAIL,
]


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, int]:
    """A mutated pipeline, and the size of the segments to send it in (0: at once)."""
    data = b"".join(draw(st.lists(st.sampled_from(VALID), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        # Mostly at the places where framing is decided: near line ends and colons.
        places = [at for at, byte in enumerate(data) if byte in b"\r\n:;"] if draw(st.booleans()) else []
        at = draw(st.sampled_from(places)) + draw(st.integers(0, 1)) if places else draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["insert", "insert", "replace", "delete", "copy"]))
        if kind == "insert":
            data = data[:at] + draw(st.sampled_from(PIECES)) + data[at:]
        elif kind == "replace":
            data = data[:at] + draw(st.sampled_from(PIECES)) + data[at + 1 :]
        elif kind == "delete":
            data = data[:at] + data[at + draw(st.integers(1, 4)) :]
        else:
            data = data[:at] + data[at : at + draw(st.integers(1, 40))] + data[at:]
    return data, draw(st.sampled_from([0, 0, 1, 7]))


def same(sent: Request, seen: Request) -> bool:
    """Whether `seen` is what DAO may make of `sent`."""
    try:
        check_forwarded(sent, seen)
    except AssertionError:
        return False
    return True


def test_mutated_pipelines_smuggle_nothing(worlds: Worlds) -> None:
    world = worlds.get("plain")
    origin = world.origins["a"]
    reached = 0

    @seed(20261123)
    @settings(
        max_examples=1200,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(streams())
    def one(stream: tuple[bytes, int]) -> None:
        nonlocal reached
        template, size = stream
        marker = new_marker()
        data = template.replace(b"@", marker.encode())
        sent, _ = read_all_requests(data)
        before, violations = len(origin.requests), len(origin.violations)
        with RawClient(world.dao.address) as client:
            client.send(*(split(data, size) if size else [data]))
            # Every request that is one is answered, by the origin or by DAO, unless DAO closes before it.
            with contextlib.suppress(Truncated):
                for request in sent:
                    client.response(request.method, request.version)
            client.half_close()
            client.expect_ended()
        seen = [request for request in origin.requests[before:] if request.complete]
        assert len(origin.violations) == violations, origin.violations[violations:]
        assert len(seen) <= len(sent), f"sent {len(sent)}, seen {[r.raw for r in seen]}"
        rest = iter(sent)
        for request in seen:
            assert any(same(candidate, request) for candidate in rest), f"never sent: {request.raw!r}"
        reached += len(seen)

    one()
    assert reached > 300, f"only {reached} requests reached the origin: the oracle tested little"


def test_unmutated_pipelines_all_arrive(worlds: Worlds) -> None:
    """The counterpart: without mutations every request arrives, once, in order."""
    world = worlds.get("plain")
    marker = new_marker()
    data = b"".join(VALID).replace(b"@", marker.encode())
    sent, flaw = read_all_requests(data)
    assert flaw is None and len(sent) == len(VALID)
    with RawClient(world.dao.address) as client:
        client.send(data)
        for request in sent:
            assert client.response(request.method).status == 200
    seen = world.origins["a"].seen(marker)
    assert len(seen) == len(sent)
    for before, after in zip(sent, seen):
        check_forwarded(before, after)
        assert split_absolute(after.target) is None
