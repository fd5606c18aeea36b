"""The cluster's DNS: whom it asks, for what, and how many pods answer."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from provisioner.errors import Problem
from provisioner.spec.dns import NODES_FILE, Dns
from provisioner.spec.draft import Draft
from provisioner.spec.nameservers import name_server
from provisioner.spec.rules.networks import DNS_OFFSET
from provisioner.spec.validation import Path
from provisioner.spec.values import IPAddress, IPNetwork, RefusedError, address


def dns_pods_have_nodes(draft: Draft) -> Iterator[Problem]:
    """A second one on a node fails with it, and answers no more than the first. While a host leaves, its inventory
    still counts it."""
    if draft.transition or not draft.inventory.whole:
        return
    wanted, nodes = draft.get("dns", "replicas"), len(draft.nodes())
    if isinstance(wanted, int) and wanted > nodes > 0:
        reason = f"replicas: {wanted} DNS pods on {nodes} node{'s' * (nodes > 1)}"
        yield draft.problem(("dns", "replicas"), reason, f"at most {nodes}, one a node")


def forwarding_has_one_protocol(draft: Draft) -> Iterator[Problem]:
    if draft.get("dns", "forward", "force_tcp") is True and draft.get("dns", "forward", "prefer_udp") is True:
        reason = "prefer_udp: with force_tcp nothing is asked by UDP"
        yield draft.problem(("dns", "forward", "prefer_udp"), reason, "leave one of them out")


def stub_domains_are_elsewhere(draft: Draft) -> Iterator[Problem]:
    """The longest domain wins: whoever answers for the cluster's own domain, or its addresses, answers for services."""
    own = draft.get("dns", "domain", default=Dns.domain)
    cluster = [*draft.networks("pod_cidrs"), *draft.networks("service_cidrs")]
    for domain in _stub_domains(draft):
        at = ("dns", "stub_domains", domain)
        if isinstance(own, str) and (fault := _over(domain, own)):
            reason = f"stub_domains: {domain} {fault}: nobody would find services"
            yield draft.problem(at, reason, "name domains beside it", key=True)
        for placed in cluster:
            if any(_overlap(placed.network, each) for each in _reversed(domain)):
                reason = (
                    f"stub_domains: {domain} has the names of addresses of the {placed.use} {placed.network}"
                )
                yield draft.problem(at, f"{reason}, which are the cluster's", "name narrower zones", key=True)
                break


def name_servers_are_elsewhere(draft: Draft) -> Iterator[Problem]:
    """A service of the cluster may answer for a domain (Consul's is an example), but not for all names: to start it
    its nodes need names, of the registry and of what it asks."""
    own = _dns_address(draft)
    for path, server in _servers(draft):
        if server == own:
            reason = f"{path[-2]}: {server} is the cluster's own DNS service, which would ask itself for ever"
            yield draft.problem(path, reason, "name the servers that it shall ask")
            continue
        of_all = path[1] == "upstreams"
        for placed in [*draft.networks("pod_cidrs"), *(draft.networks("service_cidrs") if of_all else ())]:
            if server in placed.network:
                reason = f"{path[-2]}: {server} is in the {placed.use} {placed.network}"
                instead = (
                    "; a service may answer for a domain of stub_domains"
                    if of_all
                    else ", or a service of it"
                )
                yield draft.problem(path, reason, f"name a server outside the cluster{instead}")


def _stub_domains(draft: Draft) -> Iterator[str]:
    written = draft.get("dns", "stub_domains")
    for domain in written if isinstance(written, dict) else ():
        if ("dns", "stub_domains", domain) not in draft.bad:
            yield domain


def _servers(draft: Draft) -> Iterator[tuple[Path, IPAddress]]:
    """Those that are well-formed, and where they stand."""
    lists: list[Path] = [
        ("dns", "upstreams"),
        *(("dns", "stub_domains", each) for each in _stub_domains(draft)),
    ]
    for path in lists:
        written = draft.get(*path)
        for index, text in enumerate(written if isinstance(written, list) else ()):
            if text == NODES_FILE or (*path, index) in draft.bad:
                continue
            try:
                yield (*path, index), name_server(text).address
            except RefusedError:
                continue


def _dns_address(draft: Draft) -> IPAddress | None:
    written, services = draft.get("dns", "address"), draft.networks("service_cidrs")
    if isinstance(written, str):
        return address(written)
    if written is None and services and services[0].network.num_addresses > DNS_OFFSET:
        return services[0].network[DNS_OFFSET]
    return None


def _over(domain: str, own: str) -> str:
    """How a stub domain takes names of the cluster's own domain; "" when it does not."""
    if domain == own:
        return "is the cluster's own domain"
    if own.endswith(f".{domain}"):
        return f"has the cluster's own domain {own} in it"
    return f"is in the cluster's own domain {own}" if domain.endswith(f".{own}") else ""


def _reversed(domain: str) -> list[IPNetwork]:
    """The networks whose addresses' names are in `domain` (RFC 1035, 3.5; RFC 3596, 2.5)."""
    *labels, zone, top = ["", *domain.split(".")]
    if top != "arpa":
        return []
    steps = [each for each in reversed(labels) if each]
    both: list[IPNetwork] = [ipaddress.IPv4Network("0.0.0.0/0"), ipaddress.IPv6Network("::/0")]
    try:
        if zone == "in-addr":
            whole = ".".join([*steps, *["0"] * (4 - len(steps))])
            return [ipaddress.IPv4Network(f"{whole}/{8 * len(steps)}")]
        if zone == "ip6" and all(len(each) == 1 for each in steps):
            return [ipaddress.IPv6Network((int("".join(steps).ljust(32, "0"), 16), 4 * len(steps)))]
    except ValueError:  # no address has such a name
        return []
    return [] if zone else both


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return one.version == other.version and one.overlaps(other)
