#!/usr/bin/python3
"""Writes what bench/run.py measured into the generated section of docs/performance.md.

bench/report.py [FILE.json]   (default: build/bench/latest.json)
"""
import json
import os
import re
import sys

sys.dont_write_bytecode = True
from lib import summary  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs/performance.md")
BEGIN, END = "<!-- begin: written by bench/report.py -->", "<!-- end: written by bench/report.py -->"


def section(document):
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    lines = [
        f"Measured {document['date'][:10]} on {machine['cpu']}, {machine['cpus']} CPUs, Linux {machine['kernel']}; "
        f"{versions}. {document['rounds']} rounds of {document['seconds']:g} s per cell; medians of the rounds. Network: {document['network']}.", ""]
    if document["disturbance"] > 0.05:
        lines += [f"**Provisional: the machine was busy with other work** (a proxy was kept waiting for its CPU up to "
                  f"{document['disturbance']:.0%} of a cell), which spoils latencies more than CPU times.", ""]
    lines += ["### Goals", "", "| goal | at most | measured | |", "|---|---:|---:|---|"]
    for text, limit, measured, unit in summary.verdicts(document):
        verdict = "not measured" if measured is None else "reached" if measured <= limit else "**not reached**"
        lines.append(f"| {text} | {summary.figure(limit, unit)} | {summary.figure(measured, unit)} | {verdict} |")
    for title, header, rows, notes in summary.tables(document):
        lines += ["", f"### {title[0].upper()}{title[1:]}", "", "| " + " | ".join(header) + " |"]
        text_last = header[-1].startswith("the ")
        lines.append("|---|" + "---:|" * (len(header) - 2) + ("---|" if text_last else "---:|"))
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines += ["", *(f"- {note}" for note in notes)] if notes else []
    return "\n".join(lines) + "\n"


def main():
    source = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build/bench/latest.json")
    with open(source) as file:
        document = json.load(file)
    with open(PAGE) as file:
        page = file.read()
    if BEGIN not in page or END not in page:
        sys.exit(f"{PAGE} has lost its markers: {BEGIN} … {END}")
    generated = f"{BEGIN}\n\n{section(document)}\n{END}"
    with open(PAGE, "w") as file:
        file.write(re.sub(re.escape(BEGIN) + ".*" + re.escape(END), lambda _: generated, page, flags=re.DOTALL))


if __name__ == "__main__":
    main()
