"""Sessions for the hosts of an inventory."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.inventory.labs import lab_of
from provisioner.inventory.model import Inventory

if TYPE_CHECKING:
    from provisioner.remote.pool import Pool


def connect_to(inventory: Inventory, hosts: Sequence[str] = ()) -> Pool:
    """Sessions for an inventory's hosts. A lab's own key and host keys are found by its name.

    `hosts` are connected to while what speaks SSH is imported, the rest when they are asked for.
    """
    from provisioner.remote.ahead import Ahead
    from provisioner.remote.route import UserConfig

    folder = lab_of(inventory)
    key = folder / "id_ed25519" if folder else None
    connections = {name: host.connection for name, host in inventory.hosts.items()}
    config, ahead = UserConfig.load(), Ahead()
    ahead.begin(config.route(connections[host])[0] for host in hosts)

    from provisioner.remote.hostkeys import KnownHosts
    from provisioner.remote.pool import Pool

    return Pool(
        connections,
        known_hosts=KnownHosts.load(known_hosts_files(inventory), trusting(inventory)),
        key_files=[key] if key and key.exists() else [],
        config=config,
        ahead=ahead,
    )


def trusting(inventory: Inventory) -> str:
    """The command line that remembers the keys of its hosts."""
    return shlex.join(["provision", "trust", str(inventory.path)])


def known_hosts_files(inventory: Inventory) -> list[Path]:
    """Where host keys are looked for: the lab's, the inventory's, the user's."""
    folder = lab_of(inventory)
    files = [folder / "known_hosts"] if folder else []
    return [*files, inventory.path.parent / "known_hosts", Path("~/.ssh/known_hosts").expanduser()]
