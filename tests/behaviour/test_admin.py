"""The admin API: what it tells, what it changes, and whom it lets do so."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lib import deadline
from lib.admin import TOKEN, ask, change, check_terms, error_of, policies, read, with_admin
from lib.client import RawClient
from lib.dao import Dao, simple_config
from lib.faults import expect_normal, expect_ok, get
from lib.origin import HOLD, Origin, Wait
from lib.ports import refusing_port

StartDao = Callable[..., Dao]

READS = ["/v1/status", "/v1/upstreams", "/v1/upstreams/u0", "/v1/routes", "/v1/explain/all"]
CHANGES = ["/v1/upstreams/u0/drain", "/v1/upstreams/u0/undrain"]


@pytest.fixture
def dao(start_dao: StartDao, make_origin: Callable[..., Origin]) -> Dao:
    return start_dao(with_admin(simple_config(make_origin().url, make_origin().url)))


def served_by(dao: Dao, count: int, prefix: str) -> list[str]:
    """The upstreams that answer so many requests, in turn."""
    with dao.client() as client:
        for n in range(count):
            expect_ok(client.exchange(get(f"/{prefix}-{n}-")))
    entries = deadline.wait_until(
        lambda: found
        if len(found := [e for e in dao.access_log() if str(e["target"]).startswith(f"/{prefix}-")]) == count
        else None,
        f"{count} entries",
    )
    return [str(entry["upstream"]) for entry in entries]


# What it tells ---------------------------------------------------------------------------------------------------


def test_status(dao: Dao) -> None:
    expect_normal(dao)
    status = read(dao, "/v1/status")
    assert status["pid"] == dao.process.pid
    assert (status["workers"], status["ready"], status["routes"]) == (1, True, 1)
    assert status["config"]["source"] == str(dao.config_path)
    assert status["uptime_seconds"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", status["started_at"])
    assert status["listeners"] == [{"name": "1", "address": "{}:{}".format(*dao.address)}]
    assert status["upstreams"]["total"] == 2 and status["upstreams"]["drained"] == 0
    assert sum(status["upstreams"][state] for state in ("unknown", "present", "liminal", "absent")) == 2
    assert status["level"] in ("dormant", "aware", "vigilant", "transcendent")
    deadline.wait_until(lambda: read(dao, "/v1/status")["requests"]["by_class"]["2xx"] == 1, "the request counted")


def test_upstreams_and_routes(dao: Dao) -> None:
    served_by(dao, 4, "some")
    page = read(dao, "/v1/upstreams")
    for name, one in zip(("u0", "u1"), page["upstreams"], strict=True):
        assert (one["name"], one["routes"], one["drained"], one["gate"]) == (name, ["all"], False, "open")
        assert one["p99_ms"] >= one["p95_ms"] >= one["p50_ms"] >= 0 and one["error_rate"] == 0 and one["in_flight"] == 0
        assert one["rps"] >= 0 and one["requests"] >= 0 and one["tempo_spikiness"] >= 0
        assert one["url"].startswith("http://127.0.0.1:")
    assert page["view"]["number"] > 0 and page["view"]["age_ms"] < 1000 * deadline.DEFAULT
    assert read(dao, "/v1/upstreams/u1")["name"] == "u1"
    (route,) = read(dao, "/v1/routes")["routes"]
    assert (route["name"], route["policy"]) == ("all", "round-robin")
    assert route["upstreams"] == [{"name": "u0", "weight": 1}, {"name": "u1", "weight": 1}]


def test_in_flight_is_now(start_dao: StartDao, origin: Origin) -> None:
    origin.answer("/hold", HOLD)
    dao = start_dao(with_admin(simple_config(origin.url)))
    with dao.client() as client:
        client.send(get("/hold"))
        origin.wait_requests(1)
        assert read(dao, "/v1/upstreams/u0")["in_flight"] == 1
        assert read(dao, "/v1/status")["requests"]["active"] == 1
        drained = json.loads(change(dao, "/v1/upstreams/u0/drain").body)
        assert drained["in_flight"] == 1 and drained["routes_left_without"] == ["all"]


def test_secrets_are_not_told(start_dao: StartDao, origin: Origin, tmp_path: Path) -> None:
    token_file = tmp_path / "token-file"
    token_file.write_text(TOKEN + "\n")
    token_file.chmod(0o600)
    rule = {"match": {"headers": {"X-Key": "hunter2-is-a-secret"}}}
    dao = start_dao(with_admin(simple_config(origin.url, rule=rule), token_file=str(token_file)))
    for target in READS:
        response = ask(dao, target, f"Authorization: Bearer {TOKEN}")
        assert response.status == 200
        for secret in (TOKEN, "hunter2", "token-file"):
            assert secret.encode() not in response.body
    assert ask(dao, "/v1/status", "Authorization: Bearer wrong-wrong-wrong-wrong").status == 401
    assert TOKEN not in dao.log_text() and "wrong-wrong" not in dao.log_text()


# Explain ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", policies())
def test_explain_adds_up_and_agrees_with_the_choice(
    start_dao: StartDao, make_origin: Callable[..., Origin], policy: str
) -> None:
    urls = [make_origin().url for _ in range(3)]
    dao = start_dao(with_admin(simple_config(*urls, rule={"policy": policy}), explain_header=True))
    with dao.client() as client:
        for n in range(20):
            page = read(dao, "/v1/explain/all")
            (worker,) = page["workers"]
            assert (page["policy"], page["unanswered"], worker["fail_open"]) == (policy, [], False)
            names = [one["upstream"] for one in worker["candidates"]]
            assert names == ["u0", "u1", "u2"]
            for candidate in worker["candidates"]:
                check_terms(candidate)
            assert [one["upstream"] for one in worker["candidates"] if one["chosen"]] == [worker["chosen"]]

            response = client.exchange(get(f"/explained-{n}-", "x-dao-explain: 1"))
            expect_ok(response)
            head, *parts = explained(response.value("x-dao-explain"))
            assert (head["route"], head["policy"], head["attempt"]) == ("all", policy, "1")
            assert [part["upstream"] for part in parts] == names
            for part in parts:
                check_terms(in_api_words(part))
            # What the policy said that it would choose is what it chose.
            assert [part["upstream"] for part in parts if part["best"] == "1"] == [head["chosen"]]
            (entry,) = dao.wait_access(lambda entry, n=n: f"/explained-{n}-" in entry["target"])
            assert entry["upstream"] == head["chosen"]


def test_the_weights_are_those_of_the_configuration(start_dao: StartDao, make_origin: Callable[..., Origin]) -> None:
    config = simple_config(make_origin().url, make_origin().url, rule={"policy": "mine"})
    config["policies"] = {"mine": {"w_load": 0.5, "w_intent": 0.25, "w_tempo": 0.125}}
    config["routes"]["rule"][0]["intent"] = "batch"  # type: ignore[index]
    config["routes"]["rule"][0]["upstreams"][1]["intent"] = "realtime"  # type: ignore[index]
    dao = start_dao(with_admin(config))
    (worker,) = read(dao, "/v1/explain/all")["workers"]
    for one, gap in zip(worker["candidates"], (5, 10), strict=True):
        assert (one["w_load"], one["w_intent"], one["w_tempo"], one["intent_gap"]) == (0.5, 0.25, 0.125, gap)
        assert abs(one["load_resonance"] - min(10, one["latency"] + one["errors"] + one["queue"])) < 1e-9
        check_terms(one)
    assert worker["chosen"] == "u0"
    (worker,) = read(dao, "/v1/explain/all?intent=RealTime")["workers"]
    assert [one["intent_gap"] for one in worker["candidates"]] == [5, 0]
    assert worker["chosen"] == "u1"


def explained(text: str | None) -> list[dict[str, str]]:
    assert text
    return [dict(pair.split("=", 1) for pair in part.split()) for part in text.split("; ")]


def in_api_words(part: dict[str, str]) -> dict[str, float]:
    names = {"load": "load_resonance", "intent": "intent_gap", "tempo": "tempo_spikiness"}
    return {names.get(name, name): float(value) for name, value in part.items() if name != "upstream"}


def test_explain_and_then_choose(dao: Dao) -> None:
    """Nothing happens between asking and the request, so the answer holds; asking does not change it."""
    for n in range(6):
        first = read(dao, "/v1/explain/all")["workers"][0]["chosen"]
        assert read(dao, "/v1/explain/all?key=x")["workers"][0]["chosen"] == first
        assert served_by(dao, 1, f"then{n}") == [first]


def test_explain_of_least_connections_counts(start_dao: StartDao, make_origin: Callable[..., Origin]) -> None:
    origins = [make_origin(), make_origin()]
    for one in origins:
        one.answer("/hold", HOLD)
    config = simple_config(*(one.url for one in origins), rule={"policy": "least-connections"})
    config["routes"]["rule"][0]["upstreams"][1]["weight"] = 4  # type: ignore[index]
    dao = start_dao(with_admin(config))
    with dao.client() as client:
        client.send(get("/hold"))
        origins[1].wait_requests(1)
        (worker,) = read(dao, "/v1/explain/all")["workers"]
        assert [(one["in_flight"], one["weight"], one["score"]) for one in worker["candidates"]] == [
            (0, 1, 1.0),
            (1, 4, 0.5),
        ]
        assert worker["chosen"] == "u1"


def test_explain_asks_every_worker(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(with_admin(simple_config(origin.url, server={"bind": "127.0.0.1:0", "workers": 3})))
    assert [one["worker"] for one in read(dao, "/v1/explain/all")["workers"]] == [0, 1, 2]


def test_explain_refuses_what_it_does_not_know(dao: Dao) -> None:
    assert error_of(ask(dao, "/v1/explain/none")) == (404, "no_such_route")
    assert error_of(ask(dao, "/v1/explain/all?colour=red")) == (400, "bad_query")
    assert error_of(ask(dao, "/v1/explain/all?intent=no-such-class")) == (400, "no_such_intent")


# x-dao-explain ---------------------------------------------------------------------------------------------------


def test_the_header_is_off_by_default(dao: Dao) -> None:
    with dao.client() as client:
        assert client.exchange(get("/x", "x-dao-explain: 1")).values("x-dao-explain") == []


def test_the_header_is_for_trusted_clients_that_ask(start_dao: StartDao, origin: Origin) -> None:
    config = simple_config(origin.url)
    trusting = start_dao(with_admin(config, explain_header=True))
    with trusting.client() as client:
        assert client.exchange(get("/unasked")).values("x-dao-explain") == []
        assert client.exchange(get("/no", "x-dao-explain: 0")).values("x-dao-explain") == []
        assert len(client.exchange(get("/yes", "x-dao-explain: 1")).values("x-dao-explain")) == 1
    (request,) = origin.seen("/yes")
    assert request.values("x-dao-explain") == [], "it was for DAO"
    distrusting = start_dao(with_admin(config, explain_header=True, explain_trusted=["192.0.2.0/24"]))
    with distrusting.client() as client:
        assert client.exchange(get("/x", "x-dao-explain: 1")).values("x-dao-explain") == []


def test_the_header_tells_of_retries_and_errors(start_dao: StartDao, make_origin: Callable[..., Origin]) -> None:
    good = make_origin()
    dead = f"http://127.0.0.1:{refusing_port()}"
    retried = start_dao(with_admin(simple_config(dead, good.url), explain_header=True))
    with retried.client() as client:
        head, *parts = explained(client.exchange(get("/r", "x-dao-explain: 1")).value("x-dao-explain"))
    assert (head["chosen"], head["attempt"]) == ("u1", "2")
    assert [part["usable"] for part in parts] == ["0", "1"], "what failed is not asked again"
    failing = start_dao(with_admin(simple_config(dead), explain_header=True))
    with failing.client() as client:
        response = client.exchange(get("/e", "x-dao-explain: 1"))
    assert response.status == 502
    assert explained(response.value("x-dao-explain"))[0]["chosen"] == "u0"


# What it changes -------------------------------------------------------------------------------------------------


def test_drain_and_undrain(dao: Dao) -> None:
    assert set(served_by(dao, 4, "before")) == {"u0", "u1"}
    answer = json.loads(change(dao, "/v1/upstreams/u0/drain", "Content-Type: application/json",
                               body=b'{"reason": "disk"}').body)
    assert answer == {"upstream": "u0", "drained": True, "changed": True, "in_flight": 0, "routes_left_without": []}
    line = dao.wait_log("upstream drained")
    assert (line.fields["upstream"], line.fields["by"], line.fields["reason"]) == ("u0", "127.0.0.1", "disk")
    assert set(served_by(dao, 4, "drained")) == {"u1"}
    assert read(dao, "/v1/upstreams/u0")["drained"] is True
    assert read(dao, "/v1/status")["upstreams"]["drained"] == 1
    (worker,) = read(dao, "/v1/explain/all")["workers"]
    assert [(one["usable"], one["drained"]) for one in worker["candidates"]] == [(False, True), (True, False)]

    again = json.loads(change(dao, "/v1/upstreams/u0/drain").body)
    assert again["changed"] is False and again["drained"] is True
    assert json.loads(change(dao, "/v1/upstreams/u0/undrain").body)["drained"] is False
    assert set(served_by(dao, 4, "after")) == {"u0", "u1"}


def test_what_is_under_way_goes_on(start_dao: StartDao, origin: Origin) -> None:
    go_on = threading.Event()
    origin.answer("/slow", Wait(go_on), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    dao = start_dao(with_admin(simple_config(origin.url)))
    with dao.client() as client, dao.client() as other:
        client.send(get("/slow"))
        origin.wait_requests(1)
        assert change(dao, "/v1/upstreams/u0/drain").status == 200
        assert other.exchange(get("/new")).status == 503
        go_on.set()
        expect_ok(client.response())
    assert change(dao, "/v1/upstreams/u0/undrain").status == 200
    expect_normal(dao)


@pytest.mark.parametrize(
    ("body", "fields", "status"),
    [
        (b"{}", ["Content-Type: application/json; charset=utf-8"], 200),
        (b"{}", [], 415),
        (b"{}", ["Content-Type: text/plain"], 415),
        (b"reason=x", ["Content-Type: application/x-www-form-urlencoded"], 415),
        (b"[]", ["Content-Type: application/json"], 400),
        (b"{", ["Content-Type: application/json"], 400),
        (b'{"reason": 1}', ["Content-Type: application/json"], 400),
        (b'{"other": "x"}', ["Content-Type: application/json"], 400),
        (b'{"reason": "' + b"x" * 257 + b'"}', ["Content-Type: application/json"], 400),
        (b"[" * 10000, ["Content-Type: application/json"], 400),
        (b" " * 20000, ["Content-Type: application/json"], 413),
    ],
)
def test_bodies(dao: Dao, body: bytes, fields: list[str], status: int) -> None:
    response = change(dao, "/v1/upstreams/u0/drain", *fields, body=body)
    assert response.status == status
    assert read(dao, "/v1/upstreams/u0")["drained"] is (status == 200)


# Methods and paths -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("target", CHANGES)
def test_only_a_post_changes_anything(dao: Dao, method: str, target: str) -> None:
    if target.endswith("undrain"):
        assert change(dao, CHANGES[0]).status == 200
    before = read(dao, "/v1/upstreams/u0")["drained"]
    response = ask(dao, target, "X-DAO-Admin: 1", method=method)
    assert (response.status, response.values("allow")) == (405, ["POST"])
    assert read(dao, "/v1/upstreams/u0")["drained"] is before


@pytest.mark.parametrize("target", READS)
def test_reading_is_get_and_head(dao: Dao, target: str) -> None:
    whole = ask(dao, target)
    head = ask(dao, target, method="HEAD")
    assert (whole.status, head.status, head.body) == (200, 200, b"")
    assert head.value("cache-control") == "no-store"
    response = change(dao, target)
    assert (response.status, response.values("allow")) == (405, ["GET, HEAD"])


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/", 404),
        ("/v1", 404),
        ("/v1/", 404),
        ("/v1/status/", 404),
        ("/v1//status", 404),
        ("/v2/status", 404),
        ("/v1/upstreams/none", 404),
        ("/v1/upstreams/..%2fstatus", 404),
        ("/v1/%zz", 400),
        ("/v1/explain/all%00", 400),
        ("/v1/explain/all?key=1&key=2", 400),
    ],
)
def test_other_paths(dao: Dao, target: str, status: int) -> None:
    assert error_of(ask(dao, target))[0] == status


def test_garbage_is_refused(dao: Dao) -> None:
    with RawClient(dao.admin) as client:
        assert client.exchange(b"garbage\r\n\r\n", "GET").status == 400
        client.expect_closed()
    assert read(dao, "/v1/status")["ready"] is True


# Who is let in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "192.0.2.1", "[::2]:80"])
def test_another_host_is_refused(dao: Dao, host: str) -> None:
    assert error_of(ask(dao, "/v1/status", host=host)) == (421, "misdirected")
    response = ask(dao, CHANGES[0], "X-DAO-Admin: 1", method="POST", body=b"", host=host)
    assert response.status == 421
    assert read(dao, "/v1/upstreams/u0")["drained"] is False


def test_hosts_that_are_allowed(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(with_admin(simple_config(origin.url), allow_hosts=["admin.a.test"]))
    for host in ("localhost", f"127.0.0.1:{dao.admin[1]}", "[::1]", "ADMIN.a.test:1"):
        assert ask(dao, "/v1/status", host=host).status == 200


@pytest.mark.parametrize(
    "fields",
    [
        [],
        ["X-DAO-Admin: yes"],
        ["Origin: http://evil.test", "X-DAO-Admin: 1"],
        ["Origin: null", "X-DAO-Admin: 1"],
        ["Content-Type: text/plain"],
    ],
)
def test_a_page_elsewhere_cannot_change_anything(dao: Dao, fields: list[str]) -> None:
    response = ask(dao, CHANGES[0], *fields, method="POST", body=b"")
    assert error_of(response) == (403, "forbidden")
    assert read(dao, "/v1/upstreams/u0")["drained"] is False


def test_a_preflight_gets_no_consent(dao: Dao) -> None:
    response = ask(
        dao,
        CHANGES[0],
        "Origin: http://evil.test",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: x-dao-admin",
        method="OPTIONS",
    )
    assert response.status == 405
    assert not [name for name, _ in response.fields if name.lower().startswith("access-control")]


def test_the_token_is_wanted_for_everything(start_dao: StartDao, origin: Origin, tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o400)
    dao = start_dao(with_admin(simple_config(origin.url), token_file=str(token_file)))
    good = f"Authorization: Bearer {TOKEN}"
    for target in READS:
        for fields in ([], ["Authorization: Bearer nonsense"], [f"Authorization: Basic {TOKEN}"]):
            response = ask(dao, target, *fields)
            assert error_of(response) == (401, "unauthorized")
            assert response.value("www-authenticate") == 'Bearer realm="dao"'
        assert ask(dao, target, good).status == 200
    assert change(dao, CHANGES[0]).status == 401
    assert ask(dao, CHANGES[0], good, method="POST", body=b"").status == 200, "the token is no page's to send"
    assert ask(dao, "/v1/status", good, host="evil.test").status == 421


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (TOKEN, 0o644, "chmod 0600"),
        ("short", 0o600, "fewer than 16"),
        ("", 0o600, "fewer than 16"),
        ("two words, not one token", 0o600, "without spaces"),
        (None, 0, "No such file"),
    ],
)
def test_a_bad_token_file_keeps_dao_from_starting(
    start_dao: StartDao, origin: Origin, tmp_path: Path, content: str | None, mode: int, why: str
) -> None:
    token_file = tmp_path / "token"
    if content is not None:
        token_file.write_text(content)
        token_file.chmod(mode)
    dao = start_dao(with_admin(simple_config(origin.url), token_file=str(token_file)), wait_ready=False)
    assert dao.wait_exit() == 1
    assert why in dao.log_text() and TOKEN not in dao.log_text()


# Where it is -----------------------------------------------------------------------------------------------------


def test_on_a_unix_socket(start_dao: StartDao, origin: Origin, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    dao = start_dao(with_admin(simple_config(origin.url), bind=f"unix:{path}"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert ask(dao, "/v1/status", host="whatever").status == 200
    assert change(dao, CHANGES[0]).status == 200
    dao.stop()
    assert not path.exists()


def test_a_given_address_must_be_free(start_dao: StartDao, origin: Origin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        dao = start_dao(with_admin(simple_config(origin.url), bind=bind), wait_ready=False)
        assert dao.wait_exit() == 1
        assert "Address already in use" in dao.log_text()


def test_the_default_address_may_be_taken(start_dao: StartDao, origin: Origin) -> None:
    """Two DAOs on one machine, neither of which says anything about the admin API: both serve."""
    config = {**simple_config(origin.url), "admin": {}}
    daos = [start_dao(config), start_dao(config)]
    for dao in daos:
        expect_normal(dao, f"/from-{dao.process.pid}")
    # The first may have found it taken too, by a test beside this one.
    assert daos[1].logs("admin") == []
    assert daos[1].wait_log("serving without the admin API").level == "warning"


def test_off(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(with_admin(simple_config(origin.url), bind="off"))
    assert dao.logs("admin") == []
    expect_normal(dao)


def test_it_answers_while_dao_drains_and_ends_with_it(start_dao: StartDao, origin: Origin) -> None:
    origin.answer("/hold", HOLD)
    dao = start_dao(with_admin(simple_config(origin.url)))
    client = dao.client()
    client.send(get("/hold"))
    origin.wait_requests(1)
    idle = RawClient(dao.admin)
    dao.signal(signal.SIGTERM)
    dao.wait_log("draining")
    deadline.wait_until(lambda: read(dao, "/v1/status")["ready"] is False, "not ready any more")
    client.close()
    assert dao.wait_exit() == 0
    idle.close()


def test_clients_that_hang_do_not_block_others(dao: Dao) -> None:
    idle = [RawClient(dao.admin) for _ in range(20)]
    for client in idle:
        client.send(b"GET /v1/status HTTP/1.1\r\n")
    assert read(dao, "/v1/status")["ready"] is True
    for client in idle:
        client.close()
    assert os.path.exists(f"/proc/{dao.process.pid}")
