"""Addresses of hosts and of the API endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from provisioner.errors import Problem
from provisioner.inventory.model import Host
from provisioner.spec.draft import API_PORT, CONTROL_PLANE, LOAD_BALANCER, Draft, Unusable, place
from provisioner.spec.values import IPAddress, address, is_address

_BROADCAST = IPv4Address("255.255.255.255")


def hosts_have_addresses(draft: Draft) -> Iterator[Problem]:
    """Certificates, /etc/hosts and member lists need IP addresses of the hosts with a role."""
    for host in draft.hosts_with_role():
        written = draft.host_value(host.name, "node_address", host.connection.address)
        if written == host.name and not draft.inventory.whole:
            continue  # its address may be in what could not be read
        if isinstance(written, str) and not is_address(written):
            reason = f"{host.name} is reached by the name '{written}', but its IP address is needed as well"
            yield draft.address_problem(host, reason, "write its IP address as ansible_host or node_address")


def addresses_are_machines(draft: Draft) -> Iterator[Problem]:
    """No machine has 0.0.0.0 or an address of many; under a loopback address each one finds itself.

    A host whose node_address the others know may be logged into by loopback: through a forwarded port, or at home.
    """
    hosts = tuple(draft.hosts_with_role())
    for host in hosts:
        login = _address(host.connection.address)
        known = draft.address_of(host)
        slip = nobodys(known) or ("a loopback address" if hosts[1:] and is_loopback(known) else "")
        if slip:
            reason = f"{host.name} has the address {known}, {slip}: no other host finds it there"
            yield draft.address_problem(
                host,
                reason,
                "write the address under which the others reach it, as ansible_host or node_address",
            )
        elif nobodys(login):
            reason = f"{host.name} is logged into at {login}, {nobodys(login)}"
            yield Problem(*draft.login_place(host), reason, "write the machine's own address")


def _address(text: str) -> IPAddress | None:
    return address(text) if is_address(text) else None


def is_loopback(known: IPAddress | None) -> bool:
    """Also one of IPv4 that is written as IPv6."""
    within = known.ipv4_mapped if isinstance(known, IPv6Address) else None  # "::ffff:127.0.0.1"
    return known is not None and (within or known).is_loopback


def nobodys(known: IPAddress | None) -> str:
    """Why no machine has this address; "" when one may."""
    if known is None:
        return ""
    if known.is_unspecified:
        return "the unspecified address"
    if known.is_multicast:
        return "a multicast address"
    return "the broadcast address" if known == _BROADCAST else ""


def second_addresses_are_of_the_other_family(draft: Draft) -> Iterator[Problem]:
    """They go with pods of two families, of which a node's first address is of the first."""
    families = {placed.network.version for placed in draft.networks("pod_cidrs")}
    seen: dict[object, str] = {}
    for host in draft.inventory.hosts.values():
        written = draft.host_value(host.name, "node_address_second")
        if not isinstance(written, str) or not is_address(written):
            continue
        second, first = address(written), draft.address_of(host)
        if first is not None and first.version == second.version:
            reason = f"node_address_second: {second} is IPv{second.version}, as {first} is"
            yield draft.host_problem(
                host.name, "node_address_second", reason, "write one of the other IP family"
            )
        elif families and second.version not in families:
            reason = f"node_address_second: pods have no IPv{second.version} addresses"
            hint = f"add an IPv{second.version} CIDR to network.pod_cidrs, or leave it out"
            yield draft.host_problem(host.name, "node_address_second", reason, hint)
        elif seen.setdefault(second, host.name) != host.name:
            reason = f"node_address_second: {second} is that of {seen[second]}"
            yield draft.host_problem(
                host.name, "node_address_second", reason, "each host needs its own address"
            )


def control_planes_have_ipv4(draft: Draft) -> Iterator[Problem]:
    """etcd and API servers of this version listen on IPv4, and their URLs are made for it."""
    for host in draft.hosts_with_role():
        known = draft.address_of(host)
        role = next((each for each in (CONTROL_PLANE, "etcd") if each in host.groups), "")
        if role and isinstance(known, IPv6Address):
            reason = (
                f"{host.name} has the address {known}: hosts of the group {role} are known by IPv4 addresses"
            )
            yield draft.address_problem(
                host, reason, "write its IPv4 address as node_address, and this one as node_address_second"
            )


def addresses_are_unique(draft: Draft) -> Iterator[Problem]:
    """One address is one machine: under two names it would get two clashing roles."""
    seen: dict[object, Host] = {}
    for host in draft.inventory.hosts.values():
        login = (host.connection.address.lower(), host.connection.port)
        known = draft.address_of(host)
        for key in (login, known):
            other = seen.setdefault(key, host) if key is not None else host
            if other is not host:
                yield _twice(draft, host, other, str(known) if key is known else host.connection.address)
                break


def _twice(draft: Draft, host: Host, other: Host, shared: str) -> Problem:
    where = place(draft.address_place(other))
    reason = f"{host.name} has the address {shared} of {other.name} ({where})"
    if host.groups != other.groups:
        roles = f"{'/'.join(other.groups)} and {'/'.join(host.groups)}"
        hint = f"for one machine as {roles} name one host in all these groups"
    else:
        hint = "each host needs its own address"
    return draft.address_problem(host, reason, hint)


def endpoint_serves_the_api(draft: Draft) -> Iterator[Problem]:
    """The endpoint is a control plane on its port, a load balancer, or a virtual address of no host."""
    host, port = draft.get("endpoint", "host"), draft.get("endpoint", "port", default=API_PORT)
    if not isinstance(host, str) or isinstance(port, Unusable):
        return
    for owner in draft.hosts_with_role():
        is_owner = host == owner.name or (is_address(host) and draft.address_of(owner) == address(host))
        if not is_owner or LOAD_BALANCER in owner.groups:
            continue
        if CONTROL_PLANE not in owner.groups:
            who = host if host == owner.name else f"{host} is {owner.name}, which"
            reason = f"host: {who} runs no API server and balances none"
            yield draft.problem(
                ("endpoint", "host"), reason, "name a control plane, a load balancer or a virtual address"
            )
        elif port != API_PORT:
            reason = f"port: the API server of {owner.name} listens on {API_PORT}, not on {port}"
            yield draft.problem(("endpoint", "port"), reason, f"did you mean {API_PORT}?")


def load_balancers_share_an_address(draft: Draft) -> Iterator[Problem]:
    """A virtual router is for several load balancers with a VIP; where each node has its own there is none."""
    balancers = draft.group(LOAD_BALANCER)
    if not draft.inventory.whole or draft.get("load_balancer") is None:
        return
    mode = draft.get("load_balancer", "mode")
    if isinstance(mode, Unusable):
        return
    if mode == "local":
        if draft.get("existing") is not None:
            reason = "mode: local is for nodes that this tool installs, not for those of cluster.existing"
            hint = f"take it away, and put hosts in the group '{LOAD_BALANCER}', or name a load balancer as endpoint"
            yield draft.problem(("load_balancer", "mode"), reason, hint)
        if balancers:
            reason = f"mode: local is for clusters without load balancers, and the group '{LOAD_BALANCER}' has hosts"
            hint = "take the hosts out of the group, or the mode away"
            yield draft.problem(("load_balancer", "mode"), reason, hint)
        if draft.get("load_balancer", "virtual_router_id") is not None:
            reason = "virtual_router_id: with the mode local there is no virtual address"
            yield draft.problem(
                ("load_balancer", "virtual_router_id"), reason, "take it, or the mode, away", key=True
            )
    elif not balancers:
        reason = f"load_balancer: the group '{LOAD_BALANCER}' has no hosts"
        yield draft.problem(
            ("load_balancer",), reason, "name the hosts that balance, or take the section away", key=True
        )
    elif draft.get("load_balancer", "virtual_router_id") is not None and draft.virtual_address() is None:
        reason = "virtual_router_id: there is no virtual address that load balancers share"
        hint = "write an address of no host as cluster.endpoint.host, or take this away"
        yield draft.problem(("load_balancer",), reason, hint, key=True)
