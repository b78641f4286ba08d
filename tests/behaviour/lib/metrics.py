"""Reading the Prometheus text format (and so checking that it is well-formed)."""

from __future__ import annotations

import re

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: \d+)?(?: # .*)?")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')


class Metrics:
    """A snapshot of one /metrics answer: (name, labels) -> value."""

    def __init__(self, text: str):
        self.samples: list[tuple[str, dict[str, str], float]] = []
        self.types: dict[str, str] = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.types[name] = kind
            elif line and not line.startswith("#"):
                match = _SAMPLE.fullmatch(line)
                assert match, f"not a Prometheus sample: {line!r}"
                labels = dict(_LABEL.findall(match[2] or ""))
                self.samples.append((match[1], labels, float(match[3])))

    @property
    def names(self) -> set[str]:
        return {name for name, _, _ in self.samples}

    def all(self, name: str, **labels: str) -> list[float]:
        """The values of every sample of that name that has (at least) these labels."""
        return [value for n, have, value in self.samples if n == name and labels.items() <= have.items()]

    def total(self, name: str, **labels: str) -> float:
        """The sum over all matching samples; 0 if there is none (a counter that has not counted yet)."""
        return sum(self.all(name, **labels))

    def value(self, name: str, **labels: str) -> float:
        """The value of the one matching sample."""
        values = self.all(name, **labels)
        assert len(values) == 1, f"{name}{labels}: {len(values)} samples"
        return values[0]
