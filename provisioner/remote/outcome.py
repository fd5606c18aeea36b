"""How a script ends, and where its own output begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from provisioner.errors import ProvisionError, UnreachableError


class DeadlineError(ProvisionError):
    """A script ran longer than it may. It may still run on the host."""


class LostError(UnreachableError):
    """The connection broke while a script ran: whether the script reached its end is not known."""


@dataclass(frozen=True)
class Result:
    """How a script ended: its exit status, its output and the seconds from the first byte to the last."""

    status: int
    stdout: bytes
    stderr: bytes
    seconds: float


_NOISE = 65536


@dataclass
class Marked:
    """An output that counts from a mark on. `noise` came before: a login shell's greeting, sudo's prompt."""

    mark: bytes
    sink: Callable[[bytes], object]
    noise: bytearray = field(default_factory=bytearray)
    """Its end, if there is much of it."""
    ready: bool = False

    def feed(self, data: bytes) -> None:
        if self.ready:
            self.sink(data)
            return
        self.noise += data
        at = self.noise.find(self.mark)
        if at < 0:
            del self.noise[:-_NOISE]
        if at >= 0:
            self.ready = True
            rest = bytes(self.noise[at + len(self.mark) :])
            del self.noise[at:]
            if rest:
                self.sink(rest)
