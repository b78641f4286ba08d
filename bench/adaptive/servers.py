"""The four servers behind a proxy: dao-upstreams that can be told to misbehave, killed and started again."""
import http.client
import json
import os

from lib import procs, proxies

MEAN_MS = 12.8  # service time, exponential
SLOTS = 8
COUNT = 4
UTILISATION = 0.6
RATE = COUNT * SLOTS / (MEAN_MS / 1000) * UTILISATION


class Server:
    def __init__(self, program, index, seed, cpu, log):
        self.name, self._cpu, self._log = f"u{index}", cpu, log
        self.address, self._control = (f"127.0.0.1:{proxies.free_port()}" for _ in range(2))
        self._command = [program, "--listen", self.address, "--control", self._control, "--name", self.name,
                         "--slots", str(SLOTS), "--delay-exp-ms", str(MEAN_MS), "--seed", str(seed)]
        self.process = None
        self.start()

    def start(self, *arguments):
        self.process = procs.start([*self._command, *arguments], self._cpu, self._log)
        procs.wait_for(self._ready, 10, f"{self.name} answers")

    def _ready(self):
        if self.process.poll() is not None:
            raise ChildProcessError(f"{self.name} ended: {procs.last_lines(self._log)}")
        try:
            return self.stats()
        except OSError:
            return None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ask(self, method, target):
        connection = http.client.HTTPConnection(self._control, timeout=5)
        try:
            connection.request(method, target, headers={"Connection": "close"})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{self.name} {target}: {text}")
        return text

    def order(self, query):
        self.ask("POST", f"/_control?{query}")

    def stats(self):
        return json.loads(self.ask("GET", "/_stats"))

    def end(self):
        procs.end(self.process)


def start(tools, seed, cpu, log):
    program = os.path.join(tools, "dao-upstream")
    return [Server(program, index, seed * 100 + index, cpu, log) for index in range(COUNT)]
