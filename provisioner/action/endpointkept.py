"""That load balancers of ours go on to serve the address by which nodes still know the API server.

Load balancers are changed before nodes are pointed to another address. What nodes know until then has to stay: else all
of them are cut off, and one that goes back would go back to an address that nobody has.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from provisioner.action.virtualrouter import BALANCES, SHARES, has_address
from provisioner.errors import InputError, Problem
from provisioner.inventory.addresses import is_ip
from provisioner.inventory.model import Inventory
from provisioner.playbook.facts import Facts
from provisioner.resources.owned import parse_owned
from provisioner.spec.model import ClusterSpec, Endpoint, local_balancers

_SERVER_PORT = 6443


def check_endpoint_kept(inventory: Inventory, spec: ClusterSpec, facts: Mapping[str, Facts]) -> None:
    """Raises InputError where this run would take away an address or port that nodes still use, with the way round."""
    planes = [host.name for host in inventory.group("kube_control_plane")]
    way = (
        f"go by way of a control plane: apply once with endpoint {{host: {spec.nodes[planes[0]].address},"
        f" port: {_SERVER_PORT}}} and nobody in the group load_balancer, then with "
    )
    leave = unserved(inventory, spec, facts)
    if leave and spec.nodes_endpoint == spec.endpoint:
        reason = f"nodes would be cut off: {spec.endpoint} is served by {', '.join(leave)} alone, which balance no more"
        at = inventory.origin(None, "cluster", "endpoint", "host")
        raise InputError([Problem(*at, reason, f"{way}the endpoint that others serve")])
    for old, nodes in _in_use(facts).items():
        others = {str(Endpoint(spec.nodes[name].address, _SERVER_PORT)) for name in planes}
        if str(old) in (*others, str(spec.endpoint)) or not (why := _taken(inventory, spec, facts, old)):
            continue
        more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
        key = "host" if spec.endpoint.host != old.host else "port"
        raise InputError(
            [
                Problem(
                    *inventory.origin(None, "cluster", "endpoint", key),
                    f"{nodes[0]}{more} would be cut off: they know the API server as {old}, and {why}",
                    f"{way}the group and the new endpoint",
                )
            ]
        )


def unserved(inventory: Inventory, spec: ClusterSpec, facts: Mapping[str, Facts]) -> list[str]:
    """The load balancers that serve `spec.endpoint` now and all leave by this run, so that nobody does any more. Of one
    that others serve nothing is known: an address has to be on one of ours, and a name is ours where nodes know it."""
    end = spec.endpoint
    servers = [host.name for host in inventory.group("kube_control_plane")]
    known = {spec.nodes[name].address for name in servers} if end.port == _SERVER_PORT else set()
    if inventory.group("load_balancer") or end.host in (known | set(servers)):
        return []
    owned = {host: parse_owned(each.owned) for host, each in facts.items()}
    ours = [host for host, each in owned.items() if BALANCES in each]
    if not is_ip(end.host):
        return sorted(ours) if end in _in_use(facts) else []
    return sorted(ours) if any(has_address(end.host, facts[host]) for host in ours) else []


def _in_use(facts: Mapping[str, Facts]) -> dict[Endpoint, list[str]]:
    found: dict[Endpoint, list[str]] = {}
    for host, each in facts.items():
        url = urlsplit(each.endpoint.partition(" ")[0])
        if url.hostname:
            found.setdefault(Endpoint(url.hostname, url.port or 443), []).append(host)
    return found


def _taken(inventory: Inventory, spec: ClusterSpec, facts: Mapping[str, Facts], old: Endpoint) -> str:
    """Why load balancers that serve it now will not; "" when they do, or it is no address of theirs. What leaves the
    groups does so once all nodes have been switched."""
    owned = {host: parse_owned(each.owned) for host, each in facts.items()}
    named = old.host == spec.endpoint.host
    ours = {
        host
        for host, each in owned.items()
        if BALANCES in each and (named or (is_ip(old.host) and has_address(old.host, facts[host])))
    }
    local = ours & set(local_balancers(inventory, spec))
    group = ours & {host.name for host in inventory.group("load_balancer")}
    if local and old != Endpoint("127.0.0.1"):
        return f"{', '.join(sorted(local))} would hand on only what comes from the host itself"
    if group and old.port != spec.endpoint.port:
        return f"{', '.join(sorted(group))} would listen at port {spec.endpoint.port} alone"
    vip, shared = spec.load_balancer.vip, any(SHARES in owned[host] for host in ours)
    if vip and shared and old.host not in (vip, *(node.address for node in spec.nodes.values())):
        return f"the load balancers would have {vip} in its place"
    return ""
