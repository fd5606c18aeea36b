"""Faults of nodes' pod networks, judged by what a node and the API server said. Nothing is a fault without evidence.

Facts: flannel 0.28, pkg/subnet/kube; containernetworking/plugins 1.9, plugins/main/bridge ("already has an IP address
different from"); Calico 3.28, node/pkg/lifecycle (CalicoIsUp); the manifests of the plug-ins' DaemonSets.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from provisioner.inventory.words import some
from provisioner.kube.cniagents import OWN_FILES, access_giver_of, agents_on, installer_of, labels_of
from provisioner.kube.cnicluster import ClusterNode, Pod
from provisioner.kube.cniread import Complaint, Lease, NodeNetwork

BINARIES, CNI0, SANDBOXES, LEASES, CONDITION = FAULTS = (
    "binaries", "cni0", "sandboxes", "leases", "condition"
)  # fmt: skip
"""In the order in which they are mended: what a plug-in needs, then what it could not do without, then what is left."""
YOUNGEST = 60
"""Seconds that an address has to be given away for before it may count as left behind."""
STILL = 150
"""Seconds within which the runtime has to have complained last: kubelets try again after 10 to 60 s."""
SUBNETS = "/run/flannel/subnet.env"
"""What flannel's agent writes for its plug-in."""
_NETWORKS = frozenset({"cbr0", "k8s-pod-network"})
"""flannel's and Calico's by their manifests: they may be left of a plug-in that went."""


@dataclass(frozen=True)
class Fault:
    """`things` are what is wrong, `why` says by what that is known. `mend` is what would be done, "" where nothing can
    be done from here, which `cost` explains then; else `cost` is what it costs. The rest is for the mending: `after` is
    which kinds of faults of the node have to be mended before."""

    kind: str
    host: str
    node: str
    things: tuple[str, ...]
    why: str
    mend: str
    cost: str
    network: str = ""
    leases: tuple[Lease, ...] = ()
    dead: tuple[str, ...] = ()
    link: str = ""
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    pods: tuple[Pod, ...] = ()
    complaints: tuple[Complaint, ...] = ()
    files: tuple[str, ...] = ()
    from_bundle: bool = False
    agent: Pod | None = None
    labels: frozenset[str] = frozenset()
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """All that is known of one host. `own`: its cluster is one of ours, whose bundle has plug-ins. `networks` are
    further ones that host-local may count addresses for."""

    host: str
    here: NodeNetwork
    node: ClusterNode | None
    own: bool = True
    networks: frozenset[str] = frozenset()


def faults_of(seen: Seen) -> list[Fault]:
    """In the order in which they are mended."""
    found = [*_binaries(seen), *_cni0(seen), *_sandboxes(seen), *_leases(seen)]
    return [*found, *_condition(seen, [each for each in found if each.kind in (BINARIES, CNI0)])]


def _binaries(seen: Seen) -> Iterator[Fault]:
    here = seen.here
    if here.configuration is None:
        return
    types = dict.fromkeys([*here.configuration.types, "loopback"])
    unfit = [each for each in types if each in here.unfit]
    bundled = tuple(each for each in unfit if seen.own and each not in OWN_FILES)
    if bundled:
        yield _unfit(
            seen, bundled, "the plug-ins of the bundle are unpacked there again", "nothing", from_bundle=True
        )
    rest: dict[Pod | None, list[str]] = {}
    for name in (each for each in unfit if each not in bundled):
        rest.setdefault(installer_of(seen.here.configuration, seen.node, name), []).append(name)
    for agent, names in rest.items():
        if agent is None:
            yield _unfit(seen, names, "", f"nothing here brings it: put it there as {here.bin}/{names[0]}")
        else:
            cost = f"{agent} starts anew: pods' traffic goes on, changes of the network wait for it"
            yield _unfit(seen, names, f"{agent}, which puts it there, is made anew", cost, agent=agent)


def _unfit(
    seen: Seen,
    names: Sequence[str],
    mend: str,
    cost: str,
    *,
    from_bundle: bool = False,
    agent: Pod | None = None,
) -> Fault:
    here = seen.here
    path = here.configuration.path if here.configuration else ""
    things = tuple(f"{here.bin}/{each}" for each in names)
    why = "; ".join(f"{each} {here.unfit[each]}" for each in names) + f", and {path} asks for it"
    return Fault(
        BINARIES, seen.host, _name(seen), things, why, mend, cost, files=things, from_bundle=from_bundle, agent=agent,
        labels=frozenset(agent.labels) if agent else frozenset(),
    )  # fmt: skip


def is_unwritten(seen: Seen) -> bool:
    """Flannel's agent has not told its plug-in of the node's pod CIDRs of today."""
    here, node = seen.here, seen.node
    has = here.configuration is not None and here.configuration.of("flannel") is not None
    return has and node is not None and not _are_first(here.subnets, node.pod_cidrs)


def _cni0(seen: Seen) -> Iterator[Fault]:
    """The bridge of flannel's plug-in. What the plug-in wants it to have is in the file that flanneld writes."""
    here, node = seen.here, seen.node
    flannel = here.configuration.of("flannel") if here.configuration else None
    if flannel is None or node is None or is_unwritten(seen):
        return
    delegate = flannel.get("delegate")
    link = str(delegate.get("bridge", "cni0")) if isinstance(delegate, dict) else "cni0"
    has = here.bridges.get(link, ())
    wrong = _in_the_way(has, here.subnets)
    if not wrong:
        return
    astray = [each for each in node.pods if _is_astray(each, node.pod_cidrs)]
    pods = tuple(each for each in astray if each.is_made_anew)
    many = f", and pods outside of it are deleted: {some([str(each) for each in pods])}"
    cost = "these pods, which nobody reaches, are made anew by what owns them" if pods else "pods on it go on"
    yield Fault(
        CNI0,
        seen.host,
        node.name,
        (link,),
        f"it has {', '.join(wrong)}, and the node's pod CIDR is {', '.join(node.pod_cidrs)}: "
        f"the plug-in wants {', '.join(here.subnets)}, and makes no pod",
        f"{link} gets {', '.join(here.subnets)} in the place of {', '.join(wrong)}" + (many if pods else ""),
        f"{cost}{_nobodys([str(each) for each in astray if not each.is_made_anew])}",
        link=link,
        right=here.subnets,
        wrong=wrong,
        pods=pods,
    )


def _nobodys(pods: Sequence[str]) -> str:
    if not pods:
        return ""
    return (
        "; nobody makes these anew: they stay, and nobody reaches them until you delete and create them yourself"
        f" (those of a file among the kubelet's manifests: move it away and back): {', '.join(pods)}"
    )


def _are_first(subnets: Sequence[str], cidrs: Sequence[str]) -> bool:
    """Whether flanneld has written down the node's pod CIDRs of today. Until it has, it is what is to be mended."""
    try:
        networks = {ipaddress.ip_interface(each).network for each in subnets}
        return bool(networks) and networks <= {ipaddress.ip_network(each) for each in cidrs}
    except ValueError:
        return False


def _in_the_way(has: Sequence[str], subnets: Sequence[str]) -> tuple[str, ...]:
    """The addresses at which the plug-in bridge gives up: another one of IPv4, or an overlapping one of IPv6, unless it
    finds the right one before."""
    try:
        wanted = [ipaddress.ip_interface(each) for each in subnets]
        own = [ipaddress.ip_interface(each) for each in has]
    except ValueError:
        return ()
    found = []
    for right in wanted:
        before = own[: own.index(right)] if right in own else own
        alike = [each for each in before if each.version == right.version]
        found += [each for each in alike if each.version == 4 or each.network.overlaps(right.network)]
    return tuple(str(each) for each in dict.fromkeys(found))


def _is_astray(pod: Pod, cidrs: Sequence[str]) -> bool:
    if pod.host_network or not pod.addresses or pod.phase in ("Succeeded", "Failed"):
        return False
    networks = [ipaddress.ip_network(each) for each in cidrs]
    return not any(ipaddress.ip_address(each) in network for each in pod.addresses for network in networks)


def _sandboxes(seen: Seen) -> Iterator[Fault]:
    here = seen.here
    stuck = [
        each
        for each in here.complaints
        if each.count > 1 and here.now - each.last < STILL and each.sandbox not in here.running
    ]
    if stuck:
        told = "; ".join(f"{each.sandbox[:13]}: {each.reason[:300]}" for each in stuck)
        givers = (access_giver_of(each.reason, seen.node) for each in stuck)
        agent = next((each for each in givers if each is not None), None)
        anew = f"{agent} is made anew, which gives the plug-in its access again; " if agent else ""
        yield Fault(
            SANDBOXES,
            seen.host,
            _name(seen),
            tuple(f"{each.sandbox[:13]} of {each.pod}" for each in stuck),
            f"the runtime tried {max(each.count for each in stuck)} times to take their networks away: {told}",
            f"{anew}what the plug-in noted of them is deleted, and the kubelet tries again; if that does not help, the"
            " runtime forgets them and restarts",
            "pods' processes have ended before; a restart of containerd breaks `kubectl exec` and `logs -f` off, its"
            " other pods go on",
            complaints=tuple(stuck),
            agent=agent,
            labels=frozenset(agent.labels) if agent else frozenset(),
        )


def _leases(seen: Seen) -> Iterator[Fault]:
    here = seen.here
    named = here.configuration.name if here.configuration else ""
    networks = _NETWORKS | seen.networks | ({named} if named else set())
    used = {each.address for each in here.left if each.used}
    stale: dict[str, list[Lease]] = {}
    for each in here.leases if here.known is not None else ():
        gone = each.container not in (here.known or ()) and each.container not in here.adding
        if (
            gone
            and each.network in networks
            and here.now - each.since > YOUNGEST
            and each.address not in used
        ):
            stale.setdefault(each.network, []).append(each)
    for network, leases in stale.items():
        addresses = tuple(each.address for each in leases)
        ids = some([f"{each.address} for {each.container[:13]}" for each in leases])
        yield Fault(
            LEASES,
            seen.host,
            _name(seen),
            tuple(f"{each} of {network}" for each in addresses),
            f"host-local has given them away ({ids}), and the runtime knows no such container",
            f"{len(leases)} address{'es' * (len(leases) > 1)} of {network} given back under host-local's lock",
            "nothing",
            network=network,
            leases=tuple(leases),
            dead=tuple(each.name for each in here.left if not each.used and each.address in addresses),
        )


def _condition(seen: Seen, broken: Sequence[Fault]) -> Iterator[Fault]:
    """`broken` is what keeps pods from a network. Only where some pod works for the network: elsewhere the condition is
    another controller's."""
    node = seen.node
    if node is None or not node.unavailable:
        return
    labels = labels_of(seen.here.configuration)
    agents = agents_on(node, labels)
    if not agents:
        return
    why = f"NetworkUnavailable is True ({node.unavailable})"
    names = ", ".join(map(str, agents))
    hindrance, first = _hindrance(agents, broken)
    if hindrance:
        yield Fault(CONDITION, seen.host, node.name, (node.name,), f"{why}, and {hindrance}", "", first)
        return
    kinds = tuple(sorted({each.kind for each in broken}))
    after = f", once the rest of this node is mended ({', '.join(kinds)})" if kinds else ""
    yield Fault(
        CONDITION, seen.host, node.name, (node.name,), f"{why}, though {names} is Ready",
        f"the condition becomes False{after}, and with it the taint goes", "nothing: pods may come again",
        labels=labels, after=kinds,
    )  # fmt: skip


def _hindrance(agents: Sequence[Pod], broken: Sequence[Fault]) -> tuple[str, str]:
    """Why the condition is right, where that cannot be mended from here, and what to do first; else "" twice."""
    if not all(each.ready and not each.leaving for each in agents):
        names = ", ".join(map(str, agents))
        return f"{names} is not Ready", "mend that pod first: the network does not work there"
    stays = next((each for each in broken if not each.mend), None)
    return (stays.why, f"mend that first: {stays.cost}") if stays else ("", "")


def _name(seen: Seen) -> str:
    return seen.node.name if seen.node else seen.host
