"""Looks of the tests' own at a cluster whose pod network has become another one, and migrations that are killed."""

from __future__ import annotations

import ipaddress
import time
from typing import Any

from lab_cluster import LabCluster, Running

Moment = tuple[str, str, int]
"""An event of a run, the step, stage or gate that it tells of, and for which time."""

# Neither by the table that the tool goes by, nor by its scripts.
TRACES = {
    "flannel": """
    ip -o link | grep -oE ' (flannel[^:@]*|cni0)[:@]' || :
    ip route | grep -E 'flannel|cni0' || :
    for t in iptables-save iptables-legacy-save; do $t 2>/dev/null | grep -iE 'flannel|cbr0' || :; done
    ls -d /run/flannel /etc/cni/net.d/10-flannel.conflist /var/lib/cni/networks/cbr0 /var/lib/cni/flannel \
      2>/dev/null || :""",
    "calico": """
    ip -o link | grep -oE ' (cali[0-9a-f]+|vxlan.calico|tunl0)[:@]' || :
    ip route | grep -E 'bird|cali|proto 80' || :
    for t in iptables-save iptables-legacy-save; do $t 2>/dev/null | grep -E 'cali[-:]' || :; done
    ipset list -n 2>/dev/null | grep cali || :
    ls -d /var/lib/calico /run/calico /etc/cni/net.d/10-calico.conflist /etc/cni/net.d/calico-kubeconfig \
      /opt/cni/bin/calico /opt/cni/bin/calico-ipam 2>/dev/null || :""",
}


def inside(lab: LabCluster, network: ipaddress.IPv4Network | ipaddress.IPv6Network, node: str = "") -> None:
    pods = [
        each
        for each in lab.objects("pods -A")
        if not each["spec"].get("hostNetwork") and node in ("", each["spec"].get("nodeName"))
    ]
    found = {each["metadata"]["name"]: each["status"].get("podIP") for each in pods}
    assert all(ip and ipaddress.ip_address(ip) in network for ip in found.values()), found


def killed_at(lab: LabCluster, moment: Moment, seconds: float, *words: str) -> None:
    """A migration that is killed so many seconds after a moment; it has not ended by then."""
    event, part, times = moment
    seen = 0

    def told(each: dict[str, Any]) -> bool:
        nonlocal seen
        seen += each["event"] == event and part in (each.get("task"), each.get("stage"), each.get("gate"))
        return seen == times

    running = Running(("migrate", str(lab.inventory), *words, "--yes", "--json"))
    try:
        running.await_event(told)
        time.sleep(seconds)
        assert running.process.poll() is None, running.finish()
        running.kill()
    finally:
        running.abandon()
