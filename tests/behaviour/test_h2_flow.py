"""RFC 9113 sections 5.2 and 6.9: flow control, of both directions and end to end."""

from __future__ import annotations

import socket
import threading

import pytest

from lib import deadline
from lib.h2frames import (
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_MAX,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PRIORITY_UPDATE,
    WINDOW,
    WINDOW_MAX,
    H2Client,
    data,
    frame,
    get,
    post,
    rst_stream,
    settings,
)
from lib.h2wire import total_data
from lib.http1 import Request
from lib.origin import EARLY, READ_BODY, Connection, Wait
from lib.wire import World, new_marker

MIB = 1 << 20


def answer(world: World, size: int) -> str:
    """A path whose answer has so many bytes."""
    marker = new_marker()
    world.origins["a"].answer(marker, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"z" * size)
    return f"/{marker}"


def take_little(connection: Connection, _: Request) -> None:
    """A step: from here on the origin's kernel takes little."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)


def take_much(connection: Connection, _: Request) -> None:
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MIB)


def upload_limit(client: H2Client, stream: int) -> int:
    """How many bytes of DATA the server takes on that stream right now."""
    initial = client.peer.get(INITIAL_WINDOW_SIZE, WINDOW)
    return min(client.send_window, initial + client.stream(stream).send_window)


# What the server may send -----------------------------------------------------------------------------------------


def test_a_window_of_one_byte(world: World) -> None:
    """RFC 9113 section 6.9.1: no more DATA than the window allows."""
    with H2Client(world.dao.address, settings={INITIAL_WINDOW_SIZE: 1}, auto_window=False) as client:
        client.send(get(1, path=answer(world, 5).encode()))
        client.wait(lambda: client.stream(1).body, "the first byte")
        client.sync()
        assert client.stream(1).body == b"z" and client.stream(1).data_frames == [1]
        client.grant_stream(1, 1)
        client.wait(lambda: total_data(client.stream(1)) == 2, "the second byte")
        client.grant_stream(1, 100)
        assert client.response(1).body == b"zzzzz"


def test_a_window_of_nothing(world: World) -> None:
    """RFC 9113 section 6.9: HEADERS do not need a window, and neither does the end of an empty body."""
    with H2Client(world.dao.address, settings={INITIAL_WINDOW_SIZE: 0}, auto_window=False) as client:
        client.send(get(1, path=answer(world, 3).encode()) + get(3, path=answer(world, 0).encode()))
        assert client.response(3).body == b""
        client.wait(lambda: client.stream(1).fields, "the head")
        client.sync()
        assert client.stream(1).body == b"" and not client.stream(1).over
        client.grant_stream(1, 3)
        assert client.response(1).body == b"zzz"


def test_the_last_of_several_values_counts(world: World) -> None:
    """RFC 9113 section 6.5.3: the values of one SETTINGS frame apply in order."""
    with H2Client(world.dao.address, auto_window=False) as client:
        client.send(settings((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)))
        client.wait(lambda: client.acked == 2, "the ACK")
        client.send(get(1, path=answer(world, 5).encode()))
        client.wait(lambda: client.stream(1).body, "the first byte")
        client.sync()
        assert client.stream(1).data_frames == [1], client.story()


def test_a_window_raised_by_settings(world: World) -> None:
    """RFC 9113 section 6.9.2: a new INITIAL_WINDOW_SIZE moves the windows of the streams that are open."""
    with H2Client(world.dao.address, settings={INITIAL_WINDOW_SIZE: 0}, auto_window=False) as client:
        client.send(get(1, path=answer(world, 5).encode()))
        client.wait(lambda: client.stream(1).fields, "the head")
        client.send_settings({INITIAL_WINDOW_SIZE: 1})
        client.wait(lambda: client.stream(1).body, "a byte")
        client.sync()
        assert client.stream(1).body == b"z"
        client.send_settings({INITIAL_WINDOW_SIZE: 5})
        assert client.response(1).body == b"zzzzz"


def test_a_window_below_zero(world: World) -> None:
    """RFC 9113 section 6.9.2: a window may become negative; it must be positive before more is sent."""
    with H2Client(world.dao.address, settings={INITIAL_WINDOW_SIZE: 3}, auto_window=False) as client:
        client.send(get(1, path=answer(world, 6).encode()))
        client.wait(lambda: len(client.stream(1).body) == 3, "three bytes")
        client.send_settings({INITIAL_WINDOW_SIZE: 2})
        client.wait(lambda: client.acked == 2, "the ACK")
        client.grant_stream(1, 1)  # the window is 0 now
        client.sync()
        assert client.stream(1).body == b"zzz"
        client.grant_stream(1, 1)
        client.wait(lambda: len(client.stream(1).body) > 3, "one more byte")
        client.sync()
        assert client.stream(1).body == b"zzzz"
        client.grant_stream(1, 2)
        assert client.response(1).body == b"zzzzzz"


def test_the_window_of_the_connection(world: World) -> None:
    """RFC 9113 section 6.9.1: the connection's window bounds all streams together; the strict client checks it."""
    with H2Client(world.dao.address, settings={INITIAL_WINDOW_SIZE: MIB}, auto_window=False) as client:
        paths = [answer(world, 50000).encode() for _ in range(3)]
        client.send(b"".join(get(1 + 2 * n, path=path) for n, path in enumerate(paths)))
        client.wait(lambda: client.window == 0, "the window to be used up")
        client.sync()
        assert sum(total_data(stream) for stream in client.streams.values()) == WINDOW
        client.grant_connection(MIB)
        for number in (1, 3, 5):
            assert len(client.response(number).body) == 50000


def test_one_full_stream_holds_up_no_other(world: World) -> None:
    """RFC 9113 section 5.2: flow control of one stream leaves the others alone."""
    with H2Client(world.dao.address, auto_window=False) as client:
        client.grant_connection(MIB)
        client.send(get(1, path=answer(world, 200000).encode()))
        client.wait(lambda: total_data(client.stream(1)) == WINDOW, "the stream's window to be used up")
        for number in range(3, 23, 2):
            client.send(get(number, path=answer(world, 1000).encode()))
            assert len(client.response(number).body) == 1000
        assert total_data(client.stream(1)) == WINDOW
        client.grant_stream(1, MIB)
        assert len(client.response(1).body) == 200000


def test_frames_stay_within_the_clients_limit(world: World) -> None:
    """RFC 9113 section 4.2: no frame larger than the client's MAX_FRAME_SIZE; the strict client checks it."""
    with H2Client(world.dao.address, settings={INITIAL_WINDOW_SIZE: MIB}) as client:
        client.grant_connection(4 * MIB)
        assert len(client.get(1, answer(world, 300000)).body) == 300000
    with H2Client(world.dao.address, settings={INITIAL_WINDOW_SIZE: MIB, MAX_FRAME_SIZE: 1 << 20}) as client:
        client.grant_connection(4 * MIB)
        assert len(client.get(1, answer(world, 300000)).body) == 300000


@pytest.mark.parametrize("how", ["field", "frame"])
def test_urgent_streams_go_first(world: World, how: str) -> None:
    """RFC 9218 sections 4.1 and 7.1: what there is room for goes to the stream of the higher urgency, whether its
    request said so or a PRIORITY_UPDATE did later."""
    room = 2000
    with H2Client(world.dao.address, auto_window=False) as client:
        assert len(client.get(1, answer(world, WINDOW - room)).body) == WINDOW - room
        client.send_settings({INITIAL_WINDOW_SIZE: 0})
        urgencies = (b"u=7", b"u=0") if how == "field" else (b"u=2", b"u=5")
        for stream, urgency in zip((3, 5), urgencies):
            client.send(get(stream, (b"priority", urgency), path=answer(world, 1500).encode()))
        client.wait(lambda: client.stream(3).fields and client.stream(5).fields, "both heads")
        if how == "frame":
            client.send(frame(PRIORITY_UPDATE, 0, 0, (3).to_bytes(4, "big") + b"u=6"))
        client.send_settings({INITIAL_WINDOW_SIZE: WINDOW})
        client.wait(lambda: total_data(client.stream(3)) + total_data(client.stream(5)) == room, "all there is room for")
        client.sync()
        assert (total_data(client.stream(5)), total_data(client.stream(3))) == (1500, 500), client.story()


def test_the_largest_window(world: World) -> None:
    """RFC 9113 section 6.9.1: windows up to 2^31-1 are fine."""
    with H2Client(world.dao.address, settings={INITIAL_WINDOW_SIZE: WINDOW_MAX}, auto_window=False) as client:
        client.grant_connection(WINDOW_MAX - WINDOW)
        assert len(client.get(1, answer(world, 300000)).body) == 300000


def test_a_slow_reader_holds_up_the_origin(world: World) -> None:
    """A client that opens no window is not read ahead for: DAO holds back the origin, and the answer arrives whole
    when the window opens."""
    marker, sent, size = new_marker(), [0], 24 * MIB
    before = world.dao.rss_bytes()

    def stream_out(connection: Connection, _: Request) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            connection.send(b"s" * 65536)
            sent[0] += 65536

    world.origins["a"].answer(marker, stream_out)
    with H2Client(world.dao.address, auto_window=False) as client:
        client.send(get(1, path=f"/{marker}".encode()))
        client.wait(lambda: total_data(client.stream(1)) == WINDOW, "the window to be used up")
        last = [-1]

        def settled() -> bool:
            client.sync()
            same, last[0] = sent[0] == last[0], sent[0]
            return same

        deadline.wait_until(settled, "the origin to be held up", poll=0.1)
        assert sent[0] < 16 * MIB, f"{sent[0]} bytes were taken from the origin for a client that reads none"
        assert world.dao.rss_bytes() - before < 8 * MIB * deadline.MEMORY_SCALE
        client.auto_window = True
        client.grant(1, 8 * MIB)
        stream = client.response(1, timeout=4 * deadline.DEFAULT)
        assert stream.body == b"s" * size


# What the client may send -----------------------------------------------------------------------------------------


def test_more_than_the_window(world: World) -> None:
    """RFC 9113 section 6.9: DATA beyond the window is FLOW_CONTROL_ERROR, of the stream or the connection."""
    marker = new_marker()
    origin = world.origins["a"]
    hold = Wait(threading.Event())
    origin.answer(
        marker, EARLY, take_little, hold, take_much, READ_BODY, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    )
    with H2Client(world.dao.address) as client:
        client.send(post(1, path=f"/{marker}".encode()))
        client.sync()
        # Ten times what it allows: whatever it consumes meanwhile, this is too much for a held-up stream.
        chunk = data(1, b"d" * FRAME_MAX, 0)
        count = 10 * (upload_limit(client, 1) // FRAME_MAX + 1) + (32 * MIB) // FRAME_MAX
        client.flood(chunk for _ in range(count))
        client.wait(lambda: client.ended or client.failed or client.stream(1).reset is not None, "the error")
        codes = [code for _, code in client.goaways] + [client.stream(1).reset]
        assert FLOW_CONTROL_ERROR in codes, client.story()
    hold.event.set()
    assert not any(request.complete for request in origin.seen(marker))


def test_an_upload_is_held_up_by_a_slow_origin(world: World) -> None:
    """The window opens only as the origin takes the bytes; DAO does not pile them up."""
    marker, size, taken = new_marker(), 8 * MIB, bytearray()
    hold = Wait(threading.Event())

    def take_all(connection: Connection, _: Request) -> None:
        taken.extend(connection.reader.buffered)  # what came with the head
        while not taken.endswith(b"\r\n0\r\n\r\n"):
            taken.extend(connection.socket.recv(MIB))
        connection.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        raise OSError("this connection is done")

    world.origins["a"].answer(marker, EARLY, take_little, hold, take_much, take_all)
    before = world.dao.rss_bytes()
    with H2Client(world.dao.address) as client:
        client.send(post(1, path=f"/{marker}".encode()))
        sent = _upload(client, 1, size, until_blocked=True)
        assert sent < size, "the server takes 8 MiB that nobody reads"
        assert world.dao.rss_bytes() - before < 8 * MIB * deadline.MEMORY_SCALE
        hold.event.set()
        _upload(client, 1, size, sent)
        assert client.response(1).status == 200
    assert taken.count(b"u") == size


def _upload(client: H2Client, stream: int, size: int, sent: int = 0, until_blocked: bool = False) -> int:
    """Sends DATA within the windows up to `size`, or until the server has opened none for a few round trips."""
    client.stream(stream)
    idle = 0
    while sent < size:
        room = min(upload_limit(client, stream), FRAME_MAX, size - sent)
        if room > 0:
            client.send(data(stream, b"u" * room, END_STREAM if sent + room == size else 0))
            sent += room
            client.send_window -= room
            client.stream(stream).send_window -= room
            idle = 0
        elif until_blocked and idle == 20:
            return sent
        else:
            idle += 1
            client.sync() if until_blocked else client.wait(
                lambda: upload_limit(client, stream) > 0, "the window to open"
            )
    return sent


def test_a_large_upload(world: World) -> None:
    """The windows open again and again, for the stream and for the connection."""
    marker = new_marker()
    with H2Client(world.dao.address) as client:
        client.send(post(1, path=f"/{marker}".encode()))
        _upload(client, 1, 4 * MIB)
        assert client.response(1).status == 200
    (seen,) = world.origins["a"].seen(marker)
    assert seen.body == b"u" * (4 * MIB)


def test_padding_counts_for_the_window(world: World) -> None:
    """RFC 9113 section 6.9.1: padding uses the window up, and is given back."""
    marker = new_marker()
    with H2Client(world.dao.address) as client:
        client.send(post(1, path=f"/{marker}".encode()))
        used = 0
        for n in range(2000):
            last = n == 1999
            piece = data(1, b"p", END_STREAM if last else 0, pad=255)
            client.stream(1)
            client.wait(lambda: upload_limit(client, 1) >= 257, "the window to open")
            client.send(piece)
            client.send_window -= 257
            client.stream(1).send_window -= 257
            used += 257
        assert client.response(1).status == 200
    (seen,) = world.origins["a"].seen(marker)
    assert seen.body == b"p" * 2000


@pytest.mark.parametrize("kind", ["cancelled", "refused"])
def test_dropped_data_is_given_back_to_the_connection(world: World, kind: str) -> None:
    """RFC 9113 section 6.9: DATA of a stream that is reset counts for the connection, which must not starve of it."""
    marker = new_marker()
    origin = world.origins["a"]
    hold = Wait(threading.Event())
    origin.answer(f"{marker}/held", EARLY, hold, READ_BODY, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with H2Client(world.dao.address) as client:
        number = 1
        for _ in range(24):
            path = f"/{marker}/held".encode()
            if kind == "cancelled":
                client.send(post(number, path=path) + data(number, b"x" * FRAME_MAX, 0) + rst_stream(number))
            else:
                client.send(post(number, (b"Upper", b"1"), path=path) + data(number, b"x" * FRAME_MAX, 0))
                client.response(number)
            client.send_window -= FRAME_MAX
            client.wait(lambda: client.send_window >= FRAME_MAX, "the connection's window to open again")
            number += 2
        client.fence()
        assert not client.goaways
    hold.event.set()
