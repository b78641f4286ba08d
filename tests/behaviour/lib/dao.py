"""Starting a DAO process, and looking at it from outside: its logs, metrics, descriptors and its end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lib import deadline
from lib.client import RawClient
from lib.metrics import Metrics

REPOSITORY = Path(__file__).resolve().parents[3]
_DAMAGE = re.compile(r"(?:Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer|runtime error:|assert", re.IGNORECASE)
_LOG_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z) (\w+) (.*)")
_LOG_FIELD = re.compile(r'(?:^| )([A-Za-z_][\w.]*)=("(?:[^"\\]|\\.)*"|\S*)')


def binary() -> str:
    """The program under test: DAO_BIN, else the release build."""
    return os.environ.get("DAO_BIN") or str(REPOSITORY / "build/release/bin/dao")


@dataclass
class LogLine:
    """`2026-11-23T03:21:00.123Z info message words key=value ...` taken apart; `text` is the line itself."""

    level: str
    message: str
    fields: dict[str, str]
    text: str

    @classmethod
    def parse(cls, text: str) -> LogLine:
        match = _LOG_LINE.fullmatch(text)
        if not match:
            return cls("", text, {}, text)
        rest = match[3]
        first = _LOG_FIELD.search(rest)
        fields = {}
        for key, value in _LOG_FIELD.findall(rest):
            fields[key] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        return cls(match[2], rest[: first.start()] if first else rest, fields, text)


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml_value(v)}" for k, v in value.items()) + "}"
    return json.dumps(str(value))


def to_toml(table: Mapping[str, object], prefix: str = "") -> str:
    """The TOML text of nested dicts: a dict becomes [table], a list of dicts [[table]], None is left out."""
    lines: list[str] = []
    nested: list[str] = []
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            nested.append(f"[{name}]\n{to_toml(value, name + '.')}")
        elif isinstance(value, (list, tuple)) and value and all(isinstance(item, Mapping) for item in value):
            nested += [f"[[{name}]]\n{to_toml(item, name + '.')}" for item in value]
        elif value is not None:
            lines.append(f"{key} = {_toml_value(value)}")
    return "\n".join([*lines, *nested]) + "\n"


def simple_config(*upstream_urls: str, **sections: Mapping[str, object]) -> dict[str, object]:
    """One route for everything, to these upstreams. `sections` are merged over the defaults by table:

    simple_config(origin.url, server={"body_max_bytes": 10}, proxy={"retries": 0}, rule={"policy": "random"})

    Presence is off, so that an upstream is asked whatever it did before; liminal={"presence": {}} leaves it on.
    """
    rule: dict[str, object] = {"name": "all"}
    rule.update(sections.pop("rule", {}))
    rule["upstreams"] = [{"name": f"u{index}", "url": url} for index, url in enumerate(upstream_urls)]
    config: dict[str, object] = {
        "server": {"bind": "127.0.0.1:0", "workers": 1},
        "telemetry": {"prometheus_bind": "127.0.0.1:0"},
        "liminal": {"presence": {"enabled": False}},
        "routes": {"rule": [rule]},
    }
    for name, table in sections.items():
        config[name] = {**config.get(name, {}), **table}  # type: ignore[dict-item]
    return config


class Dao:
    """A running DAO.

    `config` is TOML text or nested dicts (see simple_config). Unless the config names another, a JSON access log goes
    to `directory`/access.log; dicts without "admin" get no admin API. The constructor returns when DAO has logged `ready`, or fails with its log. With
    `wait_ready=False` it returns at once (for start-up errors: `wait_exit()`).
    """

    def __init__(
        self,
        config: str | Mapping[str, object],
        directory: Path,
        *,
        env: Mapping[str, str] | None = None,
        wait_ready: bool = True,
    ):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.access_log_path = directory / "access.log"
        self.config_path = directory / "dao.toml"
        self.write_config(config)
        self._lines: list[LogLine] = []
        self._changed = threading.Condition()
        self._stopped = False
        self.process = subprocess.Popen(
            [binary(), "run", "--config", str(self.config_path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # What it keeps is its own: the default place is one for the whole machine.
            env={**os.environ, "STATE_DIRECTORY": str((directory / "state").absolute()), **(env or {})},
        )
        self.stdout = b""
        self._readers = [
            threading.Thread(target=self._read_log, daemon=True),
            threading.Thread(target=self._read_stdout, daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        self._clients: list[RawClient] = []
        self.idle_fds = 0
        self._workers = 0.0
        if wait_ready:
            try:
                self.wait_log(lambda line: line.message == "ready", "ready")
            except AssertionError:
                self.process.kill()
                self.process.wait()
                raise
            self.idle_fds = self.fd_count()
            self._workers = self.metrics().total("dao_workers") if self.logs("telemetry") else 0.0

    def __enter__(self) -> Dao:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.stop()
        else:
            self.kill()

    # Its configuration ------------------------------------------------------------------------------------------

    def write_config(self, config: str | Mapping[str, object]) -> None:
        """Replaces the file at once, as an operator should; nothing is told to DAO."""
        if not isinstance(config, str):
            telemetry = dict(config.get("telemetry", {}))  # type: ignore[call-overload]
            telemetry.setdefault("access_log", {"path": str(self.directory / "access.log")})
            if telemetry["access_log"].get("path", "").startswith("/"):
                self.access_log_path = Path(telemetry["access_log"]["path"])
            # The default address is one for the whole machine, and tests run side by side.
            config = to_toml({"admin": {"bind": "off"}, **config, "telemetry": telemetry})
        new = self.config_path.with_suffix(".new")
        new.write_text(config)
        new.replace(self.config_path)

    def reload(self, config: str | Mapping[str, object] | None = None, *, fails: bool = False) -> LogLine:
        """Writes the file (None: it is as it should be), sends SIGHUP, waits for the outcome and returns its log line.
        It must be the one that is expected. On a slow machine DAO may have found the new file by itself before the
        signal comes: that outcome is not this one, which would be taken for the next one's."""
        if config is not None:
            self.write_config(config)
        before = len(self.logs())
        self.signal(signal.SIGHUP)
        outcomes = ("reloaded", "reload failed, nothing was changed")

        def outcome() -> LogLine | None:
            ours = (line for line in self.logs()[before:] if line.fields.get("by") == "SIGHUP")
            return next((line for line in ours if line.message in outcomes), None)

        with self._changed:
            self._changed.wait_for(lambda: outcome() or self.process.poll() is not None, 2 * deadline.DEFAULT)
        line = outcome()
        assert line, f"no outcome of the reload; the log:\n{self.log_text()}"
        assert line.message == outcomes[fails], line.text
        return line

    # Addresses --------------------------------------------------------------------------------------------------

    @property
    def addresses(self) -> list[tuple[str, int] | str]:
        """The listeners, in the order of the config: (host, port), or the path of a unix socket. Those that a reload
        added come after them."""
        return [_address(line.fields["address"]) for line in self.logs("listening")]

    @property
    def address(self) -> tuple[str, int] | str:
        return self.addresses[0]

    @property
    def telemetry(self) -> tuple[str, int]:
        return _address(self.logs("telemetry")[-1].fields["address"])  # type: ignore[return-value]

    @property
    def admin(self) -> tuple[str, int] | str:
        return _address(self.logs("admin")[-1].fields["address"])

    def client(self, **options: float) -> RawClient:
        """A new raw connection to the first listener; `close_clients` (and so the fixture) closes it."""
        client = RawClient(self.address, **options)
        self._clients.append(client)
        return client

    def close_clients(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()

    def get(self, path: str, address: tuple[str, int] | None = None) -> tuple[int, str]:
        """A plain GET to the telemetry address: (status, body)."""
        host, port = address or self.telemetry
        try:
            with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=deadline.DEFAULT) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metrics(self) -> Metrics:
        status, text = self.get("/metrics")
        assert status == 200, f"/metrics answered {status}"
        return Metrics(text)

    # Logs -------------------------------------------------------------------------------------------------------

    def logs(self, message: str | None = None) -> list[LogLine]:
        """The log lines so far (those with exactly that message)."""
        with self._changed:
            return [line for line in self._lines if message is None or line.message == message]

    def log_text(self) -> str:
        return "\n".join(line.text for line in self.logs())

    def wait_log(
        self, condition: str | Callable[[LogLine], object], what: str = "", timeout: float = deadline.DEFAULT
    ) -> LogLine:
        """Waits for a log line: one that contains the text, or for which the function is true."""
        test = (lambda line: condition in line.text) if isinstance(condition, str) else condition

        def found() -> LogLine | None:
            return next((line for line in self._lines if test(line)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self.process.poll() is not None, timeout)
        if not found() and self.process.poll() is not None:
            self._readers[0].join(deadline.DEFAULT)
        line = found()
        if not line:
            state = self.process.poll()
            raise AssertionError(f"no log line {what or condition!r} (exit {state}); the log:\n{self.log_text()}")
        return line

    def access_log(self) -> list[dict[str, object]]:
        """The entries of the JSON access log so far."""
        if not self.access_log_path.exists():
            return []
        text = self.access_log_path.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def wait_access(self, condition: Callable[[dict[str, object]], object] | int = 1) -> list[dict[str, object]]:
        """Waits until the access log has that many entries (or matching entries: at least one) and returns them."""
        if isinstance(condition, int):
            count = condition
            return deadline.wait_until(
                lambda: entries if len(entries := self.access_log()) >= count else None, f"{count} access log entries"
            )
        return deadline.wait_until(
            lambda: [entry for entry in self.access_log() if condition(entry)], "an access log entry"
        )

    def _read_log(self) -> None:
        assert self.process.stderr
        for raw in self.process.stderr:
            with self._changed:
                self._lines.append(LogLine.parse(raw.decode(errors="replace").rstrip("\n")))
                self._changed.notify_all()
        self.process.wait()
        with self._changed:
            self._changed.notify_all()

    def _read_stdout(self) -> None:
        assert self.process.stdout
        while data := self.process.stdout.read1(65536):
            self.stdout += data

    # What it holds ----------------------------------------------------------------------------------------------

    def fd_count(self) -> int:
        folder = f"/proc/{self.process.pid}/fd"
        return os.stat(folder).st_size or len(os.listdir(folder))  # the size tells since Linux 6.2, and far cheaper

    def cpu_seconds(self) -> float:
        """Processor time so far, in user and kernel."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def wait_idle(self, extra_fds: int = 0) -> None:
        """Waits until descriptors and live tasks are back at what they were when DAO had just started.

        Close the clients first, and the pooled connections from the backend's side (Origin.close_connections), or
        name those that may stay with `extra_fds`.
        """
        allowed = self.idle_fds + extra_fds
        deadline.wait_until(lambda: self.fd_count() <= allowed, f"at most {allowed} fds, as at the start")
        if extra_fds == 0 and self.logs("telemetry"):
            # An idle worker has one task, its housekeeping.
            deadline.wait_until(
                lambda: self.metrics().total("dao_tasks") <= self._workers,
                f"no more tasks than workers ({self._workers:.0f})",
                poll=0.005,
            )

    # Its end ----------------------------------------------------------------------------------------------------

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait_exit(self, timeout: float = deadline.DEFAULT) -> int:
        """Waits for the end of the process and returns its exit code (negative: the signal)."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout:.1f} s; the log:\n{self.log_text()}") from None
        for reader in self._readers:
            reader.join(deadline.DEFAULT)
        self._stopped = True
        return code

    def stop(self, timeout: float = deadline.DEFAULT) -> None:
        """SIGTERM; fails unless DAO exits with 0 in time and left no sanitizer report or failed assertion."""
        if self._stopped:
            return
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            code = self.wait_exit(timeout)
        except AssertionError:
            self.kill()
            raise
        self.check_undamaged()
        assert code == 0, f"exit code {code}; the log:\n{self.log_text()}"

    def check_undamaged(self) -> None:
        damage = [line.text for line in self.logs() if _DAMAGE.search(line.text)]
        assert not damage, "DAO reported damage:\n" + self.log_text()

    def kill(self) -> None:
        """SIGKILL, for clean-up after a failure."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join(deadline.DEFAULT)
        self._stopped = True


def _address(text: str) -> tuple[str, int] | str:
    if text.startswith("unix:"):
        return text[len("unix:") :]
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
