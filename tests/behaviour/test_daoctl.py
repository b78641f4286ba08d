"""`daoctl`: every command against a real DAO, and what it says when something is wrong."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from lib import deadline
from lib.admin import TOKEN, address_text, daoctl, daoctl_program, read, run_daoctl, with_admin
from lib.dao import Dao, simple_config
from lib.faults import expect_normal
from lib.origin import Origin
from lib.ports import refusing_port

StartDao = Callable[..., Dao]
PATIENCE = 4 * deadline.DEFAULT


@pytest.fixture
def dao(start_dao: StartDao, make_origin: Callable[..., Origin]) -> Dao:
    return start_dao(with_admin(simple_config(make_origin().url, make_origin().url)))


def said(result: subprocess.CompletedProcess[str]) -> str:
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_status(dao: Dao) -> None:
    expect_normal(dao)
    text = said(daoctl(dao, "status"))
    lines = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert lines["state"] == "ready"
    assert lines["config"] == str(dao.config_path)
    assert lines["listeners"] == "{}:{}".format(*dao.address)
    assert f"pid {dao.process.pid}, 1 workers" == lines["process"]


@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        (["status"], "/v1/status"),
        (["upstreams"], "/v1/upstreams"),
        (["routes"], "/v1/routes"),
        (["explain", "all"], "/v1/explain/all"),
    ],
)
def test_json_is_the_apis(dao: Dao, arguments: list[str], target: str) -> None:
    assert set(json.loads(said(daoctl(dao, *arguments, "--json")))) == set(read(dao, target))


def test_tables_are_aligned(dao: Dao) -> None:
    head, *rows = said(daoctl(dao, "upstreams")).splitlines()
    assert head.split()[:3] == ["UPSTREAM", "STATE", "URL"]
    assert [row.split()[0] for row in rows] == ["u0", "u1"]
    for row in rows:
        assert row.index("http://") == head.index("URL")
        assert len(row) == len(head), "the last column is right"
    assert said(daoctl(dao, "routes")).splitlines()[1].split()[:4] == ["all", "round-robin", "u0,", "u1"]


def test_explain(dao: Dao) -> None:
    text = said(daoctl(dao, "explain", "all"))
    chosen = read(dao, "/v1/explain/all")["workers"][0]["chosen"]
    assert f"Worker 0 would choose {chosen}:" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith(">")] == [chosen]
    assert "turn by weight" in text
    unknown = daoctl(dao, "explain", "a/b c")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == "daoctl: no rule is called a/b c (404)\n"


def test_drain_and_undrain(dao: Dao) -> None:
    assert said(daoctl(dao, "drain", "u0", "--reason", "new disk")) == "u0 gets no new requests; 0 in flight.\n"
    assert dao.wait_log("upstream drained").fields["reason"] == "new disk"
    assert read(dao, "/v1/upstreams/u0")["drained"] is True
    assert "u0" in said(daoctl(dao, "upstreams")) and "drained" in said(daoctl(dao, "upstreams"))
    text = said(daoctl(dao, "drain", "u1"))
    assert text.splitlines()[1] == "Every upstream is drained of: all. Requests there get a 503."
    for name in ("u0", "u1"):
        assert json.loads(said(daoctl(dao, "undrain", name, "--json")))["drained"] is False
    assert said(daoctl(dao, "undrain", "u1")) == "u1 gets requests, as before; 0 in flight.\n"
    expect_normal(dao)
    unknown = daoctl(dao, "drain", "none")
    assert (unknown.returncode, unknown.stdout, unknown.stderr) == (1, "", "daoctl: no upstream is called none (404)\n")


def test_names_for_completions(dao: Dao) -> None:
    assert said(daoctl(dao, "names", "upstreams")) == "u0\nu1\n"
    assert said(daoctl(dao, "names", "routes")) == "all\n"
    assert said(daoctl(dao, "names", "snapshots")) == "1\n"


# config ----------------------------------------------------------------------------------------------------------


def write_policy(dao: Dao, path: Path, policy: str) -> Path:
    path.write_text(dao.config_path.read_text().replace('name = "all"\n', f'name = "all"\npolicy = "{policy}"\n', 1))
    return path


def test_config_apply_and_back(dao: Dao, tmp_path: Path) -> None:
    new = write_policy(dao, tmp_path / "new.toml", "random")
    change = '+ routes.rule[all].policy = "random"  (the default was "round-robin")\n'
    dry = said(daoctl(dao, "config", "apply", str(new), "--dry-run"))
    assert dry == "It is valid. Nothing was changed; it would change:\n" + change
    assert read(dao, "/v1/config/status")["generation"] == 1
    applied = said(daoctl(dao, "config", "apply", str(new), "--reason", "try it", "--by", "ada"))
    assert applied == "Applied: generation 2, snapshot 2.\n" + change
    assert said(daoctl(dao, "config", "diff")) == "From snapshot 1 to snapshot 2:\n" + change
    assert said(daoctl(dao, "config", "diff", "1", "1")) == "From snapshot 1 to snapshot 1: no differences.\n"
    assert said(daoctl(dao, "config", "show")) == new.read_text()
    assert said(daoctl(dao, "config", "show", "1")) == dao.config_path.read_text()
    again = said(daoctl(dao, "config", "apply", str(new)))
    assert again == "It is what is in use: generation 2, snapshot 2.\n"
    status = dict(line.split(maxsplit=1) for line in said(daoctl(dao, "status")).splitlines())
    assert status["applied"].startswith("generation 2 (snapshot 2), by api: ada (127.0.0.1) at ")
    assert status["applied"].endswith(": try it") and status["store"].endswith(", healthy")
    assert "says something else" in status["config"]
    back = said(daoctl(dao, "config", "rollback", "1"))
    assert back.startswith("Applied: generation 3, snapshot 3.\n- routes.rule[all].policy")
    head, *rows = said(daoctl(dao, "config", "history")).splitlines()
    assert head.split() == ["NUMBER", "APPLIED", "AT", "CHANGES", "OUTCOME", "AUTHOR", "REASON"]
    assert [row.split()[:2] for row in rows[:1]] == [[">", "3"]] and "try it" in rows[1] and len(rows) == 3
    assert len(said(daoctl(dao, "config", "history", "--limit", "1")).splitlines()) == 2


def test_config_apply_reads_standard_input(dao: Dao, tmp_path: Path) -> None:
    new = write_policy(dao, tmp_path / "new.toml", "random")
    result = subprocess.run(
        [daoctl_program(), "--admin", address_text(dao.admin), "config", "apply", "-"],
        input=new.read_text(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert said(result).startswith("Applied: generation 2")


def test_config_apply_sends_what_a_file_includes(dao: Dao, tmp_path: Path) -> None:
    """Relative to the file, wherever daoctl runs; what is wrong is told by the names that the files have here."""
    parts = tmp_path / "parts"
    parts.mkdir()
    text = dao.config_path.read_text()
    start = text.index("[[routes.rule]]")
    (parts / "rules.toml").write_text(text[start:].replace('name = "all"\n', 'name = "all"\npolicy = "random"\n', 1))
    main = tmp_path / "main.toml"
    main.write_text('include = ["parts/*.toml"]\n' + text[:start].replace("[routes]\n", ""))
    said(daoctl(dao, "config", "apply", str(main)))
    assert read(dao, "/v1/routes")["routes"][0]["policy"] == "random"
    (parts / "rules.toml").write_text(text[start:] + "polcy = 1\n")
    bad = daoctl(dao, "config", "apply", str(main))
    assert bad.returncode == 1 and bad.stderr.startswith(f"{parts}/rules.toml:") and "polcy = 1" in bad.stderr


def test_config_apply_of_a_bad_file(dao: Dao, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(dao.config_path.read_text().replace('name = "all"\n', 'name = "all"\npolcy = "random"\n', 1))
    result = daoctl(dao, "config", "apply", str(bad))
    assert (result.returncode, result.stdout) == (1, "")
    checked = subprocess.run(
        [os.environ.get("DAO_BIN") or str(Path(daoctl_program()).with_name("dao")), "check", str(bad)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    *findings, last = result.stderr.splitlines(keepends=True)
    assert "".join(findings) == checked.stdout and "did you mean: policy" in checked.stdout
    assert last == "daoctl: the configuration is not valid, nothing was changed\n"
    as_json = daoctl(dao, "config", "apply", str(bad), "--json")
    assert as_json.returncode == 1 and json.loads(as_json.stdout)["diagnostics"][0]["suggestion"] == "policy"
    first, second, *_ = said(daoctl(dao, "status")).splitlines()
    assert first.startswith("THE LAST RELOAD FAILED at ") and "generation 1 is still in use" in first
    assert "polcy" in second
    assert said(daoctl(dao, "config", "status")).startswith("THE LAST RELOAD FAILED")
    missing = daoctl(dao, "config", "apply", str(tmp_path / "none"))
    assert missing.returncode == 1 and "No such file" in missing.stderr


def test_config_if_match(dao: Dao, tmp_path: Path) -> None:
    new = write_policy(dao, tmp_path / "new.toml", "random")
    etag = read(dao, "/v1/config/status")["etag"]
    wrong = daoctl(dao, "config", "apply", str(new), "--if-match", "0" * len(etag))
    assert (wrong.returncode, wrong.stderr) == (1, "daoctl: another configuration is in use (412)\n")
    said(daoctl(dao, "config", "apply", str(new), "--if-match", f'"{etag}"'))


def test_config_reload(dao: Dao) -> None:
    said(daoctl(dao, "config", "reload", "--reason", "certificates"))
    assert dao.wait_log("reason=certificates")


@pytest.mark.parametrize(
    ("arguments", "target"),
    [(["status"], "status"), (["show"], ""), (["history"], "history"), (["show", "1"], "snapshots/1")],
)
def test_config_json_is_the_apis(dao: Dao, arguments: list[str], target: str) -> None:
    path = f"/v1/config/{target}".rstrip("/")
    assert json.loads(said(daoctl(dao, "config", *arguments, "--json"))) == read(dao, path)


# Where DAO is ----------------------------------------------------------------------------------------------------


def test_the_environment_names_the_address(dao: Dao) -> None:
    assert "ready" in said(run_daoctl("status", env={"DAO_ADMIN": address_text(dao.admin)}))
    assert "ready" in said(run_daoctl("status", "--admin", f"http://{address_text(dao.admin)}/"))


def test_a_unix_socket(start_dao: StartDao, origin: Origin, tmp_path: Path) -> None:
    dao = start_dao(with_admin(simple_config(origin.url), bind=f"unix:{tmp_path}/s"))
    assert "ready" in said(daoctl(dao, "status"))
    assert "u0 gets no new" in said(daoctl(dao, "drain", "u0"))


def test_a_token(start_dao: StartDao, origin: Origin, tmp_path: Path) -> None:
    token, wrong = tmp_path / "token", tmp_path / "wrong"
    for file, content in ((token, TOKEN + "\n"), (wrong, "wrong-wrong-wrong-wrong\n")):
        file.write_text(content)
        file.chmod(0o600)
    dao = start_dao(with_admin(simple_config(origin.url), token_file=str(token)))
    assert "ready" in said(daoctl(dao, "--token-file", str(token), "status"))
    assert "ready" in said(daoctl(dao, "status", env={"DAO_ADMIN_TOKEN_FILE": str(token)}))
    assert "u0 gets no new" in said(daoctl(dao, "drain", "u0", "--token-file", str(token)))
    for arguments in (["status"], ["status", "--token-file", str(wrong)]):
        refused = daoctl(dao, *arguments)
        assert refused.returncode == 1 and "(401)" in refused.stderr and refused.stdout == ""
    missing = daoctl(dao, "status", "--token-file", str(tmp_path / "none"))
    assert missing.returncode == 1 and "No such file" in missing.stderr


def test_nobody_there() -> None:
    for address in (f"127.0.0.1:{refusing_port()}", "unix:/nonexistent/s"):
        for command in (["status"], ["top"], ["drain", "x"]):
            result = run_daoctl("--admin", address, *command)
            assert (result.returncode, result.stdout) == (3, "")
            assert result.stderr.startswith(f"daoctl: cannot reach the admin API of DAO at {address}: ")


def test_something_else_there(dao: Dao, origin: Origin) -> None:
    for address in ("{}:{}".format(*dao.telemetry), origin.authority):
        result = run_daoctl("--admin", address, "status")
        assert (result.returncode, result.stdout) == (3, "")
        assert "cannot reach the admin API" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["status", "more"],
        ["explain"],
        ["drain"],
        ["top", "--interval", "0"],
        ["top", "--count", "x"],
        ["completions", "tcsh"],
        ["config"],
        ["config", "show", "0"],
        ["config", "diff", "1", "x"],
        ["config", "apply"],
        ["config", "rollback"],
        ["--admin", "no-port", "status"],
        ["--admin", "unix:relative", "status"],
        ["--admin", "host:99999", "status"],
        ["--admin", "user@host:1", "status"],
    ],
)
def test_usage(arguments: list[str]) -> None:
    result = run_daoctl(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr


def test_help_and_version() -> None:
    assert "drain" in said(run_daoctl("--help"))
    assert said(run_daoctl("--version")).strip()


# top -------------------------------------------------------------------------------------------------------------


def test_top_piped_is_a_line_for_each_interval(dao: Dao) -> None:
    text = said(daoctl(dao, "top", "--interval", "0.1", "--count", "3"))
    lines = text.splitlines()
    assert len(lines) == 3 and "\x1b" not in text
    for line in lines:
        assert " level=" in line and " | u0 " in line and " | u1 " in line
    lines = said(daoctl(dao, "top", "--interval", "0.1", "--count", "2", "--json")).splitlines()
    assert [set(json.loads(line)) for line in lines] == [{"status", "upstreams", "routes"}] * 2


def start_top(dao: Dao, stdout: int, *arguments: str) -> subprocess.Popen[bytes]:
    command = [daoctl_program(), "--admin", address_text(dao.admin), "top", *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE)


def test_top_ends_when_its_reader_does(dao: Dao) -> None:
    ours, theirs = os.pipe()
    # Far longer than the test waits: the end of the reader itself must be noticed.
    process = start_top(dao, theirs, "--interval", "3600")
    os.close(theirs)
    assert b"level=" in os.read(ours, 4096)
    os.close(ours)
    assert process.wait(PATIENCE) == 0
    assert process.stderr and process.stderr.read() == b""


def test_top_ends_on_a_signal(dao: Dao) -> None:
    process = start_top(dao, subprocess.PIPE, "--interval", "3600")
    assert process.stdout and b"level=" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


class Terminal:
    """What a terminal shows of `top`."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self.shown = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, wanted: bytes) -> bytes:
        """What has come since the last call, up to and with these bytes."""
        while wanted not in self.shown:
            self.shown += os.read(self.ours, 65536)
        end = self.shown.index(wanted) + len(wanted)
        found, self.shown = self.shown[:end], self.shown[end:]
        return found


def test_top_on_a_terminal_survives_a_resize(dao: Dao) -> None:
    terminal = Terminal()
    terminal.resize(24, 120)
    process = subprocess.Popen(
        [daoctl_program(), "--admin", address_text(dao.admin), "top", "--interval", "3600"],
        stdin=terminal.theirs,
        stdout=terminal.theirs,
        stderr=subprocess.PIPE,
    )
    os.close(terminal.theirs)
    frame = terminal.read_until(b"\x1b[J")
    assert b"\x1b[?1049h" in frame and b"UPSTREAM" in frame and b"ROUTE" in frame
    # A terminal that is not the controlling one sends no signal by itself.
    terminal.resize(4, 20)
    process.send_signal(signal.SIGWINCH)
    small = terminal.read_until(b"\x1b[J")
    nothing, *rows = re.split(rb"\x1b\[\d+;1H", small.removesuffix(b"\x1b[J"))
    assert nothing == b"" and len(rows) == 4
    assert all(len(row.removesuffix(b"\x1b[K")) <= 20 for row in rows)
    os.write(terminal.ours, b"q")
    terminal.read_until(b"\x1b[?1049l")
    assert process.wait(PATIENCE) == 0
    os.close(terminal.ours)


# Completions -----------------------------------------------------------------------------------------------------


def test_bash_completions(dao: Dao, tmp_path: Path) -> None:
    script = tmp_path / "daoctl.bash"
    script.write_text(said(run_daoctl("completions", "bash")))
    subprocess.run(["bash", "-n", str(script)], check=True)

    def offered(*words: str) -> list[str]:
        line = " ".join(f"'{word}'" for word in words)
        result = subprocess.run(
            [
                "bash",
                "-c",
                f'source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _daoctl; '
                'printf "%s\\n" "${COMPREPLY[@]}"',
            ],
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "PATH": f"{Path(daoctl_program()).parent}:{os.environ['PATH']}",
                "DAO_ADMIN": address_text(dao.admin),
            },
            check=True,
        )
        return result.stdout.split()

    assert offered("daoctl", "st") == ["status"]
    assert {"status", "upstreams", "explain", "top", "drain", "undrain"} <= set(offered("daoctl", ""))
    assert offered("daoctl", "drain", "") == ["u0", "u1"]
    assert offered("daoctl", "--admin", "x:1", "explain", "") == ["all"]
    assert offered("daoctl", "top", "--int") == ["--interval"]
    assert offered("daoctl", "completions", "f") == ["fish"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_completions(shell: str) -> None:
    script = said(run_daoctl("completions", shell))
    for command in ("status", "upstreams", "routes", "explain", "top", "drain", "undrain", "completions"):
        assert command in script
    assert "names upstreams" in script
