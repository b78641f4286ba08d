"""Starting dao-upstream, the fault-injecting server: the origin of tests that must not share their Python with one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

from lib import deadline
from lib.client import RawClient
from lib.dao import binary
from lib.http1 import Response


def program() -> str:
    """DAO_UPSTREAM_BIN, else the one beside the DAO under test."""
    return os.environ.get("DAO_UPSTREAM_BIN") or str(Path(binary()).with_name("dao-upstream"))


class Upstream:
    """A running dao-upstream. The constructor returns when it has said `ready`."""

    def __init__(self, *arguments: str, listen: tuple[str, ...] = ("127.0.0.1:0",)):
        listening = [part for address in listen for part in ("--listen", address)]
        self.process = subprocess.Popen([program(), *listening, *arguments], stderr=subprocess.PIPE, text=True)
        self.addresses: list[tuple[str, int] | str] = []
        self.control: tuple[str, int] | str | None = None
        assert self.process.stderr
        for line in self.process.stderr:
            if line.rstrip().endswith(" ready"):
                break
            match = re.search(r" (listening|control) address=\"?(\S+?)\"?$", line.rstrip())
            assert match, line
            address: tuple[str, int] | str = match[2].removeprefix("unix:")
            if not match[2].startswith("unix:"):
                host, port = match[2].rsplit(":", 1)
                address = (host.strip("[]"), int(port))
            if match[1] == "control":
                self.control = address
            else:
                self.addresses.append(address)
        else:
            raise AssertionError(f"dao-upstream ended with {self.process.wait()}")

    def client(self) -> RawClient:
        return RawClient(self.addresses[0])

    def get(self, target: str, **options: object) -> Response:
        with self.client() as client:
            return client.exchange(request(target), **options)

    def order(self, query: str) -> Response:
        """POST /_control by the control address, if there is one."""
        with RawClient(self.control or self.addresses[0]) as client:
            return client.exchange(request(f"/_control?{query}", "POST", b""))

    def stats(self) -> dict[str, object]:
        with RawClient(self.control or self.addresses[0]) as client:
            return json.loads(client.exchange(request("/_stats")).body)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(deadline.DEFAULT)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stderr
            self.process.stderr.close()


def request(target: str, method: str = "GET", body: bytes | None = None, *fields: str, version: str = "1.1") -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: upstream.test", *fields]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")
