"""gRPC through DAO, with python3-grpcio on both sides: calls, metadata, deadlines, errors, cancellation, TLS, counters."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import grpc
import pytest

from lib import deadline
from lib.dao import Dao, simple_config
from lib.h2frames import H2Client, ping
from lib.ports import refusing_port
from lib.tls import Authority

LIMIT = deadline.DEFAULT
LARGE = 4 << 20
ANY_SIZE = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def named(prefix: str, metadata: Iterable[tuple[str, str | bytes]]) -> list[tuple[str, str | bytes]]:
    return [(key, value) for key, value in metadata if key.startswith(prefix)]


@dataclass
class Backend(grpc.GenericRpcHandler):
    """A gRPC server, and what its handlers saw."""

    release: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)  # the client's call ended, for whatever reason
    remaining: float | None = None
    metadata: list[tuple[str, str | bytes]] = field(default_factory=list)
    port: int = 0

    def start(self) -> None:
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), options=ANY_SIZE)
        self.server.add_generic_rpc_handlers((self,))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def stop(self) -> None:
        self.release.set()
        self.server.stop(0).wait()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return {
            "/t/Unary": grpc.unary_unary_rpc_method_handler(lambda request, _: request),
            "/t/Down": grpc.unary_stream_rpc_method_handler(lambda request, _: iter([request] * 5)),
            "/t/Up": grpc.stream_unary_rpc_method_handler(lambda requests, _: b"".join(requests)),
            "/t/Both": grpc.stream_stream_rpc_method_handler(lambda requests, _: (each for each in requests)),
            "/t/Late": grpc.unary_unary_rpc_method_handler(self._late),
            "/t/LateStream": grpc.unary_stream_rpc_method_handler(self._late_stream),
            "/t/Abort": grpc.unary_unary_rpc_method_handler(self._abort),
            "/t/AbortMidway": grpc.unary_stream_rpc_method_handler(self._abort_midway),
            "/t/Metadata": grpc.unary_unary_rpc_method_handler(self._metadata),
        }.get(details.method)

    def _wait(self, context: grpc.ServicerContext) -> None:
        self.remaining = context.time_remaining()
        context.add_callback(self.over.set)
        self.entered.set()
        self.release.wait(LIMIT)

    def _late(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self._wait(context)
        return request

    def _late_stream(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield request
        self._wait(context)

    def _abort(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("why", "because"), ("why-bin", b"\x00\xff")))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not like this: 100 % ä")

    def _abort_midway(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield request
        context.abort(grpc.StatusCode.DATA_LOSS, "midway")

    def _metadata(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.metadata = named("x-sent", context.invocation_metadata())
        context.send_initial_metadata((("x-first", "1"), ("x-first", "2"), ("x-first-bin", bytes(range(256)))))
        context.set_trailing_metadata((("x-last", "3"), ("x-last-bin", b"\xff\x00")))
        return request


@pytest.fixture
def backend() -> Iterator[Backend]:
    backend = Backend()
    backend.start()
    yield backend
    backend.stop()


@pytest.fixture
def open_channel() -> Iterator[Callable[..., grpc.Channel]]:
    opened: list[grpc.Channel] = []

    def open_(dao: Dao, credentials: grpc.ChannelCredentials | None = None, *options: tuple) -> grpc.Channel:
        target = "{}:{}".format(*dao.address)
        # A subchannel pool of its own: no connection of another test's.
        options = [*ANY_SIZE, ("grpc.use_local_subchannel_pool", 1), *options]
        if credentials:
            opened.append(grpc.secure_channel(target, credentials, options))
        else:
            opened.append(grpc.insecure_channel(target, options))
        return opened[-1]

    yield open_
    for channel in opened:
        channel.close()


def before(backend: Backend, **sections: dict) -> dict:
    return simple_config(f"h2c://127.0.0.1:{backend.port}", **sections)


def call_four_kinds(channel: grpc.Channel) -> None:
    assert channel.unary_unary("/t/Unary")(b"x" * 200_000, timeout=LIMIT) == b"x" * 200_000
    assert list(channel.unary_stream("/t/Down")(b"a", timeout=LIMIT)) == [b"a"] * 5
    assert channel.stream_unary("/t/Up")(iter([b"1", b"2", b"3"]), timeout=LIMIT) == b"123"
    assert list(channel.stream_stream("/t/Both")(iter([b"1", b"2"]), timeout=LIMIT)) == [b"1", b"2"]


def expect_failure(call: Callable[[], object], code: str) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as failure:
        call()
    assert failure.value.code().name == code, failure.value
    return failure.value


def test_the_four_kinds(start_dao, backend, open_channel) -> None:
    call_four_kinds(open_channel(start_dao(before(backend))))


def test_over_tls(start_dao, backend, open_channel, tmp_path) -> None:
    authority = Authority(tmp_path)
    identity = authority.issue("DNS:a.test")
    dao = start_dao(before(backend, server={"tls_cert": str(identity.cert), "tls_key": str(identity.key)}))
    credentials = grpc.ssl_channel_credentials(authority.cert.read_bytes())
    call_four_kinds(open_channel(dao, credentials, ("grpc.ssl_target_name_override", "a.test")))


def test_large_messages(start_dao, backend, open_channel) -> None:
    channel = open_channel(start_dao(before(backend)))
    message = bytes(range(256)) * (LARGE // 256)
    assert channel.unary_unary("/t/Unary")(message, timeout=LIMIT) == message
    assert list(channel.stream_stream("/t/Both")(iter([message, b"", message]), timeout=LIMIT)) == [
        message,
        b"",
        message,
    ]


def test_metadata(start_dao, backend, open_channel) -> None:
    """Text and -bin, repeated keys, in the order they were sent, both ways."""
    channel = open_channel(start_dao(before(backend)))
    sent = [("x-sent", "a b"), ("x-sent", "c"), ("x-sent-bin", bytes(range(256))), ("x-sent-empty-bin", b"")]
    answer, call = channel.unary_unary("/t/Metadata").with_call(b"ping", timeout=LIMIT, metadata=sent)
    assert answer == b"ping"
    assert sorted(backend.metadata) == sorted(sent)
    assert [value for key, value in backend.metadata if key == "x-sent"] == ["a b", "c"]
    assert named("x-first", call.initial_metadata()) == [("x-first", "1"), ("x-first", "2"), ("x-first-bin", bytes(range(256)))]
    assert named("x-last", call.trailing_metadata()) == [("x-last", "3"), ("x-last-bin", b"\xff\x00")]


def test_errors_of_the_backend(start_dao, backend, open_channel) -> None:
    """Code, message and metadata arrive, with an answer that has nothing else ("Trailers-Only") and within a stream."""
    dao = start_dao(before(backend))
    channel = open_channel(dao)
    error = expect_failure(lambda: channel.unary_unary("/t/Abort")(b"x", timeout=LIMIT), "FAILED_PRECONDITION")
    assert error.details() == "not like this: 100 % ä"
    # Such an answer's head is its trailers: fields like Date are metadata too.
    assert named("why", error.trailing_metadata()) == [("why", "because"), ("why-bin", b"\x00\xff")]

    stream = channel.unary_stream("/t/AbortMidway")(b"first", timeout=LIMIT)
    assert next(stream) == b"first"
    error = expect_failure(lambda: next(stream), "DATA_LOSS")
    assert error.details() == "midway"

    expect_failure(lambda: channel.unary_unary("/t/None")(b"x", timeout=LIMIT), "UNIMPLEMENTED")


def test_the_deadline_reaches_the_backend(start_dao, backend, open_channel) -> None:
    channel = open_channel(start_dao(before(backend)))
    backend.release.set()
    channel.unary_unary("/t/Late")(b"x", timeout=LIMIT)
    # The client rounds what it writes up, by a few percent.
    assert backend.remaining is not None and 0 < backend.remaining < 1.1 * LIMIT


def test_a_deadline_that_passes_ends_the_call_at_the_backend(start_dao, backend, open_channel) -> None:
    channel = open_channel(start_dao(before(backend)))
    call = channel.unary_unary("/t/Late")
    expect_failure(lambda: call(b"x", timeout=0.3 * deadline.SCALE), "DEADLINE_EXCEEDED")
    assert backend.entered.is_set()
    assert backend.over.wait(LIMIT), "the call goes on at the backend"


@pytest.mark.parametrize("method", ["/t/Late", "/t/LateStream"])
def test_cancelling_reaches_the_backend(start_dao, backend, open_channel, method: str) -> None:
    """A client that cancels, before the answer and within it; and the connection serves the next call."""
    dao = start_dao(before(backend))
    channel = open_channel(dao)
    if method == "/t/Late":
        call = channel.unary_unary(method).future(b"x", timeout=LIMIT)
    else:
        call = channel.unary_stream(method)(b"x", timeout=LIMIT)
        assert next(call) == b"x"
    assert backend.entered.wait(LIMIT)
    call.cancel()
    assert backend.over.wait(LIMIT), "the call goes on at the backend"
    backend.release.set()
    assert channel.unary_unary("/t/Unary")(b"next", timeout=LIMIT) == b"next"
    dao.wait_access(lambda entry: entry["target"] == method)
    assert dao.metrics().value("dao_grpc_calls_total", grpc_status="none") == 1


@dataclass
class OwnError:
    code: str
    config: Callable[[Backend], dict]
    method: str = "/t/Unary"
    size: int = 1


OWN_ERRORS = {
    "refused": OwnError("UNAVAILABLE", lambda _: simple_config(f"h2c://127.0.0.1:{refusing_port()}")),
    "silent": OwnError(
        "DEADLINE_EXCEEDED",
        lambda backend: before(backend, proxy={"first_byte_timeout_ms": int(300 * deadline.SCALE)}),
        "/t/Late",
    ),
    "no-route": OwnError(
        "UNIMPLEMENTED", lambda backend: before(backend, rule={"match": {"path_exact": "/t/Other"}})
    ),
    "too-large": OwnError(
        "RESOURCE_EXHAUSTED", lambda backend: before(backend, server={"body_max_bytes": 1000}), size=5000
    ),
}


@pytest.mark.parametrize("name", OWN_ERRORS)
def test_errors_of_dao(start_dao, backend, open_channel, name: str) -> None:
    """They are told in gRPC's own way, counted and logged."""
    case = OWN_ERRORS[name]
    dao = start_dao(case.config(backend))
    call = open_channel(dao).unary_unary(case.method)
    error = expect_failure(lambda: call(bytes(case.size), timeout=LIMIT), case.code)
    assert error.details()
    (entry,) = dao.wait_access(lambda entry: entry["target"] == case.method)
    assert (entry["status"], entry["grpc_status"]) == (200, case.code) and entry["error"]
    metrics = dao.metrics()
    assert metrics.value("dao_grpc_calls_total", grpc_status=case.code) == metrics.total("dao_grpc_calls_total") == 1


def test_calls_are_counted_and_logged_by_their_status(start_dao, backend, open_channel) -> None:
    dao = start_dao(before(backend))
    channel = open_channel(dao)
    for _ in range(3):
        channel.unary_unary("/t/Unary")(b"x", timeout=LIMIT)
    expect_failure(lambda: channel.unary_unary("/t/Abort")(b"x", timeout=LIMIT), "FAILED_PRECONDITION")
    expect_failure(lambda: list(channel.unary_stream("/t/AbortMidway")(b"x", timeout=LIMIT)), "DATA_LOSS")
    entries = dao.wait_access(5)
    assert sorted(entry["grpc_status"] for entry in entries) == ["DATA_LOSS", "FAILED_PRECONDITION", "OK", "OK", "OK"]
    metrics = dao.metrics()
    counted = {status: metrics.total("dao_grpc_calls_total", route="all", grpc_status=status) for status in
               ("OK", "FAILED_PRECONDITION", "DATA_LOSS")}  # fmt: skip
    assert counted == {"OK": 3, "FAILED_PRECONDITION": 1, "DATA_LOSS": 1}
    assert metrics.value("dao_requests_total", route="all", code_class="2xx") == 5


def test_keepalive_of_a_client_is_tolerated(start_dao, backend, open_channel) -> None:
    """A client that pings as fast as its library lets it, while a call waits; the connection stays."""
    dao = start_dao(before(backend))
    eager = [("grpc.keepalive_time_ms", 20), ("grpc.keepalive_timeout_ms", int(LIMIT * 1000)),
             ("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0)]  # fmt: skip
    channel = open_channel(dao, None, *eager)
    waiting = channel.unary_unary("/t/Late").future(b"held", timeout=LIMIT)
    assert backend.entered.wait(LIMIT)
    for _ in range(50):
        assert channel.unary_unary("/t/Unary")(b"x", timeout=LIMIT) == b"x"
    backend.release.set()
    assert waiting.result() == b"held"
    metrics = dao.metrics()
    assert metrics.total("dao_http2_floods_total") == 0
    assert metrics.value("dao_connections_accepted_total") == 1


def test_pings_up_to_a_sane_number_are_answered(start_dao, backend) -> None:
    """A thousand at once are answered (keepalive needs one in seconds); `test_flood[ping]` shows what comes above."""
    dao = start_dao(before(backend))
    with H2Client(dao.address) as client:
        client.send(b"".join(ping(b"%08d" % number) for number in range(900)))
        client.wait(lambda: len(client.pongs) >= 900, "every answer")
        assert not client.goaways
