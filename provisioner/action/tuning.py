"""Tuning of a cluster's nodes: what the spec wants of each host that can have it, and what is told of the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provisioner.action.preflight import version_of
from provisioner.engine.events import Emit, Note
from provisioner.errors import ProvisionError
from provisioner.inventory.model import Inventory
from provisioner.network.mtu import link_of, mtu_misfits
from provisioner.network.podlinks import outdated_links
from provisioner.playbook.facts import Facts
from provisioner.resources.sysctl import setting_path
from provisioner.spec.model import ClusterSpec
from provisioner.spec.tuning import Link, known

FEATURE = "tx-checksum-ip-generic"
"""The offload of VXLAN's device that some kernels and drivers compute wrong."""
_UNSIZED = "kube_proxy_conntrack_max_per_core"
"""0 on hosts whose table of connections is another's (a lab host's: the machine's)."""


@dataclass(frozen=True)
class HostTuning:
    """Of one host: kernel settings; links as the module `ethtool` takes them, the tunnel's device apart, because that
    comes with the network; the size of the table of connections, 0 as kube-proxy has it by itself."""

    sysctls: Mapping[str, str]
    links: tuple[Mapping[str, Any], ...] = ()
    tunnel: tuple[Mapping[str, Any], ...] = ()
    connections: int = 0


def tuning_of(spec: ClusterSpec, name: str, facts: Facts, inventory: Inventory) -> HostTuning:
    """What can be had on the host; nothing on one that is no node."""
    if not spec.nodes[name].node:
        return HostTuning({})
    tuning = spec.tuning
    settings = {
        key: value for key, value in tuning.settings.items() if setting_path(key) not in facts.unsettable
    }
    sized = inventory.hosts[name].vars.get(_UNSIZED) != 0
    return HostTuning(
        settings,
        tuple(_wish(each, link) for link in tuning.links for each in _found(link, facts)),
        tuple(_checksums(spec, name, facts)),
        (tuning.connections or 0) if sized else 0,
    )


def check_tuning(
    spec: ClusterSpec, facts: Mapping[str, Facts], inventory: Inventory, emit: Emit, *, steady: bool = True
) -> None:
    """Raises ProvisionError for MTUs that do not fit, links that no node has and settings that a machine's kernel does
    not have. Says what is left out where a host cannot have it. Not `steady`: the pod network is being changed, which
    has told before which pods keep their MTU; those of the tool's own come and go meanwhile."""
    nodes = {name: each for name, each in facts.items() if spec.nodes[name].node}
    misfits = [*mtu_misfits(spec, facts), *(outdated_links(spec, facts) if steady else ())]
    faults = [(each.reason, each.hint) for each in misfits if not each.doubtful]
    faults += [*_missing_links(spec, nodes), *_missing_settings(spec, nodes)]
    if faults:
        hints = dict.fromkeys(hint for _, hint in faults)
        raise ProvisionError("\n".join(reason for reason, _ in faults), "; ".join(hints))
    for each in misfits:
        emit(Note(level="warning", message=each.reason, hint=each.hint))
    for said in (*_left_out(spec, nodes), *_unsized(spec, nodes, inventory)):
        emit(Note(level="warning", message=said))


def _found(link: Link, facts: Facts) -> list[str]:
    if link.name is not None:
        return [link.name] if link.name in facts.mtus else []
    return [name for name, driver in facts.drivers.items() if driver == link.driver]


def _wish(name: str, link: Link) -> Mapping[str, Any]:
    groups = {"channels": link.channels, "rings": link.rings, "offloads": link.offloads}
    return {"link": name, **{group: dict(each) for group, each in groups.items() if each}}


def _checksums(spec: ClusterSpec, name: str, facts: Facts) -> Iterator[Mapping[str, Any]]:
    wanted = spec.tuning.vxlan_checksum_offload
    if wanted == "disabled" or (wanted == "auto" and why_broken(spec, name, facts)):
        for device in _devices(spec):
            yield {"link": device, "offloads": {FEATURE: False}}


def why_broken(spec: ClusterSpec, name: str, facts: Facts) -> str:
    """Why the checksums of VXLAN are wrong on a host, in words; "" where nothing is known against them. Where it is the
    kernel, Felix sees to it by itself."""
    broken, link = known()["vxlan_checksum_offload"], link_of(spec, name, facts)
    for each in _down_from(link, facts):
        if (driver := facts.drivers.get(each, "")) in broken["broken_drivers"]:
            return f"the driver {driver}" + ("" if each == link else f" of {each}, which is below {link}")
    oldest = broken["broken_before"]["kernel"]
    if spec.network.carrier == "flannel" and version_of(facts.kernel) < version_of(oldest):
        return f"the kernel {facts.kernel}, before {oldest}"
    return ""


def _down_from(link: str, facts: Facts) -> list[str]:
    """The link, and those below it, that a bond or a VLAN gives its packets to."""
    found = [link]
    for each in found:
        found += [lower for lower in facts.lowers.get(each, ()) if lower not in found]
    return found


def _devices(spec: ClusterSpec) -> Iterator[str]:
    families = {":" in cidr for cidr in spec.network.pod_cidrs}
    if spec.network.plugin == "cilium":  # one for both families
        return iter(("cilium_vxlan",) if spec.network.backend == "vxlan" else ())
    if spec.network.carrier == "flannel":
        names = {False: f"flannel.{spec.network.flannel.vni}", True: f"flannel-v6.{spec.network.flannel.vni}"}
    else:
        families = {
            ":" in pool.cidr for pool in spec.network.calico.pools if pool.encapsulation.startswith("VXLAN")
        }
        names = {False: "vxlan.calico", True: "vxlan-v6.calico"}
    return (names[family] for family in sorted(families))


def _missing_links(spec: ClusterSpec, nodes: Mapping[str, Facts]) -> Iterator[tuple[str, str]]:
    for link in spec.tuning.links:
        if nodes and not any(_found(link, each) for each in nodes.values()):
            what = f"called {link.name}" if link.name else f"with the driver {link.driver}"
            have = {
                name: each.drivers.get(name, "")
                for each in nodes.values()
                for name in each.mtus
                if name != "lo"
            }
            known_links = ", ".join(
                f"{name} ({driver})" if driver else name for name, driver in sorted(have.items())
            )
            yield f"tuning.links: no node has a link {what}", f"there are: {known_links}"


def _missing_settings(spec: ClusterSpec, nodes: Mapping[str, Facts]) -> Iterator[tuple[str, str]]:
    """Those that the spec names itself, on hosts that are machines: a slip, or a kernel that lacks something."""
    for key in spec.tuning.sysctls:
        lacking = [
            name
            for name, each in nodes.items()
            if setting_path(key) in each.unsettable and not each.contained
        ]
        if lacking:
            reason = (
                f"tuning.sysctls: the kernel of {', '.join(lacking)} has no setting {key} that can be made"
            )
            yield reason, "leave it out, or load its module first"


def _left_out(spec: ClusterSpec, nodes: Mapping[str, Facts]) -> Iterator[str]:
    hosts: dict[tuple[str, ...], list[str]] = {}
    for name, each in nodes.items():
        missing = tuple(key for key in spec.tuning.settings if setting_path(key) in each.unsettable)
        if missing:
            hosts.setdefault(missing, []).append(name)
    for missing, names in hosts.items():
        why = (
            "they are the machine's"
            if all(nodes[each].contained for each in names)
            else "the kernel has none"
        )
        yield f"{', '.join(names)}: not tuned, {why}: {', '.join(missing)}"


def _unsized(spec: ClusterSpec, nodes: Mapping[str, Facts], inventory: Inventory) -> Iterator[str]:
    if spec.tuning.connections is None:
        return
    names = [name for name in nodes if inventory.hosts[name].vars.get(_UNSIZED) == 0]
    if names:
        yield f"{', '.join(names)}: the table of connections keeps its size, because {_UNSIZED} is 0 there"
