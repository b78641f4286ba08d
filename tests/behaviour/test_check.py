"""`dao check` beyond the text, and configurations of several files: docs/checking.md."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from lib import deadline
from lib.dao import binary, simple_config, to_toml
from lib.dns import DnsServer
from lib.faults import expect_normal
from lib.origin import Origin
from lib.ports import refusing_port
from lib.tls import Authority, Identity

URL = "http://127.0.0.1:9"


def dao_check(*arguments: str, unprivileged: bool = False) -> subprocess.CompletedProcess[str]:
    """`unprivileged`: without root's right to ignore the modes of files, if the tests have it."""
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if unprivileged and os.geteuid() == 0 else []
    ended = subprocess.run(
        [*drop, binary(), "check", *arguments], capture_output=True, text=True, timeout=deadline.DEFAULT
    )
    assert ended.stderr == ""
    return ended


def findings(*arguments: str, exit_status: int, unprivileged: bool = False) -> list[dict[str, object]]:
    ended = dao_check("--json", *arguments, unprivileged=unprivileged)
    assert ended.returncode == exit_status, ended.stdout
    return json.loads(ended.stdout)


def with_tls(directory: Path, identity: Identity) -> str:
    path = directory / "tls.toml"
    path.write_text(
        to_toml(simple_config(URL, server={"tls_cert": str(identity.cert), "tls_key": str(identity.key)}))
    )
    return str(path)


# Files it names ----------------------------------------------------------------------------------------------------


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.issue("DNS:a.test", days=90), authority.issue("DNS:b.test", days=90)
    assert findings(with_tls(tmp_path, one), exit_status=0) == []
    (found,) = findings(with_tls(tmp_path, Identity(one.cert, other.key)), exit_status=1)
    assert (found["severity"], found["key"]) == ("error", "server.tls_cert")
    assert found["message"] == f"the private key {other.key} does not belong to the certificate {one.cert}"
    text = Path(str(found["file"])).read_text().splitlines()
    assert str(one.cert) in text[int(str(found["line"])) - 1]


@pytest.mark.parametrize(("days", "words"), [(-1, "has expired on 2"), (5, "expires on 2"), (29, "expires on 2")])
def test_expiry(tmp_path: Path, days: int, words: str) -> None:
    identity = Authority(tmp_path).issue("DNS:a.test", days=days)
    (found,) = findings(with_tls(tmp_path, identity), exit_status=0)
    assert (found["severity"], found["key"]) == ("warning", "server.tls_cert")
    assert words in str(found["message"])


def test_missing_files(tmp_path: Path) -> None:
    path = with_tls(tmp_path, Identity(tmp_path / "no.pem", tmp_path / "no.key"))
    found = findings(path, exit_status=1)
    assert [each["key"] for each in found] == ["server.tls_cert", "server.tls_key"]
    assert all(each["severity"] == "error" and int(str(each["line"])) > 0 for each in found)
    assert findings("--text-only", path, exit_status=0) == []


def test_a_file_that_only_this_user_may_not_read(tmp_path: Path) -> None:
    identity = Authority(tmp_path).issue("DNS:a.test", days=90)
    identity.key.chmod(0)
    (found,) = findings(with_tls(tmp_path, identity), exit_status=0, unprivileged=True)
    assert (found["severity"], found["key"]) == ("warning", "server.tls_key")
    assert found["message"] == f"cannot read {identity.key}: Permission denied"


# The network -------------------------------------------------------------------------------------------------------


def test_deep(origin: Origin, tmp_path: Path) -> None:
    with DnsServer({"there.test": ["127.0.0.1"], "gone.test": "NXDOMAIN"}) as dns:
        closed = refusing_port()
        port = origin.url.rsplit(":", 1)[1]
        path = tmp_path / "deep.toml"
        urls = [
            origin.url, f"http://there.test:{port}", "http://gone.test", f"http://there.test:{closed}",
            f"unix:{tmp_path}/no.sock",
        ]  # fmt: skip
        path.write_text(to_toml(simple_config(*urls, dns={"servers": [dns.address], "timeout_ms": 2000})))
        assert findings(str(path), exit_status=0) == [], "the network is asked on demand only"
        found = findings("--deep", str(path), exit_status=0)
    assert [(each["severity"], each["key"]) for each in found] == [
        ("warning", f"routes.rule[0].upstreams[{index}].url") for index in (2, 3, 4)
    ]
    assert str(found[0]["message"]).startswith("the name gone.test resolves nowhere: NXDOMAIN")
    assert found[1]["message"] == f"nobody accepts connections at 127.0.0.1:{closed}: Connection refused"
    assert found[2]["message"] == f"nobody accepts connections at unix:{tmp_path}/no.sock: No such file or directory"


# Several files -----------------------------------------------------------------------------------------------------


def test_included_files(start_dao, origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    main = simple_config(origin.url)
    rules = main.pop("routes")
    main_text = f'include = ["{tmp_path}/conf.d/*.toml"]\n' + to_toml(main)
    (tmp_path / "conf.d" / "routes.toml").write_text(to_toml({"routes": rules}))
    path = tmp_path / "dao.toml"
    path.write_text(main_text)
    assert "valid (1 rule, 1 upstream, 1 listener in 2 files)" in dao_check(str(path)).stdout
    dao = start_dao(main_text)
    expect_normal(dao)
    dao.stop()

    (tmp_path / "conf.d" / "wrong.toml").write_text("[server]\nworkers = 2\nwrokers = 1\n")
    wrong = f"{tmp_path}/conf.d/wrong.toml"
    (found,) = findings(str(path), exit_status=1)
    assert (found["file"], found["line"], found["column"], found["key"]) == (wrong, 2, 1, "server.workers")
    shown = dao_check(str(path)).stdout
    assert f'{wrong}:2:1: error: server.workers: "workers" is there already: {path}:' in shown


def test_a_directory_that_cannot_be_read(tmp_path: Path) -> None:
    closed = tmp_path / "conf.d"
    closed.mkdir(mode=0)
    path = tmp_path / "dao.toml"
    path.write_text('include = "conf.d/*.toml"\n' + to_toml(simple_config(URL)))
    try:
        (found,) = findings(str(path), exit_status=1, unprivileged=True)
    finally:
        closed.chmod(0o700)
    assert (found["line"], found["key"]) == (1, "include")
    assert found["message"] == f"cannot look into the directory {closed}: Permission denied"


# What can never matter ---------------------------------------------------------------------------------------------


def test_what_is_there_for_nothing(tmp_path: Path) -> None:
    config = simple_config(URL)
    upstream = {"name": "u0", "url": URL, "weight": 3, "intent": "batch"}
    config["routes"] = {
        "rule": [
            {"name": "a", "match": {"path_prefix": "/api"}, "upstreams": [{"name": "u0", "url": URL}]},
            {"name": "b", "match": {"path_exact": "/api/x"}, "upstreams": [upstream]},
        ]
    }
    path = tmp_path / "idle.toml"
    text = to_toml(config)
    path.write_text(text)
    line = text.splitlines().index("[[routes.rule]]") + 1
    assert sorted(str(each["message"]) for each in findings(str(path), exit_status=0)) == sorted([
        f'no request reaches the rule "b": the rule "a" on line {line} takes everything it matches',
        'no request has the intent "batch"',
        'the weight changes nothing: "u0" is the only upstream of the rule "b"',
    ])  # fmt: skip
