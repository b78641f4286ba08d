"""A network of the benchmark's own: loopback with TCP as Debian sets it up, whatever this machine does.

Some machines run another congestion control for all connections (BBR paces even loopback and stops it for 200 ms at a
time), which makes long answers a lottery. A network namespace of our own has cubic, the kernel's and Debian's default,
and nobody else's connections; nothing outside of it changes. As a user who is not root this takes user namespaces.
"""
import os
import shutil
import subprocess

_INSIDE = "DAO_BENCH_NETWORK"
OWN, SHARED = "own namespace, cubic", "the machine's"
_SETUP = """
ip link set lo up || exit
for to in 127.0.0.0/8 127.0.0.1; do
  ip route replace table local local $to dev lo proto kernel scope host src 127.0.0.1 congctl cubic || exit
done
"""


def enter(command, say):
    """Runs `command` again in a network of its own if this process is not in one yet. Which network this is."""
    if os.environ.get(_INSIDE):
        return os.environ[_INSIDE]
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    reason = "unshare or ip is not installed"
    if shutil.which("unshare") and shutil.which("ip"):
        trial = subprocess.run([*unshare, "sh", "-c", _SETUP], capture_output=True, text=True, check=False)
        if trial.returncode == 0:
            os.execvpe(unshare[0], [*unshare, "sh", "-c", _SETUP + 'exec "$@"', "sh", *command],
                       os.environ | {_INSIDE: OWN})
        reason = trial.stderr.strip()
    say(f"!! no network of our own ({reason}): the machine's settings for TCP are part of the figures")
    return SHARED
