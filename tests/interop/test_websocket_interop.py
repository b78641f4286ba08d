"""WebSocket endpoints that others have written, through DAO: python3-websockets and npm's ws as servers and as clients,
over HTTP/1.1 and TLS, and Chromium, which carries its WebSockets over the HTTP/2 connection of its page (RFC 8441)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
from collections.abc import Awaitable, Callable, Iterator

import pytest
import websockets
from conftest import CHROMIUM, Node
from lib import deadline
from lib.dao import Dao, simple_config
from lib.origin import Origin
from lib.tls import Identity
from lib.websocket import LibraryServer

MIB = 1 << 20


async def echo(socket: websockets.WebSocketServerProtocol) -> None:
    async for message in socket:
        if message == "close me":
            await socket.close(4002, "go")
        else:
            await socket.send(message)


@pytest.fixture(params=["python-websockets", "npm-ws"])
def server(request: pytest.FixtureRequest, node: Callable[..., Node]) -> Iterator[str]:
    """The URL of an echo."""
    if request.param == "npm-ws":
        yield f"ws://127.0.0.1:{node('ws_server.mjs').line()}"
        return
    with LibraryServer(echo, subprotocols=["two"], compression="deflate") as library:
        yield library.url


@pytest.fixture
def pages() -> Iterator[Origin]:
    """Serves the page that Chromium opens."""
    origin = Origin()
    yield origin
    origin.stop()


def dao_before(start_dao: Callable[..., Dao], server: str, identity: Identity, pages: str | None = None) -> Dao:
    """Two listeners: without and with TLS. WebSockets go to `server`, the rest to `pages`."""
    config = simple_config(pages or server, server={"bind": None, "websocket_drain_ms": 0, "drain_timeout_ms": 20_000})
    config["server"]["listener"] = [  # type: ignore[index]
        {"name": "plain", "bind": "127.0.0.1:0"},
        {"name": "secure", "bind": "127.0.0.1:0", "tls": {"certificates": [identity.files]}},
    ]
    rule = {"name": "ws", "match": {"upgrade": "websocket"}, "upstreams": [{"name": "ws", "url": server}]}
    config["routes"]["rule"].insert(0, rule)  # type: ignore[index]
    return start_dao(config)


def url_of(dao: Dao, transport: str, scheme: str = "ws") -> str:
    host, port = dao.addresses[1 if transport == "tls" else 0]  # type: ignore[misc]
    return f"{scheme}{'s' if transport == 'tls' else ''}://{'localhost' if scheme == 'http' else host}:{port}/echo"


def websocket_lines(dao: Dao, count: int = 1) -> list[dict[str, object]]:
    lines = dao.wait_access(lambda entry: entry["route"] == "ws")
    assert len(lines) == count and all(line["status"] == 101 for line in lines), lines
    return lines


def python_client(url: str, conversation: Callable[..., Awaitable[None]], compression: str | None) -> None:
    tls = None
    if url.startswith("wss"):
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE

    async def run() -> None:
        async with websockets.connect(
            url, ssl=tls, subprotocols=["one", "two"], compression=compression, max_size=None
        ) as socket:
            assert socket.subprotocol == "two" and bool(socket.extensions) == (compression is not None)
            await conversation(socket)

    asyncio.run(asyncio.wait_for(run(), 60 * deadline.SCALE))


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("transport", ["plain", "tls"])
def test_python_websockets(
    start_dao: Callable[..., Dao], server: str, identity: Identity, transport: str, compression: str | None
) -> None:
    dao = dao_before(start_dao, server, identity)

    async def conversation(socket: websockets.WebSocketClientProtocol) -> None:
        for size in (0, 1, 125, 126, 65535, 65536, MIB, 16 * MIB):
            payload = os.urandom(size)
            await socket.send(payload)
            assert await socket.recv() == payload
        await socket.send("grüße " * 10_000)
        assert await socket.recv() == "grüße " * 10_000
        await asyncio.wait_for(await socket.ping(b"12345"), deadline.DEFAULT)
        await socket.send("close me")
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (4002, "go")

    python_client(url_of(dao, transport), conversation, compression)
    assert websocket_lines(dao)[0]["protocol"] == "HTTP/1.1"


@pytest.mark.parametrize("conversation", ["plain", "deflate", "asked"])
@pytest.mark.parametrize("transport", ["plain", "tls"])
def test_npm_ws(
    start_dao: Callable[..., Dao],
    server: str,
    identity: Identity,
    node: Callable[..., Node],
    transport: str,
    conversation: str,
) -> None:
    dao = dao_before(start_dao, server, identity)
    node("ws_client.mjs", url_of(dao, transport), conversation).finish()
    assert websocket_lines(dao)[0]["protocol"] == "HTTP/1.1"


def test_npm_ws_sees_a_drain(
    start_dao: Callable[..., Dao], server: str, identity: Identity, node: Callable[..., Node]
) -> None:
    dao = dao_before(start_dao, server, identity)
    client = node("ws_client.mjs", url_of(dao, "tls"), "drain")
    assert client.line() == "ready"
    dao.signal(signal.SIGTERM)
    client.finish()
    assert dao.wait_exit() == 0


@pytest.mark.parametrize("conversation", ["plain", "asked", "drain"])
def test_chromium(
    start_dao: Callable[..., Dao],
    server: str,
    identity: Identity,
    node: Callable[..., Node],
    pages: Origin,
    conversation: str,
) -> None:
    dao = dao_before(start_dao, server, identity, pages.url)
    page = b"<!doctype html><title>a page</title>"
    for path in ("/echo", "/favicon.ico"):
        pages.answer(
            f"GET {path} ", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page) + page
        )
    browser = node(
        "chromium.mjs", url_of(dao, "tls", "http"), url_of(dao, "tls", "http").replace("https", "wss"), CHROMIUM,
        conversation,
    )  # fmt: skip
    if conversation == "drain":
        assert browser.line() == "ready"
        dao.signal(signal.SIGTERM)
    seen = json.loads(browser.finish().splitlines()[-1])
    assert seen["protocol"] == "two" and "permessage-deflate" in seen["extensions"]
    assert seen["text"] == "grüße ☃" and seen["binary"] is True and seen["long_text"] is True
    assert seen["next_hop"] == "h2"
    expected = {"plain": [[4001, "enough"]], "asked": [[4002, "go"]], "drain": [[1012, ""], [1001, ""]]}
    assert seen["closed"][:2] in expected[conversation]
    assert seen["closed"][2] is True
    (line,) = websocket_lines(dao)
    assert line["protocol"] == "HTTP/2" and line["reused"] is True, "not over the page's connection"
    if conversation == "drain":
        assert dao.wait_exit() == 0
