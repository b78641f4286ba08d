"""What an operator sees: /metrics, /livez and /ready, the access log, its rotation, and what it says about losses."""

from __future__ import annotations

import json
import re
import signal
import threading
from pathlib import Path

from lib import deadline
from lib.client import RawClient
from lib.dao import REPOSITORY, Dao, simple_config
from lib.faults import Counters, expect_normal, expect_ok, get, post
from lib.origin import CLOSE, Origin


def documented_metrics() -> dict[str, tuple[str, set[str]]]:
    """docs/metrics.md: name -> (type, label names)."""
    text = (REPOSITORY / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| \w* ?\| ([\w, ]*?) ?\| .* \|$", text, re.MULTILINE)
    return {name: (kind, {label for label in labels.split(", ") if label}) for name, kind, labels in rows}


def some_traffic(dao: Dao, origin: Origin) -> None:
    origin.answer("/lost ", CLOSE)
    with dao.client() as client:
        for n in range(3):
            expect_ok(client.exchange(get(f"/ok-{n}", "Referer: http://b.test/", "User-Agent: tester/1")))
        expect_ok(client.exchange(post("/post", b"12345")))
        assert client.exchange(get("/lost")).status == 502
        assert client.exchange(b"nonsense\r\n\r\n").status == 400
    # A request is counted after its last byte was sent.
    deadline.wait_until(lambda: dao.metrics().total("dao_requests_total") == 6, "six requests to be counted")


# /metrics --------------------------------------------------------------------------------------------------------


def test_metrics_are_the_documented_ones(start_dao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    some_traffic(dao, origin)
    counters = Counters(dao)
    expect_normal(dao)
    counters.grew("dao_requests_total")
    metrics = dao.metrics()
    documented = documented_metrics()
    assert len(documented) > 20
    assert metrics.types == {name: kind for name, (kind, _) in documented.items()}
    suffixes = {"_bucket", "_sum", "_count"}
    for name, labels, _ in metrics.samples:
        base = next((name.removesuffix(s) for s in suffixes if name.endswith(s) and name not in documented), name)
        kind, names = documented[base]
        assert set(labels) - {"le"} == names, f"{name}{labels}"
        assert ("le" in labels) == (kind == "histogram" and name.endswith("_bucket"))
    dao.stop()


def test_metrics_count_what_happened(start_dao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    some_traffic(dao, origin)
    counters = Counters(dao)
    expect_normal(dao)
    counters.grew("dao_requests_total")
    metrics = dao.metrics()
    total = metrics.total
    assert total("dao_requests_total", route="all", code_class="2xx") == 5
    assert total("dao_requests_total", route="all", code_class="5xx") == 1
    assert total("dao_requests_total", route="(none)", code_class="4xx") == 1
    assert total("dao_requests_total") == total("dao_request_duration_seconds_count") == 7
    assert total("dao_request_bytes_total", route="all") == 5
    assert total("dao_response_bytes_total", route="all") > 10
    assert total("dao_connections_accepted_total") == total("dao_connections_closed_total") == 2
    assert total("dao_upstream_requests_total", upstream="u0") == 6
    assert total("dao_upstream_requests_total", upstream="u0", code_class="none") == 1
    assert total("dao_upstream_response_head_seconds_count", upstream="u0") == 5
    assert total("dao_upstream_reused_connections_total", upstream="u0") >= 3
    assert total("dao_client_errors_total", reason="malformed") == 1
    buckets = metrics.all("dao_request_duration_seconds_bucket", route="all")
    assert buckets == sorted(buckets) and buckets[-1] == 6, "cumulative, and +Inf counts all"
    assert 0 < total("dao_request_duration_seconds_sum", route="all") < 6 * deadline.DEFAULT
    assert total("dao_ready") == total("dao_build_info") == 1
    assert total("dao_workers") == 1
    assert 0 < total("process_resident_memory_bytes") < 1 << 30
    assert 0 < total("process_open_fds") <= total("process_max_fds")
    assert total("process_start_time_seconds") > 1.6e9
    dao.stop()


def test_telemetry_address(start_dao, origin: Origin) -> None:
    """Only its four pages, only reading, and nothing of it is counted as traffic."""
    dao = start_dao(simple_config(origin.url))
    with RawClient(dao.telemetry) as client:
        for path, body in (("/livez", b"ok\n"), ("/ready", b"ready\n")):
            expect_ok(client.exchange(get(path)), body)
        metrics = client.exchange(get("/metrics"))
        assert metrics.value("content-type") == "text/plain; version=0.0.4; charset=utf-8"
        head = client.exchange(b"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (head.status, head.body, head.values("content-type")) == (200, b"", metrics.values("content-type"))
        assert client.exchange(get("/other")).status == 404
        post_answer = client.exchange(post("/metrics", b"x"))
        assert (post_answer.status, post_answer.values("allow")) == (405, ["GET, HEAD"])
        expect_ok(client.exchange(get("/ready?verbose")), b"ready\n")
        assert client.exchange(b"garbage\r\n\r\n").status == 400
        client.expect_closed()
    assert dao.metrics().total("dao_requests_total") == 0
    assert not origin.requests
    expect_normal(dao)
    dao.stop()
    assert [entry["target"] for entry in dao.access_log()] == ["/normal"]


def test_scrapers_that_hang_do_not_block_others(start_dao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    idle = [RawClient(dao.telemetry) for _ in range(20)]
    for client in idle:
        client.send(b"GET /metrics HTTP/1.1\r\n")
    assert dao.get("/livez") == (200, "ok\n")
    for client in idle:
        client.close()
    expect_normal(dao)
    dao.stop()


def test_without_telemetry_address(start_dao, origin: Origin) -> None:
    config = simple_config(origin.url)
    config["telemetry"] = {}
    dao = start_dao(config)
    with RawClient(dao.address) as client:
        expect_ok(client.exchange(get("/normal")))
    assert not dao.logs("telemetry")
    dao.stop()


# The access log ----------------------------------------------------------------------------------------------------


def documented_log_fields() -> dict[str, str]:
    """docs/access-log.md: field -> type, in their order."""
    text = (REPOSITORY / "docs/access-log.md").read_text()
    return dict(re.findall(r"^\| `(\w+)` \| (\w+)", text, re.MULTILINE))


def test_json_log_is_as_documented(start_dao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url))
    some_traffic(dao, origin)
    dao.stop()
    types = {"string": str, "number": (int, float), "boolean": bool}
    order = list(documented_log_fields())
    entries = dao.access_log()
    assert len(entries) == 6
    for entry in entries:
        assert list(entry) == [field for field in order if field in entry], "documented fields in the documented order"
        for field, value in entry.items():
            assert isinstance(value, types[documented_log_fields()[field]]), (field, value)
        assert {"time", "status", "request_bytes", "response_bytes", "attempts", "reused"} <= set(entry)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(entry["time"]))
    first, *_, lost, nonsense = entries
    assert (first["method"], first["host"], first["target"]) == ("GET", "a.test", "/ok-0")
    assert first["protocol"] == "HTTP/1.1"
    assert (first["status"], first["response_bytes"], first["route"], first["upstream"]) == (200, 2, "all", "u0")
    assert (first["referer"], first["user_agent"]) == ("http://b.test/", "tester/1")
    assert (first["client"], first["upstream_address"], first["attempts"]) == ("127.0.0.1", origin.authority, 1)
    assert not first["reused"] and entries[1]["reused"]
    assert 0 <= first["connect_ms"] <= first["duration_ms"] and 0 < first["head_ms"] <= first["duration_ms"]
    assert "connect_ms" not in entries[1], "a reused connection was not connected"
    assert (lost["status"], lost["error"]) == (502, "connection_terminated")
    assert (nonsense["status"], nonsense["error"], nonsense["attempts"]) == (400, "http_request_error", 0)


def test_combined_log(start_dao, origin: Origin, tmp_path: Path) -> None:
    path = tmp_path / "combined.log"
    log = {"path": str(path), "format": "combined"}
    dao = start_dao(simple_config(origin.url, telemetry={"access_log": log}))
    some_traffic(dao, origin)
    with dao.client() as client:
        expect_ok(client.exchange(get('/quote"d', 'User-Agent: a"b\\c')))
    dao.stop()
    lines = path.read_text().splitlines()
    line = re.compile(
        r'127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "((?:[^"\\]|\\x..)*)" (\d{3}) (\d+)'
        r' "((?:[^"\\]|\\x..)*)" "((?:[^"\\]|\\x..)*)"'
    )
    parts = [line.fullmatch(text) for text in lines]
    assert all(parts), lines
    assert parts[0].groups() == ("GET /ok-0 HTTP/1.1", "200", "2", "http://b.test/", "tester/1")
    assert [part[2] for part in parts] == ["200"] * 4 + ["502", "400", "200"]
    assert (parts[6][1], parts[6][5]) == (r"GET /quote\x22d HTTP/1.1", r"a\x22b\x5Cc")


def test_access_log_to_stdout(start_dao, origin: Origin) -> None:
    dao = start_dao(simple_config(origin.url, telemetry={"access_log": {"path": "-"}}))
    expect_normal(dao)
    dao.stop()
    (entry,) = [json.loads(line) for line in dao.stdout.splitlines()]
    assert entry["target"] == "/normal"


def test_no_access_log(start_dao, origin: Origin, tmp_path: Path) -> None:
    dao = start_dao(simple_config(origin.url, telemetry={"access_log": {"path": ""}}))
    expect_normal(dao)
    dao.signal(signal.SIGUSR1)  # nothing to reopen, nothing to fear
    expect_normal(dao)
    dao.stop()
    assert dao.stdout == b""


def test_rotation_loses_nothing(start_dao, origin: Origin) -> None:
    """logrotate's way: rename, SIGUSR1, and every line is in exactly one of the files, while requests go on."""
    dao = start_dao(simple_config(origin.url, server={"workers": 2}))
    old = dao.access_log_path.with_suffix(".1")
    enough = threading.Event()
    sent: list[list[str]] = [[], []]

    def ask(index: int) -> None:
        with RawClient(dao.address) as client:
            while not enough.is_set():
                target = f"/{index}-{len(sent[index])}"
                expect_ok(client.exchange(get(target)))
                sent[index].append(target)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    try:
        dao.wait_access(50)
        dao.access_log_path.rename(old)
        dao.signal(signal.SIGUSR1)
        deadline.wait_until(lambda: len(dao.access_log()) > 50, "lines in the new file")
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    assert dao.logs("reopening logs")
    dao.stop()
    lines = old.read_text().splitlines() + dao.access_log_path.read_text().splitlines()
    logged = [json.loads(line)["target"] for line in lines]
    assert sorted(logged) == sorted(sent[0] + sent[1])
    assert dao.stdout == b""


def test_rotation_into_a_missing_directory_keeps_the_old_file(start_dao, origin: Origin, tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    path = directory / "access.log"
    dao = start_dao(simple_config(origin.url, telemetry={"access_log": {"path": str(path)}}))
    expect_normal(dao)
    dao.wait_access(1)
    moved = tmp_path / "moved"
    directory.rename(moved)
    dao.signal(signal.SIGUSR1)
    dao.wait_log(lambda line: line.level in ("warning", "error") and str(path) in line.text)
    expect_normal(dao)
    dao.stop()
    assert len((moved / "access.log").read_text().splitlines()) == 2


def test_full_disk_costs_lines_not_requests(start_dao, origin: Origin) -> None:
    """/dev/full takes nothing: requests go on as ever, and every lost line is counted."""
    log = {"path": "/dev/full", "buffer_bytes": 65536}
    dao = start_dao(simple_config(origin.url, telemetry={"access_log": log}))
    with dao.client() as client:
        for n in range(100):
            expect_ok(client.exchange(get(f"/{n}", "User-Agent: " + "long " * 500)))
    expect_normal(dao)
    line = dao.wait_log("cannot write the access log")
    assert line.level == "error" and line.fields["path"] == "/dev/full"
    # What fits in the buffer is kept, in case the disk gets room again.
    dropped = dao.metrics().total("dao_access_log_dropped_total")
    assert 50 < dropped < 101
    dao.stop()
    (end,) = dao.logs("access log could not be finished")
    assert dropped + int(end.fields["lost"]) == 101
