"""CIDRs of pods and services, and the DNS address in them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from provisioner.errors import Problem
from provisioner.spec.draft import Draft, Placed, Unusable, place
from provisioner.spec.model import Network
from provisioner.spec.values import address, is_address

DNS_OFFSET = 10
"""The DNS service's place in the first service CIDR when no address is given (kubeadm's rule)."""
MAX_SUBNET_BITS = 16
"""kube-controller-manager (ipam/cidrset, clusterSubnetMaxDiff): a node's CIDR may be so many bits longer."""
_WIDEST = {4: 12, 6: 108}
_WIDEST_SINCE_133 = {4: 0, 6: 64}
"""kube-apiserver: the shortest service prefix; wider ones from 1.33 on (ServiceCIDR, KEP-1880)."""


def one_cidr_a_family(draft: Draft) -> Iterator[Problem]:
    for name in ("pod_cidrs", "service_cidrs"):
        first: dict[int, Placed] = {}
        for placed in draft.networks(name):
            version = placed.network.version
            other = first.setdefault(version, placed)
            if other is not placed:
                reason = f"{name}: {placed.network} is a second IPv{version} CIDR beside {other.network}"
                yield draft.problem(placed.path, reason, "one CIDR for each IP family")


def families_agree(draft: Draft) -> Iterator[Problem]:
    """Pods, services and hosts speak the same IP families, with the same one first."""
    pods, services = draft.networks("pod_cidrs"), draft.networks("service_cidrs")
    if any(path[:2] in (("network", "pod_cidrs"), ("network", "service_cidrs")) for path in draft.bad):
        return
    if not pods or not services:
        return
    pod_families = list(dict.fromkeys(placed.network.version for placed in pods))
    service_families = list(dict.fromkeys(placed.network.version for placed in services))
    if pod_families != service_families:
        reason = f"services are {_families(service_families)}, pods are {_families(pod_families)}"
        path = services[0].path[:2] if draft.get(*services[0].path[:2]) is not None else pods[0].path[:2]
        yield draft.problem(path, reason, "give both lists the same families in the same order")
        return
    for host in draft.hosts_with_role():
        known = draft.address_of(host)
        if draft.is_node(host) and known is not None and known.version != service_families[0]:
            reason = (
                f"{host.name} has an IPv{known.version} address, services are IPv{service_families[0]} first"
            )
            yield draft.address_problem(
                host, reason, "give the node an address of the first family (node_address)"
            )


def _families(versions: Sequence[int]) -> str:
    return " and ".join(f"IPv{version}" for version in versions)


def cidrs_are_apart(draft: Draft) -> Iterator[Problem]:
    networks = [*draft.networks("pod_cidrs"), *draft.networks("service_cidrs")]
    for index, placed in enumerate(networks):
        for other in networks[:index]:
            if placed.use == other.use:
                continue
            if _overlap(placed, other):
                at, to = (placed, other) if _written(draft, placed) else (other, placed)
                where = (
                    place(draft.inventory.origin(None, "cluster", *to.path))
                    if _written(draft, to)
                    else "default"
                )
                reason = f"the {at.use} {at.network} overlaps the {to.use} {to.network} ({where})"
                yield draft.problem(at.path, reason, "choose ranges that share no address")


def _overlap(one: Placed, other: Placed) -> bool:
    left, right = one.network, other.network
    if isinstance(left, ipaddress.IPv4Network):
        return isinstance(right, ipaddress.IPv4Network) and left.overlaps(right)
    return isinstance(right, ipaddress.IPv6Network) and left.overlaps(right)


def _written(draft: Draft, placed: Placed) -> bool:
    return draft.get("network", str(placed.path[1])) is not None


def hosts_are_outside(draft: Draft) -> Iterator[Problem]:
    """Traffic to a host, or to the endpoint, whose address lies in such a CIDR would never leave the node."""
    owners = [(host.name, draft.address_of(host)) for host in draft.inventory.hosts.values()]
    endpoint = draft.get("endpoint", "host")
    if isinstance(endpoint, str) and is_address(endpoint):
        owners.append(("the endpoint", address(endpoint)))
    for placed in [*draft.networks("pod_cidrs"), *draft.networks("service_cidrs")]:
        inside = [
            f"{name} ({known})" for name, known in owners if known is not None and known in placed.network
        ]
        if inside:
            named = ", ".join(inside[:3]) + (f" and {len(inside) - 3} more" if len(inside) > 3 else "")
            reason = f"the {placed.use} {placed.network} overlaps addresses of hosts: {named}"
            yield draft.problem(placed.path, reason, "choose a range that the hosts do not use")


def pod_cidrs_hold_all_nodes(draft: Draft) -> Iterator[Problem]:
    """Each node takes one subnet of every pod CIDR."""
    nodes = sum(draft.is_node(host) for host in draft.inventory.hosts.values())
    for placed in draft.networks("pod_cidrs"):
        name = "node_cidr_mask" if placed.network.version == 4 else "node_cidr_mask_ipv6"
        default = Network.node_cidr_mask if placed.network.version == 4 else Network.node_cidr_mask_ipv6
        mask = draft.get("network", name, default=default)
        if isinstance(mask, Unusable):
            continue
        bits = mask - placed.network.prefixlen
        room = 1 << bits if bits >= 0 else 0
        if room < nodes:
            reason = (
                f"the pod CIDR {placed.network} has room for {room} nodes (/{mask} each), there are {nodes}"
            )
            calico = draft.get("network", "plugin") == "calico"
            beside = ", which kube-controller-manager goes by beside Calico's blocks" if calico else ""
            yield draft.problem(placed.path, reason, f"widen it, or raise {name}{beside}")
        elif bits > MAX_SUBNET_BITS:
            reason = (
                f"{name}: /{mask} is over {MAX_SUBNET_BITS} bits longer than the pod CIDR {placed.network}"
            )
            at = ("network", name) if draft.get("network", name) is not None else placed.path
            yield draft.problem(at, reason, "kube-controller-manager refuses that; narrow the pod CIDR")


def service_cidrs_have_a_fit_size(draft: Draft) -> Iterator[Problem]:
    version = draft.get("kubernetes", "version")
    if not isinstance(version, str):
        return
    widest = _WIDEST if int(version.split(".")[1]) < 33 else _WIDEST_SINCE_133
    for placed in draft.networks("service_cidrs"):
        least = widest[placed.network.version]
        if placed.network.prefixlen < least:
            reason = (
                f"service CIDR {placed.network} is wider than /{least}: kube-apiserver {version} refuses it"
            )
            yield draft.problem(placed.path, reason, f"/{least} or narrower")


def dns_address_is_a_service(draft: Draft) -> Iterator[Problem]:
    """The DNS service's address is in a service CIDR, and is none that is taken already."""
    services = draft.networks("service_cidrs")
    written = draft.get("dns", "address")
    if not services or isinstance(written, Unusable):
        return
    if written is None:
        network = services[0].network
        if network.num_addresses <= DNS_OFFSET + 1:
            reason = f"the service CIDR {network} has no {DNS_OFFSET}th address for DNS"
            yield draft.problem(services[0].path, reason, "widen it, or set cluster.dns.address")
        return
    wanted = address(written)
    home = next((placed.network for placed in services if wanted in placed.network), None)
    path = ("dns", "address")
    if home is None:
        named = ", ".join(str(placed.network) for placed in services)
        near = services[0].network[min(DNS_OFFSET, services[0].network.num_addresses - 1)]
        yield draft.problem(
            path, f"address: {wanted} is outside the service CIDR {named}", f"did you mean '{near}'?"
        )
    elif wanted == home.network_address + 1:
        reason = f"address: {wanted} is the address of the service 'kubernetes', the first of {home}"
        yield draft.problem(path, reason, f"did you mean '{home.network_address + DNS_OFFSET}'?")
    elif wanted in (home.network_address, home.broadcast_address):
        yield draft.problem(
            path, f"address: {wanted} is no service's: it is an end of {home}", "choose one inside"
        )
