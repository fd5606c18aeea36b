"""What of a node pods do not get: what is written, and for the rest what fits the host."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner.spec.model import NodeSpec

_SHARES = ((4, 0.25), (4, 0.20), (8, 0.10), (112, 0.06))
"""(GiB, share) from the first on; 2 % of what is beyond. GKE's table ("Plan node sizes", memory reservations), which
OpenShift's auto-sizing uses, too. It is for kubelet, runtime and the system together, and grows with the memory because
the pods do: each costs a shim of its own."""
_BEYOND = 0.02
_CPU = "100m"
_SERVERS_CPU, _SERVERS_MIB = "200m", 512
"""API server, controllers, scheduler and etcd, which are no pods: 325 to 380 MiB in a small cluster."""


def kube_reserved(node: NodeSpec, memory: int) -> Mapping[str, str]:
    """For kubelet and runtime. `memory` of the host in KiB."""
    return {"cpu": _CPU, "memory": f"{_share(_gibibytes(memory))}Mi", **node.kube_reserved}


def system_reserved(node: NodeSpec, memory: int, *, servers: bool) -> Mapping[str, str]:
    """For everything else on the host; `servers`: parts of the control plane, or etcd, run beside the kubelet. Never
    more than a quarter of the memory unless that is written."""
    least = min(_SERVERS_MIB, _gibibytes(memory) * 1024 // 4)
    default = {"cpu": _SERVERS_CPU, "memory": f"{least}Mi"} if servers else {}
    return {**default, **node.system_reserved}


def _gibibytes(memory: int) -> int:
    """Rounded up: what a kernel keeps for itself differs a little from version to version, and is no change."""
    return -(-memory // 1024**2)


def _share(gibibytes: int) -> int:
    """MiB."""
    left, total = gibibytes, 0.0
    for step, share in _SHARES:
        part = min(left, step)
        total, left = total + part * share, left - part
    return round((total + left * _BEYOND) * 1024)
