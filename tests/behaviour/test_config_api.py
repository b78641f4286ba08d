"""The configuration over the admin API: reading it, applying others, and going back."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lib import deadline
from lib.admin import TOKEN, ask, change, error_of, read, with_admin
from lib.client import RawClient
from lib.dao import Dao, simple_config
from lib.dns import DnsServer
from lib.faults import expect_normal, get
from lib.http1 import Response, Truncated
from lib.origin import Origin
from lib.ports import HeldPort

StartDao = Callable[..., Dao]
TOML = "Content-Type: application/toml"
JSON = "Content-Type: application/json"


def text_with(dao: Dao, **rule: object) -> str:
    """The text that the DAO was started with, with other values in its rule."""
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in rule.items())
    return dao.config_path.read_text().replace('name = "all"\n', f'name = "all"\n{lines}', 1)


def apply(dao: Dao, text: str, *fields: str, query: str = "") -> Response:
    return change(dao, "/v1/config" + query, TOML, *fields, body=text.encode())


def told(response: Response, status: int = 200) -> dict:
    assert response.status == status, response.body
    return json.loads(response.body)


def policy(dao: Dao) -> str:
    return read(dao, "/v1/routes")["routes"][0]["policy"]


@pytest.fixture
def dao(start_dao: StartDao, make_origin: Callable[..., Origin]) -> Dao:
    return start_dao(with_admin(simple_config(make_origin().url, make_origin().url)))


# Reading ---------------------------------------------------------------------------------------------------------


def test_status_and_text(dao: Dao) -> None:
    response = ask(dao, "/v1/config")
    page = told(response)
    assert page["text"] == dao.config_path.read_text()
    assert (page["generation"], page["snapshot"], page["author"], page["from_file"]) == (1, 1, "start", True)
    assert page["source"] == str(dao.config_path)
    assert response.value("etag") == f'"{page["etag"]}"'
    status = read(dao, "/v1/config/status")
    assert set(page) - set(status) == {"text"}
    assert read(dao, "/v1/status")["config"] == status
    assert (status["last_reload_successful"], status["last_reload_at"], status["last_error"]) == (True, None, "")
    assert read(dao, "/v1/status")["store"]["kind"] == "sqlite"


def test_secrets_are_redacted(start_dao: StartDao, origin: Origin) -> None:
    secret = "hunter2-is-a-secret"
    rule = {"match": {"headers": {"X-Api-Key": secret}}}
    dao = start_dao(with_admin(simple_config(origin.url, rule=rule)))
    assert told(apply(dao, dao.config_path.read_text().replace(secret, secret + "-new")))["result"] == "applied"
    for target in ("/v1/config", "/v1/config/snapshots/1", "/v1/config/snapshots/2", "/v1/config/diff",
                   "/v1/config/history"):  # fmt: skip
        response = ask(dao, target)
        assert response.status == 200 and secret.encode() not in response.body, target
    assert "(redacted)" in read(dao, "/v1/config")["text"]
    assert len(read(dao, "/v1/config/diff")["changes"]) == 1, "a changed secret is a change"


# Applying --------------------------------------------------------------------------------------------------------


def test_apply(dao: Dao) -> None:
    expect_normal(dao)
    response = apply(dao, text_with(dao, policy="random"), query="?reason=try%20it&by=ada")
    answer = told(response)
    assert (answer["result"], answer["generation"], answer["snapshot"]) == ("applied", 2, 2)
    assert [(one["kind"], one["path"], one["after"]) for one in answer["changes"]] == [
        ("added", "routes.rule[all].policy", "random")
    ]
    assert response.value("etag") == f'"{answer["etag"]}"'
    assert policy(dao) == "random"
    status = read(dao, "/v1/config/status")
    assert (status["author"], status["reason"], status["from_file"]) == ("api: ada (127.0.0.1)", "try it", False)
    assert (status["etag"], status["reloads_applied"]) == (answer["etag"], 1)
    expect_normal(dao)
    assert dao.metrics().total("dao_config_generation") == 2
    assert dao.metrics().total("dao_config_reloads_total", result="applied") == 1
    again = told(apply(dao, text_with(dao, policy="random")))
    assert (again["result"], again["changes"], again["snapshot"]) == ("unchanged", [], 2)


def test_apply_json(dao: Dao) -> None:
    body = {"text": text_with(dao, policy="random"), "reason": "why", "by": "ada", "dry_run": False}
    told(change(dao, "/v1/config", JSON, body=json.dumps(body).encode()))
    assert policy(dao) == "random"
    assert read(dao, "/v1/config/status")["author"] == "api: ada (127.0.0.1)"


def test_dry_run_changes_nothing(dao: Dao) -> None:
    before = read(dao, "/v1/config/status")
    answer = told(apply(dao, text_with(dao, policy="random"), query="?dry_run=true"))
    assert (answer["result"], answer["generation"], len(answer["changes"])) == ("valid", 1, 1)
    assert policy(dao) == "round-robin" and read(dao, "/v1/config/status") == before
    told(apply(dao, "nonsense", query="?dry_run"), 422)
    assert read(dao, "/v1/config/status") == before


def test_a_bad_configuration_changes_nothing(dao: Dao) -> None:
    answer = told(apply(dao, text_with(dao, polcy="random")), 422)
    assert answer["error"] == "invalid_config" and "nothing was changed" in answer["detail"]
    (diagnostic,) = [one for one in answer["diagnostics"] if one["severity"] == "error"]
    assert diagnostic["line"] > 0 and "polcy" in diagnostic["key"] + diagnostic["message"]
    assert diagnostic["suggestion"] == "policy"
    status = read(dao, "/v1/config/status")
    assert (status["generation"], status["last_reload_successful"], status["reloads_failed"]) == (1, False, 1)
    assert "polcy" in status["last_error"] and status["last_error"].startswith("api: ")
    assert dao.metrics().total("dao_config_last_reload_successful") == 0
    expect_normal(dao)
    told(apply(dao, text_with(dao, policy="random")))
    assert read(dao, "/v1/config/status")["last_reload_successful"] is True
    assert dao.metrics().total("dao_config_last_reload_successful") == 1


def test_what_cannot_be_had_changes_nothing(dao: Dao, make_origin: Callable[..., Origin]) -> None:
    taken = make_origin().authority
    text = dao.config_path.read_text().replace('bind = "127.0.0.1:0"\nworkers', f'bind = "{taken}"\nworkers', 1)
    assert taken in text
    answer = told(apply(dao, text), 409)
    assert answer["error"] == "not_applied" and taken in answer["detail"]
    assert read(dao, "/v1/config/status")["generation"] == 1
    expect_normal(dao)


def test_if_match(dao: Dao) -> None:
    etag = read(dao, "/v1/config/status")["etag"]
    first, second = text_with(dao, policy="random"), text_with(dao, policy="p2c")
    assert told(apply(dao, first, f'If-Match: "{etag}"'))["result"] == "applied"
    late = told(apply(dao, second, f'If-Match: "{etag}"'), 412)
    assert late["error"] == "conflict" and late["etag"] != etag
    assert told(apply(dao, second, f'If-Match: W/"{late["etag"]}"'), 412)["error"] == "conflict"
    assert policy(dao) == "random"
    assert told(apply(dao, second, f'If-Match: "x", "{late["etag"]}"'))["result"] == "applied"
    assert told(apply(dao, first, "If-Match: *"))["result"] == "applied"
    assert error_of(apply(dao, second, f"If-Match: {etag}")) == (400, "bad_if_match")


def test_of_many_at_once_with_an_etag_one_wins(dao: Dao) -> None:
    etag = read(dao, "/v1/config/status")["etag"]
    texts = [text_with(dao, policy=name) for name in ("random", "p2c", "peak-ewma", "least-connections")]
    with ThreadPoolExecutor(len(texts)) as pool:
        statuses = [r.status for r in pool.map(lambda text: apply(dao, text, f'If-Match: "{etag}"'), texts)]
    assert sorted(statuses) == [200, 412, 412, 412]
    assert read(dao, "/v1/config/status")["generation"] == 2


def test_many_at_once_are_obeyed_in_turn(dao: Dao) -> None:
    texts = [text_with(dao, policy=name) for name in ("random", "p2c", "peak-ewma", "least-connections")]
    with ThreadPoolExecutor(len(texts)) as pool:
        answers = [told(response) for response in pool.map(lambda text: apply(dao, text), texts)]
    assert sorted(answer["generation"] for answer in answers) == [2, 3, 4, 5]
    assert sorted(answer["snapshot"] for answer in answers) == [2, 3, 4, 5]
    last = max(answers, key=lambda answer: answer["generation"])
    assert read(dao, "/v1/config/status")["etag"] == last["etag"]


def test_others_are_answered_while_an_order_waits(start_dao: StartDao, origin: Origin) -> None:
    dao = start_dao(with_admin(simple_config(origin.url)))
    stop = threading.Event()

    def look() -> int:
        looks = 0
        while not stop.is_set():
            assert read(dao, "/v1/status")["ready"] is True
            looks += 1
        return looks

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        try:
            for n in range(5):
                told(apply(dao, text_with(dao, policy=("random", "p2c")[n % 2])))
        finally:
            stop.set()
        assert looking.result(deadline.DEFAULT) > 0


def test_reload_reads_the_file_again(dao: Dao) -> None:
    dao.config_path.write_text(text_with(dao, policy="random"))
    answer = told(change(dao, "/v1/config/reload", JSON, body=b'{"by": "ada", "reason": "edited"}'))
    # Whoever came first, the watcher of files or this: the file is in use.
    assert answer["result"] in ("applied", "unchanged")
    assert policy(dao) == "random" and read(dao, "/v1/config/status")["from_file"] is True
    assert error_of(change(dao, "/v1/config/reload", JSON, body=b'{"text": "x"}')) == (400, "bad_body")


def test_the_file_changes_after_an_apply(dao: Dao) -> None:
    """Whoever comes last is in use, and the status says that it is the file again."""
    told(apply(dao, text_with(dao, policy="p2c")))
    assert read(dao, "/v1/config/status")["from_file"] is False
    dao.config_path.write_text(text_with(dao, policy="random"))
    deadline.wait_until(lambda: policy(dao) == "random", "the file's policy")
    deadline.wait_until(lambda: read(dao, "/v1/config/status")["from_file"], "the file in use")


def test_a_file_that_was_read_already_does_not_come_once_more(start_dao: StartDao, origin: Origin) -> None:
    """DAO is busy with a name that nobody resolves. Meanwhile the file changes, and two orders come: to read it, and for
    something else. Then the watcher tells of that change, too, but the last order is what is in use."""
    by_name = f"http://there.test:{origin.authority.rpartition(':')[2]}"
    with DnsServer({"nobody.test": "SILENT", "there.test": ["127.0.0.1"]}, ttl=60) as dns:
        dao = start_dao(with_admin(simple_config(by_name, dns={"servers": [dns.address], "timeout_ms": 1500})))
        table = "[[routes.rule.upstreams]]\n"
        slow = text_with(dao).replace(table, f'{table}name = "slow"\nurl = "http://nobody.test:80"\n{table}', 1)
        by_api, by_file = text_with(dao, policy="random"), text_with(dao, policy="peak-ewma")
        with ThreadPoolExecutor(1) as pool, RawClient(dao.admin) as client:
            busy = pool.submit(apply, dao, slow)
            dao.wait_log(lambda line: line.message == "loading a configuration")
            dao.write_config(by_file)
            client.send(
                b"POST /v1/config/reload HTTP/1.1\r\nHost: localhost\r\nX-DAO-Admin: 1\r\n"
                b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
            )
            assert read(dao, "/v1/status")["ready"]  # so that one waits, or will first
            last = told(apply(dao, by_api))
            read_file = told(client.response("POST"))
            assert told(busy.result())["result"] == "applied"
        assert read_file["generation"] < last["generation"]
        assert told(apply(dao, by_api))["result"] == "unchanged"
        assert policy(dao) == "random"


def test_the_admin_api_moves_and_still_answers(dao: Dao, tmp_path: Path) -> None:
    """The order that replaces the API itself is answered by the one that took it."""
    text = dao.config_path.read_text().replace('[admin]\nbind = "127.0.0.1:0"', f'[admin]\nbind = "unix:{tmp_path}/s"')
    assert f"{tmp_path}/s" in text
    assert told(apply(dao, text))["result"] == "applied"
    dao.wait_log(lambda line: line.message == "admin" and line.fields["address"] == f"unix:{tmp_path}/s")
    expect_normal(dao)


def test_a_new_token_is_needed_at_once(dao: Dao, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    text = dao.config_path.read_text().replace("[admin]\n", f'[admin]\ntoken_file = "{token}"\n')
    assert told(apply(dao, text, query="?dry_run=true"))["result"] == "valid"
    assert read(dao, "/v1/status")["ready"], "a dry run asks for no token"
    assert told(apply(dao, text))["result"] == "applied"

    def token_is_asked_for() -> bool:
        try:
            return ask(dao, "/v1/status").status == 401
        except (Truncated, ConnectionError):  # the server that asked for none ended before it had read the request
            return False

    deadline.wait_until(token_is_asked_for, f"a token asked for at {dao.admin}")


# Going back ------------------------------------------------------------------------------------------------------


def test_rollback(start_dao: StartDao, make_origin: Callable[..., Origin]) -> None:
    old, new = make_origin(), make_origin()
    dao = start_dao(with_admin(simple_config(old.url)))
    told(apply(dao, dao.config_path.read_text().replace(old.url, new.url)))
    with dao.client() as client:
        assert client.exchange(get("/new")).status == 200
    assert new.seen("/new") and not old.seen("/new")
    answer = told(change(dao, "/v1/config/rollback/1?reason=too%20slow"))
    assert (answer["result"], answer["generation"], answer["snapshot"]) == ("applied", 3, 3)
    with dao.client() as client:
        assert client.exchange(get("/old")).status == 200
    assert old.seen("/old") and not new.seen("/old")
    assert read(dao, "/v1/config")["text"] == dao.config_path.read_text()
    assert error_of_refused(change(dao, "/v1/config/rollback/99")) == (404, "no_such_snapshot")
    for bad in ("0", "x", "-1", "1x", ""):
        assert change(dao, f"/v1/config/rollback/{bad}").status == 404
    assert read(dao, "/v1/config/status")["last_reload_successful"] is True, "a wrong number is no bad configuration"


def error_of_refused(response: Response) -> tuple[int, str]:
    answer = json.loads(response.body)
    assert answer["detail"]
    return response.status, answer["error"]


def test_history_and_snapshots(dao: Dao) -> None:
    told(apply(dao, text_with(dao, policy="random"), query="?by=ada&reason=one"))
    told(apply(dao, text_with(dao, policy="p2c"), query="?by=bob"))
    newest, middle, first = read(dao, "/v1/config/history")["snapshots"]
    assert [one["number"] for one in (newest, middle, first)] == [3, 2, 1]
    assert [one["in_use"] for one in (newest, middle, first)] == [True, False, False]
    assert (middle["author"], middle["reason"], middle["outcome"]) == ("api: ada (127.0.0.1)", "one", "applied")
    assert middle["changes"] == {"added": 1, "removed": 0, "changed": 0, "moved": 0}
    assert newest["changes"] == {"added": 0, "removed": 0, "changed": 1, "moved": 0}
    assert [one["number"] for one in read(dao, "/v1/config/history?limit=1")["snapshots"]] == [3]
    assert error_of(ask(dao, "/v1/config/history?limit=0")) == (400, "bad_query")
    assert error_of(ask(dao, "/v1/config/history?most=1")) == (400, "bad_query")
    snapshot = read(dao, "/v1/config/snapshots/2")
    assert snapshot["text"] == text_with(dao, policy="random") and len(snapshot["changes"]) == 1
    assert error_of(ask(dao, "/v1/config/snapshots/99")) == (404, "no_such_snapshot")


def test_diff(dao: Dao) -> None:
    assert error_of(ask(dao, "/v1/config/diff")) == (404, "no_such_snapshot")
    told(apply(dao, text_with(dao, policy="random")))
    told(apply(dao, text_with(dao, policy="p2c")))
    page = read(dao, "/v1/config/diff")
    assert (page["from"], page["to"]) == (2, 3)
    (one,) = page["changes"]
    assert (one["kind"], one["before"], one["after"]) == ("changed", "random", "p2c")
    assert read(dao, "/v1/config/diff?from=1&to=2")["changes"][0]["after"] == "random"
    assert read(dao, "/v1/config/diff?from=1")["changes"][0]["after"] == "p2c"
    assert read(dao, "/v1/config/diff?from=3&to=3")["changes"] == []
    assert read(dao, "/v1/config/diff?to=2")["from"] == 1
    assert error_of(ask(dao, "/v1/config/diff?from=9")) == (404, "no_such_snapshot")
    assert error_of(ask(dao, "/v1/config/diff?from=x")) == (400, "bad_query")


@pytest.mark.parametrize("end", [Dao.stop, Dao.kill], ids=["drained", "killed"])
def test_history_over_a_restart(
    start_dao: StartDao, origin: Origin, tmp_path: Path, end: Callable[[Dao], None]
) -> None:
    """The next process has the history, and goes on with what was applied."""
    config = with_admin(simple_config(origin.url, memory={"path": str(tmp_path / "dao.db")}))
    first = start_dao(config)
    told(apply(first, text_with(first, policy="random"), query="?by=ada"))
    told(apply(first, text_with(first, policy="p2c"), query="?by=bob"))
    before = read(first, "/v1/config/history")
    end(first)
    second = Dao(first.config_path.read_text(), first.directory)
    try:
        assert policy(second) == "p2c"
        assert read(second, "/v1/config/history") == before
        status = read(second, "/v1/config/status")
        assert (status["author"], status["from_file"]) == ("api: bob (127.0.0.1)", False)
        assert told(change(second, "/v1/config/rollback/2"))["result"] == "applied"
        assert policy(second) == "random"
    finally:
        second.stop()


def test_a_file_that_said_what_is_in_use_counts_when_it_is_as_before(start_dao: StartDao, origin: Origin) -> None:
    """What was tried by the API is written into the file, and taken back there later, while DAO is down."""
    first = start_dao(with_admin(simple_config(origin.url)))
    old, new = first.config_path.read_text(), text_with(first, policy="p2c")
    told(apply(first, new))
    first.wait_log(lambda line: line.message == "reloaded")  # comes after the answer
    assert first.reload(new).fields["changed"] == "false"
    first.kill()
    with Dao(old, first.directory) as second:
        assert policy(second) == "round-robin" and read(second, "/v1/config/status")["from_file"] is True


def test_what_cannot_go_on_after_a_restart_gives_way_to_the_file(start_dao: StartDao, origin: Origin) -> None:
    """A listener that was applied, and whose port another process has by then, must not keep DAO from starting."""
    first = start_dao(with_admin(simple_config(origin.url)))
    free = HeldPort()
    port = free.port
    both = json.dumps(["127.0.0.1:0", f"127.0.0.1:{port}"])
    applied = first.config_path.read_text().replace('[server]\nbind = "127.0.0.1:0"', f"[server]\nbind = {both}", 1)
    assert told(apply(first, applied))["result"] == "applied"
    first.stop()
    with socket.create_server(("127.0.0.1", port)):
        second = Dao(first.config_path.read_text(), first.directory)
        try:
            line = second.wait_log("cannot be used any more, going by the file")
            assert line.level == "error" and str(port) in line.fields["reason"]
            expect_normal(second)
            status = read(second, "/v1/config/status")
            assert (status["author"], status["from_file"]) == ("start", True)
        finally:
            second.stop()


# Who may, and how much -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/v1/config", "/v1/config/reload", "/v1/config/rollback/1"])
def test_a_change_needs_the_field(dao: Dao, target: str) -> None:
    response = ask(dao, target, TOML, method="POST", body=text_with(dao, policy="random").encode())
    assert error_of(response) == (403, "forbidden")
    assert read(dao, "/v1/config/status")["generation"] == 1


def test_methods(dao: Dao) -> None:
    for target, allow in {
        "/v1/config": "GET, HEAD, POST",
        "/v1/config/status": "GET, HEAD",
        "/v1/config/history": "GET, HEAD",
        "/v1/config/diff": "GET, HEAD",
        "/v1/config/snapshots/1": "GET, HEAD",
        "/v1/config/reload": "POST",
        "/v1/config/rollback/1": "POST",
    }.items():
        for method in ("DELETE", "PUT", *(["POST"] if "POST" not in allow else ["GET"] if "GET" not in allow else [])):
            response = ask(dao, target, "X-DAO-Admin: 1", method=method)
            assert error_of(response) == (405, "method_not_allowed") and response.value("allow") == allow
    assert ask(dao, "/v1/config/none").status == 404


def test_what_is_no_configuration(dao: Dao) -> None:
    text = text_with(dao, policy="random")
    assert error_of(change(dao, "/v1/config", TOML, body=b"")) == (400, "bad_body")
    assert error_of(change(dao, "/v1/config", JSON, body=b"{}")) == (400, "bad_body")
    assert error_of(change(dao, "/v1/config", JSON, body=b"[]")) == (400, "bad_body")
    assert error_of(change(dao, "/v1/config", JSON, body=b'{"text": 1}')) == (400, "bad_body")
    assert error_of(change(dao, "/v1/config", JSON, body=b'{"text": "", "x": 1}')) == (400, "bad_body")
    assert error_of(change(dao, "/v1/config?by=a", JSON, body=b'{"text": "x", "by": "b"}')) == (400, "bad_body")
    form = "Content-Type: application/x-www-form-urlencoded"
    assert error_of(change(dao, "/v1/config", form, body=text.encode())) == (415, "unsupported_media_type")
    assert error_of(apply(dao, text, query="?colour=red")) == (400, "bad_query")
    assert error_of(apply(dao, text, query="?dry_run=perhaps")) == (400, "bad_query")
    assert error_of(apply(dao, text, query="?reason=" + "x" * 257)) == (400, "bad_reason")
    assert error_of(apply(dao, text, query="?by=" + "x" * 65)) == (400, "bad_name")
    assert error_of(change(dao, "/v1/config", JSON, body=b'{"text": "x", "by": "a\\nb"}')) == (400, "bad_name")
    assert read(dao, "/v1/config/status")["generation"] == 1


def test_only_a_configuration_may_be_large(dao: Dao) -> None:
    comment = "# " + "x" * 70 + "\n"
    text = text_with(dao, policy="random") + comment * 20_000  # 1.4 MB
    assert told(apply(dao, text))["result"] == "applied"
    assert policy(dao) == "random"
    body = json.dumps({"reason": "x" * 20_000}).encode()
    for target in ("/v1/config/reload", "/v1/config/rollback/1", "/v1/upstreams/u0/drain"):
        assert error_of(change(dao, target, JSON, body=body)) == (413, "too_large")


def test_too_large_is_refused_unread(dao: Dao) -> None:
    response = ask(dao, "/v1/config", "X-DAO-Admin: 1", TOML, f"Content-Length: {64 * 1024 * 1024 + 1}", method="POST")
    assert error_of(response) == (413, "too_large")


def test_a_client_that_waits_before_it_sends(dao: Dao) -> None:
    body = text_with(dao, policy="random").encode()
    with RawClient(dao.admin) as client:
        client.send(
            b"POST /v1/config HTTP/1.1\r\nHost: localhost\r\nX-DAO-Admin: 1\r\nContent-Type: application/toml\r\n"
            + f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert client.wait_bytes().startswith(b"HTTP/1.1 100 ")
        client.send(body)
        final = client.response()
    assert (final.status, [one.status for one in final.interim]) == (200, [100])
