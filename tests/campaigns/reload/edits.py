"""Configurations at random: each valid one differs from the one before, and routes all that the load asks for.

The load's own paths begin with /stable/, whose rule and upstreams never change, and /moving/, which some rule always
serves. Everything is drawn from a seed.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping

POLICIES = ("round-robin", "random", "least-connections", "p2c", "peak-ewma", "consistent-hash", "resonant")
MOST_RULES, MOST_UPSTREAMS, MOST_LISTENERS = 8, 6, 4
# What no request of the load can meet: they finish long before.
PATIENT = {"first_byte_timeout_ms": 60_000, "read_timeout_ms": 60_000, "connect_timeout_ms": 20_000}


def base(stable_url: str, urls: list[str], certificates: list[Mapping[str, str]], workers: int) -> dict[str, object]:
    """What the campaign begins with and ends with."""
    return {
        "server": {
            "workers": workers,
            "listener": [
                {"name": "plain", "bind": "127.0.0.1:0"},
                {"name": "secure", "bind": "127.0.0.1:0", "tls": {"certificates": [certificates[0]]}},
            ],
        },
        "proxy": dict(PATIENT),
        "telemetry": {"prometheus_bind": "127.0.0.1:0"},
        "memory": {"follow_files": False},  # the campaign says when
        "routes": {
            "rule": [
                _rule("stable", "/stable", [("stable", stable_url)]),
                _rule("moving", "/moving", [("m0", urls[0])]),
            ]
        },
    }


def _rule(name: str, prefix: str, upstreams: list[tuple[str, str]]) -> dict[str, object]:
    return {"name": name, "match": {"path_prefix": prefix}, "upstreams": [{"name": n, "url": u} for n, u in upstreams]}


class Editor:
    """Makes one configuration out of another, and broken files."""

    def __init__(self, seed: int, urls: list[str], certificates: list[Mapping[str, str]], taken_port: int, gradual: float = 0):
        """`gradual`: which part of the configurations take over gradually."""
        self._random = random.Random(seed)
        self._urls = urls
        self._certificates = certificates
        self._taken_port = taken_port
        self._names = 0
        self._gradual = gradual
        self._edits = [
            self.add_rule, self.remove_rule, self.reorder_rules, self.add_upstream, self.remove_upstream,
            self.reorder_upstreams, self.weigh, self.choose_policy, self.filter, self.limit, self.time, self.add_listener,
            self.remove_listener, self.replace_certificate,
        ]  # fmt: skip

    def next(self, config: dict[str, object]) -> dict[str, object]:
        """One to three edits."""
        made = copy.deepcopy(config)
        if self._gradual > 0:
            gradual = self._random.random() < self._gradual
            made["liminal"] = {"metamorphic": {"transition_ms": self._random.randint(100, 800) if gradual else 0}}
        for _ in range(self._random.randint(1, 3)):
            self._random.choice(self._edits)(made)
        return made

    def broken(self, text: str) -> str:
        """A file that cannot be used, out of the text of one that can."""
        return self._random.choice(
            [
                lambda: text + "\n[server\n",
                lambda: text + "\n[nonsense]\nkey = 1\n",
                lambda: text.replace('policy = "', 'policy = "no-such-', 1) if 'policy = "' in text else "broken",
                lambda: text.replace("[[server.listener]]", f'[[server.listener]]\nname = "t"\nbind = "127.0.0.1:{self._taken_port}"\n\n[[server.listener]]', 1),  # fmt: skip
                lambda: text.replace('cert = "', 'cert = "/no/such/file', 1),
                lambda: text[: len(text) // 2] + "\0",
            ]
        )()

    # The edits ----------------------------------------------------------------------------------------------------

    def _new_name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}{self._names}"

    def _moving(self, config: dict) -> list[dict]:
        return [rule for rule in config["routes"]["rule"] if rule["name"] != "stable"]

    def _new_upstream(self) -> dict[str, object]:
        return {"name": self._new_name("u"), "url": self._random.choice(self._urls)}

    def add_rule(self, config: dict) -> None:
        """Before the one that takes all the rest, or a namesake of nobody that never matches."""
        rules = config["routes"]["rule"]
        if len(rules) >= MOST_RULES:
            return self.remove_rule(config)
        prefix = self._random.choice(["/moving/get", "/moving/up", "/moving/down", f"/{self._new_name('p')}"])
        rule = {**_rule(self._new_name("r"), prefix, []), "upstreams": [self._new_upstream()]}
        if any(each["match"]["path_prefix"] == prefix for each in rules):
            rule["match"]["path_prefix"] = f"/{self._new_name('p')}"  # type: ignore[index]
        rules.insert(self._random.randrange(len(rules)), rule)
        return None

    def remove_rule(self, config: dict) -> None:
        added = [rule for rule in self._moving(config) if rule["name"] != "moving"]
        if added:
            config["routes"]["rule"].remove(self._random.choice(added))

    def reorder_rules(self, config: dict) -> None:
        """The longer of two prefixes that both match stands first."""
        rules = config["routes"]["rule"]
        self._random.shuffle(rules)
        rules.sort(key=lambda rule: rule["name"] == "moving")

    def add_upstream(self, config: dict) -> None:
        rule = self._random.choice(self._moving(config))
        if len(rule["upstreams"]) < MOST_UPSTREAMS:
            rule["upstreams"].insert(self._random.randint(0, len(rule["upstreams"])), self._new_upstream())
        else:
            self.remove_upstream(config)

    def remove_upstream(self, config: dict) -> None:
        rule = self._random.choice(self._moving(config))
        if len(rule["upstreams"]) > 1:
            rule["upstreams"].pop(self._random.randrange(len(rule["upstreams"])))
        else:
            rule["upstreams"][0] = self._new_upstream()

    def reorder_upstreams(self, config: dict) -> None:
        self._random.shuffle(self._random.choice(self._moving(config))["upstreams"])

    def weigh(self, config: dict) -> None:
        self._random.choice(self._random.choice(self._moving(config))["upstreams"])["weight"] = self._random.randint(1, 9)

    def choose_policy(self, config: dict) -> None:
        self._random.choice(self._moving(config))["policy"] = self._random.choice(POLICIES)

    def filter(self, config: dict) -> None:
        self._random.choice(self._moving(config))["filters"] = self._random.choice(
            [
                {},
                {"request_headers_set": {"X-Turn": self._new_name("t")}},
                {"response_headers_set": {"X-Turn": self._new_name("t")}, "request_headers_remove": ["X-Nothing"]},
                {"allow": ["127.0.0.0/8"]},
                # A minute's burst: a limiter refuses who comes by a clock that is further behind another worker's than that.
                {"rate_limit": {"rpm": self._random.randint(500_000, 1_000_000), "burst": 1_000_000}},
            ]
        )

    def limit(self, config: dict) -> None:
        key, low, high = self._random.choice(
            [
                ("max_connections", 5_000, 10_000), ("max_connections_per_client", 5_000, 10_000),
                ("body_max_bytes", 100_000_000, 200_000_000), ("header_max_count", 50, 200),
            ]
        )  # fmt: skip
        config["server"][key] = self._random.randint(low, high)

    def time(self, config: dict) -> None:
        key = self._random.choice(sorted(PATIENT))
        config["proxy"][key] = PATIENT[key] + self._random.randint(0, 10_000)

    def add_listener(self, config: dict) -> None:
        listeners = config["server"]["listener"]
        if len(listeners) >= MOST_LISTENERS:
            return self.remove_listener(config)
        listener: dict[str, object] = {"name": self._new_name("l"), "bind": "127.0.0.1:0"}
        if self._random.random() < 0.5:
            listener["tls"] = {"certificates": [self._random.choice(self._certificates)]}
        listeners.insert(self._random.randint(0, len(listeners)), listener)
        return None

    def remove_listener(self, config: dict) -> None:
        added = [each for each in config["server"]["listener"] if each["name"] not in ("plain", "secure")]
        if added:
            config["server"]["listener"].remove(self._random.choice(added))

    def replace_certificate(self, config: dict) -> None:
        (secure,) = [each for each in config["server"]["listener"] if each["name"] == "secure"]
        secure["tls"]["certificates"] = [self._random.choice(self._certificates)]
