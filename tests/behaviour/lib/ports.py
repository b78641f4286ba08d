"""Ports that stay the test's own while nobody listens on them.

A port that was only looked up and closed again is soon another's, most often that of a test in a neighbouring process,
and then what should be refused is answered there.
"""

from __future__ import annotations

import socket


class HeldPort:
    """A port that refuses connections until somebody listens on it by number, and again once they have stopped.

    A socket is bound to it and does not listen: the kernel gives such a port to nobody who asks for any port, neither to
    bind nor to connect from. Who names it may have it, if they set SO_REUSEADDR. It is held as long as this object lives,
    or until free().
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0):
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host, port))
        self.port: int = self._socket.getsockname()[1]

    def free(self) -> None:
        self._socket.close()


_held: list[HeldPort] = []


def refusing_port() -> int:
    """A port on 127.0.0.1 where nobody listens as long as this process lives, but who is told of it."""
    _held.append(HeldPort())
    return _held[-1].port
