"""RFC 9113 sections 6 and 7: each type of frame, and error codes, as a server must act on them."""

from __future__ import annotations

import threading

import pytest

from lib.h2frames import (
    ACK,
    COMPRESSION_ERROR,
    DATA,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    NO_ERROR,
    PADDED,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WHOLE,
    WINDOW_MAX,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    H2Client,
    block,
    continuation,
    data,
    frame,
    get,
    goaway,
    headers,
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
    INCOMPLETE,
    NOTHING,
    H2Case,
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
from lib.origin import HOLD, Wait
from lib.wire import World, Worlds, new_marker

GET = request()
TRAILERS = block((b"x-trailer", b"1"))
HELD = {"answer": (HOLD,)}
PROTOCOL_OR_SIZE = (PROTOCOL_ERROR, FRAME_SIZE_ERROR)


def body_is(body: bytes) -> object:
    def check(seen: Request) -> None:
        assert seen.body == body

    return check


CASES: list[H2Case] = [
    # Section 6.1: DATA
    served("data", "RFC 9113 §6.1", post(), data(1, b"hello"), seen=body_is(b"hello")),
    served(
        "data-many",
        "RFC 9113 §6.1",
        post(),
        data(1, b"he", 0) + data(1, b"ll", 0),
        data(1, b"o"),
        seen=body_is(b"hello"),
    ),
    served("data-padded", "RFC 9113 §6.1", post(), data(1, b"hello", pad=6), seen=body_is(b"hello")),
    served("data-padded-by-0", "RFC 9113 §6.1", post(), data(1, b"hello", pad=0), seen=body_is(b"hello")),
    served("data-padded-by-255", "RFC 9113 §6.1", post(), data(1, b"hello", pad=255), seen=body_is(b"hello")),
    served("data-only-padding", "RFC 9113 §6.1", post(), data(1, b"", pad=9), seen=body_is(b"")),
    served("data-empty-end", "RFC 9113 §6.1", post(), data(1, b"hello", 0), data(1), seen=body_is(b"hello")),
    connection_error("data-on-stream-0", "RFC 9113 §6.1", PROTOCOL_ERROR, frame(DATA, END_STREAM, 0, b"x")),
    connection_error(
        "data-padding-as-long-as-the-frame",
        "RFC 9113 §6.1",
        PROTOCOL_ERROR,
        post(),
        frame(DATA, END_STREAM | PADDED, 1, b"\x05test"),
        reaches=INCOMPLETE,
    ),
    connection_error(
        "data-padding-longer",
        "RFC 9113 §6.1",
        PROTOCOL_ERROR,
        post(),
        frame(DATA, END_STREAM | PADDED, 1, b"\xfftest"),
        reaches=INCOMPLETE,
    ),
    connection_error(
        "data-padded-without-length",
        "RFC 9113 §6.1",
        PROTOCOL_OR_SIZE,
        post(),
        frame(DATA, END_STREAM | PADDED, 1),
        reaches=INCOMPLETE,
    ),
    # Section 6.2: HEADERS
    served("headers-padded", "RFC 9113 §6.2", headers(1, GET, pad=8)),
    served("headers-padded-by-255", "RFC 9113 §6.2", headers(1, GET, pad=255)),
    served("headers-with-priority", "RFC 9113 §6.2", headers(1, GET, priority=priority_fields(0, 200))),
    served(
        "headers-padded-with-priority", "RFC 9113 §6.2", headers(1, GET, pad=3, priority=priority_fields(0, 200, True))
    ),
    connection_error("headers-on-stream-0", "RFC 9113 §6.2", PROTOCOL_ERROR, headers(0, GET), reaches=NOTHING),
    connection_error(
        "headers-padding-longer",
        "RFC 9113 §6.2",
        PROTOCOL_ERROR,
        frame(HEADERS, WHOLE | PADDED, 1, bytes([len(GET) + 1]) + GET),
        reaches=NOTHING,
    ),
    connection_error(
        "headers-padding-into-priority",
        "RFC 9113 §6.2",
        PROTOCOL_OR_SIZE,
        frame(HEADERS, WHOLE | PADDED | WITH_PRIORITY, 1, b"\x04\0\0\0\0\x0f"),
        reaches=NOTHING,
    ),
    connection_error(
        "headers-padded-without-length",
        "RFC 9113 §6.2",
        PROTOCOL_OR_SIZE,
        frame(HEADERS, WHOLE | PADDED, 1),
        reaches=NOTHING,
    ),
    connection_error(
        "headers-too-short-for-priority",
        "RFC 9113 §4.2",
        (FRAME_SIZE_ERROR, PROTOCOL_ERROR),
        frame(HEADERS, WHOLE | WITH_PRIORITY, 1, b"\0\0\0\0"),
        reaches=NOTHING,
    ),
    # Section 6.3: PRIORITY
    ignored("priority", "RFC 9113 §6.3", priority(1) + priority(3, 1, 255, True)),
    connection_error("priority-on-stream-0", "RFC 9113 §6.3", PROTOCOL_ERROR, priority(0)),
    stream_error(
        "priority-too-short",
        "RFC 9113 §6.3",
        FRAME_SIZE_ERROR,
        post(),
        frame(PRIORITY, 0, 1, bytes(4)),
        reaches=INCOMPLETE,
    ),
    stream_error(
        "priority-too-long",
        "RFC 9113 §6.3",
        FRAME_SIZE_ERROR,
        post(),
        frame(PRIORITY, 0, 1, bytes(6)),
        reaches=INCOMPLETE,
    ),
    # Section 6.4: RST_STREAM
    ignored("rst-stream", "RFC 9113 §6.4", post() + rst_stream(1), reaches=INCOMPLETE),
    connection_error("rst-stream-on-stream-0", "RFC 9113 §6.4", PROTOCOL_ERROR, rst_stream(0)),
    connection_error("rst-stream-idle", "RFC 9113 §6.4", PROTOCOL_ERROR, rst_stream(1)),
    connection_error(
        "rst-stream-too-short",
        "RFC 9113 §6.4",
        FRAME_SIZE_ERROR,
        post(),
        frame(RST_STREAM, 0, 1, bytes(3)),
        reaches=INCOMPLETE,
    ),
    connection_error(
        "rst-stream-too-long",
        "RFC 9113 §6.4",
        FRAME_SIZE_ERROR,
        post(),
        frame(RST_STREAM, 0, 1, bytes(5)),
        reaches=INCOMPLETE,
    ),
    connection_error(
        "rst-stream-empty", "RFC 9113 §6.4", FRAME_SIZE_ERROR, post(), frame(RST_STREAM, 0, 1), reaches=INCOMPLETE
    ),
    # Section 6.5: SETTINGS
    ignored("settings-empty", "RFC 9113 §6.5", settings()),
    ignored(
        "settings-known",
        "RFC 9113 §6.5.2",
        settings(
            (HEADER_TABLE_SIZE, 8192),
            (ENABLE_PUSH, 0),
            (MAX_CONCURRENT_STREAMS, 0),
            (INITIAL_WINDOW_SIZE, WINDOW_MAX),
            (MAX_FRAME_SIZE, (1 << 24) - 1),
            (MAX_HEADER_LIST_SIZE, 65536),
        ),
    ),
    ignored("settings-unknown", "RFC 9113 §6.5.2", settings((0xFF, 1), (0x0, 7), (0xFFFF, 0xFFFFFFFF))),
    ignored("settings-push-1", "RFC 9113 §6.5.2", settings((ENABLE_PUSH, 1))),
    ignored("settings-frame-size-least", "RFC 9113 §6.5.2", settings((MAX_FRAME_SIZE, 16384))),
    ignored(
        "settings-table-size-0-and-back", "RFC 9113 §6.5.2", settings((HEADER_TABLE_SIZE, 0), (HEADER_TABLE_SIZE, 4096))
    ),
    connection_error(
        "settings-ack-with-payload", "RFC 9113 §6.5", FRAME_SIZE_ERROR, settings((MAX_CONCURRENT_STREAMS, 1), flags=ACK)
    ),
    connection_error("settings-ack-with-a-byte", "RFC 9113 §6.5", FRAME_SIZE_ERROR, frame(SETTINGS, ACK, 0, b"\0")),
    connection_error(
        "settings-on-a-stream", "RFC 9113 §6.5", PROTOCOL_ERROR, settings((MAX_CONCURRENT_STREAMS, 1), stream=1)
    ),
    connection_error("settings-ack-on-a-stream", "RFC 9113 §6.5", PROTOCOL_ERROR, settings(flags=ACK, stream=1)),
    connection_error("settings-of-3-bytes", "RFC 9113 §6.5", FRAME_SIZE_ERROR, frame(SETTINGS, 0, 0, b"\0\3\0")),
    connection_error(
        "settings-of-7-bytes", "RFC 9113 §6.5", FRAME_SIZE_ERROR, frame(SETTINGS, 0, 0, b"\0\3\0\0\0\1\0")
    ),
    connection_error("settings-push-2", "RFC 9113 §6.5.2", PROTOCOL_ERROR, settings((ENABLE_PUSH, 2))),
    connection_error("settings-push-huge", "RFC 9113 §6.5.2", PROTOCOL_ERROR, settings((ENABLE_PUSH, 0xFFFFFFFF))),
    connection_error(
        "settings-window-over-max",
        "RFC 9113 §6.5.2",
        FLOW_CONTROL_ERROR,
        settings((INITIAL_WINDOW_SIZE, WINDOW_MAX + 1)),
    ),
    connection_error(
        "settings-window-huge", "RFC 9113 §6.5.2", FLOW_CONTROL_ERROR, settings((INITIAL_WINDOW_SIZE, 0xFFFFFFFF))
    ),
    connection_error("settings-frame-size-below", "RFC 9113 §6.5.2", PROTOCOL_ERROR, settings((MAX_FRAME_SIZE, 16383))),
    connection_error("settings-frame-size-0", "RFC 9113 §6.5.2", PROTOCOL_ERROR, settings((MAX_FRAME_SIZE, 0))),
    connection_error(
        "settings-frame-size-above", "RFC 9113 §6.5.2", PROTOCOL_ERROR, settings((MAX_FRAME_SIZE, 1 << 24))
    ),
    connection_error(
        "settings-connect-protocol-2", "RFC 8441 §3", PROTOCOL_ERROR, settings((ENABLE_CONNECT_PROTOCOL, 2))
    ),
    # Section 6.6: PUSH_PROMISE: a client cannot push
    connection_error(
        "push-promise",
        "RFC 9113 §8.4",
        PROTOCOL_ERROR,
        get(),
        frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + GET),
        **HELD,
    ),
    connection_error(
        "push-promise-on-stream-0",
        "RFC 9113 §6.6",
        PROTOCOL_ERROR,
        frame(PUSH_PROMISE, END_HEADERS, 0, b"\0\0\0\2" + GET),
    ),
    connection_error(
        "push-promise-idle", "RFC 9113 §8.4", PROTOCOL_ERROR, frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + GET)
    ),
    # Section 6.7: PING
    connection_error("ping-on-a-stream", "RFC 9113 §6.7", PROTOCOL_ERROR, ping(stream=1)),
    connection_error("ping-ack-on-a-stream", "RFC 9113 §6.7", PROTOCOL_ERROR, ping(flags=ACK, stream=1)),
    connection_error("ping-of-6-bytes", "RFC 9113 §6.7", FRAME_SIZE_ERROR, ping(b"\0" * 6)),
    connection_error("ping-of-9-bytes", "RFC 9113 §6.7", FRAME_SIZE_ERROR, ping(b"\0" * 9)),
    connection_error("ping-empty", "RFC 9113 §6.7", FRAME_SIZE_ERROR, ping(b"")),
    connection_error("ping-ack-of-7-bytes", "RFC 9113 §6.7", FRAME_SIZE_ERROR, ping(b"\0" * 7, ACK)),
    # Section 6.8: GOAWAY
    connection_error("goaway-on-a-stream", "RFC 9113 §6.8", PROTOCOL_ERROR, goaway(stream=1)),
    connection_error("goaway-too-short", "RFC 9113 §4.2", FRAME_SIZE_ERROR, frame(GOAWAY, 0, 0, bytes(7))),
    connection_error("goaway-empty", "RFC 9113 §4.2", FRAME_SIZE_ERROR, frame(GOAWAY, 0, 0)),
    # Section 6.9: WINDOW_UPDATE
    ignored("window-update", "RFC 9113 §6.9", window_update(0, 1000)),
    served("window-update-of-a-stream", "RFC 9113 §6.9", post(), window_update(1, 1000), data(1, b"x")),
    connection_error("window-update-of-0", "RFC 9113 §6.9", PROTOCOL_ERROR, window_update(0, 0)),
    stream_error(
        "window-update-of-0-on-a-stream",
        "RFC 9113 §6.9",
        PROTOCOL_ERROR,
        post(),
        window_update(1, 0),
        reaches=INCOMPLETE,
    ),
    connection_error("window-update-of-0-reserved-bit", "RFC 9113 §6.9", PROTOCOL_ERROR, window_update(0, 0x80000000)),
    connection_error(
        "window-update-too-short", "RFC 9113 §6.9", FRAME_SIZE_ERROR, frame(WINDOW_UPDATE, 0, 0, bytes(3))
    ),
    connection_error(
        "window-update-too-long", "RFC 9113 §6.9", FRAME_SIZE_ERROR, frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1\0")
    ),
    connection_error(
        "window-update-on-a-stream-too-short",
        "RFC 9113 §6.9",
        FRAME_SIZE_ERROR,
        post(),
        frame(WINDOW_UPDATE, 0, 1, bytes(3)),
        reaches=INCOMPLETE,
    ),
    connection_error(
        "window-overflow",
        "RFC 9113 §6.9.1",
        FLOW_CONTROL_ERROR,
        window_update(0, WINDOW_MAX) + window_update(0, WINDOW_MAX),
    ),
    connection_error(
        "window-overflow-by-one",
        "RFC 9113 §6.9.1",
        FLOW_CONTROL_ERROR,
        window_update(0, WINDOW_MAX - 65535) + window_update(0, 1),
    ),
    ignored("window-to-the-brim", "RFC 9113 §6.9.1", window_update(0, WINDOW_MAX - 65535)),
    stream_error(
        "window-overflow-of-a-stream",
        "RFC 9113 §6.9.1",
        FLOW_CONTROL_ERROR,
        post(),
        window_update(1, WINDOW_MAX) + window_update(1, WINDOW_MAX),
        reaches=INCOMPLETE,
    ),
    connection_error(
        "window-overflow-by-settings",
        "RFC 9113 §6.9.2",
        FLOW_CONTROL_ERROR,
        post(),
        window_update(1, WINDOW_MAX - 65535),
        settings((INITIAL_WINDOW_SIZE, 65536)),
        reaches=INCOMPLETE,
    ),
    # Section 6.10: CONTINUATION
    served("continuation", "RFC 9113 §6.10", headers(1, GET[:3], END_STREAM) + continuation(1, GET[3:])),
    served(
        "continuation-twice",
        "RFC 9113 §6.10",
        headers(1, GET[:3], END_STREAM) + continuation(1, GET[3:9], 0) + continuation(1, GET[9:]),
    ),
    served(
        "continuation-of-trailers",
        "RFC 9113 §6.10",
        post(),
        headers(1, TRAILERS[:2], END_STREAM) + continuation(1, TRAILERS[2:]),
    ),
    served(
        "continuation-with-padded-headers",
        "RFC 9113 §6.10",
        headers(1, GET[:3], END_STREAM, pad=7) + continuation(1, GET[3:]),
    ),
    connection_error(
        "continuation-on-stream-0",
        "RFC 9113 §6.10",
        PROTOCOL_ERROR,
        headers(1, GET[:3], END_STREAM) + continuation(0, GET[3:]),
        reaches=NOTHING,
    ),
    connection_error("continuation-alone", "RFC 9113 §6.10", PROTOCOL_ERROR, continuation(1, GET), reaches=NOTHING),
    connection_error(
        "continuation-after-whole-headers",
        "RFC 9113 §6.10",
        (PROTOCOL_ERROR, STREAM_CLOSED),
        get() + continuation(1, TRAILERS),
    ),
    connection_error(
        "continuation-after-end-headers",
        "RFC 9113 §6.10",
        (PROTOCOL_ERROR, STREAM_CLOSED),
        headers(1, GET[:3], END_STREAM) + continuation(1, GET[3:]) + continuation(1, TRAILERS),
    ),
    connection_error(
        "continuation-after-data",
        "RFC 9113 §6.10",
        PROTOCOL_ERROR,
        post() + data(1, b"x", 0) + continuation(1, TRAILERS),
        reaches=INCOMPLETE,
    ),
    connection_error(
        "continuation-with-other-stream-between",
        "RFC 9113 §6.10",
        PROTOCOL_ERROR,
        headers(1, GET[:3], END_STREAM) + get(3) + continuation(1, GET[3:]),
        reaches=NOTHING,
    ),
    # Section 7: error codes
    ignored("rst-stream-unknown-code", "RFC 9113 §7", post() + rst_stream(1, 0xFF), reaches=INCOMPLETE),
    ignored("rst-stream-huge-code", "RFC 9113 §7", post() + rst_stream(1, 0xFFFFFFFF), reaches=INCOMPLETE),
    ignored("rst-stream-no-error", "RFC 9113 §7", post() + rst_stream(1, NO_ERROR), reaches=INCOMPLETE),
    ignored("rst-stream-refused", "RFC 9113 §7", post() + rst_stream(1, REFUSED_STREAM), reaches=INCOMPLETE),
]

RUNS, IDS = parametrized(CASES)


@pytest.mark.parametrize(("case", "segment"), RUNS, ids=IDS)
def test_frames(case: H2Case, segment: int | None, worlds: Worlds) -> None:
    run(case, worlds, segment)


def test_settings_are_acknowledged(world: World) -> None:
    """RFC 9113 section 6.5.3: each SETTINGS gets its ACK, in order with all else."""
    with H2Client(world.dao.address) as client:
        for count in range(2, 6):
            client.send_settings({INITIAL_WINDOW_SIZE: 1000 * count})
            client.wait(lambda count=count: client.acked == count, "the ACK")
        client.send(settings() + settings() + ping(b"fencepos"))
        client.wait(lambda: b"fencepos" in client.pongs, "the PING's answer")
        assert client.acked == 7, client.story()


def test_a_settings_ack_is_not_acknowledged(world: World) -> None:
    """RFC 9113 section 6.5.3: the client's ACK, sent with the handshake, is not answered."""
    with H2Client(world.dao.address) as client:
        client.sync()
        assert client.acked == 1, client.story()


def test_pings_are_answered_with_their_bytes(world: World) -> None:
    """RFC 9113 section 6.7."""
    with H2Client(world.dao.address) as client:
        for payload in (bytes(8), b"\xff" * 8, b"12345678"):
            client.send(ping(payload))
            client.wait(lambda payload=payload: client.pongs[-1:] == [payload], "the PING's answer")


def test_a_ping_ack_is_not_answered(world: World) -> None:
    """RFC 9113 section 6.7."""
    with H2Client(world.dao.address) as client:
        client.send(ping(b"unasked!", ACK))
        client.sync()
        assert b"unasked!" not in client.pongs
        client.fence()
        expect_no_error(client)


def test_a_ping_is_answered_while_a_stream_waits(world: World) -> None:
    """RFC 9113 section 6.7: PING answers go before all else; nothing that a stream does holds them up."""
    marker = new_marker()
    world.origins["a"].answer(marker, HOLD)
    with H2Client(world.dao.address) as client:
        client.send(get(1, path=f"/{marker}".encode()) + post(3, path=f"/{marker}".encode()))
        client.sync()
        assert not client.stream(1).over and not client.stream(3).over


@pytest.mark.parametrize("code", [NO_ERROR, PROTOCOL_ERROR, 0xFF, 0xFFFFFFFF], ids=["none", "error", "255", "huge"])
def test_goaway_of_the_client(world: World, code: int) -> None:
    """RFC 9113 sections 6.8 and 7: streams that run are finished, then the server may close in good order."""
    marker = new_marker()
    origin = world.origins["a"]
    step = Wait(threading.Event())
    origin.answer(marker, step, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
    with H2Client(world.dao.address) as client:
        client.send(get(1, path=f"/{marker}".encode()))
        origin.wait(lambda: origin.seen(marker), "the request")
        client.send(goaway(0, code, b"debug data") + ping(b"aftergo!"))
        step.event.set()
        if code == NO_ERROR:
            stream = client.response(1)
            assert stream.status == 200 and stream.body == b"done"
        else:
            client.wait(lambda: client.ended or client.stream(1).over, "the answer or the end")
        assert not client.failed, client.story()


def test_a_block_error_code(world: World) -> None:
    """RFC 9113 section 4.3: a header block that cannot be decoded is COMPRESSION_ERROR, and no more is answered."""
    marker = new_marker()
    world.origins["a"].answer(marker, HOLD)
    with H2Client(world.dao.address) as client:
        client.send(get(1, path=f"/{marker}".encode()) + headers(3, b"\x80"))
        client.wait_end()
        assert client.goaways[-1][1] == COMPRESSION_ERROR, client.story()
        assert client.stream(1).fields is None
