"""NetworkAttachmentDefinitions of the spec: what a CNI plug-in is told is serialized, never put together as text.

Facts: multi-net-spec v1.3; containernetworking/plugins 1.9, plugins/main and plugins/ipam; sriov-cni 2.8.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from typing import Any

from provisioner.spec.attachments import Attachment, Ipam, Range

Object = dict[str, Any]
CNI_VERSION = "1.0.0"
"""Of the definitions: the first that has CHECK and that all of them know."""
_API = "k8s.cni.cncf.io/v1"
_RESOURCE = "k8s.v1.cni.cncf.io/resourceName"
"""By this annotation multus asks the kubelet which device the pod was given."""
_BUILT_IN = ("default", "kube-system", "kube-public", "kube-node-lease")
"""Namespaces that every cluster has."""


def configuration(attachment: Attachment) -> dict[str, Any]:
    """What the plug-in gets. The name is the network's, by which host-local counts addresses: two definitions of one
    name in two namespaces are two networks."""
    named = {"cniVersion": CNI_VERSION, "name": f"{attachment.namespace}.{attachment.name}"}
    said = {
        "type": attachment.type,
        "master": attachment.master,
        "mode": attachment.mode,
        "bridge": attachment.bridge,
        "isGateway": attachment.is_gateway or None,
        "ipMasq": attachment.masquerade or None,
        "device": attachment.device,
        "mtu": attachment.mtu,
        "vlan": attachment.vlan,
    }
    ipam = attachment.ipam
    chosen = {"capabilities": {"ips": True}} if ipam.type == "static" and not ipam.addresses else {}
    known = {key: value for key, value in said.items() if value is not None}
    return {**named, **known, **chosen, "ipam": _ipam(ipam)}


def _ipam(ipam: Ipam) -> dict[str, Any]:
    """Without a type there are no addresses; bridge and macvlan want the key all the same."""
    if ipam.type == "none":
        return {}
    said: dict[str, Any] = {"type": ipam.type}
    if ipam.ranges:
        said["ranges"] = _sets(ipam.ranges)
    if ipam.addresses:
        said["addresses"] = [_given(address=each.address, gateway=each.gateway) for each in ipam.addresses]
    if ipam.routes:
        said["routes"] = [_given(dst=each.to, gw=each.via) for each in ipam.routes]
    return said


def _sets(ranges: Sequence[Range]) -> list[list[dict[str, str]]]:
    """A pod gets one address of each set: one a family."""
    families: dict[int, list[dict[str, str]]] = {}
    for each in ranges:
        version = ipaddress.ip_network(each.subnet).version
        families.setdefault(version, []).append(
            _given(subnet=each.subnet, rangeStart=each.start, rangeEnd=each.end, gateway=each.gateway)
        )
    return list(families.values())


def _given(**values: str | None) -> dict[str, str]:
    return {key: value for key, value in values.items() if value is not None}


def objects(attachments: Sequence[Attachment]) -> list[Object]:
    """The definitions in their order, and before them the namespaces that no cluster has by itself."""
    spaces = dict.fromkeys(each.namespace for each in attachments if each.namespace not in _BUILT_IN)
    namespaces: list[Object] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": each}} for each in spaces
    ]
    return [*namespaces, *map(_definition, attachments)]


def _definition(attachment: Attachment) -> Object:
    metadata: dict[str, Any] = {"name": attachment.name, "namespace": attachment.namespace}
    if attachment.resource is not None:
        metadata["annotations"] = {_RESOURCE: attachment.resource}
    config = json.dumps(configuration(attachment), sort_keys=True)
    spec = {"config": config}
    return {"apiVersion": _API, "kind": "NetworkAttachmentDefinition", "metadata": metadata, "spec": spec}
