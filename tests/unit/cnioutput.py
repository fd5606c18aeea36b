"""What a node's script and the API server say of pod networks, made from a case of cnifaults.yaml."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

NOW = 1_800_000_000
FLANNEL = {
    "name": "cbr0",
    "cniVersion": "0.3.1",
    "plugins": [{"type": "flannel", "delegate": {"isDefaultGateway": True}}, {"type": "portmap"}],
}
PODS = [{"name": "kube-flannel-ds-1", "app": "flannel", "host": True, "address": "10.0.0.1"}]


def identity(name: str) -> str:
    """Of a container, by its first letters in a case."""
    return name.encode().hex().ljust(64, "0")


def node_output(case: Mapping[str, Any]) -> bytes:
    """What the script prints."""
    known = case.get("known", ["c1"])
    leases = {"10.244.1.2": {"container": "c1", "age": 900}} | case.get("leases", {})
    rows = {
        address: f"{NOW - each['age']} {identity(each['container'])}"
        f" /var/lib/cni/networks/{each.get('network', 'cbr0')}/{address}"
        for address, each in leases.items()
    }
    configuration = case.get("configuration", FLANNEL)
    text = configuration if isinstance(configuration, str) else json.dumps(configuration)
    sandbox = {
        "Labels": {
            "io.kubernetes.pod.name": "pod",
            "io.kubernetes.pod.namespace": "ns",
            "io.kubernetes.pod.uid": "u",
        },
        "Spec": {
            "linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/var/run/netns/cni-1"}]}
        },
    }
    parts: dict[str, Sequence[str] | None] = {
        "now": [str(NOW)],
        "leases": list(rows.values()),
        "known": None if known is None else [identity(each) for each in known],
        "adding": [f"CNI_CONTAINERID={identity(each)}" for each in case.get("adding", ())],
        "again": [row for address, row in rows.items() if leases[address].get("again", True)],
        "left": case.get("left", ()),
        "tasks": [
            "TASK    PID    STATUS",
            *(f"{identity(each)}  7  RUNNING" for each in case.get("running", ())),
        ],
        "folders": ["/opt/cni/bin /etc/cni/net.d"],
        "configuration": [f"/etc/cni/net.d/10-flannel.conflist {base64.b64encode(text.encode()).decode()}"],
        "binaries": case.get("binaries", ()),
        "bridges": case.get(
            "bridges", ["4: cni0    inet 10.244.1.1/24 brd 10.244.1.255 scope global cni0\\"]
        ),
        "subnet": [_subnet(case.get("subnet", "10.244.1.1/24"))],
        "complaints": [_complaint(each) for each in case.get("complaints", ())],
        f"sandbox-{identity('c1')}": [json.dumps(sandbox, indent=4)],
    }
    return "".join(
        f"={name} {1 if lines is None else 0}\n" + "\n".join(lines or ()) + "\n\n"
        for name, lines in parts.items()
    ).encode()


def _subnet(text: str) -> str:
    return f"FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_{'IPV6_' * (':' in text)}SUBNET={text}\nFLANNEL_MTU=1450"


def _complaint(text: str) -> str:
    """As containerd 1.6 writes it to the journal."""
    age, name, how = text.split()
    head = f'{NOW - int(age)}.25 node1 containerd[1]: time="2026-11-29T04:35:18.713283168Z"'
    if how == "done":
        return f'{head} level=info msg="TearDown network for sandbox \\"{identity(name)}\\" successfully"'
    if how == "refused":
        why = f'failed to destroy network for sandbox \\"{identity(name)}\\": plugin type=\\"calico\\" failed (delete):'
        said = "error getting ClusterInformation: connection is unauthorized: Unauthorized"
        return f'{head} level=error msg="StopPodSandbox failed" error="{why} {said}"'
    why = f'failed to destroy network for sandbox \\"{identity(name)}\\": plugin type=\\"flannel\\" failed (delete):'
    return (
        f'{head} level=error msg="StopPodSandbox for \\"{identity(name)}\\" failed" error="{why} no record"'
    )


def cluster_output(case: Mapping[str, Any]) -> bytes:
    """What the API server says."""
    condition = {
        "type": "NetworkUnavailable",
        "status": str(case.get("unavailable", False)),
        "reason": "CalicoIsDown",
        "message": "stopped",
    }
    node = {
        "metadata": {"name": "node1"},
        "spec": {"podCIDRs": case.get("cidrs", ["10.244.1.0/24"])},
        "status": {"conditions": [condition], "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]},
    }
    rows = []
    for each in case.get("pods", PODS):
        ready, phase = str(each.get("ready", True)), each.get("phase", "Running")
        host, owner = "true" * each.get("host", False), each.get("owner", "DaemonSet")
        fields = [
            "ns", each["name"], "uid", "node1", host, each.get("address", ""), phase, "", ready, owner,
            each.get("app", ""), each.get("k8s-app", ""),
        ]  # fmt: skip
        rows.append("\t".join(fields))
    return (json.dumps({"items": [node]}) + "\n==\n" + "\n".join(rows) + "\n").encode()
