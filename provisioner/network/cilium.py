"""Cilium by the manifests that its chart gives, patched for the spec.

Facts: Cilium 1.16, install/kubernetes/cilium (templates/cilium-configmap.yaml) and Documentation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from provisioner.errors import ProvisionError
from provisioner.inventory.words import hint_for
from provisioner.kube.manifest import digest_of_text
from provisioner.kube.objects import object_key
from provisioner.network.images import image_edits
from provisioner.network.patches import Edit, Path, patch
from provisioner.network.pod_template import Container
from provisioner.network.podsettings import pod_edits
from provisioner.spec.model import ClusterSpec, Network

CONFIG = "ConfigMap kube-system/cilium-config"
DAEMONS = "DaemonSet kube-system/cilium"
ENVOY = "DaemonSet kube-system/cilium-envoy"
OPERATOR = "Deployment kube-system/cilium-operator"
RELAY = "Deployment kube-system/hubble-relay"
RELAY_CONFIG = "ConfigMap kube-system/hubble-relay-config"
OPERATORS = 2
"""One of them leads; on a single node a second one finds no place (docs, helm-values, operator.replicas)."""
_ASKING = (
    (DAEMONS, "cilium-agent", "containers"),
    (DAEMONS, "config", "initContainers"),
    (DAEMONS, "clean-cilium-state", "initContainers"),
    (ENVOY, "cilium-envoy", "containers"),
    (OPERATOR, "cilium-operator", "containers"),
)
"""The containers to which the chart gives the API server's address where there is no kube-proxy."""


def artifact_of(spec: ClusterSpec) -> str:
    """The rendered manifest that has all the parts."""
    hubble = spec.network.cilium.hubble
    if hubble.ui:
        return "cilium-hubble-ui"
    return "cilium-hubble" if hubble.relay else "cilium"


def objects(
    spec: ClusterSpec, upstream: Sequence[dict[str, Any]], image: Callable[[str], str]
) -> list[dict[str, Any]]:
    """The objects to apply. `image` gives the private registry's reference of an upstream one. Raises ProvisionError
    where the manifest lacks what is to be changed."""
    return patch(upstream, edits(spec, upstream, image), artifact_of(spec))


def edits(spec: ClusterSpec, upstream: Sequence[dict[str, Any]], image: Callable[[str], str]) -> list[Edit]:
    """What is changed in them, and why. Raises ProvisionError where the manifest lacks a key or a container."""
    source = artifact_of(spec)
    by_key = {object_key(each): each for each in upstream}
    found = [*_config(spec, by_key, source), *_operator(spec), *image_edits(upstream, image)]
    if not spec.network.kube_proxy:
        found += _api_server(spec, upstream)
    if spec.network.cilium.hubble.relay:
        found.append(_relay(spec, by_key, source))
    found += pod_edits(spec, upstream)
    return [*found, *_rolled(patch(upstream, found, source))]


def settings(spec: ClusterSpec) -> dict[str, str]:
    """Keys of cilium-config that the chart always writes."""
    network, cilium = spec.network, spec.network.cilium
    families = {6 if ":" in cidr else 4 for cidr in network.pod_cidrs}
    pools = cilium.pools or network.pod_cidrs
    return {
        "enable-ipv4": _word(4 in families),
        "enable-ipv6": _word(6 in families),
        "routing-mode": cilium.routing_mode,
        "tunnel-protocol": cilium.tunnel_protocol,
        "auto-direct-node-routes": _word(not cilium.tunnelled and cilium.auto_direct_node_routes),
        "ipam": cilium.ipam,
        # In the other mode of IPAM nobody reads it; but the default holds half of the private networks.
        "cluster-pool-ipv4-cidr": " ".join(each for each in pools if ":" not in each),
        "cluster-pool-ipv4-mask-size": str(network.node_cidr_mask),
        "k8s-require-ipv4-pod-cidr": _word(cilium.ipam == "kubernetes" and 4 in families),
        "k8s-require-ipv6-pod-cidr": _word(cilium.ipam == "kubernetes" and 6 in families),
        "kube-proxy-replacement": _word(cilium.kube_proxy_replacement),
        **dict.fromkeys(
            ("enable-node-port", "enable-host-port", "enable-external-ips"), _word(not network.kube_proxy)
        ),
        # What others have put into the node's folder keeps its name.
        "cni-exclusive": "false",
    }


def further_settings(spec: ClusterSpec) -> dict[str, str]:
    """Keys that the chart writes only where they are asked for."""
    network, cilium = spec.network, spec.network.cilium
    made: dict[str, str] = {}
    for cidr in () if cilium.tunnelled else cilium.native_routing_cidrs or network.pod_cidrs:
        made[f"ipv{6 if ':' in cidr else 4}-native-routing-cidr"] = cidr
    if any(":" in cidr for cidr in network.pod_cidrs):
        pools = cilium.pools or network.pod_cidrs
        made["cluster-pool-ipv6-cidr"] = " ".join(each for each in pools if ":" in each)
        made["cluster-pool-ipv6-mask-size"] = str(network.node_cidr_mask_ipv6)
    if cilium.tunnelled and cilium.tunnel_port:
        made["tunnel-port"] = str(cilium.tunnel_port)
    if cilium.mtu:
        made["mtu"] = str(cilium.mtu)
    if cilium.devices:
        made["devices"] = " ".join(cilium.devices)
    if cilium.wireguard:
        made |= {"enable-wireguard": "true", "wireguard-persistent-keepalive": "0s"}
    if cilium.hubble.enabled:
        made |= {"enable-hubble": "true", "hubble-socket-path": "/var/run/cilium/hubble.sock"}
    if any(peer.cidr for each in network.policies for peer in (*each.sources, *each.destinations)):
        # Without it a policy's CIDR never means a node, nor the API server on one (docs, security/policy/language).
        made["policy-cidr-match-mode"] = "nodes"
    return made | dict(cilium.config)


def _word(value: bool) -> str:
    return "true" if value else "false"


def _config(spec: ClusterSpec, by_key: Mapping[str, dict[str, Any]], source: str) -> Iterator[Edit]:
    known = (by_key.get(CONFIG) or {}).get("data") or {}
    for name, value in settings(spec).items():
        if name not in known:
            reason = f"{source}: cilium-config has no key {name}, which is to be {value}"
            raise ProvisionError(reason, hint_for(name, known))
        yield Edit(CONFIG, ("data", name), value, "network of the spec")
    for name, value in further_settings(spec).items():
        yield Edit(CONFIG, ("data", name), value, "network.cilium of the spec", new=True)


def _operator(spec: ClusterSpec) -> Iterator[Edit]:
    nodes = sum(node.node for node in spec.nodes.values())
    count = min(OPERATORS, nodes)
    yield Edit(OPERATOR, ("spec", "replicas"), count, f"operators for {nodes} nodes")
    if count == 1:
        path: Path = ("spec", "strategy", "rollingUpdate", "maxUnavailable")
        yield Edit(
            OPERATOR, path, "100%", "a second one, which is to come first, would want the ports of the one"
        )


def _api_server(spec: ClusterSpec, upstream: Sequence[dict[str, Any]]) -> Iterator[Edit]:
    endpoint, why = spec.nodes_endpoint, "without kube-proxy nobody else leads to the API server"
    for target, name, group in _ASKING:
        # Each edit appends: what a container has is looked for once.
        container = Container.of(upstream, target, name, group)
        yield from container.env("KUBERNETES_SERVICE_HOST", endpoint.host, why)
        yield from container.env("KUBERNETES_SERVICE_PORT", str(endpoint.port), why)


def _relay(spec: ClusterSpec, by_key: Mapping[str, dict[str, Any]], source: str) -> Edit:
    """The relay asks for its peers by a name in the cluster's domain."""
    text = (by_key.get(RELAY_CONFIG) or {}).get("data", {}).get("config.yaml")
    conf = yaml.safe_load(text) if isinstance(text, str) else None
    if not isinstance(conf, dict) or "peer-service" not in conf:
        raise ProvisionError(f"{source}: {RELAY_CONFIG} has no peer-service in config.yaml")
    conf["peer-service"] = f"hubble-peer.kube-system.svc.{spec.dns.domain}.:443"
    return Edit(RELAY_CONFIG, ("data", "config.yaml"), yaml.safe_dump(conf), "the cluster's domain")


def _rolled(made: Sequence[dict[str, Any]]) -> Iterator[Edit]:
    """Agents, operators and the relay read their configuration at their start alone."""
    by_key = {object_key(each): each for each in made}
    for target, config in ((DAEMONS, CONFIG), (OPERATOR, CONFIG), (RELAY, RELAY_CONFIG)):
        if target not in by_key and target == RELAY:
            continue
        template = by_key[target]["spec"]["template"]
        digest = digest_of_text(json.dumps(by_key[config]["data"], sort_keys=True))
        notes = {**(template["metadata"].get("annotations") or {}), "provision.dev/config": digest}
        path: Path = ("spec", "template", "metadata", "annotations")
        yield Edit(target, path, notes, "a new configuration rolls the pods", new=True)


def overhead(network: Network) -> int:
    """Bytes that are added to a pod's packet (pkg/mtu/mtu.go)."""
    return 50 * network.cilium.tunnelled + 80 * network.cilium.wireguard
