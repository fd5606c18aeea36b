"""From a draft without faults to the spec: defaults filled in, paths and addresses made absolute."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from provisioner.inventory.model import Host
from provisioner.spec.buildattachments import build_attachments, build_multus
from provisioner.spec.buildcalico import build_calico
from provisioner.spec.buildnetworkpods import build_network_pods
from provisioner.spec.buildpolicies import build_policies
from provisioner.spec.cilium import build_cilium
from provisioner.spec.dns import NODES_FILE, Dns, Forward, dns_replicas
from provisioner.spec.draft import CONTROL_PLANE, LOAD_BALANCER, NODE, REGISTRY, Draft, default_host
from provisioner.spec.labels import taint
from provisioner.spec.model import (
    CONTROL_PLANE_TAINT,
    EVICTION_HARD,
    ClusterSpec,
    Endpoint,
    Existing,
    Flannel,
    HttpProxy,
    Ipvs,
    Kubernetes,
    LoadBalancer,
    Network,
    NodeSpec,
    Proxy,
    Registry,
    Runtime,
)
from provisioner.spec.nameservers import name_server
from provisioner.spec.rules.networks import DNS_OFFSET
from provisioner.spec.rules.pods import pods_at_most
from provisioner.spec.tuning import build_tuning
from provisioner.spec.values import address
from provisioner.spec.versions import KUBEADM

# 42 bytes in base64, the first two of which are "Ed".
_MINISIGN_KEY = re.compile(r"RW[A-Za-z0-9+/]{54}")


def build(draft: Draft) -> ClusterSpec:
    """The spec of a draft in which nothing is wrong."""
    data = draft.data
    return ClusterSpec(
        name=data["name"],
        kubernetes=Kubernetes(**data["kubernetes"]),
        network=_network(draft),
        proxy=_proxy(data.get("proxy", {})),
        dns=_dns(draft),
        endpoint=_endpoint(draft),
        load_balancer=_load_balancer(draft),
        registry=_registry(draft),
        runtime=Runtime(**data.get("runtime", {})),
        nodes=MappingProxyType({host.name: _node(draft, host) for host in draft.inventory.hosts.values()}),
        bundle=_path(draft, "bundle"),
        bundle_public_key=_public_key(draft),
        firewall=data.get("firewall", "check"),
        http_proxy=_http_proxy(data.get("http_proxy")),
        existing=_existing(data.get("existing")),
        tuning=build_tuning(data.get("tuning", {})),
    )


def _existing(written: str | Mapping[str, Any] | None) -> Existing | None:
    if written is None:
        return None
    given = {"preset": written} if isinstance(written, str) else dict(written)
    if given["preset"] == KUBEADM:
        given.setdefault("admin_kubeconfig", "/etc/kubernetes/admin.conf")
    return Existing(**given)


def _proxy(written: Mapping[str, Any]) -> Proxy:
    return Proxy(**{**written, "ipvs": Ipvs(**written.get("ipvs", {}))})


def _http_proxy(written: Mapping[str, Any] | None) -> HttpProxy | None:
    return HttpProxy(written["url"], tuple(written.get("no_proxy", ()))) if written else None


def _network(draft: Draft) -> Network:
    written: dict[str, Any] = dict(draft.data.get("network", {}))
    cidrs = {
        name: tuple(str(placed.network) for placed in draft.networks(name))
        for name in ("pod_cidrs", "service_cidrs")
    }
    flannel = Flannel(**written.pop("flannel", {}))
    calico = build_calico(written.pop("calico", {}), cidrs["pod_cidrs"])
    cilium = build_cilium(written.pop("cilium", {}), cidrs["pod_cidrs"])
    policies = build_policies(written.pop("policies", ()))
    attachments = build_attachments(written.pop("attachments", ()))
    pods = build_network_pods(written.pop("pods", {}))
    multus = build_multus(written.pop("multus", None), attachments)
    parts = {
        "flannel": flannel,
        "calico": calico,
        "cilium": cilium,
        "policies": policies,
        "multus": multus,
        "attachments": attachments,
        "pods": pods,
    }
    return Network(**(written | cidrs | parts))


def _dns(draft: Draft) -> Dns:
    written: dict[str, Any] = dict(draft.data.get("dns", {}))
    default = draft.networks("service_cidrs")[0].network[DNS_OFFSET]
    written["address"] = str(address(written.get("address", str(default))))
    if "upstreams" in written:
        written["upstreams"] = tuple(map(_upstream, written["upstreams"]))
    stubs: Mapping[str, Any] = written.get("stub_domains", {})
    written["stub_domains"] = MappingProxyType(
        {domain: tuple(str(name_server(each)) for each in servers) for domain, servers in stubs.items()}
    )
    written["forward"] = Forward(**written.get("forward", {}))
    written.setdefault("replicas", dns_replicas(len(draft.nodes())))
    return Dns(**written)


def _upstream(text: str) -> str:
    return text if text == NODES_FILE else str(name_server(text))


def _endpoint(draft: Draft) -> Endpoint:
    written = draft.data.get("endpoint")
    if written:
        return Endpoint(**written)
    first = (draft.group(LOAD_BALANCER) or draft.group(CONTROL_PLANE))[0]
    return Endpoint(_address(draft, first))


def _load_balancer(draft: Draft) -> LoadBalancer:
    vip, written = draft.virtual_address(), draft.data.get("load_balancer", {})
    if vip is None:
        return LoadBalancer(**written)
    return LoadBalancer(vip=str(vip), **{"virtual_router_id": vip.packed[-1] or 1} | written)


def _registry(draft: Draft) -> Registry:
    written = dict(draft.data.get("registry", {}))
    if "ca" in written:
        written["ca"] = _beside(draft, written["ca"])
    written.setdefault("host", default_host(draft.data["name"]))
    hosts = draft.group(REGISTRY)
    return Registry(**written, address=_address(draft, hosts[0]) if hosts else None)


def _public_key(draft: Draft) -> str | None:
    """The key itself, or the path of its file."""
    written: str = draft.data.get("bundle_public_key", "")
    return written if _MINISIGN_KEY.fullmatch(written) else _path(draft, "bundle_public_key")


def _path(draft: Draft, key: str) -> str | None:
    """What is written for a path, if anything is."""
    written = draft.data.get(key)
    return None if written is None else _beside(draft, written)


def _beside(draft: Draft, written: str) -> str:
    """Relative paths count from the inventory's folder."""
    path = draft.inventory.path
    folder = path if path.is_dir() else path.parent
    return str((folder / Path(written).expanduser()).absolute())


def _role(host: Host) -> Mapping[str, str]:
    """What `kubectl get nodes` shows as a node's role."""
    return {CONTROL_PLANE_TAINT.key: ""} if CONTROL_PLANE in host.groups else {}


def _node(draft: Draft, host: Host) -> NodeSpec:
    defaults: Mapping[str, Any] = draft.data.get("nodes", {})
    is_node = draft.is_node(host)
    labels = (
        {**_role(host), **defaults.get("labels", {}), **host.vars.get("node_labels", {})} if is_node else {}
    )
    written = host.vars.get("node_taints", defaults.get("taints", [])) if is_node else []
    taints = tuple(dict.fromkeys(taint(value) for value in written))
    # A control plane takes ordinary pods only when it is named as a node as well.
    if (
        is_node
        and CONTROL_PLANE in host.groups
        and NODE not in host.groups
        and all(each.slot != CONTROL_PLANE_TAINT.slot for each in taints)
    ):
        taints = (CONTROL_PLANE_TAINT, *taints)
    return NodeSpec(
        address=_address(draft, host),
        node=is_node,
        labels=MappingProxyType(labels),
        taints=taints,
        interface=host.vars.get("node_interface"),
        second_address=_second(host),
        max_pods=host.vars.get("node_max_pods", defaults.get("max_pods", pods_at_most(draft))),
        pod_pids_limit=host.vars.get(
            "node_pod_pids_limit", defaults.get("pod_pids_limit", NodeSpec.pod_pids_limit)
        ),
        kube_reserved=_merged(host, defaults, "kube_reserved"),
        system_reserved=_merged(host, defaults, "system_reserved"),
        eviction_hard=MappingProxyType({**EVICTION_HARD, **_merged(host, defaults, "eviction_hard")}),
        selinux_booleans=tuple(
            dict.fromkeys(host.vars.get("node_selinux_booleans", defaults.get("selinux_booleans", ())))
        ),
    )


def _second(host: Host) -> str | None:
    written = host.vars.get("node_address_second")
    return None if written is None else str(address(written))


def _merged(host: Host, defaults: Mapping[str, Any], name: str) -> Mapping[str, str]:
    """What all nodes have, with the host's own on top."""
    return MappingProxyType({**defaults.get(name, {}), **host.vars.get(f"node_{name}", {})})


def _address(draft: Draft, host: Host) -> str:
    known = draft.address_of(host)
    return host.connection.address if known is None else str(known)
