"""Whether a silent host still answers. TCP cannot tell: the kernel acknowledges for a process that hangs."""

from __future__ import annotations

import fcntl
import sys
import termios
import threading
import time

import paramiko


class Pulse:
    """Asks for a sign of life when a script has been silent for `interval` seconds. Thread-safe."""

    def __init__(self, transport: paramiko.Transport, silence: float) -> None:
        """`silence`: seconds without an answer after which the host counts as gone."""
        self.silence = silence
        self.interval = min(5.0, silence / 3)
        self._transport = transport
        self._lock = threading.Lock()
        self._asked: float | None = None
        self._waiting = 0

    def beats(self) -> bool:
        """False when a question has been open for too long. Asks when none is open."""
        with self._lock:
            if self._asked is not None:
                if self._takes():
                    self._asked = time.monotonic()
                return time.monotonic() - self._asked < self.silence
            self._asked = time.monotonic()
        # The library offers no asynchronous question with an answer; the thread lives for one round trip.
        threading.Thread(target=self._ask, daemon=True).start()
        return True

    def touch(self) -> None:
        """The host took data: it lives, and its answer may be queued behind what was sent."""
        if self._asked is not None:
            self._asked = time.monotonic()

    def _takes(self) -> bool:
        """Whether less waits in the kernel to be taken by the host than when this was asked last: over a slow line the
        question itself may wait there behind a long script."""
        try:
            answer = fcntl.ioctl(self._transport.sock.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, AttributeError):  # through a gateway there is no socket of its own
            return False
        before, self._waiting = self._waiting, int.from_bytes(answer, sys.byteorder)
        return self._waiting < before

    def _ask(self) -> None:
        try:
            self._transport.global_request("keepalive@openssh.com", wait=True)
        except (paramiko.SSHException, OSError, EOFError):
            return  # the transport is dead; its channels learn that by themselves
        with self._lock:
            self._asked = None
