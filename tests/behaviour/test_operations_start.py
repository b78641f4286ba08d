"""Starting: what goes wrong says so in one clear line and exit code 1; what goes right tells whoever waits for it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from lib import deadline
from lib.client import RawClient
from lib.dao import Dao, binary, simple_config, to_toml
from lib.dns import DnsServer
from lib.faults import expect_normal, expect_ok, get
from lib.origin import Origin

URL = "http://127.0.0.1:9"


def fails_to_start(start_dao, config: object) -> str:
    """Starts DAO, which must end with exit code 1 and exactly one line that says why; returns the line."""
    dao = start_dao(config, wait_ready=False)
    assert dao.wait_exit() == 1
    dao.check_undamaged()
    errors = dao.logs("cannot start")
    assert len(errors) == 1 and errors[0].level == "error", dao.log_text()
    assert dao.logs()[-1] is errors[0], "nothing follows the reason"
    assert not dao.logs("ready")
    return errors[0].fields["reason"]


def with_log(path: object) -> dict[str, object]:
    return simple_config(URL, telemetry={"access_log": {"path": str(path)}})


# Listeners -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["server", "telemetry"])
def test_port_taken(start_dao, where: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        key = {"server": {"bind": address}} if where == "server" else {"telemetry": {"prometheus_bind": address}}
        reason = fails_to_start(start_dao, simple_config(URL, **key))
        assert reason.startswith(f"cannot listen on {address}: Address already in use")


def test_port_taken_by_another_dao(start_dao, origin: Origin) -> None:
    """SO_REUSEPORT must not let two of them share the clients unnoticed."""
    first = start_dao(simple_config(origin.url))
    host, port = first.address
    reason = fails_to_start(start_dao, simple_config(origin.url, server={"bind": f"{host}:{port}"}))
    assert "Address already in use" in reason
    expect_normal(first)
    first.stop()


def test_address_of_another_machine(start_dao) -> None:
    reason = fails_to_start(start_dao, simple_config(URL, server={"bind": "192.0.2.1:0"}))
    assert reason.startswith("cannot listen on 192.0.2.1:0: Cannot assign requested address")


@pytest.mark.parametrize("flaw", ["no-directory", "below-a-file"])
def test_impossible_unix_path(start_dao, tmp_path: Path, flaw: str) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / ("missing" if flaw == "no-directory" else "file") / "dao.sock"
    reason = fails_to_start(start_dao, simple_config(URL, server={"bind": f"unix:{path}"}))
    assert reason.startswith(f"cannot listen on unix:{path}: ")


def test_unix_path_taken_and_left_over(start_dao, origin: Origin, tmp_path: Path) -> None:
    """A living listener is respected; what a dead one left behind is replaced."""
    path = tmp_path / "dao.sock"
    config = simple_config(origin.url, server={"bind": f"unix:{path}"})
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        reason = fails_to_start(start_dao, config)
        assert reason.startswith(f"cannot listen on unix:{path}: Address already in use")
        assert path.is_socket()
    dao = start_dao(config)
    expect_normal(dao)
    dao.stop()
    assert not path.exists(), "DAO removes its socket"


# The access log --------------------------------------------------------------------------------------------------


def test_access_log_that_cannot_be_opened(start_dao, tmp_path: Path) -> None:
    assert fails_to_start(start_dao, with_log(tmp_path)) == f"cannot open the access log {tmp_path}: Is a directory"
    missing = tmp_path / "missing" / "access.log"
    reason = fails_to_start(start_dao, with_log(missing))
    assert reason == f"cannot open the access log {missing}: No such file or directory"


# No permission ---------------------------------------------------------------------------------------------------


def run_unprivileged(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs dao without root's right to ignore the modes of files, if the tests have it."""
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    return subprocess.run([*drop, binary(), *arguments], capture_output=True, text=True, timeout=deadline.DEFAULT)


def test_no_permission(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    config = tmp_path / "dao.toml"
    try:
        config.write_text(to_toml(simple_config(URL, server={"bind": f"unix:{closed}/dao.sock"})))
        ended = run_unprivileged("run", "--config", str(config))
        assert ended.returncode == 1
        assert f"cannot listen on unix:{closed}/dao.sock: Permission denied" in ended.stderr.splitlines()[-1]

        config.write_text(to_toml(with_log(closed / "access.log")))
        ended = run_unprivileged("run", "--config", str(config))
        assert ended.returncode == 1
        assert f"cannot open the access log {closed}/access.log: Permission denied" in ended.stderr.splitlines()[-1]

        config.chmod(0)
        for command in ("run", "check"):
            ended = run_unprivileged(command, "--config", str(config))
            assert ended.returncode == 1
            lines = (ended.stderr + ended.stdout).splitlines()
            assert len(lines) == 1 and str(config) in lines[0] and "ermission denied" in lines[0]
    finally:
        closed.chmod(0o700)


# The configuration -------------------------------------------------------------------------------------------------


def dao_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([binary(), *arguments], capture_output=True, text=True, timeout=deadline.DEFAULT)


GOOD = to_toml(simple_config(URL))
BROKEN = {
    "unknown-key": (GOOD.replace("[server]", "[server]\nworkerz = 2"), 2, "server.workerz", "workers"),
    "unknown-table": (GOOD + "[telemetri]\n", None, "telemetri", "telemetry"),
    "wrong-type": (GOOD.replace("workers = 1", 'workers = "one"'), 3, "server.workers", None),
    "out-of-range": (GOOD.replace("workers = 1", "workers = 5000"), 3, "server.workers", None),
    "bad-bind": (GOOD.replace("127.0.0.1:0", "127.0.0.1:99999", 1), 2, "server.bind", None),
    "later-systems-key": (GOOD + "[mind]\nenabled = true\n", None, "mind", None),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_config(start_dao, tmp_path: Path, name: str) -> None:
    """check and run name the place, the key and what was probably meant; nothing is started."""
    text, line, key, suggestion = BROKEN[name]
    path = tmp_path / "bad.toml"
    path.write_text(text)
    checked = dao_command("check", "--config", str(path))
    assert (checked.returncode, checked.stderr) == (1, "")
    place = re.match(rf"{re.escape(str(path))}:(\d+):(\d+): error: {re.escape(key)}: ", checked.stdout)
    assert place, checked.stdout
    assert line is None or int(place[1]) == line
    assert suggestion is None or f"did you mean: {suggestion}\n" in checked.stdout

    dao = start_dao(text, wait_ready=False)
    assert dao.wait_exit() == 1
    assert f"error: {key}: " in dao.log_text()
    assert not dao.logs("listening")

    as_json = dao_command("check", "--json", "--config", str(path))
    assert as_json.returncode == 1
    (finding,) = json.loads(as_json.stdout)
    assert (finding["file"], finding["severity"], finding["key"]) == (str(path), "error", key)
    assert (finding["line"], finding["column"]) == (int(place[1]), int(place[2]))
    assert suggestion is None or finding["suggestion"] == suggestion


def test_syntax_error_has_a_place(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(GOOD + "\n[server\n")
    checked = dao_command("check", "--config", str(path))
    assert checked.returncode == 1
    assert re.match(rf"{re.escape(str(path))}:\d+:\d+: error: ", checked.stdout), checked.stdout


def test_all_errors_in_one_run(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(GOOD.replace("workers = 1", "workers = -1\nbindd = 5\nvia = 7"))
    findings = json.loads(dao_command("check", "--json", "--config", str(path)).stdout)
    assert [finding["key"] for finding in findings] == ["server.workers", "server.bindd", "server.via"]


@pytest.mark.parametrize("arguments", [["check", "--config"], ["check"]], ids=["option", "positional"])
def test_good_config(tmp_path: Path, arguments: list[str]) -> None:
    path = tmp_path / "good.toml"
    path.write_text(GOOD)
    assert dao_command(*arguments, str(path)).returncode == 0
    as_json = dao_command(*arguments, str(path), "--json")
    assert (as_json.returncode, json.loads(as_json.stdout)) == (0, [])


def test_warnings_do_not_fail_the_check(start_dao, origin: Origin, tmp_path: Path) -> None:
    config = simple_config(origin.url)
    config["routes"]["rule"].append({"name": "never", "upstreams": [{"name": "u1", "url": origin.url}]})  # type: ignore
    path = tmp_path / "warned.toml"
    path.write_text(to_toml(config))
    as_json = dao_command("check", "--json", "--config", str(path))
    assert as_json.returncode == 0
    assert [finding["severity"] for finding in json.loads(as_json.stdout)] == ["warning"]
    dao = start_dao(config)
    assert "never" in dao.log_text()
    expect_normal(dao)
    dao.stop()


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize("flaw", ["missing", "directory"])
def test_config_that_cannot_be_read(tmp_path: Path, command: str, flaw: str) -> None:
    path = tmp_path / "missing.toml" if flaw == "missing" else tmp_path
    ended = dao_command(command, "--config", str(path))
    assert ended.returncode == 1
    lines = (ended.stdout + ended.stderr).splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"{path}: error: "), lines


def test_usage_errors() -> None:
    for arguments in (["--nonsense"], ["nonsense"], ["run"], ["check"], []):
        ended = dao_command(*arguments)
        assert ended.returncode == 2, arguments
        assert ended.stdout + ended.stderr
    for arguments in (["--help"], ["--version"], ["check", "--help"]):
        ended = dao_command(*arguments)
        assert ended.returncode == 0 and ended.stdout


# Telling that it has started ---------------------------------------------------------------------------------------


def test_systemd_is_told(start_dao, origin: Origin, tmp_path: Path) -> None:
    path = tmp_path / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(deadline.DEFAULT)
        dao = start_dao(simple_config(origin.url), env={"NOTIFY_SOCKET": str(path)}, wait_ready=False)
        told = systemd.recv(4096).decode().split("\n")
        assert "READY=1" in told and any(line.startswith("STATUS=") for line in told)
        # READY=1 means that clients are served from now on.
        dao.wait_log(lambda line: line.message == "ready")
        with RawClient(dao.address) as client:
            expect_ok(client.exchange(get("/at-once")))
        dao.stop()
        assert systemd.recv(4096).decode().split("\n")[0] == "STOPPING=1"


def test_not_ready_until_names_were_looked_up(start_dao, origin: Origin) -> None:
    with DnsServer({"slow.test": "SILENT"}) as dns:
        config = simple_config("http://slow.test", dns={"servers": [dns.address], "timeout_ms": 1000})
        dao: Dao = start_dao(config, wait_ready=False)
        dao.wait_log(lambda line: line.message == "telemetry")
        assert dao.get("/livez") == (200, "ok\n")
        assert dao.get("/ready") == (503, "not ready\n")
        assert dao.metrics().value("dao_ready") == 0
        dao.wait_log(lambda line: line.message == "ready")
        assert dao.get("/ready") == (200, "ready\n")
        assert dao.metrics().value("dao_ready") == 1
        dao.stop()
