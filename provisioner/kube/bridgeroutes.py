"""Routes of ours that carry pods' packets from node to node for the moment in which one of Calico's parts has taken its
routes back and the other one has not put its own there: BIRD looks at the kernel's routes every two seconds, and adds
none where there is another's (Calico 3.28, confd/etc/calico/confd/templates/bird.cfg.template: scan time)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from provisioner.kube.kubectl import KUBECTL, rows
from provisioner.kube.marks import ask
from provisioner.resources.model import Runner
from provisioner.shell.script import Script
from provisioner.shell.worklock import locked

_PROTOCOL, _METRIC = 196, 9000
"""A number that nobody else has in /etc/iproute2/rt_protos, and one behind everybody's."""
_BIRD, _FELIX = 12, 80
"""Protocols of the routes of either (Calico 3.28, felix/config/config_params.go: DeviceRouteProtocol is that of pods'
own routes, 80 that of what goes by VXLAN or past it)."""
_SECONDS = 15
_AFFINITIES = "blockaffinities.crd.projectcalico.org"
_ROW = rows((".spec.node", ".spec.cidr", ".spec.state"))


def blocks_of(runner: Runner) -> dict[str, list[str]]:
    """Calico's blocks by node. Raises ProvisionError when the API server does not answer."""
    found: dict[str, list[str]] = {}
    for line in ask(runner, f"{KUBECTL} get {_AFFINITIES} -o jsonpath='{_ROW}'\n").decode().splitlines():
        node, cidr, state = line.split("\t")
        if state == "confirmed":
            found.setdefault(node, []).append(cidr)
    return found


def bridge_script(
    node: str, blocks: Mapping[str, Iterable[str]], addresses: Mapping[str, Iterable[str]]
) -> Script:
    """Leads `node` to the other nodes' blocks by their addresses, of either IP family, behind all other routes; not to
    nodes that are on no link of its own."""
    lines = [
        f"ip -{network.version} route replace {network} via {via} proto {_PROTOCOL} metric {_METRIC}"
        " 2>/dev/null || :"
        for other, cidrs in sorted(blocks.items())
        if other != node
        for network in map(ipaddress.ip_network, cidrs)
        for via in addresses.get(other, ())
        if network.version == ipaddress.ip_address(via).version
    ]
    return Script(locked("\n".join([*lines, ":"])) + "\n")


def handed_over_script(blocks: Mapping[str, Iterable[str]]) -> Script:
    """Where VXLAN is no more: takes away Felix's routes past it, if any are left. Felix does so when it hears of the
    pool; one that starts anew before that knows nothing of them, and BIRD never replaces them. Waits until BIRD has its
    own to all blocks, those of the node included, or some seconds."""
    prefixes = [each for _, cidrs in sorted(blocks.items()) for each in cidrs]
    waits = "".join(
        f'until [ -n "$(ip -{6 if ":" in each else 4} route show {each} proto {_BIRD})" ] || late; do sleep 0.2; done\n'
        for each in prefixes
    )
    return Script(
        locked(
            f'late() {{ [ "$(date +%s)" -ge "$end" ]; }}\n'
            f"for f in '-4 vxlan.calico' '-6 vxlan-v6.calico'; do\n"
            f'  ip link show "${{f#* }}" >/dev/null 2>&1 ||\n'
            f'    ip "${{f% *}}" route flush proto {_FELIX} 2>/dev/null || :\n'
            f"done\n"
            f"end=$(($(date +%s) + {_SECONDS}))\n{waits}:"
        )
        + "\n"
    )


def unbridge_script() -> Script:
    """Takes those routes away again."""
    return Script(
        locked(
            f"for f in -4 -6; do ip $f route flush proto {_PROTOCOL} metric {_METRIC} 2>/dev/null || :; done"
        )
        + "\n"
    )
