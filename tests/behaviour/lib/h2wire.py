"""HTTP/2 wire cases: frames in, and what must come of them at the client and at the origin.

A case is data, made by `served`, `stream_error`, `connection_error` or `ignored`, and played by `run`. Its steps are
frames (lib.h2frames), sent in one piece and again byte by byte, or functions that are called with the client between
them. As in lib.wire the four letters CASE stand for a marker that is new in each run; header blocks must hold it
without Huffman coding to be attributed.

The strict origin of the world is the second oracle: what a case does not let through must not reach it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lib.client import split
from lib.h2frames import PROTOCOL_ERROR, H2Client, Stream, error_name
from lib.http1 import Request
from lib.origin import Origin
from lib.origin import Step as OriginStep
from lib.wire import World, Worlds, new_marker

Step = bytes | Callable[[H2Client], object]

NOTHING, INCOMPLETE, ANY = "nothing", "incomplete", "any"  # what the origin may see of a case that ends in an error


@dataclass(frozen=True)
class H2Case:
    id: str
    rfc: str
    steps: tuple[Step, ...]
    check: Callable[[H2Client, H2Case], None]
    codes: tuple[int, ...] = ()
    stream: int = 1
    streams: tuple[int, ...] = (1,)  # served: each is answered
    status: int | tuple[int, ...] = 200
    body: bytes | None = None
    seen: Callable[[Request], object] | None = None  # of each request at the origin, raises what is wrong
    requests: int | None = None  # complete requests at the origin
    reaches: str = ANY
    answer: tuple[OriginStep, ...] | None = None
    world: str = "plain"
    handshake: bool = True
    whole_only: bool = False  # not again byte by byte

    def __str__(self) -> str:
        return self.id


def served(id: str, rfc: str, *steps: Step, **more: object) -> H2Case:
    """The requests on `streams` (1) reach the origin and are answered with `status` (200); the connection goes on."""
    more.setdefault("requests", len(more.get("streams", (1,))))
    return H2Case(id, rfc, steps, _check_served, **more)


def refused(id: str, rfc: str, status: int | tuple[int, ...], *steps: Step, **more: object) -> H2Case:
    """DAO itself answers the request with this error status; nothing reaches the origin; the connection goes on."""
    more = {"reaches": NOTHING, "requests": 0, **more}
    return H2Case(id, rfc, steps, _check_served, status=status, **more)


def stream_error(id: str, rfc: str, codes: int | tuple[int, ...], *steps: Step, **more: object) -> H2Case:
    """Stream 1 (`stream`) is reset with one of these codes, possibly after an error response, and the connection goes
    on; or the connection ends with it (RFC 9113 section 5.4.2 lets it)."""
    codes = codes if isinstance(codes, tuple) else (codes,)
    return H2Case(id, rfc, steps, _check_stream_error, codes=codes, **more)


def malformed(id: str, rfc: str, codes: int | tuple[int, ...], *steps: Step, **more: object) -> H2Case:
    """A stream error of a request that must not reach the origin at all."""
    return stream_error(id, rfc, codes, *steps, **{"reaches": NOTHING, "requests": 0, **more})


def rejected(id: str, rfc: str, *steps: Step, codes: tuple[int, ...] = (PROTOCOL_ERROR,), **more: object) -> H2Case:
    """DAO refuses in whichever way: an error response, or a stream or connection error with one of these codes; but
    nothing of it reaches the origin."""
    more = {"reaches": NOTHING, "requests": 0, **more}
    return H2Case(id, rfc, steps, _check_rejected, codes=codes, **more)


def connection_error(id: str, rfc: str, codes: int | tuple[int, ...], *steps: Step, **more: object) -> H2Case:
    """GOAWAY with one of these codes, and the connection closes."""
    codes = codes if isinstance(codes, tuple) else (codes,)
    return H2Case(id, rfc, steps, _check_connection_error, codes=codes, **more)


def ignored(id: str, rfc: str, *steps: Step, **more: object) -> H2Case:
    """The frames change nothing: no error of any kind, and the connection goes on."""
    return H2Case(id, rfc, steps, _check_ignored, **more)


# Steps ----------------------------------------------------------------------------------------------------------


def answered(stream: int = 1) -> Callable[[H2Client], object]:
    """Wait until the stream is over."""
    return lambda client: client.response(stream)


def sync(client: H2Client) -> None:
    """Wait until the server has dealt with all that was sent."""
    client.sync()


# Checks ---------------------------------------------------------------------------------------------------------


def expect_no_error(client: H2Client) -> None:
    assert not client.goaways, f"unexpected GOAWAY; {client.story()}"
    resets = [stream.number for stream in client.streams.values() if stream.reset is not None]
    assert not resets, f"unexpected RST_STREAM; {client.story()}"


def _check_served(client: H2Client, case: H2Case) -> None:
    statuses = case.status if isinstance(case.status, tuple) else (case.status,)
    for number in case.streams:
        stream = client.response(number)
        assert stream.fields is not None, f"reset instead of answered; {client.story()}"
        assert stream.status in statuses, f"status {stream.status}, expected {statuses}"
        # A server that answered early may ask for the rest to be spared (RFC 9113 section 8.1).
        assert stream.ended, f"stream {number} was reset within its answer; {client.story()}"
        if case.body is not None:
            assert stream.body == case.body
    assert not client.goaways, f"unexpected GOAWAY; {client.story()}"
    client.fence()


def _check_stream_error(client: H2Client, case: H2Case) -> None:
    def told() -> bool:
        return client.ended or client.failed or client.stream(case.stream).reset is not None

    client.wait(told, f"RST_STREAM of stream {case.stream}, or GOAWAY")
    stream = client.stream(case.stream)
    if stream.fields and case.reaches != ANY:
        assert stream.status >= 400, f"a malformed request was answered with {stream.status}; {client.story()}"
    if client.failed or client.ended:
        _check_connection_error(client, case)
        return
    assert stream.reset in case.codes, f"{_names(case)} expected; {client.story()}"
    client.fence()
    assert not client.goaways, f"unexpected GOAWAY; {client.story()}"


def _check_rejected(client: H2Client, case: H2Case) -> None:
    client.wait(lambda: client.ended or client.failed or client.stream(case.stream).over, "the refusal")
    stream = client.stream(case.stream)
    assert stream.fields is None or stream.status >= 400, f"answered with {stream.status}; {client.story()}"
    if client.failed or client.ended:
        _check_connection_error(client, case)
        return
    # After a whole answer the rest of the request is spared with NO_ERROR (RFC 9113 section 8.1).
    assert stream.ended or stream.reset in case.codes, f"{_names(case)} expected; {client.story()}"
    client.fence()
    assert not client.goaways, f"unexpected GOAWAY; {client.story()}"


def _check_connection_error(client: H2Client, case: H2Case) -> None:
    client.wait_end()
    assert client.failed, f"closed without GOAWAY {_names(case)}; {client.story()}"
    assert client.goaways[-1][1] in case.codes, f"GOAWAY {_names(case)} expected; {client.story()}"


def _check_ignored(client: H2Client, case: H2Case) -> None:
    client.sync()
    client.fence()
    expect_no_error(client)


def _names(case: H2Case) -> str:
    return " or ".join(error_name(code) for code in case.codes)


# Running a case -------------------------------------------------------------------------------------------------


def run(case: H2Case, worlds: Worlds, segment: int | None = None) -> None:
    """Plays the case once, in segments of so many bytes (None: each step at once)."""
    world = worlds.get(case.world)
    origin = world.origins["a"]
    marker = new_marker()
    if case.answer is not None:
        origin.answer(marker, *case.answer)
    violations = len(origin.violations)
    with H2Client(world.dao.address, handshake=case.handshake) as client:
        for step in case.steps:
            if isinstance(step, bytes):
                step = step.replace(b"CASE", marker.encode())
                client.send(*(split(step, segment) if segment else (step,)))
            else:
                step(client)
        case.check(client, case)
    check_origin(case.id, world, origin, marker, case.reaches, case.requests, case.seen)
    new = origin.violations[violations:]
    assert not new, f"the origin could not read what DAO sent: {new}"


def check_origin(
    id: str,
    world: World,
    origin: Origin,
    marker: str,
    reaches: str = ANY,
    requests: int | None = None,
    seen: Callable[[Request], object] | None = None,
) -> None:
    arrived = origin.seen(marker)
    complete = [request for request in arrived if request.complete]
    if reaches == NOTHING:
        assert not arrived, f"reached the origin: {[r.raw_head for r in arrived]}"
    if reaches == INCOMPLETE:
        assert not complete, f"reached the origin: {[r.raw for r in complete]}"
    if reaches != ANY:
        world.must_not_reach.append((marker, id))
    if requests is not None:
        assert len(complete) == requests, f"the origin saw {[r.raw_head for r in arrived]}, expected {requests}"
    if seen:
        assert complete
        for request in complete:
            seen(request)


def parametrized(cases: list[H2Case]) -> tuple[list[tuple[H2Case, int | None]], list[str]]:
    """Every case twice, its steps each in one segment and byte by byte, with readable test ids."""
    ids = [case.id for case in cases]
    assert len(set(ids)) == len(ids), f"case ids occur twice: {sorted({i for i in ids if ids.count(i) > 1})}"
    runs: list[tuple[H2Case, int | None]] = []
    names = []
    for case in cases:
        for size in (None,) if case.whole_only else (None, 1):
            runs.append((case, size))
            names.append(case.id if size is None else f"{case.id}/by-{size}")
    return runs, names


def total_data(stream: Stream) -> int:
    return sum(stream.data_frames)
