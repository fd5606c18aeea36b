"""All that is judged from facts, and refused, before anything changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from provisioner.action.attachments import check_attachments
from provisioner.action.capacity import check_capacity
from provisioner.action.endpointkept import check_endpoint_kept, unserved
from provisioner.action.families import check_autodetection, check_families
from provisioner.action.firewall import check_firewalls, doubts, ports_of
from provisioner.action.flannellink import check_flannel_link
from provisioner.action.hostnetwork import check_host_networks, doubtful_networks
from provisioner.action.nameservers import check_name_servers
from provisioner.action.ospackages import check_packages
from provisioner.action.podnetwork import check_combination, check_images, check_pod_network
from provisioner.action.preflight import IPVS_DEPRECATED, check_hosts
from provisioner.action.tuning import check_tuning
from provisioner.action.virtualrouter import (
    check_peers_are_cleared,
    check_virtual_address,
    strangers_of,
)
from provisioner.engine.events import Emit, Note
from provisioner.errors import InputError, ProvisionError
from provisioner.playbook.facts import Facts
from provisioner.spec.ciliumwords import is_known
from provisioner.spec.model import ClusterSpec

if TYPE_CHECKING:
    from provisioner.action.load import Loaded

Check = Callable[[], None]


def admit(
    loaded: Loaded, spec: ClusterSpec, facts: Mapping[str, Facts], emit: Emit, *, changes: bool = True
) -> None:
    """Raises ProvisionError naming every fault of one sort, InputError where the spec does not fit the hosts; says what
    will be worth knowing later. Without `changes` to come, firewalls are only told of: the gates will show what they
    do."""
    for check in _checks(loaded, spec, facts, emit, changes=changes):
        check()
    _tell(loaded, spec, facts, emit)


def all_faults(
    loaded: Loaded, spec: ClusterSpec, facts: Mapping[str, Facts], emit: Emit
) -> list[ProvisionError]:
    """What `admit` would raise, of every sort."""
    found = []
    for check in _checks(loaded, spec, facts, emit, changes=True):
        try:
            check()
        except ProvisionError as fault:
            found.append(fault)
    _tell(loaded, spec, facts, emit)
    return found


def joined(faults: list[ProvisionError]) -> ProvisionError:
    """One error of all: of input where each of them is."""
    problems = [each for fault in faults if isinstance(fault, InputError) for each in fault.problems]
    others = [fault for fault in faults if not isinstance(fault, InputError)]
    hint = "\n".join(dict.fromkeys(fault.hint for fault in others if fault.hint))
    if problems and not others:
        return InputError(problems)
    reason = "\n".join([*map(str, problems), *(fault.reason for fault in others)])
    return ProvisionError(reason, hint)


def _checks(
    loaded: Loaded, spec: ClusterSpec, facts: Mapping[str, Facts], emit: Emit, *, changes: bool
) -> list[Check]:
    """Each raises what it finds."""
    inventory = loaded.inventory
    checks: list[Check]
    if spec.existing is None:
        nodes = [name for name, node in spec.nodes.items() if node.node]
        swap = bool(inventory.variables.get("kubelet_allow_swap"))
        images = loaded.bundle.images() if loaded.bundle else ()
        bundle = loaded.bundle
        checks = [
            lambda: check_hosts(facts, nodes, spec.proxy, swap=swap),
            lambda: check_capacity(inventory, spec, facts),
            lambda: check_families(spec, facts),
            lambda: check_autodetection(spec, facts),
            lambda: check_flannel_link(spec, facts),
            lambda: check_pod_network(spec, facts, images),
            lambda: check_images(spec, bundle),
            lambda: check_combination(spec, facts, images, emit),
            lambda: check_name_servers(spec, facts, emit),
            lambda: check_tuning(spec, facts, inventory, emit, steady=loaded.transition is None),
            lambda: check_attachments(spec, facts, emit),
            lambda: check_host_networks(spec, facts),
        ]
    else:  # its nodes are as their builder wants them
        checks = [lambda: check_hosts(facts, list(facts), spec.proxy, swap=True, small=True)]
    balancers = [host.name for host in inventory.group("load_balancer")]
    checks.append(lambda: check_virtual_address(spec, balancers, facts))
    checks.append(lambda: check_peers_are_cleared(inventory, spec, facts))
    checks.append(lambda: check_endpoint_kept(inventory, spec, facts))
    if spec.firewall == "check":
        checks.append(lambda: _firewalls(loaded, spec, facts, emit, changes=changes))
    bundle = loaded.bundle
    if bundle is not None:
        registries = {host.name for host in inventory.group("registry")}
        checks.append(lambda: check_packages(facts, bundle, emit, registries))
    return checks


def _firewalls(
    loaded: Loaded, spec: ClusterSpec, facts: Mapping[str, Facts], emit: Emit, *, changes: bool
) -> None:
    try:
        check_firewalls(facts, ports_of(loaded.inventory, spec, facts), spec)
    except ProvisionError as fault:
        if changes:
            raise
        emit(Note(level="warning", message=fault.reason, hint=fault.hint))


def _tell(loaded: Loaded, spec: ClusterSpec, facts: Mapping[str, Facts], emit: Emit) -> None:
    if spec.firewall == "check":
        for host, chain in doubts(facts, spec).items():
            said = f"{host}: its firewall may drop what pods send: chain {chain} refuses it"
            hint = f"take the rule out, or set firewall: manage, which lets {', '.join(spec.network.pod_cidrs)} through"
            emit(Note(level="warning", message=said, hint=hint))
    if spec.load_balancer.vip is not None:
        for peer, hosts in strangers_of(spec, facts).items():
            said = f"{', '.join(hosts)}: its peer {peer} is no host of the inventory any more: where it runs it will"
            hint = "unless `provision remove` took it out: put it back, and take it out by that, or switch it off"
            emit(Note(level="warning", message=f"{said} take {spec.load_balancer.vip}, too", hint=hint))
    if unread := [key for key in spec.network.cilium.config if not is_known(key)]:
        said = f"network.cilium.config: whether Cilium reads {', '.join(unread)} is not known, 1.16 does not"
        emit(Note(level="warning", message=said, hint="`cilium-agent --help` lists what it reads"))
    if leave := unserved(loaded.inventory, spec, facts):
        said = f"clients that know the API server as {spec.endpoint} will be cut off: only {', '.join(leave)} serve it"
        hint = "they balance no more: name as endpoint what others serve, and give clients a new kubeconfig"
        emit(Note(level="warning", message=said, hint=hint))
    if spec.existing is None:
        for note in doubtful_networks(spec, facts):
            emit(note)
    elif spec.tuning.asked or spec.tuning.connections:
        emit(Note(level="warning", message="tuning is left out: the nodes are as others have built them"))
    if spec.proxy.mode == "ipvs" and spec.kubernetes.minor >= IPVS_DEPRECATED:
        said = f"kube-proxy's mode ipvs is deprecated since Kubernetes 1.{IPVS_DEPRECATED}"
        emit(Note(level="warning", message=said, hint="nftables is its successor"))
