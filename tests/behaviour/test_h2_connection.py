"""RFC 9113 sections 3 to 5: the preface, frames and header blocks, and the states of streams, as a server must act."""

from __future__ import annotations

import pytest

from lib import deadline
from lib.client import RawClient, split
from lib.h2frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_MAX,
    FRAME_SIZE_ERROR,
    HEADERS,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    NO_RFC7540_PRIORITIES,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    COMPRESSION_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    H2Client,
    block,
    continuation,
    data,
    frame,
    get,
    goaway,
    headers,
    literal,
    ping,
    post,
    priority,
    priority_fields,
    request,
    rst_stream,
    settings,
    window_update,
)
from lib.h2wire import (
    H2Case,
    INCOMPLETE,
    NOTHING,
    answered,
    connection_error,
    expect_no_error,
    ignored,
    parametrized,
    run,
    served,
    stream_error,
)
from lib.http1 import Request
from lib.origin import HOLD
from lib.wire import World, Worlds, new_marker

OK_PREFACE = {"handshake": False}
HELD = {"answer": (HOLD,)}
UNKNOWN = 0x16  # a frame type that nobody defined
GET = request()


def body_is(body: bytes) -> object:
    def check(seen: Request) -> None:
        assert seen.body == body

    return check


def headers_in_parts(*parts: bytes, stream: int = 1, flags: int = END_STREAM) -> bytes:
    """A header block over HEADERS and as many CONTINUATION frames as needed."""
    first, *more = parts
    frames = [headers(stream, first, flags)]
    frames += [continuation(stream, part, 0) for part in more]
    return b"".join(frames[:-1]) + (continuation(stream, more[-1]) if more else headers(stream, first, flags | 4))


CASES: list[H2Case] = [
    # Section 3.4: the preface --------------------------------------------------------------------------------------
    served("preface-then-request", "RFC 9113 §3.4", PREFACE + settings() + get(), **OK_PREFACE),
    served(
        "preface-settings-with-values", "RFC 9113 §3.4", PREFACE + settings((3, 10), (4, 65535)) + get(), **OK_PREFACE
    ),
    connection_error("first-frame-ping", "RFC 9113 §3.4", PROTOCOL_ERROR, PREFACE + ping(), **OK_PREFACE),
    connection_error(
        "first-frame-headers", "RFC 9113 §3.4", PROTOCOL_ERROR, PREFACE + get(), reaches=NOTHING, **OK_PREFACE
    ),
    connection_error("first-frame-settings-ack", "RFC 9113 §3.4", PROTOCOL_ERROR, PREFACE + SETTINGS_ACK, **OK_PREFACE),
    connection_error(
        "first-frame-unknown", "RFC 9113 §3.4", PROTOCOL_ERROR, PREFACE + frame(UNKNOWN, 0, 0, b"x"), **OK_PREFACE
    ),
    connection_error("preface-twice", "RFC 9113 §3.4", (FRAME_SIZE_ERROR, PROTOCOL_ERROR), PREFACE, whole_only=True),
    # Section 4.1: the frame header ---------------------------------------------------------------------------------
    ignored("unknown-type", "RFC 9113 §4.1", frame(UNKNOWN, 0, 0, b"x" * 8)),
    ignored("unknown-type-all-flags", "RFC 9113 §4.1", frame(0xFF, 0xFF, 0, b"x" * 8)),
    ignored("unknown-type-empty", "RFC 9113 §4.1", frame(0xB, 0, 0)),
    ignored("unknown-type-largest", "RFC 9113 §5.5", frame(UNKNOWN, 0, 0, bytes(FRAME_MAX)), whole_only=True),
    served(
        "unknown-type-on-open-stream",
        "RFC 9113 §5.5",
        post(),
        frame(UNKNOWN, 1, 1, b"x"),
        data(1, b"hi"),
        seen=body_is(b"hi"),
    ),
    connection_error(
        "unknown-type-too-large",
        "RFC 9113 §4.2",
        FRAME_SIZE_ERROR,
        frame(UNKNOWN, 0, 0, bytes(FRAME_MAX + 1)),
        whole_only=True,
    ),
    served("undefined-flags-on-headers", "RFC 9113 §4.1", headers(1, GET, END_STREAM | END_HEADERS | 0xD2)),
    served("undefined-flags-on-data", "RFC 9113 §4.1", post(), data(1, b"hi", END_STREAM | 0xF6), seen=body_is(b"hi")),
    ignored("undefined-flags-on-window-update", "RFC 9113 §4.1", frame(WINDOW_UPDATE, 0xFF, 0, b"\0\0\0\1")),
    served("reserved-bit-on-headers", "RFC 9113 §4.1", headers(0x80000001, GET)),
    served("reserved-bit-on-data", "RFC 9113 §4.1", post(), data(0x80000001, b"hi"), seen=body_is(b"hi")),
    ignored("reserved-bit-on-settings", "RFC 9113 §4.1", frame(SETTINGS, 0, 0x80000000)),
    ignored("reserved-bit-in-window-update", "RFC 9113 §6.9", frame(WINDOW_UPDATE, 0, 0, b"\x80\0\0\1")),
    # Section 4.2: the frame size -----------------------------------------------------------------------------------
    served(
        "data-of-the-largest-size",
        "RFC 9113 §4.2",
        post(),
        data(1, b"d" * FRAME_MAX),
        whole_only=True,
        seen=body_is(b"d" * FRAME_MAX),
    ),
    stream_error(
        "data-too-large",
        "RFC 9113 §4.2",
        FRAME_SIZE_ERROR,
        post(),
        data(1, b"d" * (FRAME_MAX + 1)),
        reaches=INCOMPLETE,
        whole_only=True,
    ),
    connection_error(
        "headers-too-large",
        "RFC 9113 §4.2",
        FRAME_SIZE_ERROR,
        headers(1, request((b"x", b"v" * FRAME_MAX))),
        reaches=NOTHING,
        whole_only=True,
    ),
    connection_error(
        "continuation-too-large",
        "RFC 9113 §4.2",
        FRAME_SIZE_ERROR,
        headers(1, GET, END_STREAM) + continuation(1, bytes(FRAME_MAX + 1)),
        reaches=NOTHING,
        whole_only=True,
    ),
    connection_error(
        "settings-too-large", "RFC 9113 §4.2", FRAME_SIZE_ERROR, settings(*[(0xF0, 0)] * 2731), whole_only=True
    ),
    connection_error(
        "length-of-16-mb-announced", "RFC 9113 §4.2", FRAME_SIZE_ERROR, frame(DATA, 0, 1, b"", length=(1 << 24) - 1)
    ),
    # Section 4.3: header blocks ------------------------------------------------------------------------------------
    served("block-in-two-parts", "RFC 9113 §4.3", headers_in_parts(GET[:5], GET[5:])),
    served("block-in-many-parts", "RFC 9113 §4.3", headers_in_parts(*split(GET, 8)[:6], GET[48:])),
    served(
        "block-with-empty-parts",
        "RFC 9113 §4.3",
        headers(1, b"", END_STREAM) + continuation(1, GET, 0) + continuation(1, b""),
    ),
    served(
        "block-in-parts-then-data",
        "RFC 9113 §4.3",
        headers_in_parts(request(method=b"POST")[:9], request(method=b"POST")[9:], flags=0),
        data(1, b"hi"),
        seen=body_is(b"hi"),
    ),
    connection_error(
        "block-invalid",
        "RFC 9113 §4.3",
        COMPRESSION_ERROR,
        headers(1, b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        reaches=NOTHING,
    ),
    connection_error(
        "block-cut", "RFC 9113 §4.3", COMPRESSION_ERROR, headers(1, request((b"x", b"12345"))[:-2]), reaches=NOTHING
    ),
    connection_error(
        "block-cut-in-trailers",
        "RFC 9113 §4.3",
        COMPRESSION_ERROR,
        post(),
        headers(1, block((b"x", b"12345"))[:-2]),
        reaches=INCOMPLETE,
    ),
    *(
        connection_error(
            f"block-interrupted-by-{name}",
            "RFC 9113 §4.3",
            PROTOCOL_ERROR,
            headers(1, GET, END_STREAM) + other,
            reaches=NOTHING,
        )
        for name, other in [
            ("priority", priority(1)),
            ("priority-on-another-stream", priority(3)),
            ("headers-on-another-stream", get(3)),
            ("headers-on-the-stream", get(1)),
            ("continuation-on-another-stream", continuation(3, GET)),
            ("data", data(1, b"x")),
            ("rst-stream", rst_stream(1)),
            ("settings", settings()),
            ("settings-ack", SETTINGS_ACK),
            ("ping", ping()),
            ("goaway", goaway()),
            ("window-update", window_update(0, 1)),
            ("unknown", frame(UNKNOWN, 0, 0, b"x")),
            ("unknown-on-the-stream", frame(UNKNOWN, 0, 1, b"x")),
        ]
    ),
    # Section 5.1: idle ---------------------------------------------------------------------------------------------
    connection_error("idle-data", "RFC 9113 §5.1", PROTOCOL_ERROR, data(1, b"x")),
    connection_error("idle-data-empty", "RFC 9113 §5.1", PROTOCOL_ERROR, data(1)),
    connection_error("idle-rst-stream", "RFC 9113 §5.1", PROTOCOL_ERROR, rst_stream(1)),
    connection_error("idle-window-update", "RFC 9113 §5.1", PROTOCOL_ERROR, window_update(1, 100)),
    connection_error("idle-continuation", "RFC 9113 §5.1", PROTOCOL_ERROR, continuation(1, GET), reaches=NOTHING),
    connection_error("idle-even-data", "RFC 9113 §5.1", PROTOCOL_ERROR, data(2, b"x")),
    connection_error("idle-even-rst-stream", "RFC 9113 §5.1", PROTOCOL_ERROR, rst_stream(2)),
    connection_error("idle-even-window-update", "RFC 9113 §5.1", PROTOCOL_ERROR, window_update(2, 1)),
    connection_error("idle-above-the-last", "RFC 9113 §5.1", PROTOCOL_ERROR, get(3), answered(3), data(5, b"x")),
    # Section 5.1: half-closed (remote), while the server still works on the answer -----------------------------------
    stream_error("half-closed-data", "RFC 9113 §5.1", STREAM_CLOSED, get() + data(1, b"x"), **HELD),
    stream_error("half-closed-data-empty", "RFC 9113 §5.1", STREAM_CLOSED, get() + data(1), **HELD),
    stream_error("half-closed-headers", "RFC 9113 §5.1", STREAM_CLOSED, get() + get(), **HELD),
    stream_error(
        "half-closed-trailers", "RFC 9113 §5.1", STREAM_CLOSED, get() + headers(1, block((b"x", b"1"))), **HELD
    ),
    connection_error(
        "half-closed-continuation",
        "RFC 9113 §6.10",
        (PROTOCOL_ERROR, STREAM_CLOSED),
        get() + continuation(1, block((b"x", b"1"))),
        **HELD,
    ),
    stream_error(
        "half-closed-after-data", "RFC 9113 §5.1", STREAM_CLOSED, post() + data(1, b"x") + data(1, b"y"), **HELD
    ),
    stream_error(
        "half-closed-after-trailers",
        "RFC 9113 §5.1",
        STREAM_CLOSED,
        post() + headers(1, block((b"x", b"1"))) + data(1, b"y"),
        **HELD,
    ),
    served("half-closed-window-update", "RFC 9113 §5.1", get() + window_update(1, 100)),
    served("half-closed-priority", "RFC 9113 §5.1", get() + priority(1)),
    ignored("half-closed-rst-stream", "RFC 9113 §5.1", get() + rst_stream(1), **HELD),
    # Section 5.1: closed -------------------------------------------------------------------------------------------
    stream_error("closed-data", "RFC 9113 §5.1", STREAM_CLOSED, get(), answered(), data(1, b"x")),
    connection_error("closed-headers", "RFC 9113 §5.1", STREAM_CLOSED, get(), answered(), get()),
    connection_error(
        "closed-continuation",
        "RFC 9113 §6.10",
        (PROTOCOL_ERROR, STREAM_CLOSED),
        get(),
        answered(),
        continuation(1, GET),
    ),
    ignored("closed-priority", "RFC 9113 §5.1", get(), answered(), priority(1)),
    ignored("closed-window-update", "RFC 9113 §5.1", get(), answered(), window_update(1, 100)),
    ignored("closed-rst-stream", "RFC 9113 §5.1", get(), answered(), rst_stream(1)),
    stream_error(
        "reset-then-data", "RFC 9113 §5.1", STREAM_CLOSED, post() + rst_stream(1) + data(1, b"x"), reaches=INCOMPLETE
    ),
    stream_error(
        "reset-then-headers", "RFC 9113 §5.1", STREAM_CLOSED, post() + rst_stream(1) + get(), reaches=INCOMPLETE
    ),
    stream_error(
        "reset-then-continuation",
        "RFC 9113 §6.10",
        (PROTOCOL_ERROR, STREAM_CLOSED),
        post() + rst_stream(1) + continuation(1, GET),
        reaches=INCOMPLETE,
    ),
    ignored("reset-then-priority", "RFC 9113 §5.1", post() + rst_stream(1) + priority(1), reaches=INCOMPLETE),
    ignored(
        "reset-then-window-update", "RFC 9113 §5.1", post() + rst_stream(1) + window_update(1, 1), reaches=INCOMPLETE
    ),
    ignored("reset-twice", "RFC 9113 §5.1", post() + rst_stream(1) + rst_stream(1), reaches=INCOMPLETE),
    # Section 5.1.1: identifiers --------------------------------------------------------------------------------------
    connection_error("even-stream", "RFC 9113 §5.1.1", PROTOCOL_ERROR, get(2), reaches=NOTHING),
    connection_error("stream-0", "RFC 9113 §5.1.1", PROTOCOL_ERROR, get(0), reaches=NOTHING),
    connection_error("smaller-stream", "RFC 9113 §5.1.1", (PROTOCOL_ERROR, STREAM_CLOSED), get(5), answered(5), get(3)),
    connection_error(
        "smaller-stream-while-open", "RFC 9113 §5.1.1", (PROTOCOL_ERROR, STREAM_CLOSED), get(5) + get(3), **HELD
    ),
    served("skipped-streams", "RFC 9113 §5.1.1", get(7) + get(101), streams=(7, 101)),
    served("many-at-once", "RFC 9113 §5", b"".join(get(n) for n in range(1, 41, 2)), streams=tuple(range(1, 41, 2))),
    # Section 5.3: priority is deprecated, and checked ----------------------------------------------------------------
    served("priority-weight-1", "RFC 9113 §5.3", headers(1, GET, priority=priority_fields(0, 0))),
    served("priority-weight-256", "RFC 9113 §5.3", headers(1, GET, priority=priority_fields(0, 255))),
    served("priority-dependency", "RFC 9113 §5.3", headers(3, GET, priority=priority_fields(1)), streams=(3,)),
    served(
        "priority-exclusive",
        "RFC 9113 §5.3",
        headers(3, GET, priority=priority_fields(1, exclusive=True)),
        streams=(3,),
    ),
    served("priority-idle-then-lower", "RFC 9113 §5.1", priority(5) + get(3), streams=(3,)),
    served("priority-idle-then-open", "RFC 9113 §5.1", priority(1, 3) + get(1)),
    stream_error(
        "priority-on-itself-in-headers", "RFC 7540 §5.3.1", PROTOCOL_ERROR, headers(1, GET, priority=priority_fields(1))
    ),
    stream_error("priority-on-itself", "RFC 7540 §5.3.1", PROTOCOL_ERROR, post() + priority(1, 1), reaches=INCOMPLETE),
    # Section 5.5: extensions -----------------------------------------------------------------------------------------
    ignored("extension-before-request", "RFC 9113 §5.5", frame(UNKNOWN, 0, 0, b"x") + frame(0xEE, 1, 0, b"y")),
]

RUNS, IDS = parametrized(CASES)


@pytest.mark.parametrize(("case", "segment"), RUNS, ids=IDS)
def test_connection(case: H2Case, segment: int | None, worlds: Worlds) -> None:
    run(case, worlds, segment)


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize(
    "start",
    [
        b"INVALID CONNECTION PREFACE\r\n\r\n",
        PREFACE[:-1] + b"X",
        PREFACE[:14] + b"X" + PREFACE[15:],
        PREFACE[:18] + b"XX" + PREFACE[20:],
        PREFACE.replace(b"2.0", b"2.1"),
        PREFACE.replace(b"PRI", b"PRX"),
        PREFACE.replace(b"\r\n", b"\n"),
    ],
    ids=["words", "last-byte", "first-cr", "sm", "version", "method", "bare-lf"],
)  # fmt: skip
def test_invalid_preface(start: bytes, size: int | None, world: World) -> None:
    """RFC 9113 section 3.4: a connection error, of which GOAWAY may be spared. Nothing behind it is a request."""
    marker = new_marker()
    rest = (settings() + get()).replace(b"CASE", marker.encode())
    with RawClient(world.dao.address) as client:
        client.send(*(split(start + rest, size) if size else (start + rest,)))
        client.half_close()
        client.expect_ended()
    assert not world.origins["a"].seen(marker)
    world.must_not_reach.append((marker, "invalid preface"))


def test_the_server_speaks_first(world: World) -> None:
    """RFC 9113 section 3.4: the server's preface is SETTINGS, and needs no SETTINGS of the client to come."""
    with H2Client(world.dao.address, handshake=False) as client:
        client.send(PREFACE)
        client.wait(lambda: client.frames, "the server's SETTINGS")  # anything else is a violation


def test_what_the_server_announces(world: World) -> None:
    """RFC 9113 section 6.5.2 and RFC 9218 section 2.1: limits that clients can keep to, and no use for old priorities."""
    with H2Client(world.dao.address) as client:
        assert client.peer[MAX_CONCURRENT_STREAMS] == 100
        assert client.peer[MAX_HEADER_LIST_SIZE] > 0
        assert client.peer[NO_RFC7540_PRIORITIES] == 1


def test_preface_in_pieces(world: World) -> None:
    """The preface may come in any two pieces."""
    for at in range(1, len(PREFACE)):
        with H2Client(world.dao.address, handshake=False) as client:
            client.send(PREFACE[:at], PREFACE[at:] + settings())
            client.fence()


def test_undefined_flags_of_ping(world: World) -> None:
    """RFC 9113 section 4.1: flags without meaning are ignored."""
    with H2Client(world.dao.address) as client:
        client.send(frame(PING, 0xFF & ~ACK, 0, b"flagging"))
        client.wait(lambda: b"flagging" in client.pongs, "the PING's answer")
        client.fence()
        expect_no_error(client)


def test_streams_above_the_limit_are_refused(world: World) -> None:
    """RFC 9113 section 5.1.2: more streams than MAX_CONCURRENT_STREAMS allows are refused, and may be tried again."""
    marker = new_marker()
    origin = world.origins["a"]
    origin.answer(marker, HOLD)
    with H2Client(world.dao.address) as client:
        limit = client.peer.get(MAX_CONCURRENT_STREAMS, 0)
        assert 0 < limit <= 1000, "a server should state how many streams it serves at once"
        over = 2 * limit + 1
        client.send(b"".join(get(n, path=f"/{marker}".encode()) for n in range(1, over + 1, 2)))
        stream = client.response(over)
        assert stream.fields is None and stream.reset in (REFUSED_STREAM, PROTOCOL_ERROR), client.story()
        client.sync()
        assert not client.goaways
        assert [s.number for s in client.streams.values() if s.over] == [over]
        assert len(origin.seen(marker)) <= limit
        # Each that ends makes room for one.
        client.send(rst_stream(1) + get(over + 2, path=f"/{marker}/next".encode()))
        origin.wait(lambda: origin.seen(f"{marker}/next"), "the request that has room now")
        assert not client.goaways and not client.stream(over + 2).over


def test_a_reset_stream_cancels_the_work(world: World) -> None:
    """RFC 9113 section 8.7: what the client cancels ends at the origin, and other streams go on."""
    marker = new_marker()
    origin = world.origins["a"]
    origin.answer(marker, HOLD)
    with H2Client(world.dao.address) as client:
        client.send(get(1, path=f"/{marker}".encode()))
        origin.wait(lambda: origin.seen(marker), "the request")
        connection = origin.seen(marker)[0].connection
        client.send(rst_stream(1))
        origin.wait(lambda: not origin.is_open(connection), "the origin's connection to be dropped")
        client.fence()
        expect_no_error(client)


@pytest.mark.parametrize("order", [0, 1], ids=["first", "last"])
def test_one_slow_stream_holds_up_no_other(world: World, order: int) -> None:
    """RFC 9113 section 5: streams are independent."""
    marker = new_marker()
    world.origins["a"].answer(f"{marker}/slow", HOLD)
    slow = get(1 if order == 0 else 41, path=f"/{marker}/slow".encode())
    fast = [get(n, path=f"/{marker}/fast".encode()) for n in range(3, 41, 2)]
    with H2Client(world.dao.address) as client:
        client.send(b"".join([slow, *fast] if order == 0 else [*fast, slow]))
        for number in range(3, 41, 2):
            assert client.response(number).status == 200
        client.sync()
        assert not client.stream(1 if order == 0 else 41).over


def test_frames_on_a_stream_that_the_server_reset_are_ignored(world: World) -> None:
    """RFC 9113 section 5.4.2: after RST_STREAM the peer's frames may still be on their way."""
    marker = new_marker()
    with H2Client(world.dao.address) as client:
        client.send(post(1, (b"Upper", b"1"), path=f"/{marker}".encode()))
        assert client.response(1).reset == PROTOCOL_ERROR
        client.send(data(1, b"late", 0) + window_update(1, 5) + headers(1, block((b"late", b"1"))) + rst_stream(1))
        client.sync()
        client.fence()
        assert not client.goaways, client.story()
    assert not world.origins["a"].seen(marker)


def test_the_compression_state_survives_a_reset_stream(world: World) -> None:
    """RFC 9113 section 4.3: header blocks of refused and reset streams change the dynamic table all the same."""
    marker = new_marker()
    origin = world.origins["a"]
    with H2Client(world.dao.address) as client:
        kept = literal(b"x-kept", b"yes", (0x40, 6))
        client.send(headers(1, request((b"Upper", b"1"), path=f"/{marker}/bad".encode()) + kept, END_HEADERS))
        assert client.response(1).reset == PROTOCOL_ERROR
        late = literal(b"x-late", b"too", (0x40, 6))
        client.send(headers(1, late))  # trailers of the stream that is reset by now
        client.send(headers(3, request(path=f"/{marker}/good".encode()) + b"\xbe\xbf"))
        assert client.response(3).status == 200, client.story()
    (seen,) = origin.seen(marker)
    assert seen.values("x-kept") == ["yes"] and seen.values("x-late") == ["too"]


def test_goaway_names_the_last_stream(world: World) -> None:
    """RFC 9113 section 6.8: GOAWAY of a connection error holds the highest stream that was acted upon."""
    with H2Client(world.dao.address) as client:
        assert client.get(1, "/one").status == 200
        assert client.get(3, "/three").status == 200
        client.send(ping(b"short"))
        client.wait_end()
        assert client.goaways == [(3, FRAME_SIZE_ERROR)], client.story()


def test_a_dying_connection_cancels_its_streams(world: World) -> None:
    """Requests of a connection that ended by an error are not left behind at the origin."""
    marker = new_marker()
    origin = world.origins["a"]
    origin.answer(marker, HOLD)
    with H2Client(world.dao.address) as client:
        client.send(b"".join(get(n, path=f"/{marker}".encode()) for n in (1, 3, 5)))
        origin.wait(lambda: len(origin.seen(marker)) == 3, "the three requests")
        connections = [r.connection for r in origin.seen(marker)]
        client.send(ping(b"short"))
        client.wait_end()
        assert client.failed
    origin.wait(lambda: not any(map(origin.is_open, connections)), "the origin's connections to be dropped")


def test_a_client_that_vanishes_leaves_nothing(world: World) -> None:
    marker = new_marker()
    origin = world.origins["a"]
    origin.answer(marker, HOLD)
    client = H2Client(world.dao.address)
    client.send(get(1, path=f"/{marker}".encode()))
    origin.wait(lambda: origin.seen(marker), "the request")
    connection = origin.seen(marker)[0].connection
    client.raw.reset()
    origin.wait(lambda: not origin.is_open(connection), "the origin's connection to be dropped", deadline.DEFAULT)
