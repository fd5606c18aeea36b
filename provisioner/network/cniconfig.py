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


def with_ipam(
    upstream: Sequence[dict[str, Any]], source: str, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> str:
    """The configuration with another section `ipam` of the plug-in calico: what `change` makes of the one that is
    there. Place holders stay. Raises ProvisionError where `source` has none."""
    text = _written(upstream, source)
    try:
        conf = json.loads(text.replace(MTU, f'"{MTU}"'))
        (first, *_) = [each for each in conf["plugins"] if each["type"] == "calico"]
        first["ipam"] = change(dict(first["ipam"]))
    except (ValueError, KeyError, TypeError) as fault:
        raise ProvisionError(f"{source}: its {KEY} cannot be read: {fault}") from None
    return json.dumps(conf, indent=2).replace(f'"{MTU}"', MTU)


def _written(upstream: Sequence[dict[str, Any]], source: str) -> str:
    for item in upstream:
        if item["kind"] == "ConfigMap" and KEY in item.get("data", {}):
            return str(item["data"][KEY])
    raise ProvisionError(f"{source} has no {KEY}")
