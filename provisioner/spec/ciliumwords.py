"""Words of Cilium in a spec, each judged by itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from provisioner.inventory.spelling import said
from provisioner.inventory.words import distance, hint_for
from provisioner.spec.cilium import IPAM
from provisioner.spec.values import RefusedError

_SLIPS = 2
"""Two wrong letters make a slip; a key of which more are wrong may be of another version."""
_CLOUD = MappingProxyType(
    {
        "eni": "it takes pods' addresses from Amazon's API",
        "azure": "it takes pods' addresses from Azure's API",
        "alibabacloud": "it takes pods' addresses from Alibaba's API",
        "multi-pool": "it wants a CiliumPodIPPool of the cluster's own for each pool",
        "crd": "somebody has to write addresses into each CiliumNode",
        "delegated-plugin": "another CNI plug-in hands out addresses, which is not installed",
    }
)
"""Modes of IPAM that are not installed (docs, network/concepts/ipam)."""
_OLD = MappingProxyType({"strict": "true", "partial": "false", "probe": "false", "disabled": "false"})
"""Values of kube-proxy-replacement before 1.14, and what is nearest (docs, operations/upgrade)."""
_ELSEWHERE = MappingProxyType(
    {
        "routing-mode": "routing_mode",
        "tunnel-protocol": "tunnel_protocol",
        "tunnel-port": "tunnel_port",
        "ipv4-native-routing-cidr": "native_routing_cidrs",
        "ipv6-native-routing-cidr": "native_routing_cidrs",
        "auto-direct-node-routes": "auto_direct_node_routes",
        "ipam": "ipam",
        "cluster-pool-ipv4-cidr": "pools",
        "cluster-pool-ipv6-cidr": "pools",
        "kube-proxy-replacement": "kube_proxy_replacement",
        "enable-node-port": "kube_proxy_replacement",
        "enable-host-port": "kube_proxy_replacement",
        "enable-external-ips": "kube_proxy_replacement",
        "enable-hubble": "hubble",
        "hubble-listen-address": "hubble",
        "hubble-disable-tls": "hubble",
        "mtu": "mtu",
        "enable-wireguard": "wireguard",
        "devices": "devices",
    }
)
"""Keys of cilium-config that one of the section stands for."""
_OF_NETWORK = MappingProxyType(
    {
        "cluster-pool-ipv4-mask-size": "node_cidr_mask",
        "cluster-pool-ipv6-mask-size": "node_cidr_mask_ipv6",
        "enable-ipv4": "pod_cidrs",
        "enable-ipv6": "pod_cidrs",
    }
)
_OURS = MappingProxyType(
    {
        "cni-exclusive": "with true it renames the configurations of other plug-ins on the nodes",
        "k8s-require-ipv4-pod-cidr": "it follows from network.cilium.ipam",
        "k8s-require-ipv6-pod-cidr": "it follows from network.cilium.ipam",
        "policy-cidr-match-mode": "it follows from network.policies",
        "wireguard-persistent-keepalive": "it follows from network.cilium.wireguard",
        "hubble-socket-path": "it follows from network.cilium.hubble",
        "enable-ipsec": "its keys are in a Secret that is not made, and agents end without it",
        "identity-allocation-mode": "identities are Kubernetes objects, another store is not installed",
    }
)
"""Keys that have one value here, and why."""
_GONE = MappingProxyType(
    {
        "tunnel": "it was taken out in 1.15: routing_mode and tunnel_protocol stand for it",
        "install-iptables-rules": "it was taken out in 1.14: the rules are always there",
        "enable-remote-node-identity": "it was taken out in 1.16: nodes always have one",
        "enable-endpoint-status": "it was taken out in 1.16",
    }
)
"""Keys that go round and that 1.16 does not read (docs, operations/upgrade)."""

_FALSE = ("0", "f", "false")
UNENFORCING: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "enable-policy": ("never",),
        "enable-k8s-networkpolicy": _FALSE,
        "policy-audit-mode": ("1", "t", "true"),
    }
)
"""Keys of cilium-config, and their values in small letters, by which NetworkPolicies hold nobody up (1.16,
pkg/option; policy-audit-mode tells what it would have dropped)."""


def ipam(text: str) -> None:
    if text in _CLOUD:
        raise RefusedError(f"the mode '{text}' is not installed: {_CLOUD[text]}", "use cluster-pool")
    if text not in IPAM:
        raise RefusedError(f"there is no mode {said(text)}", hint_for(text, IPAM))


def replacement(value: object) -> None:
    """Once there were more answers than yes and no; anything but a text is the schema's business."""
    if isinstance(value, str):
        near = _OLD.get(value.lower(), value.lower() if value.lower() in ("true", "false") else "")
        reason = f"{said(value)} is neither true nor false"
        raise RefusedError(reason, f"did you mean {near}?" if near else "true or false, without quotes")


def device(text: str) -> None:
    """A link's name, or its beginning with a "+" behind it."""
    if not re.fullmatch(r"[A-Za-z0-9_.@-]{1,15}\+?", text):
        near = text.rstrip("*").rstrip("+") + "+"
        hint = (
            f"did you mean '{near}'?" if text.endswith("*") else "such as eth0, or eth+ for all that begin so"
        )
        raise RefusedError(f"{said(text)} is no network interface's name", hint)


def config_key(name: str) -> None:
    """A key of cilium-config that the spec has none for."""
    if name in _ELSEWHERE:
        raise RefusedError("it has a key of its own", f"use network.cilium.{_ELSEWHERE[name]}")
    if name in _OF_NETWORK:
        raise RefusedError("it has a key of its own", f"use network.{_OF_NETWORK[name]}")
    if name in _OURS:
        hint = "use network.cilium.wireguard" if name == "enable-ipsec" else "leave it out"
        raise RefusedError(f"it is not for the spec: {_OURS[name]}", hint)
    if name in _GONE:
        raise RefusedError(f"Cilium reads no such key: {_GONE[name]}", "leave it out")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        near = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", "-", name).lower()
        raise RefusedError(
            "keys of cilium-config are small letters, digits and '-'", f"did you mean '{near}'?"
        )
    if near := _slip_of(name):
        raise RefusedError("Cilium reads no such key", f"did you mean '{near}'?")


def is_known(name: str) -> bool:
    """Whether an agent or an operator of Cilium's reads the key of cilium-config (cilium.yaml)."""
    return name in _known()


def _slip_of(name: str) -> str:
    """The key that is meant; "" for one that is there, and for one that is near to none."""
    if is_known(name):
        return ""
    slips = [(distance(name, each), each) for each in _known() if abs(len(each) - len(name)) <= _SLIPS]
    far, near = min(slips, default=(_SLIPS + 1, ""))
    return near if far <= _SLIPS else ""


@cache
def _known() -> frozenset[str]:
    import yaml

    text = Path(__file__).with_name("cilium.yaml").read_text(encoding="utf-8")
    return frozenset(yaml.safe_load(text)["keys"].split())
