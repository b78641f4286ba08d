"""The admin API and daoctl, asked from outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from lib import deadline
from lib.client import RawClient
from lib.dao import REPOSITORY, Dao, binary
from lib.http1 import Response

TOKEN = "correct-horse-battery-staple"


def with_admin(config: Mapping[str, object], **admin: object) -> dict[str, object]:
    return {**config, "admin": {"bind": "127.0.0.1:0", **admin}}


def ask(
    dao: Dao, target: str, *fields: str, method: str = "GET", body: bytes | None = None, host: str = "localhost"
) -> Response:
    """One request to the admin API, with exactly these fields."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    with RawClient(dao.admin) as client:
        return client.exchange("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))


def read(dao: Dao, target: str) -> dict:
    response = ask(dao, target)
    assert (response.status, response.value("content-type")) == (200, "application/json"), response.body
    return json.loads(response.body)


def change(dao: Dao, target: str, *fields: str, body: bytes | None = b"") -> Response:
    return ask(dao, target, "X-DAO-Admin: 1", *fields, method="POST", body=body)


def error_of(response: Response) -> tuple[int, str]:
    told = json.loads(response.body)
    assert set(told) == {"error", "detail"} and told["detail"]
    return response.status, told["error"]


def daoctl_program() -> str:
    """DAOCTL_BIN, else the one beside the DAO under test."""
    return os.environ.get("DAOCTL_BIN") or str(Path(binary()).with_name("daoctl"))


def address_text(address: tuple[str, int] | str) -> str:
    return f"unix:{address}" if isinstance(address, str) else f"{address[0]}:{address[1]}"


def daoctl(dao: Dao, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return run_daoctl("--admin", address_text(dao.admin), *arguments, env=env)


def run_daoctl(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DAO_ADMIN")}
    return subprocess.run(
        [daoctl_program(), *arguments],
        capture_output=True,
        text=True,
        timeout=4 * deadline.DEFAULT,
        env={**clean, **(env or {})},
        check=False,
    )


def policies() -> list[str]:
    """Every policy that comes with DAO."""
    schema = json.loads((REPOSITORY / "configs/dao.schema.json").read_text())
    policy = schema["properties"]["routes"]["properties"]["rule"]["items"]["properties"]["policy"]
    names = policy.get("enum") or re.findall(r'"([a-z0-9-]+)"', policy["description"].partition("Value: ")[2])
    assert "round-robin" in names
    return names


def check_terms(candidate: Mapping[str, object]) -> None:
    """A score with weights is the sum that it is said to be, and so is its load."""
    weights = [candidate[name] for name in ("w_load", "w_intent", "w_tempo")]
    if not any(weights):
        return
    terms = [candidate[name] for name in ("load_resonance", "intent_gap", "tempo_spikiness")]
    total = sum(weight * term for weight, term in zip(weights, terms, strict=True))  # type: ignore[operator]
    assert abs(candidate["score"] - total) <= 1e-4 * max(1.0, abs(total)), candidate  # type: ignore[operator]
