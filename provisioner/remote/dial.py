"""The wire under SSH: TCP that neither delays small packets nor waits for the dead, or a proxy command."""

from __future__ import annotations

import contextlib
import errno
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner.errors import UnreachableError
from provisioner.remote.ahead import Ahead, connect
from provisioner.remote.route import Hop

if TYPE_CHECKING:
    import paramiko
    from _typeshed import ReadableBuffer

    Wire = socket.socket | paramiko.Channel


@dataclass(frozen=True)
class Timeouts:
    """In seconds. TCP's own is the connection's `timeout`; a script's deadline is given to Session.run."""

    banner: float = 15.0
    auth: float = 30.0
    channel: float = 15.0
    silence: float = 14.0
    """How long a host may leave a request for a sign of life unanswered before it counts as gone. It is asked after
    5 s without a word from it, so that one is missed within 20 s."""
    start: float = 20.0
    """How long the login shell may take until it runs what it was given."""


UNANSWERED = 10
"""Seconds after which the kernel gives a connection up whose bytes are not acknowledged (TCP_USER_TIMEOUT)."""


def dial(hop: Hop, ahead: Ahead) -> socket.socket:
    """A connected socket to `hop`, the one that was begun `ahead` if there is any. Raises UnreachableError in words
    that say what to look at."""
    if hop.proxy_command:
        return _through(hop.proxy_command)
    try:
        wire = ahead.take(hop) or connect(hop)
    except OSError as error:
        raise _explained(hop, error) from error
    _tune(wire)
    return _Prompt(fileno=wire.detach())


class _Prompt(socket.socket):
    """Acknowledges at once, and keeps why it broke.

    sshd leaves Nagle's algorithm on until a session runs and then waits for our delayed acknowledgement: 42 ms of the
    first exec on every host (measured on loopback, OpenSSH 9.2). The kernel tells a fault once, to whoever reads or
    writes next; the library forgets it where that is a write.
    """

    fault: OSError | None = None

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        # The kernel falls back to delayed acknowledgements by itself, so this has to be said again each time.
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        try:
            return super().recv(size, flags)
        except OSError as error:
            raise self._told(error) from error

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        try:
            return super().send(data, flags)
        except OSError as error:
            raise self._told(error) from error

    def _told(self, error: OSError) -> OSError:
        if isinstance(error, TimeoutError) and error.errno == errno.ETIMEDOUT:
            # The library would take it for a call's own time-out, read on and find a connection that somebody closed.
            error = ConnectionAbortedError(error.errno, f"no answer for {UNANSWERED} s")
        elif isinstance(error, TimeoutError | BlockingIOError):  # nothing came, or went, yet
            return error
        self.fault = self.fault or error
        return error


def _tune(wire: socket.socket) -> None:
    """NODELAY: 44 -> 2 ms an exec. USER_TIMEOUT with keepalive: a dead peer shows within some 15 s."""
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED * 1000)


def fault_of(transport: paramiko.Transport) -> Exception | None:
    """Why its connection broke, as far as anybody was told."""
    own = transport.sock.fault if isinstance(transport.sock, _Prompt) else None
    return own or transport.get_exception()


def hang_up(transport: paramiko.Transport) -> None:
    """Close, without the 0.1 s in which the library's reader would notice: the shutdown wakes it."""
    sock = transport.sock
    with contextlib.suppress(OSError, EOFError):  # closed already: what was wanted
        sock.shutdown(socket.SHUT_RDWR)
    transport.close()


def _through(command: str) -> socket.socket:
    """Run `command` with one end of a socket pair as its stdin and stdout; it ends when ours is closed."""
    ours, theirs = socket.socketpair()
    with theirs:
        # A session of its own: Ctrl-C at the terminal must reach this program, not cut the wire under it.
        subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return ours


def _explained(hop: Hop, error: OSError) -> UnreachableError:
    where = f"{hop.address}, port {hop.port}"
    if isinstance(error, socket.gaierror):
        return UnreachableError(
            f"the name {hop.address} does not resolve",
            "set ansible_host to an address, or mend DNS or /etc/hosts",
        )
    if isinstance(error, ConnectionRefusedError):
        return UnreachableError(
            f"{where}: connection refused", "is sshd running there, and is the port right?"
        )
    if isinstance(error, TimeoutError):
        return UnreachableError(
            f"{where}: no answer within {hop.timeout:g} s",
            "is the host up, and does a firewall let the port through?",
        )
    return UnreachableError(
        f"{where}: {error.strerror or error}", "see `ip route get ADDRESS` on this machine"
    )
