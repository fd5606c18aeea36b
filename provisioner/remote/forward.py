"""TCP connections that a host makes for us: channels of an SSH connection, as `ssh -W` has them."""

from __future__ import annotations

import paramiko

from provisioner.errors import ProvisionError

_PROHIBITED = 1
"""SSH_OPEN_ADMINISTRATIVELY_PROHIBITED (RFC 4254, 5.1)."""


class ForbiddenError(ProvisionError):
    """The host's SSH server forwards nothing."""


def forward(
    transport: paramiko.Transport, host: str, address: str, port: int, seconds: float
) -> paramiko.Channel:
    """A connection of `host` (whose transport this is) to `address`, which may be a name that it knows.

    Raises ForbiddenError, and ConnectionError when the host cannot make it, or not within `seconds`.
    """
    try:
        return transport.open_channel("direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=seconds)
    except paramiko.ChannelException as error:
        if error.code == _PROHIBITED:
            raise ForbiddenError(
                f"{host}: its SSH server opens no connection to {address}, port {port} for us",
                "let it: `AllowTcpForwarding local` in /etc/ssh/sshd_config there, neither DisableForwarding nor a"
                " PermitOpen that leaves the address out, then `systemctl reload ssh` (or sshd)",
            ) from error
        raise ConnectionRefusedError(f"{host} cannot connect to {address}, port {port}") from error
    except (paramiko.SSHException, EOFError) as error:
        raise ConnectionAbortedError(f"{host}: {error}") from error
