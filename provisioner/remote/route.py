"""Which way leads to a host: the inventory's word first, then ~/.ssh/config, then OpenSSH's defaults."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.errors import ProvisionError

if TYPE_CHECKING:
    import paramiko

    from provisioner.inventory.model import Connection
    from provisioner.inventory.secrets import Secret

_HOPS_MAX = 8


@dataclass(frozen=True)
class Hop:
    """One login on the way: where, as whom and with what. `timeout` is for TCP, in seconds."""

    address: str
    port: int
    user: str
    key_files: tuple[Path, ...]
    only_key_files: bool
    """True: neither the agent nor the default keys are tried beside `key_files`."""
    password: Secret | None
    key_address: str
    """Under which address known_hosts keeps the host."""
    check_key: bool
    timeout: float
    proxy_command: str | None = None

    def __str__(self) -> str:
        return f"{self.user}@{self.address}" + (f":{self.port}" if self.port != 22 else "")


class UserConfig:
    """~/.ssh/config, read at most once a run. Only what a login needs is taken from it."""

    def __init__(self, parsed: paramiko.SSHConfig | None) -> None:
        self._parsed = parsed

    @staticmethod
    def load(path: Path | None = None) -> UserConfig:
        """Read `path` (default ~/.ssh/config); a missing file says nothing. Raises ProvisionError."""
        path = path or Path("~/.ssh/config").expanduser()
        if not path.is_file():
            return UserConfig(None)
        import paramiko

        try:
            return UserConfig(paramiko.SSHConfig.from_path(path))
        except (OSError, UnicodeDecodeError, paramiko.ConfigParseError) as error:
            raise ProvisionError(f"{path} cannot be read: {error}", "`ssh -G HOST` shows where") from error

    def route(self, connection: Connection, key_files: Sequence[Path] = ()) -> tuple[Hop, ...]:
        """The logins in order, the host itself last. Raises ProvisionError for jumps in a circle."""
        options = self._lookup(connection.address)
        target = _target(connection, options, tuple(key_files))
        jump = _jump(connection, options)
        if target.proxy_command or not jump:
            return (target,)
        fallback = (connection.key_file,) if connection.key_file else tuple(key_files)
        return (*self._jumps(jump, connection, fallback, 0), target)

    def _jumps(
        self, spec: str, connection: Connection, keys: tuple[Path, ...], depth: int
    ) -> tuple[Hop, ...]:
        if depth >= _HOPS_MAX:
            raise ProvisionError(
                f"ProxyJump of {connection.address} goes in a circle",
                "see `ssh -G` for each of the jump hosts",
            )
        hops: list[Hop] = []
        for word in spec.split(","):
            user, address, port = _split(word.strip())
            options = self._lookup(address)
            own = _jump_of(options)
            if own and not hops:
                hops.extend(self._jumps(own, connection, keys, depth + 1))
            hops.append(_gateway(user, address, port, options, connection, keys))
        return tuple(hops)

    def _lookup(self, address: str) -> Mapping[str, Any]:
        return self._parsed.lookup(address) if self._parsed else {}


def _target(connection: Connection, options: Mapping[str, Any], key_files: tuple[Path, ...]) -> Hop:
    keys = (connection.key_file,) if connection.key_file else key_files
    address = str(options.get("hostname", connection.address))
    port = connection.port if connection.port != 22 else int(options.get("port", 22))
    user = connection.user or str(options.get("user", "")) or getpass.getuser()
    command = connection.proxy_command or (None if connection.proxy_jump else options.get("proxycommand"))
    if command == "none":
        command = None
    return Hop(
        address=address,
        port=port,
        user=user,
        key_files=keys or _identities(options),
        only_key_files=bool(keys or connection.password) or options.get("identitiesonly") == "yes",
        password=connection.password,
        key_address=str(options.get("hostkeyalias", address)),
        check_key=connection.host_key_checking,
        timeout=connection.timeout,
        proxy_command=_expand(command, address, port, user) if command else None,
    )


def _gateway(
    user: str,
    address: str,
    port: int,
    options: Mapping[str, Any],
    connection: Connection,
    keys: tuple[Path, ...],
) -> Hop:
    real = str(options.get("hostname", address))
    own = _identities(options)
    return Hop(
        address=real,
        port=port or int(options.get("port", 22)),
        user=user or str(options.get("user", "")) or getpass.getuser(),
        key_files=own or keys,
        only_key_files=options.get("identitiesonly") == "yes",
        password=None,
        key_address=str(options.get("hostkeyalias", real)),
        check_key=connection.host_key_checking,
        timeout=connection.timeout,
        proxy_command=None,
    )


def _jump(connection: Connection, options: Mapping[str, Any]) -> str:
    if connection.proxy_jump:
        return "" if connection.proxy_jump == "none" else connection.proxy_jump
    return _jump_of(options)


def _jump_of(options: Mapping[str, Any]) -> str:
    jump = str(options.get("proxyjump", ""))
    return "" if jump == "none" else jump


def _identities(options: Mapping[str, Any]) -> tuple[Path, ...]:
    return tuple(Path(name).expanduser() for name in options.get("identityfile", ()))


def _split(word: str) -> tuple[str, str, int]:
    """user, address and port (0: not given) of `[ssh://][user@]address[:port]`; IPv6 with a port is in []."""
    user, _, rest = word.removeprefix("ssh://").rpartition("@")
    if rest.startswith("["):
        address, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    else:
        address, _, port = rest.partition(":") if rest.count(":") == 1 else (rest, "", "")
    if not address or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise ProvisionError(f"cannot read the jump host {word!r}", "write it as user@host:port")
    return user, address, int(port or 0)


def _expand(command: str, address: str, port: int, user: str) -> str:
    """%h, %p, %r and %% as in ssh_config(5); paramiko has expanded those of the file already."""
    parts = command.split("%%")
    for token, value in (("%h", address), ("%p", str(port)), ("%r", user)):
        parts = [part.replace(token, value) for part in parts]
    return "%".join(parts)
