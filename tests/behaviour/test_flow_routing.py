"""The filters of a route that decide where a request goes: rewrite, redirect, fixed response, sticky, split."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.client import RawClient
from lib.dao import Dao, binary, simple_config
from lib.http1 import Response
from lib.origin import RESET, Origin

StartDao = Callable[..., Dao]
MakeOrigin = Callable[..., Origin]


def get(client: RawClient, path: str = "/x", *fields: str, method: str = "GET") -> Response:
    head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a.test", *fields])
    return client.exchange(head.encode() + b"\r\n\r\n", method=method)


def rule_only(**rule: object) -> dict[str, object]:
    config = simple_config(rule=rule)
    del config["routes"]["rule"][0]["upstreams"]  # type: ignore[index]
    return config


@pytest.mark.parametrize(
    "rule, before, after",
    [
        ({"rewrite": {"strip_prefix": "/api"}}, "/api/x?q=1", "/x?q=1"),
        ({"rewrite": {"strip_prefix": "/api"}}, "/apis", "/apis"),
        ({"match": {"path_prefix": "/old/"}, "rewrite": {"replace_prefix": "/new"}}, "/old/x", "/new/x"),
        ({"rewrite": {"regex": "^/u/([0-9]+)$", "replacement": "/users?id=$1"}}, "/u/7", "/users?id=7"),
    ],
)
def test_rewrite(start_dao: StartDao, origin: Origin, rule: dict[str, object], before: str, after: str) -> None:
    dao = start_dao(simple_config(origin.url, rule=rule))
    with dao.client() as client:
        assert get(client, before).status == 200
    (request,) = origin.wait_requests()
    assert request.target == after
    (entry,) = dao.wait_access(lambda entry: entry["status"] == 200)
    assert entry["target"] == before


def test_redirect_to_https(start_dao: StartDao, origin: Origin) -> None:
    """Who came by TLS already, by the word of a trusted proxy, is served."""
    config = simple_config(
        origin.url, server={"trusted_proxies": ["127.0.0.1"]}, rule={"redirect": {"scheme": "https"}}
    )
    dao = start_dao(config)
    with dao.client() as client:
        response = get(client, "/x?y=1")
        assert response.status == 308
        assert response.value("location") == "https://a.test/x?y=1"
        assert get(client, "/x", method="POST").status == 308
        assert get(client, "/served", "X-Forwarded-Proto: https").status == 200
    assert [request.target for request in origin.requests] == ["/served"]


def test_redirect_without_upstreams(start_dao: StartDao) -> None:
    dao = start_dao(
        rule_only(
            redirect={"host": "www.$host", "path": "/new$path", "status": 301},
            filters={"response_headers_add": {"X-Route": "$route"}},
        )
    )
    with dao.client() as client:
        response = get(client, "/x?y")
        assert (response.status, response.value("location")) == (301, "http://www.a.test/new/x?y")
        assert response.value("x-route") == "all"
        assert response.body == b""
        assert get(client, "/x", method="HEAD").status == 301


def test_fixed_response(start_dao: StartDao) -> None:
    dao = start_dao(
        rule_only(respond={"status": 503, "body": "closed: $path\n", "headers": {"Retry-After": "600"}})
    )
    with dao.client() as client:
        response = get(client, "/x?y")
        assert (response.status, response.body) == (503, b"closed: /x\n")
        assert response.value("retry-after") == "600"
        assert response.value("content-type") == "text/plain; charset=utf-8"
        posted = client.exchange(b"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello")
        assert posted.status == 503
        assert get(client, "/x", method="HEAD").status == 503
    for entry in dao.wait_access(3):
        assert (entry["status"], entry["attempts"]) == (503, 0) and "error" not in entry


# Sticky sessions ------------------------------------------------------------------------------------------------

STICKY = {"cookie": "route", "secret": "0123456789abcdef"}


def cookie_of(response: Response) -> str | None:
    value = response.value("set-cookie")
    return None if value is None else value.split(";")[0]


def named(origins: list[Origin]) -> None:
    for number, origin in enumerate(origins):
        origin.answer("/", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)


def test_a_client_comes_back_to_its_upstream(start_dao: StartDao, make_origin: MakeOrigin) -> None:
    origins = [make_origin() for _ in range(3)]
    named(origins)
    dao = start_dao(simple_config(*(origin.url for origin in origins), rule={"sticky": STICKY}))
    with dao.client() as client:
        first = get(client)
        cookie = cookie_of(first)
        assert cookie is not None
        assert "HttpOnly" in first.value("set-cookie") and "Secure" not in first.value("set-cookie")
        for _ in range(6):
            again = get(client, "/x", f"Cookie: a=b; {cookie}")
            assert again.body == first.body
            assert cookie_of(again) is None
        others = {get(client).body for _ in range(3)}
        assert len(others) == 3  # without the cookie they take turns
    assert dao.metrics().total("dao_sticky_cookies_unknown_total", route="all") == 0


def test_a_forged_cookie_is_ignored_and_counted(start_dao: StartDao, make_origin: MakeOrigin) -> None:
    origins = [make_origin() for _ in range(2)]
    dao = start_dao(simple_config(*(origin.url for origin in origins), rule={"sticky": STICKY}))
    with dao.client() as client:
        good = cookie_of(get(client))
        assert good is not None
        forged = good[:-1] + ("A" if good[-1] != "A" else "B")
        response = get(client, "/x", f"Cookie: {forged}")
        assert response.status == 200
        assert cookie_of(response) not in (None, forged)
    assert dao.metrics().total("dao_sticky_cookies_unknown_total", route="all") == 1


def test_an_upstream_that_is_gone_is_replaced(start_dao: StartDao, make_origin: MakeOrigin) -> None:
    origins = [make_origin() for _ in range(2)]
    named(origins)
    dao = start_dao(simple_config(*(origin.url for origin in origins), rule={"sticky": STICKY}))
    with dao.client() as client:
        first = get(client)
        cookie = cookie_of(first)
        gone = origins[int(first.body)]
        gone.stop()
        moved = get(client, "/x", f"Cookie: {cookie}")
        assert moved.status == 200 and moved.body != first.body
        new_cookie = cookie_of(moved)
        assert new_cookie not in (None, cookie)
        again = get(client, "/x", f"Cookie: {new_cookie}")
        assert again.body == moved.body and cookie_of(again) is None


def test_the_secret_may_stand_in_a_file(start_dao: StartDao, origin: Origin, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(STICKY["secret"] + "\n")
    cookies = set()
    for sticky in (STICKY, {"cookie": "route", "secret_file": str(secret)}):
        dao = start_dao(simple_config(origin.url, rule={"sticky": sticky}))
        with dao.client() as client:
            cookies.add(cookie_of(get(client)))
    assert len(cookies) == 1 and None not in cookies


def test_without_the_file_of_the_secret_dao_does_not_start(start_dao: StartDao, origin: Origin, tmp_path: Path) -> None:
    sticky = {"cookie": "route", "secret_file": str(tmp_path / "missing")}
    dao = start_dao(simple_config(origin.url, rule={"sticky": sticky}), wait_ready=False)
    assert dao.wait_exit() == 1
    assert any("sticky secret" in str(line) for line in dao.logs())


# Traffic split --------------------------------------------------------------------------------------------------


def test_split_by_header_and_cookie(start_dao: StartDao, make_origin: MakeOrigin) -> None:
    origins = [make_origin() for _ in range(3)]
    named(origins)
    split = [
        {"name": "canary", "headers": {"X-Canary": "1"}, "upstreams": ["u1"]},
        {"name": "beta", "cookies": {"beta": "yes"}, "upstreams": "u2"},
    ]
    rule = {"split": split, "filters": {"request_headers_add": {"X-Group": "$split"}}}
    dao = start_dao(simple_config(*(origin.url for origin in origins), rule=rule))
    with dao.client() as client:
        for _ in range(3):
            assert get(client).body == b"0"
            assert get(client, "/x", "X-Canary: 1").body == b"1"
            assert get(client, "/x", "Cookie: beta=yes").body == b"2"
    assert {request.value("x-group") for request in origins[0].requests} == {None}
    assert {request.value("x-group") for request in origins[1].requests} == {"canary"}
    assert {request.value("x-group") for request in origins[2].requests} == {"beta"}


def test_split_by_weight_keeps_a_client(start_dao: StartDao, make_origin: MakeOrigin) -> None:
    origins = [make_origin() for _ in range(2)]
    named(origins)
    split = [
        {"name": "stable", "weight": 75, "upstreams": ["u0"]},
        {"name": "canary", "weight": 25, "upstreams": ["u1"]},
    ]
    rule = {"split_by": "header:X-User", "split": split}
    dao = start_dao(simple_config(*(origin.url for origin in origins), server={"workers": 2}, rule=rule))
    seen: Counter[bytes] = Counter()
    with dao.client() as one, dao.client() as other:
        for user in range(200):
            bodies = {get(client, "/x", f"X-User: {user}").body for client in (one, other)}
            assert len(bodies) == 1
            seen[bodies.pop()] += 1
    assert 25 <= seen[b"1"] <= 75


def test_a_retry_stays_in_its_group(start_dao: StartDao, make_origin: MakeOrigin) -> None:
    origins = [make_origin() for _ in range(3)]
    named(origins)
    origins[1].at_accept = (RESET,)
    split = [{"name": "canary", "headers": {"X-Canary": "1"}, "upstreams": ["u1", "u2"]}]
    dao = start_dao(simple_config(*(origin.url for origin in origins), rule={"split": split}))
    with dao.client() as client:
        for _ in range(4):
            assert get(client, "/x", "X-Canary: 1").body == b"2"
    assert not origins[0].requests


# The check ------------------------------------------------------------------------------------------------------


def test_check_names_what_is_wrong_and_where(tmp_path: Path) -> None:
    config = tmp_path / "dao.toml"
    config.write_text(
        "[[routes.rule]]\n"
        'name = "r"\n'
        "[routes.rule.filters]\n"
        'request_headers_add = { "Content-Length" = "1", "X-Who" = "$cleint_ip" }\n'
        "[[routes.rule.upstreams]]\n"
        'name = "u"\n'
        'url = "http://h"\n'
    )
    done = subprocess.run([binary(), "check", "--config", config, "--json"], capture_output=True, check=False)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert [(problem["line"], problem["column"]) for problem in found] == [(4, 25), (4, 49)]
    assert "cannot be edited" in found[0]["message"]
    assert found[1]["suggestion"] == "$client_ip"
