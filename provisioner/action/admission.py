"""All that is judged from facts, and refused, before anything changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from provisioner.action.capacity import check_capacity
from provisioner.action.firewall import check_firewalls, doubts, ports_of
from provisioner.action.nameservers import check_name_servers
from provisioner.action.ospackages import check_packages
from provisioner.action.podnetwork import check_combination, check_images, check_pod_network
from provisioner.action.preflight import IPVS_DEPRECATED, check_hosts
from provisioner.action.tuning import check_tuning
from provisioner.action.virtualrouter import check_virtual_address
from provisioner.engine.events import Emit, Note
from provisioner.errors import ProvisionError
from provisioner.playbook.facts import Facts
from provisioner.spec.model import ClusterSpec

if TYPE_CHECKING:
    from provisioner.action.load import Loaded


def admit(
    loaded: Loaded, spec: ClusterSpec, facts: Mapping[str, Facts], emit: Emit, *, changes: bool = True
) -> None:
    """Raises ProvisionError naming every fault of one sort, InputError where the spec does not fit the hosts; says what
    will be worth knowing later. Without `changes` to come, firewalls are only told of: the gates will show what they
    do."""
    if spec.existing is None:
        nodes = [name for name, node in spec.nodes.items() if node.node]
        swap = bool(loaded.inventory.variables.get("kubelet_allow_swap"))
        check_hosts(facts, nodes, spec.proxy, swap=swap)
        check_capacity(loaded.inventory, spec, facts)
        images = loaded.bundle.images() if loaded.bundle else ()
        check_pod_network(spec, facts, images)
        if loaded.bundle is not None:
            check_images(spec, loaded.bundle)
        check_combination(spec, facts, images, emit)
        check_name_servers(spec, facts, emit)
        check_tuning(spec, facts, loaded.inventory, emit)
    else:  # its nodes are as their builder wants them
        check_hosts(facts, list(facts), spec.proxy, swap=True, small=True)
        if spec.tuning.asked or spec.tuning.connections:
            emit(Note(level="warning", message="tuning is left out: the nodes are as others have built them"))
    check_virtual_address(spec, [host.name for host in loaded.inventory.group("load_balancer")], facts)
    if spec.firewall == "check":
        try:
            check_firewalls(facts, ports_of(loaded.inventory, spec), spec)
        except ProvisionError as fault:
            if changes:
                raise
            emit(Note(level="warning", message=fault.reason, hint=fault.hint))
        for host, chain in doubts(facts, spec).items():
            said = f"{host}: its firewall may drop what pods send: chain {chain} refuses it"
            hint = f"take the rule out, or set firewall: manage, which lets {', '.join(spec.network.pod_cidrs)} through"
            emit(Note(level="warning", message=said, hint=hint))
    if loaded.bundle is not None:
        registries = {host.name for host in loaded.inventory.group("registry")}
        check_packages(facts, loaded.bundle, emit, registries)
    if spec.proxy.mode == "ipvs" and spec.kubernetes.minor >= IPVS_DEPRECATED:
        said = f"kube-proxy's mode ipvs is deprecated since Kubernetes 1.{IPVS_DEPRECATED}"
        emit(Note(level="warning", message=said, hint="nftables is its successor"))
