"""The end of a connection in good order (RFC 9113 section 6.8): GOAWAY twice, and what runs is finished."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from lib.dao import Dao, simple_config
from lib.h2frames import NO_ERROR, REFUSED_STREAM, WINDOW_MAX, H2Client, data, get, post
from lib.origin import Origin, Wait


def test_streams_that_run_are_finished(start_dao: Callable[..., Dao], origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    gate = Wait(threading.Event())
    origin.answer("/slow", gate, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
    with H2Client(dao.address) as client:
        client.send(get(1, path=b"/slow") + post(3, path=b"/upload") + data(3, b"first ", 0))
        origin.wait(lambda: origin.seen("/slow"), "the request")
        dao.signal(signal.SIGTERM)
        client.wait(lambda: len(client.goaways) == 2, "GOAWAY, twice")
        # The first asks for no more, and promises to deal with what is on its way; the second says what was.
        assert client.goaways == [(WINDOW_MAX, NO_ERROR), (3, NO_ERROR)], client.story()
        assert not client.stream(1).over
        client.send(data(3, b"second"))
        assert client.response(3).status == 200
        gate.event.set()
        stream = client.response(1)
        assert (stream.status, stream.body, stream.reset) == (200, b"done", None)
        client.wait_end()
        assert len(client.goaways) == 2
    assert origin.wait_requests(1, "/upload")[0].body == b"first second"
    assert dao.wait_exit() == 0


def test_a_stream_that_comes_too_late_may_be_tried_again(start_dao: Callable[..., Dao], origin: Origin) -> None:
    """RFC 9113 section 8.7: what GOAWAY excluded has not been looked at."""
    dao = start_dao(simple_config(origin.url))
    gate = Wait(threading.Event())
    origin.answer("/slow", gate, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
    with H2Client(dao.address) as client:
        client.send(get(1, path=b"/slow"))
        origin.wait(lambda: origin.seen("/slow"), "the request")
        dao.signal(signal.SIGTERM)
        client.wait(lambda: client.goaways and client.goaways[-1][0] == 1, "the last GOAWAY")
        client.send(get(3, path=b"/late"))
        client.sync()
        assert client.stream(3).fields is None and client.stream(3).reset in (None, REFUSED_STREAM), client.story()
        gate.event.set()
        assert client.response(1).status == 200
        client.wait_end()
    assert not origin.seen("/late")
    assert dao.wait_exit() == 0


def test_idle_connections_are_closed_at_once(start_dao: Callable[..., Dao], origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    with H2Client(dao.address) as used, H2Client(dao.address) as fresh:
        assert used.get(1, "/one").status == 200
        dao.signal(signal.SIGTERM)
        for client, last in ((used, 1), (fresh, 0)):
            client.wait_end()
            assert client.goaways[-1] == (last, NO_ERROR), client.story()
    assert dao.wait_exit() == 0
