"""The objects of a measurement of the network: a pod that asks, two that answer, and a service in front of one of them.

They are made where the traffic check makes its own, under names of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from provisioner.kube.check_objects import LABEL, NAMESPACE

CLIENT, NEAR, FAR, SERVICE = "bench-client", "bench-near", "bench-far", "bench-service"
"""Names of pods, and of the service. The far pod is there with two nodes only."""
THROUGHPUT_PORT = 5201
"""iperf3's own."""
LATENCY_PORT = 11111
"""sockperf's own."""
_SERVERS: Mapping[str, list[str]] = {
    "iperf3": ["iperf3", "--server", "--port", str(THROUGHPUT_PORT)],
    "sockperf": ["sockperf", "server", "--tcp", "-i", "0.0.0.0", "-p", str(LATENCY_PORT)],  # noqa: S104
}


@dataclass(frozen=True)
class Placement:
    """The nodes: who asks is on `here`, with one who answers; the other one is `there`, "" where there is none."""

    here: str
    there: str = ""

    @property
    def servers(self) -> Mapping[str, str]:
        """The node by the name of each pod that answers."""
        return {NEAR: self.here, **({FAR: self.there} if self.there else {})}

    @property
    def behind(self) -> str:
        """The pod behind the service: the one that costs more to reach."""
        return FAR if self.there else NEAR


def bench_objects(run: str, image: str, placement: Placement) -> list[dict[str, Any]]:
    """Everything of one measurement, in the order of creation, labelled with its run."""
    wait = {"wait": ["sleep", "86400"]}
    return [
        _service(run, placement.behind),
        _pod(CLIENT, run, image, placement.here, wait),
        *(_pod(name, run, image, node, _SERVERS) for name, node in placement.servers.items()),
    ]


def _pod(name: str, run: str, image: str, node: str, programs: Mapping[str, list[str]]) -> dict[str, Any]:
    """Past the scheduler: it is the node that is measured. Nobody, without any right."""
    rights = {
        "runAsUser": 65534,
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    containers = [
        {
            "name": each,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": command,
            "securityContext": rights,
        }
        for each, command in programs.items()
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {LABEL: run, "bench": name}},
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "containers": containers,
        },
    }


def _service(run: str, behind: str) -> dict[str, Any]:
    ports = [{"name": "throughput", "port": THROUGHPUT_PORT}, {"name": "latency", "port": LATENCY_PORT}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": NAMESPACE, "labels": {LABEL: run}},
        "spec": {"ipFamilies": ["IPv4"], "selector": {LABEL: run, "bench": behind}, "ports": ports},
    }
