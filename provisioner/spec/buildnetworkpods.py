"""The section `network.pods`: its schema, and what is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from provisioner.inventory.spelling import said
from provisioner.spec import labels, quantities
from provisioner.spec.networkpods import AMOUNTS, PROBES, TIMES, ContainerPart, NetworkPods
from provisioner.spec.schemarules import number, reported, section, text
from provisioner.spec.values import RefusedError, dns_label


def _container(name: str) -> None:
    try:
        dns_label(name)
    except RefusedError:
        reason = f"{said(name)} is no container's name"
        raise RefusedError(reason, "such as kube-flannel, calico-node or cilium-agent") from None


_AMOUNTS = section({name: text(quantities.amount) for name in AMOUNTS})
_PROBE = section({name: number(1, 3600) for name in TIMES})
SCHEMA = section(
    {
        "tolerations": {
            "type": "list",
            "schema": {"type": ["string", "dict"], "check_with": reported(labels.taint)},
        },
        "containers": {
            "type": "dict",
            "keysrules": text(_container),
            "valuesrules": section(
                {"requests": _AMOUNTS, "limits": _AMOUNTS, **dict.fromkeys(PROBES, _PROBE)}
            ),
        },
    }
)


def build_network_pods(written: Mapping[str, Any]) -> NetworkPods:
    """From a section in which nothing is wrong."""
    containers = {
        name: ContainerPart(**{key: MappingProxyType(dict(value)) for key, value in part.items()})
        for name, part in written.get("containers", {}).items()
    }
    tolerated = tuple(map(labels.taint, written.get("tolerations", ())))
    return NetworkPods(tolerated, MappingProxyType(containers))
