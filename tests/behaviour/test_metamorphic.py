"""Gradual transitions: a new configuration takes over client by client, and is taken back when it is worse."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from lib import deadline
from lib.admin import ask, change, daoctl, error_of, read, with_admin
from lib.client import RawClient
from lib.dao import Dao, simple_config, to_toml
from lib.origin import READ_BODY, Origin, Wait
from lib.websocket import TEXT, Backend, RawWebSocket, frame

StartDao = Callable[..., Dao]
TOML = "Content-Type: application/toml"
SLOW = "10m"  # a transition that only the operator ends within a test
USERS = 1000


def config(answer: str, status: int = 200, *, transition_ms: int = 0, **more: Mapping[str, object]) -> dict[str, object]:
    """DAO answers by itself, and says by which configuration."""
    metamorphic = {"transition_ms": transition_ms, "key": "header:X-User"}
    rule = {"name": "all", "respond": {"status": status, "body": answer}}
    base = simple_config(**{**more, "liminal": {"metamorphic": metamorphic}})
    return with_admin({**base, "routes": {"rule": [rule]}})


def text_of(dao: Dao, wanted: Mapping[str, object]) -> str:
    """As the text that DAO was started with."""
    telemetry = {**wanted.get("telemetry", {}), "access_log": {"path": str(dao.access_log_path)}}
    return to_toml({**wanted, "telemetry": telemetry})


def told(response, status: int = 200) -> dict:
    assert response.status == status, response.body
    return json.loads(response.body)


def apply(dao: Dao, wanted: Mapping[str, object], over_ms: int | None = None, status: int = 202) -> dict:
    query = "" if over_ms is None else f"?over_ms={over_ms}"
    return told(change(dao, "/v1/config" + query, TOML, body=text_of(dao, wanted).encode()), status)


def order(dao: Dao, what: str, status: int = 200) -> dict:
    return told(change(dao, f"/v1/config/transition/{what}?by=ada"), status)


def transition(dao: Dao) -> dict:
    return read(dao, "/v1/config/status")["transition"]


def wait_for(dao: Dao, condition: Callable[[dict], object], what: str, timeout: float = 4 * deadline.DEFAULT) -> dict:
    return deadline.wait_until(lambda: now if condition(now := transition(dao)) else None, what, timeout, poll=0.02)


def answers(dao: Dao, users: range = range(USERS), client: RawClient | None = None) -> dict[int, str]:
    """What each user gets; their requests come in pipelines."""
    got: dict[int, str] = {}
    own = client or dao.client()
    for first in range(users.start, users.stop, 50):
        part = range(first, min(first + 50, users.stop))
        own.send(b"".join(f"GET / HTTP/1.1\r\nHost: a\r\nX-User: u{user}\r\n\r\n".encode() for user in part))
        for user in part:
            response = own.response("GET")
            assert response.complete
            got[user] = response.body.decode()
    if client is None:
        own.close()
    return got


@contextmanager
def traffic(dao: Dao) -> Iterator[list[dict[int, str]]]:
    """All users ask again and again, meanwhile. Yields what they got, a dict for each round."""
    rounds: list[dict[int, str]] = []
    failures: list[Exception] = []
    over = threading.Event()

    def ask_on() -> None:
        try:
            with dao.client() as client:
                while not over.is_set():
                    rounds.append(answers(dao, client=client))
        except Exception as failure:  # noqa: BLE001
            failures.append(failure)

    thread = threading.Thread(target=ask_on)
    thread.start()
    try:
        yield rounds
    finally:
        over.set()
        thread.join()
    assert not failures, failures


def history(dao: Dao) -> list[tuple[int, str]]:
    return [(one["number"], one["outcome"]) for one in read(dao, "/v1/config/history")["snapshots"]]


def test_an_equal_configuration_takes_over_client_by_client(start_dao: StartDao) -> None:
    dao = start_dao(config("old"))
    with traffic(dao) as rounds:
        answer = apply(dao, config("new"), over_ms=round(4000 * deadline.SCALE))
        assert (answer["result"], answer["generation"], answer["transition"]["state"]) == (
            "transition_begun", 1, "running",
        )  # fmt: skip
        status = read(dao, "/v1/config/status")
        assert (status["generation"], status["snapshot"]) == (1, 1), "the old one is in use until the end"
        assert history(dao)[0] == (2, "running")
        done = wait_for(dao, lambda now: now["over"], "its end")
    assert (done["state"], done["generation"], done["snapshot"], done["progress"]) == ("finished", 2, 2, 1)
    assert done["new"]["requests"] > 1000 and done["old"]["requests"] > 1000 and done["new"]["failures"] == 0
    assert set(answers(dao).values()) == {"new"}
    shares = [Counter(got.values())["new"] / USERS for got in rounds]
    assert any(0.02 < share < 0.98 for share in shares), shares
    for before, after in zip(rounds, rounds[1:], strict=False):
        back = [user for user in after if before[user] == "new" and after[user] == "old"]
        assert not back, "whoever has seen the new configuration stays there"
    status = read(dao, "/v1/config/status")
    assert (status["generation"], status["snapshot"], status["reloads_applied"]) == (2, 2, 1)
    assert read(dao, "/v1/config")["text"] == text_of(dao, config("new"))
    assert history(dao)[0] == (2, "applied")
    metrics = dao.metrics()
    assert metrics.total("dao_config_transitions_total", outcome="finished") == 1
    assert metrics.total("dao_config_transition_under_way") == 0
    assert metrics.total("dao_config_generation") == 2
    by_generation = Counter(entry["generation"] for entry in dao.wait_access(2 * USERS))
    assert set(by_generation) == {1, 2}


def test_a_worse_configuration_is_taken_back(start_dao: StartDao) -> None:
    """By the file: it says the new one still, and a restart does not begin with that."""
    dao = start_dao(config("old"))
    dao.write_config(config("new", 503, transition_ms=60_000))
    with traffic(dao) as rounds:
        dao.signal(signal.SIGHUP)
        line = dao.wait_log(lambda line: line.fields.get("state") == "rolled back", timeout=4 * deadline.DEFAULT)
        done = wait_for(dao, lambda now: now["over"], "its end")
    assert (line.level, line.message) == ("warning", "configuration transition")
    assert "the new configuration is worse: 100 % of" in line.fields["reason"]
    assert done["state"] == "rolled_back" and done["worse"] and done["progress"] == 0
    assert done["progress_at_verdict"] < 0.2
    assert done["new"]["failures"] == done["new"]["requests"] > 0 and done["old"]["failures"] == 0
    assert max(Counter(got.values())["new"] for got in rounds) < 0.2 * USERS
    assert set(answers(dao).values()) == {"old"}
    status = read(dao, "/v1/config/status")
    assert (status["generation"], status["snapshot"], status["from_file"]) == (1, 1, False)
    (number, outcome), *_ = history(dao)
    assert number == 2 and outcome.startswith("rolled back: the new configuration is worse")
    assert dao.metrics().total("dao_config_transitions_total", outcome="rolled_back") == 1
    assert dao.metrics().total("dao_config_transition_worse") == 1
    shown = daoctl(dao, "config", "status").stdout
    assert "THE LAST TRANSITION WAS ROLLED BACK" in shown and "100 % failed" in shown
    dao.stop()
    again = Dao(dao.config_path.read_text(), dao.directory)
    try:
        assert set(answers(again, range(50)).values()) == {"old"}
        again.wait_log("going on with the configuration that was applied last")
    finally:
        again.stop()


def test_without_rollback_it_stops_and_waits(start_dao: StartDao) -> None:
    dao = start_dao(config("old"))
    worse = config("new", 503)
    worse["liminal"]["metamorphic"]["rollback"] = False  # type: ignore[index]
    with traffic(dao):
        apply(dao, worse, over_ms=60_000)
        stopped = wait_for(dao, lambda now: now["state"] == "paused", "the stop")
    assert stopped["worse"] and not stopped["over"] and 0 < stopped["progress"] < 0.2
    assert "THE TRANSITION WAITS FOR YOU" in daoctl(dao, "status").stdout
    assert set(answers(dao).values()) == {"old", "new"}
    assert order(dao, "abort")["transition"]["state"] == "aborted"
    assert set(answers(dao).values()) == {"old"}


def test_pause_resume_abort(start_dao: StartDao) -> None:
    dao = start_dao(config("old"))
    assert json.loads(change(dao, "/v1/config/transition/pause").body)["transition"] is None
    assert order(dao, "abort", 404)["error"] == "no_transition"
    with traffic(dao):
        apply(dao, config("new"), over_ms=20_000)
        wait_for(dao, lambda now: now["progress"] > 0.1, "some progress")
        paused = order(dao, "pause")["transition"]
        assert (paused["state"], paused["state_reason"]) == ("paused", "paused by api: ada (127.0.0.1)")
        assert order(dao, "pause", 409)["error"] == "refused"
        first = answers(dao)
        second = answers(dao)
        assert first == second, "each is where it was"
        assert Counter(first.values())["new"] == pytest.approx(paused["progress"] * USERS, abs=80)
        assert transition(dao)["progress"] == paused["progress"]
        order(dao, "resume")
        wait_for(dao, lambda now: now["progress"] > paused["progress"] + 0.02, "more progress")
        order(dao, "pause")
        assert all(answers(dao)[user] == "new" for user, seen in first.items() if seen == "new")
    aborted = order(dao, "abort")["transition"]
    assert (aborted["state"], aborted["over"]) == ("aborted", True)
    assert set(answers(dao).values()) == {"old"}
    assert order(dao, "resume", 404)["transition"]["state"] == "aborted"
    assert history(dao)[0] == (2, "aborted: aborted by api: ada (127.0.0.1)")
    assert [one["state"] for one in aborted["changes"]] == ["running", "paused", "running", "paused", "aborted"]
    assert dao.metrics().total("dao_config_transitions_total", outcome="aborted") == 1


def test_finish_and_what_changes_only_then(start_dao: StartDao) -> None:
    """Listeners and the access log are those of the old configuration until the end."""
    dao = start_dao(config("old"))
    new = config("new")
    new["server"] = {**new["server"], "bind": ["127.0.0.1:0", "127.0.0.1:0"]}  # type: ignore[dict-item]
    apply(dao, new, over_ms=600_000)
    assert len(dao.addresses) == 1
    assert order(dao, "finish")["transition"]["state"] == "finished"
    assert set(answers(dao).values()) == {"new"}
    assert len(dao.addresses) == 2
    with RawClient(dao.addresses[1]) as client:
        assert client.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").body == b"new"
    assert read(dao, "/v1/config/status")["generation"] == 2
    dao.stop()


def test_what_cannot_be_had_at_the_end_is_taken_back(start_dao: StartDao) -> None:
    """A port that was free when it began."""
    dao = start_dao(config("old"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    new = config("new")
    new["server"] = {**new["server"], "bind": ["127.0.0.1:0", f"127.0.0.1:{port}"]}  # type: ignore[dict-item]
    apply(dao, new, over_ms=600_000)
    with socket.create_server(("127.0.0.1", port)):
        answer = order(dao, "finish", 409)
    assert answer["error"] == "refused" and str(port) in answer["detail"]
    assert answer["transition"]["state"] == "aborted"
    assert set(answers(dao).values()) == {"old"}
    assert read(dao, "/v1/config/status")["generation"] == 1
    assert history(dao)[0][1].startswith("aborted: the new configuration cannot come into use")
    apply(dao, config("newer"), over_ms=0, status=200)
    assert set(answers(dao).values()) == {"newer"}


def test_by_address_and_by_cookie(start_dao: StartDao) -> None:
    """Without the cookie that the key names it is the address; another connection of a client is the same client."""
    old, new = config("old"), config("new")
    new["liminal"]["metamorphic"]["key"] = "cookie:session"  # type: ignore[index]
    dao = start_dao(old)

    def seen(source: str, cookie: str = "") -> str:
        with RawClient(dao.address, source=source) as client:
            return client.exchange(f"GET / HTTP/1.1\r\nHost: a\r\n{cookie}\r\n".encode()).body.decode()

    apply(dao, new, over_ms=4000)
    wait_for(dao, lambda now: now["progress"] > 0.3, "some progress")
    order(dao, "pause")
    sources = [f"127.0.1.{i}" for i in range(1, 61)]
    by_address = {source: seen(source) for source in sources}
    assert set(by_address.values()) == {"old", "new"}
    assert by_address == {source: seen(source, "Cookie: other=1\r\n") for source in sources}
    by_cookie = {i: seen("127.0.0.1", f"Cookie: a=b; session=s{i}\r\n") for i in range(60)}
    assert set(by_cookie.values()) == {"old", "new"}
    assert by_cookie == {i: seen(sources[i], f"Cookie: session=s{i}\r\n") for i in range(60)}, "wherever they come from"


def test_another_order_ends_it(start_dao: StartDao) -> None:
    dao = start_dao(config("old"))
    apply(dao, config("new"), over_ms=600_000)
    again = apply(dao, config("new"), status=200)
    assert again["result"] == "unchanged" and not transition(dao)["over"], "it is under way to that"
    assert told(change(dao, "/v1/config?dry_run", TOML, body=text_of(dao, config("third")).encode()))["result"] == "valid"
    assert change(dao, "/v1/config", TOML, body=b"nonsense = 1").status == 422
    assert not transition(dao)["over"], "what is wrong or only asked for changes nothing"
    third = apply(dao, config("third"), over_ms=600_000)["transition"]
    assert (third["number"], third["state"]) == (2, "running")
    order(dao, "finish")
    assert set(answers(dao).values()) == {"third"}
    assert [outcome for _, outcome in history(dao)][:2] == [
        "applied",
        "aborted: aborted by api: 127.0.0.1: another configuration was ordered",
    ]
    apply(dao, config("fourth"), over_ms=600_000)
    back = apply(dao, config("third"), status=200)
    assert (back["result"], transition(dao)["state"]) == ("unchanged", "aborted"), "the one in use is wanted again"
    assert told(change(dao, "/v1/config/rollback/1"))["result"] == "applied", "whoever goes back wants to be back"
    assert set(answers(dao).values()) == {"old"}


def test_the_file_that_is_written_back_ends_it(start_dao: StartDao) -> None:
    dao = start_dao(config("old"))
    dao.write_config(config("new", transition_ms=600_000))
    dao.signal(signal.SIGHUP)
    dao.wait_log(lambda line: line.fields.get("state") == "running")
    dao.reload(config("old"))
    assert transition(dao)["state"] == "aborted"
    assert read(dao, "/v1/config/status")["from_file"] is True
    assert set(answers(dao).values()) == {"old"}


@pytest.mark.parametrize("end", [Dao.stop, Dao.kill], ids=["drained", "killed"])
def test_a_restart_in_the_middle_stays_with_the_old_one(start_dao: StartDao, end: Callable[[Dao], None]) -> None:
    dao = start_dao(config("old"))
    dao.write_config(config("new", transition_ms=600_000))
    dao.signal(signal.SIGHUP)
    dao.wait_log(lambda line: line.fields.get("state") == "running")
    deadline.wait_until(lambda: transition(dao), "the transition")
    end(dao)
    again = Dao(dao.config_path.read_text(), dao.directory)
    try:
        again.wait_log("nobody has decided for its configuration")
        assert set(answers(again, range(50)).values()) == {"old"}
        status = read(again, "/v1/config/status")
        assert (status["from_file"], status["transition"]) == (False, None)
        assert history(again)[0] == (2, "aborted: the process ended before it was decided")
        again.signal(signal.SIGHUP)
        again.wait_log(lambda line: line.fields.get("state") == "running", "the transition begins anew")
    finally:
        again.stop()


def test_what_began_on_the_new_side_ends_there(start_dao: StartDao, make_origin: Callable[..., Origin]) -> None:
    """A request and a WebSocket, after an abort; then nothing is left of the new side."""
    old, new = make_origin(), make_origin()
    old.default = (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold",)
    new.default = (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew",)
    release = threading.Event()
    new.answer("/slow", READ_BODY, Wait(release), b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew")
    new.answer("/ws", backend := Backend())
    sides = {"liminal": {"metamorphic": {"key": "header:X-User"}}}
    dao = start_dao(with_admin(simple_config(old.url, **sides)))
    apply(dao, with_admin(simple_config(new.url, **sides)), over_ms=4000)
    wait_for(dao, lambda now: now["progress"] > 0.3, "some progress")
    order(dao, "pause")
    listed = [(one["name"], one["url"], one["coming"]) for one in read(dao, "/v1/upstreams")["upstreams"]]
    assert listed == [("u0", old.url, False), ("u0", new.url, True)]
    assert upstream_labels(dao) == {"u0", "u0 (new)"}
    by_new = daoctl(dao, "explain", "all", "--side", "new")
    assert by_new.returncode == 0 and "would choose u0" in by_new.stdout, by_new
    assert ",coming" in daoctl(dao, "upstreams").stdout
    seen = answers(dao, range(50))
    assert set(seen.values()) == {"old", "new"}
    user = next(user for user, got in seen.items() if got == "new")
    with dao.client() as slow, dao.client() as other:
        slow.send(f"GET /slow HTTP/1.1\r\nHost: a\r\nX-User: u{user}\r\n\r\n".encode())
        new.wait_requests(1, "/slow")
        chat = RawWebSocket(other, "/ws", f"X-User: u{user}".encode())
        order(dao, "abort")
        assert set(answers(dao, range(50)).values()) == {"old"}
        release.set()
        assert slow.response("GET").body == b"new"
        backend.send(frame(TEXT, b"still here"))
        assert chat.read().payload == b"still here"
        assert answers(dao, range(user, user + 1), client=slow) == {user: "old"}, "its next request"
    backend.finish()
    deadline.wait_until(lambda: new.open_connections == 0, "the connections to the new upstream are closed")
    assert upstream_labels(dao) == {"u0"}
    assert error_of(ask(dao, "/v1/explain/all?side=new")) == (404, "no_transition")
    assert error_of(ask(dao, "/v1/explain/all?side=left")) == (400, "bad_query")


def upstream_labels(dao: Dao) -> set[str]:
    return {labels["upstream"] for name, labels, _ in dao.metrics().samples if name == "dao_upstream_in_flight"}


def test_daoctl(start_dao: StartDao, tmp_path) -> None:
    dao = start_dao(config("old"))
    file = tmp_path / "new.toml"
    file.write_text(text_of(dao, config("new")))
    begun = daoctl(dao, "config", "apply", str(file), "--over", SLOW, "--by", "ada")
    assert begun.returncode == 0, begun.stderr
    assert begun.stdout.startswith("Begun: generation 2 (snapshot 2) takes over in 10m 0s.")
    assert "respond.body" in begun.stdout
    shown = daoctl(dao, "config", "status").stdout
    assert "running: 0 % of the clients see the new configuration" in shown or "running: " in shown
    assert "old: " in shown and "new: " in shown and "planned for 10m 0s" in shown
    assert "see generation 2" in daoctl(dao, "status").stdout
    paused = daoctl(dao, "config", "pause", "--by", "ada", "--reason", "lunch")
    assert paused.returncode == 0 and "paused by api: ada (127.0.0.1): lunch" in paused.stdout
    assert daoctl(dao, "config", "resume").returncode == 0
    assert "finished" in daoctl(dao, "config", "finish").stdout
    none = daoctl(dao, "config", "abort")
    assert (none.returncode, "no transition is under way" in none.stderr) == (1, True)
    file.write_text(text_of(dao, config("third")))
    at_once = daoctl(dao, "config", "apply", str(file), "--over", "0")
    assert at_once.stdout.startswith("Applied: generation 3"), at_once
    file.write_text(text_of(dao, config("fourth")))
    assert daoctl(dao, "config", "apply", str(file), "--over", SLOW).returncode == 0
    again = daoctl(dao, "config", "apply", str(file), "--over", SLOW)
    assert again.stdout.startswith("A transition to it is under way"), again
    at_once = daoctl(dao, "config", "apply", str(file), "--over", "0")
    assert at_once.stdout.startswith("Applied: generation 4"), at_once
    assert set(answers(dao, range(50)).values()) == {"fourth"}
    assert daoctl(dao, "config", "apply", str(file), "--over", "5 parsecs").returncode != 0


@pytest.mark.parametrize("query", ["over_ms=-1", "over_ms=x", "over_ms=604800001", "over_ms=1.5", "over_ms="])
def test_bad_times(start_dao: StartDao, query: str) -> None:
    dao = start_dao(config("old"))
    response = change(dao, "/v1/config?" + query, TOML, body=text_of(dao, config("new")).encode())
    assert error_of(response) == (400, "bad_query")
    assert error_of(change(dao, "/v1/config/transition/pause?" + query))[0] == 400
    assert error_of(change(dao, "/v1/config/transition/stop")) == (404, "not_found")
    assert ask(dao, "/v1/config/transition/pause").status == 405
