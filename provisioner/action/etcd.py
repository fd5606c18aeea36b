"""Which members of etcd begin a new cluster; all others join the one that runs."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner.errors import ProvisionError
from provisioner.inventory.model import Inventory
from provisioner.playbook.facts import Facts


def founders_of(inventory: Inventory, facts: Mapping[str, Facts], *, never_ran: bool) -> frozenset[str]:
    """The hosts whose member is to begin, or began and did not end to begin, a new cluster.

    Raises ProvisionError when no member has data though the cluster has run: a new one would know nothing of it.
    """
    members = [host.name for host in inventory.group("etcd")]
    known = {name: facts[name].etcd for name in members if name in facts}
    begun = frozenset(name for name, etcd in known.items() if etcd == "founding")
    if begun or any(known.values()) or len(known) < len(members):
        return begun
    if not never_ran:
        raise ProvisionError(
            f"no member of etcd ({', '.join(members)}) has its data, and this cluster has run: all that it knows"
            " would be lost",
            "bring the data back to /var/lib/etcd on one of them, or reset the hosts and build a new cluster",
        )
    return frozenset(members)
