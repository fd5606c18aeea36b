"""What is known of the place where a cluster is to be: the answers that advice is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from provisioner.engine.advice import UNKNOWN

MODULES = ("vxlan", "wireguard", "ipip", "tun")
"""Of the kernel, that some mode of a plug-in needs."""
_COMPARED = re.compile(r"([<>])(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Site:
    """Words are those of the questions' choices, or UNKNOWN. `kernel` is the oldest of the nodes', `modules` those that
    all have; None where that is not known.

    What follows is only known of an inventory: `architectures`; `proxy`, kube-proxy's mode; the CIDRs; `written`, its
    section `network`; the smallest `mtu` of the nodes' links, 0 when it is not known, whether the MTUs differ, and
    `odd_links`, whose names Calico's own search for the MTU passes over. `releases`: the plug-ins' in the bundle.
    """

    environment: str = UNKNOWN
    nodes: int | None = None
    subnets: str = UNKNOWN
    latency: str = UNKNOWN
    policy: str = UNKNOWN
    l7: str = UNKNOWN
    encryption: str = UNKNOWN
    bgp: str = UNKNOWN
    kernel: tuple[int, int] | None = None
    modules: frozenset[str] | None = None
    team: str = UNKNOWN
    architectures: frozenset[str] = frozenset()
    proxy: str = UNKNOWN
    pod_cidrs: tuple[str, ...] = ("10.244.0.0/16",)
    service_cidrs: tuple[str, ...] = ("10.96.0.0/16",)
    written: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    mtu: int = 0
    mtus_differ: bool = False
    odd_links: tuple[str, ...] = ()
    releases: Mapping[str, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def ipv6(self) -> str:
        return "yes" if any(":" in each for each in self.pod_cidrs) else "no"

    def fits(self, when: Mapping[str, Any]) -> bool:
        """All conditions hold. What is not known is neither below nor above anything."""
        return all(self._holds(name, wanted) for name, wanted in when.items())

    def _holds(self, name: str, wanted: Any) -> bool:
        value = getattr(self, name)
        compared = _COMPARED.fullmatch(wanted) if isinstance(wanted, str) else None
        if compared is None:
            return value in wanted if isinstance(wanted, list) else bool(value == wanted)
        if value is None:
            return False
        bound: Any = version_of(compared[2]) if name == "kernel" else int(compared[2])
        return bool(value < bound if compared[1] == "<" else value > bound)


def version_of(text: str) -> tuple[int, int] | None:
    """The first two numbers of a kernel's release; None when there are none."""
    found = re.match(r"([0-9]{1,3})\.([0-9]{1,4})(?![0-9])", text)
    return (int(found[1]), int(found[2])) if found else None
