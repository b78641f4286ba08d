"""The oracle itself: lib.http1 must refuse what it is there to refuse, or the wire cases would prove nothing."""

from __future__ import annotations

import pytest

from lib.http1 import Reader, Truncated, Violation, read_response
from lib.http1 import read_all_requests, read_request_body, read_request_head

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"


def read(data: bytes):
    reader = Reader.of_bytes(data)
    request = read_request_head(reader)
    if request:
        read_request_body(reader, request)
    return request


def test_reads_a_request() -> None:
    request = read(b"POST /x?y HTTP/1.1\r\nHost: a:1\r\nX:\t v w \r\nContent-Length: 3\r\n\r\nabc")
    assert (request.method, request.target, request.version) == ("POST", "/x?y", "1.1")
    assert request.fields == [("host", "a:1"), ("x", "v w"), ("content-length", "3")]
    assert (request.body, request.framing) == (b"abc", "length")


def test_reads_chunks_and_trailers() -> None:
    request = read(GET + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nab\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n")
    assert (request.body, request.trailers) == (b"ab0123456789", [("t", "1")])


def test_end_of_stream_before_a_request_is_none() -> None:
    assert read(b"") is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /#f HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        GET + b"Host: a\r\n\r\n",
        GET + b"X : 1\r\n\r\n",
        GET + b"X: 1\r\n 2\r\n\r\n",
        GET + b"X: 1\x01\r\n\r\n",
        GET + b"X: 1\r2\r\n\r\n",
        GET + b"X\r\n\r\n",
        GET + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        GET + b"Content-Length: +1\r\n\r\nx",
        GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
        b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_refuses(data: bytes) -> None:
    with pytest.raises(Violation):
        read(data)


@pytest.mark.parametrize("data", [b"GET /", GET, GET + b"Content-Length: 5\r\n\r\nabc"])
def test_tells_a_cut_from_a_flaw(data: bytes) -> None:
    with pytest.raises(Truncated):
        read(data)


def test_read_all_stops_at_the_first_flaw() -> None:
    requests, flaw = read_all_requests(GET + b"\r\n\r\n" + GET + b"\r\n" + b"BAD\r\n\r\n" + GET + b"\r\n")
    assert len(requests) == 2 and "BAD" in flaw


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_refuses_responses(data: bytes) -> None:
    with pytest.raises(Violation):
        read_response(Reader.of_bytes(data))


def test_a_cut_response_is_not_complete() -> None:
    cut = read_response(Reader.of_bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"))
    assert (cut.body, cut.complete) == (b"ab", False)


def test_interim_responses_come_before_the_final_one() -> None:
    final = read_response(Reader.of_bytes(b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\n\r\nHTTP/1.1 204 N\r\n\r\n"))
    assert [interim.status for interim in final.interim] == [100, 103] and final.status == 204
