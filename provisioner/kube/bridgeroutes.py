"""Routes of ours that carry pods' packets from node to node for the moment in which one of Calico's parts has taken its
routes back and the other one has not put its own there: BIRD looks at the kernel's routes every two seconds, and adds
none where there is another's (Calico 3.28, confd/etc/calico/confd/templates/bird.cfg.template: scan time)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from provisioner.kube.kubectl import KUBECTL
from provisioner.kube.marks import ask
from provisioner.resources.model import Runner
from provisioner.shell.script import Script
from provisioner.shell.worklock import locked

_PROTOCOL, _METRIC = 196, 9000
"""A number that nobody else has in /etc/iproute2/rt_protos, and one behind everybody's."""
_AFFINITIES = "blockaffinities.crd.projectcalico.org"
_ROW = r'{range .items[*]}{.spec.node}{"\t"}{.spec.cidr}{"\t"}{.spec.state}{"\n"}{end}'


def blocks_of(runner: Runner) -> dict[str, list[str]]:
    """Calico's blocks by node. Raises ProvisionError when the API server does not answer."""
    found: dict[str, list[str]] = {}
    for line in ask(runner, f"{KUBECTL} get {_AFFINITIES} -o jsonpath='{_ROW}'\n").decode().splitlines():
        node, cidr, state = line.split("\t")
        if state == "confirmed":
            found.setdefault(node, []).append(cidr)
    return found


def bridge_script(node: str, blocks: Mapping[str, Iterable[str]], addresses: Mapping[str, str]) -> Script:
    """Leads `node` to the other nodes' blocks by their addresses, behind all other routes; not to nodes that are on no
    link of its own."""
    lines = [
        f"ip -{network.version} route replace {network} via {addresses[other]} proto {_PROTOCOL} metric {_METRIC}"
        " 2>/dev/null || :"
        for other, cidrs in sorted(blocks.items())
        if other != node and other in addresses
        for network in map(ipaddress.ip_network, cidrs)
        if network.version == ipaddress.ip_address(addresses[other]).version
    ]
    return Script(locked("\n".join([*lines, ":"])) + "\n")


def unbridge_script() -> Script:
    """Takes those routes away again."""
    return Script(
        locked(
            f"for f in -4 -6; do ip $f route flush proto {_PROTOCOL} metric {_METRIC} 2>/dev/null || :; done"
        )
        + "\n"
    )
