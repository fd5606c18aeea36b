"""Connections that are begun while what speaks SSH is still being loaded.

Loading takes 0.1 s, and a server as long from the connection to its first word: it forks, reads its keys and its
configuration. Begun before, the two go side by side.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from threading import Lock

from provisioner.inventory.addresses import is_ip
from provisioner.remote.route import Hop


class Ahead:
    """Sockets that are connecting, one an endpoint. Thread-safe."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str, int], socket.socket] = {}
        self._mutex = Lock()

    def begin(self, hops: Iterable[Hop]) -> None:
        """Begin to connect to each of `hops` that is named by its address; a name's would have to be asked for, and a
        proxy's command started. Returns at once."""
        for hop in hops:
            if hop.proxy_command is None and (hop.address, hop.port) not in self._begun:
                # Whoever needs one that cannot be begun connects himself, and tells what is wrong.
                with suppress(ValueError, OSError):
                    self._begun[hop.address, hop.port] = _connecting(hop.address, hop.port)

    def take(self, hop: Hop) -> socket.socket | None:
        """The socket to `hop`, connected, whose closing is the caller's; None when none was begun. Raises OSError as a
        connect does, TimeoutError after the hop's `timeout`."""
        with self._mutex:
            wire = self._begun.pop((hop.address, hop.port), None)
        if wire is None:
            return None
        return _connected(wire, hop.timeout)

    def close(self) -> None:
        """Drop those that nobody has taken."""
        with self._mutex:
            left, self._begun = list(self._begun.values()), {}
        for wire in left:
            wire.close()


def connect(hop: Hop) -> socket.socket:
    """A connection of the caller's own to `hop`. Raises OSError, TimeoutError after the hop's `timeout`."""
    if not is_ip(hop.address):
        return socket.create_connection((hop.address, hop.port), timeout=hop.timeout)
    # No resolver for an address: Python's has to import 0.01 s of codecs for it.
    return _connected(_connecting(hop.address, hop.port), hop.timeout)


def _connected(wire: socket.socket, timeout: float) -> socket.socket:
    """`wire` once it is; closed when it does not come to that."""
    try:
        waiting = select.poll()  # select() knows no descriptors beyond 1023
        waiting.register(wire, select.POLLOUT)
        if not waiting.poll(timeout * 1000):
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        if fault := wire.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(fault, os.strerror(fault))
    except BaseException:
        wire.close()
        raise
    wire.settimeout(timeout)
    return wire


def _connecting(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    wire = socket.socket(family, socket.SOCK_STREAM)
    try:
        wire.setblocking(False)
        fault = wire.connect_ex((address, port))
        if fault not in (0, errno.EINPROGRESS):
            raise OSError(fault, os.strerror(fault))
    except BaseException:
        wire.close()
        raise
    return wire
