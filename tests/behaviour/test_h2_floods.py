"""Hostile HTTP/2 clients (RFC 9113 section 10.5): each flood ends its connection, or stays within a bound.

What holds for every one of them: the connection ends with GOAWAY (ENHANCE_YOUR_CALM, where no other error of the
protocol explains it) and is counted, the origin sees no more requests than a bound, DAO's processor time and memory
stay within bounds, and another client of the same worker is served all the while: it waits less than five times as long
as beside a process that merely computes.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from lib import deadline
from lib.bystander import Bystander, busy
from lib.client import RawClient
from lib.dao import Dao, simple_config
from lib.h2frames import (
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    HEADER_TABLE_SIZE,
    INCREMENTAL,
    INITIAL_WINDOW_SIZE,
    NO_ERROR,
    PREFACE,
    PRIORITY,
    PRIORITY_UPDATE,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    H2Client,
    block,
    continuation,
    data,
    frame,
    get,
    headers,
    indexed,
    literal,
    ping,
    post,
    priority,
    request,
    rst_stream,
    settings,
    table_size,
    window_update,
)
from lib.http1 import Request
from lib.origin import EARLY, HOLD, Connection, Origin, Wait
from lib.upstream import Upstream

pytestmark = pytest.mark.measures

MIB = 1 << 20
MANY = 20000
REQUESTS_MAX = 300  # that a flood of MANY may cause at the origin
GROWTH_MAX = 24 * MIB  # of DAO's memory, by one connection
CPU_MAX = 0.5  # seconds that DAO may compute for a flood, beside what it does for the other client:
CPU_OF_A_REQUEST = 0.001
ANSWERS = 300  # of the other client, that tell its p99
SLOWDOWN_MAX = 5  # of that p99
# Seconds: a p99 below says nothing on two cores that are shared with other tests, and less under sanitizers, which make
# the hundred requests of a flood that come in one turn of the loop many times as dear.
NOISE = 0.02 * deadline.SCALE**2
SLOWEST = 1.0  # seconds that another client may have to wait, once, on a loaded machine


@dataclass
class Scene:
    dao: Dao
    origin: Origin


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A DAO of its own, with one worker, before one origin, and another one for the other client. Streams to /held wait
    for ever."""
    origin = Origin(backlog=1024)
    origin.answer("/held", HOLD)
    others = Upstream()
    directory = tmp_path_factory.mktemp("floods")
    config = simple_config(origin.url)
    host, port = others.addresses[0]
    rules = config["routes"]["rule"]
    rules.insert(0, {"name": "other", "match": {"path_exact": "/bystander"}, "upstreams": [{"name": "o", "url": f"http://{host}:{port}"}]})
    try:
        with Dao(config, directory) as dao:
            yield Scene(dao, origin)
            origin.close_connections()
            dao.close_clients()
            assert others.stop() == 0
            dao.wait_idle()
    finally:
        origin.stop()
    assert not origin.violations, origin.violations


@dataclass
class Watch:
    other: Bystander
    floods: int = 1  # set by those who send more than one


@contextlib.contextmanager
def bounded(scene: Scene) -> Iterator[Watch]:
    """What must hold around every flood."""
    other = Bystander(scene.dao.address, "/bystander")  # type: ignore[arg-type]
    try:
        with busy():
            other.wait(ANSWERS)
        calm = other.lap()
        before = len(scene.origin.seen("/held"))
        memory = scene.dao.rss_bytes()
        cpu = scene.dao.cpu_seconds()
        watch = Watch(other)
        yield watch
        other.wait(1)  # it is served to the end
        spent = scene.dao.cpu_seconds() - cpu
        grown = scene.dao.rss_bytes() - memory
        lap = other.lap()
    finally:
        other.stop()
    reached = len(scene.origin.seen("/held")) - before
    assert reached <= REQUESTS_MAX * watch.floods, f"{reached} requests reached the origin"
    assert grown <= GROWTH_MAX * deadline.MEMORY_SCALE, f"DAO grew by {grown / MIB:.1f} MiB"
    allowed = (CPU_MAX * watch.floods + CPU_OF_A_REQUEST * lap.served) * deadline.SCALE
    assert spent < allowed, f"DAO computed {spent:.2f} s, {lap.served} requests of the other client included"
    assert lap.slowest < SLOWEST * deadline.SCALE, f"the other client waited {lap.slowest:.2f} s"
    if watch.floods > 1:
        assert lap.served >= ANSWERS
        most = max(SLOWDOWN_MAX * calm.p99, NOISE)
        assert lap.p99 < most, f"p99 of the other client: {calm.p99 * 1e3:.2f} ms, then {lap.p99 * 1e3:.2f} ms"
    held = [r.connection for r in scene.origin.seen("/held")]
    scene.origin.wait(lambda: not any(map(scene.origin.is_open, held)), "the work at the origin to be given up")


def expect_ended(client: H2Client, *codes: int) -> None:
    client.wait_end()
    assert client.failed, f"no GOAWAY; {client.story()}"
    assert client.goaways[-1][1] in codes, client.story()


def batched(pieces: Iterator[bytes], size: int = 100) -> Iterator[bytes]:
    while batch := b"".join(itertools.islice(pieces, size)):
        yield batch


def streams(start: int = 1) -> Iterator[int]:
    return itertools.count(start, 2)


HELD = request(path=b"/held")
HELD_POST = request(method=b"POST", path=b"/held")


def each_stream(make: Callable[[int], bytes]) -> Callable[[], Iterator[bytes]]:
    return lambda: (make(number) for number in itertools.islice(streams(), MANY))


def again(piece: bytes, first: bytes = b"") -> Callable[[], Iterator[bytes]]:
    return lambda: itertools.chain([first], itertools.repeat(piece, MANY))


CALM = (ENHANCE_YOUR_CALM,)

FLOODS: dict[str, tuple[tuple[int, ...], Callable[[], Iterator[bytes]]]] = {
    # Rapid reset (CVE-2023-44487)
    "rapid-reset": (CALM, each_stream(lambda n: headers(n, HELD) + rst_stream(n))),
    "rapid-reset-of-uploads": (
        CALM,
        each_stream(lambda n: headers(n, HELD_POST, END_HEADERS) + data(n, b"x", 0) + rst_stream(n)),
    ),
    "rapid-reset-no-error": (CALM, each_stream(lambda n: headers(n, HELD) + rst_stream(n, NO_ERROR))),
    # MadeYouReset (CVE-2025-8671): the server is made to reset
    "made-by-window-update-of-0": (
        (*CALM, PROTOCOL_ERROR),
        each_stream(lambda n: headers(n, HELD) + window_update(n, 0)),
    ),
    "made-by-window-overflow": (
        (*CALM, FLOW_CONTROL_ERROR),
        each_stream(lambda n: headers(n, HELD) + window_update(n, (1 << 31) - 1)),
    ),
    "made-by-data-on-half-closed": ((*CALM, STREAM_CLOSED), each_stream(lambda n: headers(n, HELD) + data(n, b"x"))),
    "made-by-headers-on-half-closed": (
        (*CALM, STREAM_CLOSED),
        each_stream(lambda n: headers(n, HELD) + headers(n, block((b"x", b"1")))),
    ),
    "made-by-priority-of-4-bytes": (
        (*CALM, FRAME_SIZE_ERROR),
        each_stream(lambda n: headers(n, HELD) + frame(PRIORITY, 0, n, bytes(4))),
    ),
    "made-by-priority-on-itself": ((*CALM, PROTOCOL_ERROR), each_stream(lambda n: headers(n, HELD) + priority(n, n))),
    "made-by-length-mismatch": (
        CALM,
        each_stream(
            lambda n: headers(n, request((b"content-length", b"9"), method=b"POST", path=b"/held"), END_HEADERS)
            + data(n, b"short")
        ),
    ),
    "made-by-bad-trailers": (
        CALM,
        each_stream(lambda n: headers(n, HELD_POST, END_HEADERS) + headers(n, block((b"Upper", b"1")))),
    ),
    "made-by-malformed-requests": (CALM, each_stream(lambda n: headers(n, request((b"Upper", b"1"), path=b"/held")))),
    "made-by-refused-streams": (CALM, each_stream(lambda n: headers(n, HELD))),
    # Header blocks without end (CVE-2024-27316 and its like)
    "continuation-empty": (CALM, again(continuation(1, b"", 0), headers(1, HELD, END_STREAM))),
    "continuation-of-a-byte": (CALM, again(continuation(1, b"\x82", 0), headers(1, HELD, END_STREAM))),
    "continuation-of-fields": (
        CALM,
        again(continuation(1, literal(b"x", b"v" * 1000), 0), headers(1, HELD, END_STREAM)),
    ),
    "continuation-of-large-fields": (
        CALM,
        again(continuation(1, literal(b"x", b"v" * 16000), 0), headers(1, HELD, END_STREAM)),
    ),
    "continuation-of-trailers": (
        CALM,
        again(continuation(1, b"", 0), headers(1, HELD_POST, END_HEADERS) + headers(1, b"", END_STREAM)),
    ),
    # Frames that cost the sender nothing (CVE-2019-9511 to 9518)
    "settings": (CALM, again(settings())),
    "settings-with-values": (CALM, again(settings((INITIAL_WINDOW_SIZE, 65535)))),
    "settings-that-move-every-window": (CALM, lambda: (settings((INITIAL_WINDOW_SIZE, n % 2)) for n in range(MANY))),
    "ping": (CALM, again(ping())),
    "data-empty": (CALM, again(data(1, b"", 0), headers(1, HELD_POST, END_HEADERS))),
    "data-of-padding": (CALM, again(data(1, b"", 0, pad=0), headers(1, HELD_POST, END_HEADERS))),
    "priority": (CALM, lambda: (priority(n, 0, n % 256) for n in itertools.islice(streams(), MANY))),
    "priority-of-one-stream": (CALM, lambda: (priority(1, 3 + 2 * (n % 50)) for n in range(MANY))),
    "priority-update": (CALM, again(frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\1u=1"), headers(1, HELD))),
    "window-update": (CALM, again(window_update(0, 1))),
    "window-update-of-a-stream": (CALM, again(window_update(1, 1), headers(1, HELD))),
    "unknown-frames": (CALM, again(frame(0xEE, 0, 0))),
    "reset-of-closed-streams": (CALM, again(rst_stream(1), headers(1, HELD))),
}


@pytest.mark.parametrize("name", FLOODS)
def test_flood(scene: Scene, name: str) -> None:
    """Again and again, over new connections, until the other client's times say something."""
    codes, make = FLOODS[name]
    counted = scene.dao.metrics().total("dao_http2_floods_total")
    logged = len(scene.dao.logs("connection closed: flood"))
    calmed = sent = 0
    with bounded(scene) as watch:
        while sent < 2 or watch.other.served() < ANSWERS:
            with H2Client(scene.dao.address) as client:
                client.flood(batched(make()))
                expect_ended(client, *codes)
                calmed += client.goaways[-1][1] == ENHANCE_YOUR_CALM
            sent += 1
        watch.floods = sent
    assert scene.dao.metrics().total("dao_http2_floods_total") - counted == calmed
    assert len(scene.dao.logs("connection closed: flood")) - logged <= calmed
    with H2Client(scene.dao.address) as client:
        client.fence()


def test_a_flood_is_counted_and_logged_once(start_dao: Callable[..., Dao], origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    with H2Client(dao.address) as client:
        client.flood(batched(again(ping())()))
        expect_ended(client, ENHANCE_YOUR_CALM)
    line = dao.wait_log(lambda line: line.message == "connection closed: flood")
    assert line.fields == {"kind": "ping", "peer": "127.0.0.1"} and line.level == "warning"
    metrics = dao.metrics()
    assert metrics.value("dao_http2_floods_total", kind="ping") == 1
    assert metrics.total("dao_http2_floods_total") == 1
    with H2Client(dao.address) as client:
        client.fence()
    assert len(dao.logs("connection closed: flood")) == 1


# What is not read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [ping(), settings()], ids=["ping", "settings"])
def test_answers_that_nobody_reads(scene: Scene, piece: bytes) -> None:
    """CVE-2019-9512, 9515: acknowledgements do not pile up for a client that reads none."""
    with bounded(scene):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(deadline.DEFAULT)
        sock.connect(scene.dao.address)  # type: ignore[arg-type]
        with sock, contextlib.suppress(ConnectionResetError, BrokenPipeError):
            sock.sendall(PREFACE + settings())
            for _ in range(1000):
                sock.sendall(piece * 1000)
            pytest.fail("a million control frames were taken")


def test_streams_that_nobody_reads(scene: Scene) -> None:
    """CVE-2019-9511, 9517: a hundred answers of a megabyte, and a window that never opens."""
    size = MIB

    def stream_out(connection: Connection, _: Request) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        connection.send(bytes(size))

    scene.origin.answer("/large", stream_out)
    with bounded(scene):
        with H2Client(scene.dao.address, settings={INITIAL_WINDOW_SIZE: 0}, auto_window=False) as client:
            client.send(b"".join(get(n, path=b"/large") for n in range(1, 200, 2)))
            client.wait(lambda: sum(s.fields is not None for s in client.streams.values()) == 100, "the heads")
            client.sync()
            assert not any(stream.body for stream in client.streams.values())
            # One byte at a time changes nothing.
            for number in range(1, 200, 2):
                client.grant_stream(number, 1)
            client.sync()
            assert all(len(stream.body) <= 1 for stream in client.streams.values())


def test_a_window_of_one_byte_again_and_again(scene: Scene) -> None:
    """CVE-2019-9511: DATA in pieces of a byte is slow for the one who asked for it, and nobody else."""
    scene.origin.answer("/bytes", b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + bytes(2000))
    with bounded(scene):
        with H2Client(scene.dao.address, settings={INITIAL_WINDOW_SIZE: 1}, auto_window=False) as client:
            client.send(get(1, path=b"/bytes"))
            for count in range(1, 301):
                client.wait(lambda count=count: len(client.stream(1).body) >= count or client.failed, "a byte")
                if client.failed:
                    break
                client.grant_stream(1, 1)


def test_uploads_that_the_origin_does_not_read(scene: Scene) -> None:
    """All streams together are bound by the connection's window."""
    hold = Wait(threading.Event())
    scene.origin.answer("/stuck", EARLY, hold, HOLD)
    with bounded(scene):
        with H2Client(scene.dao.address) as client:
            client.send(b"".join(post(n, path=b"/stuck") for n in range(1, 200, 2)))
            client.sync()
            sent = 0
            for number in itertools.cycle(range(1, 200, 2)):
                room = min(client.send_window, client.peer.get(INITIAL_WINDOW_SIZE, 65535), 8192)
                if room <= 0 or sent > 8 * MIB:
                    break
                client.send(data(number, bytes(room), 0))
                client.send_window -= room
                sent += room
            client.sync()
            assert not client.failed
    hold.event.set()


# HPACK -------------------------------------------------------------------------------------------------------------


def test_hpack_bomb(scene: Scene) -> None:
    """A header list that is small on the wire and large when decoded ends before it is large."""
    with bounded(scene):
        for _ in range(5):
            with H2Client(scene.dao.address) as client:
                bomb = literal(b"x", b"v" * 4000, INCREMENTAL) + indexed(62) * 12000
                client.send(headers(1, HELD + bomb))
                client.wait(lambda: client.ended or client.failed or client.stream(1).over, "the refusal")
                stream = client.stream(1)
                assert stream.fields is None or stream.status == 431, client.story()
    assert not any("v" * 4000 in r.values("x") for r in scene.origin.seen("/held"))


def test_hpack_bombs_one_after_the_other(scene: Scene) -> None:
    """The same on one connection, until it ends."""
    bombs = (headers(n, request(path=b"/held") + literal(b"x", b"v" * 4000, INCREMENTAL) + indexed(62) * 10000)
             for n in itertools.islice(streams(), 1000))  # fmt: skip
    with bounded(scene):
        with H2Client(scene.dao.address) as client:
            client.flood(bombs)
            client.send(ping(b"lastword"))
            client.wait(lambda: client.ended or client.failed or b"lastword" in client.pongs, "the end, or order")
            if client.ended or client.failed:
                expect_ended(client, ENHANCE_YOUR_CALM, PROTOCOL_ERROR)
            else:
                client.fence()  # refused one by one (431)


def test_fields_of_nothing(scene: Scene) -> None:
    """CVE-2019-9516: empty names and values cost memory too."""
    with bounded(scene):
        with H2Client(scene.dao.address) as client:
            client.send(headers(1, HELD + b"\x00\x80\x80" * 5000))
            client.wait(lambda: client.ended or client.failed or client.stream(1).over, "the refusal")
            stream = client.stream(1)
            assert stream.fields is None or stream.status >= 400, client.story()


def test_games_with_the_table_size(scene: Scene) -> None:
    """A table announced huge is not filled, and changing its size with each block stays cheap."""
    fields = b"".join(b"X-%d: %s\r\n" % (n, b"%d" % n * 50) for n in range(60))
    for number in range(50):
        unique = fields.replace(b"X-", b"X-%d-" % number)
        scene.origin.answer(f"/table/{number}/", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + unique + b"\r\n")
    with bounded(scene):
        with H2Client(scene.dao.address, settings={HEADER_TABLE_SIZE: 0xFFFFFFFF}) as client:
            for number in range(50):
                if number % 10 == 5:
                    client.send_settings({HEADER_TABLE_SIZE: [0, 0xFFFFFFFF, 64, 1 << 20, 4096][number // 10]})
                assert client.get(2 * number + 1, f"/table/{number}/").status == 200
            for number in range(101, 301, 2):
                sizes = table_size(0) + table_size(4096)
                client.send(headers(number, sizes + request(path=b"/fence") + literal(b"x", b"v" * 3000, INCREMENTAL)))
                assert client.response(number).status == 200
            assert not client.goaways


# Slow clients ------------------------------------------------------------------------------------------------------

SHORT = 0.3
SHORT_MS = int(SHORT * 1000 * deadline.SCALE)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A DAO with short timeouts for clients."""
    origin = Origin()
    origin.answer("/held", HOLD)
    server = {
        "header_timeout_ms": SHORT_MS,
        "body_timeout_ms": SHORT_MS,
        "idle_timeout_ms": SHORT_MS,
        "write_timeout_ms": SHORT_MS,
    }
    try:
        with Dao(simple_config(origin.url, server=server), tmp_path_factory.mktemp("strict")) as dao:
            yield Scene(dao, origin)
            origin.close_connections()
            dao.wait_idle()
    finally:
        origin.stop()


SLOW = {
    "nothing-but-the-preface": b"",
    "a-frame-header-cut": b"\0\0\5",
    "a-header-block-without-end": headers(1, HELD, END_STREAM),
    "a-header-block-cut": headers(1, HELD)[:-3],
}


@pytest.mark.parametrize("name", SLOW)
def test_a_client_that_stops(strict: Scene, name: str) -> None:
    """It has so long for what it began, and then the connection ends."""
    with H2Client(strict.dao.address) as client:
        client.send(SLOW[name])
        client.wait_end()
        assert client.goaways, client.story()
    assert not strict.origin.seen("/held")


def test_a_client_that_does_not_finish_the_preface(strict: Scene) -> None:
    with RawClient(strict.dao.address) as client:
        client.send(PREFACE[:20])
        client.expect_ended()


def test_an_upload_that_stops(strict: Scene) -> None:
    """The stream ends, with 408 or a reset; the connection need not."""
    with H2Client(strict.dao.address) as client:
        client.send(post(1, path=b"/upload"))
        client.send(data(1, b"some", 0))
        client.wait(lambda: client.ended or client.stream(1).over, "the end of the stream")
        stream = client.stream(1)
        assert stream.fields is None or stream.status == 408, client.story()
    strict.origin.wait(lambda: not any(r.complete for r in strict.origin.seen("/upload")), "no whole upload")


def endless(connection: Connection, _: Request) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.send(b"10000\r\n" + bytes(65536) + b"\r\n")


def test_an_answer_that_is_not_taken(strict: Scene) -> None:
    """A window that never opens ends the stream or the connection, and the work at the origin."""
    strict.origin.answer("/endless", endless)
    with H2Client(strict.dao.address, auto_window=False) as client:
        client.send(get(1, path=b"/endless"))
        client.wait(lambda: client.ended or client.failed or client.stream(1).reset is not None, "the end")
        (seen,) = strict.origin.seen("/endless")
        strict.origin.wait(lambda: not strict.origin.is_open(seen.connection), "the origin to be let go")


def test_pings_do_not_keep_an_answer_that_is_not_taken(strict: Scene) -> None:
    """The stream's window is open, that of the connection stays closed, and all the client says is that it is there."""
    strict.origin.answer("/kept", endless)
    with H2Client(strict.dao.address, settings={INITIAL_WINDOW_SIZE: 1 << 20}, auto_window=False) as client:
        client.send(get(1, path=b"/kept"))
        end = time.monotonic() + deadline.DEFAULT
        while client.stream(1).reset is None:
            assert time.monotonic() < end, client.story()
            client.sync()
            select.select([client.raw.socket], [], [], SHORT * deadline.SCALE / 4)
        (seen,) = strict.origin.seen("/kept")
        strict.origin.wait(lambda: not strict.origin.is_open(seen.connection), "the origin to be let go")


def test_an_idle_connection_ends_in_good_order(strict: Scene) -> None:
    """RFC 9113 section 6.8: GOAWAY with NO_ERROR before the close."""
    with H2Client(strict.dao.address) as client:
        assert client.get(1, "/one").status == 200
        client.wait_end()
        assert [code for _, code in client.goaways][-1:] == [NO_ERROR], client.story()
