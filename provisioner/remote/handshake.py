"""The first second of an SSH connection: algorithms, timeouts and the host's key, before anybody is named."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from provisioner.errors import UnreachableError
from provisioner.remote.dial import Timeouts, hang_up
from provisioner.remote.hostkeys import HostKey
from provisioner.remote.route import Hop

if TYPE_CHECKING:
    from provisioner.remote.dial import Wire

_GCM = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""First because they need no separate MAC: +25-50 % on streams."""
# Without a handler Python prints the library's errors on stderr; what failed is ours to tell.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class HungUpError(Exception):
    """The server closed the connection before it knew us. An overloaded one does that: try again."""


def handshake(
    wire: Wire,
    hop: Hop,
    preferred: tuple[str, ...],
    timeouts: Timeouts,
    finish: Callable[[paramiko.Transport, Hop], None],
) -> paramiko.Transport:
    """A transport over `wire` on which `finish` (check and log in) has succeeded.

    `preferred` are the key types by which the host is known. Raises HungUpError, UnreachableError and what
    `finish` raises; the wire is closed then.
    """
    transport = paramiko.Transport(wire)
    transport.banner_timeout = timeouts.banner
    transport.handshake_timeout = timeouts.banner
    transport.auth_timeout = timeouts.auth
    transport.channel_timeout = timeouts.channel
    _prefer(transport, preferred)
    try:
        _start(transport, hop, timeouts.banner)
        finish(transport, hop)
    except BaseException:
        hang_up(transport)
        raise
    transport.set_keepalive(5)
    return transport


def offered_key(transport: paramiko.Transport) -> HostKey:
    """The key that the host has just proved to own."""
    key = transport.get_remote_server_key()
    return HostKey(key.get_name(), key.get_base64())


def _start(transport: paramiko.Transport, hop: Hop, timeout: float) -> None:
    started = time.monotonic()
    try:
        transport.start_client(timeout=timeout)
        # The library returns without a word when its time is over; this raises then.
        transport.get_remote_server_key()
    except IncompatiblePeer as error:
        raise UnreachableError(
            f"{hop} offers only unsafe algorithms: {error}",
            "update the host's OpenSSH to 7.4 or newer",
        ) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        if time.monotonic() - started >= timeout:
            raise UnreachableError(
                f"{hop} accepts connections but says nothing for {timeout:g} s",
                "its sshd hangs, or another service listens on that port: look at the host's console",
            ) from error
        raise HungUpError(str(error)) from error


def _prefer(transport: paramiko.Transport, kinds: tuple[str, ...]) -> None:
    options = transport.get_security_options()
    options.ciphers = (*_GCM, *(name for name in options.ciphers if name not in _GCM))
    wanted = [name for kind in kinds for name in _signatures(kind) if name in options.key_types]
    options.key_types = tuple(dict.fromkeys((*wanted, *options.key_types)))


def _signatures(kind: str) -> tuple[str, ...]:
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)
