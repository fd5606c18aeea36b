"""The variables that playbooks and templates see, beside the inventory's own."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from provisioner.action.capacity import servers_of
from provisioner.action.etcd import lost
from provisioner.action.families import node_addresses
from provisioner.action.firewall import both, ports_of
from provisioner.action.identity import kubelet_identity_valid
from provisioner.action.registrytrust import pullable_from, registry_authority
from provisioner.action.transition import Transition, applied
from provisioner.action.tuning import tuning_of
from provisioner.action.virtualrouter import BALANCES, virtual_router
from provisioner.bundle.layout import Bundle
from provisioner.engine.patched import Patched
from provisioner.inventory.model import Inventory
from provisioner.kube.reserved import kube_reserved, system_reserved
from provisioner.network.corefile import corefile
from provisioner.network.links import left_alone
from provisioner.network.multus import Attached
from provisioner.network.patches import images_of
from provisioner.network.podnetwork import PodNetwork
from provisioner.network.policies import policy_objects
from provisioner.network.record import NetworkRecord, Section
from provisioner.pki.cluster import ClusterState
from provisioner.pki.hubble import hubble_secrets
from provisioner.playbook.distributions import distribution_of
from provisioner.playbook.facts import Facts
from provisioner.registry.names import by_tag
from provisioner.resources.modprobe import IPVS_MODULES
from provisioner.resources.owned import parse_owned
from provisioner.shell.assemble import refusing_chains
from provisioner.spec.attachments import CONFIGURATIONS, DEFAULT_NETWORK
from provisioner.spec.model import LOCAL_ENDPOINT, ClusterSpec, local_balancers
from provisioner.spec.proxies import environment

if TYPE_CHECKING:
    from provisioner.action.existing import Takeover

PAUSE = "registry.k8s.io/pause"
AGNHOST = "registry.k8s.io/e2e-test-images/agnhost"
NET_BENCH = "localhost/provision/net-bench"
"""What `bench net` measures with."""
TLS12_CIPHERS = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
)  # fmt: skip
"""Those of TLS 1.2 with forward secrecy and authenticated encryption (RFC 9325, 4.2), by Go's names. What Go takes
beside them by itself ends in CBC. Those of TLS 1.3 are all good, and cannot be chosen."""
COREDNS = "registry.k8s.io/coredns/coredns"


@dataclass(frozen=True)
class Networks:
    """The pod network as the inventory has it (None: it is its builder's), what is on record of it, and the change that
    it is in."""

    section: Section | None = field(default_factory=dict)
    record: NetworkRecord = field(default_factory=NetworkRecord)
    transition: Transition | None = None

    @property
    def recorded(self) -> str:
        """The text of the record from this run on."""
        if self.transition is not None:
            return self.transition.record.to_json()
        return (self.record if self.section is None else applied(self.record, self.section)).to_json()


class ClusterVariables:
    """What the cluster's playbooks see. Made once a run, shared by all hosts."""

    def __init__(
        self,
        inventory: Inventory,
        spec: ClusterSpec,
        state: ClusterState,
        facts: Mapping[str, Facts],
        bundle: Bundle,
        founders: frozenset[str] = frozenset(),
        takeover: Takeover | None = None,
        networks: Networks | None = None,
    ) -> None:
        """`founders` are the hosts whose member of etcd begins a new cluster."""
        self.spec = spec
        self._networks = networks or Networks()
        change = self._networks.transition
        self._beside = change.beside if change else None
        self._inventory = inventory
        self._takeover = takeover
        self._bundle = bundle
        self._facts = facts
        self._ports = ports_of(inventory, spec, facts)
        if self._beside:
            self._ports = both(self._ports, ports_of(inventory, self._beside, facts))
        self.uuid = state.uuid
        self.control_planes = [host.name for host in inventory.group("kube_control_plane")]
        self.node_names = [name for name, node in spec.nodes.items() if node.node]
        self.authority = authority = state.authorities["kubernetes"].cert
        self.joining = [
            name
            for name in self.node_names
            if name in facts and not kubelet_identity_valid(facts[name].kubelet_certificate, name, authority)
        ]
        self._server = f"https://{spec.nodes_endpoint}"
        self.switching = [
            name
            for name in self.node_names
            if name in facts and name not in self.joining and _switches(facts[name], self._server)
        ]
        self._founders = founders
        self._servers = servers_of(inventory)
        self.balancers = [host.name for host in inventory.group("load_balancer")]
        self._local = local_balancers(inventory, spec)
        self.network = PodNetwork(spec, self._text)
        self._kept = PodNetwork(self._beside, self._text) if self._beside else None
        self.attached = Attached(spec, self._text, [each.reference for each in bundle.images()])
        self.images = [self.reference(PAUSE), self.reference(COREDNS), self.reference(AGNHOST)]
        # What an operator pulls beyond the bundle no run pushes (`admit` refuses it), but it is rendered.
        there = {each.reference for each in bundle.images()}
        operated = self.network.operated
        self.images += [each for each in self.network.images if each in there or not operated]
        self.images += self._kept.images if self._kept else []
        self.images += self.attached.images
        # An older bundle has none, and its cluster is not measured.
        self.images += [each.reference for each in bundle.images() if each.name == NET_BENCH]
        members = [host.name for host in inventory.group("etcd")]
        self._shared = self._of_all(state, members)

    @property
    def established(self) -> bool:
        """Some node has joined the cluster."""
        return self.spec.existing is not None or len(self.joining) < len(self.node_names)

    def _of_all(self, state: ClusterState, members: Sequence[str]) -> dict[str, Any]:
        """The variables that all hosts share. `members` of etcd."""
        spec, change = self.spec, self._networks.transition
        network, attached = self.network.objects(self._pulled), self.attached.objects(self.pullable)
        network = change.adjust(network) if change else network
        return {
            "cluster": spec,
            "authorities": state.authorities,
            "service_account": state.service_account,
            "encryption_key": state.encryption_key,
            "state_text": state.to_json(),
            "mark_text": state.mark(),
            "node_names": self.node_names,
            "nodes": spec.nodes,
            "joining_nodes": self.joining,
            "etcd": [{"name": name, "address": spec.nodes[name].address} for name in members],
            "api_server": self._server,
            "api_servers": [
                {"name": name, "address": spec.nodes[name].address} for name in self.control_planes
            ],
            "all_nodes_read": set(self.node_names) <= set(self._facts),
            "endpoints_of_before": _of_before(self._facts, spec),
            "service_address": str(ipaddress.ip_network(spec.network.service_cidrs[0])[1]),
            "tls_ciphers": list(TLS12_CIPHERS),
            "refusing_chains": refusing_chains(),
            "proxy_environment": environment(spec),
            "images": self.images,
            "image": self.pullable,
            "registry_authority": registry_authority(spec, state),
            "node_images": self._node_images([*network, *attached]),
            "founding": bool(self._founders) and not self.established,
            "pause_image": self.pullable(self.reference(PAUSE)),
            "corefile": corefile(spec.dns),
            "coredns_image": self.pullable(self.reference(COREDNS)),
            "bgp": spec.network.plugin == "calico" and spec.network.calico.backend == "bird",
            "bgp_families": list(spec.network.calico.routed_families),
            "policy_objects": policy_objects(spec.network.policies),
            "network_objects": [*_secrets_of(spec, state), *network],
            "network_daemons": self.network.daemons,
            "networks_kept": self._objects_kept(),
            "network_changes": change is not None,
            "network_record": self._networks.recorded,
            "kube_proxy": spec.network.kube_proxy,
            "attached": self.attached.there,
            "attached_objects": attached,
            "unmanaged_links": left_alone(*filter(None, (spec, self._beside))),
            "cni_first": DEFAULT_NETWORK[spec.network.plugin],
            "cni_before": self._before(),
        }

    def _before(self) -> list[str]:
        """Files that the runtime may read before the plug-in's: of a network beside it nodes are turned one by one."""
        other = [DEFAULT_NETWORK[self._beside.network.plugin]] if self._beside else []
        return [*(CONFIGURATIONS if self.attached.there else ()), *other]

    def patched(self) -> list[Patched]:
        """What is changed in upstream manifests, and why."""
        return [*self.network.patched(self._pulled), *self.attached.patched(self.pullable)]

    def _objects_kept(self) -> list[dict[str, Any]]:
        """Of the network that is there beside the spec's: the manifest's name, and its objects."""
        if self._kept is None or self._beside is None:
            return []
        return [{"name": self._beside.network.plugin, "objects": self._kept.objects(self._pulled)}]

    def _node_images(self, objects: Sequence[dict[str, Any]]) -> list[str]:
        """What each node runs of the network's `objects`, as it pulls them and in that order; and what the first check
        needs.

        Not the network's where its pods are there already, but for one that comes beside another: one that starts on
        a new node before kube-proxy has made the services' rules hangs for 30 s (the client's time for a connection),
        and its pull gives kube-proxy the time.
        """
        fresh = self._networks.transition is not None or not self.established
        first = [each for each in objects if each["kind"] == "DaemonSet" and fresh]
        daemons = images_of(first)
        late = [self.pullable(self.reference(each)) for each in (COREDNS, AGNHOST)]
        return list(dict.fromkeys([self.pullable(self.reference(PAUSE)), *daemons, *late]))

    def _text(self, artifact: str) -> str:
        return self._bundle.artifact(artifact).path.read_text(encoding="utf-8")

    def reference(self, name: str) -> str:
        """`name` with the tag that the bundle has."""
        for image in self._bundle.images():
            if image.name == name:
                return image.reference
        return self._bundle.image(f"{name}:").reference

    def pullable(self, upstream: str) -> str:
        """The reference, by digest, under which the cluster pulls the bundle's image `upstream`."""
        image = self._bundle.image(upstream)
        return pullable_from(self.spec.registry, image)

    def _pulled(self, upstream: str) -> str:
        """The same, but for what an operator pulls by its tag, where the bundle has no such image."""
        if not self.network.operated or any(each.reference == upstream for each in self._bundle.images()):
            return self.pullable(upstream)
        registry = self.spec.registry
        return by_tag(registry.host, registry.port, upstream, registry.project)

    def of(self, host: str) -> dict[str, Any]:
        """The variables of one host."""
        node, memory = self.spec.nodes[host], self._facts[host].memory
        os = distribution_of(self._facts[host])
        local, shared = host in self._local, host in self.balancers
        return {
            **self._shared,
            "node": node,
            "kube_reserved": kube_reserved(node, memory),
            "system_reserved": system_reserved(node, memory, servers=host in self._servers),
            "address": node.address,
            "node_addresses": node_addresses(self.spec, host, self._facts[host]),
            "facts": self._facts[host],
            "os": os,
            "balancing": str(LOCAL_ENDPOINT) if local else str(self.spec.endpoint.port) if shared else "",
            "balancer_turn": self._turn(host) if local or shared else "",
            "balancer_packages": os.local_load_balancer if local else os.load_balancer,
            "firewall": self._ports[host],
            "tuning": tuning_of(self.spec, host, self._facts[host], self._inventory),
            "joining": host in self.joining,
            "switching": host in self.switching,
            "etcd_founding": host in self._founders,
            "etcd_lost": lost(self._facts[host]),
            "etcd_servers": self._etcd_servers(host),
            "ipvs_modules": _ipvs_modules(self._facts[host]),
            "existing": self._takeover.of(host) if self._takeover else None,
            "virtual_router": virtual_router(self.spec, self.balancers, host, self._facts[host]),
        }

    def _turn(self, host: str) -> str:
        """When its load balancer is started: first, with all others, while nobody uses them; else those in use one by
        one, and then the new ones: they hear who has the address only when that one knows them."""
        if host in self._local:
            return "first" if host in self.joining else "in use"
        if not self.established:
            return "first"
        return "in use" if BALANCES in parse_owned(self._facts[host].owned) else "new"

    def _etcd_servers(self, host: str) -> list[str]:
        """An API server beside a member talks to that one alone: it fails with it, which load balancers see, and not
        every third of its requests when another member's host is lost (peers' API servers take over)."""
        members = {each["name"]: each["address"] for each in self._shared["etcd"]}
        chosen = [members[host]] if host in members else members.values()
        return [f"https://{address}:2379" for address in chosen]


def _secrets_of(spec: ClusterSpec, state: ClusterState) -> list[dict[str, Any]]:
    """Which the plug-in's pods want to be there before them."""
    relay = spec.network.plugin == "cilium" and spec.network.cilium.hubble.relay
    return hubble_secrets(state) if relay else []


def _of_before(facts: Mapping[str, Facts], spec: ClusterSpec) -> list[str]:
    """Names and addresses by which nodes still know the API server, a single load balancer's among them: until they
    know it by the endpoint its certificate has to have both."""
    known = {urlsplit(each.endpoint.partition(" ")[0]).hostname for each in facts.values()}
    return sorted(name for name in known if name and name != spec.endpoint.host)


def _switches(facts: Facts, server: str) -> bool:
    """The kubelet of a node that joined talks to another address than `server`, or that change is not approved."""
    return facts.endpoint not in ("", server)


def _ipvs_modules(facts: Facts) -> list[str]:
    """The old name of connection tracking only where the kernel has no other."""
    old = "nf_conntrack" in facts.modules
    known = [each for each in facts.modules if each in IPVS_MODULES]
    return [each for each in known if not (old and each == "nf_conntrack_ipv4")]
