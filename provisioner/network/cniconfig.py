"""The CNI configuration that Calico's manifests carry as a text in a ConfigMap; an installer fills its gaps."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from provisioner.errors import ProvisionError

KEY = "cni_network_config"
"""Of the ConfigMap's data."""
MTU = "__CNI_MTU__"
"""The one place holder that stands outside of quotes, for a number."""


def with_plugin(
    upstream: Sequence[dict[str, Any]], source: str, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> str:
    """The configuration with what `change` makes of the plug-in calico's own part. Place holders stay. Raises
    ProvisionError where `source` has none."""
    text = _written(upstream, source)
    try:
        conf = json.loads(text.replace(MTU, f'"{MTU}"'))
        plugins: list[dict[str, Any]] = conf["plugins"]
        place = [each["type"] for each in plugins].index("calico")
        plugins[place] = change(plugins[place])
    except (ValueError, KeyError, TypeError) as fault:
        raise ProvisionError(f"{source}: its {KEY} cannot be read: {fault}") from None
    return json.dumps(conf, indent=2).replace(f'"{MTU}"', MTU)


def node_ranges(pod_cidrs: Sequence[str]) -> dict[str, Any]:
    """Addresses of the node's own pod CIDRs, one of each family (cni-plugin, docs of host-local)."""
    words = ["usePodCidrIPv6" if ":" in cidr else "usePodCidr" for cidr in pod_cidrs]
    return {"type": "host-local", "ranges": [[{"subnet": each}] for each in words]}


def _written(upstream: Sequence[dict[str, Any]], source: str) -> str:
    for item in upstream:
        if item["kind"] == "ConfigMap" and KEY in item.get("data", {}):
            return str(item["data"][KEY])
    raise ProvisionError(f"{source} has no {KEY}")
