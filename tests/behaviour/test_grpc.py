"""gRPC through DAO: python3-grpcio on both sides, the four kinds of calls, a deadline, an error of the server."""

from __future__ import annotations

import concurrent.futures
import threading

import grpc
import pytest

from lib import deadline
from lib.dao import simple_config

RELEASE = threading.Event()


class Service(grpc.GenericRpcHandler):
    def service(self, details):
        return {
            "/t/Unary": grpc.unary_unary_rpc_method_handler(lambda request, _: request),
            "/t/Down": grpc.unary_stream_rpc_method_handler(lambda request, _: iter([request] * 5)),
            "/t/Up": grpc.stream_unary_rpc_method_handler(lambda requests, _: b"".join(requests)),
            "/t/Both": grpc.stream_stream_rpc_method_handler(lambda requests, _: (each for each in requests)),
            "/t/Late": grpc.unary_unary_rpc_method_handler(lambda request, _: (RELEASE.wait(deadline.DEFAULT), request)[1]),
        }.get(details.method)


@pytest.fixture
def channel(start_dao):
    RELEASE.clear()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Service(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    dao = start_dao(simple_config(f"h2c://127.0.0.1:{port}"))
    channel = grpc.insecure_channel("{}:{}".format(*dao.address))
    yield channel
    RELEASE.set()
    channel.close()
    server.stop(0).wait()


def test_the_four_kinds(channel) -> None:
    limit = deadline.DEFAULT
    assert channel.unary_unary("/t/Unary")(b"x" * 200_000, timeout=limit) == b"x" * 200_000
    assert list(channel.unary_stream("/t/Down")(b"a", timeout=limit)) == [b"a"] * 5
    assert channel.stream_unary("/t/Up")(iter([b"1", b"2", b"3"]), timeout=limit) == b"123"
    assert list(channel.stream_stream("/t/Both")(iter([b"1", b"2"]), timeout=limit)) == [b"1", b"2"]


@pytest.mark.parametrize("method, code, seconds", [("/t/None", "UNIMPLEMENTED", 0), ("/t/Late", "DEADLINE_EXCEEDED", 0.3)])
def test_errors(channel, method: str, code: str, seconds: float) -> None:
    with pytest.raises(grpc.RpcError) as failure:
        channel.unary_unary(method)(b"x", timeout=seconds or deadline.DEFAULT)
    assert failure.value.code().name == code
