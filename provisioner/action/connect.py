"""Sessions for the hosts of an inventory."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import ProvisionError
from provisioner.inventory.labs import lab_of
from provisioner.inventory.model import Inventory

if TYPE_CHECKING:
    from provisioner.remote.ahead import Ahead
    from provisioner.remote.pool import Pool
    from provisioner.remote.route import UserConfig


@dataclass(frozen=True)
class Begun:
    """Connections that were begun, by what the user's configuration says of their ways."""

    config: UserConfig
    ahead: Ahead


def begin(inventory: Inventory, hosts: Sequence[str]) -> Begun | None:
    """Begins to connect `hosts`, and returns at once; `connect_to` goes on with it. None when no way was found, which
    is said there."""
    try:
        return _begin(inventory, hosts)
    except ProvisionError:
        return None


def connect_to(inventory: Inventory, hosts: Sequence[str] = (), begun: Begun | None = None) -> Pool:
    """Sessions for an inventory's hosts. A lab's own key and host keys are found by its name.

    `hosts` are connected to while what speaks SSH is imported, unless they were `begun` before; the rest when they are
    asked for.
    """
    begun = begun or _begin(inventory, hosts)
    try:
        return _pool(inventory, begun)
    except BaseException:
        begun.ahead.close()
        raise


def _pool(inventory: Inventory, begun: Begun) -> Pool:
    from provisioner.remote.hostkeys import KnownHosts
    from provisioner.remote.pool import Pool

    folder = lab_of(inventory)
    key = folder / "id_ed25519" if folder else None
    return Pool(
        {name: host.connection for name, host in inventory.hosts.items()},
        known_hosts=KnownHosts.load(known_hosts_files(inventory), trusting(inventory)),
        key_files=[key] if key and key.exists() else [],
        config=begun.config,
        ahead=begun.ahead,
    )


def _begin(inventory: Inventory, hosts: Sequence[str]) -> Begun:
    from provisioner.remote.ahead import Ahead
    from provisioner.remote.route import UserConfig

    config, ahead = UserConfig.load(), Ahead()
    # All ways first: where one cannot be read no host is reached.
    hops = [config.route(inventory.hosts[host].connection)[0] for host in hosts]
    ahead.begin(hops)
    return Begun(config, ahead)


def trusting(inventory: Inventory) -> str:
    """The command line that remembers the keys of its hosts."""
    return shlex.join(["provision", "trust", str(inventory.path)])


def known_hosts_files(inventory: Inventory) -> list[Path]:
    """Where host keys are looked for: the lab's, the inventory's, the user's."""
    folder = lab_of(inventory)
    files = [folder / "known_hosts"] if folder else []
    return [*files, inventory.path.parent / "known_hosts", Path("~/.ssh/known_hosts").expanduser()]
