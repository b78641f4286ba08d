"""dao simulate as a command: what it prints, and how it exits."""

import json
import subprocess

from lib.dao import binary

SCENARIO = """
seconds = 5
warm_up_seconds = 1
[arrivals]
load = 0.5
[[backends]]
name = "b"
count = 2
mean_ms = 10
"""


def simulate(*arguments):
    return subprocess.run([binary(), "simulate", *map(str, arguments)], capture_output=True, text=True, timeout=60)


def scenario(tmp_path, more=""):
    path = tmp_path / "some.toml"
    path.write_text(SCENARIO + more)
    return path


def test_json_is_the_same_for_the_same_seed(tmp_path):
    path = scenario(tmp_path)
    first = simulate(path, "--json", "--seed", 3)
    assert first.returncode == 0 and first.stderr == ""
    assert first.stdout == simulate(path, "--json", "--seed", 3).stdout
    assert first.stdout != simulate(path, "--json", "--seed", 4).stdout
    policies = [one["policy"] for one in json.loads(first.stdout)["policies"]]
    assert {"round-robin", "least-connections", "resonant"} <= set(policies)


def test_only_the_policies_asked_for(tmp_path):
    result = simulate(scenario(tmp_path), "--policy", "random,round-robin", "--requests", 1000, "--json")
    report = json.loads(result.stdout)
    assert [one["policy"] for one in report["policies"]] == ["random", "round-robin"]
    assert all(one["simulated"] == 1000 for one in report["policies"])


def test_an_expectation_that_is_not_met_is_exit_status_1(tmp_path):
    expect = '[[expect]]\npolicy = "random"\nfigure = "p99_ms"\nat_most = {}\n'
    met = simulate(scenario(tmp_path, expect.format(10_000)))
    assert met.returncode == 0 and "  yes     random p99_ms at most 10000" in met.stdout
    failed = simulate(scenario(tmp_path, expect.format(0.001)))
    assert failed.returncode == 1 and "  NO      random p99_ms at most 0.001" in failed.stdout


def test_errors_say_where(tmp_path):
    path = scenario(tmp_path, "[[faults]]\neffect = \"slow\"\nbackends = [\"c\"]\nfactor = 2\n")
    result = simulate(path)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith(f"{path}:12:12: error: faults[0].backends: no backend is called \"c\"")
    result = simulate(scenario(tmp_path), "--policy", "astrology")
    assert result.returncode == 2 and "astrology" in result.stderr
    result = simulate(tmp_path / "none.toml")
    assert result.returncode == 2 and "cannot open" in result.stderr


def test_a_trace_takes_the_place_of_the_arrivals(tmp_path):
    trace = tmp_path / "trace"
    trace.write_text("10 20 30\n")
    result = simulate(scenario(tmp_path), "--trace", trace, "--json", "--policy", "random")
    assert result.returncode == 0, result.stderr
    trace.write_text("10 many\n")
    result = simulate(scenario(tmp_path), "--trace", trace)
    assert result.returncode == 2 and f'{trace}:1: "many" is not a number of requests' in result.stderr
