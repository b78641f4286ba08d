"""Processes of a benchmark: started in a session of their own on a given CPU, ended by process group."""
import ctypes
import os
import resource
import signal
import subprocess
import time

PAGE = os.sysconf("SC_PAGE_SIZE")
NICE = 0  # of everything started here; below 0 (as root), other programs disturb less
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def cpus():
    """The CPU of the proxy under test and the CPU of load and backend."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def descriptor_limit():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _preparation(cpu):
    """What a child does before it becomes its program: dies with this one, runs on `cpu`, as NICE as all the others."""

    def prepare():
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        if NICE:
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
            if os.path.exists("/proc/self/autogroup"):  # otherwise it counts inside the session only
                with open("/proc/self/autogroup", "w") as autogroup:
                    autogroup.write(str(NICE))
        hard = descriptor_limit()
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    return prepare


def start(command, cpu, log, **options):
    """A child on `cpu` with the descriptor limit raised, its output in the file `log`; it dies with this program."""
    with open(log, "ab") as out:
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", out)
        return subprocess.Popen(command, stderr=out, start_new_session=True, preexec_fn=_preparation(cpu), **options)


def run(command, cpu):
    """The same for a program that ends by itself within a minute; what it said, as subprocess.run() returns it. A load that
    weighs less than the server it shares its CPU with is interrupted at each answer, which nobody would measure."""
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
                          start_new_session=True, preexec_fn=_preparation(cpu))


def end(process, patience=5):
    """SIGTERM to the process and, after `patience` seconds, SIGKILL to its group. Its exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    return process.wait()


def tree(pid):
    """`pid` and its descendants."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children") as children:
                    found.extend(int(child) for child in children.read().split())
        except OSError:
            continue
    return found


def rss_bytes(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm") as statm:
                total += int(statm.read().split()[1]) * PAGE
        except OSError:
            continue
    return total


def run_ns(pids):
    """CPU time of all threads, user and system."""
    return _schedstat(pids, 0)


def wait_ns(pids):
    """Time that threads were ready to run and did not: others had the CPU."""
    return _schedstat(pids, 1)


def _schedstat(pids, column):
    total = 0
    for pid in pids:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as schedstat:
                    total += int(schedstat.read().split()[column])
        except OSError:
            continue
    return total


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def wait_for(condition, seconds, what):
    """Polls `condition` until it gives something true, which is returned."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def last_lines(path, count=5):
    try:
        with open(path, errors="replace") as file:
            return "".join(file.readlines()[-count:]).strip()
    except OSError:
        return ""
