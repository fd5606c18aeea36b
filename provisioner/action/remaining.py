"""What an inventory declares without one of its hosts."""

from __future__ import annotations

from dataclasses import replace

from provisioner.action.load import Loaded
from provisioner.errors import InputError, Problem
from provisioner.inventory.aliases import CONTROL_PLANE, ETCD, LOAD_BALANCER, NODE, REGISTRY
from provisioner.inventory.model import Inventory
from provisioner.inventory.words import nearest
from provisioner.spec.load import load_spec

_THEIRS = {CONTROL_PLANE, ETCD, NODE, REGISTRY}
"""The groups of hosts that a cluster's builder has set up."""


def without(loaded: Loaded, host: str) -> Loaded:
    """`loaded`, of a cluster, as if the host were not in the inventory.

    Raises InputError when there is no such host, or what is left is no cluster. That etcd's members are even in number
    for a while is let pass.
    """
    inventory = loaded.inventory
    if host not in inventory.hosts:
        near = nearest(host, inventory.hosts)
        hint = f"did you mean '{near}'?" if near else f"it has: {', '.join(inventory.hosts)}"
        raise InputError([Problem(str(inventory.path), 0, 0, f"the inventory has no host '{host}'", hint)])
    if loaded.spec is not None and loaded.spec.existing is not None:
        reason = "this cluster was built by others: what they have put on its hosts is not taken away"
        hint = "remove the host by hand"
        if not _THEIRS & set(inventory.hosts[host].groups):
            hint = (
                f"{host} has nothing of theirs: `systemctl disable --now keepalived api-load-balancer` there,"
                " and take it out of the inventory"
            )
        raise InputError([Problem(*inventory.origin(None, "cluster", "existing"), reason, hint)])
    place = inventory.sources.names.get(host, (str(inventory.path), 0, 0))
    if REGISTRY in inventory.hosts[host].groups:
        reason = f"{host} is the registry: no node could pull an image without it"
        raise InputError([Problem(*place, reason, "name another registry, and apply that, before")])
    rest = _without(inventory, host)
    try:
        spec = load_spec(rest, transition=True)
    except InputError as fault:
        problems = [replace(each, reason=f"without {host}: {each.reason}") for each in fault.problems]
        raise InputError(problems) from None
    rested = replace(loaded, inventory=rest, spec=spec)
    if reason := _unreached(loaded, rested, host):
        hint = "name another endpoint, and apply that, before"
        raise InputError([Problem(*inventory.origin(None, "cluster", "endpoint", "host"), reason, hint)])
    return rested


def _unreached(whole: Loaded, rest: Loaded, host: str) -> str:
    """Why nobody would reach the API server any more; "" when they do."""
    if whole.spec is None or rest.spec is None:
        return ""
    if rest.spec.endpoint.host in (host, whole.spec.nodes[host].address):
        return f"the endpoint is {host}'s own address: nodes and clients reach the API server there"
    if whole.spec.load_balancer.vip and not rest.inventory.group(LOAD_BALANCER):
        return f"{host} is the last load balancer: nobody else holds the endpoint"
    return ""


def place_of(inventory: Inventory, host: str) -> str:
    """Where the inventory first names the host, as FILE:LINE."""
    file, line, _ = inventory.sources.names.get(host, (str(inventory.path), 0, 0))
    return f"{file}:{line}" if line else file


def _without(inventory: Inventory, host: str) -> Inventory:
    hosts = {name: each for name, each in inventory.hosts.items() if name != host}
    groups = {name: tuple(each for each in names if each != host) for name, names in inventory.groups.items()}
    return replace(inventory, hosts=hosts, groups=groups)
