"""The filters of a route that edit header fields, in both directions, and bodies that are too large."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lib.client import RawClient
from lib.dao import Dao, simple_config
from lib.http1 import Response
from lib.origin import Origin
from lib.ports import refusing_port

StartDao = Callable[..., Dao]


def with_filters(url: str, **filters: object) -> dict[str, object]:
    return simple_config(url, rule={"filters": filters})


def get(client: RawClient, path: str = "/x", *fields: str) -> Response:
    head = "\r\n".join([f"GET {path} HTTP/1.1", "Host: a.test", *fields])
    return client.exchange(head.encode() + b"\r\n\r\n")


def ok(*fields: str, body: bytes = b"ok") -> bytes:
    head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *fields])
    return head.encode() + b"\r\n\r\n" + body


def test_request_fields_are_edited(start_dao: StartDao, origin: Origin) -> None:
    """Remove, rename, set, add; the variables say who asked, for what, and who answers."""
    dao = start_dao(
        with_filters(
            origin.url,
            request_headers_remove=["x-secret"],
            request_headers_rename={"X-Old": "X-New"},
            request_headers_set={"User-Agent": "dao", "Host": "$upstream_host", "X-Real-IP": "$client_ip"},
            request_headers_add={"X-To": "$route/$upstream", "X-Asked": "$scheme://$host$path", "X-Trace": "$trace_id"},
        )
    )
    with dao.client() as client:
        assert get(client, "/p?q=1", "X-Secret: s", "X-Old: v", "User-Agent: curl", "X-Kept: k").status == 200
    (request,) = origin.wait_requests()
    assert request.target == "/p?q=1"
    assert request.value("host") == origin.authority
    assert request.value("x-forwarded-host") == "a.test"
    assert request.value("user-agent") == "dao"
    assert request.value("x-real-ip") == "127.0.0.1"
    assert request.value("x-to") == "all/u0"
    assert request.value("x-asked") == "http://a.test/p"
    assert request.value("x-new") == "v"
    assert request.value("x-kept") == "k"
    assert not request.values("x-secret") and not request.values("x-old") and not request.values("x-trace")


def test_the_upstream_of_a_second_try_is_named(start_dao: StartDao, origin: Origin) -> None:
    config = simple_config(
        f"http://127.0.0.1:{refusing_port()}",
        origin.url,
        rule={"filters": {"request_headers_add": {"X-To": "$upstream"}, "request_headers_set": {"Host": "$upstream_host"}}},
    )
    dao = start_dao(config)
    with dao.client() as client:
        for _ in range(4):
            assert get(client).status == 200
    for request in origin.wait_requests(4):
        assert request.value("x-to") == "u1"
        assert request.value("host") == origin.authority


def test_response_fields_are_edited(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(
        with_filters(
            origin.url,
            response_headers_remove=["server", "X-Powered-By"],
            response_headers_rename={"X-Old": "X-New"},
            response_headers_set={"Cache-Control": "no-store"},
            response_headers_add={"X-Served-By": "$upstream", "X-Status": "$status"},
        )
    )
    origin.answer("/x", ok("Server: s", "X-Powered-By: p", "X-Old: o", "Cache-Control: public", "Cache-Control: max-age=1"))
    with dao.client() as client:
        response = get(client)
    assert response.status == 200 and response.body == b"ok"
    assert response.value("cache-control") == "no-store"
    assert response.value("x-new") == "o"
    assert response.value("x-served-by") == "u0"
    assert response.value("x-status") == "200"
    assert not response.values("server") and not response.values("x-powered-by") and not response.values("x-old")


def test_answers_of_daos_own_are_edited_too(start_dao: StartDao) -> None:
    """What must stand in every response, such as Strict-Transport-Security, stands in errors as well."""
    dao = start_dao(
        with_filters(
            f"http://127.0.0.1:{refusing_port()}",
            response_headers_set={"Strict-Transport-Security": "max-age=31536000"},
            response_headers_add={"X-Served-By": "$upstream"},
        )
    )
    with dao.client() as client:
        response = get(client)
    assert response.status == 502
    assert response.value("strict-transport-security") == "max-age=31536000"
    assert not response.values("x-served-by")


# Bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_a_request_body_above_the_limit_of_its_route(start_dao: StartDao, origin: Origin, chunked: bool) -> None:
    dao = start_dao(with_filters(origin.url, request_body_max_bytes=1000))
    body = b"x" * 1001
    framed = (
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        if chunked
        else b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    with dao.client() as client:
        response = client.exchange(b"POST /big HTTP/1.1\r\nHost: a.test\r\n" + framed)
        assert response.status == 413
        assert response.elements("connection") == ["close"]
    with dao.client() as client:
        fits = b"POST /fits HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n" + body[:1000]
        assert client.exchange(fits).status == 200
    assert [request.target for request in origin.requests if request.complete] == ["/fits"]
    (entry,) = dao.wait_access(lambda entry: entry["target"] == "/big")
    assert "request_body_max_bytes" in entry["error_detail"]
    assert dao.metrics().total("dao_client_errors_total", reason="body_too_large") == 1


def test_a_response_body_above_the_limit_is_a_502(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(with_filters(origin.url, response_body_max_bytes=1000))
    origin.answer("/big", ok(body=b"x" * 1001))
    origin.answer("/fits", ok(body=b"x" * 1000))
    with dao.client() as client:
        response = get(client, "/big")
        assert response.status == 502
        assert "http_response_body_size" in (response.value("proxy-status") or "")
        assert get(client, "/fits").body == b"x" * 1000
        head = client.exchange(b"HEAD /fits HTTP/1.1\r\nHost: a.test\r\n\r\n", method="HEAD")
        assert head.status == 200


def test_a_response_body_of_unknown_length_is_cut_off(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(with_filters(origin.url, response_body_max_bytes=100_000))
    chunk = b"%x\r\n%s\r\n" % (10_000, b"x" * 10_000)
    origin.answer("/endless", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + 20 * chunk + b"0\r\n\r\n")
    with dao.client() as client:
        client.send(b"GET /endless HTTP/1.1\r\nHost: a.test\r\n\r\n")
        response = client.response()
    assert not response.complete and len(response.body) <= 100_000
    (entry,) = dao.wait_access(lambda entry: entry["target"] == "/endless")
    assert "response_body_max_bytes" in entry["error_detail"]
