"""Which members of etcd begin a new cluster; all others join the one that runs, and none is forgotten in it."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.inventory.model import Inventory
from provisioner.playbook.facts import Facts
from provisioner.resources.model import Owned
from provisioner.resources.owned import parse_owned

_SERVICE = "systemd:etcd.service"


def founders_of(inventory: Inventory, facts: Mapping[str, Facts], *, never_ran: bool) -> frozenset[str]:
    """The hosts whose member is to begin, or began and did not end to begin, a new cluster.

    Raises ProvisionError when no member has data though the cluster has run: a new one would know nothing of it.
    """
    members = [host.name for host in inventory.group("etcd")]
    known = {name: facts[name].etcd for name in members if name in facts}
    begun = frozenset(name for name, etcd in known.items() if etcd in ("seeded", "founding"))
    if any(etcd in ("data", "founding") for etcd in known.values()) or len(known) < len(members):
        return begun
    if not never_ran:
        raise ProvisionError(
            f"no member of etcd ({', '.join(members)}) has its data, and this cluster has run: all that it knows"
            " would be lost",
            "bring the data back to /var/lib/etcd on one of them; or end the cluster, as a reset that was stopped has"
            f" begun to (`provision reset {inventory.path}` goes on), and apply again for a new one",
        )
    # Where a run was killed while it wrote the seeds, all of them are written anew.
    return frozenset(members)


def lost(facts: Facts) -> bool:
    """The host had a member that ran, and neither its data nor its seed is there: its disk may not be mounted."""
    return not facts.etcd and _SERVICE in parse_owned(facts.owned)


def check_forgotten(
    inventory: Inventory, facts: Mapping[str, Facts], owned: Mapping[str, Mapping[str, Owned]]
) -> None:
    """Raises InputError at a host that is in no group of etcd any more and has a member: it would be stopped,
    and the others would go on to count it."""
    members = {host.name for host in inventory.group("etcd")}
    problems = [
        Problem(
            *inventory.sources.names.get(name, (str(inventory.path), 0, 0)),
            f"{name} has a member of etcd and is not in the group etcd",
            f"put it into the group again; `provision remove {inventory.path} {name}` takes host and member away",
        )
        for name, each in facts.items()
        if name not in members and each.etcd and _SERVICE in owned.get(name, {})
    ]
    if problems:
        raise InputError(problems)
